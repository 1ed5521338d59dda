//! Statements in this process.

use super::copying::{Out, Rows};
use crate::print;
use regauge_views::{Response, Session};

/// Runs a text, statement by statement, and prints each answer as it comes.
pub async fn execute(session: &mut Session, text: &str, copy: &mut dyn Rows, out: &Out) -> anyhow::Result<()> {
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
            Response::CopyOut(rows) => {
                let n = print::copied(*rows, out.open()?).await?;
                if out.is_file() {
                    println!("COPY {n}");
                }
                continue;
            }
            other => other,
        };
        print::response(answer).await?;
    }
    Ok(())
}
