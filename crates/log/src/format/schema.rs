//! Topics and their schemas as bytes: small, and decoded without a flatbuffer in sight.
//!
//! Only flat column types and arrays of them are stored, those of the engine's SQL types and a few neighbours; [`check`] says which. A tag, once given, is never reused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use regauge_types::arrays::{DIMS_MAX, nest};
use regauge_types::{SchemaId, TopicId};

use super::list;
use super::wire::{Input, Malformed, put_bytes, put_len, put_u64};
use crate::LogError;
use crate::model::{Definition, TopicSpec};

/// Refuses a schema with a column that the log does not store.
pub fn check(schema: &Schema) -> Result<(), LogError> {
    for field in schema.fields() {
        if tag(field.data_type()).is_none() {
            return Err(LogError::UnsupportedType { column: field.name().clone(), data_type: field.data_type().to_string() });
        }
    }
    Ok(())
}

/// The stored number of a type; `None` if it is not stored.
fn tag(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Null => 0,
        DataType::Boolean => 1,
        DataType::Int8 => 2,
        DataType::Int16 => 3,
        DataType::Int32 => 4,
        DataType::Int64 => 5,
        DataType::UInt8 => 6,
        DataType::UInt16 => 7,
        DataType::UInt32 => 8,
        DataType::UInt64 => 9,
        DataType::Float32 => 10,
        DataType::Float64 => 11,
        DataType::Decimal128(..) => 12,
        DataType::Utf8 => 13,
        DataType::Binary => 14,
        DataType::Date32 => 15,
        DataType::Time64(TimeUnit::Microsecond) => 16,
        DataType::Timestamp(..) => 17,
        DataType::Interval(IntervalUnit::MonthDayNano) => 18,
        DataType::FixedSizeBinary(16) => 19,
        DataType::LargeUtf8 => 20,
        DataType::Utf8View => 21,
        list if list::item(list).is_some_and(|item| tag(item).is_some()) => 22,
        _ => return None,
    })
}

fn put_type(out: &mut Vec<u8>, data_type: &DataType) {
    // A schema was checked when it was defined; an unknown type written all the same is refused when it is read.
    out.push(tag(data_type).unwrap_or(u8::MAX));
    match data_type {
        DataType::Decimal128(precision, scale) => out.extend_from_slice(&[*precision, scale.to_le_bytes()[0]]),
        DataType::Timestamp(unit, zone) => {
            out.push(match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 1,
                TimeUnit::Microsecond => 2,
                TimeUnit::Nanosecond => 3,
            });
            // No zone and the zone of no name are told apart by the length, which is that of the name plus one.
            put_u64(out, zone.as_ref().map_or(0, |z| z.len() as u64 + 1));
            out.extend_from_slice(zone.as_deref().unwrap_or("").as_bytes());
        }
        DataType::List(item) => put_type(out, item.data_type()),
        _ => {}
    }
}

fn take_type(input: &mut Input<'_>) -> Result<DataType, Malformed> {
    Ok(match input.u8()? {
        0 => DataType::Null,
        1 => DataType::Boolean,
        2 => DataType::Int8,
        3 => DataType::Int16,
        4 => DataType::Int32,
        5 => DataType::Int64,
        6 => DataType::UInt8,
        7 => DataType::UInt16,
        8 => DataType::UInt32,
        9 => DataType::UInt64,
        10 => DataType::Float32,
        11 => DataType::Float64,
        12 => {
            let (precision, scale) = (input.u8()?, i8::from_le_bytes(input.array()?));
            if !(1..=38).contains(&precision) || scale.unsigned_abs() > 38 {
                return Err(Malformed::new(format!("impossible decimal precision={precision} scale={scale}")));
            }
            DataType::Decimal128(precision, scale)
        }
        13 => DataType::Utf8,
        14 => DataType::Binary,
        15 => DataType::Date32,
        16 => DataType::Time64(TimeUnit::Microsecond),
        17 => {
            let unit = match input.u8()? {
                0 => TimeUnit::Second,
                1 => TimeUnit::Millisecond,
                2 => TimeUnit::Microsecond,
                3 => TimeUnit::Nanosecond,
                other => return Err(Malformed::new(format!("unknown unit of time unit={other}"))),
            };
            let zone = match input.count()? {
                0 => None,
                n => Some(std::str::from_utf8(input.take(n - 1)?).map_err(|_| Malformed::new("time zone is not utf-8"))?.into()),
            };
            DataType::Timestamp(unit, zone)
        }
        18 => DataType::Interval(IntervalUnit::MonthDayNano),
        19 => DataType::FixedSizeBinary(16),
        20 => DataType::LargeUtf8,
        21 => DataType::Utf8View,
        22 => {
            // Read before it is descended into: arrays are not deep.
            let mut dims = 1;
            while input.remaining_first() == Some(22) {
                input.u8()?;
                dims += 1;
                if dims > DIMS_MAX {
                    return Err(Malformed::new("an array of too many dimensions"));
                }
            }
            let list = nest(take_type(input)?, dims);
            list::item(&list).is_some().then_some(list).ok_or_else(|| Malformed::new("an array of what is not stored"))?
        }
        other => return Err(Malformed::new(format!("unknown column type tag={other}"))),
    })
}

fn put_metadata(out: &mut Vec<u8>, metadata: &HashMap<String, String>) {
    let mut sorted: Vec<_> = metadata.iter().collect();
    sorted.sort_unstable();
    put_len(out, sorted.len());
    for (key, value) in sorted {
        put_bytes(out, key.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn take_metadata(input: &mut Input<'_>) -> Result<HashMap<String, String>, Malformed> {
    (0..input.count()?).map(|_| Ok((input.text()?.to_owned(), input.text()?.to_owned()))).collect()
}

/// Appends a schema: metadata, number of fields, then for each its name, whether it is nullable, type, metadata.
pub fn put_schema(out: &mut Vec<u8>, schema: &Schema) {
    put_metadata(out, schema.metadata());
    put_len(out, schema.fields().len());
    for field in schema.fields() {
        put_bytes(out, field.name().as_bytes());
        out.push(u8::from(field.is_nullable()));
        put_type(out, field.data_type());
        put_metadata(out, field.metadata());
    }
}

/// Reads a schema.
pub fn take_schema(input: &mut Input<'_>) -> Result<SchemaRef, Malformed> {
    let metadata = take_metadata(input)?;
    let mut fields = Vec::new();
    for _ in 0..input.count()? {
        let name = input.text()?.to_owned();
        let nullable = match input.u8()? {
            0 => false,
            1 => true,
            other => return Err(Malformed::new(format!("neither nullable nor not value={other}"))),
        };
        let data_type = take_type(input)?;
        fields.push(Field::new(name, data_type, nullable).with_metadata(take_metadata(input)?));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, metadata)))
}

/// Appends a topic.
pub fn put_topic(out: &mut Vec<u8>, spec: &TopicSpec) {
    put_u64(out, u64::from(spec.id.0));
    put_bytes(out, spec.name.as_bytes());
    put_u64(out, u64::from(spec.partitions));
    put_len(out, spec.partition_by.len());
    spec.partition_by.iter().for_each(|column| put_len(out, *column));
    put_u64(out, u64::from(spec.schema_id.0));
    put_schema(out, &spec.schema);
}

/// Reads a topic.
pub fn take_topic(input: &mut Input<'_>) -> Result<TopicSpec, Malformed> {
    Ok(TopicSpec {
        id: TopicId(input.u32()?),
        name: input.text()?.to_owned(),
        partitions: input.u32()?,
        partition_by: (0..input.count()?).map(|_| Ok(input.u32()? as usize)).collect::<Result<_, Malformed>>()?,
        schema_id: SchemaId(input.u32()?),
        schema: take_schema(input)?,
    })
}

/// Appends a definition.
pub fn put_definition(out: &mut Vec<u8>, definition: &Definition) {
    match definition {
        Definition::Topic(spec) => {
            out.push(1);
            put_topic(out, spec);
        }
        Definition::Schema { topic, id, schema } => {
            out.push(2);
            put_u64(out, u64::from(topic.0));
            put_u64(out, u64::from(id.0));
            put_schema(out, schema);
        }
        Definition::DropTopic(topic) => {
            out.push(3);
            put_u64(out, u64::from(topic.0));
        }
    }
}

/// Reads a definition.
pub fn take_definition(input: &mut Input<'_>) -> Result<Definition, Malformed> {
    Ok(match input.u8()? {
        1 => Definition::Topic(take_topic(input)?),
        2 => Definition::Schema { topic: TopicId(input.u32()?), id: SchemaId(input.u32()?), schema: take_schema(input)? },
        3 => Definition::DropTopic(TopicId(input.u32()?)),
        other => return Err(Malformed::new(format!("unknown kind of definition kind={other}"))),
    })
}
