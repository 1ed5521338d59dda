//! `a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k`: each row of a with the version of b's row that held at a moment.
//!
//! The rows of b are versions: its primary key is what a version is of, and one timestamp from which it holds, until the next version. So
//! the join is an ASOF JOIN by `b.<that timestamp> <= a.ts`; no two versions tie. By event time: a version that is written late corrects
//! the rows that it should have met, and a replay gives the same. Syntax alone, with what the catalog says of b.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinConstraint, JoinOperator, Query, SetExpr,
    TableFactor, TableWithJoins, VisitorMut,
};

use crate::error::PlanError;
use crate::parse::{ASOF_INNER, ASOF_LEFT, RelationName, SYSTEM_TIME, SYSTEM_TIME_LEFT, fold, relation_name};

type Result<T> = std::result::Result<T, PlanError>;

/// What a relation looks like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its columns.
    pub schema: SchemaRef,
    /// The positions of its key.
    pub key: Option<Vec<usize>>,
    /// The position of a stream's time, if it has a watermark.
    pub watermark: Option<usize>,
}

/// Shapes by the names of relations.
pub(crate) type Shapes<'a> = &'a dyn Fn(&RelationName) -> Option<Shape>;

/// Makes ASOF JOINs of such joins, in this query and in all queries within it.
pub(crate) fn resolve(query: &mut Query, shapes: Shapes<'_>) -> Result<()> {
    struct V<'a>(Shapes<'a>);
    impl VisitorMut for V<'_> {
        type Break = PlanError;
        fn post_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
            let mut todo = vec![q.body.as_mut()];
            while let Some(body) = todo.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
                    SetExpr::Select(s) => {
                        if let Err(e) = s.from.iter_mut().try_for_each(|f| joins(f, self.0)) {
                            return ControlFlow::Break(e);
                        }
                    }
                    _ => {}
                }
            }
            ControlFlow::Continue(())
        }
    }
    match VisitMut::visit(query, &mut V(shapes)) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn joins(from: &mut TableWithJoins, shapes: Shapes<'_>) -> Result<()> {
    let nested = |factor: &mut TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => joins(table_with_joins, shapes),
        _ => Ok(()),
    };
    nested(&mut from.relation)?;
    for join in &mut from.joins {
        nested(&mut join.relation)?;
        if let JoinOperator::AsOf { match_condition, constraint } = &mut join.join_operator
            && let Some((outer, moment)) = asked(match_condition)
        {
            let column = versioned_by(&join.relation, constraint, shapes)?;
            let function = if outer { ASOF_LEFT } else { ASOF_INNER };
            *match_condition = crate::parse::parse_expr(&format!("{function}({column} <= {moment})"))?;
        }
    }
    Ok(())
}

/// Whether rows without a version stay, and the moment.
fn asked(e: &Expr) -> Option<(bool, Expr)> {
    let Expr::Function(f) = e else { return None };
    let outer = match f.name.to_string().as_str() {
        SYSTEM_TIME => false,
        SYSTEM_TIME_LEFT => true,
        _ => return None,
    };
    let FunctionArguments::List(list) = &f.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(moment))] => Some((outer, moment.clone())),
        _ => None,
    }
}

/// The column from which a row of the relation holds, qualified.
fn versioned_by(relation: &TableFactor, on: &JoinConstraint, shapes: Shapes<'_>) -> Result<Expr> {
    let hint = "make the moment from which a row holds a part of its primary key, as PRIMARY KEY (item, since); \
                or write a ASOF JOIN b ON a.k = b.k AND b.ts <= a.ts";
    let odd = |message: String| PlanError::unsupported(message, hint);
    let TableFactor::Table { name, alias, args: None, .. } = relation else {
        return Err(odd("FOR SYSTEM_TIME AS OF takes a relation's name".into()));
    };
    let called = match alias {
        Some(alias) => alias.name.clone(),
        None => name.0.last().and_then(|p| p.as_ident()).cloned().ok_or_else(|| odd(format!("no relation: {name}")))?,
    };
    let own = relation_name(name)?;
    let Shape { schema, key, .. } = shapes(&own).ok_or_else(|| {
        PlanError::invalid("42P01", format!("relation \"{own}\" does not exist")).with_hint("SHOW TABLES lists what does")
    })?;
    let key = key.ok_or_else(|| odd(format!("relation \"{own}\" has no primary key that tells its versions")))?;
    let fields: Vec<_> = key.iter().filter_map(|c| schema.fields().get(*c)).collect();
    let (times, rest): (Vec<_>, Vec<_>) = fields.into_iter().partition(|f| matches!(f.data_type(), DataType::Timestamp(..)));
    let [time] = times.as_slice() else {
        return Err(odd(format!("the primary key of \"{own}\" has {} timestamps where one tells its versions", times.len())));
    };
    let column = |name: &str| vec![called.clone(), Ident::with_quote('"', name)];
    if let Some(missing) = rest.iter().find(|f| !equated(on, &called, f.name())) {
        let message = format!("a version of \"{own}\" is of a whole key: the join does not say which \"{}\"", missing.name());
        return Err(PlanError::unsupported(message, format!("add {called}.{} = .. to ON", missing.name())));
    }
    Ok(Expr::CompoundIdentifier(column(time.name())))
}

/// Whether a conjunct of the condition says what the column equals.
fn equated(on: &JoinConstraint, called: &Ident, column: &str) -> bool {
    let JoinConstraint::On(e) = on else { return false };
    let is_column = |e: &Expr| match e {
        Expr::Identifier(i) => fold(i) == column,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., of, c] => fold(of) == fold(called) && fold(c) == column,
            _ => false,
        },
        _ => false,
    };
    let mut todo = vec![e];
    while let Some(e) = todo.pop() {
        match e {
            Expr::Nested(e) => todo.push(e),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => todo.extend([left.as_ref(), right.as_ref()]),
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_column(left) || is_column(right) => return true,
            _ => {}
        }
    }
    false
}
