//! A relation as DataFusion sees it: columns, and which filters it can answer by itself.
//!
//! Equality with a constant or a parameter on every key column of a table turns a scan into one look-up; other conditions spare it the copying of rows
//! that will go (see [`super::hint`]). Both are hints: DataFusion filters again. Columns are declared nullable throughout; statistics are never given.

use super::{
    exec::RelationExec,
    hint::{self, Hint},
};
use crate::table::writes::Key;
use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Column, DataFusionError, Result, ScalarValue},
    datasource::TableType,
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown},
    physical_plan::ExecutionPlan,
};
use regauge_plan::params::{self, Slots};
use regauge_types::{TopicId, VersionNo, ViewId, key};
use std::{borrow::Cow, sync::Arc};

/// Where a relation's rows come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A head.
    Table {
        /// Its topic.
        topic: TopicId,
        /// Positions of the key.
        key: Vec<usize>,
    },
    /// The log.
    Stream {
        /// Its topic.
        topic: TopicId,
    },
    /// A trace.
    Version {
        /// The view.
        view: ViewId,
        /// Its version.
        version: VersionNo,
    },
    /// Rows of a trace that failed and were set aside.
    Diverted {
        /// The view.
        view: ViewId,
        /// Its version.
        version: VersionNo,
    },
    /// Rows that are known when the plan is made: what SHOW and system relations give, or what a statement has computed.
    Rows(Arc<Vec<RecordBatch>>),
}

/// Columns that a stream's records have besides the user's.
pub const SYSTEM_COLUMNS: [&str; 5] = ["_offset", "_partition", "_commit_ts", regauge_plan::catalog::LATE, "_schema"];

/// Fields of [`SYSTEM_COLUMNS`].
#[must_use]
pub fn system_fields() -> Vec<Field> {
    let clock = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types = [DataType::Int64, DataType::Int32, clock, DataType::Boolean, DataType::Int32];
    SYSTEM_COLUMNS.iter().zip(types).map(|(name, ty)| Field::new(*name, ty, true)).collect()
}

/// A relation.
#[derive(Debug)]
pub struct RelationTable {
    source: Source,
    schema: SchemaRef,
}

impl RelationTable {
    /// A relation of these columns; a stream's may end with [`system_fields`].
    #[must_use]
    pub fn new(source: Source, schema: SchemaRef) -> RelationTable {
        // Metadata (column ids) would only get in the way of comparing schemas.
        let fields: Vec<Field> = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
        RelationTable { source, schema: Arc::new(Schema::new(fields)) }
    }

    /// Where its rows come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    fn point(&self, filters: &[Expr]) -> Option<Point> {
        let Source::Table { key, .. } = &self.source else { return None };
        if key.is_empty() {
            return None;
        }
        let part = |at: &usize| {
            let field = self.schema.field(*at);
            let wanted = match filters.iter().find_map(|f| equal_to(f, field.name()))? {
                Expr::Literal(value, _) => Wanted::Constant(exactly(value, field.data_type())?),
                other => params::of(plain(other)).map(|(at, slots)| Wanted::Param(at, Arc::clone(slots)))?,
            };
            Some((field.data_type().clone(), wanted))
        };
        Some(Point(key.iter().map(part).collect::<Option<_>>()?))
    }
}

/// A key that a scan looks up: of each of its columns the type, and what it is to equal.
#[derive(Clone, Debug)]
pub(super) struct Point(Vec<(DataType, Wanted)>);

#[derive(Clone, Debug)]
enum Wanted {
    Constant(ScalarValue),
    /// A parameter: its position and what holds it.
    Param(usize, Arc<Slots>),
}

/// What a scan that looks a key up has to read.
pub(super) enum LookUp {
    /// One row, if it is there.
    Row(Key),
    /// None: a part of the key equals NULL.
    Nothing,
    /// All rows: the value is none of the key's type, and the filter decides.
    All,
}

impl Point {
    /// What is to be read, as the values are now.
    ///
    /// # Errors
    /// A parameter without a value.
    pub(super) fn look_up(&self) -> Result<LookUp> {
        let mut columns: Vec<ArrayRef> = vec![];
        for (ty, wanted) in &self.0 {
            let value = match wanted {
                Wanted::Constant(value) => value.clone(),
                Wanted::Param(at, slots) => match slots.value(*at)? {
                    null if null.is_null() => return Ok(LookUp::Nothing),
                    value => match exactly(&value, ty) {
                        Some(value) => value,
                        None => return Ok(LookUp::All),
                    },
                },
            };
            columns.push(value.to_array()?);
        }
        let keys = key::encode(&columns, 1).map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(LookUp::Row(Key::from(keys.get(0))))
    }
}

/// The constant or parameter that a filter demands of a column.
fn equal_to<'a>(filter: &'a Expr, column: &str) -> Option<&'a Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    let named = |side: &Expr| matches!(side, Expr::Column(Column { name, .. }) if name == column);
    let wanted = |side: &Expr, value: &Expr| match value {
        Expr::Literal(..) => named(side),
        value => params::is_param(plain(value)) && named(plain(side)),
    };
    match (left.as_ref(), right.as_ref()) {
        (side, value) | (value, side) if wanted(side, value) => Some(value),
        _ => None,
    }
}

/// A whole number that is cast to a wider type, as it was: a parameter, or the column beside it. (Of a literal the optimiser takes such casts away.)
fn plain(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) if cast.field.data_type().is_signed_integer() => {
            let is_integer = match cast.expr.as_ref() {
                Expr::Placeholder(p) => p.field.as_ref().is_some_and(|f| f.data_type().is_signed_integer()),
                Expr::Column(_) => true,
                param => params::of(param).is_some_and(|(at, slots)| slots.types()[at].is_signed_integer()),
            };
            if is_integer { &cast.expr } else { expr }
        }
        _ => expr,
    }
}

/// The value in another type, if it is the same value there.
fn exactly(value: &ScalarValue, ty: &DataType) -> Option<ScalarValue> {
    if value.is_null() {
        return None;
    }
    let there = value.cast_to(ty).ok()?;
    (there.cast_to(&value.data_type()).ok()? == *value).then_some(there)
}

#[async_trait::async_trait]
impl TableProvider for RelationTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let key: Vec<&str> = match &self.source {
            Source::Table { key, .. } => key.iter().map(|at| self.schema.field(*at).name().as_str()).collect(),
            _ => vec![],
        };
        let is_table = matches!(self.source, Source::Table { .. });
        let is_point = |filter: &Expr| key.iter().any(|column| equal_to(filter, column).is_some());
        let of = |filter: &&Expr| match is_point(filter) || (is_table && hint::may_be(filter)) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, datafusion::logical_expr::LogicalPlan>> {
        None
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let point = self.point(filters);
        let hints = filters.iter().filter_map(|filter| Hint::new(filter, &self.schema, state.execution_props())).collect();
        let exec = RelationExec::new(self.source.clone(), self.schema.clone(), projection.cloned(), point)?;
        Ok(Arc::new(exec.hinted(hints)))
    }
}
