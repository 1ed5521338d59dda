//! Makes a failing case small, greedily: what can go while the difference stays, goes. Tried in order
//! of what saves most: later steps, other views, restarts, transactions, statements, rows.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::case::{Case, Change, Step};
use crate::run::{Difference, Maker, Pace, run_fresh};

/// Shrinking stops after so long; what is left is still a reproduction.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The smallest case found that still differs, with its difference.
///
/// # Errors
/// When the runs themselves cannot be done.
pub async fn shrink(case: &Case, difference: &Difference, server: u16, maker: &impl Maker) -> Result<(Case, Difference)> {
    let mut small = Small { case: case.clone(), difference: difference.clone(), server, maker, until: Instant::now() + TIME_MAX };
    small.case.steps.truncate(difference.step + 1);
    small.other_views().await?;
    small.steps().await?;
    small.changes().await?;
    small.rows().await?;
    small.steps().await?;
    small.workers().await?;
    let script = small.case.script(crate::system::Dialect::Regauge);
    let used = |name: &str| script.matches(name).count() > 1;
    let mut case = small.case.clone();
    case.tables.retain(|table| used(&table.name));
    if small.keeps(case.clone()).await? {
        return Ok((case, small.difference));
    }
    Ok((small.case, small.difference))
}

struct Small<'a, M> {
    case: Case,
    difference: Difference,
    server: u16,
    maker: &'a M,
    until: Instant,
}

impl<M: Maker> Small<'_, M> {
    /// Takes the smaller case when it still differs.
    async fn keeps(&mut self, case: Case) -> Result<bool> {
        if Instant::now() > self.until {
            return Ok(false);
        }
        // A case that PostgreSQL refuses (a table gone that is needed) is no reproduction.
        let Ok(outcome) = run_fresh(&case, self.server, self.maker, Pace::EveryStep).await else {
            return Ok(false);
        };
        let Some(difference) = outcome.difference else {
            return Ok(false);
        };
        // A smaller case may fail for another reason; a failing statement must stay a statement.
        if difference.view.is_some() != self.difference.view.is_some() {
            return Ok(false);
        }
        self.case = case;
        self.difference = difference;
        Ok(true)
    }

    /// Only the view that differs and what it reads.
    async fn other_views(&mut self) -> Result<()> {
        let mut needed = vec![false; self.case.views.len()];
        let mut open: Vec<usize> = self.difference.view.into_iter().collect();
        while let Some(view) = open.pop() {
            needed[view] = true;
            open.extend(&self.case.views[view].uses);
        }
        let mut case = self.case.clone();
        case.steps.retain(|step| match step {
            Step::Create(view) | Step::Drop(view) => needed[*view],
            Step::Commit(_) | Step::Restart(_) => true,
        });
        self.keeps(case).await?;
        Ok(())
    }

    async fn steps(&mut self) -> Result<()> {
        let mut size = (self.case.steps.len() / 2).max(1);
        loop {
            let mut end = self.case.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut case = self.case.clone();
                case.steps.drain(start..end.min(case.steps.len()));
                self.keeps(case).await?;
                end = start.min(self.case.steps.len());
            }
            if size == 1 {
                return Ok(());
            }
            size /= 2;
        }
    }

    async fn changes(&mut self) -> Result<()> {
        for step in 0..self.case.steps.len() {
            let mut at = 0;
            while let Step::Commit(changes) = &self.case.steps[step]
                && changes.len() > 1
                && at < changes.len()
            {
                let mut case = self.case.clone();
                if let Step::Commit(changes) = &mut case.steps[step] {
                    changes.remove(at);
                }
                if !self.keeps(case).await? {
                    at += 1;
                }
            }
        }
        Ok(())
    }

    async fn rows(&mut self) -> Result<()> {
        for step in 0..self.case.steps.len() {
            let Step::Commit(changes) = &self.case.steps[step] else {
                continue;
            };
            for change in 0..changes.len() {
                self.rows_of(step, change).await?;
            }
        }
        Ok(())
    }

    async fn rows_of(&mut self, step: usize, change: usize) -> Result<()> {
        let mut size = rows(&mut self.case.clone(), step, change).map_or(0, |rows| rows.len() / 2);
        while size > 0 {
            let mut at = 0;
            loop {
                let mut case = self.case.clone();
                let Some(rows) = rows(&mut case, step, change) else {
                    return Ok(());
                };
                if at >= rows.len() {
                    break;
                }
                let end = (at + size).min(rows.len());
                if end - at == rows.len() {
                    break;
                }
                rows.drain(at..end);
                if !self.keeps(case).await? {
                    at += size;
                }
            }
            size /= 2;
        }
        Ok(())
    }

    async fn workers(&mut self) -> Result<()> {
        let mut case = self.case.clone();
        case.workers = 1;
        self.keeps(case).await?;
        Ok(())
    }
}

fn rows(case: &mut Case, step: usize, change: usize) -> Option<&mut Vec<String>> {
    match case.steps.get_mut(step)? {
        Step::Commit(changes) => match changes.get_mut(change)? {
            Change::Insert { rows, .. } => Some(rows),
            Change::Sql(_) => None,
        },
        _ => None,
    }
}
