//! Functions over the arrays of catalogues.

use super::{Fault, Function, Ret, int, text, text_of};
use crate::pg_catalog::{
    facts::Facts,
    shape::{Cell, Ty},
};

const fn f(name: &'static str, ret: Ret, body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>) -> Function {
    Function { name, ret, strict: true, body }
}

/// Names that ordinary statements may call as well.
pub const SHARED: &[&str] = &["array_to_string", "array_upper", "array_lower", "array_length", "array_remove", "array_cat"];

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "array_to_string",
        ret: Ret::Is(Ty::Text),
        strict: false,
        body: |_, a| {
            let (Some(Cell::List(items)), Some(by)) = (a.first(), text(a, 1)) else { return Ok(Cell::Null) };
            let null = text(a, 2);
            let shown = items.iter().filter_map(|i| if *i == Cell::Null { null.clone() } else { Some(text_of(i)) });
            Ok(shown.collect::<Vec<_>>().join(&by).into())
        },
    },
    f("array_upper", Ret::Is(Ty::Int4), length),
    f("array_length", Ret::Is(Ty::Int4), length),
    f("array_lower", Ret::Is(Ty::Int4), |facts, a| Ok(if length(facts, a)? == Cell::Null { Cell::Null } else { 1i64.into() })),
    Function {
        name: "array_remove",
        ret: Ret::First,
        strict: false,
        body: |_, a| match a {
            [Cell::List(items), gone] => Ok(Cell::List(items.iter().filter(|i| *i != gone).cloned().collect())),
            _ => Ok(Cell::Null),
        },
    },
    Function {
        name: "array_cat",
        ret: Ret::First,
        strict: false,
        body: |_, a| match a {
            [Cell::List(l), Cell::List(r)] => Ok(Cell::List(l.iter().chain(r).cloned().collect())),
            [list @ Cell::List(_), Cell::Null] | [Cell::Null, list @ Cell::List(_)] => Ok(list.clone()),
            _ => Ok(Cell::Null),
        },
    },
    // `x = ANY (array)`; NULL where SQL says unknown
    f("pg_any", Ret::Is(Ty::Bool), |_, a| {
        let [value, list] = a else { return Ok(Cell::Null) };
        let items = elements(list);
        let same = items.iter().any(|i| *i != Cell::Null && text_of(i) == text_of(value));
        Ok(if same {
            true.into()
        } else if items.contains(&Cell::Null) {
            Cell::Null
        } else {
            false.into()
        })
    }),
    // equality of an array with an array's text, or of two texts
    f("pg_same", Ret::Is(Ty::Bool), |_, a| {
        let [left, right] = a else { return Ok(Cell::Null) };
        Ok((text_of(left) == text_of(right)).into())
    }),
    f("pg_element", Ret::Element, |_, a| {
        let (Some(Cell::List(items)), Some(no)) = (a.first(), int(a, 1)) else { return Ok(Cell::Null) };
        let at = no.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| items.get(at)).cloned().unwrap_or(Cell::Null))
    }),
    f("pg_subscripts", Ret::ListOf(Ty::Int4), |_, a| {
        let n = a.first().map_or(0, |list| elements(list).len());
        Ok((1..=n).collect::<Vec<_>>().into())
    }),
    f("pg_series", Ret::ListOf(Ty::Int8), |_, a| {
        let (Some(from), Some(to)) = (int(a, 0), int(a, 1)) else { return Ok(Cell::Null) };
        let step = int(a, 2).unwrap_or(1);
        if step == 0 {
            return Err(("22023", "step size cannot equal zero".to_owned()));
        }
        if to.abs_diff(from) / step.unsigned_abs() > SERIES_MAX {
            return Err(("54000", format!("a series is too long limit={SERIES_MAX}")));
        }
        let in_range = |v: &i64| if step > 0 { *v <= to } else { *v >= to };
        let next = |v: &i64| v.checked_add(step);
        Ok(std::iter::successors(Some(from), next).take_while(in_range).collect::<Vec<_>>().into())
    }),
];

/// Longest series: it is made as one array.
const SERIES_MAX: u64 = 1_000_000;

fn length(_: &Facts, a: &[Cell]) -> Result<Cell, Fault> {
    Ok(match a.first() {
        Some(Cell::List(items)) if !items.is_empty() => items.len().into(),
        _ => Cell::Null,
    })
}

/// Elements of an array, or of an array's text.
fn elements(value: &Cell) -> Vec<Cell> {
    match value {
        Cell::List(items) => items.clone(),
        Cell::Text(text) => {
            let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
            let items = inner.split(',').map(|s| s.trim().trim_matches('"')).filter(|s| !s.is_empty());
            items.map(|s| if s == "NULL" { Cell::Null } else { s.into() }).collect()
        }
        _ => vec![],
    }
}
