//! Sources and constant rows; UNION ALL.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{EmptyRelation, TableScan, Union, Values};
use regauge_types::{COLUMN_ID_KEY, ColumnId};

use super::{Builder, Rel, Result, scalar};
use crate::bind::{RelationSource, WorkTable};
use crate::catalog::{LATE_COLUMN, RelationKind};
use crate::error::PlanError;
use crate::flowplan::{Op, SourceId};
use crate::scalar::{IsTest, Scalar};
use crate::value::Value;

impl Builder {
    /// The scan's columns by id. A scan of no columns reads the first one (rows are counted, and a batch has columns).
    pub(super) fn scan(&mut self, s: &TableScan) -> Result<Rel> {
        let any: &dyn std::any::Any = s.source.as_ref();
        if let Some(work) = any.downcast_ref::<WorkTable>() {
            return self.work_table(work, s);
        }
        let source = any
            .downcast_ref::<RelationSource>()
            .ok_or_else(|| PlanError::internal(format!("{} is no relation of the catalog", s.table_name)))?;
        if !s.filters.is_empty() || s.fetch.is_some() {
            return Err(PlanError::internal("a scan took a filter or a limit"));
        }
        let info = &source.info;
        let n = info.schema.fields().len();
        let wanted: Vec<usize> = s.projection.clone().unwrap_or_else(|| (0..s.source.schema().fields().len()).collect());
        let mut read = if wanted.is_empty() { vec![0] } else { wanted.clone() };
        let without_late = self.without_late && info.watermark.is_some();
        if without_late && !read.contains(&n) {
            read.push(n);
        }
        let (mut columns, mut types) = (vec![], vec![]);
        for c in &read {
            if *c == n && info.watermark.is_some() {
                columns.push(LATE_COLUMN);
                types.push(DataType::Boolean);
                continue;
            }
            let field = info.schema.fields().get(*c).ok_or_else(|| PlanError::internal("a scan reads no such column"))?;
            columns.push(column_id(field, *c)?);
            types.push(field.data_type().clone());
        }
        if let (Some(clock), SourceId::Topic(topic)) = (info.watermark, info.id)
            && let Some(field) = info.schema.fields().get(clock)
        {
            self.clocks.insert(topic, column_id(field, clock)?);
        }
        let key = info.key.as_ref().and_then(|k| k.iter().map(|c| read.iter().position(|r| r == c)).collect());
        let append_only = info.append_only || info.kind == RelationKind::Stream;
        let node = self.push_given(Op::Source { id: info.id, columns }, vec![], types, append_only, key)?;
        let mut rel = self.rel(node);
        rel.exprs.truncate(wanted.len());
        if without_late && let Some(place) = read.iter().position(|c| *c == n) {
            let late = Box::new(Scalar::Column(place));
            rel.filter.push(Scalar::Is { test: IsTest::True, negated: true, arg: late });
        }
        Ok(rel)
    }

    /// No row, or one row without columns (which is given one).
    pub(super) fn empty(&mut self, e: &EmptyRelation) -> Result<Rel> {
        let types: Vec<DataType> = e.schema.fields().iter().map(|f| scalar::output_type(f.data_type())).collect();
        if !e.produce_one_row {
            let node = self.push_given(Op::Rows { rows: vec![] }, vec![], types, true, None)?;
            return Ok(self.rel(node));
        }
        let rows = vec![vec![Value::bool(true)]];
        let node = self.push_given(Op::Rows { rows }, vec![], vec![DataType::Boolean], true, None)?;
        Ok(Rel { node, filter: vec![], exprs: vec![] })
    }

    pub(super) fn values(&mut self, v: &Values) -> Result<Rel> {
        let types: Vec<DataType> = v.schema.fields().iter().map(|f| scalar::output_type(f.data_type())).collect();
        let mut rows = Vec::with_capacity(v.values.len());
        for row in &v.values {
            let mut out = vec![];
            for (e, ty) in row.iter().zip(&types) {
                match scalar::typed(scalar::lower(e, &v.schema)?, ty) {
                    Scalar::Literal(value) if value.ty == *ty => out.push(value),
                    _ => {
                        return Err(PlanError::unsupported(
                            format!("VALUES in a view takes constants, not {e}"),
                            "write SELECT .. UNION ALL SELECT ..",
                        ));
                    }
                }
            }
            rows.push(out);
        }
        let node = self.push_given(Op::Rows { rows }, vec![], types, true, None)?;
        Ok(self.rel(node))
    }

    pub(super) fn union(&mut self, u: &Union) -> Result<Rel> {
        let types: Vec<DataType> = u.schema.fields().iter().map(|f| scalar::output_type(f.data_type())).collect();
        let mut inputs = vec![];
        for input in &u.inputs {
            let rel = self.lower(input)?;
            let mut rel = self.cast_to(rel, &types)?;
            // Where only the number of rows is asked for, each input would bring what it happens to have.
            if types.is_empty() {
                rel.exprs = vec![Scalar::Literal(Value::bool(true))];
            }
            inputs.push(self.materialize_wide(rel)?);
        }
        let node = self.push(Op::Union, inputs)?;
        let mut rel = self.rel(node);
        rel.exprs.truncate(types.len());
        Ok(rel)
    }

    /// The same columns in these types.
    pub(super) fn cast_to(&mut self, rel: Rel, types: &[DataType]) -> Result<Rel> {
        let input = self.types(rel.node).to_vec();
        let exprs = rel.exprs.into_iter().zip(types).map(|(e, ty)| {
            let e = scalar::typed(e, ty);
            if e.data_type(&input).as_ref() == Some(ty) { e } else { Scalar::Cast { arg: Box::new(e), to: ty.clone() } }
        });
        Ok(Rel { exprs: exprs.collect(), ..rel })
    }
}

fn column_id(field: &arrow::datatypes::Field, position: usize) -> Result<ColumnId> {
    let id = match field.metadata().get(COLUMN_ID_KEY) {
        Some(text) => text.parse::<u32>().ok(),
        None => u32::try_from(position).ok(),
    };
    id.map(ColumnId).ok_or_else(|| PlanError::internal(format!("column \"{}\" has a bad id", field.name())))
}
