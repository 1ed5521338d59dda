//! Which small segments the next one takes in, so that many short runs do not leave many small files.
//!
//! Eight neighbours of about the same size become one, and eight of those again: a row is rewritten once per level, five
//! times at most on its way from a run of a few rows to a full segment, and a partition has at most seven small segments
//! per level. (The idea is that of size-tiered merging in log-structured stores; here order is kept, so only the last
//! segments can be merged, and only together with new rows.)

use super::manifest::SegmentInfo;
use regauge_types::SchemaId;

/// Segments of one level that become one of the next.
const FANOUT: u32 = 8;

/// Segments of this many rows are left alone: larger ones read no faster.
const ROWS_MAX: u64 = 1 << 20;

/// How many of a partition's last segments are taken in by a new one of a schema.
pub(super) fn absorbed(segments: &[SegmentInfo], schema_id: SchemaId) -> usize {
    let level = |s: &SegmentInfo| s.rows.max(1).ilog(u64::from(FANOUT));
    let is_small = |s: &SegmentInfo| s.schema_id == schema_id && s.rows < ROWS_MAX;
    let Some(newest) = segments.last().filter(|s| is_small(s)) else { return 0 };
    let n = segments.iter().rev().take_while(|s| is_small(s) && level(s) <= level(newest)).count();
    if n >= FANOUT as usize { n } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regauge_types::{Hlc, Lsn, TopicId};

    fn segment(schema: u32, first_offset: u64, rows: u64) -> SegmentInfo {
        SegmentInfo {
            topic: TopicId(1),
            partition: 0,
            schema_id: SchemaId(schema),
            first_offset,
            rows,
            first_lsn: Lsn(1),
            last_lsn: Lsn(1),
            first_hlc: Hlc(1),
            last_hlc: Hlc(1),
            bytes: 100,
            crc: 0,
            footer_bytes: 50,
            footer_crc: 0,
            nonce: 0,
        }
    }

    /// Runs of `rows` rows each; returns the segments left and the rows written for each row archived.
    fn after(runs: u64, rows: u64) -> (usize, f64) {
        let mut segments: Vec<SegmentInfo> = Vec::new();
        let mut written = 0;
        for run in 0..runs {
            let mut new = segment(0, run * rows, rows);
            for old in segments.split_off(segments.len() - absorbed(&segments, SchemaId(0))).iter().rev() {
                new.first_offset = old.first_offset;
                new.rows += old.rows;
            }
            written += new.rows;
            segments.push(new);
        }
        (segments.len(), written as f64 / (runs * rows) as f64)
    }

    #[test]
    fn many_small_runs_leave_few_segments_at_a_bounded_cost() {
        let (n, cost) = after(100_000, 10);
        assert!(n < 40 && cost < 7.0, "segments={n} cost={cost}");
        let (n, cost) = after(1000, 100_000);
        assert!(n < 200 && cost < 3.0, "segments={n} cost={cost}");
        let (n, cost) = after(100, ROWS_MAX);
        assert!(n == 100 && cost == 1.0, "full segments are left alone");
    }

    #[test]
    fn only_neighbours_of_one_schema_are_merged() {
        let mut segments: Vec<_> = (0..10).map(|i| segment(u32::from(i >= 5), i * 10, 10)).collect();
        assert_eq!(absorbed(&segments, SchemaId(1)), 0, "five are too few");
        assert_eq!(absorbed(&segments, SchemaId(0)), 0, "the last ones have another schema");
        segments.extend((10..13).map(|i| segment(1, i * 10, 10)));
        assert_eq!(absorbed(&segments, SchemaId(1)), 8);
        assert_eq!(absorbed(&[], SchemaId(1)), 0);
    }
}
