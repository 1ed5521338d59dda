//! Where pieces go: into the data folder itself, or to the server that holds it. Both read records with the same code.

use super::source::Piece;
use crate::{
    client::{Client, escaped},
    folder,
    running::Running,
};
use anyhow::bail;
use regauge_serve::records::{self, BadRecords};
use regauge_views::{Error, Instance, ProducerSeq, Session, SessionOptions, error::sqlstate as code, session::intake::OnError};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a producer's append looks for a server that went away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where pieces go.
pub enum Target {
    Folder(Box<Folder>),
    Server(Box<Server>),
}

/// The folder, opened here.
pub struct Folder {
    session: Session,
    _instance: Instance,
}

/// A server.
pub struct Server {
    data: PathBuf,
    client: Option<Client>,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// With how many bad records among them, stored beside the stream.
    Now(usize),
    Before,
}

/// Why a piece was not stored.
pub enum NotStored {
    /// Its records are wrong.
    Bad(BadRecords),
    /// Anything else.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for NotStored {
    fn from(error: anyhow::Error) -> NotStored {
        NotStored::Failed(error)
    }
}

impl Target {
    /// The server if one holds the folder, otherwise the folder.
    pub async fn open(data: &Path) -> anyhow::Result<Target> {
        if let Some(running) = Running::find(data) {
            let client = Client::connect(&running).await?;
            return Ok(Target::Server(Box::new(Server { data: data.to_owned(), client: Some(client) })));
        }
        let instance = folder::open(data, 1).await?;
        let session = instance.session(SessionOptions::default()).map_err(crate::print::explain)?;
        Ok(Target::Folder(Box::new(Folder { session, _instance: instance })))
    }

    /// What has been seen by now, for who reads it elsewhere.
    pub fn is_server(&self) -> bool {
        matches!(self, Target::Server(_))
    }

    /// Stores a piece.
    pub async fn append(
        &mut self,
        topic: &str,
        piece: &Piece,
        producer: Option<&ProducerSeq>,
        on_error: Option<OnError>,
    ) -> Result<Stored, NotStored> {
        match self {
            Target::Folder(folder) => folder.append(topic, piece, producer, on_error).await,
            Target::Server(server) => server.append(topic, piece, producer, on_error).await,
        }
    }
}

impl Folder {
    async fn append(
        &mut self,
        topic: &str,
        piece: &Piece,
        producer: Option<&ProducerSeq>,
        on_error: Option<OnError>,
    ) -> Result<Stored, NotStored> {
        let intake = records::read(&mut self.session, topic, piece.format, piece.body.clone().into(), on_error).await;
        let intake = match (intake, producer) {
            (Ok(intake), _) => intake,
            (Err(error), None) => return Err(NotStored::Bad(error)),
            // What is stored may not read any more: columns and rules come and go.
            (Err(error), Some(producer)) => match self.session.stored_before(topic, producer, None).await {
                Ok(Some(_)) => return Ok(Stored::Before),
                _ => return Err(NotStored::Bad(error)),
            },
        };
        match self.session.append_intake(topic, intake, producer.cloned()).await {
            Ok(receipt) if receipt.duplicate => Ok(Stored::Before),
            Ok(receipt) => Ok(Stored::Now(receipt.n_dead)),
            Err(error) => stored_long_ago(error),
        }
    }
}

impl Server {
    async fn append(
        &mut self,
        topic: &str,
        piece: &Piece,
        producer: Option<&ProducerSeq>,
        on_error: Option<OnError>,
    ) -> Result<Stored, NotStored> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.attempt(topic, piece, producer, on_error).await {
                Ok(outcome) => return outcome,
                // Only a producer may send again what perhaps was stored.
                Err(error) if producer.is_none() => {
                    let hint = "whether the last batch was stored is unknown; with --producer it can be sent again safely";
                    return Err(NotStored::Failed(error.context(hint)));
                }
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "the server is asked again");
                    self.client = None;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// An error is one of the connection.
    async fn attempt(
        &mut self,
        topic: &str,
        piece: &Piece,
        producer: Option<&ProducerSeq>,
        on_error: Option<OnError>,
    ) -> anyhow::Result<Result<Stored, NotStored>> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                let Some(running) = Running::find(&self.data) else { bail!("the server that held the data folder is gone") };
                self.client.insert(Client::connect(&running).await?)
            }
        };
        let path = format!("/v1/topics/{}/records", escaped(topic));
        let named = producer.map(|p| (format!("{}#{}", p.id, p.incarnation), p.sequence.to_string()));
        let mut headers = vec![("content-type", piece.format.media_type())];
        if let Some((id, sequence)) = &named {
            headers.extend([("regauge-producer", id.as_str()), ("regauge-sequence", sequence.as_str())]);
        }
        if let Some(on_error) = on_error {
            headers.push(("regauge-on-error", on_error.name()));
        }
        let answer = client.post(&path, &headers, &piece.body).await?;
        let body: Value = serde_json::from_slice(&answer.body)?;
        if answer.status == 200 {
            let dead = body["dead_lettered"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            return Ok(Ok(if body["duplicate"] == true { Stored::Before } else { Stored::Now(dead) }));
        }
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let error = Told {
            code: text("code").unwrap_or_default(),
            message: text("message").unwrap_or_default(),
            detail: text("detail"),
            hint: text("hint"),
        };
        if error.code == code::CANT_CHANGE_NOW && is_below_window(&error.message) {
            return Ok(Ok(Stored::Before));
        }
        Ok(Err(match body["line"].as_u64() {
            Some(line) => {
                NotStored::Bad(BadRecords { error: Box::new(error.of_records()), line: Some(line), column: text("column") })
            }
            None => NotStored::Failed(error.explain()),
        }))
    }
}

/// An error as the server tells it.
struct Told {
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Told {
    /// The code goes into the message: a server may know more codes than we do.
    fn of_records(self) -> Error {
        let mut error = Error::invalid(code::BAD_COPY, format!("{} ({})", self.message, self.code));
        error.detail = self.detail;
        error.hint = self.hint;
        error
    }

    fn explain(self) -> anyhow::Error {
        let part = |name: &str, text: Option<String>| text.map(|t| format!("\n{name}: {t}")).unwrap_or_default();
        anyhow::anyhow!("{} ({}){}{}", self.message, self.code, part("detail", self.detail), part("hint", self.hint))
    }
}

/// A producer's sequences are stored in order and without gaps: one that is too old for its receipt to be remembered was stored.
/// (The log refuses it all the same, because it cannot give the receipt; we do not need that.)
fn stored_long_ago(error: Error) -> Result<Stored, NotStored> {
    if error.sqlstate == code::CANT_CHANGE_NOW && is_below_window(&error.message) {
        return Ok(Stored::Before);
    }
    Err(NotStored::Failed(crate::print::explain(error)))
}

fn is_below_window(message: &str) -> bool {
    message.starts_with("append is older than the dedup window")
}
