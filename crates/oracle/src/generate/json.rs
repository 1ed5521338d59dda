//! Expressions of jsonb, uuid and arrays over the columns in scope, all of which come back to text or to a condition. None may fail.
//! Numerics and doubles stay out: their digits within JSON are of the type here and of the value in PostgreSQL.

use super::expr::value;
use super::{Col, Ty};
use crate::rng::Rng;

/// A text.
pub(super) fn text(rng: &mut Rng, scope: &[Col], depth: usize) -> String {
    let mut one = |ty: Ty| value(rng, scope, ty, depth).sql;
    let (a, b, n, flag) = (one(Ty::Text), one(Ty::Text), one(Ty::Int), one(Ty::Bool));
    match rng.below(8) {
        0 => format!("(jsonb_build_object('k', {a}, 'n', {n}) ->> 'k')"),
        1 => format!("CAST(jsonb_build_array({a}, {n}, {flag}) AS text)"),
        2 => format!("CAST(CAST(md5({a}) AS uuid) AS text)"),
        3 => format!("array_to_string(array_append(ARRAY[{a}, {b}], {a}), '-', '*')"),
        4 => format!("jsonb_typeof(to_jsonb({n}))"),
        5 => format!("CAST(jsonb_build_object('a', {a}, 'bb', {n}) || jsonb_build_object('a', {flag}) AS text)"),
        6 => {
            format!("(jsonb_set(jsonb_build_object('a', jsonb_build_array({a}, {b})), '{{a,1}}', to_jsonb({n})) #>> '{{a,-1}}')")
        }
        _ => format!("CAST(json_build_object('k', {a}) AS text)"),
    }
}

/// A condition.
pub(super) fn predicate(rng: &mut Rng, scope: &[Col], depth: usize) -> String {
    let ty = [Ty::Text, Ty::Int, Ty::Bool][rng.below(3)];
    let mut one = || value(rng, scope, ty, depth).sql;
    let (a, b, c) = (one(), one(), one());
    match rng.below(7) {
        0 => format!("(jsonb_build_object('a', {a}, 'b', {b}) @> jsonb_build_object('a', {c}))"),
        1 => format!("(jsonb_build_array({a}, {b}) < jsonb_build_array({c}, {a}))"),
        2 => format!("((jsonb_build_object('a', {a}) -> 'a') = (jsonb_build_array({b}) -> 0))"),
        3 => format!("(ARRAY[{a}, {b}] && ARRAY[{c}])"),
        4 => format!("(ARRAY[{a}, {b}] @> ARRAY[{c}])"),
        5 => format!("(CAST(md5(CAST({a} AS text)) AS uuid) < CAST(md5(CAST({b} AS text)) AS uuid))"),
        _ => format!("jsonb_path_exists(jsonb_build_array({a}, {b}), '$[*] ? (@ == $x)', jsonb_build_object('x', {c}))"),
    }
}
