//! Types that the engine does not have: oid is bigint, name and "char" are text, `regclass` and its kin are functions.
//!
//! A `reg*` value is a number where it is compared and a name where it is shown: in a select list and where it is cast to text.

use super::tree;
use regauge_plan::sqlparser::ast::{DataType, Expr, ObjectName, SelectItem, Value};

/// Types whose values are oids with a name.
const NAMED_OIDS: &[&str] = &["regclass", "regtype", "regnamespace", "regrole", "regproc", "regprocedure", "regoper"];

/// Types that are text here.
const TEXTS: &[&str] = &[
    "name",
    "char",
    "cstring",
    "bpchar",
    "aclitem",
    "pg_node_tree",
    "json",
    "jsonb",
    "unknown",
    "sql_identifier",
    "character_data",
    "yes_or_no",
    "text",
    "varchar",
];

/// Types that are bigint here.
const OIDS: &[&str] = &["oid", "xid", "cid", "int8"];

/// The last part of a custom type's name, lower case.
fn custom(ty: &DataType) -> Option<String> {
    match ty {
        DataType::Custom(name, _) => last(name),
        DataType::JSON => Some("json".to_owned()),
        DataType::JSONB => Some("jsonb".to_owned()),
        DataType::Regclass => Some("regclass".to_owned()),
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    tree::parts(name).pop().map(|n| n.to_lowercase())
}

/// Whether only catalogue readers write this type.
pub fn is_system_type(ty: &DataType) -> bool {
    if let DataType::Custom(name, _) = ty
        && name.0.len() > 1
    {
        return true;
    }
    let known = |n: String| n != "json" && n != "jsonb" && target(&n).is_some() || NAMED_OIDS.contains(&n.as_str());
    custom(ty).is_some_and(known)
}

fn target(name: &str) -> Option<DataType> {
    let is = |list: &[&str]| list.contains(&name);
    Some(match name {
        n if is(TEXTS) && !n.is_empty() => DataType::Text,
        _ if is(OIDS) => DataType::BigInt(None),
        "int2" => DataType::SmallInt(None),
        "int4" | "cardinal_number" => DataType::Integer(None),
        "bool" => DataType::Boolean,
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "numeric" => DataType::Numeric(regauge_plan::sqlparser::ast::ExactNumberInfo::None),
        _ => return None,
    })
}

pub fn rewrite(e: &mut Expr) {
    let Expr::Cast { expr, data_type, .. } = e else { return };
    if matches!(data_type, DataType::Array(_)) || custom(data_type).is_some_and(|n| n == "int2vector" || n == "oidvector") {
        // Arrays of catalogues have their elements' types already.
        *e = tree::take(expr);
        return;
    }
    let name = custom(data_type);
    if let Some(name) = name.as_deref().filter(|n| NAMED_OIDS.contains(n)) {
        let function = match name {
            "regprocedure" | "regoper" => "regproc",
            other => other,
        };
        if function == "regproc" && tree::literal(expr).is_some_and(|name| name.parse::<i64>().is_err()) {
            // Functions have no oids here; where catalogues name one (`pg_type.typinput`) they hold its bare name.
            let bare = tree::literal(expr).map(|name| name.strip_prefix("pg_catalog.").unwrap_or(name).to_owned());
            *e = bare.map_or_else(|| tree::take(expr), |name| Expr::value(Value::SingleQuotedString(name)));
            return;
        }
        *e = tree::call(function, vec![tree::take(expr)]);
        return;
    }
    if let Some(to) = name.as_deref().and_then(target) {
        *data_type = to;
    }
    if matches!(data_type, DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_))
        && let Some(shown) = shown(expr)
    {
        *e = shown;
    }
}

/// `reg*` values of a select list are shown by name.
pub fn show(items: &mut [SelectItem]) {
    for item in items {
        let (SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) = item else { continue };
        if let Some(by_name) = shown(e) {
            *e = by_name;
        }
    }
}

/// The call that gives the name of what a `reg*` call gives the number of.
fn shown(e: &Expr) -> Option<Expr> {
    let e = if let Expr::Nested(inner) = e { inner } else { e };
    let (name, args) = tree::plain_call(e)?;
    let [name] = name.as_slice() else { return None };
    NAMED_OIDS.contains(&name.as_str()).then(|| tree::call(&format!("{name}_text"), args))
}
