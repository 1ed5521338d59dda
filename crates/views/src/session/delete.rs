//! DELETE: the rows that the condition finds are no more, judged by key at commit.

use super::{Session, rows, txn::Txn, update::old_columns};
use crate::{error::Result, response::Response};
use regauge_plan::parse::Delete;

impl Session {
    pub(super) async fn delete(&mut self, txn: &mut Txn, delete: &Delete, text: Option<&str>) -> Result<Response> {
        let relation = self.target(txn, &delete.table)?;
        rows::need_table(&relation, "delete from")?;
        let name = delete.alias.as_deref().unwrap_or(&relation.name.name);
        let items = old_columns(&relation, name);
        let found = self.find(txn, &relation, name, items, delete.selection.clone(), &relation.schema(), text).await?;
        let found = rows::under(&relation, &found)?;
        for key in txn.writes(&relation)?.keys(&found)? {
            let standing = self.core.standing(txn, &relation, &key)?;
            txn.writes(&relation)?.put(key, || standing.snapshot, None);
        }
        self.returning(txn, &delete.returning, &relation, delete.alias.as_deref(), &found, "DELETE").await
    }
}
