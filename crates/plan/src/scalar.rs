//! Scalar expressions of a FlowPlan: what a map, a filter or a join's residual computes from one row.
//!
//! A `Scalar` is a closed, typed value: columns are positions of the operator's input, functions are named by the
//! frozen name of an immutable function (`crate::functions`), every type is explicit. It is produced by lowering from
//! DataFusion's bound expressions and consumed by `crate::eval`; it knows neither names of columns nor schemas.
//!
//! Evaluation is PostgreSQL's: NULL in, NULL out unless said otherwise; And/Or/Case/Coalesce evaluate only the rows
//! that their earlier arms left undecided, in the order written here, whatever the batch holds. A row that fails
//! (overflow, division by zero, bad cast) is an error of that row only.

use arrow::datatypes::DataType;

use crate::eval::LikePattern;
use crate::value::{Datum, Value};

/// One scalar expression. `usize` of a column is a position in the input row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// The input's column.
    Column(usize),
    /// A constant.
    Literal(Value),
    /// An immutable function by its frozen name; arithmetic, too (`crate::functions` names them). Strict or not is the
    /// function's own affair. `ty` is the result's type, as bound.
    Call {
        /// Registered name, lowercase.
        func: String,
        /// Arguments, already cast to the types the function was bound for.
        args: Vec<Scalar>,
        /// Type of the result.
        ty: DataType,
    },
    /// A comparison of two values of one type. Text compares as C (bytes); floats as PostgreSQL: NaN equals NaN and is
    /// above everything, -0 equals 0.
    Compare {
        /// Which one.
        op: CompareOp,
        /// Left side.
        left: Box<Scalar>,
        /// Right side, of the same type.
        right: Box<Scalar>,
    },
    /// Three-valued AND over one or more booleans; an arm is evaluated only for rows that no earlier arm made false.
    And(Vec<Scalar>),
    /// Three-valued OR over one or more booleans; an arm is evaluated only for rows that no earlier arm made true.
    Or(Vec<Scalar>),
    /// Three-valued NOT.
    Not(Box<Scalar>),
    /// `x IS [NOT] NULL | TRUE | FALSE | UNKNOWN`; never NULL itself.
    Is {
        /// What is asked.
        test: IsTest,
        /// `IS NOT`.
        negated: bool,
        /// The operand; a boolean for TRUE, FALSE and UNKNOWN.
        arg: Box<Scalar>,
    },
    /// Searched CASE: the first branch whose condition is true (not NULL) gives the result; a branch is evaluated only for
    /// its own rows. A simple CASE (`CASE x WHEN ..`) is lowered to this with equality conditions.
    Case {
        /// (condition, result) in order, at least one.
        branches: Vec<(Scalar, Scalar)>,
        /// ELSE; without it NULL.
        otherwise: Option<Box<Scalar>>,
        /// Type of every result.
        ty: DataType,
    },
    /// The first argument that is not NULL; later ones are evaluated only for rows still NULL. At least one argument, all
    /// of one type.
    Coalesce(Vec<Scalar>),
    /// PostgreSQL's cast. Identity when the types are equal.
    Cast {
        /// What is cast.
        arg: Box<Scalar>,
        /// The target type.
        to: DataType,
    },
    /// `x [NOT] IN (..)`: NULL when nothing matched and x or any item is NULL (an empty list: false).
    InList {
        /// The needle.
        arg: Box<Scalar>,
        /// Items of the needle's type.
        list: Vec<Scalar>,
        /// `NOT IN`.
        negated: bool,
    },
    /// `x [NOT] LIKE | ILIKE pattern [ESCAPE c]`, over text.
    Like {
        /// The text.
        arg: Box<Scalar>,
        /// The pattern; a bad one (ends in the escape character) is an error of the row, SQLSTATE 22025.
        pattern: Box<Scalar>,
        /// The escape character; `None` means no escape at all. A plain LIKE is lowered with backslash.
        escape: Option<char>,
        /// ILIKE.
        case_insensitive: bool,
        /// `NOT LIKE`.
        negated: bool,
    },
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`; NULL when a side is NULL.
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `IS DISTINCT FROM`: NULL is a value like any other; never NULL.
    Distinct,
    /// `IS NOT DISTINCT FROM`: never NULL.
    NotDistinct,
}

/// What `IS` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IsTest {
    /// IS NULL
    Null,
    /// IS TRUE
    True,
    /// IS FALSE
    False,
    /// IS UNKNOWN: IS NULL of a boolean.
    Unknown,
}

impl Scalar {
    /// The result's type over an input of these types; `None` when a column is out of bounds.
    pub fn data_type(&self, input: &[DataType]) -> Option<DataType> {
        match self {
            Scalar::Column(i) => input.get(*i).cloned(),
            Scalar::Literal(v) => Some(v.ty.clone()),
            Scalar::Call { ty, .. } | Scalar::Case { ty, .. } => Some(ty.clone()),
            Scalar::Cast { to, .. } => Some(to.clone()),
            Scalar::Coalesce(args) => args.first()?.data_type(input),
            Scalar::Compare { .. }
            | Scalar::And(_)
            | Scalar::Or(_)
            | Scalar::Not(_)
            | Scalar::Is { .. }
            | Scalar::InList { .. }
            | Scalar::Like { .. } => Some(DataType::Boolean),
        }
    }

    /// Its direct children, in the order of evaluation.
    pub fn children(&self) -> Vec<&Scalar> {
        match self {
            Scalar::Column(_) | Scalar::Literal(_) => vec![],
            Scalar::Call { args, .. } | Scalar::And(args) | Scalar::Or(args) | Scalar::Coalesce(args) => args.iter().collect(),
            Scalar::Compare { left, right, .. } => vec![left, right],
            Scalar::Not(arg) | Scalar::Is { arg, .. } | Scalar::Cast { arg, .. } => vec![arg],
            Scalar::Case { branches, otherwise, .. } => {
                branches.iter().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref()).collect()
            }
            Scalar::InList { arg, list, .. } => std::iter::once(arg.as_ref()).chain(list).collect(),
            Scalar::Like { arg, pattern, .. } => vec![arg, pattern],
        }
    }

    /// Its direct children, to be changed in place, in the order of [`Scalar::children`].
    pub fn children_mut(&mut self) -> Vec<&mut Scalar> {
        match self {
            Scalar::Column(_) | Scalar::Literal(_) => vec![],
            Scalar::Call { args, .. } | Scalar::And(args) | Scalar::Or(args) | Scalar::Coalesce(args) => {
                args.iter_mut().collect()
            }
            Scalar::Compare { left, right, .. } => vec![left, right],
            Scalar::Not(arg) | Scalar::Is { arg, .. } | Scalar::Cast { arg, .. } => vec![arg],
            Scalar::Case { branches, otherwise, .. } => {
                branches.iter_mut().flat_map(|(c, r)| [c, r]).chain(otherwise.as_deref_mut()).collect()
            }
            Scalar::InList { arg, list, .. } => std::iter::once(arg.as_mut()).chain(list).collect(),
            Scalar::Like { arg, pattern, .. } => vec![arg, pattern],
        }
    }

    /// Calls `visit` for this and every descendant. Depth is bounded by [`crate::flowplan::validate`].
    pub fn walk(&self, visit: &mut impl FnMut(&Scalar)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// Replaces each column by what `f` makes of its position; used to fuse maps and to renumber.
    pub fn map_columns(self, f: &impl Fn(usize) -> Scalar) -> Scalar {
        if let Scalar::Column(i) = self {
            return f(i);
        }
        let mut this = self;
        for child in this.children_mut() {
            let taken = std::mem::replace(child, Scalar::Column(0));
            *child = taken.map_columns(f);
        }
        this
    }

    /// Can evaluating it fail for some row? Comparisons, tests and boolean logic over columns and constants cannot.
    pub fn can_fail(&self) -> bool {
        let own = match self {
            Scalar::Call { .. } | Scalar::Cast { .. } => true,
            Scalar::Like { pattern, escape, .. } => match pattern.as_ref() {
                Scalar::Literal(Value { datum: Datum::Text(text), .. }) => LikePattern::new(text, *escape, false).can_fail(),
                pattern => !matches!(pattern, Scalar::Literal(_)),
            },
            _ => false,
        };
        own || self.children().iter().any(|c| c.can_fail())
    }

    /// The conjunction of these: nothing for none, itself for one, flattened otherwise.
    pub fn all(conjuncts: Vec<Scalar>) -> Option<Scalar> {
        let mut flat = Vec::with_capacity(conjuncts.len());
        for c in conjuncts {
            match c {
                Scalar::And(inner) => flat.extend(inner),
                c => flat.push(c),
            }
        }
        if flat.len() > 1 { Some(Scalar::And(flat)) } else { flat.pop() }
    }
}
