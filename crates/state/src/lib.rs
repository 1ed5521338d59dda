//! State: the hash indexes over columnar storage that operators keep, published traces and table heads.
//!
//! Knows neither timely nor plans. Operator state is laid out in 256 buckets by the frozen hash: the unit of checkpoints,
//! spilling and moving later.

mod bits;
mod bucket_table;
pub mod checkpoint;
mod column;
mod columns;
mod error;
mod group_index;
mod heap;
mod join_side;
mod ordered;
mod segments;
mod sequences;
pub mod spill;
pub mod timeline;
pub mod trace;
mod weights;

pub use bits::Bits;
pub use bucket_table::{BucketTable, N_BUCKETS, bucket_of};
pub use column::Grow;
pub use columns::Columns;
pub use error::StateError;
pub use group_index::{GroupIndex, canonical_floats, canonical_keys};
pub use heap::Heap;
pub use join_side::{Incoming, JoinSide, Placed, ProbeAt};
pub use ordered::{Member, OrderedGroups};
pub use segments::Segments;
pub use sequences::{Sequences, Weights};
pub use timeline::Timeline;
