//! Joins. Keys are the equalities between the sides, IS NOT DISTINCT FROM among them. Without one, and where one side has at most
//! one row (an aggregate without GROUP BY), both sides get a constant key; otherwise every pair meets, which EXPLAIN warns of.
//! `NOT IN` follows PostgreSQL's three-valued logic by counting the right side.

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::Join;

use super::{Builder, Rel, Result, columns, scalar};
use crate::error::PlanError;
use crate::flowplan::{AggCall, AggFunc, JoinKind, Op};
use crate::scalar::{CompareOp, IsTest, Scalar};
use crate::value::Value;

/// Which columns of a pair come out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Out {
    Both,
    Left,
}

impl Builder {
    pub(super) fn join(&mut self, j: &Join) -> Result<Rel> {
        let left = self.lower(&j.left)?;
        let right = self.lower(&j.right)?;
        let (n_left, n_right) = (left.exprs.len(), right.exprs.len());
        let mut on = vec![];
        for (l, r) in &j.on {
            on.push((scalar::lower(l, j.left.schema())?, scalar::lower(r, j.right.schema())?));
        }
        let nulls_equal = j.null_equality == NullEquality::NullEqualsNull;
        // The residual speaks of left then right, whatever the output is.
        let residual = match &j.filter {
            None => None,
            Some(f) => {
                let both = j.left.schema().join(j.right.schema())?;
                Some(scalar::lower(f, &both)?)
            }
        };
        let (kind, swapped, out) = match j.join_type {
            JoinType::Inner => (JoinKind::Inner, false, Out::Both),
            JoinType::Left => (JoinKind::Left, false, Out::Both),
            JoinType::Right => (JoinKind::Right, false, Out::Both),
            JoinType::Full => (JoinKind::Full, false, Out::Both),
            JoinType::LeftSemi => (JoinKind::LeftSemi, false, Out::Left),
            JoinType::LeftAnti => (JoinKind::LeftAnti, false, Out::Left),
            JoinType::RightSemi => (JoinKind::LeftSemi, true, Out::Left),
            JoinType::RightAnti => (JoinKind::LeftAnti, true, Out::Left),
            JoinType::LeftMark | JoinType::RightMark => {
                return Err(PlanError::unsupported(
                    "EXISTS or IN (SELECT ..) under OR, NOT or in an expression is not offered in a view",
                    "put it directly into WHERE, joined by AND, or split the query by UNION",
                ));
            }
        };
        if swapped {
            let on = on.into_iter().map(|(l, r)| (r, l)).collect();
            let place = |i: usize| if i < n_left { Scalar::Column(n_right + i) } else { Scalar::Column(i - n_left) };
            let residual = residual.map(|s| s.map_columns(&place));
            return self.equi_join(kind, right, left, on, nulls_equal, residual, out);
        }
        if j.null_aware && kind == JoinKind::LeftAnti {
            return self.not_in(left, right, on, residual);
        }
        self.equi_join(kind, left, right, on, nulls_equal, residual, out)
    }

    #[expect(clippy::too_many_arguments, reason = "they are the join's own parts")]
    fn equi_join(
        &mut self,
        kind: JoinKind,
        left: Rel,
        right: Rel,
        on: Vec<(Scalar, Scalar)>,
        nulls_equal: bool,
        residual: Option<Scalar>,
        out: Out,
    ) -> Result<Rel> {
        let (n_left, n_right) = (left.exprs.len(), right.exprs.len());
        let Keys { on, nulls_equal, residual } = null_safe(Keys { on, nulls_equal, residual }, n_left);
        let on = if on.is_empty() { self.constant_key(&left, &right, kind, residual.as_ref()) } else { on };
        let (lefts, rights): (Vec<_>, Vec<_>) = on.into_iter().unzip();
        let (left, left_keys) = self.with_columns(left, lefts)?;
        let (right, right_keys) = self.with_columns(right, rights)?;
        let on: Vec<_> = left_keys.into_iter().zip(right_keys).collect();
        for (l, r) in &on {
            let (lt, rt) = (self.types(left).get(*l), self.types(right).get(*r));
            if lt != rt {
                return Err(PlanError::internal(format!("join keys differ in type: {lt:?} {rt:?}")));
            }
        }
        let wide_left = self.types(left).len();
        let place = |i: usize| Scalar::Column(if i < n_left { i } else { wide_left + i - n_left });
        let residual = residual.map(|s| s.map_columns(&place));
        let node = self.push(Op::Join { kind, on, nulls_equal, residual }, vec![left, right])?;
        let exprs = match out {
            Out::Left => columns(n_left),
            Out::Both => (0..n_left + n_right).map(place).collect(),
        };
        Ok(Rel { node, filter: vec![], exprs })
    }

    /// The relation with these expressions as columns too, and where they stand.
    pub(super) fn with_columns(&mut self, rel: Rel, wanted: Vec<Scalar>) -> Result<(usize, Vec<usize>)> {
        let mut exprs = columns(rel.exprs.len());
        let width = exprs.len();
        let mut places = vec![];
        for e in wanted {
            places.push(exprs.iter().position(|x| *x == e).unwrap_or_else(|| {
                exprs.push(e);
                exprs.len() - 1
            }));
        }
        let rel = if exprs.len() == width { rel } else { self.project(rel, exprs)? };
        Ok((self.materialize_wide(rel)?, places))
    }

    /// A key that every row has, where one side has at most one row: changes of the other then cost what they are. No key else.
    fn constant_key(&self, left: &Rel, right: &Rel, kind: JoinKind, residual: Option<&Scalar>) -> Vec<(Scalar, Scalar)> {
        let single = |r: &Rel| self.keys.get(r.node).is_some_and(|k| k.as_ref().is_some_and(Vec::is_empty));
        let uncorrelated = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) && residual.is_none();
        if single(left) || single(right) || uncorrelated {
            let key = Scalar::Literal(Value::bool(true));
            return vec![(key.clone(), key)];
        }
        vec![]
    }

    /// `x NOT IN (SELECT y ..)`: true for every row where the right side is empty; otherwise only where x is not NULL, no y is
    /// NULL, and no y equals x. So: join the left side with the right side's counts, filter by them, then anti-join.
    fn not_in(&mut self, left: Rel, right: Rel, on: Vec<(Scalar, Scalar)>, residual: Option<Scalar>) -> Result<Rel> {
        let refused = || {
            PlanError::unsupported(
                "a correlated NOT IN (SELECT ..) is not offered in a view",
                "write NOT EXISTS (SELECT 1 FROM .. WHERE ..), and mind the NULLs",
            )
        };
        if residual.is_some() {
            return Err(refused());
        }
        let [(x, y)] = <[(Scalar, Scalar); 1]>::try_from(on).map_err(|_| refused())?;
        let n_left = left.exprs.len();
        // Read twice below: once counted, once matched.
        let right = self.materialize_wide(right)?;
        let right = self.rel(right);
        let counted = self.project(right.clone(), vec![y.clone()])?;
        let counted = self.materialize_wide(counted)?;
        let count = |args| AggCall {
            func: AggFunc::Count,
            args,
            distinct: false,
            filter: None,
            order: vec![],
            direct: vec![],
            output: arrow::datatypes::DataType::Int64,
        };
        let aggs = vec![count(vec![]), count(vec![0])];
        let counts = self.push(Op::Aggregate { keys: vec![], aggs }, vec![counted])?;
        let counts = self.rel(counts);
        let key = Scalar::Literal(Value::bool(true));
        let with_counts = self.equi_join(JoinKind::Inner, left, counts, vec![(key.clone(), key)], false, None, Out::Both)?;
        let equal = |a: Scalar, b: Scalar| Scalar::Compare { op: CompareOp::Eq, left: Box::new(a), right: Box::new(b) };
        let (all, known) = (Scalar::Column(n_left), Scalar::Column(n_left + 1));
        let empty = equal(all.clone(), Scalar::Literal(Value::int8(0)));
        let present = Scalar::Is { test: IsTest::Null, negated: true, arg: Box::new(x.clone()) };
        let possible = Scalar::Or(vec![empty, Scalar::And(vec![present, equal(all, known)])]);
        let rel = self.filter(with_counts, possible)?;
        let rel = self.project(rel, columns(n_left))?;
        self.equi_join(JoinKind::LeftAnti, rel, right, vec![(x, y)], false, None, Out::Left)
    }
}

/// A join's condition in parts.
struct Keys {
    on: Vec<(Scalar, Scalar)>,
    nulls_equal: bool,
    residual: Option<Scalar>,
}

/// `l IS NOT DISTINCT FROM r` between the sides becomes a key. A join has one rule for the NULLs of all its keys; so where others
/// are plain equalities, these ask for a value in the residual.
fn null_safe(keys: Keys, n_left: usize) -> Keys {
    let Keys { mut on, nulls_equal, residual: Some(residual) } = keys else { return keys };
    let arms = if let Scalar::And(arms) = residual { arms } else { vec![residual] };
    let (mut pairs, mut rest) = (vec![], vec![]);
    for arm in arms {
        match arm {
            Scalar::Compare { op: CompareOp::NotDistinct, left, right } => match sides(&left, &right, n_left) {
                Some(pair) => pairs.push(pair),
                None => rest.push(Scalar::Compare { op: CompareOp::NotDistinct, left, right }),
            },
            other => rest.push(other),
        }
    }
    if pairs.is_empty() {
        return Keys { on, nulls_equal, residual: Scalar::all(rest) };
    }
    if !nulls_equal {
        let present = |(l, _): &(Scalar, Scalar)| Scalar::Is { test: IsTest::Null, negated: true, arg: Box::new(l.clone()) };
        rest.extend(on.iter().map(present));
    }
    on.extend(pairs);
    Keys { on, nulls_equal: true, residual: Scalar::all(rest) }
}

/// Two expressions over left then right columns as a pair, if each reads one side.
fn sides(a: &Scalar, b: &Scalar, n_left: usize) -> Option<(Scalar, Scalar)> {
    let reads = |s: &Scalar| {
        let (mut left, mut right) = (false, false);
        s.walk(&mut |s| {
            if let Scalar::Column(i) = s {
                left |= *i < n_left;
                right |= *i >= n_left;
            }
        });
        (left, right)
    };
    let shifted = |s: &Scalar| s.clone().map_columns(&|i| Scalar::Column(i - n_left));
    match (reads(a), reads(b)) {
        ((true, false), (false, true)) => Some((a.clone(), shifted(b))),
        ((false, true), (true, false)) => Some((b.clone(), shifted(a))),
        _ => None,
    }
}
