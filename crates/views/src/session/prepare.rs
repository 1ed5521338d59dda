//! Prepared statements: parameters get types, and values take their places in the statement's tree.
//!
//! A value enters as `CAST('text' AS type)`, never as part of a text that is parsed. Types that the client leaves open follow
//! from the columns that the parameters meet; what nothing tells is text.

use super::{Session, txn::Mode};
use crate::{
    catalog::{Catalog, RoleId},
    error::{Error, Result, sqlstate as code},
    read::names::Scope,
    response::Response,
    syntax,
};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    scalar::ScalarValue,
    sql::sqlparser::ast::{self},
};
use regauge_plan::{
    Value,
    parse::{Assignment, Ddl, SinkDdl, Statement},
    pgtypes::{format_text, type_by_name},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// Statements that PREPARE may keep in one session.
const NAMED_MAX: usize = 10_000;
/// Statements that are found again when they are prepared again: longer texts, and those of more parameters or columns, are not kept.
const KEPT_BYTES_MAX: usize = 1024;
const KEPT_PARTS_MAX: usize = 64;
/// Most parameters of one statement, as in PostgreSQL's protocol.
const PARAMS_MAX: usize = 65_535;

/// A statement whose parameters have types.
#[derive(Clone, Debug)]
pub struct Prepared {
    statement: Option<Arc<Statement>>,
    /// What plans of it are kept by; `None` where the text alone does not say what is meant.
    text: Option<String>,
    /// Types of `$1`, `$2`, ..
    pub params: Vec<DataType>,
    /// What it answers with; `None` when it gives no rows.
    pub columns: Option<SchemaRef>,
    /// Parameters that are cast to oid, or an array of it, where they stand.
    pub oid_params: Vec<usize>,
    /// It reads system relations and nothing else.
    pub reads_catalogs_only: bool,
    /// It looks one row up by its key.
    point: Option<super::point::Point>,
    /// One plan of it serves all values.
    open: bool,
}

/// A statement that was prepared before: drivers without statements of their own prepare the same text for each call.
pub(super) struct PreparedBefore {
    prepared: Prepared,
    held: PreparedIn,
}

struct PreparedIn {
    /// This one and no other, as in [`super::select`].
    catalog: Weak<Catalog>,
    role: RoleId,
    search_path: Vec<String>,
    time_zone: String,
    planning: [u8; 32],
}

impl PartialEq for PreparedIn {
    fn eq(&self, other: &PreparedIn) -> bool {
        Weak::ptr_eq(&self.catalog, &other.catalog)
            && (self.role, &self.search_path, &self.time_zone, self.planning)
                == (other.role, &other.search_path, &other.time_zone, other.planning)
    }
}

impl Prepared {
    /// Whether the text held nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statement.is_none()
    }

    /// Whether it asks for the client's rows.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        matches!(self.statement.as_deref(), Some(Statement::Copy(_)))
    }

    /// Whether it ends a transaction or its failure, and so may run in a failed one.
    #[must_use]
    pub fn ends_transaction(&self) -> bool {
        matches!(
            self.statement.as_deref(),
            Some(Statement::Commit | Statement::Rollback | Statement::Chain { .. } | Statement::RollbackTo { .. })
        )
    }
}

impl Session {
    /// Prepares one statement. `types` are those that the client knows, `None` where it leaves them open.
    pub async fn prepare(&mut self, sql: &str, types: &[Option<DataType>]) -> Result<Prepared> {
        let outcome = crate::stack::roomy(self.here(), self.prepare_inner(sql, types)).await;
        outcome.map_err(|e| self.fail(e))
    }

    async fn prepare_inner(&mut self, sql: &str, types: &[Option<DataType>]) -> Result<Prepared> {
        self.own.clear();
        if sql.len() > KEPT_BYTES_MAX || types.len() > KEPT_PARTS_MAX {
            return self.prepare_anew(sql, types).await;
        }
        let asked = (sql.to_owned(), types.to_vec());
        let held = self.prepared_in();
        if let Some(before) = self.plans.prepared.get(&asked).filter(|before| Some(&before.held) == held.as_ref()) {
            return Ok(before.prepared.clone());
        }
        let prepared = self.prepare_anew(sql, types).await?;
        let may_be_kept = matches!(
            prepared.statement.as_deref(),
            Some(Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_))
        );
        let n_columns = prepared.columns.as_ref().map_or(0, |columns| columns.fields().len());
        let is_small = n_columns.max(prepared.params.len()) <= KEPT_PARTS_MAX;
        if let Some(held) = held.filter(|_| may_be_kept && is_small && prepared.text.is_some()) {
            self.plans.prepared.put(asked, PreparedBefore { prepared: prepared.clone(), held });
        }
        Ok(prepared)
    }

    /// What a prepared statement means depends on; `None` while that is nobody else's: in a transaction that has changed the catalog.
    fn prepared_in(&self) -> Option<PreparedIn> {
        if self.txn.as_ref().is_some_and(|txn| !txn.events.is_empty()) {
            return None;
        }
        let scope = self.scope(None);
        // in a transaction rights may be newer than its catalog
        if !Arc::ptr_eq(&scope.catalog.rights, &scope.who.rights) {
            return None;
        }
        Some(PreparedIn {
            catalog: Arc::downgrade(&scope.catalog),
            role: self.plain_role()?,
            search_path: scope.search_path,
            time_zone: scope.time_zone,
            planning: scope.about.planning,
        })
    }

    async fn prepare_anew(&mut self, sql: &str, types: &[Option<DataType>]) -> Result<Prepared> {
        let statements = self.parse(sql)?;
        let statement = match statements.as_slice() {
            [] => {
                return Ok(Prepared {
                    statement: None,
                    text: None,
                    params: vec![],
                    columns: None,
                    oid_params: vec![],
                    reads_catalogs_only: false,
                    point: None,
                    open: false,
                });
            }
            [one] => {
                let mut one = one.clone();
                each_expr(&mut one, &mut super::zoned::cast);
                one
            }
            _ => return Err(Error::invalid(code::SYNTAX, "cannot insert multiple commands into a prepared statement")),
        };
        // What is prepared is the call; the body is put in again with each run, as it is then.
        let expanded = self.expanded(&self.whole_catalog(), &statement)?;
        let seen = expanded.as_ref().unwrap_or(&statement);
        // Types of parameters and columns are told of what the role may use.
        if !matches!(statement, Statement::Set { .. } | Statement::Reset { .. } | Statement::Discard) {
            self.judge(None, seen)?;
        }
        let n = count_params(&statement)?.max(types.len());
        let mut known: Vec<Option<DataType>> = types.to_vec();
        known.resize(n, None);
        if known.iter().any(Option::is_none) {
            for (at, ty) in self.infer(seen).await {
                if let Some(slot) = known.get_mut(at) {
                    slot.get_or_insert(ty);
                }
            }
        }
        let params: Vec<DataType> = known.into_iter().map(|ty| ty.unwrap_or(DataType::Utf8)).collect();
        let mut casts = syntax::Casts::default();
        let nulls: Vec<ast::Expr> = params.iter().map(|ty| casts.to(syntax::null(), ty)).collect::<Result<_>>()?;
        let columns = self.columns_of(&filled(seen, &nulls)).await?;
        let point = self.point_of(&statement, &params, columns.as_ref());
        let oid_params = oid_params(&statement);
        let reads_catalogs_only = match &statement {
            Statement::Query(query) => self.core.planner.reads_catalogs_only(query, &self.scope(None))?,
            _ => false,
        };
        let text = matches!(statements.as_slice(), [as_written] if *as_written == statement).then(|| sql.to_owned());
        let open = super::given::is_open(&statement, &params);
        Ok(Prepared { statement: Some(Arc::new(statement)), text, params, columns, oid_params, reads_catalogs_only, point, open })
    }

    /// Runs a prepared statement. `values` are arrays of one element each.
    pub async fn run(&mut self, prepared: &Prepared, values: &[ArrayRef]) -> Result<Response> {
        let Some(statement) = &prepared.statement else { return Ok(Response::command("")) };
        if let Some(point) = &prepared.point {
            match self.run_point(point, values).await {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(error) => return Err(self.fail(error)),
            }
        }
        let outcome = crate::stack::roomy(self.here(), self.run_inner(prepared, statement, values)).await;
        outcome.map_err(|e| self.fail(e))
    }

    async fn run_inner(&mut self, prepared: &Prepared, statement: &Arc<Statement>, values: &[ArrayRef]) -> Result<Response> {
        if values.len() != prepared.params.len() {
            let message =
                format!("bind message supplies {} parameters, but the statement needs {}", values.len(), prepared.params.len());
            return Err(Error::invalid(code::PROTOCOL_VIOLATION, message));
        }
        if values.is_empty() {
            return self.statement(statement, prepared.text.as_deref()).await;
        }
        if let Some(text) = prepared.text.as_deref().filter(|_| prepared.open) {
            let given = super::given::Given::of_prepared(text, statement, &prepared.params, values)?;
            if self.is_fit(&given) {
                return self.statement_given(given).await;
            }
        }
        let mut casts = syntax::Casts::default();
        let literals =
            values.iter().zip(&prepared.params).map(|(v, ty)| literal(v, ty, &mut casts)).collect::<Result<Vec<_>>>()?;
        self.statement(&filled(statement, &literals), None).await
    }

    /// PREPARE: keeps a statement with the types of its parameters.
    pub(super) async fn prepare_named(&mut self, name: &str, types: &[DataType], statement: &Statement) -> Result<Response> {
        if self.named.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(regauge_types::ErrorKind::Conflict, "42P05", message).hint("DEALLOCATE it first"));
        }
        if self.named.len() >= NAMED_MAX {
            let message = format!("too many prepared statements max={NAMED_MAX}");
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("DEALLOCATE those that are not needed"));
        }
        let expanded = self.expanded(&self.whole_catalog(), statement)?;
        let seen = expanded.as_ref().unwrap_or(statement);
        self.judge(None, seen)?;
        let n = count_params(statement)?.max(types.len());
        let mut params: Vec<Option<DataType>> = types.iter().cloned().map(Some).collect();
        params.resize(n, None);
        if params.iter().any(Option::is_none) {
            for (at, ty) in self.infer(seen).await {
                if let Some(slot) = params.get_mut(at) {
                    slot.get_or_insert(ty);
                }
            }
        }
        let params: Vec<DataType> = params.into_iter().map(|ty| ty.unwrap_or(DataType::Utf8)).collect();
        // what cannot be planned is refused now, as PostgreSQL does
        let nulls = params.iter().map(|ty| syntax::cast_to(syntax::null(), ty)).collect::<Result<Vec<_>>>()?;
        self.columns_of_plain(&filled(seen, &nulls)).await?;
        let mut kept = statement.clone();
        each_expr(&mut kept, &mut super::zoned::cast);
        self.named.insert(name.to_owned(), (kept, params));
        Ok(Response::command("PREPARE"))
    }

    /// The statement that EXECUTE means, with its arguments in the parameters' places; `None` for any other statement.
    pub(super) async fn executed(&mut self, statement: &Statement) -> Result<Option<Statement>> {
        let Statement::Execute { name, args } = statement else { return Ok(None) };
        let missing = || {
            let message = format!("prepared statement \"{name}\" does not exist");
            Error::new(regauge_types::ErrorKind::NotFound, "26000", message)
        };
        let (statement, params) = self.named.get(name).ok_or_else(missing)?;
        if params.len() != args.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let detail = format!("Expected {} parameters but got {}.", params.len(), args.len());
            return Err(Error::invalid(code::SYNTAX, message).detail(detail));
        }
        let values = args.iter().zip(params).map(|(arg, ty)| syntax::cast_to(arg.clone(), ty)).collect::<Result<Vec<_>>>()?;
        Ok(Some(filled(statement, &values)))
    }

    /// Types that the statement tells of its parameters, by position from 0.
    async fn infer(&mut self, statement: &Statement) -> BTreeMap<usize, DataType> {
        let mut types = cast_types(statement);
        let scope = self.scope(None);
        match statement {
            Statement::Query(query) | Statement::Declare { query, .. } => self.infer_query(query, scope, &mut types).await,
            Statement::Insert(insert) => {
                let Ok(relation) = scope.relation(insert.table.schema.as_deref(), &insert.table.name).cloned() else {
                    return types;
                };
                let Ok(named) = super::insert::named_columns(&relation, &insert.columns) else { return types };
                let Some(source) = &insert.source else { return types };
                if let ast::SetExpr::Values(values) = source.body.as_ref() {
                    for row in &values.rows {
                        for (expr, at) in row.iter().zip(&named) {
                            if let Some(no) = placeholder(expr) {
                                types.entry(no).or_insert_with(|| relation.columns[*at].ty.clone());
                            }
                        }
                    }
                }
                if let ast::SetExpr::Select(select) = source.body.as_ref() {
                    for (item, at) in select.projection.iter().zip(&named) {
                        let (ast::SelectItem::UnnamedExpr(e) | ast::SelectItem::ExprWithAlias { expr: e, .. }) = item else {
                            break;
                        };
                        if let Some(no) = placeholder(e) {
                            types.entry(no).or_insert_with(|| relation.columns[*at].ty.clone());
                        }
                    }
                }
                if has_open(source, &types) {
                    self.infer_query(source, scope, &mut types).await;
                }
                if let Some((assignments, _)) = insert.on_conflict.as_ref().and_then(|c| c.update.as_ref()) {
                    infer_assignments(assignments, &relation, &mut types);
                }
            }
            Statement::Update(update) => {
                let Ok(relation) = scope.relation(update.table.schema.as_deref(), &update.table.name).cloned() else {
                    return types;
                };
                infer_assignments(&update.assignments, &relation, &mut types);
                let mut items: Vec<ast::SelectItem> =
                    update.assignments.iter().filter_map(|a| a.value.clone()).map(ast::SelectItem::UnnamedExpr).collect();
                items.push(ast::SelectItem::UnnamedExpr(syntax::null()));
                let (alias, on) = (update.alias.as_deref(), update.selection.clone());
                self.infer_over(&relation, alias, &update.from, items, on, scope, &mut types).await;
            }
            Statement::Delete(delete) => {
                let Ok(relation) = scope.relation(delete.table.schema.as_deref(), &delete.table.name).cloned() else {
                    return types;
                };
                let items = vec![ast::SelectItem::UnnamedExpr(syntax::null())];
                let (alias, on) = (delete.alias.as_deref(), delete.selection.clone());
                self.infer_over(&relation, alias, &delete.using, items, on, scope, &mut types).await;
            }
            Statement::Merge(merge) => self.infer_merge(merge, scope, &mut types).await,
            Statement::With(with) => {
                for part in &with.parts {
                    for (no, ty) in Box::pin(self.infer(&part.work)).await {
                        types.entry(no).or_insert(ty);
                    }
                    let known = |no: usize| types.get(&no).cloned().unwrap_or(DataType::Utf8);
                    let nulls = (0..count_params(&part.work).unwrap_or(0)).map(|no| syntax::cast_to(syntax::null(), &known(no)));
                    let Ok(nulls) = nulls.collect::<Result<Vec<_>>>() else { return types };
                    let Ok(columns) = Box::pin(self.columns_of_plain(&filled(&part.work, &nulls))).await else { return types };
                    let _ = self.knows(part, columns);
                }
                for (no, ty) in Box::pin(self.infer(&with.body)).await {
                    types.entry(no).or_insert(ty);
                }
            }
            _ => {}
        }
        types
    }

    #[allow(clippy::too_many_arguments, reason = "two callers, each argument is another part of the query")]
    async fn infer_over(
        &mut self,
        relation: &crate::catalog::Relation,
        alias: Option<&str>,
        with: &[ast::TableWithJoins],
        items: Vec<ast::SelectItem>,
        selection: Option<ast::Expr>,
        scope: Scope,
        types: &mut BTreeMap<usize, DataType>,
    ) {
        let name = alias.unwrap_or(&relation.name.name);
        let from =
            format!("{}.{} AS {}", syntax::quote(&relation.name.schema), syntax::quote(&relation.name.name), syntax::quote(name));
        if let Ok(mut query) = syntax::select(items, &from, selection) {
            if let ast::SetExpr::Select(select) = query.body.as_mut() {
                select.from.extend(with.iter().cloned());
            }
            self.infer_query(&query, scope, types).await;
        }
    }

    pub(super) async fn infer_query(&mut self, query: &ast::Query, scope: Scope, types: &mut BTreeMap<usize, DataType>) {
        // What cannot be planned with open parameters may still run with values: then they are text.
        let Ok(plan) = self.core.planner.untyped(syntax::unlocked(query), scope).await else { return };
        let Ok(found) = plan.get_parameter_types() else { return };
        for (name, ty) in found {
            let no = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
            if let (Some(no), Some(ty)) = (no, ty) {
                let ty = match ty {
                    DataType::Null => DataType::Utf8,
                    other => other,
                };
                types.entry(no).or_insert(ty);
            }
        }
        for (name, ty) in super::calls::open_parameters(&plan).into_iter().chain(regauge_plan::batch::open_parameters(&plan)) {
            let no = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
            if let Some(no) = no {
                types.entry(no).or_insert(ty);
            }
        }
    }

    /// What a statement without open parameters answers with.
    async fn columns_of(&mut self, statement: &Statement) -> Result<Option<SchemaRef>> {
        match self.executed(statement).await? {
            Some(filled) => {
                let expanded = self.expanded(&self.whole_catalog(), &filled)?;
                self.columns_of_plain(expanded.as_ref().unwrap_or(&filled)).await
            }
            None => self.columns_of_plain(statement).await,
        }
    }

    async fn columns_of_plain(&mut self, statement: &Statement) -> Result<Option<SchemaRef>> {
        let scope = self.scope(None);
        match statement {
            Statement::Query(query) => {
                let plan = self.core.planner.plan(syntax::unlocked(query), scope).await?;
                // The types are those of the plan that will run, after our own functions took their places.
                Ok(Some(crate::read::planner::shown(&self.core.planner.physical(&plan).await?.schema())))
            }
            Statement::Insert(i) if !i.returning.is_empty() => {
                self.returning_columns(&i.table, i.alias.as_deref(), &[], &i.returning, scope).await
            }
            Statement::Update(u) if !u.returning.is_empty() => {
                self.returning_columns(&u.table, u.alias.as_deref(), &u.from, &u.returning, scope).await
            }
            Statement::Delete(d) if !d.returning.is_empty() => {
                self.returning_columns(&d.table, d.alias.as_deref(), &d.using, &d.returning, scope).await
            }
            Statement::With(with) => {
                self.own.clear();
                for part in &with.parts {
                    let columns = Box::pin(self.columns_of_plain(&part.work)).await?;
                    self.knows(part, columns)?;
                }
                let columns = Box::pin(self.columns_of_plain(&with.body)).await;
                self.own.clear();
                columns
            }
            Statement::Show { .. }
            | Statement::ShowObjects { .. }
            | Statement::ShowSecrets
            | Statement::Describe { .. }
            | Statement::ExplainView { .. } => {
                let mut txn = self.fresh(Mode::Autocommit, self.seen.lsn);
                let response = match statement {
                    Statement::Show { name } => self.show(name)?,
                    Statement::ShowObjects { kind } => self.show_objects(*kind)?,
                    Statement::ShowSecrets => self.show_secrets()?,
                    Statement::Describe { name } => self.describe(name)?,
                    Statement::ExplainView { name, analyze } => self.explain_view(&mut txn, name, *analyze)?,
                    _ => return Ok(None),
                };
                Ok(if let Response::Rows(rows) = response { Some(rows.schema) } else { None })
            }
            Statement::Ddl(ddl) if matches!(ddl.as_ref(), regauge_plan::parse::Ddl::ShowCreate { .. }) => {
                let field = |name: &str| arrow::datatypes::Field::new(name, DataType::Utf8, true);
                Ok(Some(Arc::new(arrow::datatypes::Schema::new(vec![field("name"), field("create_sql")]))))
            }
            Statement::Ddl(ddl) if let Ddl::Sink(sink) = ddl.as_ref() => {
                let names: &[&str] = match sink {
                    SinkDdl::Show => &super::sink::SHOWN,
                    SinkDdl::ShowCreate { .. } => &["name", "create_sql"],
                    _ => return Ok(None),
                };
                let fields = names.iter().map(|n| arrow::datatypes::Field::new(*n, DataType::Utf8, true));
                Ok(Some(Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))))
            }
            Statement::Fetch { name, .. } => Ok(self.cursor_columns(name)),
            Statement::Backup { .. } => Ok(Some(super::backup::columns())),
            Statement::Subscribe(subscribe) => {
                let relation = scope.relation(subscribe.name.schema.as_deref(), &subscribe.name.name)?;
                Ok(Some(super::subscribe::columns(relation, subscribe.progress)))
            }
            Statement::ExplainQuery { .. } | Statement::ExplainChange(_) => {
                let field = arrow::datatypes::Field::new("QUERY PLAN", DataType::Utf8, true);
                Ok(Some(Arc::new(arrow::datatypes::Schema::new(vec![field]))))
            }
            _ => Ok(None),
        }
    }

    async fn returning_columns(
        &mut self,
        table: &regauge_plan::parse::RelationName,
        alias: Option<&str>,
        with: &[ast::TableWithJoins],
        items: &[ast::SelectItem],
        scope: Scope,
    ) -> Result<Option<SchemaRef>> {
        self.core.planner.rows_alone(items)?;
        let relation = scope.relation(table.schema.as_deref(), &table.name)?.clone();
        let name = alias.unwrap_or(&relation.name.name);
        let from =
            format!("{}.{} AS {}", syntax::quote(&relation.name.schema), syntax::quote(&relation.name.name), syntax::quote(name));
        let mut query = syntax::select(items.to_vec(), &from, None)?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.from.extend(with.iter().cloned());
        }
        let plan = self.core.planner.plan(query, scope).await?;
        Ok(Some(crate::read::planner::shown(&self.core.planner.physical(&plan).await?.schema())))
    }
}

/// Types of parameters that are cast at once: `$1::int` is an int from the start.
fn cast_types(statement: &Statement) -> BTreeMap<usize, DataType> {
    let mut types = BTreeMap::new();
    each_expr(&mut statement.clone(), &mut |expr| {
        if let ast::Expr::Cast { expr, data_type, .. } = expr
            && let Some(no) = placeholder(expr)
            && let Some(ty) = cast_type(data_type)
        {
            types.entry(no).or_insert(ty);
        }
    });
    types
}

/// The Arrow type of a cast's type.
fn cast_type(ty: &ast::DataType) -> Option<DataType> {
    let name = ty.to_string().to_lowercase().replace('"', "");
    // As asyncpg writes them.
    let name = name.strip_prefix("pg_catalog.").map_or(name.clone(), str::to_owned);
    if let Some(item) = name.strip_suffix("[]") {
        let item = if item == "oid" { "bigint" } else { item };
        return type_by_name(item, &[]).ok().map(regauge_plan::pgtypes::list_of);
    }
    let (plain, modifiers) = match (name.split_once('('), name.rsplit_once(')')) {
        (Some((before, within)), Some((_, after))) => {
            let within = within.split(')').next().unwrap_or_default();
            let modifiers = within.split(',').map(|m| m.trim().parse()).collect::<Result<Vec<i64>, _>>().ok()?;
            (format!("{before}{after}"), modifiers)
        }
        _ => (name, vec![]),
    };
    // A number of the catalogs is a bigint here.
    let plain = if plain == "oid" { "bigint" } else { plain.as_str() };
    type_by_name(plain, &modifiers).ok()
}

pub(super) fn infer_assignments(
    assignments: &[Assignment],
    relation: &crate::catalog::Relation,
    types: &mut BTreeMap<usize, DataType>,
) {
    for assignment in assignments {
        let no = assignment.value.as_ref().and_then(placeholder);
        if let (Some(no), Some(at)) = (no, relation.position(&assignment.column)) {
            types.entry(no).or_insert_with(|| relation.columns[at].ty.clone());
        }
    }
}

/// The position from 0 of an expression that is a parameter.
pub(super) fn placeholder(expr: &ast::Expr) -> Option<usize> {
    let ast::Expr::Value(value) = expr else { return None };
    let ast::Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Whether a query has a parameter whose type nobody has told yet.
fn has_open(query: &ast::Query, types: &BTreeMap<usize, DataType>) -> bool {
    let mut open = false;
    regauge_plan::walk::expressions_mut(&mut query.clone(), &mut |expr| {
        open |= placeholder(expr).is_some_and(|no| !types.contains_key(&no));
    });
    open
}

/// Parameters that are an oid, or several, by what they are cast to.
fn oid_params(statement: &Statement) -> Vec<usize> {
    let mut found = vec![];
    each_expr(&mut statement.clone(), &mut |expr| {
        if let ast::Expr::Cast { expr, data_type, .. } = expr
            && let Some(no) = placeholder(expr)
            && ["oid", "oid[]"].contains(&data_type.to_string().to_lowercase().trim_start_matches("pg_catalog."))
        {
            found.push(no);
        }
    });
    found
}

fn count_params(statement: &Statement) -> Result<usize> {
    let mut max = 0;
    let mut statement = statement.clone();
    each_expr(&mut statement, &mut |expr| {
        if let Some(no) = placeholder(expr) {
            max = max.max(no + 1);
        }
    });
    if max > PARAMS_MAX {
        return Err(Error::invalid(code::LIMIT_EXCEEDED, format!("too many parameters max={PARAMS_MAX}")));
    }
    Ok(max)
}

/// Refuses parameters where nobody gives them values.
pub(super) fn no_params(statement: &Statement) -> Result<()> {
    match count_params(statement)? {
        0 => Ok(()),
        _ => {
            Err(Error::invalid("42P02", "there is no parameter $1").hint("prepare the statement, and give its parameters values"))
        }
    }
}

/// The statement with expressions in its parameters' places.
fn filled(statement: &Statement, values: &[ast::Expr]) -> Statement {
    let mut statement = statement.clone();
    if !values.is_empty() {
        each_expr(&mut statement, &mut |expr| {
            if let Some(value) = placeholder(expr).and_then(|no| values.get(no)) {
                *expr = value.clone();
            }
        });
    }
    statement
}

/// Visits every expression of a statement, inner ones first.
pub(super) fn each_expr(statement: &mut Statement, visit: &mut dyn FnMut(&mut ast::Expr)) {
    use regauge_plan::walk::expressions_mut as walk;
    fn assignments(list: &mut [Assignment], visit: &mut dyn FnMut(&mut ast::Expr)) {
        list.iter_mut().filter_map(|a| a.value.as_mut()).for_each(|e| walk(e, visit));
    }
    match statement {
        Statement::Query(query) | Statement::ExplainQuery { query, .. } | Statement::Declare { query, .. } => {
            walk(query.as_mut(), visit);
        }
        Statement::CopyTo(copy) => walk(copy.query.as_mut(), visit),
        Statement::ExplainChange(change) => each_expr(change, visit),
        Statement::Execute { args, .. } => args.iter_mut().for_each(|e| walk(e, visit)),
        Statement::Insert(insert) => {
            if let Some(source) = &mut insert.source {
                walk(source.as_mut(), visit);
            }
            if let Some((list, condition)) = insert.on_conflict.as_mut().and_then(|c| c.update.as_mut()) {
                assignments(list, visit);
                condition.iter_mut().for_each(|e| walk(e, visit));
            }
            insert.returning.iter_mut().for_each(|i| walk(i, visit));
        }
        Statement::Update(update) => {
            assignments(&mut update.assignments, visit);
            update.from.iter_mut().for_each(|t| walk(t, visit));
            update.selection.iter_mut().for_each(|e| walk(e, visit));
            update.returning.iter_mut().for_each(|i| walk(i, visit));
        }
        Statement::Merge(merge) => {
            walk(&mut merge.source, visit);
            merge.expressions_mut().for_each(|e| walk(e, visit));
        }
        Statement::With(with) => {
            for statement in with.parts.iter_mut().map(|p| &mut p.work).chain([&mut with.body]) {
                each_expr(statement, visit);
            }
        }
        Statement::CreateTable(create) => {
            if let Some((query, _)) = &mut create.query {
                walk(query.as_mut(), visit);
            }
        }
        Statement::Delete(delete) => {
            delete.using.iter_mut().for_each(|t| walk(t, visit));
            delete.selection.iter_mut().for_each(|e| walk(e, visit));
            delete.returning.iter_mut().for_each(|i| walk(i, visit));
        }
        _ => {}
    }
}

/// A value of a client as an expression of its type.
pub(super) fn literal(value: &ArrayRef, ty: &DataType, casts: &mut syntax::Casts) -> Result<ast::Expr> {
    if value.len() != 1 || value.is_null(0) {
        return casts.to(syntax::null(), ty);
    }
    if let Some(bytes) = value.as_binary_opt::<i32>() {
        // not X'..', which is a string of bits
        let hex: String = bytes.value(0).iter().map(|b| format!("{b:02x}")).collect();
        return casts.to(ast::Expr::Value(ast::Value::SingleQuotedString(format!("\\x{hex}")).into()), ty);
    }
    if let DataType::List(_) = value.data_type() {
        let text = regauge_plan::functions::cast::text_column(value).map_err(|e| Error::from_eval(&e))?;
        let text = text.as_string_opt::<i32>().map(|text| text.value(0).to_owned()).unwrap_or_default();
        return casts.to(ast::Expr::Value(ast::Value::SingleQuotedString(text).into()), ty);
    }
    let text = match value.as_string_opt::<i32>() {
        Some(text) => text.value(0).to_owned(),
        None => {
            let scalar = ScalarValue::try_from_array(value, 0).map_err(Error::from_datafusion)?;
            let known = Value::from_scalar(&scalar).and_then(|v| format_text(&v));
            known.ok_or_else(|| Error::unsupported(format!("type {} has no text form", value.data_type())))?
        }
    };
    casts.to(ast::Expr::Value(ast::Value::SingleQuotedString(text).into()), ty)
}
