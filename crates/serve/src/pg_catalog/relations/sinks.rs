//! `regauge.sinks`: where each sink stands; a role is shown those that are its own. `regauge.secrets`: names and owners of those that it may use.

use super::{
    System,
    live::{Live, regauge},
};
use crate::pg_catalog::{
    facts::Facts,
    shape::{Cell, row},
};
use regauge_types::Epoch;
use regauge_views::catalog::{Name, rights::Object};

pub const RELATIONS: &[System] = &[
    regauge!("sinks", 14030, sinks, [
        schema: Text, name: Text, relation: Text, connector: Text, state: Text, epoch: Int8, commits_behind: Int8, lag_ms: Int8,
        rows_written: Int8, target_commits: Int8, retries: Int8, error: Text,
    ]),
    regauge!("secrets", 14031, secrets, [schema: Text, name: Text, owner: Text]),
];

fn secrets(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let rights = &facts.who().rights;
    let owner = |name: &Name| rights.name(rights.owner(&Object::Secret(name.clone())));
    facts.scope.catalog.secrets().map(|(name, _)| row![name.schema.as_str(), name.name.as_str(), owner(name)]).collect()
}

fn sinks(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let int = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut rows = vec![];
    for sink in facts.scope.catalog.sinks() {
        let status = live.overview.sink(sink.id);
        let behind = status.as_ref().and_then(|s| s.seen.or(s.epoch)).map(|epoch| live.overview.behind(Epoch(epoch)));
        let relation = facts.scope.catalog.get(sink.spec.of).map(|r| r.name.to_string());
        let state = status.as_ref().map_or("not running", |s| s.state);
        rows.push(row![
            sink.name.schema.as_str(),
            sink.name.name.as_str(),
            relation,
            sink.spec.connector(),
            state,
            status.as_ref().and_then(|s| s.epoch).map(int),
            behind.map(|b| int(b.commits)),
            behind.and_then(|b| b.ms).map(int),
            status.as_ref().map(|s| int(s.n_rows)),
            status.as_ref().map(|s| int(s.n_commits)),
            status.as_ref().map(|s| int(s.n_retries)),
            status.and_then(|s| s.error),
        ]);
    }
    rows
}
