//! Catalog events: the records of topic 0, and how they are written as rows.
//!
//! ```text
//!   kind: Utf8            name: Utf8            body: Utf8 (JSON of the event)          plan: Binary (VersionAdded: the plan; ModuleAdded: the module)
//! ```
//! Invariant: `decode(encode(events)) == events`; a field that a later release adds has a default, a kind that we do not know is
//! an error, never skipped. `kind` and `name` are there for people who read the catalog's history. It does not know whether an
//! event makes sense: that is [`super::fold`].

use super::{
    Check, Column, Definition, FunctionSpec, Index, Made, Name, ObjectId, SequenceSpec, SinkSpec, Version, Watermark, rights, ty,
};
use arrow::{
    array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray},
    datatypes::{DataType, Schema, SchemaRef},
};
use regauge_plan::wasm::{self, Module};
use regauge_types::{ColumnId, VersionNo};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// A column as the event says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSpec {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its type's name, see [`ty`].
    #[serde(rename = "type")]
    pub ty: String,
    /// NOT NULL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_null: bool,
    /// `varchar(n)`, `timestamp(n)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chars_max: Option<u64>,
    /// DEFAULT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Where its values come from.
    #[serde(default, skip_serializing_if = "Made::is_given")]
    pub made: Made,
}

impl ColumnSpec {
    /// The column, unless its type has no meaning here.
    #[must_use]
    pub fn column(&self) -> Option<Column> {
        Some(Column {
            id: ColumnId(self.id),
            name: self.name.clone(),
            ty: ty::parse(&self.ty)?,
            not_null: self.not_null,
            chars_max: self.chars_max,
            default: self.default.clone(),
            made: self.made.clone(),
        })
    }

    /// What an event says of a column.
    #[must_use]
    pub fn of(column: &Column) -> ColumnSpec {
        ColumnSpec {
            id: column.id.0,
            name: column.name.clone(),
            ty: ty::name(&column.ty),
            not_null: column.not_null,
            chars_max: column.chars_max,
            default: column.default.clone(),
            made: column.made.clone(),
        }
    }
}

/// A watermark as the event says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkSpec {
    /// The column's id.
    pub column: u32,
    /// Its expression.
    pub sql: String,
}

impl WatermarkSpec {
    pub(super) fn watermark(&self) -> Watermark {
        Watermark { column: ColumnId(self.column), sql: self.sql.clone() }
    }
}

/// A view's query as the event says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionSpec {
    /// The query.
    pub sql: String,
    /// Schemas that unqualified names were looked up in.
    pub search_path: Vec<String>,
    /// Of the session.
    pub time_zone: String,
    /// What it reads.
    pub depends_on: Vec<ObjectId>,
}

impl DefinitionSpec {
    pub(super) fn definition(&self) -> Definition {
        Definition {
            sql: self.sql.clone(),
            search_path: self.search_path.clone(),
            time_zone: self.time_zone.clone(),
            depends_on: self.depends_on.clone(),
        }
    }

    /// What an event says of a definition.
    #[must_use]
    pub fn of(d: &Definition) -> DefinitionSpec {
        DefinitionSpec {
            sql: d.sql.clone(),
            search_path: d.search_path.clone(),
            time_zone: d.time_zone.clone(),
            depends_on: d.depends_on.clone(),
        }
    }
}

/// A version as the event says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSpec {
    /// What it computes.
    #[serde(flatten)]
    pub definition: DefinitionSpec,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Positions of columns unique together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<usize>>,
    /// Of the plan, in hexadecimal.
    pub fingerprint: String,
    /// `WITH (...)`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Canonical bytes of the plan: the row's own column.
    #[serde(skip)]
    pub plan: Vec<u8>,
}

impl VersionSpec {
    pub(super) fn version(&self, no: VersionNo) -> Option<Version> {
        Some(Version {
            no,
            definition: self.definition.definition(),
            plan: self.plan.clone().into(),
            fingerprint: unhex(&self.fingerprint)?,
            columns: self.columns.iter().map(ColumnSpec::column).collect::<Option<_>>()?,
            key: self.key.clone(),
            options: self.options.clone(),
        })
    }
}

/// One change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Event {
    TableCreated {
        topic: u32,
        name: Name,
        columns: Vec<ColumnSpec>,
        key: Vec<usize>,
        #[serde(default)]
        options: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
    },
    StreamCreated {
        topic: u32,
        name: Name,
        columns: Vec<ColumnSpec>,
        partition_by: Vec<usize>,
        partitions: u32,
        #[serde(default)]
        watermark: Option<WatermarkSpec>,
        #[serde(default)]
        options: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        checks: Vec<Check>,
    },
    ViewCreated {
        view: u32,
        name: Name,
        columns: Vec<ColumnSpec>,
        #[serde(flatten)]
        definition: DefinitionSpec,
    },
    MaterializedViewCreated {
        view: u32,
        name: Name,
    },
    VersionAdded {
        view: u32,
        version: u32,
        #[serde(flatten)]
        spec: VersionSpec,
    },
    Routed {
        view: u32,
        version: u32,
    },
    VersionRetired {
        view: u32,
        version: u32,
    },
    Dropped {
        object: ObjectId,
        name: Name,
    },
    SchemaCreated {
        schema: String,
    },
    SchemaDropped {
        schema: String,
    },
    /// Another name for the same thing.
    Renamed {
        object: ObjectId,
        name: Name,
    },
    /// The text of a view after something that it names was given another name. It means what it meant.
    Redefined {
        object: ObjectId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
        sql: String,
    },
    /// CREATE OR REPLACE VIEW.
    ViewReplaced {
        view: u32,
        name: Name,
        columns: Vec<ColumnSpec>,
        #[serde(flatten)]
        definition: DefinitionSpec,
    },
    /// A table's or a stream's columns and what goes with them, as they are from now on.
    Altered {
        object: ObjectId,
        name: Name,
        columns: Vec<ColumnSpec>,
        /// Positions of a table's key, or of a stream's partition columns.
        key: Vec<usize>,
        #[serde(default)]
        checks: Vec<Check>,
        #[serde(default)]
        watermark: Option<WatermarkSpec>,
        schema_id: u32,
    },
    /// COMMENT ON; column 0 is the relation itself.
    Commented {
        object: ObjectId,
        #[serde(default)]
        column: u32,
        #[serde(default)]
        text: Option<String>,
    },
    SequenceCreated {
        sequence: u32,
        name: Name,
        #[serde(flatten)]
        spec: SequenceSpec,
    },
    SequenceDropped {
        sequence: u32,
    },
    /// CREATE SECRET, ALTER SECRET .. AS: the value is in a file of its own, encrypted.
    SecretSet {
        name: Name,
        /// The file's name.
        file: String,
    },
    SecretDropped {
        name: Name,
    },
    /// A WebAssembly module, for functions that are made after it.
    ModuleAdded {
        /// Of its content.
        hash: String,
        /// Its content is the row's own column.
        #[serde(skip)]
        module: Option<Arc<Module>>,
    },
    /// CREATE [OR REPLACE] FUNCTION.
    FunctionCreated {
        name: Name,
        #[serde(flatten)]
        spec: FunctionSpec,
    },
    FunctionDropped {
        name: Name,
        /// How many it has.
        params: usize,
    },
    IndexCreated {
        object: ObjectId,
        #[serde(flatten)]
        index: Index,
    },
    IndexDropped {
        object: ObjectId,
        name: String,
    },
    SinkCreated {
        sink: u32,
        name: Name,
        #[serde(flatten)]
        spec: SinkSpec,
    },
    /// All that it is from now on.
    SinkAltered {
        sink: u32,
        #[serde(flatten)]
        spec: SinkSpec,
    },
    SinkDropped {
        sink: u32,
    },
    /// How many rows a second versions of a view may read of their history; none: as many as they can.
    BackfillPaced {
        view: u32,
        rate: Option<u64>,
    },
    /// What becomes of a stream's bad records from now on.
    OnErrorSet {
        topic: u32,
        on_error: String,
    },
    /// Numbers up to `last` may have been given; none: none has.
    SequenceReserved {
        sequence: u32,
        last: Option<i64>,
    },
    /// Roles, owners, privileges.
    Rights {
        #[serde(flatten)]
        change: rights::Change,
    },
}

impl Event {
    fn kind(&self) -> &'static str {
        match self {
            Event::TableCreated { .. } => "table_created",
            Event::StreamCreated { .. } => "stream_created",
            Event::ViewCreated { .. } => "view_created",
            Event::MaterializedViewCreated { .. } => "materialized_view_created",
            Event::VersionAdded { .. } => "version_added",
            Event::Routed { .. } => "routed",
            Event::VersionRetired { .. } => "version_retired",
            Event::Dropped { .. } => "dropped",
            Event::SchemaCreated { .. } => "schema_created",
            Event::SchemaDropped { .. } => "schema_dropped",
            Event::Renamed { .. } => "renamed",
            Event::Redefined { .. } => "redefined",
            Event::ViewReplaced { .. } => "view_replaced",
            Event::Altered { .. } => "altered",
            Event::Commented { .. } => "commented",
            Event::SequenceCreated { .. } => "sequence_created",
            Event::SequenceDropped { .. } => "sequence_dropped",
            Event::SequenceReserved { .. } => "sequence_reserved",
            Event::SecretSet { .. } => "secret_set",
            Event::SecretDropped { .. } => "secret_dropped",
            Event::ModuleAdded { .. } => "module_added",
            Event::FunctionCreated { .. } => "function_created",
            Event::FunctionDropped { .. } => "function_dropped",
            Event::IndexCreated { .. } => "index_created",
            Event::IndexDropped { .. } => "index_dropped",
            Event::SinkCreated { .. } => "sink_created",
            Event::SinkAltered { .. } => "sink_altered",
            Event::SinkDropped { .. } => "sink_dropped",
            Event::BackfillPaced { .. } => "backfill_paced",
            Event::OnErrorSet { .. } => "on_error_set",
            Event::Rights { change } => change.kind(),
        }
    }

    fn name(&self) -> Option<&Name> {
        match self {
            Event::TableCreated { name, .. }
            | Event::StreamCreated { name, .. }
            | Event::ViewCreated { name, .. }
            | Event::MaterializedViewCreated { name, .. }
            | Event::Dropped { name, .. }
            | Event::Renamed { name, .. }
            | Event::ViewReplaced { name, .. }
            | Event::Altered { name, .. }
            | Event::SequenceCreated { name, .. }
            | Event::FunctionCreated { name, .. }
            | Event::FunctionDropped { name, .. }
            | Event::SecretSet { name, .. }
            | Event::SecretDropped { name }
            | Event::SinkCreated { name, .. } => Some(name),
            Event::VersionAdded { .. }
            | Event::Routed { .. }
            | Event::VersionRetired { .. }
            | Event::SchemaCreated { .. }
            | Event::SchemaDropped { .. }
            | Event::Redefined { .. }
            | Event::Commented { .. }
            | Event::SequenceDropped { .. }
            | Event::SequenceReserved { .. }
            | Event::ModuleAdded { .. }
            | Event::IndexCreated { .. }
            | Event::IndexDropped { .. }
            | Event::SinkAltered { .. }
            | Event::SinkDropped { .. }
            | Event::BackfillPaced { .. }
            | Event::OnErrorSet { .. }
            | Event::Rights { .. } => None,
        }
    }

    fn plan(&self) -> Option<&[u8]> {
        match self {
            Event::VersionAdded { spec, .. } => Some(&spec.plan),
            Event::ModuleAdded { module, .. } => module.as_ref().map(|m| m.bytes()),
            _ => None,
        }
    }
}

/// Columns of topic 0.
#[must_use]
pub fn topic_schema() -> SchemaRef {
    let names = [("kind", DataType::Utf8), ("name", DataType::Utf8), ("body", DataType::Utf8), ("plan", DataType::Binary)];
    let fields = (1..).zip(names).map(|(id, (name, ty))| super::field(name, &ty, ColumnId(id)));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Events as rows of topic 0, in their order.
pub fn encode(events: &[Event]) -> Result<RecordBatch, String> {
    let kinds: StringArray = events.iter().map(|e| Some(e.kind())).collect();
    let names: StringArray = events.iter().map(|e| e.name().map(Name::to_string)).collect();
    let bodies = events.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let plans: BinaryArray = events.iter().map(Event::plan).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(kinds), Arc::new(names), Arc::new(StringArray::from(bodies)), Arc::new(plans)];
    RecordBatch::try_new(topic_schema(), columns).map_err(|e| e.to_string())
}

/// Rows of topic 0 as events.
pub fn decode(rows: &RecordBatch) -> Result<Vec<Event>, String> {
    let text = rows.column_by_name("body").and_then(|c| c.as_any().downcast_ref::<StringArray>());
    let plan = rows.column_by_name("plan").and_then(|c| c.as_any().downcast_ref::<BinaryArray>());
    let (Some(text), Some(plan)) = (text, plan) else {
        return Err(format!("rows are not catalog events schema={}", rows.schema()));
    };
    (0..rows.num_rows())
        .map(|row| {
            let mut event: Event = serde_json::from_str(text.value(row)).map_err(|e| format!("{e} row={row}"))?;
            if let Event::VersionAdded { spec, .. } = &mut event {
                if plan.is_null(row) {
                    return Err(format!("version without a plan row={row}"));
                }
                spec.plan = plan.value(row).to_vec();
            }
            if let Event::ModuleAdded { hash, module } = &mut event {
                let kept = plan.is_valid(row).then(|| wasm::keep(plan.value(row))).filter(|kept| kept.hash() == hash);
                *module = Some(kept.ok_or_else(|| format!("module that is not its hash's row={row}"))?);
            }
            Ok(event)
        })
        .collect()
}

/// 32 bytes as hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
