//! The functions themselves: their names, arguments and answers.
//!
//! What waits is computed before the other items of its SELECT, for all rows of a batch at once: so it is refused where a row might not
//! need it (CASE, COALESCE, AND, OR) and offered among the items of SELECT and in WHERE. Volatile: no plan is kept, no materialized view
//! has one of them.

use super::{Calls, Wish, not_there, shown};
use crate::{
    advisory::{Key, Mode as LockMode},
    error::{Error, Result, sqlstate as code},
    read::names::Scope,
    response::Notice,
    session::variables,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Float64Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType},
};
use async_trait::async_trait;
use datafusion::{
    common::{
        DataFusionError, Result as DfResult,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
        async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl},
    },
    sql::sqlparser::ast::{self, Visitor},
};
use regauge_plan::walk::Visit;
use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    SetConfig,
    CurrentSetting,
    Sleep,
    SleepFor,
    SleepUntil,
    Lock { mode: LockMode, of_transaction: bool, waits: bool },
    Unlock(LockMode),
    UnlockAll,
    Notify,
}

use LockMode::{Exclusive, Shared};

const fn lock(mode: LockMode, of_transaction: bool, waits: bool) -> Does {
    Does::Lock { mode, of_transaction, waits }
}

const CALLS: &[(&str, Does)] = &[
    ("set_config", Does::SetConfig),
    ("current_setting", Does::CurrentSetting),
    ("pg_sleep", Does::Sleep),
    ("pg_sleep_for", Does::SleepFor),
    ("pg_sleep_until", Does::SleepUntil),
    ("pg_advisory_lock", lock(Exclusive, false, true)),
    ("pg_advisory_lock_shared", lock(Shared, false, true)),
    ("pg_advisory_xact_lock", lock(Exclusive, true, true)),
    ("pg_advisory_xact_lock_shared", lock(Shared, true, true)),
    ("pg_try_advisory_lock", lock(Exclusive, false, false)),
    ("pg_try_advisory_lock_shared", lock(Shared, false, false)),
    ("pg_try_advisory_xact_lock", lock(Exclusive, true, false)),
    ("pg_try_advisory_xact_lock_shared", lock(Shared, true, false)),
    ("pg_advisory_unlock", Does::Unlock(Exclusive)),
    ("pg_advisory_unlock_shared", Does::Unlock(Shared)),
    ("pg_advisory_unlock_all", Does::UnlockAll),
    ("pg_notify", Does::Notify),
];

impl Does {
    fn of(name: &str) -> Option<Does> {
        CALLS.iter().find(|(known, _)| *known == name).map(|(_, does)| *does)
    }

    fn waits(self) -> bool {
        matches!(self, Does::Sleep | Does::SleepFor | Does::SleepUntil | Does::Lock { waits: true, .. })
    }

    /// Types of so many arguments.
    fn params(self, n: usize) -> Option<Vec<DataType>> {
        Some(match (self, n) {
            (Does::SetConfig, 3) => vec![DataType::Utf8, DataType::Utf8, DataType::Boolean],
            (Does::CurrentSetting, 1) => vec![DataType::Utf8],
            (Does::CurrentSetting, 2) => vec![DataType::Utf8, DataType::Boolean],
            (Does::Sleep, 1) => vec![DataType::Float64],
            (Does::SleepFor, 1) => vec![DataType::Interval(IntervalUnit::MonthDayNano)],
            (Does::SleepUntil, 1) => vec![regauge_plan::pgtypes::timestamptz()],
            (Does::Lock { .. } | Does::Unlock(_), 1) => vec![DataType::Int64],
            (Does::Lock { .. } | Does::Unlock(_), 2) => vec![DataType::Int32, DataType::Int32],
            (Does::UnlockAll, 0) => vec![],
            (Does::Notify, 2) => vec![DataType::Utf8, DataType::Utf8],
            _ => return None,
        })
    }

    fn result(self) -> DataType {
        match self {
            Does::Lock { waits: false, .. } | Does::Unlock(_) => DataType::Boolean,
            // PostgreSQL's void is shown as an empty text.
            _ => DataType::Utf8,
        }
    }
}
fn call_of(e: &ast::Expr) -> Option<Does> {
    let ast::Expr::Function(f) = e else { return None };
    f.name.0.last().and_then(|p| p.as_ident()).and_then(|i| Does::of(&i.value.to_lowercase()))
}

/// The functions among these that a query calls, bound to its scope; `current_setting` only beside `set_config`.
///
/// # Errors
/// 0A000 for one that waits where a row might not need it.
pub(crate) fn functions(query: &ast::Query, scope: &Scope) -> Result<Vec<Arc<ScalarUDF>>> {
    #[derive(Default)]
    struct V {
        found: bool,
        choices: usize,
        misplaced: bool,
    }
    fn chooses(e: &ast::Expr) -> bool {
        match e {
            ast::Expr::Case { .. } => true,
            ast::Expr::BinaryOp { op: ast::BinaryOperator::And | ast::BinaryOperator::Or, .. } => true,
            ast::Expr::Function(f) => f.name.to_string().eq_ignore_ascii_case("coalesce"),
            _ => false,
        }
    }
    impl Visitor for V {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            self.choices += usize::from(chooses(e));
            if let Some(does) = call_of(e).filter(|does| *does != Does::CurrentSetting) {
                self.found = true;
                self.misplaced |= does.waits() && self.choices > 0;
            }
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            self.choices -= usize::from(chooses(e));
            ControlFlow::Continue(())
        }
    }
    let Some(calls) = scope.about.calls.clone() else { return Ok(vec![]) };
    let mut v = V::default();
    let _ = query.visit(&mut v);
    if !v.found {
        return Ok(vec![]);
    }
    if v.misplaced {
        return Err(not_there());
    }
    calls.turn.lock().used = true;
    let kinds = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
    let bound = |(name, does): &(&'static str, Does)| {
        let call = Call {
            name,
            does: *does,
            calls: calls.clone(),
            settings: scope.about.settings.clone(),
            signature: Signature::one_of(kinds.clone(), Volatility::Volatile),
        };
        Arc::new(match does.waits() {
            true => AsyncScalarUDF::new(Arc::new(call)).into_scalar_udf(),
            false => ScalarUDF::new_from_impl(call),
        })
    };
    Ok(CALLS.iter().map(bound).collect())
}

/// Types of parameters that stand among their arguments, by `$n`.
pub(in crate::session) fn open_parameters(plan: &LogicalPlan) -> Vec<(String, DataType)> {
    let mut found = vec![];
    // The closures never fail, so neither does the traversal.
    let _ = plan.apply_with_subqueries(|node| {
        for e in node.expressions() {
            let _ = e.apply(|e| {
                if let Expr::ScalarFunction(f) = e
                    && let Some(params) = Does::of(f.func.name()).and_then(|does| does.params(f.args.len()))
                {
                    for (arg, ty) in f.args.iter().zip(params) {
                        if let Expr::Placeholder(p) = arg {
                            found.push((p.id.clone(), ty));
                        }
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// What a statement says and sets at most, however many rows call it.
const NOTICES_MAX: usize = 100;
const WISHES_MAX: usize = 1000;

#[derive(Debug)]
struct Call {
    name: &'static str,
    does: Does,
    calls: Arc<Calls>,
    /// As they were when the statement began.
    settings: Arc<BTreeMap<String, String>>,
    signature: Signature,
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.calls, &other.calls)
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn unknown(name: &str, types: impl Iterator<Item = DataType>) -> Error {
    let types: Vec<String> = types.map(|ty| crate::catalog::ty::name(&ty)).collect();
    Error::invalid("42883", format!("function {name}({}) does not exist", types.join(", ")))
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let fits = |(is, wanted): (&DataType, &DataType)| match (is, wanted) {
            (DataType::Utf8 | DataType::Null, _) => true,
            (DataType::Boolean, DataType::Boolean) => true,
            (DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Int64 | DataType::Int32) => true,
            (is, DataType::Float64) => is.is_numeric(),
            (DataType::Date32 | DataType::Timestamp(..), DataType::Timestamp(..)) => true,
            (is, wanted) => is == wanted,
        };
        match self.does.params(args.len()) {
            Some(params) if args.iter().zip(&params).all(fits) => Ok(self.does.result()),
            _ => Err(external(unknown(self.name, args.iter().cloned()))),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let (n, columns) = (args.number_rows, self.columns(&args).map_err(external)?);
        let answer = self.at_once(&columns, n).map_err(external)?;
        Ok(ColumnarValue::Array(answer))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Call {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let (n, columns) = (args.number_rows, self.columns(&args).map_err(external)?);
        let mut answers = Vec::with_capacity(n);
        for row in 0..n {
            let there = columns.iter().all(|c| c.is_valid(row));
            if there {
                self.wait(&columns, row).await.map_err(external)?;
            }
            answers.push(there.then_some(""));
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(answers))))
    }
}

impl Call {
    /// The arguments in the types that the function takes.
    fn columns(&self, args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
        let params = self.does.params(args.args.len()).unwrap_or_default();
        let cast = |(arg, ty): (&ColumnarValue, DataType)| {
            let column = arg.to_array(args.number_rows).map_err(Error::from_datafusion)?;
            if *column.data_type() == DataType::Null {
                return Ok(new_null_array(&ty, column.len()));
            }
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let number = column.data_type().is_numeric();
            cast_with_options(&column, &ty, &options).map_err(|e| match number {
                // A number that is no integer: PostgreSQL has no such function.
                true if ty == DataType::Int32 => unknown(self.name, args.args.iter().map(ColumnarValue::data_type)),
                true => Error::invalid("22003", format!("{}: {e}", self.name)),
                false => Error::invalid(code::INVALID_TEXT, format!("{}: {e}", self.name)),
            })
        };
        args.args.iter().zip(params).map(cast).collect()
    }

    fn at_once(&self, columns: &[ArrayRef], n: usize) -> Result<ArrayRef> {
        let there = |row: usize| columns.iter().all(|c| c.is_valid(row));
        Ok(match self.does {
            Does::SetConfig => {
                let set = |row| self.set_config(columns, row);
                Arc::new((0..n).map(set).collect::<Result<StringArray>>()?)
            }
            Does::CurrentSetting => {
                let ask = |row| if there(row) { self.current_setting(columns, row) } else { Ok(None) };
                Arc::new((0..n).map(ask).collect::<Result<StringArray>>()?)
            }
            Does::UnlockAll => {
                self.calls.locks.unlock_all(self.calls.owner);
                Arc::new(StringArray::from(vec![""; n]))
            }
            Does::Notify => {
                // A channel that is NULL is empty, which is none; a payload that is NULL is empty.
                let text = |at: usize, row: usize| {
                    let column = columns.get(at).filter(|c| c.is_valid(row));
                    column.map(|c| c.as_string::<i32>().value(row).to_owned()).unwrap_or_default()
                };
                (0..n).try_for_each(|row| self.calls.notify(text(0, row), text(1, row)))?;
                Arc::new(StringArray::from(vec![""; n]))
            }
            Does::Unlock(mode) => {
                let mut answers = Vec::with_capacity(n);
                for row in 0..n {
                    answers.push(there(row).then(|| self.unlock(key(columns, row), mode)));
                }
                Arc::new(BooleanArray::from(answers))
            }
            Does::Lock { mode, of_transaction, .. } => {
                let mut answers = Vec::with_capacity(n);
                for row in 0..n {
                    let take = || self.calls.try_lock(key(columns, row), mode, of_transaction);
                    answers.push(there(row).then(take).transpose()?);
                }
                Arc::new(BooleanArray::from(answers))
            }
            Does::Sleep | Does::SleepFor | Does::SleepUntil => return Err(not_there()),
        })
    }

    fn unlock(&self, key: Key, mode: LockMode) -> bool {
        let had = self.calls.locks.unlock(self.calls.owner, key, mode);
        let mut turn = self.calls.turn.lock();
        if had && let Some(n) = turn.kept.get_mut(&(key, mode)) {
            *n = n.saturating_sub(1);
        }
        if !had && turn.notices.len() < NOTICES_MAX {
            let what = format!("you don't own a lock of type {}", shown(mode));
            turn.notices.push(Notice::warning("01000", what));
        }
        had
    }

    fn set_config(&self, columns: &[ArrayRef], row: usize) -> Result<Option<String>> {
        let text = |at: usize| columns.get(at).filter(|c| c.is_valid(row)).map(|c| c.as_string::<i32>().value(row).to_owned());
        let name = text(0).ok_or_else(|| Error::invalid("22004", "SET requires parameter name"))?;
        let local = columns.get(2).is_some_and(|c| c.is_valid(row) && c.as_boolean().value(row));
        let (name, value) = variables::judged(&name, text(1).as_deref())?;
        let now = value.clone().or_else(|| variables::default_of(&name));
        let mut turn = self.calls.turn.lock();
        // The last one of a name counts.
        turn.wishes.retain(|wish| wish.name != name || wish.local != local);
        if turn.wishes.len() >= WISHES_MAX {
            let message = format!("one statement sets more than {WISHES_MAX} settings");
            return Err(Error::invalid("54000", message));
        }
        turn.wishes.push(Wish { name, value, local });
        Ok(Some(now.unwrap_or_default()))
    }

    fn current_setting(&self, columns: &[ArrayRef], row: usize) -> Result<Option<String>> {
        let name = columns.first().map(|c| c.as_string::<i32>().value(row).to_lowercase()).unwrap_or_default();
        let wished = self.calls.turn.lock().wishes.iter().rev().find(|w| w.name == name).map(|w| w.value.clone());
        let now = match wished {
            Some(value) => value.or_else(|| variables::default_of(&name)),
            None => self.settings.get(&name).cloned(),
        };
        let missing_ok = columns.get(1).is_some_and(|c| c.as_boolean().value(row));
        if now.is_some() || missing_ok { Ok(now) } else { Err(variables::unknown(&name)) }
    }

    async fn wait(&self, columns: &[ArrayRef], row: usize) -> Result<()> {
        let Some(first) = columns.first() else { return Ok(()) };
        let seconds = match self.does {
            Does::Lock { mode, of_transaction, .. } => return self.lock(key(columns, row), mode, of_transaction).await,
            Does::Sleep => first.as_primitive::<Float64Type>().value(row),
            Does::SleepFor => {
                let span = first.as_primitive::<IntervalMonthDayNanoType>().value(row);
                let days = f64::from(span.months) * 30.0 + f64::from(span.days);
                days * 86_400.0 + span.nanoseconds as f64 / 1e9
            }
            Does::SleepUntil => {
                let until_us = first.as_primitive::<TimestampMicrosecondType>().value(row) as f64;
                until_us / 1e6 - self.calls.clock.wall_ms() as f64 / 1e3
            }
            _ => return Err(not_there()),
        };
        /// Nobody waits for longer: a hundred years.
        const SECONDS_MAX: f64 = 3.2e9;
        if seconds > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(SECONDS_MAX))).await;
        }
        Ok(())
    }

    async fn lock(&self, key: Key, mode: LockMode, of_transaction: bool) -> Result<()> {
        let limit = self.settings.get("lock_timeout").and_then(|v| variables::duration(v)).filter(|d| !d.is_zero());
        self.calls.wait(key, mode, of_transaction, limit).await
    }
}

fn key(columns: &[ArrayRef], row: usize) -> Key {
    match columns {
        [a, b] => Key::Pair(a.as_primitive::<Int32Type>().value(row), b.as_primitive::<Int32Type>().value(row)),
        [a, ..] => Key::One(a.as_primitive::<Int64Type>().value(row)),
        [] => Key::One(0),
    }
}
