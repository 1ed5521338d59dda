//! `GET /v1/views/{name}`: rows of a view, a table or a stream. `?key=` compares the key, any other parameter a column; `?limit=`; `?epoch=`: as of that one.

use super::{Shared, failure::Failure, guard::Caller, json, sql::write_rows, visit::Visit};
use crate::records;
use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use regauge_views::{
    Error, Response as Answer,
    catalog::{Kind, Relation, rights::Privileges},
    error::sqlstate as code,
};
use std::sync::Arc;

/// Rows of an answer that does not say.
const LIMIT: u64 = 1000;

pub(super) async fn view(
    State(door): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(params): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let mut visit = Visit::begin(&door, &caller, &headers).await?;
    let outcome = read(&mut visit, &name, &params, door.options.answer_bytes_max).await;
    Ok(visit.answer(outcome))
}

async fn read(visit: &mut Visit, name: &str, params: &[(String, String)], bytes_max: usize) -> Result<Response, Failure> {
    let relation = find(visit, name)?;
    let wish = Wish::read(&relation, params)?;
    let prepared = visit.session.prepare(&wish.sql(&relation), &[]).await?;
    let value = |((_, text), ty): (&(usize, String), _)| records::value(ty, Some(text));
    let values = wish.filters.iter().zip(&prepared.params).map(value).collect::<Result<Vec<_>, _>>()?;
    let Answer::Rows(rows) = visit.session.run(&prepared, &values).await? else {
        return Err(Error::internal("a query gave no rows").into());
    };
    let mut out = format!("{{\"columns\":{},\"rows\":[", json::columns(&rows.schema));
    write_rows(&mut out, rows.stream, bytes_max).await?;
    out.push_str("]}\n");
    Ok(([(header::CONTENT_TYPE, "application/json")], out).into_response())
}

/// The relation that a path names.
pub(super) fn find(visit: &Visit, name: &str) -> Result<Arc<Relation>, Failure> {
    visit.session.relation_for(name, Privileges::SELECT).map_err(|error| match error.hint {
        Some(_) => Failure::of_path(error),
        None => Failure::of_path(error.hint("SHOW VIEWS and SHOW MATERIALIZED VIEWS list them")),
    })
}

/// What the query string asks for.
struct Wish {
    filters: Vec<(usize, String)>,
    limit: u64,
    epoch: Option<u64>,
}

impl Wish {
    fn read(relation: &Relation, params: &[(String, String)]) -> Result<Wish, Failure> {
        let mut wish = Wish { filters: vec![], limit: LIMIT, epoch: None };
        for (name, value) in params {
            match (relation.position(name), name.as_str()) {
                (Some(at), _) => wish.filters.push((at, value.clone())),
                (None, "limit") => {
                    wish.limit = value
                        .parse()
                        .map_err(|_| Failure::bad(code::INVALID_PARAMETER, format!("limit is not a number limit={value:?}")))?;
                }
                (None, "epoch") => {
                    let bad = |_| Failure::bad(code::INVALID_PARAMETER, format!("epoch is not a number epoch={value:?}"));
                    wish.epoch = Some(value.parse().map_err(bad)?);
                }
                (None, "key") => wish.filters.extend(key(relation, value)?),
                (None, other) => {
                    return Err(Error::no_column(other, &relation.name)
                        .hint("parameters are columns, key, limit and epoch")
                        .into());
                }
            }
        }
        Ok(wish)
    }

    fn sql(&self, relation: &Relation) -> String {
        let mut sql = format!("SELECT * FROM {}.{}", quote(&relation.name.schema), quote(&relation.name.name));
        for (no, (at, _)) in self.filters.iter().enumerate() {
            let word = if no == 0 { "WHERE" } else { "AND" };
            sql += &format!(" {word} {} = ${}", quote(&relation.columns[*at].name), no + 1);
        }
        let past = self.epoch.map_or_else(String::new, |epoch| format!(" AS OF EPOCH {epoch}"));
        sql + &format!(" LIMIT {}{past}", self.limit)
    }
}

/// The key's columns with the values of `?key=a,b`.
fn key(relation: &Relation, value: &str) -> Result<Vec<(usize, String)>, Failure> {
    let key = match &relation.kind {
        Kind::Table { key } => (!key.is_empty()).then(|| key.clone()),
        Kind::Materialized { .. } => relation.routed().and_then(|v| v.key.clone()),
        _ => None,
    };
    let Some(key) = key.filter(|k| !k.is_empty()) else {
        let failure = Failure::bad(code::INVALID_PARAMETER, format!("\"{}\" has no key that is known", relation.name));
        return Err(failure.hint("name the columns: ?column=value"));
    };
    // Only a key of several columns is taken apart: a single one may hold commas.
    let parts: Vec<&str> = if key.len() == 1 { vec![value] } else { value.split(',').collect() };
    if parts.len() != key.len() {
        let names: Vec<&str> = key.iter().map(|at| relation.columns[*at].name.as_str()).collect();
        let failure = Failure::bad(code::INVALID_PARAMETER, format!("key has {} columns: {}", key.len(), names.join(", ")));
        return Err(failure.hint("separate their values with commas, or name the columns: ?column=value"));
    }
    Ok(key.into_iter().zip(parts.into_iter().map(str::to_owned)).collect())
}

/// A name as SQL takes it.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
