//! The catalog: which relations there are, under which names, of which columns, and what answers a read of each view.
//!
//! ```text
//!   name ──▶ ObjectId ──▶ Relation ┬ Table         key
//!                                  ├ Stream        partitions, partition by, watermark
//!                                  ├ View          definition (its text is expanded where it is used)
//!                                  └ Materialized  versions 1, 2, .. each with plan and fingerprint; routed to one of them
//! ```
//!
//! Invariant: a `Catalog` is the fold of the events of topic 0 up to a commit ([`fold`]), nothing else goes in. It is a value:
//! readers keep an `Arc` of the one they planned with. Cost: a change copies the maps of `Arc`s, which is bounded by the number
//! of relations. It does not know the log, plans' content, nor which version is running.

mod alter;
mod apply;
pub mod dead;
pub(crate) mod diverted;
mod drops;
mod event;
mod fold;
pub mod function;
mod index;
pub mod late;
pub(crate) mod lookup;
mod modules;
mod rebase;
pub mod recursion;
pub mod retext;
pub mod rights;
pub mod secret;
mod sequence;
mod sink;
pub mod ty;

pub use alter::Change;
pub use apply::FoldError;
pub use event::{ColumnSpec, DefinitionSpec, Event, VersionSpec, WatermarkSpec, decode, encode, hex, topic_schema};
pub use fold::{Wish, decide};
pub use function::{Function, FunctionSpec, WasmSpec};
pub use index::{Index, IndexColumn};
pub use rebase::{Ids, still_holds};
pub use rights::{Rights, RoleId, Who};
pub use sequence::{Sequence, SequenceSpec};
pub use sink::{Sink, SinkSpec};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Lsn, TopicId, VersionNo, ViewId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

/// The schema that unqualified names are looked up and created in.
pub const PUBLIC: &str = "public";

/// A relation's name within its schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Name {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
}

impl Name {
    /// A name in `public`.
    #[must_use]
    pub fn public(name: &str) -> Name {
        Name { schema: PUBLIC.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema == PUBLIC { f.write_str(&self.name) } else { write!(f, "{}.{}", self.schema, self.name) }
    }
}

/// The name of a table's key as a constraint: PostgreSQL's, which cuts the table's name so that the whole has 63 bytes.
#[must_use]
pub fn key_constraint(table: &str) -> String {
    const BYTES_MAX: usize = 63;
    const END: &str = "_pkey";
    let cut = (0..=table.len().min(BYTES_MAX - END.len())).rev().find(|at| table.is_char_boundary(*at));
    format!("{}{END}", &table[..cut.unwrap_or(0)])
}

/// A relation's identity: stable under rename, never used again after a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectId {
    /// A table or a stream: its topic.
    Topic(u32),
    /// A view.
    View(u32),
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Stable under rename.
    pub id: ColumnId,
    /// Name.
    pub name: String,
    /// Type in the engine; [`ty::name`] gives its name in SQL.
    pub ty: DataType,
    /// Judged where rows enter; arrays are nullable all the same.
    pub not_null: bool,
    /// Most characters of a `varchar(n)`.
    pub chars_max: Option<u64>,
    /// Expression in SQL for rows that do not name the column.
    pub default: Option<String>,
    /// Where its values come from.
    pub made: Made,
}

impl Column {
    /// In SQL, what a row has here that does not name the column; none: NULL, or what is computed.
    #[must_use]
    pub fn absent(&self) -> Option<String> {
        match &self.made {
            Made::Counted { sequence, .. } => Some(format!("nextval(-{sequence})")),
            Made::Given => self.default.clone(),
            Made::Computed(_) => None,
        }
    }

    /// A column of a view: a name and a type.
    #[must_use]
    pub fn plain(id: ColumnId, name: String, ty: DataType) -> Column {
        Column { id, name, ty, not_null: false, chars_max: None, default: None, made: Made::Given }
    }
}

/// Where a column's values come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// The user, or DEFAULT.
    #[default]
    Given,
    /// The expression, over the row's other columns.
    Computed(String),
    /// A sequence.
    Counted {
        /// Its id.
        sequence: u32,
        /// GENERATED ALWAYS: the user cannot give a value.
        #[serde(default)]
        always: bool,
        /// SERIAL: the sequence shows as a DEFAULT.
        #[serde(default)]
        serial: bool,
    },
}

impl Made {
    pub(crate) fn is_given(&self) -> bool {
        *self == Made::Given
    }
}

/// A condition on each row: it must not be false.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    /// Unique within its relation.
    pub name: String,
    /// In SQL, over the row's columns.
    pub sql: String,
}

/// A query in SQL with all that its meaning depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The query.
    pub sql: String,
    /// Schemas in which unqualified names were found.
    pub search_path: Vec<String>,
    /// Time zone of the session that wrote it.
    pub time_zone: String,
    /// Relations that it names.
    pub depends_on: Vec<ObjectId>,
}

/// An immutable definition of a view, with the plan it was given when it was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub no: VersionNo,
    /// What it computes.
    pub definition: Definition,
    /// Canonical bytes of its plan: what a restart runs, never planning anew.
    pub plan: Arc<[u8]>,
    /// Of the plan.
    pub fingerprint: [u8; 32],
    /// Output.
    pub columns: Vec<Column>,
    /// Positions of output columns that are unique together, where the plan proves it.
    pub key: Option<Vec<usize>>,
    /// CREATE is to return at once instead of waiting for the backfill.
    pub options: BTreeMap<String, String>,
}

impl Version {
    /// Whether rows that fail go to [`diverted::name`], instead of making the view unreadable.
    #[must_use]
    pub fn diverts(&self) -> bool {
        self.options.get(diverted::OPTION).is_some_and(|v| v == diverted::DIVERT)
    }
}

/// What a stream says of its event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The column.
    pub column: ColumnId,
    /// The expression in SQL.
    pub sql: String,
}

impl Watermark {
    /// How long a record may be late, in microseconds; none if a later release has written it.
    #[must_use]
    pub fn delay_us(&self) -> Option<i64> {
        let (_, delay) = self.sql.rsplit_once(" - INTERVAL '")?;
        delay.strip_suffix(" microseconds'")?.parse().ok()
    }
}

/// What kind of relation, with what only that kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows with a primary key; its topic holds the changes.
    Table {
        /// Positions of the key's columns; none: rows may repeat.
        key: Vec<usize>,
    },
    /// Append only.
    Stream {
        /// Positions of the columns whose hash picks the partition; none: the log deals them out.
        partition_by: Vec<usize>,
        /// Fixed at creation.
        partitions: u32,
        /// Event time.
        watermark: Option<Watermark>,
    },
    /// A text that is expanded where it is used.
    View {
        /// The text.
        definition: Definition,
    },
    /// Maintained incrementally.
    Materialized {
        /// By number.
        versions: BTreeMap<VersionNo, Arc<Version>>,
        /// The one that answers.
        routed: VersionNo,
    },
}

/// A table, stream or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Identity.
    pub id: ObjectId,
    /// Name.
    pub name: Name,
    /// Columns; a materialized view's are those of the version it is routed to.
    pub columns: Vec<Column>,
    /// What `WITH (...)` said.
    pub options: BTreeMap<String, String>,
    /// Conditions on each row of a table or stream.
    pub checks: Vec<Check>,
    /// Id of the schema that a topic's rows are written with.
    pub schema_id: u32,
    /// The greatest id that a column of it ever had: none is used twice.
    pub last_column: u32,
    /// Kind.
    pub kind: Kind,
}

impl Relation {
    /// The topic of a table or stream.
    #[must_use]
    pub fn topic(&self) -> Option<TopicId> {
        match self.id {
            ObjectId::Topic(id) => Some(TopicId(id)),
            ObjectId::View(_) => None,
        }
    }

    /// The identity of a view.
    #[must_use]
    pub fn view(&self) -> Option<ViewId> {
        match self.id {
            ObjectId::Topic(_) => None,
            ObjectId::View(id) => Some(ViewId(id)),
        }
    }

    /// The version that answers reads of a materialized view.
    #[must_use]
    pub fn routed(&self) -> Option<&Arc<Version>> {
        match &self.kind {
            Kind::Materialized { versions, routed } => versions.get(routed),
            _ => None,
        }
    }

    /// The user's columns as an Arrow schema, with column ids in the fields' metadata.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }

    /// Position of a column.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// `table`, `stream`, `view` or `materialized view`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Table { .. } => "table",
            Kind::Stream { .. } => "stream",
            Kind::View { .. } => "view",
            Kind::Materialized { .. } => "materialized view",
        }
    }

    /// What a reader of a view reads by it.
    pub fn reads(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let definition = match &self.kind {
            Kind::View { definition } => Some(definition),
            Kind::Materialized { .. } => self.routed().map(|v| &v.definition),
            Kind::Table { .. } | Kind::Stream { .. } => None,
        };
        definition.into_iter().flat_map(|d| d.depends_on.iter().copied())
    }

    fn depends_on(&self) -> impl Iterator<Item = ObjectId> + '_ {
        let one: Box<dyn Iterator<Item = &Definition>> = match &self.kind {
            Kind::View { definition } => Box::new(std::iter::once(definition)),
            Kind::Materialized { versions, .. } => Box::new(versions.values().map(|v| &v.definition)),
            Kind::Table { .. } | Kind::Stream { .. } => Box::new(std::iter::empty()),
        };
        one.flat_map(|d| d.depends_on.iter().copied()).chain(dead::of(self))
    }
}

/// A field as the engine wants it: nullable, its column id in the metadata.
#[must_use]
pub fn field(name: &str, ty: &DataType, id: ColumnId) -> Field {
    let metadata = HashMap::from([(COLUMN_ID_KEY.to_owned(), id.0.to_string())]);
    Field::new(name, ty.clone(), true).with_metadata(metadata)
}

/// Columns as an Arrow schema.
#[must_use]
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|c| field(&c.name, &c.ty, c.id)).collect::<Vec<_>>()))
}

/// All relations as of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    relations: BTreeMap<ObjectId, Arc<Relation>>,
    names: BTreeMap<Name, ObjectId>,
    last_topic: u32,
    last_view: u32,
    changed: Lsn,
    /// Besides `public`.
    schemas: BTreeSet<String>,
    comments: BTreeMap<(ObjectId, u32), String>,
    sequences: BTreeMap<u32, Arc<Sequence>>,
    last_sequence: u32,
    functions: BTreeMap<Name, Vec<Arc<Function>>>,
    /// Secrets by name: where each one's value is kept.
    secrets: BTreeMap<Name, String>,
    /// WebAssembly modules by their hashes.
    modules: BTreeMap<String, Arc<regauge_plan::wasm::Module>>,
    indexes: BTreeMap<ObjectId, Vec<Arc<Index>>>,
    sinks: BTreeMap<u32, Arc<Sink>>,
    last_sink: u32,
    /// Rows a second of views whose histories are not read as fast as they can be.
    paces: BTreeMap<u32, u64>,
    /// Who may do what.
    pub rights: Arc<Rights>,
}

impl Catalog {
    /// Functions of a name, with every number of parameters.
    #[must_use]
    pub fn functions_named(&self, name: &Name) -> Vec<Arc<Function>> {
        self.functions.get(name).cloned().unwrap_or_default()
    }

    /// All functions, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Function>> {
        self.functions.values().flatten()
    }

    /// Whether there are any, or what is left of them in views.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty() || !self.modules.is_empty()
    }

    /// How many rows a second versions of a view may read of their history.
    #[must_use]
    pub fn backfill_rate(&self, view: ViewId) -> Option<u64> {
        self.paces.get(&view.0).copied()
    }

    /// All sinks in the order of their ids.
    pub fn sinks(&self) -> impl Iterator<Item = &Arc<Sink>> {
        self.sinks.values()
    }

    /// A sink by a name that may lack its schema.
    #[must_use]
    pub fn resolve_sink(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Option<&Arc<Sink>> {
        let one = |schema: &str| self.sinks.values().find(|s| s.name.schema == schema && s.name.name == name);
        match schema {
            Some(schema) => one(schema),
            None => search_path.iter().find_map(|schema| one(schema)),
        }
    }

    /// Sinks that follow a relation.
    pub fn sinks_of(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Sink>> {
        self.sinks.values().filter(move |s| s.spec.of == id)
    }

    /// The commit that changed it last; 0 when nothing did.
    #[must_use]
    pub fn changed(&self) -> Lsn {
        self.changed
    }

    /// A relation by identity.
    #[must_use]
    pub fn get(&self, id: ObjectId) -> Option<&Arc<Relation>> {
        self.relations.get(&id)
    }

    /// A relation by name.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<&Arc<Relation>> {
        self.names.get(name).and_then(|id| self.relations.get(id))
    }

    /// A relation by a name that may lack its schema: the first schema of the path that has it.
    #[must_use]
    pub fn resolve(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Option<&Arc<Relation>> {
        let one = |schema: &str| self.find(&Name { schema: schema.to_owned(), name: name.to_owned() });
        match schema {
            Some(schema) => one(schema),
            None => search_path.iter().find_map(|schema| one(schema)),
        }
    }

    /// A relation as addresses and programs name it: of `public`, or after its schema and a dot.
    #[must_use]
    pub fn named(&self, text: &str) -> Option<&Arc<Relation>> {
        let elsewhere = || {
            let (schema, name) = text.split_once('.')?;
            self.find(&Name { schema: schema.to_owned(), name: name.to_owned() })
        };
        self.find(&Name::public(text)).or_else(elsewhere)
    }

    /// Whether there is such a schema of a user.
    #[must_use]
    pub fn has_schema(&self, schema: &str) -> bool {
        schema == PUBLIC || self.schemas.contains(schema)
    }

    /// Schemas of users besides `public`.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.schemas.iter().map(String::as_str)
    }

    /// What COMMENT said of a relation, or of one of its columns.
    #[must_use]
    pub fn comment(&self, id: ObjectId, column: Option<ColumnId>) -> Option<&str> {
        self.comments.get(&(id, column.map_or(0, |c| c.0))).map(String::as_str)
    }

    /// All sequences in the order of their ids.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences.values()
    }

    /// A sequence by its id.
    #[must_use]
    pub fn sequence(&self, id: u32) -> Option<&Arc<Sequence>> {
        self.sequences.get(&id)
    }

    /// Whether a sequence is that of an identity column, which is no object to its users.
    #[must_use]
    pub fn is_identity(&self, id: u32) -> bool {
        let owner = self.sequences.get(&id).and_then(|s| s.spec.owner);
        let columns = owner.and_then(|(of, _)| self.relations.get(&of)).into_iter().flat_map(|r| &r.columns);
        columns.into_iter().any(|c| matches!(c.made, Made::Counted { sequence, serial: false, .. } if sequence == id))
    }

    /// A sequence by a name that may lack its schema.
    #[must_use]
    pub fn resolve_sequence(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Option<&Arc<Sequence>> {
        let one = |schema: &str| self.sequences.values().find(|s| s.name.schema == schema && s.name.name == name);
        match schema {
            Some(schema) => one(schema),
            None => search_path.iter().find_map(|schema| one(schema)),
        }
    }

    /// All relations in the order of their identities.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// Relations that name `id` in their definition.
    pub fn dependants(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values().filter(move |r| r.id != id && r.depends_on().any(|d| d == id))
    }
}
