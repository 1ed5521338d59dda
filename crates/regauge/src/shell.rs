//! `regauge sql`: a data folder, opened in this process, and SQL from a text, a file or a terminal.

use crate::print;
use anyhow::Context;
use clap::Args;
use regauge_views::{Config, Instance, Session, SessionOptions};
use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

#[derive(Args)]
pub struct SqlArgs {
    /// The data folder; made if need be.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Runs this text and ends.
    #[arg(short = 'c', long = "command")]
    text: Option<String>,
    /// Runs this file and ends.
    file: Option<PathBuf>,
}

pub async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let instance = Instance::open(Config::new(&args.data)).map_err(print::explain)?;
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    match (args.text, args.file) {
        (Some(text), _) => execute(&mut session, &text).await,
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read file={}", file.display()))?;
            execute(&mut session, &text).await
        }
        (None, None) => lines(&mut session).await,
    }
}

/// One statement text after the other, each up to a line that ends with a semicolon. On a terminal an error is shown and the shell
/// goes on; otherwise the first one ends it.
async fn lines(session: &mut Session) -> anyhow::Result<()> {
    let terminal = std::io::stdin().is_terminal();
    let mut text = String::new();
    prompt(terminal, &text)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if text.is_empty() && matches!(line.trim(), "\\q" | "exit" | "quit") {
            return Ok(());
        }
        text += &line;
        text.push('\n');
        if line.trim_end().ends_with(';') {
            match execute(session, &std::mem::take(&mut text)).await {
                Err(error) if terminal => eprintln!("error: {error:#}"),
                other => other?,
            }
        }
        prompt(terminal, &text)?;
    }
    if text.trim().is_empty() { Ok(()) } else { execute(session, &text).await }
}

fn prompt(terminal: bool, text: &str) -> std::io::Result<()> {
    if terminal {
        print!("{}", if text.is_empty() { "regauge=> " } else { "regauge-> " });
        std::io::stdout().flush()?;
    }
    Ok(())
}

async fn execute(session: &mut Session, text: &str) -> anyhow::Result<()> {
    for response in session.execute(text).await.map_err(print::explain)? {
        print::response(response).await?;
    }
    Ok(())
}
