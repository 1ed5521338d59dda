//! TUMBLE and HOP.

use super::{Builder, Rel, Result, scalar};
use crate::bind::window::WindowNode;
use crate::error::PlanError;
use crate::flowplan::Op;
use crate::scalar::Scalar;

impl Builder {
    pub(super) fn time_window(&mut self, w: &WindowNode) -> Result<Rel> {
        let input = self.lower(&w.input)?;
        let Scalar::Column(ts) = scalar::lower(&w.ts, w.input.schema())? else {
            return Err(PlanError::internal("a window over an expression"));
        };
        let node = self.materialize_wide(input)?;
        let (size_us, offset_us) = (w.size_us, w.offset_us);
        let op = match w.slide_us {
            None => Op::Tumble { ts, size_us, offset_us },
            Some(slide_us) => Op::Hop { ts, slide_us, size_us, offset_us },
        };
        let node = self.push(op, vec![node])?;
        Ok(self.rel(node))
    }
}
