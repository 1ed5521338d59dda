//! WITH RECURSIVE that reads outer columns: one recursion for all of their values at once.
//!
//! ```text
//!   apply(first UNION term, D)  =  apply(first, D) UNION apply(term, D)    the rows of a step carry the value of D that they belong to
//!   apply(rows of a step, D)    =  themselves: D's columns stand behind their own
//! ```
//! Invariant: rows of different values of D never meet: a term reads its step once and hands D's columns on, so a value's rows are those of
//! its own recursion, and with UNION they are told apart by D as well. It ends when the last value's has ended. Cost: the steps of the
//! longest recursion, each over all values that are still at it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Column;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, RecursiveQuery, TableScan, TableSource};

use super::Unnester;
use super::domain::{Applied, Domain};
use crate::bind::recursive::is_work_table;
use crate::bind::source::WorkTable;

/// Rows of a step that carry the domain.
#[derive(Clone)]
pub(super) struct Carried {
    /// The recursion's name.
    name: String,
    /// The domain's columns behind the rows' own.
    fields: Vec<Field>,
}

impl Carried {
    /// Whether the rows of a step are read here.
    pub fn is_in(&self, q: &LogicalPlan) -> Result<bool> {
        q.exists(|node| Ok(is_work_table(node, &self.name)))
    }

    /// These rows, if that is what the scan reads, with the domain's columns.
    pub fn scan(&self, scan: &TableScan) -> Result<Option<Applied>> {
        if !is_work_table(&LogicalPlan::TableScan(scan.clone()), &self.name) {
            return Ok(None);
        }
        let own = scan.source.schema();
        let fields = own.fields().iter().map(|f| f.as_ref().clone()).chain(self.fields.iter().cloned());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let any: &dyn std::any::Any = scan.source.as_ref();
        let source: Arc<dyn TableSource> = match any.downcast_ref::<WorkTable>() {
            Some(_) => Arc::new(WorkTable { name: self.name.clone(), schema }),
            None => provider_as_source(Arc::new(CteWorkTable::new(&self.name, schema))),
        };
        let n = own.fields().len();
        let projection = scan.projection.clone().map(|p| p.into_iter().chain(n..n + self.fields.len()).collect());
        let d = self.fields.iter().map(|f| Column::new(Some(scan.table_name.clone()), f.name())).collect();
        Ok(Some((LogicalPlanBuilder::scan(scan.table_name.clone(), source, projection)?.build()?, d)))
    }
}

impl Unnester {
    pub(super) fn apply_recursive(&mut self, r: RecursiveQuery, dom: &Domain) -> Result<Applied> {
        let (first, d) = self.apply(Arc::unwrap_or_clone(r.static_term), dom)?;
        let fields = first.schema().fields().iter().skip(first.schema().fields().len() - d.len());
        let fields = fields.map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
        let carried = dom.carried(Carried { name: r.name.clone(), fields });
        let (term, _) = self.apply(Arc::unwrap_or_clone(r.recursive_term), &carried)?;
        Ok((LogicalPlan::RecursiveQuery(RecursiveQuery::try_new(r.name, Arc::new(first), Arc::new(term), r.is_distinct)?), d))
    }
}
