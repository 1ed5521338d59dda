//! A small instance in a folder of its own: its files are seeds, its session reads texts and records.

use anyhow::{Context, Result};
use regauge_views::{Config, Instance, Session, SessionOptions};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// Columns of a relation with every type that a client can send.
pub const EVERY: &str = "CREATE TABLE every_type (b BOOLEAN, i2 SMALLINT, i4 INT, i8 BIGINT, r REAL, d DOUBLE PRECISION, n NUMERIC(20, 4), \
                         t TEXT, v VARCHAR(5), by BYTEA, da DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, j JSONB, \
                         a INT[], ta TEXT[])";

/// See the module's header.
pub struct Site {
    pub runtime: tokio::runtime::Runtime,
    pub session: Session,
    // before its folder goes
    pub instance: Instance,
    pub dir: TempDir,
}

impl Site {
    /// With tables, a stream, a view, rows, a checkpoint and an archive.
    pub fn new() -> Result<Site> {
        let dir = tempfile::tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let instance = Instance::open(Config::new(dir.path()).workers(1))?;
        let session = instance.session(SessionOptions::default())?;
        let mut site = Site { runtime, session, instance, dir };
        for sql in [
            EVERY,
            "CREATE TABLE t (id INT PRIMARY KEY, n INT, s TEXT, at TIMESTAMPTZ)",
            "CREATE STREAM e (k BIGINT, v NUMERIC(20, 2), note TEXT)",
            "CREATE MATERIALIZED VIEW m AS SELECT n, count(*) AS c, max(s) AS s FROM t GROUP BY n",
            "INSERT INTO t SELECT i, i % 5, 'row ' || i, now() FROM generate_series(1, 30) AS i",
            "INSERT INTO e SELECT i, i / 3.0, NULL FROM generate_series(1, 200) AS i",
            "INSERT INTO every_type (i4, t, n, ts, a) VALUES (1, 'one', 1.5, '2026-01-01', '{1,2}'), (NULL, NULL, NULL, NULL, NULL)",
            "UPDATE t SET s = 'other' WHERE id < 4",
            "DELETE FROM t WHERE id = 9",
            "FLUSH",
        ] {
            site.execute(sql).with_context(|| sql.to_owned())?;
        }
        site.instance.checkpoint(Duration::from_secs(60))?;
        site.instance.log().archive_now()?;
        Ok(site)
    }

    /// Runs statements; rows are not looked at.
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.session.execute(sql))?;
        Ok(())
    }

    /// Bytes of each file whose path, below the folder, has this in it.
    pub fn files(&self, with: &str) -> Vec<Vec<u8>> {
        let mut all = vec![];
        walk(self.dir.path(), &mut all);
        all.sort();
        let is_wanted = |path: &&PathBuf| path.strip_prefix(self.dir.path()).is_ok_and(|p| p.to_string_lossy().contains(with));
        all.iter().filter(is_wanted).filter_map(|path| std::fs::read(path).ok()).collect()
    }
}

fn walk(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, all) } else { all.push(path) }
    }
}
