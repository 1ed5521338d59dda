//! Standard input, shared by statements and by the rows of a COPY. It is not locked between reads.

use std::io::Read;

/// Bytes of a COPY that are sent at once.
const CHUNK: usize = 64 << 10;

/// The next line with its end.
pub fn line() -> std::io::Result<Option<String>> {
    let mut line = String::new();
    Ok((std::io::stdin().read_line(&mut line)? > 0).then_some(line))
}

/// Where the rows of a COPY come from.
#[derive(Clone, Copy, Debug)]
pub enum CopySource {
    /// All of standard input.
    All,
    /// The lines that follow the statement, up to `\.`, as psql has it.
    UntilDot,
}

impl CopySource {
    /// The next bytes; none at the end.
    pub fn next(self) -> std::io::Result<Vec<u8>> {
        match self {
            CopySource::All => {
                let mut chunk = vec![0; CHUNK];
                let n = std::io::stdin().read(&mut chunk)?;
                chunk.truncate(n);
                Ok(chunk)
            }
            CopySource::UntilDot => {
                let line = line()?.filter(|l| l.trim_end() != "\\.");
                Ok(line.unwrap_or_default().into_bytes())
            }
        }
    }
}
