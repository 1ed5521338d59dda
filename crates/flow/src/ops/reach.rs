//! Which rows of a partition may get other results when some of its rows change, and what has to be read to compute them.
//!
//! ```text
//!   a call looks   back <──[row]──> ahead          lag(x, 2): 2 rows back     ROWS BETWEEN 1 PRECEDING AND 3 FOLLOWING: 1 and 3
//!   so a change    reaches ahead <──[change]──> back      shown
//!   and needs      back <──[  shown  ]──> ahead           slots
//! ```
//! Distances count rows that stand in the partition both before and after the epoch, so they hold for both readings. Cost: the
//! neighbourhoods of the changes where every call looks a bounded way; numbers go from the first change on, but not further than the
//! last one where as many rows came as went. What sums from the partition's start on reads it from there, and so do dense_rank and
//! ranges with offsets; what depends on the number of rows (ntile, percent_rank, cume_dist) is computed for the whole partition.

use std::cell::Cell;
use std::ops::Range;

use regauge_plan::flowplan::{Arg, Bound, Exclude, Frame, Units, WindowCall, WindowFunc};
use regauge_plan::over::Before;
use regauge_plan::value::{Datum, Value};
use regauge_state::{Sequences, Weights};

/// Partitions of fewer slots are computed whole.
const WHOLE_BELOW: usize = 64;

/// A piece of a partition to be computed anew.
pub(super) struct Stretch {
    /// Its slots in order, as it was and as it is.
    pub slots: Vec<u32>,
    /// Which of them may show other results; the rest is what those look at.
    pub shown: Range<usize>,
    /// What stands before it, in both readings.
    pub before: Before,
}

/// How far one side is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    all: bool,
    rows: usize,
    /// Groups of peers; 0 is the own group.
    groups: Option<usize>,
}

impl Side {
    fn all() -> Side {
        Side { all: true, ..Side::default() }
    }
    fn rows(rows: usize) -> Side {
        Side { rows, ..Side::default() }
    }
    fn groups(groups: usize) -> Side {
        Side { groups: Some(groups), ..Side::default() }
    }
    fn with(self, other: Side) -> Side {
        Side { all: self.all || other.all, rows: self.rows.max(other.rows), groups: self.groups.max(other.groups) }
    }
}

/// How far a change reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    back: Side,
    ahead: Side,
    /// A call numbers rows, so what comes behind a change is counted anew.
    numbers: bool,
}

impl Reach {
    /// Of calls over an order of so many columns.
    pub fn of(calls: &[WindowCall], n_order: usize) -> Reach {
        let mut reach = Reach::default();
        for call in calls {
            let (back, ahead) = looks(call);
            reach.back = reach.back.with(back);
            reach.ahead = reach.ahead.with(ahead);
            reach.numbers |= matches!(call.func, WindowFunc::RowNumber | WindowFunc::Rank);
        }
        if n_order == 0 {
            // All rows are peers.
            reach.back.all |= reach.back.groups.is_some();
            reach.ahead.all |= reach.ahead.groups.is_some();
        }
        reach
    }

    /// The stretches to compute when the copies of `changed` (in order) changed.
    pub fn stretches(&self, rows: &Sequences, group: u32, changed: &[u32]) -> Vec<Stretch> {
        let n = rows.n_slots(group);
        let whole = (self.back.all && self.ahead.all) || n < WHOLE_BELOW || changed.len() > n / 8;
        if whole {
            return vec![Stretch { slots: rows.slots(group, 0..n), shown: 0..n, before: Before::default() }];
        }
        let walk = Walk { rows, group, n, left: Cell::new(n / 4) };
        let mut shown: Vec<Range<usize>> = vec![];
        for slot in changed {
            let place = rows.place_of(group, *slot);
            let from = walk.back(place, self.ahead);
            let to = walk.ahead(place + 1, self.back);
            match shown.last_mut() {
                // Near enough that one reading serves both.
                Some(last) if from <= walk.ahead(last.end, self.ahead) => last.end = last.end.max(to),
                _ => shown.push(from..to),
            }
        }
        if self.numbers {
            let net: i64 = changed.iter().map(|s| rows.copies(*s, Weights::Now) - rows.copies(*s, Weights::Before)).sum();
            let end = shown.last().filter(|_| net == 0).map_or(n, |last| last.end);
            shown.truncate(1);
            shown.iter_mut().for_each(|only| only.end = end);
        }
        let mut stretches = vec![];
        for shown in shown {
            let (from, to) = (walk.back(shown.start, self.back), walk.ahead(shown.end, self.ahead));
            let before =
                if self.numbers { Before { rows: rows.copies_before(group, from), groups: 0 } } else { Before::default() };
            stretches.push(Stretch { slots: rows.slots(group, from..to), shown: shown.start - from..shown.end - from, before });
        }
        stretches
    }
}

/// How far a call looks back and ahead.
fn looks(call: &WindowCall) -> (Side, Side) {
    match call.func {
        // Numbers are carried on from what stands before; a rank is its first peer's.
        WindowFunc::RowNumber => (Side::default(), Side::default()),
        WindowFunc::Rank => (Side::groups(0), Side::groups(0)),
        WindowFunc::DenseRank => (Side::all(), Side::groups(0)),
        WindowFunc::PercentRank | WindowFunc::CumeDist | WindowFunc::Ntile => (Side::all(), Side::all()),
        WindowFunc::Lag | WindowFunc::Lead => {
            let by = match call.args.get(1) {
                None => 1,
                Some(Arg::Constant(Value { datum: Datum::Int(n), .. })) => *n,
                Some(Arg::Constant(_)) => 0,
                Some(Arg::Column(_)) => return (Side::all(), Side::all()),
            };
            let is_back = (call.func == WindowFunc::Lag) == (by >= 0);
            let far = Side::rows(usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX));
            if is_back { (far, Side::default()) } else { (Side::default(), far) }
        }
        WindowFunc::FirstValue | WindowFunc::LastValue | WindowFunc::NthValue | WindowFunc::Agg(_) => framed(&call.frame),
    }
}

fn framed(frame: &Frame) -> (Side, Side) {
    let offset = |v: &Value| match (frame.units, &v.datum) {
        (Units::Rows, Datum::Int(n)) => Side::rows(usize::try_from(*n).unwrap_or(usize::MAX)),
        (Units::Groups, Datum::Int(n)) => Side::groups(usize::try_from(*n).unwrap_or(usize::MAX)),
        // How many rows lie within a distance is not known.
        _ => Side::all(),
    };
    let own = if frame.units == Units::Rows { Side::default() } else { Side::groups(0) };
    let (mut back, mut ahead) = (own, own);
    for bound in [&frame.start, &frame.end] {
        match bound {
            Bound::UnboundedPreceding => back = back.with(Side::all()),
            Bound::Preceding(v) => back = back.with(offset(v)),
            Bound::CurrentRow => {}
            Bound::Following(v) => ahead = ahead.with(offset(v)),
            Bound::UnboundedFollowing => ahead = ahead.with(Side::all()),
        }
    }
    if matches!(frame.exclude, Exclude::Group | Exclude::Ties) {
        (back, ahead) = (back.with(Side::groups(0)), ahead.with(Side::groups(0)));
    }
    (back, ahead)
}

/// Distances in a partition.
struct Walk<'a> {
    rows: &'a Sequences,
    group: u32,
    n: usize,
    /// Steps that may be taken; then the whole side is meant, so that many peers cost no more than the partition does.
    left: Cell<usize>,
}

impl Walk<'_> {
    /// Copies that stand there before and after the epoch.
    fn lasting(&self, slot: u32) -> usize {
        let least = self.rows.copies(slot, Weights::Before).min(self.rows.copies(slot, Weights::Now));
        usize::try_from(least).unwrap_or(0)
    }

    fn is_tired(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 0
    }

    /// The place so far before `place`, which stays outside.
    fn back(&self, place: usize, side: Side) -> usize {
        if side.all {
            return 0;
        }
        let behind = (side.groups.is_some() && place < self.n).then(|| self.rows.slot_at(self.group, place));
        let mut steps = Steps::new(side, behind);
        let mut at = place;
        while at > 0 {
            let slot = self.rows.slot_at(self.group, at - 1);
            if !steps.goes_on(self.rows, slot, self.lasting(slot)) {
                break;
            }
            if self.is_tired() {
                return 0;
            }
            at -= 1;
        }
        at
    }

    /// The place so far behind `place`, which is the first not yet inside.
    fn ahead(&self, place: usize, side: Side) -> usize {
        if side.all {
            return self.n;
        }
        let before = (side.groups.is_some() && place > 0).then(|| self.rows.slot_at(self.group, place - 1));
        let mut steps = Steps::new(side, before);
        let mut at = place;
        while at < self.n {
            let slot = self.rows.slot_at(self.group, at);
            if !steps.goes_on(self.rows, slot, self.lasting(slot)) {
                break;
            }
            if self.is_tired() {
                return self.n;
            }
            at += 1;
        }
        at
    }
}

/// What is left to go.
struct Steps {
    rows: usize,
    /// Groups yet to be entered.
    groups: Option<usize>,
    /// A slot of the group gone through at present, and whether it has lasting rows.
    current: Option<u32>,
    lasts: bool,
}

impl Steps {
    fn new(side: Side, current: Option<u32>) -> Steps {
        // Where one starts counts as a group, whatever it holds.
        Steps { rows: side.rows, groups: side.groups, current, lasts: true }
    }

    /// Whether the next slot lies within the distance; then it is passed.
    fn goes_on(&mut self, rows: &Sequences, slot: u32, lasting: usize) -> bool {
        let in_rows = self.rows > 0;
        let in_groups = match self.groups {
            None => false,
            Some(left) => {
                let same = self.current.is_some_and(|c| rows.are_peers(c, slot));
                if same {
                    self.lasts |= lasting > 0;
                    true
                } else {
                    // A group that is only there in one reading is passed for nothing.
                    let left = if self.lasts { left.checked_sub(1) } else { Some(left) };
                    self.current = Some(slot);
                    self.lasts = lasting > 0;
                    self.groups = left;
                    left.is_some()
                }
            }
        };
        self.rows = self.rows.saturating_sub(lasting);
        in_rows || in_groups
    }
}
