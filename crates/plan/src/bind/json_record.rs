//! `jsonb_to_recordset(j) AS x(a int, b text)`, and its kin: rows of JSON with the columns that the query names.
//!
//! ```text
//!   .._to_recordset(j) AS x(a int, b jsonb)   ─▶   LATERAL (SELECT (v ->> 'a')::int AS a, (v -> 'b')::jsonb AS b FROM .._array_elements(j) AS e(v)) AS x
//!   .._to_record(j) AS x(..)                  ─▶   the same over the one value
//! ```
//! A field that is not there is NULL, as in PostgreSQL. Fields that are arrays are refused.

use datafusion::sql::sqlparser::ast::{DataType, FunctionArg, FunctionArgExpr, TableAlias, TableFactor};

use super::series::function_name;
use crate::error::PlanError;
use crate::parse::fold;

/// The function as a query, if it is one of these.
pub(super) fn spelt(factor: &TableFactor) -> Result<Option<TableFactor>, PlanError> {
    let (name, args, alias) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => (name, args, alias),
        _ => return Ok(None),
    };
    let name = function_name(name).unwrap_or_default();
    let (json, many) = match name.as_str() {
        "json_to_record" => ("json", false),
        "jsonb_to_record" => ("jsonb", false),
        "json_to_recordset" => ("json", true),
        "jsonb_to_recordset" => ("jsonb", true),
        _ => return Ok(None),
    };
    let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))], Some(alias)) = (args.as_slice(), alias) else { return Ok(None) };
    let mut items = vec![];
    for column in &alias.columns {
        let Some(ty) = &column.data_type else { return Ok(None) };
        items.push(item(&fold(&column.name), ty)?);
    }
    if items.is_empty() {
        return Ok(None);
    }
    let from = match many {
        true => format!("{json}_array_elements({arg}) AS \"__element\"(\"__value\")"),
        false => format!("(SELECT CAST({arg} AS {json}) AS \"__value\") AS \"__element\""),
    };
    let query = format!("SELECT {} FROM {from}", items.join(", "));
    let subquery = crate::parse::parse_query(&query, &crate::parse::ParseLimits::default())?;
    let alias = TableAlias { columns: vec![], ..alias.clone() };
    Ok(Some(TableFactor::Derived { lateral: true, subquery, alias: Some(alias), sample: None }))
}

fn item(name: &str, ty: &DataType) -> Result<String, PlanError> {
    let (key, shown) = (name.replace('\'', "''"), name.replace('"', "\"\""));
    let op = match ty {
        DataType::Array(_) => {
            let message = format!("column \"{name}\" of an array type is not offered in a definition of columns");
            return Err(PlanError::unsupported(message, "take it as jsonb, and its elements by jsonb_array_elements"));
        }
        DataType::JSON | DataType::JSONB => "->",
        _ => "->>",
    };
    Ok(format!("CAST((\"__value\" {op} '{key}') AS {ty}) AS \"{shown}\""))
}
