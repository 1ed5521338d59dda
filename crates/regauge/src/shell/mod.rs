//! `regauge sql`: SQL from a text, a file or line by line, over a data folder opened in this process, or over the Postgres wire to
//! the server that holds it. Both ways answers look the same, but for a command's tag, which the wire's client does not hand on.
//!
//! ```text
//!   FILE, standard input   each statement of its own, as psql does; the first error ends it: exit code 3, `file:line: error`
//!   -c TEXT                one transaction, as psql does; an error: exit code 1
//!   -1                     all of it one transaction
//! ```
//! On a terminal an error is shown and the shell goes on.

mod copying;
mod here;
mod script;
mod there;

use crate::{folder, print, running::Running};
use anyhow::Context;
use clap::Args;
use copying::{Copy, Out, Rows, Way, Whole};
use regauge_views::{Instance, Session, SessionOptions};
use script::{Piece, Script};
use std::{
    fmt,
    io::{BufRead, BufReader, IsTerminal, Write},
    path::PathBuf,
};

#[derive(Args)]
#[command(after_help = HELP)]
pub struct SqlArgs {
    /// The data folder; made if need be. If a server holds it, the server is asked.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Runs this text and ends; may be given again. Its statements are one transaction. COPY .. FROM STDIN reads standard input.
    #[arg(short = 'c', long = "command")]
    texts: Vec<String>,
    /// Runs this file and ends, each statement of its own.
    #[arg(conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// Runs everything as one transaction: all of it is stored, or nothing.
    #[arg(short = '1', long)]
    single_transaction: bool,
}

const HELP: &str = "\
COPY t FROM 'file.csv' WITH (FORMAT csv), COPY t TO 'file.csv', and \\copy as in psql: the file is read and written here, not by
a server. In a file of statements the rows of COPY .. FROM STDIN follow it, up to a line \\.

exit codes: 0 all well; 1 a text of -c failed, or the data folder; 2 the command line is wrong; 3 a statement of a file or of
standard input failed: those before it are stored (with -1 nothing is), those behind it were not run";

/// A statement of a script failed: where it begins.
#[derive(Debug)]
pub struct InScript {
    file: Option<PathBuf>,
    line: usize,
}

impl fmt::Display for InScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// Who runs the statements.
enum Seat {
    /// This process. The instance goes last.
    Here { session: Box<Session>, _instance: Instance },
    /// A server.
    There(there::Connection),
}

impl Seat {
    async fn execute(&mut self, text: &str, rows: &mut dyn Rows, out: &Out) -> anyhow::Result<()> {
        match self {
            Seat::Here { session, .. } => here::execute(session, text, rows, out).await,
            Seat::There(connection) => connection.execute(text, rows, out).await,
        }
    }

    /// Runs a statement or a `\copy`. `rows` are those of COPY .. FROM STDIN.
    async fn run(&mut self, text: &str, rows: &mut dyn Rows) -> anyhow::Result<()> {
        match Copy::read(text)? {
            None if text.starts_with('\\') => {
                anyhow::bail!("unknown command {text}\nhint: \\copy and \\q are those that there are; SHOW TABLES lists tables")
            }
            None => self.execute(text, rows, &Out::new(None)).await,
            Some(Copy { way: Way::In, file: Some(file), text }) => {
                self.execute(&text, &mut Whole(Copy::open(&file)?), &Out::new(None)).await
            }
            Some(copy) => self.execute(&copy.text, rows, &Out::new(copy.file)).await,
        }
    }

    /// BEGIN and its end.
    async fn bare(&mut self, text: &str) -> anyhow::Result<()> {
        self.execute(text, &mut Whole(std::io::empty()), &Out::new(None)).await
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
    if args.single_transaction {
        seat.bare("BEGIN").await?;
    }
    // What an error leaves open is rolled back with the session.
    all(&mut seat, args.texts, args.file).await?;
    if args.single_transaction { seat.bare("COMMIT").await } else { Ok(()) }
}

async fn all(seat: &mut Seat, texts: Vec<String>, file: Option<PathBuf>) -> anyhow::Result<()> {
    if !texts.is_empty() {
        for text in texts {
            seat.run(text.trim(), &mut Whole(std::io::stdin())).await?;
        }
        return Ok(());
    }
    match file {
        Some(path) => {
            let file = std::fs::File::open(&path).with_context(|| format!("cannot read file={}", path.display()))?;
            statements(seat, BufReader::new(file), Some(path), false).await
        }
        None => {
            let terminal = std::io::stdin().is_terminal();
            statements(seat, BufReader::new(std::io::stdin()), None, terminal).await
        }
    }
}

/// One statement after the other.
async fn statements(seat: &mut Seat, lines: impl BufRead, file: Option<PathBuf>, terminal: bool) -> anyhow::Result<()> {
    let mut script = Script::new(lines);
    let mut prompt = |begun: bool| {
        if terminal {
            print!("{}", if begun { "regauge-> " } else { "regauge=> " });
            std::io::stdout().flush()?;
        }
        Ok(())
    };
    while let Some(piece) = script.next(&mut prompt)? {
        let (line, text) = match piece {
            Piece::Command { text, .. } if text.trim_end_matches(';') == "\\q" => return Ok(()),
            Piece::Statement { line, text } | Piece::Command { line, text } => (line, text),
        };
        match seat.run(&text, &mut script).await {
            Err(error) if terminal => {
                script.forget();
                eprintln!("error: {error:#}");
            }
            other => other.with_context(|| InScript { file: file.clone(), line })?,
        }
    }
    Ok(())
}
