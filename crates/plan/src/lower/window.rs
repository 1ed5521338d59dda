//! TUMBLE, HOP, CUMULATE and SESSION.

use super::{Builder, Rel, Result, scalar};
use crate::bind::window::{Kind, WindowNode};
use crate::error::PlanError;
use crate::flowplan::Op;
use crate::scalar::Scalar;

impl Builder {
    pub(super) fn time_window(&mut self, w: &WindowNode) -> Result<Rel> {
        let input = self.lower(&w.input)?;
        let column = |e| match scalar::lower(e, w.input.schema())? {
            Scalar::Column(place) => Ok(place),
            _ => Err(PlanError::internal("a window over an expression")),
        };
        let ts = column(&w.ts)?;
        let partition = w.partition.iter().map(column).collect::<Result<Vec<usize>>>()?;
        let node = self.materialize_wide(input)?;
        let op = match w.kind {
            Kind::Tumble { size, offset } => Op::Tumble { ts, size_us: size, offset_us: offset },
            Kind::Hop { slide, size, offset } => Op::Hop { ts, slide_us: slide, size_us: size, offset_us: offset },
            Kind::Cumulate { step, size, offset } => Op::Cumulate { ts, step_us: step, size_us: size, offset_us: offset },
            Kind::Session { gap } => Op::Session { partition, ts, gap_us: gap, on_close: false },
        };
        let node = self.push(op, vec![node])?;
        Ok(self.rel(node))
    }
}
