//! FlowPlan: the algebra of operators on deltas that a view is maintained by.
//!
//! A plan is a value: a list of nodes in topological order (an input stands before its user), a root, the names of the
//! output. Every column is a position; `Node::types` are the Arrow types of the node's output in order. Each operator is
//! defined by what it makes of *multisets* of rows (a row has a multiplicity >= 0); the engine maintains exactly that
//! under insertions and retractions. Same text, same catalog, same bytes ([`FlowPlan::to_bytes`]), same
//! [`Fingerprint`]; CREATE stores the bytes and a restart runs them without planning again.
//!
//! Knows nothing of files, of timely, or of SQL text.

mod bytes;
mod codec;
mod derive;
mod explain;
mod fingerprint;
mod op;
mod recursive;
mod rows;
mod spread;
pub mod types;
mod validate;
mod window;
pub(crate) mod window_bytes;

pub use bytes::{FORMAT_VERSION, PlanBytesError};
pub use fingerprint::Fingerprint;
pub use op::{AggCall, AggFunc, AsOfMatch, JoinKind, Op, OrderKey, SetOpKind};
pub use recursive::{RecursionLimits, levels};
pub use rows::RowsOf;
pub use spread::Spread;
pub use validate::{MAX_NODES, MAX_SCALAR_DEPTH, ValidationError};
pub use window::{Arg, Bound, Exclude, Frame, Units, WindowCall, WindowFunc};

use arrow::datatypes::DataType;
use regauge_types::{TopicId, VersionNo, ViewId};

/// Where a source node reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceId {
    /// A table's or a stream's topic: the current rows of a table, every row of a stream.
    Topic(TopicId),
    /// A version of a materialized view: its rows.
    Version(ViewId, VersionNo),
    /// How far a stream's event time has come: one row of one column, the least watermark of the stream's partitions at the
    /// epoch; no row while a partition has none. It only rises.
    Watermark(TopicId),
}

impl SourceId {
    /// The topic under which its rows are fed to a running plan: a watermark has one that no catalog gives out. None for a version.
    pub fn fed_as(self) -> Option<TopicId> {
        match self {
            SourceId::Topic(topic) => Some(topic),
            SourceId::Watermark(topic) => Some(TopicId(topic.0 | 1 << 31)),
            SourceId::Version(..) => None,
        }
    }
}

impl std::fmt::Display for SourceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SourceId::Topic(regauge_types::CLOCK_TOPIC) => f.write_str("clock"),
            SourceId::Topic(t) => write!(f, "topic {}", t.0),
            SourceId::Version(v, n) => write!(f, "view {} version {}", v.0, n.0),
            SourceId::Watermark(t) => write!(f, "watermark of topic {}", t.0),
        }
    }
}

/// A view's whole maintenance plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowPlan {
    /// Topological: every input's index is below its user's.
    pub nodes: Vec<Node>,
    /// The node whose output is the view.
    pub root: usize,
    /// The output's columns; as many as the root's types, and of those types.
    pub output: Vec<OutputColumn>,
    /// Positions of output columns that together are unique (NULLs count as equal values); the empty list means "at most
    /// one row". `None`: no key is known and rows may repeat. A derived guarantee, never a check.
    pub key: Option<Vec<usize>>,
}

/// One operator with its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Indexes of the nodes it reads, in the operator's order (Join: left, right).
    pub inputs: Vec<usize>,
    /// Types of its output columns.
    pub types: Vec<DataType>,
    /// No row ever leaves the output: every delta out of it is an insertion. Unlocks cheaper operators.
    pub append_only: bool,
}

/// A column of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// The name that readers see.
    pub name: String,
    /// Its type.
    pub ty: DataType,
}

impl FlowPlan {
    /// The root node.
    pub fn root_node(&self) -> Option<&Node> {
        self.nodes.get(self.root)
    }

    /// The distinct sources, ascending.
    pub fn sources(&self) -> Vec<SourceId> {
        let mut ids: Vec<SourceId> =
            self.nodes.iter().filter_map(|n| if let Op::Source { id, .. } = &n.op { Some(*id) } else { None }).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The Arrow schema of the view's rows: every field nullable, names as readers see them.
    pub fn schema(&self) -> arrow::datatypes::SchemaRef {
        let fields: Vec<_> = self.output.iter().map(|c| arrow::datatypes::Field::new(&c.name, c.ty.clone(), true)).collect();
        std::sync::Arc::new(arrow::datatypes::Schema::new(fields))
    }
}
