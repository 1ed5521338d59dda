//! INTERSECT and EXCEPT.

use super::{Builder, Rel, Result};
use crate::bind::setop::SetOpNode;
use crate::flowplan::Op;

impl Builder {
    pub(super) fn set_operation(&mut self, s: &SetOpNode) -> Result<Rel> {
        let left = self.lower(&s.left)?;
        let left = self.materialize_wide(left)?;
        let types = self.types(left).to_vec();
        let right = self.lower(&s.right)?;
        let right = self.cast_to(right, &types)?;
        let right = self.materialize_wide(right)?;
        let node = self.push(Op::SetOp { kind: s.kind, all: s.all }, vec![left, right])?;
        Ok(self.rel(node))
    }
}
