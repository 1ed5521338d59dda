//! ASOF JOIN: keys and moments become columns of the sides, behind what the sides have.

use super::{Builder, Rel, Result, scalar};
use crate::bind::asof::{AsOfNode, Parts};
use crate::error::PlanError;
use crate::flowplan::Op;
use crate::scalar::Scalar;

impl Builder {
    pub(super) fn asof(&mut self, a: &AsOfNode) -> Result<Rel> {
        let Parts { on, moment, matching } = a.parts()?;
        let (left, right) = (self.lower(&a.left)?, self.lower(&a.right)?);
        let (n_left, n_right) = (left.exprs.len(), right.exprs.len());
        let (mut lefts, mut rights) = (vec![], vec![]);
        for (l, r) in on.into_iter().chain([moment]) {
            lefts.push(scalar::lower(&l, a.left.schema())?);
            rights.push(scalar::lower(&r, a.right.schema())?);
        }
        let (left, left_places) = self.with_columns(left, lefts)?;
        let (right, right_places) = self.with_columns(right, rights)?;
        let mut on: Vec<_> = left_places.into_iter().zip(right_places).collect();
        let moment = on.pop().ok_or_else(|| PlanError::internal("an ASOF join without a moment"))?;
        let wide_left = self.types(left).len();
        let node = self.push(Op::AsOf { outer: a.outer, on, moment, matching }, vec![left, right])?;
        let place = |i: usize| Scalar::Column(if i < n_left { i } else { wide_left + i - n_left });
        Ok(Rel { node, filter: vec![], exprs: (0..n_left + n_right).map(place).collect() })
    }
}
