//! UNION: a row stands once, at the least level that has a derivation of it.
//!
//! ```text
//!   row ─▶ derivations by level {1: 2, 4: 1}        stands at 1
//!          both of level 1 go away                  goes from 1, and stands at 4: the step gets (row, 1) -1 and (row, 4) +1
//! ```
//! Counting derivations without their levels would be wrong: rows of a cycle derive each other, and would stay when what led into the
//! cycle is gone. With levels they go one by one, as each derivation is of a lower level than the row that it holds up.
//! State: for each row that has derivations their number by level, and where the row stands.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use regauge_state::{GroupIndex, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

use super::super::parts::{ROWS_MAX, Touched, diffs_of, emit, row_number, schema_of};
use super::{Ends, Rows, leveled, with_level};
use crate::image::{Image, by_bucket, int64, places, table, types_of};
use crate::operator::{Finish, FlowError, OpStats, Out};
use crate::show;

/// The level of a row that stands nowhere.
const NOWHERE: u32 = u32::MAX;

/// Derivations by level, ascending, none of them zero. Most rows have one level.
#[derive(Debug, Default)]
enum Derived {
    #[default]
    Nothing,
    At([(u32, i64); 1]),
    Many(Vec<(u32, i64)>),
}

impl Derived {
    fn as_slice(&self) -> &[(u32, i64)] {
        match self {
            Derived::Nothing => &[],
            Derived::At(one) => one,
            Derived::Many(all) => all,
        }
    }

    fn add(&mut self, level: u32, diff: i64) {
        let mut all = match self {
            Derived::Nothing => {
                *self = Derived::At([(level, diff)]);
                return;
            }
            Derived::At([(at, n)]) if *at == level && *n + diff != 0 => {
                *n += diff;
                return;
            }
            Derived::At(one) => one.to_vec(),
            Derived::Many(all) => std::mem::take(all),
        };
        match all.binary_search_by_key(&level, |(l, _)| *l) {
            Ok(i) if all[i].1 + diff == 0 => drop(all.remove(i)),
            Ok(i) => all[i].1 += diff,
            Err(i) => all.insert(i, (level, diff)),
        }
        *self = match all.as_slice() {
            [] => Derived::Nothing,
            [one] => Derived::At([*one]),
            _ => Derived::Many(all),
        };
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Derived::Nothing)
    }
}

#[derive(Debug)]
struct Row {
    stands: u32,
    derived: Derived,
}

impl Default for Row {
    fn default() -> Self {
        Row { stands: NOWHERE, derived: Derived::Nothing }
    }
}

/// See the module's header.
pub(super) struct Once {
    index: GroupIndex,
    rows: Vec<Row>,
    ends: Ends,
    pending: BTreeMap<u32, Vec<u32>>,
    /// The level being settled, its rows, and how many are done.
    level: u32,
    ids: Vec<u32>,
    done: usize,
    touched: Touched,
    /// Whether the row was in the output at the epoch's start; parallel to `touched`.
    before: Vec<bool>,
    /// Rows that stand at a level that is let be.
    n_stand: u64,
    schema: SchemaRef,
    with_level: SchemaRef,
    stats: OpStats,
}

/// What settling a level changes: which rows, at which level, and how.
#[derive(Default)]
struct Changes {
    ids: Vec<u32>,
    levels: Vec<i64>,
    diffs: Vec<i64>,
    beyond: Vec<(u32, i64)>,
}

impl Once {
    pub fn new(types: &[DataType], ends: Ends) -> Result<Once, FlowError> {
        Ok(Once {
            index: GroupIndex::new(types)?,
            rows: vec![],
            ends,
            pending: BTreeMap::new(),
            level: 0,
            ids: vec![],
            done: 0,
            touched: Touched::default(),
            before: vec![],
            n_stand: 0,
            schema: schema_of(types),
            with_level: with_level(types),
            stats: OpStats::default(),
        })
    }

    fn is_shown(&self, id: u32) -> bool {
        self.rows[id as usize].stands <= self.ends.steps
    }

    /// Puts a row to a level, or takes it from there.
    fn change(&mut self, changes: &mut Changes, id: u32, level: u32, diff: i64) {
        if level > self.ends.steps {
            changes.beyond.push((id, diff));
            return;
        }
        self.n_stand = self.n_stand.saturating_add_signed(diff);
        changes.ids.push(id);
        changes.levels.push(level.into());
        changes.diffs.push(diff);
    }

    /// Everything below the level is final, and so are the row's derivations at it.
    fn settle_row(&mut self, id: u32, changes: &mut Changes) -> Result<(), FlowError> {
        let level = self.level;
        let row = &self.rows[id as usize];
        let stands = row.stands;
        let (mut least, mut above) = (None, None);
        for (at, n) in row.derived.as_slice().iter().copied() {
            if at > level {
                above = above.or((n > 0).then_some(at));
            } else if n < 0 {
                return Err(FlowError::Negative { operator: "recursion", multiplicity: n });
            } else {
                least = least.or(Some(at));
            }
        }
        match least {
            Some(at) if at == level && stands != level => {
                self.rows[id as usize].stands = level;
                if stands != NOWHERE {
                    self.change(changes, id, stands, -1);
                }
                self.change(changes, id, level, 1);
            }
            None if stands <= level => {
                self.rows[id as usize].stands = NOWHERE;
                self.change(changes, id, stands, -1);
                if let Some(next) = above {
                    self.pending.entry(next).or_default().push(id);
                }
            }
            // It was to be looked at here after a lower level had gone, and what held it here has gone, too.
            None if stands == NOWHERE => {
                if let Some(next) = above {
                    self.pending.entry(next).or_default().push(id);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Rows for Once {
    fn arrive(&mut self, rows: Delta, levels: &[u32]) -> Result<(), FlowError> {
        let n = rows.n_rows();
        self.stats.touched += n as u64;
        let columns = canonical_keys(rows.rows.columns());
        let hashes = hash_columns(&columns, n)?;
        let (mut ids, mut created) = (Vec::new(), Vec::new());
        self.index.intern(&columns, &hashes, &mut ids, &mut created)?;
        if self.rows.len() < self.index.n_ids() {
            self.rows.resize_with(self.index.n_ids(), Row::default);
        }
        let diffs = diffs_of(&rows);
        for (i, (id, level)) in ids.iter().zip(levels).enumerate() {
            if self.touched.mark(*id) {
                self.before.push(self.is_shown(*id));
            }
            self.rows[*id as usize].derived.add(*level, diffs.map_or(1, |d| d[i]));
            self.pending.entry(*level).or_default().push(*id);
        }
        // What is not settled yet counts, too, as a step may make more than there is room for; but rows that come may be in the place
        // of as many that go.
        self.ends.check(self.index.n_groups() as u64 / 2)
    }

    fn settle(&mut self, out: &mut Out) -> Result<Option<Delta>, FlowError> {
        if self.done >= self.ids.len() {
            let Some((level, mut ids)) = self.pending.pop_first() else { return Ok(None) };
            ids.sort_unstable();
            ids.dedup();
            (self.level, self.ids, self.done) = (level, ids, 0);
        }
        let to = (self.done + ROWS_MAX / 2).min(self.ids.len());
        let mut changes = Changes::default();
        for i in self.done..to {
            self.settle_row(self.ids[i], &mut changes)?;
        }
        self.stats.touched += (to - self.done) as u64;
        self.done = to;
        self.ends.check(self.n_stand)?;
        for (id, diff) in changes.beyond {
            out.error(self.ends.beyond(), show::row("row", &self.index.keys(&[id])?, 0), diff);
        }
        leveled(&self.with_level, self.index.keys(&changes.ids)?, changes.levels, changes.diffs).map(Some)
    }

    fn settling(&self) -> u32 {
        self.level
    }

    fn send(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        let (at, ids) = self.touched.next(ROWS_MAX);
        if ids.is_empty() {
            self.before.clear();
            self.level = 0;
            return Ok(Finish::Done);
        }
        let (mut changed, mut diffs) = (Vec::new(), Vec::new());
        for (id, before) in ids.iter().zip(&self.before[at..]) {
            let diff = i64::from(self.is_shown(*id)) - i64::from(*before);
            if diff != 0 {
                changed.push(*id);
                diffs.push(diff);
            }
        }
        self.stats.rows_out += changed.len() as u64;
        emit(out, &self.schema, self.index.keys(&changed)?, changed.len(), Some(diffs))?;
        let gone: Vec<u32> = ids.into_iter().filter(|id| self.rows[*id as usize].derived.is_nothing()).collect();
        for id in &gone {
            self.rows[*id as usize] = Row::default();
        }
        self.index.forget(&gone)?;
        Ok(Finish::More)
    }

    fn stats(&self) -> OpStats {
        // Without the few rows that have derivations of several levels: to count those would be to look at all.
        let rows = self.rows.capacity() * size_of::<Row>();
        OpStats {
            state_rows: self.index.n_groups() as u64,
            state_bytes: (self.index.n_bytes() + rows + self.touched.n_bytes()) as u64,
            ..self.stats.clone()
        }
    }

    fn save(&self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (bucket, ids) in by_bucket(&self.index) {
            let row = |id: &u32| &self.rows[*id as usize];
            let stands = int64(ids.iter().map(|id| row(id).stands.into()));
            let of_row = |(place, id)| row(id).derived.as_slice().iter().map(move |d| (row_number(place), d));
            let derived: Vec<(u32, &(u32, i64))> = ids.iter().enumerate().flat_map(of_row).collect();
            let levels = int64(derived.iter().map(|(_, (level, _))| (*level).into()));
            let counts = int64(derived.iter().map(|(_, (_, n))| *n));
            let of = places(derived.iter().map(|(place, _)| *place).collect());
            let rows = table(self.index.keys(&ids)?, ids.len())?;
            let derived = table(vec![of, levels, counts], derived.len())?;
            to.push(Image::new(0, bucket, vec![rows, table(vec![stands], ids.len())?, derived]));
        }
        Ok(())
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images {
            let mut tables = image.read();
            let (columns, n) = tables.table(&types_of(&self.schema))?;
            let [stands] = tables.numbers()?;
            let (of, levels, counts) = tables.placed(n, &[DataType::Int64])?;
            let levels = levels[0].as_primitive::<Int64Type>().values();
            let mut ids = Vec::new();
            self.index.intern(&columns, &hash_columns(&columns, n)?, &mut ids, &mut Vec::new())?;
            self.rows.resize_with(self.index.n_ids().max(self.rows.len()), Row::default);
            let level_of = |n: i64| u32::try_from(n).map_err(|_| FlowError::Image(format!("a level that is none level={n}")));
            for (id, stands) in ids.iter().zip(stands) {
                self.rows[*id as usize].stands = level_of(stands)?;
                self.n_stand += u64::from(self.is_shown(*id));
            }
            for (place, (level, count)) in of.into_iter().zip(levels.iter().zip(counts)) {
                self.rows[ids[place as usize] as usize].derived.add(level_of(*level)?, count);
            }
        }
        Ok(())
    }
}
