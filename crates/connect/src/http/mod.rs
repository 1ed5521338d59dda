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
    secret::{self, Secrets},
    target::{Cuts, Target, Write},
};
use ::http::Uri;
use async_trait::async_trait;
use outbox::{Outbox, Pending, State};
use post::Place;
use regauge_types::{Env, ErrorKind};
use regauge_views::{
    Error, Result as Judged,
    catalog::Sink,
    follow::{Feed, Source},
};
use std::{sync::Arc, time::Duration};

/// The connector's name.
pub const CONNECTOR: &str = "http";

/// Everything that a target of this kind may be cut at, in order.
pub const STEPS: [&str; 7] = ["loaded", "claimed", "kept", "pending", "posted", "taken", "marked"];

/// Options of the connector.
#[derive(Clone, Debug)]
pub struct Settings {
    /// None: a secret has it.
    uri: Option<Uri>,
    tls_ca: Option<String>,
    timeout: Duration,
    batch_rows: usize,
}

/// An address as it is written, unless it makes no sense: why.
fn address(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is not an address")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err("begins with http:// or https://");
    }
    match uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        true => Err("holds a password before its host, which is not sent"),
        false => Ok(uri),
    }
}

impl Settings {
    /// Reads them.
    pub fn read(options: &mut Options<'_>) -> Judged<Settings> {
        options.secret("bearer", &["bearer_secret", "bearer_file", "bearer_env"])?;
        let uri = match options.text_or_secret("url", "url_secret")? {
            Some(text) => Some(address(text).map_err(|why| {
                let shown = if text.contains('@') { String::new() } else { format!(" url={text}") };
                let error = Error::new(ErrorKind::Invalid, "22023", format!("option \"url\" {why}{shown}"));
                error.hint(
                    "url = 'https://..'; url = SECRET s if it holds what nobody may read; bearer = SECRET s is sent beside it",
                )
            })?),
            None => None,
        };
        let timeout = Duration::from_millis(options.number("timeout_ms", 10_000, 1, 600_000)?);
        let batch_rows = usize::try_from(options.number("batch_rows", 500, 1, 100_000)?).unwrap_or(500);
        let tls_ca = options.text("tls_ca").map(str::to_owned);
        Ok(Settings { uri, tls_ca, timeout, batch_rows })
    }
}

/// See the module's header.
pub struct Webhook {
    settings: Settings,
    secrets: Secrets,
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
        let (id, name, secrets) = (feed.name_of(sink), sink.name.to_string(), Secrets::of(feed, sink));
        Webhook { settings, secrets, env, id, name, outbox, cuts }
    }

    /// Where to, by the option or by its secret.
    fn place(&self, secret: Option<&str>) -> Result<Place, Fault> {
        let uri = match (&self.settings.uri, secret) {
            (Some(uri), _) => uri.clone(),
            (None, Some(text)) => address(text).map_err(|why| Fault::Refused(format!("the secret of option \"url\" {why}")))?,
            (None, None) => return Err(Fault::Hopeless("option \"url\" is missing".to_owned())),
        };
        Ok(Place { uri, tls_ca: self.settings.tls_ca.clone(), timeout: self.settings.timeout })
    }

    /// Sends what is on its way, from the first that was not taken.
    async fn deliver(&self, state: &mut State) -> Result<(), Fault> {
        let Some(Pending { to: (version, epoch), taken }) = state.pending.clone() else { return Ok(()) };
        let bodies = self.outbox.bodies()?;
        let (url, token) = (self.secrets.resolve("url")?, self.secrets.resolve("bearer")?);
        let place = self.place(url.as_deref())?;
        let path = url.as_ref().and(place.uri.path_and_query()).map(|p| p.as_str());
        let hidden = [url.as_deref(), path, place.uri.query().filter(|_| url.is_some()), token.as_deref()];
        for (part, body) in bodies.into_iter().enumerate().skip(taken) {
            let key = format!("{}/{version}/{epoch}/{part}", self.id);
            let sent = post::post(&self.env, &place, &key, token.as_deref(), &body).await;
            sent.map_err(|fault| secret::hidden(fault, &hidden))?;
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
