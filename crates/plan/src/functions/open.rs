//! A string literal beside an array while a query is bound: DataFusion judges the types of a comparison before ours are settled, so until
//! then the literal says that it has the array's. [`super::semantics`] takes it out again.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::error::EvalError;
use super::udf::{Bound, Builtin};

/// `pg_unknown('text')`: a literal beside IS DISTINCT FROM, where no planner of ours is asked; until then it has no type.
pub static UNKNOWN: Builtin = Builtin {
    name: "pg_unknown",
    aliases: &[],
    bind: |types| Ok(Bound { args: types.to_vec(), ret: DataType::Null }),
    refine: None,
    kernel: |_| Err(EvalError::internal("an open literal was left in a plan")),
    safe: false,
};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Open {
    ty: DataType,
    signature: Signature,
}

/// The literal under this type.
pub(super) fn literal(of: Expr, ty: DataType) -> Expr {
    Arc::new(ScalarUDF::new_from_impl(Open { ty, signature: Signature::any(1, Volatility::Immutable) })).call(vec![of])
}

/// The literal again.
pub(super) fn inner(func: &ScalarUDF, args: &mut Vec<Expr>) -> Option<Expr> {
    let is_open = func.inner().downcast_ref::<Open>().is_some() || func.name() == UNKNOWN.name;
    args.pop_if(|_| is_open)
}

impl ScalarUDFImpl for Open {
    fn name(&self) -> &str {
        "pg_open"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args.first().map(|a| a.schema_name().to_string()).unwrap_or_default())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.ty.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("an open literal was left in a plan")
    }
}
