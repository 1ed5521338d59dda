//! Look-ups of one row by its whole key, past the planner: `SELECT columns FROM relation WHERE key = $1 [AND key2 = $2 ..]`.
//!
//! Recognised once, when the statement is prepared, and only if nothing else stands in it: its text must be exactly what is rebuilt
//! from the parts that are understood. Invariant: it answers what the planned statement would, at an epoch chosen by the same rules;
//! whatever is in doubt (a transaction, another catalog or search path, an error in the view) takes the general way. Cost: one access
//! of the head's map, or one probe of each layer of a view's trace.

use super::{Session, txn::Mode};
use crate::{
    catalog::{Catalog, Kind, Relation, RoleId},
    error::{Error, Result},
    response::{Response, Rows},
    version::registry,
};
use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, SchemaRef},
};
use datafusion::sql::sqlparser::ast;
use regauge_plan::parse::Statement;
use regauge_types::key;
use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
};

/// A prepared look-up.
#[derive(Clone, Debug)]
pub(super) struct Point {
    relation: Arc<Relation>,
    /// The catalog when it was prepared: this one and no other, as in [`super::select`].
    catalog: Weak<Catalog>,
    search_path: Vec<String>,
    /// By whose rights: what it reads was judged when it was prepared, and again when the catalog changes.
    role: RoleId,
    /// For each column of the key its parameter, and the column's type.
    params: Vec<(usize, DataType)>,
    /// Positions in the relation of the answer's columns.
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// What a text of this form names.
struct Form {
    schema: Option<String>,
    relation: String,
    /// None: all.
    columns: Option<Vec<String>>,
    /// Column and parameter.
    equal: Vec<(String, usize)>,
}

impl Session {
    /// The look-up that a statement is, if it is one.
    pub(super) fn point_of(&self, statement: &Statement, params: &[DataType], answer: Option<&SchemaRef>) -> Option<Point> {
        let Statement::Query(query) = statement else { return None };
        let (form, schema) = (form(query)?, answer?.clone());
        let scope = self.scope(None);
        let relation = scope.relation(form.schema.as_deref(), &form.relation).ok()?.clone();
        let key = match &relation.kind {
            Kind::Table { key } => key.clone(),
            Kind::Materialized { .. } => relation.routed()?.key.clone()?,
            _ => return None,
        };
        if key.is_empty() || key.len() != form.equal.len() {
            return None;
        }
        let param = |at: &usize| {
            let column = relation.columns.get(*at)?;
            let (_, param) = form.equal.iter().find(|(name, _)| *name == column.name)?;
            // Drivers send an integer in the smallest type that holds it.
            let given = params.get(*param)?;
            let fits = given == &column.ty || given.is_signed_integer() && column.ty.is_signed_integer();
            fits.then(|| (*param, column.ty.clone()))
        };
        let params = key.iter().map(param).collect::<Option<Vec<_>>>()?;
        let columns = match &form.columns {
            None => (0..relation.columns.len()).collect(),
            Some(names) => names.iter().map(|name| relation.position(name)).collect::<Option<Vec<_>>>()?,
        };
        let types = columns.iter().map(|at: &usize| &relation.columns[*at].ty);
        if !types.eq(schema.fields().iter().map(|f| f.data_type())) {
            return None;
        }
        let role = self.plain_role()?;
        scope.who.read(&scope.catalog, &relation).ok()?;
        if self.variables.search_path() != scope.search_path {
            return None;
        }
        Some(Point {
            catalog: Arc::downgrade(&scope.catalog),
            search_path: scope.search_path,
            role,
            relation,
            params,
            columns,
            schema,
        })
    }

    /// Answers a look-up; none if it must take the general way.
    pub(super) async fn run_point(&mut self, point: &Point, values: &[ArrayRef]) -> Result<Option<Response>> {
        let stands = self.txn.is_none()
            && std::ptr::eq(Arc::as_ptr(&self.core.judged.catalog()), point.catalog.as_ptr())
            && self.variables.search_path() == point.search_path
            && self.plain_role() == Some(point.role);
        let key = |(param, ty): &(usize, DataType)| {
            let value = values.get(*param).filter(|v| v.len() == 1)?;
            // What does not fit becomes NULL, and NULL takes the general way.
            if value.data_type() == ty { Some(value.clone()) } else { cast(value, ty).ok() }
        };
        let keys: Option<Vec<ArrayRef>> = point.params.iter().map(key).collect();
        let (true, Some(keys)) = (stands, keys) else { return Ok(None) };
        if keys.iter().any(|k| k.is_null(0)) {
            return Ok(None);
        }
        let guard = self.guard();
        self.look_around();
        let found = match (point.relation.topic(), point.relation.view()) {
            (Some(_), _) => guard.run(self.of_table(point, &keys)).await?,
            (None, Some(view)) => {
                let Some(version) = point.relation.routed() else { return Ok(None) };
                match guard.run(self.of_view((view, version.no), &keys)).await? {
                    Some(rows) => rows,
                    None => return Ok(None),
                }
            }
            (None, None) => return Ok(None),
        };
        let columns = point.columns.iter().map(|at| found.column(*at).clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(found.num_rows()));
        let rows = RecordBatch::try_new_with_options(point.schema.clone(), columns, &options).map_err(Error::arrow)?;
        Ok(Some(Response::Rows(Rows::ready(point.schema.clone(), vec![rows], "SELECT"))))
    }

    async fn of_table(&mut self, point: &Point, keys: &[ArrayRef]) -> Result<RecordBatch> {
        let key = key::encode(keys, 1).map_err(|e| Error::internal(e.to_string()))?;
        let mut txn = self.fresh(Mode::Autocommit, self.seen.lsn);
        let reading = self.bind(&mut txn, &BTreeSet::from([point.relation.id]), true).await?;
        let head = point.relation.topic().and_then(|topic| reading.judged.head(topic));
        let row = head.and_then(|head| head.read().get(key.get(0), reading.at).cloned());
        Ok(row.map_or_else(|| RecordBatch::new_empty(point.relation.schema()), |row| row.batch.slice(row.at, 1)))
    }

    async fn of_view(&mut self, version: registry::Key, keys: &[ArrayRef]) -> Result<Option<RecordBatch>> {
        let timeout = self.variables.causal_timeout();
        self.core.wait_durable(self.seen.lsn.min(self.core.judged.last()), timeout).await?;
        let Some((at, rows)) = self.core.versions.lookup(version, self.seen.lsn, keys, timeout).await? else { return Ok(None) };
        self.seen.lsn = self.seen.lsn.max(at);
        Ok(Some(rows))
    }
}

fn form(query: &ast::Query) -> Option<Form> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let ([from], Some(selection)) = (select.from.as_slice(), &select.selection) else { return None };
    let ast::TableFactor::Table { name, .. } = &from.relation else { return None };
    let items: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    if query.to_string() != format!("SELECT {} FROM {name} WHERE {selection}", items.join(", ")) {
        return None;
    }
    let parts = name.0.iter().map(|part| part.as_ident().map(named)).collect::<Option<Vec<_>>>()?;
    let (schema, relation) = match parts.as_slice() {
        [relation] => (None, relation.clone()),
        [schema, relation] => (Some(schema.clone()), relation.clone()),
        _ => return None,
    };
    let columns = match select.projection.as_slice() {
        [ast::SelectItem::Wildcard(_)] if items == ["*"] => None,
        items => Some(items.iter().map(column_item).collect::<Option<Vec<_>>>()?),
    };
    let mut equal = vec![];
    conditions(selection, &mut equal)?;
    Some(Form { schema, relation, columns, equal })
}

/// The name that an identifier means.
pub(super) fn named(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn column_item(item: &ast::SelectItem) -> Option<String> {
    match item {
        ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(ident)) => Some(named(ident)),
        _ => None,
    }
}

/// Equalities of columns and parameters, joined by AND.
fn conditions(expr: &ast::Expr, equal: &mut Vec<(String, usize)>) -> Option<()> {
    let ast::Expr::BinaryOp { left, op, right } = expr else { return None };
    match (op, left.as_ref(), right.as_ref()) {
        (ast::BinaryOperator::And, left, right) => {
            conditions(left, equal)?;
            conditions(right, equal)
        }
        (ast::BinaryOperator::Eq, ast::Expr::Identifier(column), value)
        | (ast::BinaryOperator::Eq, value, ast::Expr::Identifier(column)) => {
            equal.push((named(column), super::prepare::placeholder(value)?));
            Some(())
        }
        _ => None,
    }
}
