//! DELETE: the rows that the condition finds are no more, judged by key at commit.

use super::{Session, joined::Beside, rows, txn::Txn, update::old_columns};
use crate::{catalog::Relation, error::Result, response::Response};
use arrow::{array::RecordBatch, datatypes::Schema};
use regauge_plan::parse::Delete;
use std::sync::Arc;

impl Session {
    pub(super) async fn delete(&mut self, txn: &mut Txn, delete: &Delete, text: Option<&str>) -> Result<Response> {
        let relation = self.target(txn, &delete.table)?;
        txn.keep_for(&delete.returning);
        rows::need_table(&relation, "delete from")?;
        let name = delete.alias.as_deref().unwrap_or(&relation.name.name);
        let mut items = old_columns(&relation, name);
        let (with, selection) = (&delete.using, delete.selection.clone());
        let beside = self.beside(txn, &relation, name, with, &delete.returning).await?;
        let mut output = relation.schema();
        if let Some(beside) = &beside {
            items.extend(beside.more.iter().cloned());
            let fields = output.fields().iter().cloned().chain(beside.fields.iter().cloned().map(Arc::new));
            output = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        }
        let found = self.find(txn, &relation, name, items, with, selection, &output, text).await?;
        if !with.is_empty() {
            return self.delete_joined(txn, delete, &relation, &found, beside).await;
        }
        let found = rows::under(&relation, &found)?;
        for key in self.core.keys_standing(txn, &relation, &found)? {
            let standing = self.core.standing(txn, &relation, &key)?;
            txn.writes(&relation)?.put(key, || standing.snapshot, None);
        }
        self.returning(txn, &delete.returning, &relation, delete.alias.as_deref(), &found, "DELETE").await
    }

    /// DELETE .. USING: a row goes once, however many partners it has; RETURNING sees it beside the first of them.
    async fn delete_joined(
        &mut self,
        txn: &mut Txn,
        delete: &Delete,
        relation: &Arc<Relation>,
        found: &RecordBatch,
        beside: Option<Beside>,
    ) -> Result<Response> {
        let found = super::joined::first_of_each(relation, found)?;
        let n = relation.columns.len();
        let own = rows::under(relation, &found.project(&(0..n).collect::<Vec<_>>()).map_err(crate::Error::arrow)?)?;
        for key in self.core.keys_standing(txn, relation, &own)? {
            let standing = self.core.standing(txn, relation, &key)?;
            txn.writes(relation)?.put(key, || standing.snapshot, None);
        }
        if let Some(beside) = &beside {
            let gone = beside.rows(&own, &found, n)?;
            return self.returning(txn, &beside.items, relation, delete.alias.as_deref(), &gone, "DELETE").await;
        }
        self.returning(txn, &delete.returning, relation, delete.alias.as_deref(), &own, "DELETE").await
    }
}
