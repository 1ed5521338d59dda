//! string_agg, array_agg: every row of the group in order. Ties of ORDER BY, and open orders, are broken by the arguments
//! (ascending, NULLs last), so every run agrees whatever other columns the plan carried. A value costs the size of its group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use regauge_plan::flowplan::{AggCall, AggFunc};
use regauge_plan::functions::list_more::not_accumulated;
use regauge_state::{OrderedGroups, canonical_floats};
use regauge_types::arrays::misfit;
use regauge_types::key::{KeyOrder, encode_ordered};

use super::{Accumulator, Rows, Values};
use crate::image::Tables;
use crate::operator::FlowError;
use crate::ops::members;
use crate::ops::parts::row_number;

/// See the module's header.
pub(super) struct Lists {
    is_string: bool,
    n_args: usize,
    item: DataType,
    orders: Vec<KeyOrder>,
    /// Types of its arguments.
    args: Vec<DataType>,
    members: OrderedGroups,
}

impl Lists {
    /// `types` are those of the arguments, then of the ORDER BY columns.
    pub(super) fn new(call: &AggCall, types: &[DataType]) -> Result<Self, FlowError> {
        let n_args = call.args.len();
        let mut orders: Vec<KeyOrder> = call.order.iter().map(|o| o.key()).collect();
        orders.extend(std::iter::repeat_n(KeyOrder::EXACT, n_args));
        let item = types.first().cloned().ok_or_else(|| FlowError::Plan("a list aggregate without argument".into()))?;
        Ok(Lists {
            is_string: call.func == AggFunc::StringAgg,
            n_args,
            item,
            orders,
            args: types[..n_args].to_vec(),
            members: OrderedGroups::new(&types[..n_args])?,
        })
    }

    fn strings(&self, groups: &[u32]) -> ArrayRef {
        let mut out = StringBuilder::new();
        for group in groups {
            let members: Vec<_> = self.members.members(*group).collect();
            if members.is_empty() {
                out.append_null();
                continue;
            }
            let slots: Vec<u32> = members.iter().map(|m| m.slot).collect();
            let columns = self.members.gather(&slots);
            let texts = columns[0].as_string::<i32>();
            let separators = columns.get(1).map(|c| c.as_string::<i32>());
            let mut text = String::new();
            let mut is_first = true;
            for (i, member) in members.iter().enumerate() {
                for _ in 0..member.count {
                    if !is_first && let Some(s) = separators.filter(|s| s.is_valid(i)) {
                        text.push_str(s.value(i));
                    }
                    is_first = false;
                    text.push_str(texts.value(i));
                }
            }
            out.append_value(text);
        }
        Arc::new(out.finish())
    }

    fn arrays(&self, groups: &[u32]) -> ArrayRef {
        let (mut slots, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups {
            let before = slots.len();
            for member in self.members.members(*group) {
                slots.extend(std::iter::repeat_n(member.slot, usize::try_from(member.count).unwrap_or(0)));
            }
            lengths.push(slots.len() - before);
            valid.push(slots.len() > before);
        }
        let items = self.members.gather(&slots).swap_remove(0);
        let field = Arc::new(Field::new_list_field(self.item.clone(), true));
        Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), items, Some(NullBuffer::from(valid))))
    }
}

impl Accumulator for Lists {
    fn resize(&mut self, _n_ids: usize) {}

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let canonical: Vec<ArrayRef> = rows.args.iter().map(canonical_floats).collect();
        let (args, order) = canonical.split_at(self.n_args);
        let columns = [order, args].concat();
        let keys = encode_ordered(&columns, &self.orders, rows.groups.len())?;
        for (row, group) in rows.groups.iter().enumerate() {
            self.members.add(*group, keys.get(row), args, row_number(row), rows.diff(row))?;
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        if self.is_string {
            return Ok((self.strings(groups), Vec::new()));
        }
        let arrays = self.arrays(groups);
        // arrays of arrays are some only where all are alike
        let lists = arrays.as_list::<i32>();
        let misfits = (0..lists.len()).filter_map(|row| misfit(lists, row).map(|why| (row, not_accumulated(why))));
        let misfits = misfits.collect();
        Ok((arrays, misfits))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.members.clear(group);
        Ok(())
    }

    fn settle(&mut self) {
        self.members.settle();
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn n_bytes(&self) -> usize {
        self.members.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        pieces.iter().zip(to).try_for_each(|(groups, to)| members::save(&self.members, groups, to))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        members::restore(&mut self.members, groups, &self.args, from, |_, _, _, _| {})?;
        self.members.settle();
        Ok(())
    }
}
