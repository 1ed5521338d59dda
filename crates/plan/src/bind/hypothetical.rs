//! `rank(v) WITHIN GROUP (ORDER BY x)` and its kin: where a row with `v` would stand among the others, as counts of those before it.
//!
//! | call | counts |
//! |---|---|
//! | `rank` | rows before it, + 1 |
//! | `dense_rank` | different values before it, + 1 |
//! | `percent_rank` | rows before it / rows, 0 without any |
//! | `cume_dist` | (rows before or beside it + 1) / (rows + 1) |
//!
//! One argument and one order: more of them are refused. So they are maintained as counts are.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator as Op, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::calls::RANKS;
use super::spelling::{call, cast, nested, not};
use crate::error::PlanError;
use crate::parse::fold;

/// The call as counts, if it is one of these.
pub(super) fn spelt(f: &Function) -> Result<Option<Expr>, PlanError> {
    let name = f.name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    let name = name.as_str();
    if f.within_group.is_empty() || !RANKS.contains(&name) {
        return Ok(None);
    }
    let FunctionArguments::List(list) = &f.args else { return Ok(None) };
    let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(v))], [by]) = (list.args.as_slice(), f.within_group.as_slice()) else {
        return match list.args.len() == f.within_group.len() {
            true => Err(PlanError::unsupported(
                format!("{name} of several columns WITHIN GROUP is not offered"),
                "rank by one of them",
            )),
            false => Err(PlanError::invalid("42883", format!("function {name} does not exist for these arguments"))),
        };
    };
    let place = Place {
        v,
        x: &by.expr,
        down: by.options.asc == Some(false),
        nulls_first: by.options.nulls_first,
        filter: f.filter.as_deref(),
    };
    Ok(Some(*nested(match name {
        "rank" => plus_one(place.count(Some(place.before()), false)),
        "dense_rank" => {
            // all NULLs are one value, which count(DISTINCT ..) leaves out
            let none = binary(place.before(), Op::And, Expr::IsNull(nested(place.x.clone())));
            let none = call("least", vec![number("1"), place.count(Some(none), false)]);
            plus_one(binary(place.count(Some(place.before()), true), Op::Plus, none))
        }
        "percent_rank" => {
            let all = place.count(None, false);
            let some = binary(all.clone(), Op::Gt, number("0"));
            let share = binary(float(place.count(Some(place.before()), false)), Op::Divide, float(all));
            choose(some, share, float(number("0")))
        }
        _ => {
            let upto = float(plus_one(place.count(Some(place.upto()), false)));
            binary(upto, Op::Divide, float(plus_one(place.count(None, false))))
        }
    })))
}

/// A value among the ordered ones.
struct Place<'a> {
    v: &'a Expr,
    x: &'a Expr,
    down: bool,
    nulls_first: Option<bool>,
    filter: Option<&'a Expr>,
}

impl Place<'_> {
    fn nulls_first(&self) -> bool {
        self.nulls_first.unwrap_or(self.down)
    }

    /// `x` stands before `v`.
    fn before(&self) -> Expr {
        let op = if self.down { Op::Gt } else { Op::Lt };
        let (first, other) = if self.nulls_first() { (self.x, self.v) } else { (self.v, self.x) };
        let alone = binary(Expr::IsNull(nested(first.clone())), Op::And, Expr::IsNotNull(nested(other.clone())));
        binary(binary(self.x.clone(), op, self.v.clone()), Op::Or, alone)
    }

    /// `x` stands before `v` or beside it: not behind.
    fn upto(&self) -> Expr {
        let behind = Place { v: self.x, x: self.v, down: self.down, nulls_first: Some(self.nulls_first()), filter: None };
        // NULL where one of them is and nothing is decided
        not(*nested(call("coalesce", vec![behind.before(), Expr::value(Value::Boolean(false))])))
    }

    fn count(&self, holds: Option<Expr>, distinct: bool) -> Expr {
        let filter = match (holds, self.filter) {
            (Some(holds), Some(filter)) => Some(binary(holds, Op::And, filter.clone())),
            (holds, filter) => holds.or_else(|| filter.cloned()),
        };
        let arg = if distinct { self.x.clone() } else { number("1") };
        let Expr::Function(mut count) = call("count", vec![arg]) else { return number("0") };
        if let (FunctionArguments::List(list), true) = (&mut count.args, distinct) {
            list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
        }
        count.filter = filter.map(Box::new);
        Expr::Function(count)
    }
}

fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}

fn float(e: Expr) -> Expr {
    cast(*nested(e), ast::DataType::DoublePrecision)
}

fn plus_one(e: Expr) -> Expr {
    binary(e, Op::Plus, number("1"))
}

fn binary(left: Expr, op: Op, right: Expr) -> Expr {
    *nested(Expr::BinaryOp { left: nested(left), op, right: nested(right) })
}

fn choose(condition: Expr, result: Expr, otherwise: Expr) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition, result }],
        else_result: Some(Box::new(otherwise)),
    }
}
