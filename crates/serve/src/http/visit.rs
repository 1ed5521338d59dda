//! A request's session: opened from its headers, cancelled when the request goes away.
//!
//! `Regauge-Token` in: the session sees what the token has seen, or the request fails with RG001. Out: what it has seen itself.
//! `Regauge-User`: whom versions are routed for.

use super::{Shared, failure::Failure, guard::Caller};
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use regauge_views::{CancelHandle, Session, SessionOptions, error::sqlstate as code};

pub(super) const TOKEN: HeaderName = HeaderName::from_static("regauge-token");
pub(super) const USER: HeaderName = HeaderName::from_static("regauge-user");

/// A session for one request.
pub(super) struct Visit {
    pub(super) session: Session,
    _cancel: CancelOnDrop,
}

/// The client went away: nobody waits for the statement any more.
struct CancelOnDrop(CancelHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Visit {
    pub(super) async fn begin(door: &Shared, caller: &Caller, headers: &HeaderMap) -> Result<Visit, Failure> {
        let options = SessionOptions { user: caller.0.clone(), ..SessionOptions::default() };
        let mut session = door.instance.session(options)?;
        if let Some(user) = text(headers, &USER)? {
            session.execute(&format!("SET regauge.user = '{}'", user.replace('\'', "''"))).await?;
        }
        if let Some(token) = text(headers, &TOKEN)? {
            session.set_token(token).await?;
        }
        let cancel = CancelOnDrop(session.cancel_handle());
        Ok(Visit { session, _cancel: cancel })
    }

    /// The answer, which carries the token also where it is an error.
    pub(super) fn answer(self, outcome: Result<Response, Failure>) -> Response {
        let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
        self.stamp(&mut response);
        response
    }

    /// Puts the token on an answer.
    pub(super) fn stamp(&self, response: &mut Response) {
        if let Ok(token) = HeaderValue::from_str(&self.session.token()) {
            response.headers_mut().insert(TOKEN, token);
        }
    }
}

/// A header's text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Failure> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(Failure::bad(code::INVALID_PARAMETER, format!("header {name} is not text"))),
    }
}
