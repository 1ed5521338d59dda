//! UPDATE .. FROM and DELETE .. USING: a table joined with others. A row of the table is changed once.
//!
//! Where a row has several partners PostgreSQL takes any of them; here it is the first that the join gives.
//!
//! ```text
//!   UPDATE t .. FROM u RETURNING t.a, u.b + 1
//!   the join:   t's columns | new values | u.b AS __beside0
//!   RETURNING:  t.a, t.__beside0 + 1     over the rows as they were written, with that column behind their own
//! ```

use super::{Session, txn::Txn};
use crate::{
    catalog::{Kind, Relation},
    error::{Error, Result},
    read::planner,
    syntax,
    table::writes::{keys_of, whole_rows},
};
use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{Field, Schema},
};
use datafusion::{
    logical_expr::LogicalPlan,
    sql::sqlparser::ast::{
        self, Expr, JoinConstraint, JoinOperator, SelectItem, SelectItemQualifiedWildcardKind, TableFactor, Visitor, VisitorMut,
    },
};
use regauge_plan::{
    parse::fold,
    walk::{Visit, VisitMut},
};
use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

/// Of rows that begin with the table's columns, the first for each row of the table.
pub(super) fn first_of_each(relation: &Relation, found: &RecordBatch) -> Result<RecordBatch> {
    let Kind::Table { key } = &relation.kind else { return Ok(found.clone()) };
    let columns: Vec<usize> = (0..relation.columns.len()).collect();
    let own = found.project(&columns).map_err(Error::arrow)?;
    if key.is_empty() {
        // Copies of a row cannot be told apart behind a join.
        let rows = whole_rows(&own)?;
        let distinct: HashSet<_> = rows.iter().collect();
        if distinct.len() < rows.len() {
            let error = Error::unsupported(format!("rows of \"{}\" have several partners and no key", relation.name));
            return Err(error.hint("give the table a primary key, or write WHERE EXISTS (..)"));
        }
        return Ok(found.clone());
    }
    let mut seen = HashSet::new();
    let keys = keys_of(key, &own)?;
    let first: Vec<u32> = (0u32..).zip(keys).filter_map(|(at, key)| seen.insert(key).then_some(at)).collect();
    take_record_batch(found, &UInt32Array::from(first)).map_err(Error::arrow)
}

/// RETURNING of rows that stand beside others.
pub(super) struct Beside {
    /// What is asked of the rows that were written, the others' columns behind their own.
    pub(super) items: Vec<SelectItem>,
    /// Those columns, as items over the join.
    pub(super) more: Vec<SelectItem>,
    /// What they are called behind the table's own, with their types.
    pub(super) fields: Vec<Field>,
}

impl Beside {
    /// Rows that were written, with the others' columns out of what the join gave from column `n` on.
    pub(super) fn rows(&self, written: &RecordBatch, found: &RecordBatch, n: usize) -> Result<RecordBatch> {
        let fields =
            written.schema().fields().iter().cloned().chain(self.fields.iter().cloned().map(Arc::new)).collect::<Vec<_>>();
        let columns = written.columns().iter().chain(found.columns().iter().skip(n)).cloned().collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::arrow)
    }
}

impl Session {
    /// RETURNING of UPDATE .. FROM and DELETE .. USING; none where there is nothing to return, or nothing beside the table. Its names are those of the
    /// join: what stands for nothing, or for two things, is refused as there.
    pub(super) async fn beside(
        &mut self,
        txn: &Txn,
        relation: &Arc<Relation>,
        name: &str,
        with: &[ast::TableWithJoins],
        returning: &[SelectItem],
    ) -> Result<Option<Beside>> {
        if with.is_empty() || returning.is_empty() {
            return Ok(None);
        }
        self.core.planner.rows_alone(returning)?;
        let others = others(with)?;
        let column = |of: &str, name: &str| Expr::CompoundIdentifier(vec![syntax::ident(of), syntax::ident(name)]);
        let own = || relation.columns.iter().map(|c| SelectItem::UnnamedExpr(column(name, &c.name)));
        let mut items: Vec<SelectItem> = vec![];
        for item in returning {
            let of = match item {
                SelectItem::Wildcard(_) if is_merged(with) => return Err(refused("* over USING and NATURAL")),
                SelectItem::Wildcard(_) => None,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) => {
                    of.0.last().and_then(|part| part.as_ident()).map(fold)
                }
                other => {
                    items.push(other.clone());
                    continue;
                }
            };
            if of.as_deref().is_none_or(|of| of == name) {
                items.extend(own());
            }
            for other in others.iter().filter(|other| of.as_ref().is_none_or(|of| of == *other)) {
                let plan = self.over_join(txn, relation, name, with, vec![syntax::all_of(other)]).await?;
                let shown = planner::shown(&Arc::new(plan.schema().as_arrow().clone()));
                items.extend(shown.fields().iter().map(|f| SelectItem::UnnamedExpr(column(other, f.name()))));
            }
            if of.as_ref().is_some_and(|of| of != name && !others.contains(of)) {
                items.push(item.clone());
            }
        }
        let as_written = items.clone();
        let mut rewrite = Rewrite { name, relation, others: &others, depth: 0, more: vec![] };
        for item in &mut items {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(alias) = label(expr).cloned()
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
            if let ControlFlow::Break(error) = VisitMut::visit(item, &mut rewrite) {
                return Err(error);
            }
        }
        let more: Vec<SelectItem> =
            rewrite.more.into_iter().enumerate().map(|(at, expr)| syntax::expr_as(expr, &beside_name(at))).collect();
        let n = as_written.len();
        let plan =
            self.over_join(txn, relation, name, with, as_written.into_iter().chain(more.iter().cloned()).collect()).await?;
        let types = plan.schema().fields().iter().skip(n).map(|f| f.data_type().clone());
        let fields = types.enumerate().map(|(at, ty)| Field::new(beside_name(at), ty, true)).collect();
        Ok(Some(Beside { items, more, fields }))
    }

    /// Plans items over the table and what it is joined with.
    async fn over_join(
        &mut self,
        txn: &Txn,
        relation: &Arc<Relation>,
        name: &str,
        with: &[ast::TableWithJoins],
        items: Vec<SelectItem>,
    ) -> Result<LogicalPlan> {
        let mut scope = self.scope(Some(txn));
        Arc::make_mut(&mut scope.who).judged.insert(relation.id);
        let (schema, of) = (syntax::quote(&relation.name.schema), syntax::quote(&relation.name.name));
        let mut query = syntax::select(items, &format!("{schema}.{of} AS {}", syntax::quote(name)), None)?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.from.extend(with.iter().cloned());
        }
        Box::pin(self.core.planner.plan(query, scope)).await
    }
}

fn beside_name(at: usize) -> String {
    format!("__beside{at}")
}

/// Columns of other relations become columns behind the table's own.
struct Rewrite<'a> {
    name: &'a str,
    relation: &'a Relation,
    others: &'a [String],
    depth: usize,
    more: Vec<Expr>,
}

impl VisitorMut for Rewrite<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<Error> {
        let of_others = match e {
            Expr::CompoundIdentifier(parts) => {
                let of = parts.iter().rev().nth(1).map(fold);
                of.is_some_and(|of| of != self.name && self.others.contains(&of))
            }
            // The row itself would have the others' columns.
            Expr::Identifier(i) if fold(i) == self.name && self.relation.position(self.name).is_none() => {
                return ControlFlow::Break(refused("a row by its relation's name"));
            }
            Expr::Identifier(i) => self.depth == 0 && self.relation.position(&fold(i)).is_none(),
            _ => false,
        };
        if !of_others {
            return ControlFlow::Continue(());
        }
        if self.depth > 0 {
            return ControlFlow::Break(refused("a subquery that reads the other relations' columns"));
        }
        let at = self.more.iter().position(|known| known == e).unwrap_or(self.more.len());
        if at == self.more.len() {
            self.more.push(e.clone());
        }
        *e = Expr::CompoundIdentifier(vec![syntax::ident(self.name), syntax::ident(&beside_name(at))]);
        ControlFlow::Continue(())
    }
}

/// The name that an item has by its column.
fn label(e: &Expr) -> Option<&ast::Ident> {
    match e {
        Expr::Identifier(i) => Some(i),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => label(expr),
        _ => None,
    }
}

/// What the relations are called that a table is joined with.
fn others(with: &[ast::TableWithJoins]) -> Result<Vec<String>> {
    let mut names = vec![];
    for table in with {
        for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|j| &j.relation)) {
            let (alias, own) = match factor {
                TableFactor::Table { alias, name, .. } | TableFactor::Function { alias, name, .. } => {
                    (alias, name.0.last().and_then(|part| part.as_ident()))
                }
                TableFactor::Derived { alias, .. } | TableFactor::UNNEST { alias, .. } => (alias, None),
                TableFactor::NestedJoin { table_with_joins, alias: None } => {
                    names.extend(others(std::slice::from_ref(table_with_joins))?);
                    continue;
                }
                _ => return Err(refused("such a relation's columns")),
            };
            names.extend(alias.as_ref().map(|a| &a.name).or(own).map(fold));
        }
    }
    Ok(names)
}

/// Whether columns of two relations are one in `*`.
fn is_merged(with: &[ast::TableWithJoins]) -> bool {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            match factor {
                TableFactor::NestedJoin { table_with_joins, .. } if merges(table_with_joins) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    fn merges(table: &ast::TableWithJoins) -> bool {
        table.joins.iter().any(|join| {
            let constraint = match &join.join_operator {
                JoinOperator::Join(c)
                | JoinOperator::Inner(c)
                | JoinOperator::Left(c)
                | JoinOperator::LeftOuter(c)
                | JoinOperator::Right(c)
                | JoinOperator::RightOuter(c)
                | JoinOperator::FullOuter(c) => c,
                _ => return false,
            };
            matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
        })
    }
    with.iter().any(|table| merges(table) || table.visit(&mut V).is_break())
}

/// What RETURNING does not offer.
fn refused(what: &str) -> Error {
    Error::unsupported(format!("RETURNING beside other relations: {what} is not offered"))
        .hint("name the columns, as in RETURNING t.a, u.b; or read the others with a SELECT")
}
