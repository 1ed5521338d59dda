//! Whether the statement that this thread plans or computes is still wanted.
//!
//! Planning is one step of a statement, and so is a batch of rows: neither gives way, so nobody else can end it. Who polls a statement
//! [enters](Halt::enter) a test of its own (its client's wish, its time), and long loops [`check`] it. Nothing is entered where views are
//! kept up: there nothing is ended. A guard never lives across a wait: who polls enters anew. Cost: a thread's cell per call, the test
//! itself once in [`EACH`] calls.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::functions::{EvalError, EvalResult};

/// So many calls to one test.
const EACH: u32 = 64;

thread_local! {
    static HERE: RefCell<Option<Halt>> = const { RefCell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// A test of whether to stop.
#[derive(Clone)]
pub struct Halt(Arc<dyn Fn() -> bool + Send + Sync>);

impl Halt {
    /// `is_over` is asked often and must be quick.
    pub fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Halt {
        Halt(Arc::new(is_over))
    }

    /// From here on [`check`] asks this, until what is returned is dropped.
    pub fn enter(&self) -> Entered {
        Entered(HERE.replace(Some(self.clone())), PhantomData)
    }
}

/// Puts the test that was before back when it is dropped.
#[must_use = "the test holds as long as this lives"]
pub struct Entered(Option<Halt>, PhantomData<*const ()>);

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(self.0.take());
    }
}

/// For loops: asks now and then.
///
/// # Errors
/// 57014 when the statement is to end.
pub fn check() -> EvalResult<()> {
    let calls = CALLS.get().wrapping_add(1);
    CALLS.set(calls);
    if calls.is_multiple_of(EACH) { check_now() } else { Ok(()) }
}

/// For steps: asks at once.
///
/// # Errors
/// 57014 when the statement is to end.
pub fn check_now() -> EvalResult<()> {
    let is_over = HERE.with_borrow(|here| here.as_ref().is_some_and(|halt| (halt.0)()));
    if is_over { Err(EvalError::new("57014", "canceling statement due to user request")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_holds_until_its_guard_is_dropped() {
        assert!(check_now().is_ok());
        {
            let _over = Halt::new(|| true).enter();
            assert_eq!(check_now().map_err(|e| e.sqlstate), Err("57014"));
            let _wanted = Halt::new(|| false).enter();
            assert!(check_now().is_ok());
        }
        assert!(check_now().is_ok());
    }

    #[test]
    fn planning_hears_that_its_statement_is_over() {
        let list: Vec<String> = (2..500).map(|n| n.to_string()).collect();
        let query = format!("SELECT 1 IN ({})", list.join(", "));
        let query = crate::parse_query(&query, &crate::ParseLimits::default()).expect("reads");
        let plan =
            || crate::plan_view(&query, &NoRelations, &crate::PlanOptions::default()).map(|_| ()).map_err(|e| e.sqlstate());
        assert_eq!(plan(), Ok(()));
        let _over = Halt::new(|| true).enter();
        assert_eq!(plan(), Err("57014"));
    }

    struct NoRelations;

    impl crate::CatalogView for NoRelations {
        fn relation(&self, _: &crate::RelationName) -> Option<crate::RelationInfo> {
            None
        }
    }
}
