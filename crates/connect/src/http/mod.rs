//! Webhooks as a target: each change is sent at least once, under a key that a receiver can tell repetitions by.
//!
//! ```text
//!   bodies ─▶ outbox (durable) ─▶ POST, POST, ..  each until it is answered 2xx, in order ─▶ mark (durable)
//! ```
//! Guarantee: requests come in order, none is left out, and one that is repeated has the same bytes and the same `Idempotency-Key`
//! (`<sink>/<version>/<epoch>/<part>`), also after a crash. Not guaranteed: that a request comes once; that changes come one by one after
//! a restart: where they are not kept any more the whole is sent, and says so (`snapshot`). The incarnation is the data folder's,
//! which one process has at a time: there are no zombies. Cost: two small durable writes per request.

mod body;
mod outbox;
mod post;

use crate::{
    error::Fault,
    options::Options,
    protocol::Record,
    secret,
    target::{Cuts, Target, Write},
};
use async_trait::async_trait;
use outbox::{Outbox, Pending, State};
use post::Place;
use regauge_types::{Env, ErrorKind};
use regauge_views::{
    Error, Result as Judged,
    catalog::Sink,
    follow::{Feed, Source},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The connector's name.
pub const CONNECTOR: &str = "http";

/// Everything that a target of this kind may be cut at, in order.
pub const STEPS: [&str; 7] = ["loaded", "claimed", "kept", "pending", "posted", "taken", "marked"];

/// Options of the connector.
#[derive(Clone, Debug)]
pub struct Settings {
    place: Place,
    batch_rows: usize,
}

impl Settings {
    /// Reads them.
    pub fn read(options: &mut Options<'_>) -> Judged<Settings> {
        options.secret("bearer", &["bearer_file", "bearer_env"])?;
        let text = options.required("url")?;
        let invalid = |message: String| Error::new(ErrorKind::Invalid, "22023", message);
        let uri: http::Uri = text.parse().map_err(|_| invalid(format!("option \"url\" is not an address url={text}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(invalid(format!("option \"url\" begins with http:// or https:// url={text}")));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(invalid("option \"url\" holds a password, which would be kept for all to see".to_owned())
                .hint("bearer_file or bearer_env names the file or the variable of the server that holds one"));
        }
        let timeout = Duration::from_millis(options.number("timeout_ms", 10_000, 1, 600_000)?);
        let batch_rows = usize::try_from(options.number("batch_rows", 500, 1, 100_000)?).unwrap_or(500);
        let tls_ca = options.text("tls_ca").map(str::to_owned);
        Ok(Settings { place: Place { uri, tls_ca, timeout }, batch_rows })
    }
}

/// See the module's header.
pub struct Webhook {
    settings: Settings,
    options: BTreeMap<String, String>,
    env: Env,
    id: String,
    name: String,
    outbox: Outbox,
    cuts: Arc<dyn Cuts>,
}

impl Webhook {
    /// Of a sink.
    #[must_use]
    pub fn new(feed: &Feed, sink: &Sink, settings: Settings, cuts: Arc<dyn Cuts>) -> Webhook {
        let env = feed.env().clone();
        let outbox = Outbox::new(env.clone(), feed.dir().join("sinks").join(sink.id.to_string()));
        let (id, name, options) = (feed.name_of(sink), sink.name.to_string(), sink.spec.options.clone());
        Webhook { settings, options, env, id, name, outbox, cuts }
    }

    /// Sends what is on its way, from the first that was not taken.
    async fn deliver(&self, state: &mut State) -> Result<(), Fault> {
        let Some(Pending { to: (version, epoch), taken }) = state.pending.clone() else { return Ok(()) };
        let bodies = self.outbox.bodies()?;
        let token = secret::resolve(&self.env, &self.options, "bearer")?;
        for (part, body) in bodies.into_iter().enumerate().skip(taken) {
            let key = format!("{}/{version}/{epoch}/{part}", self.id);
            post::post(&self.env, &self.settings.place, &key, token.as_deref(), &body).await?;
            self.cuts.pass("posted")?;
            state.pending = Some(Pending { to: (version, epoch), taken: part + 1 });
            self.outbox.store(state)?;
            self.cuts.pass("taken")?;
        }
        state.pending = None;
        state.mark = Some((version, epoch));
        self.outbox.store(state)?;
        self.cuts.pass("marked")
    }
}

#[async_trait]
impl Target for Webhook {
    async fn ask(&mut self, mine: Option<u64>, _: &Source) -> Result<Record, Fault> {
        let mut state = self.outbox.load()?;
        self.cuts.pass("loaded")?;
        if mine.is_none() {
            state.incarnation += 1;
            self.outbox.store(&state)?;
            self.cuts.pass("claimed")?;
        }
        // What was begun is ended before anything else: its bytes are fixed.
        if mine.is_none_or(|mine| mine == state.incarnation) {
            self.deliver(&mut state).await?;
        }
        Ok(state.record())
    }

    async fn write(&mut self, write: Write<'_>) -> Result<(), Fault> {
        let mut state = self.outbox.load()?;
        if state.incarnation > write.mine {
            return Err(Fault::Fenced { found: state.incarnation, mine: write.mine });
        }
        if state.incarnation != write.mine || state.record().mark != write.from || state.pending.is_some() {
            return Err(Fault::Moved);
        }
        let bodies = body::bodies(&self.name, &write, self.settings.batch_rows)?;
        if bodies.is_empty() {
            state.mark = Some((write.to.version, write.to.epoch));
            return self.outbox.store(&state);
        }
        self.outbox.keep(&bodies)?;
        self.cuts.pass("kept")?;
        state.pending = Some(Pending { to: (write.to.version, write.to.epoch), taken: 0 });
        self.outbox.store(&state)?;
        self.cuts.pass("pending")?;
        self.deliver(&mut state).await
    }
}
