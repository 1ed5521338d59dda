//! LIKE for DataFusion's executor: Arrow's kernel lets a pattern end in its escape character and knows no escape but the backslash.
//! Views have LIKE as an expression of their own ([`crate::scalar::Scalar::Like`]); both match by [`crate::eval::LikePattern`].

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

use super::{function, regexp};

/// The rule that puts the function in.
#[derive(Debug)]
pub(super) struct LikeCalls;

impl AnalyzerRule for LikeCalls {
    fn name(&self) -> &str {
        "like_calls"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|p| {
            let names = NamePreserver::new(&p);
            p.map_expressions(|e| {
                let name = names.save(&e);
                Ok(e.transform_up(called)?.update_data(|e| name.restore(e)))
            })
        })?;
        Ok(rewritten.data)
    }
}

fn called(e: Expr) -> Result<Transformed<Expr>> {
    let Expr::Like(like) = e else { return Ok(Transformed::no(e)) };
    let def = if like.case_insensitive { &regexp::ILIKE } else { &regexp::LIKE };
    let escape = like.escape_char.unwrap_or('\\').to_string();
    let matched = function(def).call(vec![*like.expr, *like.pattern, lit(escape)]);
    Ok(Transformed::yes(if like.negated { Expr::Not(Box::new(matched)) } else { matched }))
}
