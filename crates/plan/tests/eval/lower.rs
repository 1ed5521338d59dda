//! A session as batch queries have it, and the way from an analysed DataFusion expression to a `Scalar`: written apart from the
//! crate's own lowering, so that these tests judge functions and evaluator alone.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::expr::{BinaryExpr, Case};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::prelude::{SessionConfig, SessionContext};
use regauge_plan::functions::{self, EvalError, udf::PgFunction};
use regauge_plan::scalar::{CompareOp, IsTest, Scalar};
use regauge_plan::value::Value;
use std::sync::Arc;

pub fn session(batches: Vec<RecordBatch>) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(1);
    let builder = SessionStateBuilder::new().with_config(config).with_default_features();
    let context = SessionContext::new_with_state(functions::install(builder).build());
    if let Some(first) = batches.first() {
        let table = MemTable::try_new(first.schema(), vec![batches]).unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
    }
    context
}

/// The one expression of `SELECT expr FROM t`, as the analyser leaves it, with the schema it stands over.
pub fn analysed(context: &SessionContext, plan: LogicalPlan) -> Result<(Expr, DFSchema), EvalError> {
    let state = context.state();
    let plan = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(|e| EvalError::from_datafusion(&e))?;
    let LogicalPlan::Projection(p) = plan else { panic!("no projection: {plan}") };
    Ok((p.expr[0].clone(), p.input.schema().as_ref().clone()))
}

pub fn lower(expr: &Expr, schema: &DFSchema) -> Scalar {
    let go = |e: &Expr| lower(e, schema);
    let boxed = |e: &Expr| Box::new(lower(e, schema));
    let all = |es: &[Expr]| es.iter().map(|e| lower(e, schema)).collect::<Vec<_>>();
    let ty = |e: &Expr| e.get_type(schema).unwrap();
    let is = |test, negated, e: &Expr| Scalar::Is { test, negated, arg: boxed(e) };
    match expr {
        Expr::Alias(a) => go(&a.expr),
        Expr::Column(c) => Scalar::Column(schema.index_of_column(c).unwrap()),
        Expr::Literal(v, _) if v.data_type() == DataType::Null => Scalar::Literal(Value::null(DataType::Null)),
        Expr::Literal(v, _) => Scalar::Literal(Value::from_scalar(v).unwrap_or_else(|| panic!("literal {v:?}"))),
        Expr::Cast(c) => Scalar::Cast { arg: boxed(&c.expr), to: c.field.data_type().clone() },
        Expr::ScalarFunction(f) => {
            if let Some(to) = functions::cast_target(&f.func) {
                return Scalar::Cast { arg: boxed(&f.args[0]), to: to.clone() };
            }
            if f.func.name() == "coalesce" {
                return Scalar::Coalesce(all(&f.args));
            }
            let known = f.func.inner().downcast_ref::<PgFunction>().is_some() || functions::BORROWED.contains(&f.func.name());
            assert!(known, "{} is not ours", f.func.name());
            Scalar::Call { func: f.func.name().to_string(), args: all(&f.args), ty: ty(expr) }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let op = match op {
                Operator::And => return Scalar::And(vec![go(left), go(right)]),
                Operator::Or => return Scalar::Or(vec![go(left), go(right)]),
                Operator::Eq => CompareOp::Eq,
                Operator::NotEq => CompareOp::Ne,
                Operator::Lt => CompareOp::Lt,
                Operator::LtEq => CompareOp::Le,
                Operator::Gt => CompareOp::Gt,
                Operator::GtEq => CompareOp::Ge,
                Operator::IsDistinctFrom => CompareOp::Distinct,
                Operator::IsNotDistinctFrom => CompareOp::NotDistinct,
                other => panic!("operator {other}"),
            };
            Scalar::Compare { op, left: boxed(left), right: boxed(right) }
        }
        Expr::Not(e) => Scalar::Not(boxed(e)),
        Expr::IsNull(e) => is(IsTest::Null, false, e),
        Expr::IsNotNull(e) => is(IsTest::Null, true, e),
        Expr::IsTrue(e) => is(IsTest::True, false, e),
        Expr::IsNotTrue(e) => is(IsTest::True, true, e),
        Expr::IsFalse(e) => is(IsTest::False, false, e),
        Expr::IsNotFalse(e) => is(IsTest::False, true, e),
        Expr::IsUnknown(e) => is(IsTest::Unknown, false, e),
        Expr::IsNotUnknown(e) => is(IsTest::Unknown, true, e),
        Expr::Between(b) => {
            let side = |op, bound: &Expr| Scalar::Compare { op, left: boxed(&b.expr), right: boxed(bound) };
            let both = Scalar::And(vec![side(CompareOp::Ge, &b.low), side(CompareOp::Le, &b.high)]);
            if b.negated { Scalar::Not(Box::new(both)) } else { both }
        }
        Expr::InList(l) => Scalar::InList { arg: boxed(&l.expr), list: all(&l.list), negated: l.negated },
        Expr::Like(l) => Scalar::Like {
            arg: boxed(&l.expr),
            pattern: boxed(&l.pattern),
            escape: l.escape_char.or(Some('\\')),
            case_insensitive: l.case_insensitive,
            negated: l.negated,
        },
        Expr::Case(Case { expr: base, when_then_expr, else_expr }) => {
            let condition = |when: &Expr| match base {
                Some(b) => Scalar::Compare { op: CompareOp::Eq, left: boxed(b), right: boxed(when) },
                None => go(when),
            };
            Scalar::Case {
                branches: when_then_expr.iter().map(|(w, t)| (condition(w), go(t))).collect(),
                otherwise: else_expr.as_ref().map(|e| boxed(e)),
                ty: ty(expr),
            }
        }
        other => panic!("no lowering of {other:?}"),
    }
}
