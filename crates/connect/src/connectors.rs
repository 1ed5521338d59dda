//! Which connectors there are: their options are judged when a sink is created, and their targets made when it runs.

use crate::{
    error::Fault,
    http,
    options::Options,
    parquet, postgres,
    target::{Cuts, Target},
};
use regauge_types::ErrorKind;
use regauge_views::{
    Error, Instance, Result,
    catalog::{Relation, Sink},
    follow::Feed,
    sinks::Connectors,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The names that `connector = '..'` knows.
pub const NAMES: [&str; 3] = [postgres::CONNECTOR, parquet::CONNECTOR, http::CONNECTOR];

struct Ours;

impl Connectors for Ours {
    fn judge(&self, relation: &Relation, options: &BTreeMap<String, String>) -> Result<BTreeSet<String>> {
        let mut read = Options::new(options);
        let name = read.required("connector")?;
        match name {
            postgres::CONNECTOR => postgres::Settings::read(&mut read, &relation.name.name)?.judge(relation)?,
            http::CONNECTOR => drop(http::Settings::read(&mut read)?),
            parquet::CONNECTOR => drop(parquet::Settings::read(&mut read)?),
            other => {
                let error = Error::new(ErrorKind::Unsupported, "0A000", format!("unknown connector \"{other}\""));
                return Err(error.hint(format!("there is {}", NAMES.join(", "))));
            }
        }
        read.finish(&["password_file", "password_env", "tls_ca", "path", "bearer_file", "bearer_env"])
    }
}

/// Gives an instance connectors: from now on it takes CREATE SINK. [`crate::start`] runs them.
pub fn install(instance: &Instance) {
    instance.sinks().register(Arc::new(Ours));
}

/// The target of a sink.
pub(crate) fn target(feed: &Feed, sink: &Sink, relation: &Relation, cuts: Arc<dyn Cuts>) -> Result<Box<dyn Target>, Fault> {
    let mut read = Options::new(&sink.spec.options);
    let hopeless = |e: Error| Fault::Hopeless(e.message);
    match sink.spec.connector() {
        postgres::CONNECTOR => {
            let settings = postgres::Settings::read(&mut read, &relation.name.name).map_err(hopeless)?;
            Ok(Box::new(postgres::Postgres::new(feed, sink, settings, cuts)))
        }
        http::CONNECTOR => {
            let settings = http::Settings::read(&mut read).map_err(hopeless)?;
            Ok(Box::new(http::Webhook::new(feed, sink, settings, cuts)))
        }
        parquet::CONNECTOR => {
            let settings = parquet::Settings::read(&mut read).map_err(hopeless)?;
            Ok(Box::new(parquet::Parquet::new(feed, sink, settings, cuts)))
        }
        other => Err(Fault::Hopeless(format!("unknown connector \"{other}\": a later release has created this sink"))),
    }
}
