//! CREATE FUNCTION, DROP FUNCTION, and calls: before a statement is run, bodies take the place of calls in it.

use super::{Session, txn::Txn};
use crate::{
    catalog::{
        Catalog, Function, FunctionSpec, Name, Who, Wish,
        function::{Found, WasmSpec},
        retext, ty,
    },
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use arrow::datatypes::DataType;
use regauge_plan::{
    parse::{Alter, Body, Check, ColumnSpec, CreateFunction, Ddl, DroppedFunction, Made, Statement},
    user_function::{self, Returns, UserFunction, UserFunctions},
    wasm::{self, Module},
};
use regauge_types::ErrorKind;
use std::sync::Arc;

impl Session {
    pub(super) async fn create_function(&mut self, txn: &mut Txn, create: &CreateFunction) -> Result<Response> {
        let name = self.new_name(txn, &create.name)?;
        if user_function::is_builtin(&name.name) {
            let message = format!("function \"{}\" is built in", name.name);
            return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_FUNCTION, message).hint("give it another name"));
        }
        let who = self.who(Some(txn))?;
        let there = txn.catalog.functions_named(&name).into_iter().find(|f| f.function.params.len() == create.params.len());
        if let Some(there) = there.as_ref().filter(|_| create.or_replace) {
            who.own_function(there)?;
            // Its validator looks at it as one that calls it, in PostgreSQL.
            who.execute(there)?;
            if there.spec.is_aggregate() != create.aggregate {
                let error = Error::invalid(code::WRONG_OBJECT, "cannot change routine kind");
                return Err(error.hint("DROP it first; views keep the one that they were created with"));
            }
        } else if there.is_some() {
            let message = format!("function \"{name}\" already exists with {} parameters", create.params.len());
            let error = Error::new(ErrorKind::Conflict, code::DUPLICATE_FUNCTION, message);
            return Err(error.hint("CREATE OR REPLACE FUNCTION; views keep the one that they were created with"));
        }
        for (what, of) in
            create.params.iter().map(|p| ("parameter", &p.ty)).chain(returned(&create.returns).map(|ty| ("result", ty)))
        {
            if ty::parse(&ty::name(of)).as_ref() != Some(of) {
                return Err(Error::unsupported(format!("the type {} of a {what} cannot be stored", ty::name(of))));
            }
        }
        let query = match &create.body {
            Body::Sql(query) => query,
            Body::Wasm { module, export } => {
                let (spec, module) = exported(create, module, export.as_deref().unwrap_or(&name.name))?;
                txn.wish(Wish::Function { name, spec, module: Some(module) })?;
                return Ok(Response::command(if create.aggregate { "CREATE AGGREGATE" } else { "CREATE FUNCTION" }));
            }
        };
        let search_path = self.path(&txn.catalog, &who);
        let found = Found { catalog: &txn.catalog, who: &who, search_path: &search_path, also: None };
        let mut body = query.clone();
        user_function::expand(&mut *body, &found)?;
        let body = Box::new(retext::qualified(&body, &txn.catalog, &search_path)?);
        let function = UserFunction {
            name: name.name.clone(),
            params: create.params.clone(),
            returns: create.returns.clone(),
            strict: create.strict,
            fold: false,
            body,
        };
        user_function::judge(&function, &found)?;
        let function = Arc::new(function);
        let mut call = crate::syntax::query(&trial(&function))?;
        user_function::expand(&mut call, &Found { also: Some(&function), ..found })?;
        let scope = self.scope(Some(txn));
        Box::pin(self.core.planner.plan(call, scope)).await.map_err(|e| match e.detail {
            Some(_) => e,
            None => e.detail(format!("in the body of function {name}")),
        })?;
        txn.wish(Wish::Function { name, spec: FunctionSpec::of(&function), module: None })?;
        Ok(Response::command("CREATE FUNCTION"))
    }

    pub(super) fn drop_functions(
        &mut self,
        txn: &mut Txn,
        functions: &[DroppedFunction],
        if_exists: bool,
        aggregate: bool,
    ) -> Result<Response> {
        let mut notices = vec![];
        let who = self.who(Some(txn))?;
        for named in functions {
            match self.the_function(&txn.catalog, &who, named) {
                Ok(function) => {
                    if function.spec.is_aggregate() != aggregate {
                        let (is, word) =
                            if aggregate { ("not an aggregate", "FUNCTION") } else { ("an aggregate function", "AGGREGATE") };
                        let error = Error::invalid(code::WRONG_OBJECT, format!("{} is {is}", named.name));
                        return Err(error.hint(format!("Use DROP {word}.")));
                    }
                    if !who.owns_schema(&function.name.schema) {
                        who.own_function(&function)?;
                    }
                    txn.wish(Wish::DropFunction { name: function.name.clone(), params: function.function.params.len() })?;
                }
                Err(error) if if_exists && error.kind == ErrorKind::NotFound => {
                    notices.push(format!("function {} does not exist, skipping", named.name));
                }
                Err(error) => return Err(error),
            }
        }
        let tag = if aggregate { "DROP AGGREGATE" } else { "DROP FUNCTION" };
        Ok(Response::told(tag, notices))
    }

    /// The one function that DROP, GRANT or ALTER names.
    pub(super) fn the_function(&self, catalog: &Catalog, who: &Who, named: &DroppedFunction) -> Result<Arc<Function>> {
        let DroppedFunction { name, params } = named;
        let schemas = name.schema.clone().map_or_else(|| self.path(catalog, who), |schema| vec![schema]);
        let names = schemas.into_iter().map(|schema| Name { schema, name: name.name.clone() });
        let mut found = names
            .flat_map(|name| catalog.functions_named(&name))
            .filter(|f| params.as_ref().is_none_or(|types| f.function.params.iter().map(|p| &p.ty).eq(types)));
        match (found.next(), found.next()) {
            (Some(function), None) => Ok(function),
            (None, _) => {
                let error = Error::new(ErrorKind::NotFound, "42883", format!("could not find a function named \"{name}\""));
                Err(error.hint("SELECT * FROM regauge.functions lists them; DROP FUNCTION IF EXISTS takes no notice"))
            }
            _ => {
                let error = Error::invalid("42725", format!("function name \"{name}\" is not unique"));
                Err(error.hint("Specify the argument list to select the function unambiguously."))
            }
        }
    }

    /// A statement with bodies in the place of calls; none if it has no calls.
    pub(super) fn expanded(&self, catalog: &Catalog, statement: &Statement) -> Result<Option<Statement>> {
        if !catalog.has_functions() {
            return Ok(None);
        }
        let who = self.who(None)?;
        let search_path = self.path(catalog, &who);
        let found = Found { catalog, who: &who, search_path: &search_path, also: None };
        let mut statement = statement.clone();
        let n = Places { functions: &found, n: 0 }.statement(&mut statement)?;
        Ok((n > 0).then_some(statement))
    }
}

/// What a function is that is an export of a module.
fn exported(create: &CreateFunction, module: &str, export: &str) -> Result<(FunctionSpec, Arc<Module>)> {
    let Returns::Value(result) = &create.returns else {
        return Err(Error::internal("a WebAssembly function that gives rows"));
    };
    let params: Vec<DataType> = create.params.iter().map(|p| p.ty.clone()).collect();
    let module = wasm::keep(&wasm::read(module)?);
    let strict = create.strict;
    let body = if create.aggregate {
        module.judge_fold(export, &params, result, strict)?;
        wasm::fold_body(module.hash(), export, &params, result, strict)
    } else {
        module.judge(export, &wasm::Signature::of(&params, result, strict))?;
        wasm::body(module.hash(), export, &params, result, strict)
    };
    let function = UserFunction {
        name: create.name.name.clone(),
        params: create.params.clone(),
        returns: create.returns.clone(),
        strict,
        fold: create.aggregate,
        body: Box::new(crate::syntax::query(&body)?),
    };
    let spec = WasmSpec { module: module.hash().to_owned(), export: export.to_owned(), aggregate: create.aggregate };
    Ok((FunctionSpec { wasm: Some(spec), ..FunctionSpec::of(&function) }, module))
}

fn returned(returns: &Returns) -> impl Iterator<Item = &arrow::datatypes::DataType> {
    let (one, many) = match returns {
        Returns::Value(ty) => (Some(ty), [].as_slice()),
        Returns::Rows(columns) => (None, columns.as_slice()),
    };
    one.into_iter().chain(many.iter().map(|(_, ty)| ty))
}

/// A call with NULLs, which tells whether the body can be planned.
fn trial(function: &UserFunction) -> String {
    let nulls: Vec<&str> = function.params.iter().map(|_| "NULL").collect();
    let call = format!("{}({})", crate::syntax::quote(&function.name), nulls.join(", "));
    match function.returns {
        Returns::Value(_) => format!("SELECT {call}"),
        Returns::Rows(_) => format!("SELECT * FROM {call}"),
    }
}

/// The places of a statement where calls may stand.
struct Places<'a> {
    functions: &'a dyn UserFunctions,
    n: usize,
}

impl Places<'_> {
    fn tree<T: regauge_plan::walk::VisitMut>(&mut self, tree: &mut T) -> Result<()> {
        self.n += user_function::expand(tree, self.functions)?;
        Ok(())
    }

    fn trees<'t, T: regauge_plan::walk::VisitMut + 't>(&mut self, trees: impl IntoIterator<Item = &'t mut T>) -> Result<()> {
        trees.into_iter().try_for_each(|tree| self.tree(tree))
    }

    fn column(&mut self, column: &mut ColumnSpec) -> Result<()> {
        self.trees(&mut column.default)?;
        match &mut column.made {
            Made::Computed(e) => self.tree(e),
            Made::Given | Made::Counted { .. } => Ok(()),
        }
    }

    fn statement(&mut self, statement: &mut Statement) -> Result<usize> {
        match statement {
            Statement::Query(query) | Statement::Declare { query, .. } => self.tree(&mut **query)?,
            Statement::CopyTo(copy) => self.tree(&mut *copy.query)?,
            Statement::ExplainChange(change) => return self.statement(change),
            Statement::ExplainQuery { query, as_view, .. } => {
                self.tree(&mut **query)?;
                if let Some(view) = as_view {
                    self.tree(&mut *view.query)?;
                    view.query_sql = view.query.to_string();
                }
            }
            Statement::CreateView(view) => {
                let before = self.n;
                self.tree(&mut *view.query)?;
                if self.n > before {
                    view.query_sql = view.query.to_string();
                }
            }
            Statement::Insert(insert) => {
                self.trees(insert.source.as_deref_mut())?;
                self.trees(&mut insert.returning)?;
                if let Some((assignments, condition)) = insert.on_conflict.as_mut().and_then(|c| c.update.as_mut()) {
                    self.trees(assignments.iter_mut().filter_map(|a| a.value.as_mut()))?;
                    self.trees(condition)?;
                }
            }
            Statement::Update(update) => {
                self.trees(update.assignments.iter_mut().filter_map(|a| a.value.as_mut()))?;
                self.trees(&mut update.from)?;
                self.trees(&mut update.selection)?;
                self.trees(&mut update.returning)?;
            }
            Statement::Delete(delete) => {
                self.trees(&mut delete.using)?;
                self.trees(&mut delete.selection)?;
                self.trees(&mut delete.returning)?;
            }
            Statement::Merge(merge) => {
                self.tree(&mut merge.source)?;
                self.trees(merge.expressions_mut())?;
            }
            Statement::With(with) => {
                for statement in with.parts.iter_mut().map(|p| &mut p.work).chain([&mut with.body]) {
                    self.statement(statement)?;
                }
            }
            Statement::Execute { args, .. } => self.trees(args)?,
            Statement::CreateTable(create) => {
                if let Some((query, _)) = &mut create.query {
                    self.tree(&mut **query)?;
                }
                create.columns.iter_mut().try_for_each(|column| self.column(column))?;
                self.trees(create.checks.iter_mut().map(|c| &mut c.condition))?;
            }
            Statement::Ddl(ddl) => match ddl.as_mut() {
                Ddl::Alter { actions, .. } => {
                    for action in actions {
                        match action {
                            Alter::AddColumn { column, .. } => self.column(column)?,
                            Alter::Default { default, .. } => self.trees(default)?,
                            Alter::AddCheck(Check { condition, .. }) => self.tree(condition)?,
                            _ => {}
                        }
                    }
                }
                // Its own body is looked at where it is created.
                _ => return Ok(0),
            },
            Statement::AdvanceWatermark { to, .. } => self.tree(&mut **to)?,
            _ => return Ok(0),
        }
        Ok(self.n)
    }
}
