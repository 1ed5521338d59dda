//! Parameters of a plan that is kept: values that it is given anew for each run.
//!
//! ```text
//!   WHERE id = $1   ─ planned ▶  id = Placeholder("$1": integer)   optimised as any plan, nothing is computed of the value
//!                   ─ opened  ▶  id = $1()                         a function that reads its slot while the plan runs
//!                   ─ filled  ▶  slots = [5], run, slots = [8], run ..
//! ```
//! Invariant: a plan has its values for one run at a time ([`Slots::fill`]), so no run ever sees another one's. Cost of a value: a lock that
//! nobody else holds and a copy of it, once for each batch of rows.

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        Result, ScalarValue, exec_datafusion_err, plan_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::{Placeholder, ScalarFunction},
        expr_rewriter::NamePreserver,
    },
};
use parking_lot::RwLock;
use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What the parameters of one plan are, from `$1` on.
#[derive(Debug)]
pub struct Slots {
    types: Vec<DataType>,
    values: RwLock<Vec<ScalarValue>>,
    taken: AtomicBool,
}

/// The right to run the plan with the values that it was given; without it they are another's.
#[derive(Debug)]
pub struct Filled(Arc<Slots>);

impl Drop for Filled {
    fn drop(&mut self) {
        // what was a client's is not kept with the plan
        self.0.values.write().clear();
        self.0.taken.store(false, Ordering::Release);
    }
}

impl Slots {
    /// Of parameters of these types, without values.
    #[must_use]
    pub fn new(types: Vec<DataType>) -> Arc<Slots> {
        Arc::new(Slots { types, values: RwLock::default(), taken: AtomicBool::new(false) })
    }

    /// Their types.
    #[must_use]
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Gives the plan values, for as long as what is returned lives. `None` while another run has it, and for values of other types.
    #[must_use]
    pub fn fill(self: &Arc<Slots>, values: &[ScalarValue]) -> Option<Filled> {
        if !values.iter().map(ScalarValue::data_type).eq(self.types.iter().cloned()) {
            return None;
        }
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        *self.values.write() = values.to_vec();
        Some(Filled(Arc::clone(self)))
    }

    /// Whether a run has it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// The value of the parameter at a position from 0.
    ///
    /// # Errors
    /// A plan that nobody has given values.
    pub fn value(&self, at: usize) -> Result<ScalarValue> {
        let value = self.values.read().get(at).cloned();
        value.ok_or_else(|| exec_datafusion_err!("parameter ${} has no value", at + 1))
    }
}

/// A parameter in a plan that can run.
#[derive(Debug)]
struct Param {
    at: usize,
    name: String,
    slots: Arc<Slots>,
    signature: Signature,
}

impl PartialEq for Param {
    fn eq(&self, other: &Param) -> bool {
        self.at == other.at && Arc::ptr_eq(&self.slots, &other.slots)
    }
}

impl Eq for Param {}

impl Hash for Param {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
        Arc::as_ptr(&self.slots).hash(state);
    }
}

impl ScalarUDFImpl for Param {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.slots.types[self.at].clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.slots.value(self.at).map(ColumnarValue::Scalar)
    }
}

/// An optimised plan whose parameters read these slots. What the optimiser knows of a parameter is its type, so a plan is opened last.
///
/// # Errors
/// A parameter that the slots do not have, or have with another type.
pub fn open(plan: LogicalPlan, slots: &Arc<Slots>) -> Result<LogicalPlan> {
    let opened = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            Ok(e.transform_up(|e| slot(e, slots))?.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(opened.data)
}

fn slot(expr: Expr, slots: &Arc<Slots>) -> Result<Transformed<Expr>> {
    let Expr::Placeholder(placeholder) = &expr else { return Ok(Transformed::no(expr)) };
    let Some(at) = position(placeholder) else { return plan_err!("{expr} is not the number of a parameter") };
    let ty = placeholder.field.as_ref().map(|f| f.data_type());
    if slots.types.get(at).is_none_or(|wanted| Some(wanted) != ty) {
        return plan_err!("parameter {expr} is of type {ty:?}");
    }
    // volatile: nothing computes it before the plan runs
    let signature = Signature::exact(vec![], Volatility::Volatile);
    let param = Param { at, name: placeholder.id.clone(), slots: Arc::clone(slots), signature };
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(param)), vec![]))))
}

fn position(placeholder: &Placeholder) -> Option<usize> {
    placeholder.id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Whether an expression is a parameter, of a plan that is opened or not.
#[must_use]
pub fn is_param(expr: &Expr) -> bool {
    matches!(expr, Expr::Placeholder(p) if p.field.is_some()) || of(expr).is_some()
}

/// Where the value of a parameter in an opened plan is.
#[must_use]
pub fn of(expr: &Expr) -> Option<(usize, &Arc<Slots>)> {
    let Expr::ScalarFunction(f) = expr else { return None };
    f.func.inner().downcast_ref::<Param>().map(|param| (param.at, &param.slots))
}
