//! The end of the demo: every view is made again from the log, under another name, and compared with the one that was kept up.
//!
//! Equal means the same rows as multisets, by their canonical bytes, and the same digest. The two are read by ordinary queries.

use super::{data, views};
use crate::print;
use regauge_types::{Delta, Digest, key};
use regauge_views::{Response, Session};
use std::time::{Duration, Instant};

/// One view, kept and rebuilt.
pub struct Compared {
    /// Its name.
    pub view: &'static str,
    /// Rows of the one that was kept up.
    pub n_rows: usize,
    /// Its digest.
    pub kept: Digest,
    /// Digest of the rebuilt one.
    pub rebuilt: Digest,
    /// Whether rows and digests are equal.
    pub equal: bool,
    /// From CREATE to readable.
    pub took: Duration,
}

impl Compared {
    /// Flights read per second of the rebuild.
    pub fn events_per_s(&self) -> f64 {
        data::FLIGHTS as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// For people.
    pub fn line(&self) -> String {
        let verdict = if self.equal { "equal" } else { "DIFFERENT" };
        format!(
            "{:<15} {verdict}: {} rows, rebuilt from {} flights in {:.2?} ({:.0} events/s)\n  kept up live  {}\n  rebuilt       {}",
            self.view,
            self.n_rows,
            data::FLIGHTS,
            self.took,
            self.events_per_s(),
            self.kept,
            self.rebuilt
        )
    }
}

/// Rebuilds a view and compares.
pub async fn compare(session: &mut Session, (view, query): (&'static str, &str)) -> anyhow::Result<Compared> {
    let kept = contents(session, view).await?;
    let begun = Instant::now();
    session.execute(&format!("CREATE MATERIALIZED VIEW {view}_rebuilt AS {query}")).await.map_err(print::explain)?;
    let took = begun.elapsed();
    let rebuilt = contents(session, &format!("{view}_rebuilt")).await?;
    let equal = kept == rebuilt;
    Ok(Compared { view, n_rows: kept.rows.len(), kept: kept.digest, rebuilt: rebuilt.digest, equal, took })
}

/// All comparisons.
pub async fn compare_all(session: &mut Session) -> anyhow::Result<Vec<Compared>> {
    let mut all = vec![];
    for view in views::VIEWS {
        all.push(compare(session, view).await?);
    }
    Ok(all)
}

#[derive(PartialEq, Eq)]
struct Contents {
    /// Canonical bytes of each row, sorted.
    rows: Vec<Vec<u8>>,
    digest: Digest,
}

async fn contents(session: &mut Session, name: &str) -> anyhow::Result<Contents> {
    let (mut rows, mut digest) = (vec![], Digest::default());
    for response in session.execute(&format!("SELECT * FROM {name}")).await.map_err(print::explain)? {
        let Response::Rows(answer) = response else { continue };
        for batch in answer.collect().await.map_err(print::explain)? {
            let keys = key::encode_exact(batch.columns(), batch.num_rows())?;
            rows.extend(keys.iter().map(<[u8]>::to_vec));
            digest.add_delta(&Delta::ones(batch))?;
        }
    }
    rows.sort_unstable();
    Ok(Contents { rows, digest })
}
