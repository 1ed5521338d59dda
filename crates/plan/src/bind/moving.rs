//! `'today'`, `'tomorrow'`, `'yesterday'` and `'now'` as dates, times and moments: words that ask for a clock, turned into what asks for
//! it. For statements alone: a view that kept such a word would keep the day that it was made on, so there it is no date (22007).

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value, VisitorMut,
};

/// Rewrites a statement's query. Linear.
pub(crate) fn spell(query: &mut Query) {
    struct V;
    impl VisitorMut for V {
        type Break = ();
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
            let spelt = match &*e {
                Expr::Cast { expr, data_type, .. } => word(expr).and_then(|w| moment(&w, data_type)),
                Expr::TypedString(typed) => match &typed.value.value {
                    Value::SingleQuotedString(text) => moment(&plain(text), &typed.data_type),
                    _ => None,
                },
                Expr::Function(f) if f.name.to_string() == crate::functions::assign::ASSIGN.name => {
                    let FunctionArguments::List(list) = &f.args else { return ControlFlow::Continue(()) };
                    match list.args.as_slice() {
                        [
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
                            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Cast { data_type, .. })),
                            _,
                        ] => word(value).and_then(|w| moment(&w, data_type)),
                        _ => None,
                    }
                }
                _ => None,
            };
            if let Some(spelt) = spelt {
                *e = spelt;
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut V);
}

fn plain(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

fn word(e: &Expr) -> Option<String> {
    match e {
        Expr::Nested(e) => word(e),
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) => Some(plain(text)),
            _ => None,
        },
        _ => None,
    }
}

fn moment(word: &str, ty: &DataType) -> Option<Expr> {
    let days = match word {
        "now" | "today" => 0,
        "tomorrow" => 1,
        "yesterday" => -1,
        _ => return None,
    };
    let day = format!("(CAST(now() AS date) + {days})");
    let text = match ty {
        DataType::Date => day,
        DataType::Timestamp(..) if word == "now" => format!("CAST(now() AS {ty})"),
        DataType::Timestamp(..) => format!("CAST({day} AS {ty})"),
        DataType::Time(..) if word == "now" => format!("CAST(now() AS {ty})"),
        _ => return None,
    };
    crate::parse::parse_expr(&text).ok()
}
