//! A relation under DataFusion's `TableSource`: what lowering finds again in a scan.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};

use crate::catalog::{LATE, RelationInfo};
use crate::error::PlanError;

#[derive(Debug)]
pub(crate) struct RelationSource {
    pub info: RelationInfo,
    /// All nullable: NOT NULL is judged at the table, and an outer row may have gone through an older definition.
    schema: SchemaRef,
    expansion: Option<LogicalPlan>,
}

impl RelationSource {
    /// `late`: a stream with a watermark shows the lateness of its records, behind its own columns.
    pub fn of(info: RelationInfo, late: bool) -> Self {
        let mut schema = nullable(&info.schema);
        if late && info.watermark.is_some() {
            let own = schema.fields().iter().cloned();
            let late = Arc::new(Field::new(LATE, DataType::Boolean, true));
            schema = Arc::new(Schema::new(own.chain([late]).collect::<Vec<_>>()));
        }
        RelationSource { schema, info, expansion: None }
    }

    /// A plain view: its query's plan, under the names that the view gives.
    pub fn expanded(info: RelationInfo, plan: LogicalPlan) -> Result<Self, PlanError> {
        let schema = nullable(&info.schema);
        let wanted = schema.fields();
        if wanted.len() != plan.schema().fields().len() {
            return Err(PlanError::internal("a plain view's query no longer fits its columns"));
        }
        let renamed = plan.schema().columns().into_iter().zip(wanted).map(|(c, f)| Expr::Column(c).alias(f.name()));
        let renamed: Vec<_> = renamed.collect();
        let plan = LogicalPlanBuilder::from(plan).project(renamed)?.build()?;
        Ok(RelationSource { info, schema, expansion: Some(plan) })
    }
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.expansion.as_ref().map(Cow::Borrowed)
    }
}

/// The rows that a recursive term refers to by its query's own name.
#[derive(Debug)]
pub(crate) struct WorkTable {
    pub name: String,
    pub schema: SchemaRef,
}

impl TableSource for WorkTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
