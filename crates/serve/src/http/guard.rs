//! Who may come in: a pure `decide` over the request's head, before anything else of it is looked at.
//!
//! Host: a page of a foreign name that resolves to us (DNS rebinding) carries that name, and is refused. Origin: a browser sends it
//! with every request that a foreign page can make it write with (CSRF); only our own is taken, `null` is not. The password: as on the
//! Postgres wire, by HTTP Basic. `/healthz` tells nothing and is open. Not here: TLS; who listens beyond the loopback puts it in front.

use super::{Shared, failure::Failure};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use regauge_types::ErrorKind;
use regauge_views::Error;
use std::{net::IpAddr, sync::Arc};

/// Whether a user has this password.
pub type Verify = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// The user that a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) String);

pub(super) async fn guard(State(door): State<Shared>, mut request: Request, next: Next) -> Response {
    let response = if request.uri().path() == "/healthz" {
        next.run(request).await
    } else {
        match decide(request.headers(), &door.options.hosts, door.options.verify.as_ref()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(failure) => failure.into_response(),
        }
    };
    door.counters.answered(response.status());
    response
}

fn decide(headers: &HeaderMap, hosts: &[String], verify: Option<&Verify>) -> Result<Caller, Failure> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    if !is_ours(host, hosts) {
        let error = Error::new(ErrorKind::Denied, "08004", format!("this server is not called host={host:?}"));
        let error = error.hint("use localhost or 127.0.0.1, or name the host when the server is started");
        return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, error));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(|o| o.eq_ignore_ascii_case(host))
    {
        let error = Error::new(ErrorKind::Denied, "42501", format!("requests of other sites are refused origin={origin:?}"));
        return Err(Failure::new(StatusCode::FORBIDDEN, error));
    }
    let Some(verify) = verify else { return Ok(Caller("regauge".to_owned())) };
    let credentials = text(header::AUTHORIZATION).and_then(basic);
    match credentials {
        Some((user, password)) if verify(&user, &password) => Ok(Caller(user)),
        given => {
            let message = if given.is_some() { "password authentication failed" } else { "a user and a password are needed" };
            let error = Error::new(ErrorKind::Denied, "28P01", message);
            Err(Failure::new(
                StatusCode::UNAUTHORIZED,
                error.hint("HTTP Basic with the user and password of the data folder's passfile"),
            ))
        }
    }
}

/// A loopback name or address, or one of those that were configured; the port does not matter.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
}

fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_and_configured_ones_are_ours() {
        let named = ["data.example".to_owned()];
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:6688", "127.9.9.9", "[::1]:80", "data.example:443"] {
            assert!(is_ours(host, &named), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "127.0.0.1.evil.example", "data.example.org"]
        {
            assert!(!is_ours(host, &named), "{host}");
        }
    }

    #[test]
    fn basic_credentials_may_hold_colons_in_the_password() {
        let value = format!("basic {}", STANDARD.encode("u:p:q"));
        assert_eq!(basic(&value), Some(("u".to_owned(), "p:q".to_owned())));
        assert_eq!(basic("Bearer abc"), None);
        assert_eq!(basic("Basic !!"), None);
    }
}
