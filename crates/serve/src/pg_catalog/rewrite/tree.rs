//! Small pieces of syntax.

use regauge_plan::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Value,
};

/// `name(args)`
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: object_name(&[name]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// A name of these parts.
pub fn object_name(parts: &[&str]) -> ObjectName {
    ObjectName(parts.iter().map(|p| ObjectNamePart::Identifier(Ident::new(*p))).collect())
}

/// Parts of a name as PostgreSQL folds them.
pub fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect()
}

/// PostgreSQL's folding.
pub fn fold(i: &Ident) -> String {
    if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() }
}

/// Takes an expression out of its place.
pub fn take(e: &mut Expr) -> Expr {
    std::mem::replace(e, Expr::value(Value::Null))
}

/// The text of a string literal.
pub fn literal(e: &Expr) -> Option<&str> {
    match e {
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s) | Value::EscapedStringLiteral(s) => Some(s),
            _ => None,
        },
        Expr::Nested(e) => literal(e),
        _ => None,
    }
}

/// A function called without modifiers: its name's parts and arguments.
pub fn plain_call(e: &Expr) -> Option<(Vec<String>, Vec<Expr>)> {
    let Expr::Function(f) = e else { return None };
    let FunctionArguments::List(list) = &f.args else { return None };
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    Some((parts(&f.name), list.args.iter().map(arg).collect::<Option<_>>()?))
}
