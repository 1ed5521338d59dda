//! `regauge sql`: SQL from a text, a file or line by line, over a data folder opened in this process, or over the Postgres wire to
//! the server that holds it. Both ways answers look the same, but for a command's tag, which the wire's client does not hand on.

mod here;
mod input;
mod there;

use crate::{folder, print, running::Running};
use anyhow::Context;
use clap::Args;
use input::CopySource;
use regauge_views::{Instance, Session, SessionOptions};
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

#[derive(Args)]
pub struct SqlArgs {
    /// The data folder; made if need be. If a server holds it, the server is asked.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Runs this text and ends. COPY .. FROM STDIN reads standard input.
    #[arg(short = 'c', long = "command")]
    text: Option<String>,
    /// Runs this file and ends.
    file: Option<PathBuf>,
}

/// Who runs the statements.
enum Seat {
    /// This process. The instance goes last.
    Here { session: Box<Session>, _instance: Instance },
    /// A server.
    There(there::Connection),
}

impl Seat {
    async fn execute(&mut self, text: &str, copy: CopySource) -> anyhow::Result<()> {
        match self {
            Seat::Here { session, .. } => here::execute(session, text, copy).await,
            Seat::There(connection) => connection.execute(text, copy).await,
        }
    }
}

pub async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let mut seat = match Running::find(&args.data) {
        Some(running) => Seat::There(there::Connection::open(&running).await?),
        None => {
            let instance = folder::open(&args.data, 1).await?;
            let session = instance.session(SessionOptions::default()).map_err(print::explain)?;
            Seat::Here { session: Box::new(session), _instance: instance }
        }
    };
    match (args.text, args.file) {
        (Some(text), _) => seat.execute(&text, CopySource::All).await,
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read file={}", file.display()))?;
            seat.execute(&text, CopySource::All).await
        }
        (None, None) => lines(&mut seat).await,
    }
}

/// One statement text after the other, each up to a line that ends with a semicolon. On a terminal an error is shown and the shell
/// goes on; otherwise the first one ends it.
async fn lines(seat: &mut Seat) -> anyhow::Result<()> {
    let terminal = std::io::stdin().is_terminal();
    let mut text = String::new();
    prompt(terminal, &text)?;
    while let Some(line) = input::line()? {
        if text.is_empty() && matches!(line.trim(), "\\q" | "exit" | "quit") {
            return Ok(());
        }
        text += &line;
        if line.trim_end().ends_with(';') {
            match seat.execute(&std::mem::take(&mut text), CopySource::UntilDot).await {
                Err(error) if terminal => eprintln!("error: {error:#}"),
                other => other?,
            }
        }
        prompt(terminal, &text)?;
    }
    if text.trim().is_empty() { Ok(()) } else { seat.execute(&text, CopySource::UntilDot).await }
}

fn prompt(terminal: bool, text: &str) -> std::io::Result<()> {
    if terminal {
        print!("{}", if text.is_empty() { "regauge=> " } else { "regauge-> " });
        std::io::stdout().flush()?;
    }
    Ok(())
}
