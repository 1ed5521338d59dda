//! Names of an answer's columns, as PostgreSQL gives them: the column's, the function's, the type's of a cast, `?column?`.
//!
//! The planner names an expression after its text, and needs names that differ; people and drivers see these instead. They are put on
//! the schema that goes with the rows, by position: what stands left of a wildcard counts from the left, what stands right of the
//! last one from the right, and between two wildcards the planner's names stay.

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{self, Expr, SelectItem};
use std::sync::Arc;

const UNKNOWN: &str = "?column?";

/// The answer's columns under their names for people.
pub(super) fn of_query(query: &ast::Query, schema: &SchemaRef) -> SchemaRef {
    match items(&query.body) {
        Some(items) => of_items(items, schema),
        None => schema.clone(),
    }
}

/// The same for RETURNING.
pub(super) fn of_items(items: &[SelectItem], schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if !items.iter().any(wild) && items.len() != fields.len() {
        return schema.clone();
    }
    let named = items.iter().zip(fields.iter_mut());
    named.take_while(|(item, _)| !wild(item)).for_each(|(item, field)| name(item, field));
    if items.iter().any(wild) {
        let named = items.iter().rev().zip(fields.iter_mut().rev());
        named.take_while(|(item, _)| !wild(item)).for_each(|(item, field)| name(item, field));
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A union's columns are named by its first branch.
fn items(body: &ast::SetExpr) -> Option<&[SelectItem]> {
    match body {
        ast::SetExpr::Select(select) => Some(&select.projection),
        ast::SetExpr::Query(query) => items(&query.body),
        ast::SetExpr::SetOperation { left, .. } => items(left),
        _ => None,
    }
}

fn name(item: &SelectItem, field: &mut Arc<Field>) {
    if let SelectItem::UnnamedExpr(expr) = item {
        let heading = heading(expr).map_or_else(|| UNKNOWN.to_owned(), |h| h.name);
        *field = Arc::new(field.as_ref().clone().with_name(heading));
    }
}

struct Heading {
    name: String,
    /// It is a type's name or `case`: a better one within goes first.
    weak: bool,
}

fn strong(name: impl Into<String>) -> Option<Heading> {
    Some(Heading { name: name.into(), weak: false })
}

fn ident(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// What PostgreSQL calls it, if it has a name at all.
fn heading(expr: &Expr) -> Option<Heading> {
    match expr {
        Expr::Identifier(name) => strong(ident(name)),
        Expr::CompoundIdentifier(names) => strong(ident(names.last()?)),
        Expr::Function(function) => strong(function.name.0.last()?.as_ident().map(ident)?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => heading(inner),
        Expr::Cast { expr, data_type, .. } => cast(heading(expr), data_type),
        Expr::TypedString(typed) => cast(None, &typed.data_type),
        Expr::Interval(_) => Some(Heading { name: "interval".to_owned(), weak: true }),
        Expr::Case { else_result, .. } => {
            let within = else_result.as_deref().and_then(heading).filter(|h| !h.weak);
            within.or_else(|| Some(Heading { name: "case".to_owned(), weak: true }))
        }
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Subquery(query) => match items(&query.body)?.first()? {
            SelectItem::UnnamedExpr(expr) => heading(expr),
            SelectItem::ExprWithAlias { alias, .. } => strong(ident(alias)),
            _ => None,
        },
        _ => None,
    }
}

fn cast(within: Option<Heading>, ty: &ast::DataType) -> Option<Heading> {
    within.filter(|h| !h.weak).or_else(|| Some(Heading { name: type_name(ty), weak: true }))
}

/// The name that a type has in PostgreSQL's catalog.
pub(super) fn type_name(ty: &ast::DataType) -> String {
    let text = ty.to_string().to_lowercase();
    let plain = text.split('(').next().unwrap_or_default().trim();
    let rest = text.rsplit_once(')').map(|(_, rest)| rest.trim()).unwrap_or_default();
    let whole = [plain, rest].join(" ");
    match whole.trim() {
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" => "int4",
        "bigint" => "int8",
        "real" => "float4",
        "double precision" | "double" | "float" => "float8",
        "decimal" | "dec" => "numeric",
        "character varying" | "char varying" => "varchar",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time without time zone" => "time",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    fn names(sql: &str, n: usize) -> Vec<String> {
        let fields: Vec<Field> = (0..n).map(|i| Field::new(format!("c{i}"), DataType::Int64, true)).collect();
        let schema = of_query(&crate::syntax::query(sql).expect("query"), &Arc::new(Schema::new(fields)));
        schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    #[test]
    fn expressions_are_named_as_postgres_names_them() {
        let sql = "SELECT 1, a + b, t.A, \"Q\", count(*), x::bigint, (2)::numeric(5,2), CAST('x' AS varchar(3)), date '2020-01-01', \
                   CASE WHEN a THEN 1 END, CASE WHEN a THEN 1 ELSE b END, extract(year FROM a), (SELECT max(z) FROM u), \
                   timestamptz '2020-01-01', sum(a) OVER (), -1, 'x' AS y FROM t";
        let expected = [
            "?column?",
            "?column?",
            "a",
            "Q",
            "count",
            "x",
            "numeric",
            "varchar",
            "date",
            "case",
            "b",
            "extract",
            "max",
            "timestamptz",
            "sum",
            "?column?",
            "c16",
        ];
        assert_eq!(names(sql, expected.len()), expected);
    }

    #[test]
    fn around_a_wildcard_names_count_from_both_ends() {
        assert_eq!(names("SELECT 1, *, count(*), 2 FROM t", 5), ["?column?", "c1", "c2", "count", "?column?"]);
        assert_eq!(names("SELECT max(a) FROM t UNION ALL SELECT b FROM u", 1), ["max"]);
    }
}
