//! `TUMBLE(stream, size)` and its kin, which name no column: a stream that has a watermark has one time, and it is meant. So does what
//! Arroyo writes, `GROUP BY tumble(INTERVAL '1 minute')`, which the parser makes a window of the relation. Syntax alone, with what the
//! catalog says of the stream.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, TableFactor, VisitorMut};

use super::system_time::Shapes;
use super::window::Function as Window;
use crate::error::PlanError;
use crate::parse::relation_name;

/// Names the time of such windows, in this query and in all queries within it.
///
/// # Errors
/// 42601 where the relation has no watermark, or is no stream by name.
pub(crate) fn place(query: &mut Query, shapes: Shapes<'_>) -> Result<(), PlanError> {
    struct V<'a>(Shapes<'a>);
    impl VisitorMut for V<'_> {
        type Break = PlanError;
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<PlanError> {
            window(factor, self.0).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }
    }
    match VisitMut::visit(query, &mut V(shapes)) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn window(factor: &mut TableFactor, shapes: Shapes<'_>) -> Result<(), PlanError> {
    let TableFactor::Table { name, args: Some(args), .. } = factor else { return Ok(()) };
    let Some(function) = Window::of(&name.to_string()) else { return Ok(()) };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(over)), FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Interval(_))), ..] =
        args.args.as_slice()
    else {
        return Ok(());
    };
    let missing = || {
        PlanError::syntax(format!("{} does not say by which column {over} is windowed", function.name())).with_hint(
            "a stream's own time is the column of its WATERMARK FOR; else name one: TUMBLE(relation, ts, INTERVAL '1 hour')",
        )
    };
    let relation = match over {
        Expr::Identifier(one) => ObjectName::from(vec![one.clone()]),
        Expr::CompoundIdentifier(parts) => ObjectName::from(parts.clone()),
        _ => return Err(missing()),
    };
    let shape = shapes(&relation_name(&relation)?).ok_or_else(missing)?;
    let time = shape.watermark.and_then(|at| shape.schema.fields().get(at)).ok_or_else(missing)?;
    let time = Expr::Identifier(Ident::with_quote('"', time.name()));
    args.args.insert(1, FunctionArg::Unnamed(FunctionArgExpr::Expr(time)));
    Ok(())
}
