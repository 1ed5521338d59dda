//! Calls that other systems have for what PostgreSQL says otherwise, in PostgreSQL's words before anything is bound: queries come from
//! Flink, Calcite, Feldera, RisingWave and DuckDB as they are.
//!
//! | call | means |
//! |---|---|
//! | `arg_max(x, y)`, `max_by`; `arg_min(x, y)`, `min_by` | x of the row with the greatest, least y that is not NULL; among equals the least x |
//! | `first_value(x ORDER BY y)`, `last_value(..)` without OVER | the first, last element of `array_agg(x ORDER BY y)` |
//! | `listagg(x [, s]) WITHIN GROUP (ORDER BY y)` | `string_agg(x, s ORDER BY y)`; `,` divides unless told |
//! | `some(x)`, `logical_or(x)`, `logical_and(x)`, `countif(x)` (or `count_if`), `median(x)` | `bool_or(x)`, `bool_and(x)`, `count(*) FILTER (WHERE x)`, `percentile_cont(0.5)` |
//! | `grouping_id(a, b)` | `grouping(a, b)` |
//! | `count(DISTINCT a, b)` | different pairs of which no part is NULL |
//! | `timestampdiff(unit, a, b)`, `datediff`, `timestampadd(unit, n, t)` | whole units from a to b; `t + n * INTERVAL '1 unit'` |
//! | `date_add(t, i)`, `date_sub(t, i)`, `last_day(d)` | `t + i`, `t - i`, the last date of d's month |
//! | `floor(t TO unit)`, `ceil(t TO unit)`, `timestamp_trunc(t, unit)` | `date_trunc`, of the moment before the next unit for `ceil` |
//! | `if(c, a, b)`, `ifnull(a, b)`, `nvl(a, b)` | CASE, COALESCE |
//! | `year(t)` .. `second(t)`, `dayofmonth`, `dayofyear`, `dayofweek` (1 is Sunday) | EXTRACT, as integers |
//! | `is_nan(x)`, `is_inf(x)`, `truncate(x [, n])` | comparisons, `trunc` |
//! | `array_contains(a, x)`, `array_length(a)`, `array_size(a)`, `array_join(a, s [, n])` | `x = ANY (a)`, `cardinality`, `array_to_string` |
//! | `split(s, d)`, `rlike(s, p)` | `string_to_array`, `s ~ p` |
//! | `json_value(j, path)`, `json_exists(j, path)` | a path's first scalar as text, `jsonb_path_exists` |
//! | `json_query(j, path)`, `get_first_json_object(j, path)`, `extract_json_string(j, path)` | `jsonb_path_query_first`, the same as text |
//!
//! A function that a user has made by one of these names comes first: its calls are gone by then. An element of an ordered list costs what the
//! list costs (`array_agg`). Knows no types.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator as Op, CeilFloorKind, DateTimeField, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions, Value,
};

use super::spelling::{call, cast, nested};
use crate::error::PlanError;
use crate::parse::fold;

type Result<T> = std::result::Result<T, PlanError>;

/// Units of time, as a date_trunc, an EXTRACT and an interval name them.
const UNITS: [&str; 10] = ["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

/// The call in PostgreSQL's words, if it is one of these.
///
/// # Errors
/// 22023 for a unit that is none, 42601 for a first or last value without an order.
pub(super) fn spelt(f: &Function) -> Result<Option<Expr>> {
    let [name] = f.name.0.as_slice() else { return Ok(None) };
    let Some(name) = name.as_ident().filter(|i| i.quote_style.is_none()).map(fold) else { return Ok(None) };
    let FunctionArguments::List(list) = &f.args else { return Ok(None) };
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let Some(args) = list.args.iter().map(arg).collect::<Option<Vec<Expr>>>() else { return Ok(None) };
    if f.null_treatment.is_some() {
        return Ok(None);
    }
    if let Some(spelt) = aggregate(&name, f, &args)? {
        return Ok(Some(spelt));
    }
    let plain = f.over.is_none() && f.filter.is_none() && f.within_group.is_empty();
    match plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() {
        true => scalar(&name, args),
        false => Ok(None),
    }
}

/// `floor(t TO unit)` and `ceil(t TO unit)`.
pub(super) fn to_unit(e: &Expr) -> Option<Expr> {
    let (of, field, up) = match e {
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(field) } => (expr, field, false),
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(field) } => (expr, field, true),
        _ => return None,
    };
    if matches!(field, DateTimeField::NoDateTime) {
        return None;
    }
    let unit = unit(&field.to_string())?;
    Some(match up {
        false => call("date_trunc", vec![text(unit), *of.clone()]),
        true => {
            let next = binary(binary(*of.clone(), Op::Plus, interval(unit)), Op::Minus, interval("microsecond"));
            call("date_trunc", vec![text(unit), *nested(next)])
        }
    })
}

fn aggregate(name: &str, f: &Function, args: &[Expr]) -> Result<Option<Expr>> {
    let FunctionArguments::List(list) = &f.args else { return Ok(None) };
    let bare = list.clauses.is_empty() && list.duplicate_treatment.is_none() && f.within_group.is_empty();
    Ok(Some(match (name, args) {
        ("arg_max" | "max_by" | "arg_min" | "min_by", [value, by]) if bare => {
            let down = matches!(name, "arg_max" | "max_by");
            let there = Expr::IsNotNull(nested(by.clone()));
            let order = vec![order(by.clone(), !down), order(value.clone(), true)];
            first(f, value, order, Some(there))
        }
        ("first_value" | "last_value", [value]) if f.over.is_none() && f.within_group.is_empty() => {
            let mut by = match list.clauses.as_slice() {
                [FunctionArgumentClause::OrderBy(by)] if list.duplicate_treatment.is_none() => by.clone(),
                _ => {
                    let hint = format!("write {name}(x ORDER BY y), or give it a window: {name}(x) OVER (ORDER BY y)");
                    return Err(PlanError::invalid("42601", format!("{name} needs an order")).with_hint(hint));
                }
            };
            if name == "last_value" {
                for key in &mut by {
                    key.options.asc = Some(key.options.asc == Some(false));
                    key.options.nulls_first = key.options.nulls_first.map(|first| !first);
                }
            }
            first(f, value, by, None)
        }
        ("listagg", [value, rest @ ..]) if rest.len() <= 1 && list.clauses.is_empty() => {
            let mut out = f.clone();
            out.name = named("string_agg");
            let by = std::mem::take(&mut out.within_group);
            let args = [cast(value.clone(), ast::DataType::Text), rest.first().cloned().unwrap_or_else(|| text(","))];
            set_args(&mut out, args.into(), by);
            Expr::Function(out)
        }
        ("some" | "logical_or" | "logical_and" | "grouping_id", [_, rest @ ..])
            if f.within_group.is_empty() && (rest.is_empty() || name == "grouping_id") =>
        {
            let mut out = f.clone();
            out.name = named(match name {
                "logical_and" => "bool_and",
                "grouping_id" => "grouping",
                _ => "bool_or",
            });
            Expr::Function(out)
        }
        ("countif" | "count_if", [condition]) if bare => {
            let mut out = f.clone();
            out.name = named("count");
            out.filter = Some(and(out.filter, *nested(condition.clone())));
            set_args(&mut out, vec![number(1)], vec![]);
            Expr::Function(out)
        }
        ("median", [value]) if bare && f.over.is_none() => {
            let mut out = f.clone();
            out.name = named("percentile_cont");
            out.within_group = vec![order(value.clone(), true)];
            set_args(&mut out, vec![Expr::value(Value::Number("0.5".to_owned(), false))], vec![]);
            Expr::Function(out)
        }
        ("count", [_, _, ..]) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && list.clauses.is_empty() => {
            let mut out = f.clone();
            let there = args.iter().map(|e| Expr::IsNotNull(nested(e.clone())));
            // as texts, since their types differ
            let all = call("make_array", args.iter().map(|e| cast(*nested(e.clone()), ast::DataType::Text)).collect());
            out.filter = there.fold(out.filter, |all, one| Some(and(all, one)));
            out.args = FunctionArguments::List(ast::FunctionArgumentList {
                duplicate_treatment: Some(DuplicateTreatment::Distinct),
                args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(all))],
                clauses: vec![],
            });
            Expr::Function(out)
        }
        _ => return Ok(None),
    }))
}

/// The first element of `array_agg(value ORDER BY ..)`, with the filter and the window of a call.
fn first(f: &Function, value: &Expr, by: Vec<OrderByExpr>, there: Option<Expr>) -> Expr {
    let mut out = f.clone();
    out.name = named("array_agg");
    out.filter = match there {
        Some(there) => Some(and(out.filter, there)),
        None => out.filter,
    };
    set_args(&mut out, vec![call(crate::functions::list_more::UNJOINED_NAME, vec![value.clone()])], by);
    call("pg_item", vec![Expr::Function(out), number(1)])
}

fn scalar(name: &str, mut args: Vec<Expr>) -> Result<Option<Expr>> {
    let field = |field: &str, of: Expr| {
        let whole = call("trunc", vec![call("date_part", vec![text(field), of])]);
        cast(whole, ast::DataType::Integer(None))
    };
    Ok(Some(match (name, args.as_mut_slice()) {
        ("timestampdiff" | "datediff", [unit, from, to]) => difference(unit_of(unit)?, from, to),
        ("timestampadd", [unit, n, to]) => {
            let step = binary(*nested(n.clone()), Op::Multiply, interval(unit_of(unit)?));
            *nested(binary(to.clone(), Op::Plus, step))
        }
        ("date_add" | "date_sub", [to, step]) => {
            let op = if name == "date_add" { Op::Plus } else { Op::Minus };
            *nested(binary(*nested(to.clone()), op, *nested(step.clone())))
        }
        ("last_day", [of]) => {
            let next =
                binary(call("date_trunc", vec![text("month"), cast(of.clone(), timestamp())]), Op::Plus, interval("month"));
            cast(*nested(binary(next, Op::Minus, interval("day"))), ast::DataType::Date)
        }
        ("timestamp_trunc", [of, unit]) => call("date_trunc", vec![text(unit_of(unit)?), of.clone()]),
        ("if", [condition, then, or]) => Expr::Case {
            case_token: ast::helpers::attached_token::AttachedToken::empty(),
            end_token: ast::helpers::attached_token::AttachedToken::empty(),
            operand: None,
            conditions: vec![ast::CaseWhen { condition: condition.clone(), result: then.clone() }],
            else_result: Some(Box::new(or.clone())),
        },
        ("ifnull" | "nvl", [_, _]) => call("coalesce", args),
        ("year" | "quarter" | "month" | "week" | "hour" | "minute" | "second", [of]) => field(name, of.clone()),
        ("dayofmonth", [of]) => field("day", of.clone()),
        ("dayofyear", [of]) => field("doy", of.clone()),
        ("dayofweek", [of]) => *nested(binary(field("dow", of.clone()), Op::Plus, number(1))),
        ("is_nan", [of]) => *nested(binary(float(of.clone()), Op::Eq, float(text("NaN")))),
        ("is_inf", [of]) => *nested(binary(call("abs", vec![float(of.clone())]), Op::Eq, float(text("Infinity")))),
        ("truncate", [_] | [_, _]) => call("trunc", args),
        ("array_contains", [array, value]) => call("pg_any_eq", vec![value.clone(), array.clone()]),
        ("array_length" | "array_size", [_]) => call("cardinality", args),
        ("split", [_, _]) => call("string_to_array", args),
        ("rlike", [of, pattern]) => *nested(binary(*nested(of.clone()), Op::PGRegexMatch, *nested(pattern.clone()))),
        ("array_join", [_, _] | [_, _, _]) => call("array_to_string", args),
        ("json_value", [json, path]) => {
            let found = call("jsonb_path_query_first", vec![cast(json.clone(), ast::DataType::JSONB), path.clone()]);
            let kind = call("jsonb_typeof", vec![found.clone()]);
            let list = ["object", "array"].map(text).to_vec();
            Expr::Case {
                case_token: ast::helpers::attached_token::AttachedToken::empty(),
                end_token: ast::helpers::attached_token::AttachedToken::empty(),
                operand: None,
                conditions: vec![ast::CaseWhen {
                    condition: Expr::InList { expr: Box::new(kind), list, negated: false },
                    result: Expr::value(Value::Null),
                }],
                else_result: Some(nested(binary(found, Op::HashLongArrow, text("{}")))),
            }
        }
        ("json_query", [json, path]) => {
            call("jsonb_path_query_first", vec![cast(json.clone(), ast::DataType::JSONB), path.clone()])
        }
        ("get_first_json_object" | "extract_json_string", [json, path]) => {
            let found = call("jsonb_path_query_first", vec![cast(json.clone(), ast::DataType::JSONB), path.clone()]);
            *nested(binary(found, Op::HashLongArrow, text("{}")))
        }
        ("json_exists", [json, path]) => call("jsonb_path_exists", vec![cast(json.clone(), ast::DataType::JSONB), path.clone()]),
        _ => return Ok(None),
    }))
}

/// Whole units from one moment to another, towards zero, as bigint.
fn difference(unit: &str, from: &Expr, to: &Expr) -> Expr {
    let micros: i64 = match unit {
        "microsecond" => 1,
        "millisecond" => 1_000,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => 86_400_000_000,
        "week" => 604_800_000_000,
        _ => {
            let age = call("age", vec![to.clone(), from.clone()]);
            let part = |field: &str| bigint(call("date_part", vec![text(field), age.clone()]));
            let months = binary(binary(part("year"), Op::Multiply, number(12)), Op::Plus, part("month"));
            let per = match unit {
                "month" => 1,
                "quarter" => 3,
                _ => 12,
            };
            // of integers, so that it cuts off
            return *nested(binary(*nested(months), Op::Divide, number(per)));
        }
    };
    let at = |e: &Expr| {
        let epoch = Expr::Extract { field: DateTimeField::Epoch, syntax: ast::ExtractSyntax::From, expr: nested(e.clone()) };
        bigint(binary(*nested(epoch), Op::Multiply, number(1_000_000)))
    };
    *nested(binary(*nested(binary(at(to), Op::Minus, at(from))), Op::Divide, bigint(number(micros))))
}

/// A unit's own name, from a plain word or a text, with ODBC's prefix or in the plural.
fn unit_of(e: &Expr) -> Result<&'static str> {
    let word = match e {
        Expr::Identifier(word) => fold(word),
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(word) => word.to_lowercase(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    unit(&word).ok_or_else(|| {
        let hint = format!("the units are {}", UNITS.join(", "));
        PlanError::invalid("22023", format!("\"{word}\" is no unit of time")).with_hint(hint)
    })
}

fn unit(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let word = word.strip_prefix("sql_tsi_").unwrap_or(&word);
    UNITS.into_iter().find(|unit| word == *unit || word.strip_suffix('s') == Some(unit))
}

fn named(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::new(name)])
}

fn set_args(f: &mut Function, args: Vec<Expr>, by: Vec<OrderByExpr>) {
    let duplicate_treatment = match &f.args {
        FunctionArguments::List(list) => list.duplicate_treatment,
        _ => None,
    };
    f.args = FunctionArguments::List(ast::FunctionArgumentList {
        duplicate_treatment,
        args: args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect(),
        clauses: if by.is_empty() { vec![] } else { vec![FunctionArgumentClause::OrderBy(by)] },
    });
}

fn order(expr: Expr, up: bool) -> OrderByExpr {
    OrderByExpr { expr, options: OrderByOptions { asc: Some(up), nulls_first: None }, with_fill: None }
}

fn and(all: Option<Box<Expr>>, one: Expr) -> Box<Expr> {
    match all {
        Some(all) => Box::new(binary(*nested(*all), Op::And, one)),
        None => Box::new(one),
    }
}

fn binary(left: Expr, op: Op, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn interval(unit: &str) -> Expr {
    let one = if unit == "quarter" { "3 months".to_owned() } else { format!("1 {unit}") };
    cast(text(&one), ast::DataType::Interval { fields: None, precision: None })
}

fn timestamp() -> ast::DataType {
    ast::DataType::Timestamp(None, ast::TimezoneInfo::None)
}

fn float(e: Expr) -> Expr {
    cast(e, ast::DataType::DoublePrecision)
}

fn bigint(e: Expr) -> Expr {
    cast(e, ast::DataType::BigInt(None))
}

fn text(s: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(s.to_owned()))
}

fn number(n: i64) -> Expr {
    Expr::value(Value::Number(n.to_string(), false))
}
