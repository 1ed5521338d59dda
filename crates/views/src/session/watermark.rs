//! ADVANCE WATERMARK: a record in the log that says how far a stream's event time has come, for partitions that are quiet.

use super::{Session, txn::Txn};
use crate::{
    catalog::{Kind, ObjectId},
    error::{Error, Result, sqlstate as code},
    event_time::layout,
    response::Response,
};
use arrow::array::Array;
use datafusion::sql::sqlparser::ast;
use regauge_log::Append;
use regauge_plan::parse::RelationName;
use regauge_types::TopicId;

impl Session {
    /// One record for each partition that it is for. A watermark never falls: one that is behind the partition's changes nothing.
    pub(super) fn advance_watermark(
        &mut self,
        txn: &mut Txn,
        stream: &RelationName,
        partition: Option<u32>,
        to: &ast::Expr,
    ) -> Result<Response> {
        let relation = self.target(txn, stream)?;
        let (Some(clock), ObjectId::Topic(topic)) = (layout::clock(&relation), relation.id) else {
            let message = format!("{} \"{stream}\" has no watermark", relation.kind_name());
            return Err(Error::invalid(code::WRONG_OBJECT, message)
                .hint("CREATE STREAM s (.., WATERMARK FOR ts AS ts - INTERVAL '5 seconds')"));
        };
        let Kind::Stream { partition_by, partitions, .. } = &relation.kind else {
            return Err(Error::internal("a watermark of what is no stream"));
        };
        let value = regauge_plan::constant(to, &relation.columns[clock.column].ty)?;
        let at = value.to_array(1).filter(|at| at.null_count() == 0);
        let at = at.ok_or_else(|| Error::invalid(code::INVALID_PARAMETER, "a watermark is not NULL"))?;
        let partitions = match partition {
            Some(one) if one >= *partitions => {
                let message = format!("stream \"{stream}\" has no partition {one} partitions={partitions}");
                return Err(Error::invalid(code::INVALID_PARAMETER, message));
            }
            Some(one) => one..one + 1,
            // Without PARTITION BY all records go to the first.
            None => 0..if partition_by.is_empty() { 1 } else { *partitions },
        };
        for partition in partitions {
            let rows = layout::watermark(&relation, at.clone())?;
            txn.consume(TopicId(topic), 1);
            txn.appends.push(Append { topic: TopicId(topic), partition: Some(partition), rows });
        }
        Ok(Response::command("ADVANCE WATERMARK"))
    }
}
