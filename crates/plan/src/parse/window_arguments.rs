//! `TUMBLE(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' HOUR)`: the names that the standard's table functions and Flink give
//! to the arguments of windows, in any order, become places.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, TableFactor};

use super::fold;
use crate::bind::window::Function as Window;

/// Puts the arguments of a window into its order. Names that it does not have stay, and are refused where it is planned.
pub(super) fn order(factor: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(args), .. } = factor else { return };
    let Some(window) = Window::of(&name.to_string()) else { return };
    let order: &[&str] = match window {
        Window::Tumble => &["data", "timecol", "size", "offset"],
        Window::Hop => &["data", "timecol", "slide", "size", "offset"],
        Window::Cumulate => &["data", "timecol", "step", "size", "offset"],
        Window::Session => &["data", "timecol", "gap"],
    };
    let place = |arg: &FunctionArg| match arg {
        FunctionArg::Named { name, .. } | FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => {
            let name = fold(name).to_lowercase();
            order.iter().position(|of| *of == name)
        }
        _ => None,
    };
    let is_named = |arg: &FunctionArg| !matches!(arg, FunctionArg::Unnamed(_));
    let n_named = args.args.iter().filter(|arg| is_named(arg)).count();
    let mut places: Vec<usize> = args.args.iter().filter_map(place).collect();
    places.sort_unstable();
    // each once, none left out between them
    if n_named == 0 || places.len() != n_named || places.iter().enumerate().any(|(i, at)| i != *at) {
        return;
    }
    args.args.sort_by_key(|arg| place(arg).unwrap_or(order.len()));
    for arg in &mut args.args {
        if let FunctionArg::Named { arg: value, .. } | FunctionArg::ExprNamed { arg: value, .. } = arg {
            *arg = FunctionArg::Unnamed(value.clone());
        }
    }
}
