//! What a disk gives back: journal frames and what is in them, manifests, blocks of checkpoints.

use super::{Target, site::Site};
use anyhow::{Context, Result};
use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, ListArray, RecordBatch, StringArray,
        StringViewArray,
    },
    datatypes::{DataType, Field, Int32Type, Schema, SchemaRef},
};
use regauge_log::{
    archive::Manifest,
    format::{
        body::RawBody,
        frame::{HEADER_LEN, Header, Kind, MAGIC, Seed, crc32c, find_valid},
        mark::Mark,
        payload,
    },
    producers::Bounds,
    state::LogState,
    testing::SimDisk,
};
use regauge_state::checkpoint::{Place, Store, decode, encode};
use regauge_types::{
    DataSetId, Env,
    env::{Disk, OpenMode},
};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

const BOUNDS: Bounds = Bounds { window: 4, producers_max: 1000, idle_ms: 0 };

fn put(bytes: &mut [u8], at: usize, number: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + number.len()) {
        place.copy_from_slice(number);
    }
}

/// Rows of some types, without a value here and there.
fn rows(n: i32) -> RecordBatch {
    let some = |i: i32| (i % 3 != 0).then_some(i);
    let lists = (0..n).map(|i| some(i).map(|i| (0..i % 4).map(some).collect::<Vec<_>>()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int32Array::from_iter_values(0..n))),
        ("b", Arc::new((0..n).map(|i| some(i).map(|i| i % 2 == 0)).collect::<BooleanArray>())),
        ("f", Arc::new((0..n).map(|i| some(i).map(f64::from)).collect::<Float64Array>())),
        ("t", Arc::new((0..n).map(|i| some(i).map(|i| format!("text {i}"))).collect::<StringArray>())),
        ("w", Arc::new((0..n).map(|i| some(i).map(|i| format!("a text that is not short {i}"))).collect::<StringViewArray>())),
        ("d", Arc::new((0..n).map(|i| some(i).map(i128::from)).collect::<Decimal128Array>())),
        ("l", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect())
        .expect("columns of one length")
}

fn schema() -> SchemaRef {
    rows(0).schema()
}

/// Journal files: frames are found, followed, and read to their rows.
pub struct Frames {
    seed: Seed,
    files: Vec<Vec<u8>>,
    schemas: Vec<SchemaRef>,
}

impl Frames {
    pub fn new() -> Result<Frames> {
        let site = Site::new()?;
        let files: Vec<Vec<u8>> = site.files(".rgj").into_iter().map(|file| file[..file.len().min(6 << 10)].to_vec()).collect();
        let log = site.instance.log();
        let schemas = log.topics().iter().map(|topic| topic.schema.clone()).collect();
        Ok(Frames { seed: Seed(log.dataset().0), files, schemas })
    }
}

impl Target for Frames {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.files.clone()
    }

    fn mend(&self, mut input: Vec<u8>) -> Vec<u8> {
        let mut at = 0;
        while let Some(found) = input.get(at..).and_then(|rest| rest.windows(4).position(|w| w == MAGIC)) {
            let start = at + found;
            at = start + 4;
            let Some(head) = input.get(start..start + HEADER_LEN) else { break };
            let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let body = start + HEADER_LEN;
            // a length that leads nowhere is one of the things to try
            let Some(crc) = input.get(body..body.saturating_add(len)).map(crc32c) else { continue };
            put(&mut input, start + 8, &crc.to_le_bytes());
            let crc = self.seed.crc(&input[start..start + 44]);
            put(&mut input, start + 44, &crc.to_le_bytes());
            at = body + len;
        }
        input
    }

    fn run(&mut self, input: &[u8]) {
        let _ = Mark::newest(input, &self.seed);
        let mut at = 0;
        while let Some((start, header)) = find_valid(input, at, &self.seed) {
            let body = start + HEADER_LEN;
            let end = body + header.body_len as usize;
            at = end;
            let body = &input[body..end];
            let _ = Header::read(&input[start..], &self.seed);
            match header.kind {
                Kind::State => drop(LogState::from_bytes(body, BOUNDS)),
                Kind::Commit => {
                    for part in RawBody::read(body, header.flags).iter().flat_map(|raw| &raw.parts) {
                        for schema in &self.schemas {
                            let _ = payload::decode(part.encoding, part.payload, schema, part.n_rows);
                        }
                    }
                }
            }
        }
    }
}

/// Rows of a commit, in each of their encodings: the first byte says which, the next two how many.
pub struct Rows;

impl Target for Rows {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = vec![];
        for n in [1, 5, 40] {
            for (small, compress) in [(100, false), (0, false), (0, true)] {
                if let Ok((encoding, pieces)) = payload::encode(&rows(n), small, compress) {
                    let n = u16::try_from(n).unwrap_or(1).to_le_bytes();
                    let head = [encoding, n[0], n[1]];
                    seeds.push(head.into_iter().chain(pieces.iter().flat_map(|piece| piece.iter().copied())).collect());
                }
            }
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let Some(([encoding, low, high], bytes)) = input.split_first_chunk::<3>() else { return };
        let n = u64::from(u16::from_le_bytes([*low, *high]));
        if let Ok(rows) = payload::decode(*encoding, bytes, &schema(), n) {
            assert_eq!(rows.num_rows() as u64, n);
            // what was taken must be sound: each value is looked at
            for column in rows.columns() {
                let _ = arrow::compute::cast(column, &DataType::Utf8);
                assert!(column.to_data().validate_full().is_ok(), "rows that are no rows were taken");
            }
        }
    }
}

/// What a journal file begins with.
pub struct State {
    seeds: Vec<Vec<u8>>,
}

impl State {
    pub fn new() -> Result<State> {
        let frames = Frames::new()?;
        let mut seeds = vec![];
        for file in &frames.files {
            let mut at = 0;
            while let Some((start, header)) = find_valid(file, at, &frames.seed) {
                at = start + HEADER_LEN + header.body_len as usize;
                if header.kind == Kind::State {
                    seeds.push(file[start + HEADER_LEN..at].to_vec());
                }
            }
        }
        seeds.push(LogState::new(BOUNDS).to_bytes());
        Ok(State { seeds })
    }
}

impl Target for State {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) {
        if let Ok(state) = LogState::from_bytes(input, BOUNDS) {
            let _ = state.to_bytes();
        }
    }
}

/// The archive's list of segments.
pub struct ArchiveManifest {
    seeds: Vec<Vec<u8>>,
}

impl ArchiveManifest {
    pub fn new() -> Result<ArchiveManifest> {
        Ok(ArchiveManifest { seeds: Site::new()?.files("archive/manifest") })
    }
}

impl Target for ArchiveManifest {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn mend(&self, mut input: Vec<u8>) -> Vec<u8> {
        if input.len() >= 20 {
            let len = (input.len() - 20) as u64;
            put(&mut input, 8, &len.to_le_bytes());
            let crc = crc32c(&[&input[..16], &input[20..]].concat());
            put(&mut input, 16, &crc.to_le_bytes());
        }
        input
    }

    fn run(&mut self, input: &[u8]) {
        if let Ok(manifest) = Manifest::decode(&object_store::path::Path::from("manifest"), &bytes::Bytes::copy_from_slice(input))
        {
            assert_eq!(*manifest.encode(), *input, "a manifest that reads is written as it was");
        }
    }
}

/// A checkpoint's list of blocks.
pub struct CheckpointManifest {
    seeds: Vec<Vec<u8>>,
    /// The runs beside them.
    runs: Vec<Vec<u8>>,
    disk: Arc<SimDisk>,
    store: Store,
    path: PathBuf,
}

impl CheckpointManifest {
    pub fn new() -> Result<CheckpointManifest> {
        let site = Site::new()?;
        let data_set: DataSetId = site.instance.log().dataset();
        let disk = SimDisk::new(1);
        let dir = Path::new("/data/checkpoint");
        disk.create_dir_all(dir)?;
        let path = dir.join(format!("manifest-{:020}.rgc", 1));
        disk.open(&path, OpenMode::CreateNew)?;
        let env = Env { disk: disk.clone(), ..Env::real() };
        Ok(CheckpointManifest {
            seeds: site.files(".rgc"),
            runs: site.files(".rgr"),
            disk,
            store: Store::look(env, dir, data_set),
            path,
        })
    }
}

impl Target for CheckpointManifest {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn mend(&self, mut input: Vec<u8>) -> Vec<u8> {
        if input.len() >= 36 {
            let len = (input.len() - 36) as u64;
            put(&mut input, 12, &len.to_le_bytes());
            let hash = blake3::hash(&[&input[..20], &input[36..]].concat());
            put(&mut input, 20, &hash.as_bytes()[..16]);
        }
        input
    }

    fn run(&mut self, input: &[u8]) {
        self.disk.damage(&self.path, input.to_vec());
        if let Ok(manifest) = self.store.load(1) {
            for block in manifest.sections.iter().flat_map(|section| &section.blocks) {
                // no run is there: an error, whatever place it names
                assert!(self.store.read(block).is_err());
            }
        }
    }
}

/// Files of blocks: the manifest that names them stays, so every byte that it names is vouched for: a block reads as it was written, or
/// not at all.
pub struct RunFile {
    seeds: Vec<Vec<u8>>,
    /// What stands in the sound file, which is the first seed, and so the first input.
    sound: HashMap<Place, Vec<u8>>,
    disk: Arc<SimDisk>,
    store: Store,
    run: PathBuf,
    no: u64,
}

impl RunFile {
    pub fn new() -> Result<RunFile> {
        let mut manifest = CheckpointManifest::new()?;
        let bytes = manifest.seeds.pop().context("a checkpoint was taken")?;
        let no = u64::from_le_bytes(*bytes.get(52..60).and_then(|b| b.first_chunk()).context("a manifest has a number")?);
        let path = Path::new("/data/checkpoint").join(format!("manifest-{no:020}.rgc"));
        if !manifest.disk.exists(&path)? {
            manifest.disk.open(&path, OpenMode::CreateNew)?;
        }
        manifest.disk.damage(&path, bytes);
        let run = Path::new("/data/checkpoint").join(format!("run-{:020}.rgr", 1));
        manifest.disk.open(&run, OpenMode::CreateNew)?;
        let seeds = std::mem::take(&mut manifest.runs);
        manifest.store.load(no).context("the manifest is the folder's")?;
        Ok(RunFile { seeds, sound: HashMap::new(), disk: manifest.disk, store: manifest.store, run, no })
    }
}

impl Target for RunFile {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn bytes_max(&self) -> usize {
        256 << 10
    }

    fn run(&mut self, input: &[u8]) {
        self.disk.damage(&self.run, input.to_vec());
        let _ = self.store.check_run(1);
        for block in self.store.load(self.no).iter().flat_map(|manifest| &manifest.sections).flat_map(|section| &section.blocks) {
            if let Ok(bytes) = self.store.read(block) {
                let sound = self.sound.entry(block.place).or_insert_with(|| bytes.clone());
                assert!(*sound == bytes, "a block that its checksum vouches for is another one");
            }
        }
    }
}

/// A block of a checkpoint, as if a checksum vouched for whatever it says.
pub struct Block;

impl Target for Block {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let tables = [vec![rows(40)], vec![rows(3), rows(0)], vec![rows(2000)]];
        tables.iter().filter_map(|tables| encode(tables).ok()).collect()
    }

    fn bytes_max(&self) -> usize {
        64 << 10
    }

    fn catches(&self) -> bool {
        true
    }

    fn run(&mut self, input: &[u8]) {
        for table in decode(input).iter().flatten() {
            for column in table.columns() {
                assert!(column.to_data().validate_full().is_ok(), "rows that are no rows were taken");
            }
        }
    }
}
