//! From a socket to a client who is let in: TLS, protocol, SCRAM-SHA-256, session, settings.
//!
//! ```text
//!   SSLRequest ─▶ S, handshake | N        (again at most once; what was sent before the handshake is refused)
//!   StartupMessage ─▶ SASL ─▶ client-first ─▶ server-first ─▶ client-final ─▶ AuthenticationOk
//!                  ─▶ ParameterStatus ..  BackendKeyData  ReadyForQuery
//!   CancelRequest ─▶ no answer
//! ```
//! Invariant: nobody has a session before the proof is right, and nobody learns whether a user exists. Where TLS is demanded, nothing
//! but TLS is answered. The whole of it has [`TIME`], and messages of at most 10,000 bytes. pgwire brings rustls.

use super::{
    Door, back,
    frame::{Fault, Io, Wire},
    message::{Body, violation},
    registry::Seat,
    scram::{Broken, Exchange},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Buf;
use regauge_types::ErrorKind;
use regauge_views::{Error, Session, SessionOptions, error::sqlstate as code};
use std::{collections::BTreeMap, time::Duration};

/// The protocol that is spoken here.
pub const PROTOCOL_3_0: u32 = 3 << 16;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// As in PostgreSQL.
const STARTUP_BYTES_MAX: usize = 10_000;
/// How long a client may take until it is let in.
pub const TIME: Duration = Duration::from_secs(60);
const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Settings that clients are told of, as PostgreSQL writes their names.
pub const REPORTED: [&str; 14] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Why a client is not let in.
pub enum Refused {
    /// It left, or only came to cancel.
    Gone,
    /// It is told why.
    Told(Error),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        match fault {
            Fault::Gone => Refused::Gone,
            Fault::Violation(message) => Refused::Told(violation(message)),
            Fault::TooLarge { .. } => Refused::Told(violation("message is too long before authentication")),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Told(error)
    }
}

/// A client who is let in.
pub struct Admitted {
    /// Its session.
    pub session: Session,
    /// Its place.
    pub seat: Seat,
}

/// Speaks TLS if asked, and reads the first real message; the error tells the client over what there is by then.
pub async fn open(door: &Door, io: Box<dyn Io>) -> Result<(Wire, BTreeMap<String, String>, bool), (Option<Wire>, Refused)> {
    let mut wire = Wire::new(io);
    let mut secure = false;
    // Each request for encryption is answered once; then a startup message must follow.
    for _ in 0..3 {
        let body = match wire.startup(STARTUP_BYTES_MAX).await {
            Ok(body) => body,
            Err(fault) => return Err((Some(wire), fault.into())),
        };
        let mut body = Body(body);
        let code = body.u32().unwrap_or(0);
        match code {
            SSL_REQUEST if !secure => match &door.tls {
                None => wire = answered(wire, b'N').await.map_err(|r| (None, r))?,
                Some(tls) => {
                    wire = answered(wire, b'S').await.map_err(|r| (None, r))?;
                    // Plain bytes behind the request would be taken for encrypted ones.
                    let Some(io) = wire.into_io() else { return Err((None, Refused::Gone)) };
                    match tls.acceptor.accept(io).await {
                        Ok(io) => wire = Wire::new(Box::new(io)),
                        Err(error) => {
                            tracing::debug!(%error, "TLS handshake failed");
                            return Err((None, Refused::Gone));
                        }
                    }
                    secure = true;
                }
            },
            GSS_REQUEST => wire = answered(wire, b'N').await.map_err(|r| (None, r))?,
            CANCEL_REQUEST => {
                if let (Ok(pid), Ok(secret)) = (body.i32(), body.i32()) {
                    door.registry.cancel(pid, secret);
                }
                return Err((None, Refused::Gone));
            }
            version if version >> 16 == 3 => {
                if door.tls_only && !secure {
                    let error = refusal("28000", "this server is reached over the network and takes no connection without TLS");
                    return Err((
                        Some(wire),
                        error.hint("connect with sslmode=require, or verify-full and the certificate").into(),
                    ));
                }
                return match parameters(&mut body, version & 0xffff, &mut wire) {
                    Ok(parameters) => Ok((wire, parameters, secure)),
                    Err(error) => Err((Some(wire), error.into())),
                };
            }
            other => {
                let error = Error::unsupported(format!("unsupported frontend protocol {}.{}", other >> 16, other & 0xffff));
                return Err((Some(wire), error.hint("the protocol is 3.0").into()));
            }
        }
    }
    Err((Some(wire), violation("expected a startup message").into()))
}

async fn answered(mut wire: Wire, letter: u8) -> Result<Wire, Refused> {
    wire.output.extend_from_slice(&[letter]);
    wire.flush().await?;
    Ok(wire)
}

fn parameters(body: &mut Body, minor: u32, wire: &mut Wire) -> Result<BTreeMap<String, String>, Error> {
    let mut parameters = BTreeMap::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            break;
        }
        parameters.insert(name, body.text()?);
    }
    if body.0.has_remaining() {
        return Err(violation("invalid startup packet layout: expected terminator as last byte"));
    }
    let unknown: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !unknown.is_empty() {
        back::negotiate(&mut wire.output, &unknown);
    }
    parameters.retain(|name, _| !name.starts_with("_pq_."));
    Ok(parameters)
}

/// Proves who the client is, and opens its session with the settings that it brought.
pub async fn admit(
    door: &Door,
    wire: &mut Wire,
    mut parameters: BTreeMap<String, String>,
    secure: bool,
) -> Result<Admitted, Refused> {
    let user = parameters.remove("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| refusal("28000", "no PostgreSQL user name specified in startup packet"))?;
    if door.registry.is_full() {
        return Err(full().into());
    }
    authenticate(door, wire, &user, secure).await?;
    let database = parameters.remove("database").filter(|d| !d.is_empty()).unwrap_or_else(|| user.clone());
    if parameters.remove("replication").is_some_and(|r| !matches!(r.as_str(), "false" | "off" | "no" | "0")) {
        return Err(Error::unsupported("replication connections are not offered").hint("SUBSCRIBE streams changes").into());
    }
    let mut session = door.instance.session(SessionOptions { user: user.clone(), database })?;
    let mut ignored = vec![];
    for (name, value) in settings(parameters)? {
        match session.configure(&name, &value) {
            Ok(()) => {}
            // Drivers send where they are without being asked; that times are in UTC they are told below, where they look for it.
            Err(error) if name.eq_ignore_ascii_case("timezone") => ignored.push(error.message),
            Err(error) => return Err(error.into()),
        }
    }
    let seat = door.registry.sit(session.cancel_handle()).ok_or_else(full)?;
    back::authentication(&mut wire.output, 0, &[]);
    for name in REPORTED {
        back::parameter(&mut wire.output, name, &session.variable(name).unwrap_or_default());
    }
    back::key(&mut wire.output, seat.pid, seat.secret);
    ignored.iter().for_each(|message| back::notice(&mut wire.output, message));
    Ok(Admitted { session, seat })
}

fn full() -> Error {
    Error::new(ErrorKind::Exhausted, "53300", "sorry, too many clients already")
        .hint("close connections, use a pool, or start the server with a larger --max-connections")
}

fn refusal(sqlstate: &'static str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, sqlstate, message)
}

async fn authenticate(door: &Door, wire: &mut Wire, user: &str, secure: bool) -> Result<(), Refused> {
    let hash = door.tls.as_ref().filter(|_| secure).and_then(|tls| tls.end_point.clone());
    let bound = hash.is_some();
    let mut offered = Vec::new();
    for name in [SCRAM_PLUS, SCRAM].iter().filter(|name| bound || **name == SCRAM) {
        offered.extend_from_slice(name.as_bytes());
        offered.push(0);
    }
    offered.push(0);
    back::authentication(&mut wire.output, 10, &offered);
    let mut first = Body(answer(wire).await?);
    let mechanism = first.text()?;
    if mechanism != SCRAM && !(bound && mechanism == SCRAM_PLUS) {
        return Err(violation("client selected an invalid SASL authentication mechanism").into());
    }
    let len = usize::try_from(first.i32()?).ok().filter(|len| *len == first.0.len());
    let first = len.map(|_| first.0).ok_or_else(|| violation("invalid SASL message"))?;
    let mut ours = [0; 18];
    door.instance.config().env.random.fill(&mut ours);
    let (verifier, ours) = (door.logins.verifier(user), STANDARD.encode(ours));
    let begun = Exchange::begin(&first, verifier, hash.as_deref(), mechanism == SCRAM_PLUS, &ours);
    let (challenge, waiting) = begun.map_err(|e| not_proven(user, &e))?;
    back::authentication(&mut wire.output, 11, challenge.as_bytes());
    let last = answer(wire).await?;
    let signature = waiting.end(&last).map_err(|e| not_proven(user, &e))?;
    back::authentication(&mut wire.output, 12, signature.as_bytes());
    Ok(())
}

/// Sends what waits, and reads what the client says to it.
async fn answer(wire: &mut Wire) -> Result<bytes::Bytes, Refused> {
    wire.flush().await?;
    let frame = wire.frame(|kind| (kind == b'p').then_some(STARTUP_BYTES_MAX)).await;
    match frame {
        Ok(frame) => Ok(frame.body),
        Err(Fault::Violation(_)) => Err(violation("expected SASL response").into()),
        Err(fault) => Err(fault.into()),
    }
}

fn not_proven(user: &str, broken: &Broken) -> Error {
    match broken {
        Broken::Unproven => refusal("28P01", format!("password authentication failed for user \"{user}\""))
            .hint("the password stands in the file passfile of the data folder: PGPASSFILE=.../passfile"),
        Broken::Malformed(_) => violation("invalid SCRAM message"),
    }
}

/// Settings of a startup message: `options=-c name=value ..` and names of their own.
fn settings(mut parameters: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Error> {
    let mut settings = Vec::new();
    if let Some(options) = parameters.remove("options") {
        let mut words = words(&options).into_iter();
        while let Some(word) = words.next() {
            let setting = match word.as_str() {
                "-c" => words.next(),
                other => other.strip_prefix("--").or_else(|| other.strip_prefix("-c")).map(str::to_owned),
            };
            let pair = setting.as_deref().and_then(|s| s.split_once('='));
            let (name, value) = pair.ok_or_else(|| {
                Error::invalid(code::SYNTAX, format!("invalid command-line option: {word}")).hint("-c name=value")
            })?;
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings.extend(parameters);
    Ok(settings)
}

/// Words between blanks; a backslash takes the next character as it is.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let (mut chars, mut within) = (text.chars(), false);
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            within = false;
            continue;
        }
        if !std::mem::replace(&mut within, true) {
            words.push(String::new());
        }
        let taken = if c == '\\' { chars.next() } else { Some(c) };
        if let Some(word) = words.last_mut() {
            word.extend(taken);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_postgres_splits_them() {
        let given = |options: &str| settings(BTreeMap::from([("options".to_owned(), options.to_owned())]));
        let pairs = given(r"-c statement_timeout=5s  --search-path=a -capplication_name=two\ words").expect("settings");
        let expected = [("statement_timeout", "5s"), ("search_path", "a"), ("application_name", "two words")];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(given("-x").is_err() && given("-c").is_err() && given("-c lonely").is_err());
    }
}
