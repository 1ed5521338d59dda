//! JOIN .. USING as PostgreSQL reads it: the merged columns come first in `*`, and are the right side's in a RIGHT JOIN and the one
//! that is there in a FULL JOIN, where DataFusion always takes the left side's.
//!
//! ```text
//!   SELECT *, k FROM a FULL JOIN b USING (k)   ─▶   SELECT COALESCE(a.k, b.k) AS k, a.* EXCLUDE (k), b.* EXCLUDE (k), COALESCE(a.k, b.k) AS k
//!                                                   FROM a FULL JOIN b ON a.k = b.k
//! ```
//! Syntax alone, before names are bound. So a RIGHT or FULL JOIN by USING among several joins, and NATURAL ones, whose columns only
//! binding knows, are refused. A query within the query that means the merged column by its bare name gets 42702.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use crate::error::PlanError;
use crate::parse::fold;

type Result<T> = std::result::Result<T, PlanError>;

/// Rewrites the FROM clauses of this query; queries within it have been, or will be.
pub(super) fn merge(query: &mut Query) -> Result<()> {
    let mut todo = vec![query.body.as_mut()];
    let mut merged = None;
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                todo.push(left);
                todo.push(right);
            }
            SetExpr::Select(s) => merged = select(s)?,
            _ => {}
        }
    }
    // The order of a set operation knows output columns only; so does a name that is one of a SELECT's.
    let (Some(mut columns), SetExpr::Select(s), Some(order)) = (merged, query.body.as_ref(), &mut query.order_by) else {
        return Ok(());
    };
    columns.0.retain(|name, _| {
        !s.projection.iter().any(|i| matches!(i, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == *name))
    });
    if let OrderByKind::Expressions(keys) = &mut order.kind {
        for key in keys {
            columns.replace(&mut key.expr);
        }
    }
    Ok(())
}

/// What the bare names of merged columns stand for.
struct Merged(HashMap<String, Expr>, usize);

impl Merged {
    fn replace(&mut self, e: &mut impl VisitMut) {
        let _ = VisitMut::visit(e, self);
    }
}

impl VisitorMut for Merged {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.1 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.1 -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        if let (Expr::Identifier(i), 0) = (&*e, self.1)
            && let Some(merged) = self.0.get(&fold(i))
        {
            *e = merged.clone();
        }
        ControlFlow::Continue(())
    }
}

fn refused(what: &str) -> PlanError {
    PlanError::unsupported(
        format!("{what} is not offered"),
        "write the condition with ON, and COALESCE(a.k, b.k) for the column that the two have",
    )
}

/// The columns that bare names must be replaced by: those of a RIGHT or FULL JOIN.
fn select(s: &mut Select) -> Result<Option<Merged>> {
    let fills = |o: &JoinOperator| matches!(o, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
    let by_name = |o: &JoinOperator| matches!(constraint(o), Some(JoinConstraint::Using(_) | JoinConstraint::Natural));
    let filling = s.from.iter().flat_map(|f| &f.joins).any(|j| fills(&j.join_operator) && by_name(&j.join_operator));
    let [from] = s.from.as_mut_slice() else {
        return if filling { Err(refused("RIGHT or FULL JOIN by USING beside other relations")) } else { Ok(None) };
    };
    let [join] = from.joins.as_mut_slice() else {
        return if filling { Err(refused("RIGHT or FULL JOIN by USING among several joins")) } else { Ok(None) };
    };
    let Some(JoinConstraint::Using(names)) = constraint(&join.join_operator) else {
        return if filling { Err(refused("NATURAL RIGHT or FULL JOIN")) } else { Ok(None) };
    };
    let (Some(left), Some(right)) = (name_of(&from.relation), name_of(&join.relation)) else {
        return if filling { Err(refused("RIGHT or FULL JOIN by USING of this relation")) } else { Ok(None) };
    };
    let columns: Vec<Ident> = names.iter().filter_map(|n| n.0.last().and_then(|p| p.as_ident()).cloned()).collect();
    let of = |side: &Ident, c: &Ident| Expr::CompoundIdentifier(vec![side.clone(), c.clone()]);
    let full = matches!(join.join_operator, JoinOperator::FullOuter(_));
    let mut merged = HashMap::new();
    for c in &columns {
        let e = match (filling, full) {
            (true, true) => expression(&format!("COALESCE({left}.{c}, {right}.{c})"))?,
            (true, false) => of(&right, c),
            _ => of(&left, c),
        };
        merged.insert(fold(c), e);
    }
    if filling && let Some(constraint) = constraint_mut(&mut join.join_operator) {
        let equalities: Vec<String> = columns.iter().map(|c| format!("{left}.{c} = {right}.{c}")).collect();
        *constraint = JoinConstraint::On(expression(&equalities.join(" AND "))?);
    }
    let mut items = vec![];
    for item in std::mem::take(&mut s.projection) {
        match item {
            SelectItem::Wildcard(options) if options == WildcardAdditionalOptions::default() => {
                items.extend(columns.iter().filter_map(|c| {
                    let expr = merged.get(&fold(c))?.clone();
                    Some(SelectItem::ExprWithAlias { expr, alias: c.clone() })
                }));
                items.extend([&left, &right].map(|side| others(side, &columns)));
            }
            SelectItem::UnnamedExpr(Expr::Identifier(i)) if filling && merged.contains_key(&fold(&i)) => {
                let expr = merged[&fold(&i)].clone();
                items.push(SelectItem::ExprWithAlias { expr, alias: i });
            }
            item => items.push(item),
        }
    }
    s.projection = items;
    let mut merged = Merged(merged, 0);
    if !filling {
        // elsewhere DataFusion knows
        merged.replace(&mut s.selection);
        return Ok(None);
    }
    merged.replace(&mut s.projection);
    merged.replace(&mut s.selection);
    merged.replace(&mut s.group_by);
    merged.replace(&mut s.having);
    Ok(Some(merged))
}

/// `side.* EXCLUDE (columns)`
fn others(side: &Ident, columns: &[Ident]) -> SelectItem {
    let names = columns.iter().map(|c| ObjectName::from(vec![c.clone()])).collect();
    let options = WildcardAdditionalOptions {
        opt_exclude: Some(ExcludeSelectItem::Multiple(names)),
        ..WildcardAdditionalOptions::default()
    };
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![side.clone()])), options)
}

fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, args: None, .. } => name.0.last().and_then(|p| p.as_ident()).cloned(),
        _ => None,
    }
}

fn constraint(o: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator::{FullOuter, Inner, Join, Left, LeftOuter, Right, RightOuter};
    match o {
        Join(c) | Inner(c) | Left(c) | LeftOuter(c) | Right(c) | RightOuter(c) | FullOuter(c) => Some(c),
        _ => None,
    }
}

fn constraint_mut(o: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    use JoinOperator::{FullOuter, Right, RightOuter};
    match o {
        Right(c) | RightOuter(c) | FullOuter(c) => Some(c),
        _ => None,
    }
}

fn expression(text: &str) -> Result<Expr> {
    let query = crate::parse::parse_query(&format!("SELECT {text}"), &crate::parse::ParseLimits::default())?;
    if let SetExpr::Select(s) = *query.body
        && let Some(SelectItem::UnnamedExpr(e)) = s.projection.into_iter().next()
    {
        return Ok(e);
    }
    Err(PlanError::internal("a merged column could not be written"))
}
