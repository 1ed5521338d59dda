//! Walking through a parsed statement, compiled once.
//!
//! sqlparser's `visit` is generic over the visitor, and each visitor makes a copy of it for each of some nine hundred types of nodes: with fifty
//! visitors that was two thirds of this crate's machine code and most of its time in the compiler. [`Visit`] and [`VisitMut`] have the names
//! and the meaning of sqlparser's; below them goes one visitor that asks the real one through a table of functions. They take any
//! [`Visitor`] or [`VisitorMut`] as it is. A walk costs an indirect call for each node that a visitor can see.

use datafusion::sql::sqlparser::ast::{self, Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan};
use std::ops::ControlFlow;

pub use ast::{Visitor, VisitorMut};

/// Defines, for one of sqlparser's visitors: what can be called through a table of functions, the real visitor behind it, and the one that
/// sqlparser's walk is compiled for.
macro_rules! erased {
    ($hooks:ident, $kept:ident, $one:ident, $visitor:path, { $($hook:ident: $node:ty),+ $(,)? }) => {
        #[doc(hidden)]
        pub trait $hooks {
            $(fn $hook(&mut self, node: $node) -> ControlFlow<()>;)+
        }

        /// A visitor, and what it broke off with.
        struct $kept<'a, V: $visitor> {
            visitor: &'a mut V,
            broke: Option<V::Break>,
        }

        impl<V: $visitor> $hooks for $kept<'_, V> {
            $(fn $hook(&mut self, node: $node) -> ControlFlow<()> {
                match self.visitor.$hook(node) {
                    ControlFlow::Continue(()) => ControlFlow::Continue(()),
                    ControlFlow::Break(with) => {
                        self.broke = Some(with);
                        ControlFlow::Break(())
                    }
                }
            })+
        }

        struct $one<'a, 'b>(&'a mut (dyn $hooks + 'b));

        impl $visitor for $one<'_, '_> {
            type Break = ();
            $(fn $hook(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$hook(node)
            })+
        }
    };
}

erased!(Hooks, Kept, One, Visitor, {
    pre_visit_query: &Query, post_visit_query: &Query,
    pre_visit_select: &Select, post_visit_select: &Select,
    pre_visit_relation: &ObjectName, post_visit_relation: &ObjectName,
    pre_visit_table_factor: &TableFactor, post_visit_table_factor: &TableFactor,
    pre_visit_expr: &Expr, post_visit_expr: &Expr,
    pre_visit_statement: &Statement, post_visit_statement: &Statement,
    pre_visit_value: &ValueWithSpan, post_visit_value: &ValueWithSpan,
});
erased!(HooksMut, KeptMut, OneMut, VisitorMut, {
    pre_visit_query: &mut Query, post_visit_query: &mut Query,
    pre_visit_select: &mut Select, post_visit_select: &mut Select,
    pre_visit_relation: &mut ObjectName, post_visit_relation: &mut ObjectName,
    pre_visit_table_factor: &mut TableFactor, post_visit_table_factor: &mut TableFactor,
    pre_visit_expr: &mut Expr, post_visit_expr: &mut Expr,
    pre_visit_statement: &mut Statement, post_visit_statement: &mut Statement,
    pre_visit_value: &mut ValueWithSpan, post_visit_value: &mut ValueWithSpan,
});

/// A part of a statement that can be walked through.
pub trait Visit {
    #[doc(hidden)]
    fn each(&self, hooks: &mut dyn Hooks) -> ControlFlow<()>;

    /// Shows all nodes to the visitor, in sqlparser's order, until it breaks off.
    fn visit<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut kept = Kept { visitor, broke: None };
        let _ = self.each(&mut kept);
        kept.broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

/// As [`Visit`], for visitors that change what they see.
pub trait VisitMut {
    #[doc(hidden)]
    fn each_mut(&mut self, hooks: &mut dyn HooksMut) -> ControlFlow<()>;

    /// Shows all nodes to the visitor, in sqlparser's order, until it breaks off.
    fn visit<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut kept = KeptMut { visitor, broke: None };
        let _ = self.each_mut(&mut kept);
        kept.broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

/// Shows each expression of a part, inner ones first.
pub fn expressions_mut(part: &mut impl VisitMut, see: &mut dyn FnMut(&mut Expr)) {
    struct Each<'a>(&'a mut dyn FnMut(&mut Expr));
    impl VisitorMut for Each<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            (self.0)(expr);
            ControlFlow::Continue(())
        }
    }
    let _ = part.visit(&mut Each(see));
}

macro_rules! parts {
    ($($part:ty),+ $(,)?) => { $(
        impl Visit for $part {
            #[inline(never)]
            fn each(&self, hooks: &mut dyn Hooks) -> ControlFlow<()> {
                ast::Visit::visit(self, &mut One(hooks))
            }
        }

        impl VisitMut for $part {
            #[inline(never)]
            fn each_mut(&mut self, hooks: &mut dyn HooksMut) -> ControlFlow<()> {
                ast::VisitMut::visit(self, &mut OneMut(hooks))
            }
        }
    )+ };
}

parts!(
    Expr,
    Query,
    Select,
    Statement,
    TableFactor,
    ast::SelectItem,
    ast::TableWithJoins,
    ast::GroupByExpr,
    ast::OrderBy,
    ast::Distinct,
    ast::NamedWindowDefinition,
    ast::SetExpr
);

macro_rules! containers {
    ($($container:ident),+) => { $(
        impl<T: Visit> Visit for $container<T> {
            fn each(&self, hooks: &mut dyn Hooks) -> ControlFlow<()> {
                self.iter().try_for_each(|part| part.each(hooks))
            }
        }

        impl<T: VisitMut> VisitMut for $container<T> {
            fn each_mut(&mut self, hooks: &mut dyn HooksMut) -> ControlFlow<()> {
                self.iter_mut().try_for_each(|part| part.each_mut(hooks))
            }
        }
    )+ };
}

containers!(Vec, Option);

impl<T: Visit + ?Sized> Visit for Box<T> {
    fn each(&self, hooks: &mut dyn Hooks) -> ControlFlow<()> {
        (**self).each(hooks)
    }
}

impl<T: VisitMut + ?Sized> VisitMut for Box<T> {
    fn each_mut(&mut self, hooks: &mut dyn HooksMut) -> ControlFlow<()> {
        (**self).each_mut(hooks)
    }
}
