//! `FROM t b WHERE EXISTS (SELECT 1 FROM u WHERE u.k = b.id)` where u has a column b: PostgreSQL takes `b.id` for the relation's column,
//! DataFusion for a field of the column. So the relation gets an alias that no column has.
//!
//! Only where it matters: a relation is left its name unless an inner query names it so and has such a column.

use crate::walk::VisitMut;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, OrderBy, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitorMut,
};

use super::{Env, bare};
use crate::bind::ast::MARK;
use crate::parse::fold;

/// Renames the relations of this FROM that an inner query would hide by a column.
pub(super) fn hidden(s: &mut Select, order: Option<&mut OrderBy>, env: &mut Env<'_>) {
    let mut own = HashMap::new();
    for from in &mut s.from {
        relations(from, &mut |factor| {
            if let Some(name) = name_of(factor) {
                own.insert(fold(&name), false);
            }
        });
    }
    if own.is_empty() {
        return;
    }
    let mut order = order;
    let mut scan = Scan { own, between: vec![], env, renames: false };
    scan.parts(s, order.as_deref_mut());
    if !scan.own.values().any(|hidden| *hidden) {
        return;
    }
    scan.renames = true;
    scan.parts(s, order);
    let hidden = scan.own;
    for from in &mut s.from {
        relations(from, &mut |factor| {
            if let Some(name) = name_of(factor).filter(|name| hidden.get(&fold(name)) == Some(&true)) {
                give(factor, marked(&name));
            }
        });
    }
}

fn marked(name: &Ident) -> Ident {
    Ident::with_quote('"', format!("{}{MARK}", fold(name)))
}

fn relations(from: &mut TableWithJoins, each: &mut dyn FnMut(&mut TableFactor)) {
    let factors = std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|j| &mut j.relation));
    for factor in factors {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => relations(table_with_joins, each),
            factor => each(factor),
        }
    }
}

fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(a), .. }
        | TableFactor::Derived { alias: Some(a), .. }
        | TableFactor::Function { alias: Some(a), .. }
        | TableFactor::UNNEST { alias: Some(a), .. } => Some(a.name.clone()),
        TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
            [one] => one.as_ident().cloned(),
            _ => None,
        },
        _ => None,
    }
}

fn give(factor: &mut TableFactor, name: Ident) {
    // a function of one column gives it its own name
    let of_rows = match factor {
        TableFactor::Table { args: Some(_), name, .. } | TableFactor::Function { name, .. } => {
            crate::bind::series::is_set_returning(name)
        }
        TableFactor::UNNEST { .. } => true,
        _ => false,
    };
    let (TableFactor::Table { alias, .. }
    | TableFactor::Derived { alias, .. }
    | TableFactor::Function { alias, .. }
    | TableFactor::UNNEST { alias, .. }) = factor
    else {
        return;
    };
    match alias {
        Some(alias) => {
            if of_rows && alias.columns.is_empty() {
                let column = datafusion::sql::sqlparser::ast::TableAliasColumnDef { name: alias.name.clone(), data_type: None };
                alias.columns.push(column);
            }
            alias.name = name;
        }
        None => *alias = Some(TableAlias { explicit: true, name, columns: vec![], at: None }),
    }
}

/// The names of a FROM clause.
struct Scope {
    relations: HashSet<String>,
    columns: HashSet<String>,
}

/// Looks for names that are hidden, or gives them their new ones.
struct Scan<'e, 'a> {
    /// The relations in question, and whether they are hidden somewhere.
    own: HashMap<String, bool>,
    /// FROM clauses between; `None` where the shape is not known.
    between: Vec<Option<Scope>>,
    env: &'e mut Env<'a>,
    renames: bool,
}

impl Scan<'_, '_> {
    fn parts(&mut self, s: &mut Select, order: Option<&mut OrderBy>) {
        self.stars(&mut s.projection);
        let _ = VisitMut::visit(&mut s.projection, self);
        let _ = VisitMut::visit(&mut s.from, self);
        let _ = VisitMut::visit(&mut s.distinct, self);
        let _ = VisitMut::visit(&mut s.selection, self);
        let _ = VisitMut::visit(&mut s.group_by, self);
        let _ = VisitMut::visit(&mut s.having, self);
        let _ = VisitMut::visit(&mut s.named_window, self);
        let _ = VisitMut::visit(&mut s.qualify, self);
        if let Some(order) = order {
            let _ = VisitMut::visit(order, self);
        }
    }

    /// A relation's name before a point.
    fn name(&mut self, name: &mut Ident) {
        let folded = fold(name);
        if !self.own.contains_key(&folded) {
            return;
        }
        let mut hidden = false;
        for scope in self.between.iter().rev().flatten() {
            if scope.relations.contains(&folded) {
                return;
            }
            hidden |= scope.columns.contains(&folded);
        }
        if !self.renames {
            self.own.entry(folded).and_modify(|known| *known |= hidden);
        } else if self.own.get(&folded) == Some(&true) {
            *name = marked(name);
        }
    }

    fn object(&mut self, name: &mut ObjectName) {
        if let [one] = name.0.as_slice()
            && let Some(mut ident) = one.as_ident().cloned()
        {
            self.name(&mut ident);
            *name = ObjectName::from(vec![ident]);
        }
    }

    fn stars(&mut self, items: &mut [SelectItem]) {
        for item in items {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
                self.object(name);
            }
        }
    }

    fn scope(&self, s: &Select) -> Option<Scope> {
        let shape = bare::offered(s, self.env)?;
        Some(Scope {
            relations: shape.relations.into_iter().map(|r| r.name).collect(),
            columns: shape.columns.into_iter().map(|c| c.name).collect(),
        })
    }
}

impl VisitorMut for Scan<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
        self.env.open();
        self.env.know_all(q.with.as_ref());
        let scope = if let SetExpr::Select(s) = q.body.as_ref() { self.scope(s) } else { None };
        self.between.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.env.close();
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<()> {
        let scope = self.scope(s);
        self.between.push(scope);
        self.stars(&mut s.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        match e {
            Expr::CompoundIdentifier(parts) if parts.len() == 2 => self.name(&mut parts[0]),
            Expr::QualifiedWildcard(name, _) => self.object(name),
            Expr::Function(f) => {
                if let FunctionArguments::List(list) = &mut f.args {
                    for arg in &mut list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) = arg {
                            self.object(name);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
