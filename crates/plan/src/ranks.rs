//! `rank()`, `dense_rank()` (bigint) and `ntile()` (integer) with PostgreSQL's result types, where DataFusion's are unsigned. The work
//! is DataFusion's; what it answers is cast.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

const RETYPED: &[(&str, DataType)] = &[("rank", DataType::Int64), ("dense_rank", DataType::Int64), ("ntile", DataType::Int32)];

/// The functions, by DataFusion's names.
pub(crate) fn udwfs() -> Vec<Arc<WindowUDF>> {
    let defaults = SessionStateDefaults::default_window_functions();
    let retyped = defaults.into_iter().filter_map(|inner| {
        let (_, ty) = RETYPED.iter().find(|(name, _)| *name == inner.name())?;
        Some(Arc::new(WindowUDF::new_from_impl(Retyped { inner, ty: ty.clone() })))
    });
    retyped.collect()
}

#[derive(Debug)]
struct Retyped {
    inner: Arc<WindowUDF>,
    ty: DataType,
}

impl PartialEq for Retyped {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}
impl Eq for Retyped {}
impl Hash for Retyped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl WindowUDFImpl for Retyped {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }
    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.inner().expressions(args)
    }
    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Cast { inner: self.inner.inner().partition_evaluator(args)?, ty: self.ty.clone() }))
    }
    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.ty.clone(), true)))
    }
    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.inner().sort_options()
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }
}

#[derive(Debug)]
struct Cast {
    inner: Box<dyn PartitionEvaluator>,
    ty: DataType,
}

impl PartitionEvaluator for Cast {
    fn memoize(&mut self, state: &mut WindowAggState) -> DfResult<()> {
        self.inner.memoize(state)
    }
    fn get_range(&self, idx: usize, n_rows: usize) -> DfResult<Range<usize>> {
        self.inner.get_range(idx, n_rows)
    }
    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> DfResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, num_rows)?, &self.ty)?)
    }
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> DfResult<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.ty)
    }
    fn evaluate_all_with_rank(&self, num_rows: usize, ranks: &[Range<usize>]) -> DfResult<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(num_rows, ranks)?, &self.ty)?)
    }
    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }
    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }
    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
