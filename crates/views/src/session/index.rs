//! CREATE INDEX and DROP INDEX: what is said is kept and listed. Rows are found by keys, and no answer depends on it; a notice says so.

use super::{Session, txn::Txn};
use crate::{
    catalog::{Index, IndexColumn, Kind, Relation, Wish},
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use regauge_plan::parse::{CreateIndex, RelationName};
use regauge_types::ErrorKind;

/// PostgreSQL's limit.
const COLUMNS_MAX: usize = 32;
/// PostgreSQL's limit of a name.
const NAME_BYTES: usize = 63;

impl Session {
    pub(super) fn create_index(&mut self, txn: &mut Txn, create: &CreateIndex) -> Result<Response> {
        let relation = self.target(txn, &create.on)?;
        if matches!(relation.kind, Kind::View { .. }) {
            let message = format!("cannot create index on relation \"{}\"", relation.name.name);
            return Err(Error::invalid(code::WRONG_OBJECT, message).detail("This operation is not supported for views."));
        }
        if create.columns.len() + create.include.len() > COLUMNS_MAX {
            return Err(Error::invalid("54011", format!("cannot use more than {COLUMNS_MAX} columns in an index")));
        }
        let id = |name: &String| {
            let at = relation.position(name).ok_or_else(|| {
                let message = format!("column \"{name}\" does not exist");
                Error::new(ErrorKind::NotFound, "42703", message)
            })?;
            Ok::<u32, Error>(relation.columns[at].id.0)
        };
        let by = create
            .columns
            .iter()
            .map(|c| Ok(IndexColumn { column: id(&c.name)?, descending: c.descending, nulls_first: c.nulls_first }));
        let columns = by.collect::<Result<Vec<_>>>()?;
        let include = create.include.iter().map(id).collect::<Result<Vec<_>>>()?;
        let taken = |name: &str| {
            let schema = &relation.name.schema;
            let there = crate::catalog::Name { schema: schema.clone(), name: name.to_owned() };
            txn.catalog.index_named(schema, name).is_some() || txn.catalog.find(&there).is_some()
        };
        let name = match &create.name {
            Some(name) if create.if_not_exists && taken(name) => {
                return Ok(Response::noticed("CREATE INDEX", format!("relation \"{name}\" already exists, skipping")));
            }
            Some(name) => name.clone(),
            None => own_name(&relation, create, &taken),
        };
        let index = Index { name, method: create.method.clone(), columns, include };
        txn.wish(Wish::Index { object: relation.id, index })?;
        let notice = "an index is listed, and changes nothing: rows are found by primary keys, and views keep what they need";
        Ok(Response::noticed("CREATE INDEX", notice))
    }

    pub(super) fn drop_indexes(&mut self, txn: &mut Txn, names: &[RelationName], if_exists: bool) -> Result<Response> {
        let mut notices = vec![];
        for name in names {
            let path = self.path(&txn.catalog, &self.who_at_all(Some(txn)));
            let found = txn.catalog.resolve_index(name.schema.as_deref(), &name.name, &path).cloned();
            match found {
                Some(relation) => {
                    self.who(Some(txn))?.own(&relation)?;
                    txn.wish(Wish::DropIndex { object: relation.id, name: name.name.clone() })?;
                }
                None if if_exists => notices.push(format!("index \"{}\" does not exist, skipping", name.name)),
                None => {
                    let message = format!("index \"{}\" does not exist", name.name);
                    return Err(Error::new(ErrorKind::NotFound, "42704", message).hint("DROP INDEX IF EXISTS takes no notice"));
                }
            }
        }
        Ok(Response::told("DROP INDEX", notices))
    }
}

/// `table_column_column_idx`, with a number if that is taken.
fn own_name(of: &Relation, create: &CreateIndex, taken: &dyn Fn(&str) -> bool) -> String {
    let mut stem = of.name.name.clone();
    create.columns.iter().for_each(|c| stem.extend(["_", c.name.as_str()]));
    let name = |n: usize| {
        let end = if n == 0 { "_idx".to_owned() } else { format!("_idx{n}") };
        let mut room = NAME_BYTES - end.len();
        while !stem.is_char_boundary(room.min(stem.len())) {
            room -= 1;
        }
        format!("{}{end}", &stem[..room.min(stem.len())])
    };
    (0..).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(0))
}
