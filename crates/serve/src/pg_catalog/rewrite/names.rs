//! Functions lose their schema `pg_catalog`; `current_schema` and its kin need no parentheses.

use super::tree;
use regauge_plan::sqlparser::ast::{Expr, FunctionArguments, Ident};

/// Words that are functions without parentheses, and that the parser takes for columns.
const WORDS: &[&str] = &["current_schema", "current_catalog", "current_role", "current_user", "session_user"];

/// Whether an identifier is such a word.
pub fn is_session_word(i: &Ident) -> bool {
    i.quote_style.is_none() && WORDS.iter().any(|w| i.value.eq_ignore_ascii_case(w))
}

pub fn rewrite(e: &mut Expr) {
    match e {
        Expr::Identifier(i) if is_session_word(i) => *e = tree::call(&tree::fold(i), vec![]),
        Expr::Function(f) => {
            if let [schema, name] = tree::parts(&f.name).as_slice()
                && matches!(schema.as_str(), "pg_catalog" | "information_schema")
            {
                f.name = tree::object_name(&[name]);
            }
            // `user` and `current_user` come without an argument list.
            if matches!(f.args, FunctionArguments::None)
                && let [name] = tree::parts(&f.name).as_slice()
                && crate::pg_catalog::functions::is_system(name)
            {
                *e = tree::call(name, vec![]);
            }
        }
        _ => {}
    }
}
