//! The syntax of an ASOF JOIN as a join that binding knows, with its whole condition inside a function of ours.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, JoinConstraint, JoinOperator, Query, SetExpr, TableFactor,
    TableWithJoins,
};

use crate::error::PlanError;
use crate::functions::udf::{Bound, Builtin};
use crate::functions::{EvalError, EvalResult};
use crate::parse::{ASOF_INNER, ASOF_LEFT, fold};

type Result<T> = std::result::Result<T, PlanError>;

/// `regauge_asof(condition)`: never evaluated; elsewhere than in an ASOF JOIN it does not exist.
pub(crate) static ASOF: Builtin = Builtin {
    name: ASOF_INNER,
    aliases: &[],
    bind: |types| match types {
        [_] => Ok(Bound { args: vec![DataType::Boolean], ret: DataType::Boolean }),
        _ => Err(undefined()),
    },
    refine: None,
    kernel: |_| -> EvalResult<_> { Err(undefined()) },
    safe: false,
};

fn undefined() -> EvalError {
    EvalError::undefined(format!("function {ASOF_INNER} does not exist; write a ASOF JOIN b ON .."))
}

/// Marks the joins of this query; queries within it have been, or will be.
pub(crate) fn mark(query: &mut Query) -> Result<()> {
    let mut todo = vec![query.body.as_mut()];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Select(s) => s.from.iter_mut().try_for_each(joins)?,
            _ => {}
        }
    }
    Ok(())
}

fn joins(from: &mut TableWithJoins) -> Result<()> {
    nested(&mut from.relation)?;
    for join in &mut from.joins {
        nested(&mut join.relation)?;
        if let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator {
            join.join_operator = marked(match_condition, constraint)?;
        }
    }
    Ok(())
}

fn nested(factor: &mut TableFactor) -> Result<()> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => joins(table_with_joins),
        _ => Ok(()),
    }
}

fn marked(said: &Expr, constraint: &JoinConstraint) -> Result<JoinOperator> {
    let odd = || PlanError::syntax("an ASOF JOIN without its condition").with_hint("write ON a.k = b.k AND b.ts <= a.ts");
    let (name, mut conditions) = match said {
        Expr::Identifier(i) => (fold(i), vec![]),
        Expr::Function(f) => {
            let FunctionArguments::List(list) = &f.args else { return Err(odd()) };
            let args = list.args.iter().map(|a| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            });
            (f.name.to_string().to_lowercase(), args.collect::<Option<Vec<_>>>().ok_or_else(odd)?)
        }
        _ => return Err(odd()),
    };
    match constraint {
        JoinConstraint::On(e) => conditions.push(e.clone()),
        JoinConstraint::None => {}
        _ => {
            return Err(PlanError::unsupported(
                "ASOF JOIN by USING or NATURAL is not offered",
                "write ON a.k = b.k AND b.ts <= a.ts",
            ));
        }
    }
    let all = conditions.iter().map(|e| format!("({e})")).collect::<Vec<_>>().join(" AND ");
    if all.is_empty() {
        return Err(odd());
    }
    let constraint = JoinConstraint::On(crate::parse::parse_expr(&format!("{ASOF_INNER}({all})"))?);
    match name.as_str() {
        ASOF_INNER => Ok(JoinOperator::Inner(constraint)),
        ASOF_LEFT => Ok(JoinOperator::LeftOuter(constraint)),
        _ => Err(odd()),
    }
}
