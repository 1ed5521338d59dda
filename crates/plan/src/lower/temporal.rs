//! Temporal filters: the moments at which a row appears and goes become columns, and the clock a second input.

use datafusion::logical_expr::Operator;
use regauge_types::{CLOCK_TOPIC, ColumnId};

use super::{Builder, Rel, Result, columns, scalar};
use crate::bind::temporal::{TemporalNode, earlier};
use crate::error::PlanError;
use crate::flowplan::{Op, SourceId};
use crate::pgtypes::timestamptz;

impl Builder {
    pub(super) fn temporal(&mut self, t: &TemporalNode) -> Result<Rel> {
        let input = self.lower(&t.input)?;
        let width = input.exprs.len();
        let (mut moments, mut sides) = (vec![], vec![]);
        for c in t.parts()? {
            // moment - offset <op> now()
            let (is_until, inclusive) = match c.op {
                Operator::Gt => (true, false),
                Operator::GtEq => (true, true),
                Operator::Lt => (false, false),
                Operator::LtEq => (false, true),
                _ => (true, true),
            };
            let moment = scalar::lower(&earlier(c.moment, c.offset_us), t.input.schema())?;
            moments.push(moment.clone());
            sides.push((is_until, inclusive));
            if c.op == Operator::Eq {
                moments.push(moment);
                sides.push((false, true));
            }
        }
        let (node, places) = self.with_columns(input, moments)?;
        if places.iter().any(|p| self.types(node).get(*p) != Some(&timestamptz())) {
            return Err(PlanError::unsupported(
                "now() can be compared with a timestamp only",
                "write ts > now() - INTERVAL '1 hour', with ts a timestamp or a date",
            ));
        }
        let (mut from, mut until) = (vec![], vec![]);
        for (place, (is_until, inclusive)) in places.into_iter().zip(sides) {
            let side = if is_until { &mut until } else { &mut from };
            if !side.contains(&(place, inclusive)) {
                side.push((place, inclusive));
            }
        }
        let by = match self.keys.get(node) {
            Some(Some(key)) if !key.is_empty() => key.clone(),
            _ => (0..self.types(node).len()).collect(),
        };
        let source = Op::Source { id: SourceId::Topic(CLOCK_TOPIC), columns: vec![ColumnId(0)] };
        let clock = self.push_given(source, vec![], vec![timestamptz()], true, None)?;
        let node = self.push(Op::Temporal { from, until, by }, vec![node, clock])?;
        Ok(Rel { node, filter: vec![], exprs: columns(width) })
    }
}
