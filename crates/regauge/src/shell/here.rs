//! Statements in this process.

use super::input::CopySource;
use crate::print;
use regauge_views::{Response, Session};

/// Runs a text, statement by statement, and prints each answer as it comes.
pub async fn execute(session: &mut Session, text: &str, copy: CopySource) -> anyhow::Result<()> {
    let mut script = session.script(text).map_err(print::explain)?;
    while let Some(response) = session.step(&mut script).await.map_err(print::explain)? {
        let answer = match response {
            Response::CopyIn(mut rows) => {
                loop {
                    let bytes = copy.next()?;
                    if bytes.is_empty() {
                        break;
                    }
                    if let Err(error) = rows.push(&bytes) {
                        return Err(print::explain(session.spoil(error)));
                    }
                }
                session.finish_copy(*rows).await.map_err(print::explain)?
            }
            other => other,
        };
        print::response(answer).await?;
    }
    Ok(())
}
