//! What planning asks the catalog: names to relations. The catalog itself lives elsewhere.

use arrow::datatypes::SchemaRef;

use regauge_types::ColumnId;

use crate::flowplan::SourceId;
use crate::parse::RelationName;

/// The column of a stream's records that says whether a record came after the watermark had passed its time.
pub const LATE: &str = "_late";
/// Its id, in every stream that has a watermark; boolean.
pub const LATE_COLUMN: ColumnId = ColumnId(1 << 31);

/// Whether a text has a name as a word of its own. It may stand in a literal.
#[must_use]
pub fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c == '_' || c == '$' || c.is_alphanumeric();
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + name.len()..].chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// One consistent state of the catalog, for the time of one planning.
pub trait CatalogView {
    /// The relation of that name; a name without a schema is looked up in the search path. `None` when there is none.
    fn relation(&self, name: &RelationName) -> Option<RelationInfo>;
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub struct RelationInfo {
    /// Where its rows come from; not used for a plain view.
    pub id: SourceId,
    /// Its kind.
    pub kind: RelationKind,
    /// Its columns in order, each with its id under [`regauge_types::COLUMN_ID_KEY`] in the field's metadata; a column
    /// without one has its position as id (as a view's version does).
    pub schema: SchemaRef,
    /// No row ever leaves it.
    pub append_only: bool,
    /// Positions of columns that are unique together.
    pub key: Option<Vec<usize>>,
    /// The query of a plain view.
    pub view_sql: Option<String>,
    /// A stream's time column, by position, if it has a watermark; its records then have [`LATE_COLUMN`] besides the schema's.
    pub watermark: Option<usize>,
}

/// Kinds of relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// A table.
    Table,
    /// A stream.
    Stream,
    /// A plain view: expanded where it is used.
    View,
    /// A materialized view: read as it is.
    MaterializedView,
}
