//! How far event time has come: the least of the watermarks of all streams that an operator waits for.
//!
//! A watermark comes as a collection of one row that is replaced as it rises; only what comes in is looked at, and the greatest
//! holds. Cost: a number for each stream.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use regauge_types::Delta;

use crate::image::{Image, Of, Step, int64, table};
use crate::operator::FlowError;

/// The watermarks of some inputs, in microseconds.
#[derive(Debug)]
pub(super) struct Marks(Vec<Option<i64>>);

impl Marks {
    /// None known yet, of so many inputs.
    pub(super) fn new(n: usize) -> Marks {
        Marks(vec![None; n])
    }

    /// Takes rows of one of the inputs in.
    pub(super) fn take_in(&mut self, input: usize, delta: &Delta) -> Result<(), FlowError> {
        let broken = || FlowError::Plan(format!("no watermark input={input}"));
        let mark = self.0.get_mut(input).ok_or_else(broken)?;
        let column = delta.rows.columns().first().ok_or_else(broken)?;
        if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(broken());
        }
        let times = column.as_primitive::<TimestampMicrosecondType>();
        for row in (0..delta.n_rows()).filter(|row| delta.diff(*row) > 0 && times.is_valid(*row)) {
            *mark = (*mark).max(Some(times.value(row)));
        }
        Ok(())
    }

    /// Up to here, exclusive, no stream has rows to come. None while one of them has not said anything.
    pub(super) fn least(&self) -> Option<i64> {
        self.0.iter().copied().min().flatten()
    }

    /// As an image that every worker reads.
    pub(super) fn save(&self, part: u32, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let has = int64(self.0.iter().map(|mark| mark.is_some().into()));
        let marks = int64(self.0.iter().map(|mark| mark.unwrap_or_default()));
        to.push(Image { part, of: Of::All, step: Step::Whole, tables: vec![table(vec![has, marks], self.0.len())?] });
        Ok(())
    }

    /// Takes such an image in.
    pub(super) fn restore(&mut self, image: &Image) -> Result<(), FlowError> {
        let [has, marks] = image.read().numbers()?;
        for (mark, (has, saved)) in self.0.iter_mut().zip(has.into_iter().zip(marks)) {
            *mark = (*mark).max((has != 0).then_some(saved));
        }
        Ok(())
    }
}
