//! Functions of language SQL: the body takes the place of the call, before anything is bound.
//!
//! ```text
//!   f(x, 1)            ──▶  CAST(((x) + (1)) AS bigint)                        a body that is one expression
//!   g(x)               ──▶  CAST((SELECT .. ) AS text)                         a body that reads relations
//!   FROM h(x) AS t     ──▶  FROM LATERAL (SELECT CAST(c AS ..) .. FROM (body)) AS t
//! ```
//! So a view holds what the function was when the view was created, its plan knows no functions, and all that the planner does with
//! queries (subqueries unnested, equal parts computed once) it does with bodies. Invariant: a name in the body means what it meant
//! when the function was created, and a name in an argument what it means at the call; where the one could be taken for the other the
//! call is refused ([`Names`]). Cost: one walk over the statement, and only where there are functions; what comes out is bounded
//! ([`GROWTH_MAX`]). It does not know the catalog: [`UserFunctions`] does.

use crate::walk::VisitMut;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, Query, SelectItem, SetExpr,
    TableAlias, TableAliasColumnDef, TableFactor, Visitor, VisitorMut,
};

use crate::bind::cast_ast;
use crate::error::PlanError;
use crate::parse::{RelationName, fold, relation_name};
use crate::{host, wasm};

/// Most nodes that the calls of one statement may put in.
const GROWTH_MAX: usize = 20_000;

/// What bodies of functions that are not SQL call.
const CALLS: [&str; 5] = [wasm::NAME, wasm::FOLD, host::NAME, host::VOLATILE, host::FOLD];

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Without one it is `$1`, `$2` ..
    pub name: Option<String>,
    /// Its type.
    pub ty: DataType,
    /// What stands for it in a call that leaves it out.
    pub default: Option<Expr>,
}

/// What a call gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returns {
    /// A value.
    Value(DataType),
    /// Rows of these columns.
    Rows(Vec<(String, DataType)>),
}

/// A function of language SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFunction {
    /// Its name, folded.
    pub name: String,
    /// In their order.
    pub params: Vec<Param>,
    /// What a call gives.
    pub returns: Returns,
    /// A call with a NULL among its arguments is NULL, or gives no rows.
    pub strict: bool,
    /// It is an aggregate: its body is a call over lists.
    pub fold: bool,
    /// One query, with no user functions in it.
    pub body: Box<Query>,
}

/// What there is.
pub trait UserFunctions {
    /// Those of a name, with every number of parameters.
    fn named(&self, schema: Option<&str>, name: &str) -> Vec<Arc<UserFunction>>;
    /// Judges that the statement may call a function that was found by a name.
    ///
    /// Errors: 42501.
    fn execute(&self, schema: Option<&str>, function: &UserFunction) -> Result<(), PlanError>;
    /// Whether the statement may call exports of a module by the module's hash, and functions of the program by their keys, as the texts of
    /// views do.
    fn may_call(&self, module: &str) -> bool;
    /// Names of a relation's columns; none of one that is not there.
    fn columns(&self, relation: &RelationName) -> Vec<String>;
}

/// Whether a name is one of ours, which a user's function cannot have.
#[must_use]
pub fn is_builtin(name: &str) -> bool {
    const FORMS: [&str; 22] = [
        "coalesce",
        "nullif",
        "greatest",
        "least",
        "unnest",
        "generate_series",
        "tumble",
        "hop",
        "session",
        "cumulate",
        "now",
        "statement_timestamp",
        "grouping",
        "extract",
        "position",
        "trim",
        "substring",
        "nextval",
        "currval",
        "lastval",
        "setval",
        "set_config",
    ];
    // What clients ask of a server is found by these names, whatever a schema holds.
    let of_the_server = name.starts_with("pg_")
        || (name.starts_with("has_") && name.ends_with("_privilege"))
        || ["current_", "session_", "json", "inet_"].iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            name,
            "version"
                | "format_type"
                | "obj_description"
                | "col_description"
                | "shobj_description"
                | "set_config"
                | "quote_ident"
                | "txid_current"
                | "array_to_string"
        );
    of_the_server || FORMS.contains(&name) || crate::bind::Functions::get().knows(name)
}

/// Puts bodies in the place of calls. Answers how many there were.
///
/// Errors: 42883 for a call that fits none of a name, 42702 where a name could be taken for another, 54001 beyond the bound.
pub fn expand<T: VisitMut>(tree: &mut T, functions: &dyn UserFunctions) -> Result<usize, PlanError> {
    let mut expander = Expander { functions, n: 0, growth: 0 };
    match tree.visit(&mut expander) {
        ControlFlow::Continue(()) => Ok(expander.n),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Judges a body that is about to be created: parameters that could be taken for columns, aggregates without rows.
pub fn judge(function: &UserFunction, functions: &dyn UserFunctions) -> Result<(), PlanError> {
    let columns = match function.body.body.as_ref() {
        SetExpr::Select(select) => Some(select.projection.len()),
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    };
    let wanted = match &function.returns {
        Returns::Value(_) => 1,
        Returns::Rows(columns) => columns.len(),
    };
    let starred = matches!(function.body.body.as_ref(), SetExpr::Select(s) if s.projection.iter().any(|item| !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })));
    if let Some(n) = columns.filter(|n| *n != wanted && !starred) {
        let message = format!("return type mismatch in function declared to return {}", returned(&function.returns));
        return Err(PlanError::invalid("42P13", format!("{message}: its query has {n} columns, and {wanted} are wanted")));
    }
    let names = Names::of(&function.body, functions);
    let bare =
        |name: &str| names.has(name) && any_in(function.body.as_ref(), |e| matches!(e, Expr::Identifier(i) if fold(i) == name));
    if let Some(param) = function.params.iter().filter_map(|p| p.name.as_ref()).find(|name| bare(name)) {
        return Err(PlanError::invalid(
            "42702",
            format!("parameter \"{param}\" could be taken for a column that the body reads"),
        )
        .with_hint(format!("give the parameter another name, or write ${}", position(function, param) + 1)));
    }
    let expr = expression(&function.body);
    if let Some(aggregate) = expr.as_ref().and_then(aggregate_in) {
        return Err(PlanError::unsupported(
            format!("{aggregate} in a body without FROM would be an aggregate of the caller's rows"),
            "give the body a FROM",
        ));
    }
    Ok(())
}

fn position(function: &UserFunction, param: &str) -> usize {
    function.params.iter().position(|p| p.name.as_deref() == Some(param)).unwrap_or(0)
}

fn returned(returns: &Returns) -> String {
    match returns {
        Returns::Value(ty) => crate::pgtypes::type_name(ty),
        Returns::Rows(_) => "table".to_owned(),
    }
}

/// A body that is nothing but an expression.
fn expression(body: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = body.body.as_ref() else { return None };
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] = select.projection.as_slice() else {
        return None;
    };
    let alone = match crate::parse::parse_query("SELECT NULL", &crate::parse::ParseLimits::default()) {
        Ok(mut alone) => {
            if let SetExpr::Select(s) = alone.body.as_mut() {
                s.projection.clone_from(&select.projection);
                s.select_token = select.select_token.clone();
            }
            alone
        }
        Err(_) => return None,
    };
    (*alone == *body).then(|| expr.clone())
}

fn aggregate_in(expr: &Expr) -> Option<String> {
    struct V;
    impl Visitor for V {
        type Break = String;
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<String> {
            match e {
                Expr::Function(f)
                    if f.over.is_some()
                        || f.name
                            .0
                            .last()
                            .and_then(|p| p.as_ident())
                            .is_some_and(|i| crate::functions::aggregate(&fold(i)).is_some()) =>
                {
                    ControlFlow::Break(f.name.to_string())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match crate::walk::Visit::visit(expr, &mut V) {
        ControlFlow::Break(name) => Some(name),
        ControlFlow::Continue(()) => None,
    }
}

/// Names that a query gives a meaning of its own: of relations, of their columns, and those it makes.
#[derive(Default)]
struct Names {
    relations: BTreeSet<String>,
    columns: BTreeSet<String>,
}

impl Names {
    fn of(query: &Query, functions: &dyn UserFunctions) -> Names {
        struct V<'a>(Names, &'a dyn UserFunctions);
        impl Visitor for V<'_> {
            type Break = ();
            fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
                for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
                    self.alias(&cte.alias);
                }
                ControlFlow::Continue(())
            }
            fn pre_visit_select(&mut self, select: &ast::Select) -> ControlFlow<()> {
                for item in &select.projection {
                    if let SelectItem::ExprWithAlias { alias, .. } = item {
                        self.0.columns.insert(fold(alias));
                    }
                }
                ControlFlow::Continue(())
            }
            fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
                match factor {
                    TableFactor::Table { name, alias, .. } => {
                        if let Ok(name) = relation_name(name) {
                            self.0.columns.extend(self.1.columns(&name));
                            self.0.relations.insert(name.name);
                        }
                        alias.iter().for_each(|alias| self.alias(alias));
                    }
                    TableFactor::Derived { alias: Some(alias), .. }
                    | TableFactor::UNNEST { alias: Some(alias), .. }
                    | TableFactor::Function { alias: Some(alias), .. }
                    | TableFactor::TableFunction { alias: Some(alias), .. }
                    | TableFactor::NestedJoin { alias: Some(alias), .. } => self.alias(alias),
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        impl V<'_> {
            fn alias(&mut self, alias: &TableAlias) {
                self.0.relations.insert(fold(&alias.name));
                // A function's or an array's alias is its column's name, too.
                self.0.columns.insert(fold(&alias.name));
                self.0.columns.extend(alias.columns.iter().map(|c| fold(&c.name)));
            }
        }
        let mut v = V(Names::default(), functions);
        let _ = crate::walk::Visit::visit(query, &mut v);
        v.0
    }

    fn has(&self, name: &str) -> bool {
        self.columns.contains(name)
    }

    /// A name of an argument that would mean something else here.
    fn taken(&self, argument: &Expr) -> Option<String> {
        struct V<'a>(&'a Names);
        impl Visitor for V<'_> {
            type Break = String;
            fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<String> {
                let taken = match e {
                    Expr::Identifier(name) => self.0.columns.contains(&fold(name)).then(|| name.to_string()),
                    Expr::CompoundIdentifier(parts) => {
                        let first = parts.first().map(fold);
                        first.filter(|first| self.0.relations.contains(first)).map(|_| e.to_string())
                    }
                    _ => None,
                };
                taken.map_or(ControlFlow::Continue(()), ControlFlow::Break)
            }
        }
        match crate::walk::Visit::visit(argument, &mut V(self)) {
            ControlFlow::Break(name) => Some(name),
            ControlFlow::Continue(()) => None,
        }
    }
}

struct Expander<'a> {
    functions: &'a dyn UserFunctions,
    n: usize,
    growth: usize,
}

impl VisitorMut for Expander<'_> {
    type Break = PlanError;

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<PlanError> {
        // A column that is a call is named after the function, which is gone when its body has taken its place.
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Function(call)) = item
                && let Some(name) = self.user(&call.name)
            {
                let expr = Expr::Function(call.clone());
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        // Seen before bodies are in, so these are the statement's own.
        match e {
            Expr::Function(call) if Self::parts(&call.name).is_some_and(|(_, name)| CALLS.contains(&name.as_str())) => {
                if self.may_call(&call.args) {
                    return ControlFlow::Continue(());
                }
                let message = format!("function {} does not exist", call.name);
                ControlFlow::Break(PlanError::invalid("42883", message).with_hint("call the function that CREATE FUNCTION made"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        let Expr::Function(call) = e else { return ControlFlow::Continue(()) };
        if self.user(&call.name).is_none() {
            return ControlFlow::Continue(());
        }
        match self.value(call) {
            Ok(value) => {
                *e = value;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<PlanError> {
        let (name, args) = match factor {
            TableFactor::Table { name, args: Some(args), .. } => (&*name, &args.args),
            TableFactor::Function { name, args, .. } => (&*name, &*args),
            _ => return ControlFlow::Continue(()),
        };
        if self.user(name).is_none() {
            return ControlFlow::Continue(());
        }
        let (name, args) = (name.clone(), args.clone());
        match self.rows(&name, &args, factor) {
            Ok(rows) => {
                *factor = rows;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Expander<'_> {
    /// Whether the module that a call names by its hash may be called so.
    fn may_call(&self, args: &FunctionArguments) -> bool {
        let FunctionArguments::List(list) = args else { return false };
        let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = list.args.first() else { return false };
        matches!(&value.value, ast::Value::SingleQuotedString(hash) if self.functions.may_call(hash))
    }

    fn parts(name: &ast::ObjectName) -> Option<(Option<String>, String)> {
        let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(fold)).collect();
        match parts?.as_slice() {
            [name] => Some((None, name.clone())),
            [schema, name] => Some((Some(schema.clone()), name.clone())),
            _ => None,
        }
    }

    /// The name of a call, if a user's function has it.
    fn user(&self, name: &ast::ObjectName) -> Option<String> {
        let (schema, name) = Self::parts(name)?;
        (!self.functions.named(schema.as_deref(), &name).is_empty()).then_some(name)
    }

    /// The function that a call means, and an argument for each of its parameters.
    fn called(&self, name: &ast::ObjectName, args: &[FunctionArg]) -> Result<(Arc<UserFunction>, Vec<Expr>), PlanError> {
        let (schema, short) = Self::parts(name).ok_or_else(|| PlanError::internal("a call without a name"))?;
        let all = self.functions.named(schema.as_deref(), &short);
        let fitting = all.iter().find_map(|function| Some((function, arguments(function, args)?)));
        let Some((function, args)) = fitting else {
            let known: Vec<String> = all.iter().map(|f| shown(f)).collect();
            let message = format!("function {name} does not exist with {} such arguments", args.len());
            return Err(PlanError::invalid("42883", message).with_hint(format!("there is {}", known.join(", "))));
        };
        self.functions.execute(schema.as_deref(), function)?;
        Ok((function.clone(), args))
    }

    fn value(&mut self, call: &ast::Function) -> Result<Expr, PlanError> {
        let plain = call.filter.is_none() && call.over.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
        let (args, plain) = match &call.args {
            FunctionArguments::List(list) => {
                (list.args.clone(), plain && list.duplicate_treatment.is_none() && list.clauses.is_empty())
            }
            FunctionArguments::None => (vec![], plain),
            FunctionArguments::Subquery(_) => (vec![], false),
        };
        let (function, args) = self.called(&call.name, &args)?;
        if !plain && !function.fold {
            let message = format!("{} is not an aggregate nor a window function", call.name);
            return Err(PlanError::invalid("42809", message).with_hint("call it with plain arguments"));
        }
        let Returns::Value(ty) = &function.returns else {
            let message = format!("{} gives rows, and they are offered in FROM only", call.name);
            return Err(PlanError::unsupported(message, format!("FROM {}(..)", call.name)));
        };
        let body = self.filled(&function, &args)?;
        let mut value = match expression(&body) {
            Some(expr) if function.fold => folded(expr, call, &args)?,
            Some(expr) => Expr::Nested(Box::new(expr)),
            None => Expr::Subquery(body),
        };
        if function.strict && !args.is_empty() {
            value = unless_null(&function, &args, value)?;
        }
        cast(value, ty)
    }

    fn rows(&mut self, name: &ast::ObjectName, args: &[FunctionArg], factor: &TableFactor) -> Result<TableFactor, PlanError> {
        let (alias, with_ordinality) = match factor {
            TableFactor::Table { alias, with_ordinality, .. } | TableFactor::Function { alias, with_ordinality, .. } => {
                (alias.clone(), *with_ordinality)
            }
            _ => (None, false),
        };
        if with_ordinality {
            let message = format!("WITH ORDINALITY of {name} is not offered");
            return Err(PlanError::unsupported(message, "row_number() OVER (..) in the body"));
        }
        let (function, args) = self.called(name, args)?;
        let body = self.filled(&function, &args)?;
        let columns = match &function.returns {
            Returns::Value(ty) => vec![(function.name.clone(), ty.clone())],
            Returns::Rows(columns) => columns.clone(),
        };
        let places: Vec<Ident> = (1..=columns.len()).map(|n| Ident::with_quote('"', format!("column {n}"))).collect();
        let mut query =
            *crate::parse::parse_query("SELECT NULL FROM (SELECT NULL) AS body", &crate::parse::ParseLimits::default())?;
        let SetExpr::Select(select) = query.body.as_mut() else {
            return Err(PlanError::internal("no frame for a function's rows"));
        };
        select.projection.clear();
        for (place, (column, ty)) in places.iter().zip(&columns) {
            let expr = cast(Expr::Identifier(place.clone()), ty)?;
            select.projection.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', column) });
        }
        if function.strict && !args.is_empty() {
            select.selection = Some(no_nulls(&function, &args)?);
        }
        if let Some(from) = select.from.first_mut() {
            from.relation = TableFactor::Derived {
                lateral: !args.iter().all(is_constant),
                subquery: body,
                alias: Some(TableAlias {
                    explicit: true,
                    name: Ident::with_quote('"', format!("body of {}", function.name)),
                    columns: places.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect(),
                    at: None,
                }),
                sample: None,
            };
        }
        // A function of one value names its column after the alias, as PostgreSQL does.
        let alias = alias.unwrap_or_else(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('"', &function.name),
            columns: vec![],
            at: None,
        });
        let one_value = matches!(columns.as_slice(), [(column, _)] if *column == function.name);
        let alias = match (one_value, alias.columns.is_empty()) {
            (true, true) => {
                let column = TableAliasColumnDef { name: alias.name.clone(), data_type: None };
                TableAlias { columns: vec![column], ..alias }
            }
            _ => alias,
        };
        let lateral = !args.iter().all(is_constant);
        Ok(TableFactor::Derived { lateral, subquery: Box::new(query), alias: Some(alias), sample: None })
    }

    /// The body, with arguments in the place of parameters.
    fn filled(&mut self, function: &UserFunction, args: &[Expr]) -> Result<Box<Query>, PlanError> {
        self.n += 1;
        let mut body = function.body.clone();
        if expression(&body).is_none() {
            let names = Names::of(&body, self.functions);
            if let Some(name) = args.iter().find_map(|arg| names.taken(arg)) {
                let message = format!("\"{name}\" in an argument of {} could be taken for a name within its body", function.name);
                return Err(PlanError::invalid("42702", message)
                    .with_hint("qualify the column, under an alias that the body does not use"));
            }
        }
        self.growth += nodes(body.as_ref());
        let mut filler = Filler {
            function,
            args: vec![],
            sizes: args.iter().map(nodes).collect(),
            growth: self.growth,
            uses: vec![0; args.len()],
        };
        for (arg, param) in args.iter().zip(&function.params) {
            filler.args.push(Expr::Nested(Box::new(cast(arg.clone(), &param.ty)?)));
        }
        if let ControlFlow::Break(error) = body.visit(&mut filler) {
            return Err(error);
        }
        self.growth = filler.growth;
        let twice = filler.uses.iter().zip(args).find(|(uses, arg)| **uses > 1 && is_volatile(arg));
        if let Some((_, arg)) = twice {
            let message = format!(
                "{arg} gives another value each time, and the body of {} names its parameter more than once",
                function.name
            );
            return Err(PlanError::unsupported(message, "compute it in a subquery, and give the function its column"));
        }
        Ok(body)
    }
}

/// A call over lists with what an aggregate's call says of the rows: FILTER, DISTINCT, ORDER BY, OVER. The lists of a frame are in its
/// order. Lists of a group that are of several arguments are ordered by
/// all of them besides, so that the values of a row stand at one place in each.
fn folded(expr: Expr, call: &ast::Function, args: &[Expr]) -> Result<Expr, PlanError> {
    let unoffered = |what: &str, hint: &str| Err(PlanError::unsupported(format!("{what} of {} is not offered", call.name), hint));
    if !call.within_group.is_empty() || call.null_treatment.is_some() {
        return unoffered("WITHIN GROUP and IGNORE NULLS", "ORDER BY within the parentheses, FILTER (WHERE x IS NOT NULL)");
    }
    if call.over.is_some()
        && !matches!(&call.args, FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty())
    {
        return unoffered(
            "DISTINCT and ORDER BY within the parentheses, with OVER,",
            "the order of a frame is that of its window: OVER (ORDER BY ..)",
        );
    }
    let (distinct, mut keys) = match &call.args {
        FunctionArguments::List(list) => (
            list.duplicate_treatment,
            list.clauses
                .iter()
                .flat_map(|c| if let FunctionArgumentClause::OrderBy(keys) = c { keys.clone() } else { vec![] })
                .collect(),
        ),
        _ => (None, vec![]),
    };
    if args.len() > 1 && call.over.is_none() {
        if matches!(distinct, Some(ast::DuplicateTreatment::Distinct)) {
            return unoffered("DISTINCT over several arguments", "SELECT DISTINCT them in a subquery");
        }
        if let Some(arg) = args.iter().find(|arg| is_volatile(arg)) {
            return unoffered(&format!("the argument {arg}"), "compute it in a subquery");
        }
        let plain = |arg: &Expr| ast::OrderByExpr { expr: arg.clone(), options: ast::OrderByOptions::default(), with_fill: None };
        keys.extend(args.iter().map(plain));
    }
    let mut expr = expr;
    if let Expr::Function(fold) = &mut expr
        && let FunctionArguments::List(list) = &mut fold.args
    {
        for arg in &mut list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(rows))) = arg else { continue };
            rows.filter.clone_from(&call.filter);
            rows.over.clone_from(&call.over);
            if let FunctionArguments::List(of) = &mut rows.args {
                of.duplicate_treatment = distinct;
                if !keys.is_empty() {
                    of.clauses.push(FunctionArgumentClause::OrderBy(keys.clone()));
                }
            }
        }
        return Ok(expr);
    }
    Err(PlanError::internal("an aggregate whose body is no call"))
}

/// An argument for each parameter, if they fit.
fn arguments(function: &UserFunction, given: &[FunctionArg]) -> Option<Vec<Expr>> {
    let mut args: Vec<Option<Expr>> = vec![None; function.params.len()];
    for (at, arg) in given.iter().enumerate() {
        let (place, value) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => (at, e),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => (place(function, &fold(name))?, e),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(e), .. } => {
                (place(function, &fold(name))?, e)
            }
            _ => return None,
        };
        let slot = args.get_mut(place)?;
        if slot.is_some() {
            return None;
        }
        *slot = Some(value.clone());
    }
    args.into_iter().zip(&function.params).map(|(arg, param)| arg.or_else(|| param.default.clone())).collect()
}

fn place(function: &UserFunction, name: &str) -> Option<usize> {
    function.params.iter().position(|p| p.name.as_deref() == Some(name))
}

/// As it is declared.
#[must_use]
pub fn shown(function: &UserFunction) -> String {
    let param = |p: &Param| {
        let name = p.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let default = p.default.as_ref().map(|e| format!(" DEFAULT {e}")).unwrap_or_default();
        format!("{name}{}{default}", crate::pgtypes::type_name(&p.ty))
    };
    format!("{}({})", function.name, function.params.iter().map(param).collect::<Vec<_>>().join(", "))
}

/// A cast; `numeric` keeps the digits that there are.
fn cast(e: Expr, ty: &DataType) -> Result<Expr, PlanError> {
    let mut cast = cast_ast(e, ty)?;
    if *ty == crate::pgtypes::numeric()
        && let Expr::Cast { data_type, .. } = &mut cast
    {
        *data_type = ast::DataType::Numeric(ast::ExactNumberInfo::None);
    }
    Ok(cast)
}

fn no_nulls(function: &UserFunction, args: &[Expr]) -> Result<Expr, PlanError> {
    let mut all: Option<Expr> = None;
    for (arg, param) in args.iter().zip(&function.params) {
        let arg = cast(arg.clone(), &param.ty)?;
        let this = Expr::IsNotNull(Box::new(Expr::Nested(Box::new(arg))));
        all = Some(match all {
            None => this,
            Some(before) => Expr::BinaryOp { left: Box::new(before), op: ast::BinaryOperator::And, right: Box::new(this) },
        });
    }
    all.ok_or_else(|| PlanError::internal("a strict function without arguments"))
}

fn unless_null(function: &UserFunction, args: &[Expr], value: Expr) -> Result<Expr, PlanError> {
    let mut case = crate::parse::parse_expr("CASE WHEN true THEN NULL END")?;
    if let Expr::Case { conditions, .. } = &mut case
        && let Some(when) = conditions.first_mut()
    {
        when.condition = no_nulls(function, args)?;
        when.result = value;
        return Ok(case);
    }
    Err(PlanError::internal("no frame for a strict function"))
}

/// Puts arguments in the place of parameters.
struct Filler<'a> {
    function: &'a UserFunction,
    args: Vec<Expr>,
    sizes: Vec<usize>,
    uses: Vec<usize>,
    growth: usize,
}

impl Filler<'_> {
    fn meant(&self, e: &Expr) -> Option<usize> {
        match e {
            Expr::Identifier(name) => place(self.function, &fold(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [function, param] if fold(function) == self.function.name => place(self.function, &fold(param)),
                _ => None,
            },
            Expr::Value(v) => match &v.value {
                ast::Value::Placeholder(text) => text.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
                _ => None,
            },
            _ => None,
        }
    }
}

impl VisitorMut for Filler<'_> {
    type Break = PlanError;

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        let Some(at) = self.meant(e) else { return ControlFlow::Continue(()) };
        let Some(arg) = self.args.get(at) else {
            return ControlFlow::Break(PlanError::invalid("42P02", format!("there is no parameter ${}", at + 1)));
        };
        self.growth += self.sizes.get(at).copied().unwrap_or(0);
        if self.growth > GROWTH_MAX {
            let message = format!("the bodies of functions make the statement too large: more than {GROWTH_MAX} parts");
            return ControlFlow::Break(
                PlanError::invalid("54001", message).with_hint("compute what is used often in a subquery or a view"),
            );
        }
        *e = arg.clone();
        if let Some(uses) = self.uses.get_mut(at) {
            *uses += 1;
        }
        ControlFlow::Continue(())
    }
}

fn nodes<T: crate::walk::Visit + ?Sized>(tree: &T) -> usize {
    struct V(usize);
    impl Visitor for V {
        type Break = ();
        fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let mut v = V(1);
    let _ = tree.visit(&mut v);
    v.0
}

fn any_expr(tree: &Expr, wanted: impl Fn(&Expr) -> bool) -> bool {
    any_in(tree, wanted)
}

fn any_in<T: crate::walk::Visit>(tree: &T, wanted: impl Fn(&Expr) -> bool) -> bool {
    struct V<F>(F);
    impl<F: Fn(&Expr) -> bool> Visitor for V<F> {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
            if (self.0)(e) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    tree.visit(&mut V(wanted)).is_break()
}

/// Whether it names no column.
fn is_constant(e: &Expr) -> bool {
    !any_expr(e, |e| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_)))
}

fn is_volatile(e: &Expr) -> bool {
    const VOLATILE: [&str; 8] =
        [host::VOLATILE, "random", "gen_random_uuid", "uuid", "clock_timestamp", "nextval", "setval", "set_config"];
    any_expr(e, |e| match e {
        Expr::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(fold).is_some_and(|name| {
            let of_session = ["pg_sleep", "pg_advisory_", "pg_try_advisory_"].iter().any(|front| name.starts_with(front));
            of_session || VOLATILE.contains(&name.as_str())
        }),
        _ => false,
    })
}
