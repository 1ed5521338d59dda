//! Encodings: round trips of every stored type, frozen bytes, and decoders that never panic whatever they are given.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use proptest::prelude::*;
use regauge_log::format::body::{RawBody, RawPart};
use regauge_log::format::frame::{Header, Kind, Seed, find_valid};
use regauge_log::format::mark::Mark;
use regauge_log::format::wire::Input;
use regauge_log::format::{payload, schema as schemas, small};
use regauge_log::producers::Bounds;
use regauge_log::state::LogState;
use regauge_log::{Definition, ProducerSeq, Skip};
use regauge_types::{Hlc, Lsn, SchemaId, TopicId};

use crate::common::*;

const BOUNDS: Bounds = Bounds { window: 4, producers_max: 10, idle_ms: 0 };

fn every_type() -> SchemaRef {
    let types = [
        DataType::Null,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(38, 16),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::FixedSizeBinary(16),
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::new_list(DataType::Int32, true),
        DataType::new_list(DataType::Utf8, true),
        DataType::new_list(DataType::Decimal128(38, 16), true),
        regauge_types::arrays::nest(DataType::Utf8, 3),
    ];
    let field = |(n, ty): (usize, DataType)| {
        Field::new(format!("c{n}"), ty, true).with_metadata([("regauge.column".to_owned(), n.to_string())].into())
    };
    Arc::new(Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// A batch of every type, its values and nulls a function of the words.
fn batch(words: &[u64]) -> RecordBatch {
    let schema = every_type();
    let columns = schema.fields().iter().enumerate().map(|(n, field)| {
        let values: Vec<Option<u64>> =
            words.iter().map(|w| (w.rotate_left(n as u32) % 4 != 0).then_some(w.rotate_left(7 * n as u32))).collect();
        macro_rules! ints {
            ($t:ty) => {
                Arc::new(
                    values
                        .iter()
                        .map(|v| v.map(|v| v as <$t as ArrowPrimitiveType>::Native))
                        .collect::<PrimitiveArray<$t>>()
                        .with_data_type(field.data_type().clone()),
                ) as ArrayRef
            };
        }
        match field.data_type() {
            DataType::Null => Arc::new(NullArray::new(words.len())) as ArrayRef,
            DataType::Boolean => Arc::new(values.iter().map(|v| v.map(|v| v % 2 == 0)).collect::<BooleanArray>()),
            DataType::Int8 => ints!(Int8Type),
            DataType::Int16 => ints!(Int16Type),
            DataType::Int32 => ints!(Int32Type),
            DataType::Int64 => ints!(Int64Type),
            DataType::UInt8 => ints!(UInt8Type),
            DataType::UInt16 => ints!(UInt16Type),
            DataType::UInt32 => ints!(UInt32Type),
            DataType::UInt64 => ints!(UInt64Type),
            DataType::Date32 => ints!(Date32Type),
            DataType::Time64(_) => ints!(Time64MicrosecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => ints!(TimestampMicrosecondType),
            DataType::Timestamp(_, _) => ints!(TimestampNanosecondType),
            DataType::Float32 => Arc::new(values.iter().map(|v| v.map(|v| f32::from_bits(v as u32))).collect::<Float32Array>()),
            DataType::Float64 => Arc::new(values.iter().map(|v| v.map(f64::from_bits)).collect::<Float64Array>()),
            DataType::Decimal128(..) => {
                let wide = values.iter().map(|v| v.map(|v| i128::from(v) * i128::from(v as i32)));
                Arc::new(wide.collect::<Decimal128Array>().with_data_type(field.data_type().clone()))
            }
            DataType::Utf8 => Arc::new(values.iter().map(|v| v.map(|v| format!("ü{v}"))).collect::<StringArray>()),
            DataType::LargeUtf8 => Arc::new(values.iter().map(|v| v.map(|v| format!("[{v}]"))).collect::<LargeStringArray>()),
            DataType::Utf8View => {
                Arc::new(values.iter().map(|v| v.map(|v| format!("{{ \"ü\": {v} }}"))).collect::<StringViewArray>())
            }
            DataType::FixedSizeBinary(16) => {
                let uuids = values.iter().map(|v| v.map(|v| (u128::from(v) << 64 | u128::from(v)).to_be_bytes()));
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap())
            }
            DataType::Binary => {
                Arc::new(values.iter().map(|v| v.map(|v| v.to_le_bytes()[..(v % 9) as usize].to_vec())).collect::<BinaryArray>())
            }
            DataType::Interval(_) => {
                let parts = values.iter().map(|v| v.map(|v| IntervalMonthDayNano::new(v as i32, (v >> 8) as i32, v as i64)));
                Arc::new(parts.collect::<PrimitiveArray<IntervalMonthDayNanoType>>())
            }
            DataType::List(item) if item.data_type().is_nested() => {
                let shape = |v: &Option<u64>| v.map(|v| if v % 3 == 0 { vec![] } else { vec![1 + (v % 2) as usize, 2, 1] });
                let shapes: Vec<_> = values.iter().map(shape).collect();
                let n = shapes.iter().flatten().filter(|dims| !dims.is_empty()).map(|dims| dims.iter().product::<usize>()).sum();
                let leaves = (0..n).map(|n: usize| (!n.is_multiple_of(5)).then(|| format!("ü{n}"))).collect::<StringArray>();
                regauge_types::arrays::build(field.data_type(), Arc::new(leaves), &shapes).unwrap()
            }
            DataType::List(item) => {
                let items: Vec<Option<u64>> = values.iter().flat_map(|v| vec![*v; v.map_or(0, |v| (v % 4) as usize)]).collect();
                let items = items.into_iter().map(|v| v.filter(|v| v % 3 != 0).map(|v| v as i32)).collect::<Int32Array>();
                let items = arrow::compute::cast(&items, item.data_type()).unwrap();
                let lengths = values.iter().map(|v| v.map_or(0, |v| (v % 4) as usize));
                let nulls = NullBuffer::from(values.iter().map(Option::is_some).collect::<Vec<_>>());
                let nulls = Some(nulls).filter(|n| n.null_count() > 0);
                Arc::new(ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls))
            }
            other => panic!("{other}"),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// NaN is not equal to itself; its bits are.
fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    a.schema() == b.schema()
        && a.columns().iter().zip(b.columns()).all(|(a, b)| match a.data_type() {
            DataType::Float32 => bits(
                a.as_primitive::<Float32Type>().iter().map(|v| v.map(f32::to_bits)),
                b.as_primitive::<Float32Type>().iter().map(|v| v.map(f32::to_bits)),
            ),
            DataType::Float64 => bits(
                a.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)),
                b.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)),
            ),
            _ => a == b,
        })
}

fn bits<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> bool {
    a.eq(b)
}

/// (rows below which the small encoding is used, lz4)
const WAYS: [(usize, bool); 3] = [(usize::MAX, false), (0, false), (0, true)];

/// A part's bytes as they stand in a frame.
fn encoded(rows: &RecordBatch, small_rows: usize, compress: bool) -> (u8, Vec<u8>) {
    let (encoding, pieces) = payload::encode(rows, small_rows, compress).unwrap();
    (encoding, pieces.iter().flat_map(|piece| piece.to_vec()).collect())
}

fn state() -> Vec<u8> {
    let mut state = LogState::new(BOUNDS);
    let define = vec![Definition::Topic(topic(1, 3)), Definition::Topic(topic(2, 1)), Definition::DropTopic(TopicId(2))];
    for n in 0..6_u64 {
        let part = RawPart {
            topic: TopicId(1),
            partition: 2,
            first_offset: n,
            schema_id: SchemaId(1),
            n_rows: 1,
            encoding: 0,
            payload: &[][..],
        };
        let body = RawBody {
            define: if n == 0 { define.clone() } else { vec![] },
            producer: Some(ProducerSeq { id: "p".into(), incarnation: 1, sequence: n }),
            cause: None,
            skips: vec![],
            parts: vec![part],
        };
        state.replay(Lsn(n + 1), Hlc(n + 1), &body).unwrap();
    }
    state.to_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_every_type_come_back_from_every_encoding(words in prop::collection::vec(any::<u64>(), 0..40)) {
        let rows = batch(&words);
        for (small_rows, compress) in WAYS {
            let (encoding, bytes) = encoded(&rows, small_rows, compress);
            let back = payload::decode(encoding, &bytes, &every_type(), rows.num_rows() as u64).unwrap();
            prop_assert!(same(&rows, &back), "encoding {encoding}");
        }
        let slice = rows.slice(words.len() / 3, words.len() / 3);
        for (small_rows, compress) in WAYS {
            let (encoding, bytes) = encoded(&slice, small_rows, compress);
            let back = payload::decode(encoding, &bytes, &every_type(), slice.num_rows() as u64).unwrap();
            prop_assert!(same(&slice, &back), "slice, encoding {encoding}");
        }
    }

    #[test]
    fn changed_bytes_of_rows_are_an_error_or_other_rows_but_no_panic(
        words in prop::collection::vec(any::<u64>(), 1..20),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        n_rows in prop::option::of(any::<u64>()),
    ) {
        let rows = batch(&words);
        for (small_rows, compress) in WAYS {
            let (encoding, mut bytes) = encoded(&rows, small_rows, compress);
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            if let Some(cut) = &cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let n_rows = n_rows.unwrap_or(rows.num_rows() as u64);
            if let Ok(back) = payload::decode(encoding, &bytes, &every_type(), n_rows) {
                prop_assert_eq!(back.num_rows() as u64, n_rows);
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic_any_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400), flags in any::<u8>(), n_rows in any::<u64>()) {
        let seed = Seed([7; 16]);
        let _ = RawBody::read(&bytes, flags);
        let _ = RawBody::read(&bytes, flags & 7);
        let _ = LogState::from_bytes(&bytes, BOUNDS);
        let _ = schemas::take_schema(&mut Input::new(&bytes));
        let _ = schemas::take_definition(&mut Input::new(&bytes));
        let _ = Header::read(&bytes, &seed);
        let _ = Mark::newest(&bytes, &seed);
        let _ = find_valid(&bytes, 0, &seed);
        for encoding in 0..3 {
            let _ = payload::decode(encoding, &bytes, &schema(), n_rows);
            let _ = payload::decode(encoding, &bytes, &schema(), n_rows % 100);
        }
    }

    #[test]
    fn changed_bytes_of_a_state_do_not_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = state();
        let whole = LogState::from_bytes(&bytes, BOUNDS).unwrap();
        prop_assert_eq!(whole.to_bytes(), bytes.clone());
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        let _ = LogState::from_bytes(&bytes, BOUNDS);
    }
}

#[test]
fn the_bytes_of_a_frame_are_frozen() {
    let one = rows(&[1, 3, -5]);
    let mut payload = Vec::new();
    small::encode(&one, &mut payload).unwrap();
    assert_eq!(hex(&payload), GOLDEN_ROWS);
    let part = RawPart {
        topic: TopicId(300),
        partition: 1,
        first_offset: 9,
        schema_id: SchemaId(2),
        n_rows: 3,
        encoding: 0,
        payload: &payload[..],
    };
    let body = RawBody {
        define: vec![],
        producer: Some(ProducerSeq { id: "p".into(), incarnation: 1, sequence: 200 }),
        cause: Some("c".into()),
        skips: vec![],
        parts: vec![part],
    };
    let mut bytes = Vec::new();
    let flags = body.write(&mut bytes);
    let header = Header {
        body_len: bytes.len() as u32,
        body_crc: regauge_log::format::frame::crc32c(&bytes),
        kind: Kind::Commit,
        flags,
        lsn: 5,
        hlc: NOW_MS << 16,
        lag: 1,
        run: 3,
        previous: 0xdead_beef,
    };
    let mut frame = vec![0; 48];
    header.write(&mut frame, &Seed([9; 16]));
    frame.extend(&bytes);
    assert_eq!(hex(&frame), GOLDEN_FRAME);
    assert_eq!(Header::read(&frame, &Seed([9; 16])).unwrap().0, header);
    assert_eq!(RawBody::read(&bytes, flags).unwrap(), body);
    let skips = vec![Skip { topic: TopicId(300), n_rows: 200 }];
    let skip = RawBody { define: vec![], producer: body.producer.clone(), cause: None, skips, parts: vec![] };
    let mut bytes = Vec::new();
    let flags = skip.write(&mut bytes);
    assert_eq!((flags, hex(&bytes).as_str()), (10, GOLDEN_SKIP));
    assert_eq!(RawBody::read(&bytes, flags).unwrap(), skip);
    assert!(RawBody::read(&[1, 172, 2, 200, 1, 0], 8).is_err(), "skipped by nobody");
    let mut topic_bytes = Vec::new();
    schemas::put_topic(&mut topic_bytes, &topic(1, 4));
    assert_eq!(hex(&topic_bytes), GOLDEN_TOPIC);
    let mark = Mark { generation: 1, file: 2, length: 3, lsn: 4, hlc: 5, run: 6 }.to_bytes(&Seed([9; 16]));
    assert_eq!(format!("{}..{}", hex(&mark[..52]), hex(&mark[508..])), GOLDEN_MARK);
    assert_eq!(hex(&regauge_log::journal::file::header(7, &Seed([9; 16]))), GOLDEN_FILE);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const GOLDEN_ROWS: &str = "0002060901050b6e616d65206f66203120782e6e616d65206f66202d3520787878787878787878787878787878787878787878787878787878787878787878787801038ea8d6b907aaf882ad16";
const GOLDEN_SKIP: &str = "017001c80101ac02c80100";
const GOLDEN_FRAME: &str = "524746315d000000055ae9290106000005000000000000000000006c50c4a0010100000003000000efbeadde79426bb8017001c801016301ac0201090203004d0002060901050b6e616d65206f66203120782e6e616d65206f66202d3520787878787878787878787878787878787878787878787878787878787878787878787801038ea8d6b907aaf882ad16";
const GOLDEN_TOPIC: &str = "0107746f70696320310401000100030269640105010e726567617567652e636f6c756d6e0131046e616d65010d010e726567617567652e636f6c756d6e013206616d6f756e74010c1402010e726567617567652e636f6c756d6e0133";
const GOLDEN_MARK: &str =
    "52474d41524b30310100000000000000020000000000000003000000000000000400000000000000050000000000000006000000..3a4dad5b";
const GOLDEN_FILE: &str = "52474a524e4c30310100000000000000090909090909090909090909090909090700000000000000000000000000000000000000000000000000000081627be7";
