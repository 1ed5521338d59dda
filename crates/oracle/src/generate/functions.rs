//! Functions and operators as templates: what they give, from what. A hole is a type's letter in braces; each takes an expression of its
//! own. None of them can fail, and equal arguments give equal results, however they are written (so no text of an interval, a numeric or a
//! jsonb, and no interval beside a moment).

use super::expr::{self, Expr, value};
use super::{Col, Ty};
use crate::rng::Rng;

/// A template: its text, and below which power of ten what it gives stays; `OF_ARGUMENTS` as its arguments do.
type Form = (&'static str, u8);

const OF_ARGUMENTS: u8 = u8::MAX;

const BOOL: &[Form] = &[
    ("({s} ~ '^[ab]+')", 0),
    ("({s} ~* 'B')", 0),
    ("({s} !~ '[[:digit:]]')", 0),
    ("({s} ILIKE 'A%')", 0),
    ("({s} NOT LIKE '%b')", 0),
    ("({s} SIMILAR TO '(a|b)+')", 0),
    ("starts_with({s}, 'a')", 0),
    ("({s} ^@ {s})", 0),
    ("regexp_like({s}, 'b$')", 0),
    ("({i} = ANY (ARRAY[{i}, {i}]))", 0),
    ("({i} > ALL (ARRAY[{i}, 1]))", 0),
    ("({s} = ANY (string_to_array({s}, 'b')))", 0),
    ("({i} NOT IN (1, {i}, 3))", 0),
    ("({i} BETWEEN SYMMETRIC {i} AND {i})", 0),
    ("(({m}, {m}) OVERLAPS ({m}, {m}))", 0),
    ("({f} IS UNKNOWN)", 0),
    ("({f} = {f})", 0),
    ("(({i}, {s}) = ({i}, {s}))", 0),
    ("(({i}, {s}) < ({i}, {s}))", 0),
    ("(({i}, {s}) IN (({i}, {s}), (1, 'a')))", 0),
    ("(({i}, {s}) IS DISTINCT FROM ({i}, {s}))", 0),
    ("({j} ? 'a')", 0),
    ("({j} @> CAST('[1]' AS jsonb))", 0),
    ("({D} < {m})", 0),
    ("isfinite({m})", 0),
    ("CAST({i} AS boolean)", 0),
    ("({p} > INTERVAL '1 day')", 0),
    ("({d} < {i})", 0),
    ("({n} >= {b})", 0),
    ("({i} + {b} = {n})", 0),
];

const INT: &[Form] = &[
    ("char_length({s})", 4),
    ("octet_length({s})", 5),
    ("bit_length({s})", 6),
    ("position({s} IN {s})", 4),
    ("strpos({s}, 'b')", 4),
    ("ascii({s})", 7),
    ("mod({i}, NULLIF({i}, 0))", OF_ARGUMENTS),
    ("({i} & {i})", OF_ARGUMENTS),
    ("({i} | 7)", OF_ARGUMENTS),
    ("({i} # {i})", OF_ARGUMENTS),
    ("(~ {i})", OF_ARGUMENTS),
    ("({i} >> 1)", OF_ARGUMENTS),
    ("(({i} % 5) << 3)", 3),
    ("gcd({i}, {i})", OF_ARGUMENTS),
    ("lcm({i} % 7, {i} % 7)", 2),
    ("least({i}, {i}, 3)", OF_ARGUMENTS),
    ("({D} - {D})", 7),
    ("CAST(extract(day FROM {m}) AS integer)", 2),
    ("CAST(extract(week FROM {D}) AS integer)", 2),
    ("CAST(extract(isodow FROM {D}) AS integer)", 1),
    ("CAST(extract(quarter FROM {m}) AS integer)", 1),
    ("CAST(date_part('doy', {m}) AS integer)", 3),
    ("CAST(date_part('hour', {z}) AS integer)", 2),
    ("cardinality(string_to_array({s}, 'b'))", 4),
    ("array_length(ARRAY[{i}, {i}], 1)", 1),
    ("coalesce(array_position(ARRAY[{i}, {i}], {i}), 0)", 1),
    ("width_bucket({n}, 0, 10, 5)", 1),
    ("num_nulls({i}, {s}, {m})", 1),
    ("regexp_count({s}, '[ab]')", 4),
    ("regexp_instr({s}, 'b+')", 4),
    ("CAST(round({n}) AS integer)", OF_ARGUMENTS),
    ("CAST({d} AS integer)", OF_ARGUMENTS),
    ("(CASE {i} WHEN 1 THEN {i} WHEN {i} THEN 2 ELSE 3 END)", OF_ARGUMENTS),
    ("length({y})", 5),
    ("(ARRAY[{i}, {i}])[1 + abs({i} % 3)]", OF_ARGUMENTS),
];

const BIGINT: &[Form] = &[
    ("CAST(extract(epoch FROM {m}) AS bigint)", 11),
    ("({b} & {b})", OF_ARGUMENTS),
    ("({b} # 5)", OF_ARGUMENTS),
    ("mod({b}, CAST(7 AS bigint))", 1),
    ("gcd({b}, {i})", OF_ARGUMENTS),
    ("CAST(floor({n}) AS bigint)", OF_ARGUMENTS),
    ("CAST(round({d}) AS bigint)", OF_ARGUMENTS),
    ("CAST({d} AS bigint)", OF_ARGUMENTS),
    ("CAST({n} AS bigint)", OF_ARGUMENTS),
    ("greatest({b}, {i})", OF_ARGUMENTS),
];

const NUMERIC: &[Form] = &[
    ("round({n}, 1)", OF_ARGUMENTS),
    ("round({n})", OF_ARGUMENTS),
    ("trunc({n}, 1)", OF_ARGUMENTS),
    ("ceil({n})", OF_ARGUMENTS),
    ("floor({n})", OF_ARGUMENTS),
    ("sign({n})", 1),
    ("(- {n})", OF_ARGUMENTS),
    ("mod({n}, NULLIF({n}, 0))", OF_ARGUMENTS),
    ("greatest({n}, {n})", OF_ARGUMENTS),
    ("least({n}, {i})", OF_ARGUMENTS),
    ("CAST({d} AS numeric(12,2))", OF_ARGUMENTS),
    ("coalesce({n}, {i})", OF_ARGUMENTS),
];

const DOUBLE: &[Form] = &[
    ("sqrt(abs({d}))", OF_ARGUMENTS),
    ("floor({d})", OF_ARGUMENTS),
    ("ceil({d})", OF_ARGUMENTS),
    ("round({d})", OF_ARGUMENTS),
    ("trunc({d})", OF_ARGUMENTS),
    ("sign({d})", 1),
    ("least({d}, {d})", OF_ARGUMENTS),
    ("CAST({n} AS double precision)", OF_ARGUMENTS),
    ("({d} + {i})", OF_ARGUMENTS),
];

const TEXT: &[Form] = &[
    ("lower(replace({s}, 'ü', 'u'))", 0),
    ("initcap(replace({s}, 'ü', 'u'))", 0),
    ("lpad({s}, 4, 'xy')", 0),
    ("rpad({s}, 3)", 0),
    ("repeat({s}, 2)", 0),
    ("reverse({s})", 0),
    ("split_part({s}, 'b', 1)", 0),
    ("split_part({s}, 'a', -1)", 0),
    ("translate({s}, 'ab%', 'x')", 0),
    ("concat({s}, {i}, {f})", 0),
    ("concat_ws('-', {s}, {i}, {s})", 0),
    ("ltrim({s}, 'ax')", 0),
    ("btrim({s}, 'ab')", 0),
    ("left({s}, -1)", 0),
    ("right({s}, 2)", 0),
    ("substr({s}, -1, 3)", 0),
    ("substring({s} FROM '[a-z]+')", 0),
    ("overlay({s} PLACING 'Z' FROM 1 FOR 2)", 0),
    ("regexp_replace({s}, '[ab]+', '<\\&>', 'g')", 0),
    ("regexp_replace({s}, '^(.)(.*)$', '\\2\\1')", 0),
    ("regexp_substr({s}, 'a.')", 0),
    ("md5({s})", 0),
    ("to_char({m}, 'YYYY-MM-DD HH24:MI:SS.US')", 0),
    ("to_char({m}, 'FMDay, FMDDth FMMonth, IYYY-IW, HH12 am')", 0),
    ("to_char({D}, 'Dy DD Mon YY, Q, DDD')", 0),
    ("to_char({i}, 'FM999,990')", 0),
    ("to_char({n}, 'S99990.00')", 0),
    ("format('%s|%10s|%-3s|%L', {s}, {i}, {f}, {s})", 0),
    ("quote_literal({s})", 0),
    ("quote_nullable({s})", 0),
    ("to_hex({i})", 0),
    ("chr(97 + abs({i} % 20))", 0),
    ("encode({y}, 'hex')", 0),
    ("encode({y}, 'base64')", 0),
    ("CAST({D} AS text)", 0),
    ("CAST({m} AS text)", 0),
    ("CAST({z} AS text)", 0),
    ("CAST({u} AS text)", 0),
    ("CAST({f} AS text)", 0),
    ("({s} || {i})", 0),
    ("({D} || {s})", 0),
    ("greatest({s}, {s})", 0),
    ("array_to_string(string_to_array({s}, 'a'), '+', '*')", 0),
    ("array_to_string(array_remove(ARRAY[{s}, {s}], 'a'), ',')", 0),
    ("jsonb_typeof({j})", 0),
    ("(ARRAY[{s}, {s}])[2]", 0),
    ("CAST({s} AS varchar(2))", 0),
];

const TIMESTAMP: &[Form] = &[
    ("date_trunc('week', {m})", 0),
    ("date_trunc('month', {m})", 0),
    ("date_bin('15 minutes', {m}, TIMESTAMP '2026-01-01')", 0),
    ("CAST({D} AS timestamp)", 0),
    ("({D} + INTERVAL '1 month')", 0),
    ("({m} + INTERVAL '1 month 2 hours')", 0),
    ("({m} - ({i} % 1000) * INTERVAL '1 minute')", 0),
    ("greatest({m}, {m})", 0),
    ("({z} AT TIME ZONE 'Europe/Berlin')", 0),
    ("make_timestamp(2026, 1 + abs({i} % 12), 1, 0, 0, 1.5)", 0),
    ("least({m}, {D})", 0),
];

const SPAN: &[Form] = &[
    ("({m} - {m})", 0),
    ("({z} - {z})", 0),
    ("age({m}, {m})", 0),
    ("({p} * 2)", 0),
    ("justify_interval({p})", 0),
    ("make_interval(0, 0, 0, {i} % 5)", 0),
    ("least({p}, {p})", 0),
];

const DATE: &[Form] = &[
    ("CAST({m} AS date)", 0),
    ("({D} + 7)", 0),
    ("({D} - {i} % 100)", 0),
    ("CAST(date_trunc('month', {D}) AS date)", 0),
    ("make_date(2026, 1 + abs({i} % 12), 1)", 0),
    ("greatest({D}, {D})", 0),
    ("to_date(to_char({D}, 'YYYYMMDD'), 'YYYYMMDD')", 0),
    ("CAST(date_trunc('month', {D}) + INTERVAL '1 month - 1 day' AS date)", 0),
    ("CAST({z} AS date)", 0),
];

const ZONED: &[Form] = &[
    ("({m} AT TIME ZONE 'UTC')", 0),
    ("({m} AT TIME ZONE 'America/New_York')", 0),
    ("date_trunc('hour', {z})", 0),
    ("date_trunc('day', {z}, 'Asia/Tokyo')", 0),
    ("({z} + INTERVAL '1 day')", 0),
    ("({z} - INTERVAL '90 minutes')", 0),
    ("CAST({D} AS timestamptz)", 0),
    ("CAST({m} AS timestamptz)", 0),
    ("to_timestamp({i})", 0),
    ("greatest({z}, {z})", 0),
];

const BYTES: &[Form] = &[
    ("convert_to({s}, 'UTF8')", 0),
    ("decode(md5({s}), 'hex')", 0),
    ("({y} || {y})", 0),
    ("substr({y}, 1, 2)", 0),
    ("sha256({y})", 0),
    ("overlay({y} PLACING {y} FROM 1)", 0),
];

const UUID: &[Form] = &[("CAST(md5({s}) AS uuid)", 0), ("greatest({u}, {u})", 0)];

const JSON: &[Form] = &[
    ("to_jsonb({i})", 0),
    ("to_jsonb({s})", 0),
    ("to_jsonb({f})", 0),
    ("jsonb_build_object('k', {s}, 'n', {i})", 0),
    ("jsonb_build_array({s}, {i}, {f})", 0),
    ("({j} -> 'a')", 0),
    ("({j} -> 0)", 0),
    ("({j} #> '{b,0}')", 0),
    ("jsonb_strip_nulls({j})", 0),
    ("jsonb_path_query_first({j}, '$.a')", 0),
    ("jsonb_path_query_array({j}, '$.*')", 0),
];

/// Shown, never computed with: the two systems may differ in the last bits.
const NEAR: &[(&str, Ty)] = &[
    ("ln(abs({d}) + 1)", Ty::Double),
    ("exp({d} / 100)", Ty::Double),
    ("sin({d})", Ty::Double),
    ("atan2({d}, {d})", Ty::Double),
    ("cbrt({d})", Ty::Double),
    ("power(abs({d}), 1.5)", Ty::Double),
    ("degrees({d})", Ty::Double),
    ("date_part('epoch', {m})", Ty::Double),
    ("sqrt(abs({n}))", Ty::Numeric(16)),
    ("ln(abs({n}) + 1)", Ty::Numeric(16)),
    ("extract(epoch FROM {m})", Ty::Numeric(6)),
    ("extract(second FROM {z})", Ty::Numeric(6)),
];

/// Arrays: shown, too.
const ARRAYS: &[&str] = &[
    "ARRAY[{i}, {i}]",
    "ARRAY[{s}, NULL]",
    "string_to_array({s}, 'b', 'a')",
    "array_append(ARRAY[{i}], {i})",
    "array_cat(ARRAY[{s}], ARRAY[{s}, {s}])",
    "array_remove(ARRAY[{i}, 1, {i}], 1)",
    "array_replace(ARRAY[{s}, 'a'], 'a', {s})",
    "regexp_split_to_array({s}, '[a ]')",
    "regexp_match({s}, '(a)(b)?')",
    "(ARRAY[{m}, {m}])[1:1]",
    "ARRAY[{D}, {D}]",
];

fn forms(ty: Ty) -> &'static [Form] {
    match ty {
        Ty::Bool => BOOL,
        Ty::Int => INT,
        Ty::BigInt => BIGINT,
        Ty::Numeric(_) => NUMERIC,
        Ty::Double => DOUBLE,
        Ty::Text | Ty::Array => TEXT,
        Ty::Timestamp => TIMESTAMP,
        Ty::Span => SPAN,
        Ty::Date => DATE,
        Ty::Zoned => ZONED,
        Ty::Bytes => BYTES,
        Ty::Uuid => UUID,
        Ty::Json => JSON,
    }
}

/// The type that a hole's letter stands for.
fn hole(letter: &str) -> Option<Ty> {
    Some(match letter {
        "f" => Ty::Bool,
        "i" => Ty::Int,
        "b" => Ty::BigInt,
        "n" => Ty::Numeric(2),
        "d" => Ty::Double,
        "s" => Ty::Text,
        "m" => Ty::Timestamp,
        "p" => Ty::Span,
        "j" => Ty::Json,
        "D" => Ty::Date,
        "z" => Ty::Zoned,
        "y" => Ty::Bytes,
        "u" => Ty::Uuid,
        _ => return None,
    })
}

/// A template with its holes filled: the text, the most digits and the largest scale among what went in.
fn filled(rng: &mut Rng, scope: &[Col], form: &str, depth: usize) -> (String, u8, u8) {
    let (mut sql, mut rest, mut digits, mut scale) = (String::new(), form, 1, 0);
    while let Some((before, behind)) = rest.split_once('{') {
        sql.push_str(before);
        let ty = behind.split_once('}').and_then(|(letter, after)| Some((hole(letter)?, after)));
        let Some((ty, after)) = ty else {
            sql.push('{');
            rest = behind;
            continue;
        };
        let given = value(rng, scope, ty, depth);
        digits = digits.max(given.digits);
        if let Ty::Numeric(s) = given.ty {
            scale = scale.max(s);
        }
        // a bare word or NULL has no type yet, and many of these have more than one to choose from
        let is_bare = given.sql.starts_with('\'');
        sql.push_str(&if is_bare { format!("CAST({} AS text)", given.sql) } else { given.sql });
        rest = after;
    }
    sql.push_str(rest);
    (sql, digits, scale)
}

/// An exact expression of this type, from a template. Where it could grow beyond the type, a leaf.
pub(super) fn call(rng: &mut Rng, scope: &[Col], ty: Ty, depth: usize) -> Expr {
    let all = forms(ty);
    let (form, bound) = all[rng.below(all.len())];
    let (sql, of_arguments, scale) = filled(rng, scope, form, depth);
    // rounding may add one
    let digits = if bound == OF_ARGUMENTS { of_arguments + 1 } else { bound };
    let (given, digits_max) = match ty {
        Ty::Int => (ty, expr::INT_DIGITS),
        Ty::BigInt => (ty, expr::BIGINT_DIGITS),
        Ty::Double => (ty, expr::DOUBLE_DIGITS),
        Ty::Numeric(_) => (Ty::Numeric(scale.max(2)), expr::NUMERIC_DIGITS - scale.max(2)),
        Ty::Array => (Ty::Text, u8::MAX),
        ty => (ty, u8::MAX),
    };
    // a cast to numeric(12,2) has room for ten digits
    if digits > digits_max || scale > 8 || (matches!(ty, Ty::Numeric(_)) && digits > 9) {
        return expr::leaf(rng, scope, ty);
    }
    Expr { sql, ty: given, digits, exact: true }
}

/// A condition.
pub(super) fn condition(rng: &mut Rng, scope: &[Col], depth: usize) -> String {
    let form = BOOL[rng.below(BOOL.len())].0;
    filled(rng, scope, form, depth).0
}

/// What is shown and nothing more: a number that is near, or an array.
pub(super) fn shown(rng: &mut Rng, scope: &[Col]) -> Expr {
    if rng.percent(50) {
        let form = ARRAYS[rng.below(ARRAYS.len())];
        let (sql, ..) = filled(rng, scope, form, 1);
        return Expr { sql, ty: Ty::Array, digits: 0, exact: true };
    }
    let (form, ty) = NEAR[rng.below(NEAR.len())];
    let (sql, ..) = filled(rng, scope, form, 1);
    Expr { sql, ty, digits: 11, exact: false }
}

#[cfg(test)]
mod tests {
    use super::{ARRAYS, NEAR, filled, forms};
    use crate::generate::Ty;
    use crate::rng::Rng;

    #[test]
    fn no_hole_is_left_open() {
        let types = [
            Ty::Bool,
            Ty::Int,
            Ty::BigInt,
            Ty::Numeric(2),
            Ty::Double,
            Ty::Text,
            Ty::Timestamp,
            Ty::Span,
            Ty::Date,
            Ty::Zoned,
            Ty::Bytes,
            Ty::Uuid,
            Ty::Json,
        ];
        let mut rng = Rng::new(1);
        let of_types = types.iter().flat_map(|ty| forms(*ty).iter().map(|(form, _)| *form));
        for form in of_types.chain(NEAR.iter().map(|(form, _)| *form)).chain(ARRAYS.iter().copied()) {
            let (sql, ..) = filled(&mut rng, &[], form, 0);
            let open = sql.replace("'{b,0}'", "");
            assert!(!open.contains('{') || open.contains("jsonb"), "{sql}");
            assert_eq!(sql.matches('(').count(), sql.matches(')').count(), "{sql}");
        }
    }
}
