//! Schedules: when views come and go, what each transaction changes, when the system restarts.

use super::data::{Source, value};
use super::{Sizes, Ty, expr};
use crate::case::{Change, Step, View};
use crate::rng::Rng;

/// What is known of a table while the schedule is drawn.
struct Live<'a> {
    source: &'a Source,
    next_id: i64,
    /// Rows were copied within the table so many times.
    copies: i64,
}

/// The steps of a case. Every view is created once: some before any data, some in the middle.
/// Where a view may fail, its causes are deleted now and then.
pub fn steps(rng: &mut Rng, tables: &[Source], views: &[View], risky: bool, sizes: &Sizes, large: bool) -> Vec<Step> {
    let commits = if large { sizes.commits / 2 + 1 } else { sizes.commits };
    let mut lives: Vec<Live> = tables.iter().map(|source| Live { source, next_id: 1, copies: 0 }).collect();
    let mut steps = Vec::new();
    // A third of the views sees all data live, the others are backfilled; order keeps dependants
    // behind what they use.
    let early = rng.below(views.len() + 1);
    let mut waiting: Vec<usize> = (0..views.len()).collect();
    let mut dropped = vec![false; views.len()];
    for view in waiting.drain(..early) {
        steps.push(Step::Create(view));
    }
    for at in 0..commits {
        let batch_max = if large && at < 2 { sizes.batch_max } else { [1, 3, 8, 20][rng.below(4)] };
        steps.push(Step::Commit(transaction(rng, &mut lives, batch_max)));
        if risky && rng.percent(30) {
            let changes = heal(tables);
            if !changes.is_empty() {
                steps.push(Step::Commit(changes));
            }
        }
        let left = commits - at;
        let due = waiting.len().div_ceil(left.max(1));
        if !waiting.is_empty() && (rng.percent(60) || left < 3) {
            for view in waiting.drain(..due.min(waiting.len())) {
                steps.push(Step::Create(view));
            }
        }
        if rng.percent(6) {
            steps.push(Step::Restart(1 + rng.below(4)));
        }
        if rng.percent(8)
            && let Some(view) = droppable(rng, views, &steps, &dropped, &waiting)
        {
            dropped[view] = true;
            steps.push(Step::Drop(view));
        } else if rng.percent(20)
            && let Some(view) = (0..views.len()).find(|view| dropped[*view] && views[*view].uses.iter().all(|u| !dropped[*u]))
        {
            // Under the same name again, over what has come meanwhile.
            dropped[view] = false;
            steps.push(Step::Create(view));
        }
    }
    for view in waiting {
        steps.push(Step::Create(view));
    }
    steps.push(Step::Restart(1 + rng.below(4)));
    steps.push(Step::Commit(transaction(rng, &mut lives, 5)));
    steps
}

/// Deletes the rows that make a risky expression fail, from all tables: views that failed answer again.
fn heal(tables: &[Source]) -> Vec<Change> {
    let tables = tables.iter().filter(|source| !source.table.stream);
    let delete = |source: &Source| {
        let ints = source.cols.iter().filter(|col| col.ty == Ty::Int && col.name != "id");
        let causes: Vec<String> = ints.map(|col| format!("{} NOT IN (-2, -1, 2)", col.name)).collect();
        Change::Sql(format!("DELETE FROM {} WHERE {}", source.table.name, causes.join(" OR ")))
    };
    tables.map(delete).collect()
}

/// A live view that no other view, live or to come, reads.
fn droppable(rng: &mut Rng, views: &[View], steps: &[Step], dropped: &[bool], waiting: &[usize]) -> Option<usize> {
    let created = |view: usize| steps.iter().any(|s| matches!(s, Step::Create(v) if *v == view));
    let read = |view: usize| {
        views
            .iter()
            .enumerate()
            .any(|(at, other)| other.uses.contains(&view) && !dropped[at] && (created(at) || waiting.contains(&at)))
    };
    let free: Vec<usize> = (0..views.len()).filter(|v| created(*v) && !dropped[*v] && !read(*v)).collect();
    rng.pick(&free).copied()
}

fn transaction(rng: &mut Rng, lives: &mut [Live], batch_max: usize) -> Vec<Change> {
    let n = [1, 1, 1, 2, 2, 4][rng.below(6)];
    (0..n)
        .map(|nth| {
            let at = rng.below(lives.len());
            // One large batch is enough: PostgreSQL recomputes every view from all rows.
            let batch_max = if nth == 0 { batch_max } else { batch_max.min(20) };
            change(rng, &mut lives[at], batch_max)
        })
        .collect()
}

fn change(rng: &mut Rng, live: &mut Live, batch_max: usize) -> Change {
    let stream = live.source.table.stream;
    if stream || live.next_id < 5 || rng.percent(50) {
        return insert(rng, live, batch_max);
    }
    let source = live.source;
    let scope = source.relation().cols;
    let name = &source.table.name;
    let condition = match rng.below(4) {
        0 => format!("id = {}", rng.range(1, live.next_id)),
        1 => format!("id % {} = 1", rng.range(2, 4)),
        _ => expr::predicate(rng, &scope, 1),
    };
    match rng.below(12) {
        0..=3 => Change::Sql(format!("DELETE FROM {name} WHERE {condition}")),
        // The key itself moves, to where no other key goes.
        10 => Change::Sql(format!("UPDATE {name} SET id = id + 500000 WHERE id = {}", rng.range(1, live.next_id))),
        11 if live.copies < 8 => {
            live.copies += 1;
            let cols: Vec<&str> = source.cols.iter().skip(1).map(|col| col.name.as_str()).collect();
            let cols = cols.join(", ");
            let apart = live.copies * 50_000;
            Change::Sql(format!(
                "INSERT INTO {name} (id, {cols}) SELECT id + {apart}, {cols} FROM {name} WHERE id < 500 AND {condition}"
            ))
        }
        4..=8 => {
            let set = source.cols.iter().filter(|col| col.name != "id").collect::<Vec<_>>();
            let Some(col) = rng.pick(&set).copied() else {
                return insert(rng, live, batch_max);
            };
            let to = match col.ty {
                Ty::Int if rng.percent(50) => format!("({} + 1) % 7", col.name),
                _ => value(rng, col),
            };
            Change::Sql(format!("UPDATE {name} SET {} = {to} WHERE {condition}", col.name))
        }
        _ => upsert(rng, live),
    }
}

fn insert(rng: &mut Rng, live: &mut Live, batch_max: usize) -> Change {
    let n = if batch_max > 100 { batch_max / (1 + rng.below(4)) } else { 1 + rng.below(batch_max) };
    let rows = (0..n).map(|_| {
        live.next_id += 1;
        live.source.row(rng, live.next_id)
    });
    let mut rows: Vec<String> = rows.collect();
    // Now and then a key that is there already (unless it was deleted): the whole transaction fails,
    // in both systems.
    if !live.source.table.stream && live.next_id > 5 && rng.percent(10) {
        rows.push(live.source.row(rng, 3));
    }
    Change::Insert { head: live.source.insert_head(), rows, tail: String::new() }
}

fn upsert(rng: &mut Rng, live: &mut Live) -> Change {
    let mut ids: Vec<i64> = (0..1 + rng.below(4)).map(|_| rng.range(1, live.next_id + 2)).collect();
    ids.sort_unstable();
    ids.dedup();
    live.next_id += 2;
    let rows = ids.into_iter().map(|id| live.source.row(rng, id)).collect();
    let tail = if rng.percent(40) {
        " ON CONFLICT (id) DO NOTHING".into()
    } else {
        let name = &live.source.cols[1].name;
        format!(" ON CONFLICT (id) DO UPDATE SET {name} = EXCLUDED.{name}")
    };
    Change::Insert { head: live.source.insert_head(), rows, tail }
}
