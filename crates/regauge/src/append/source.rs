//! A file cut into pieces, each of which becomes one commit.
//!
//! Invariant: where the cuts are depends on the file, its format and the size of a batch only; so a second run over the same file
//! sends the same pieces under the same sequences. Memory: one piece. It does not know tables: what a value means is the reader's
//! of records, here and in the server the same.

use anyhow::{Context, bail};
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use regauge_serve::records::Format;
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

/// A piece ends at this size, whatever its rows: far below what a server takes at once.
const PIECE_BYTES: usize = 16 << 20;
/// A single record may not be longer.
const RECORD_BYTES_MAX: usize = 48 << 20;

/// Records that go into one commit.
pub struct Piece {
    pub format: Format,
    pub body: Vec<u8>,
    pub n_rows: usize,
    /// How many bytes of the file it was, for the progress.
    pub file_bytes: u64,
    lines: Lines,
}

/// How a line of the body is found in the file.
enum Lines {
    None,
    /// The body begins at this line.
    From(u64),
    /// The same, behind a header that is repeated in each body.
    BehindHeader(u64),
}

impl Piece {
    /// The file's line of a line of the body.
    pub fn file_line(&self, line: u64) -> u64 {
        match self.lines {
            Lines::From(first) => first + line.saturating_sub(1),
            Lines::BehindHeader(first) if line > 1 => first + line - 2,
            _ => line,
        }
    }
}

/// What the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    Ndjson,
    Csv,
    Parquet,
}

impl FileFormat {
    /// By the file's name.
    pub fn of(path: &Path) -> Option<FileFormat> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Ndjson),
            "csv" => Some(FileFormat::Csv),
            "parquet" => Some(FileFormat::Parquet),
            _ => None,
        }
    }
}

/// Where pieces come from.
pub enum Source {
    Text(Text),
    Parquet(ParquetRecordBatchReader),
}

impl Source {
    /// Opens a file, `-` being standard input. Also answers how long it is, where that is known.
    pub fn open(path: &Path, format: FileFormat, rows: usize) -> anyhow::Result<(Source, Option<u64>)> {
        let standard = path.as_os_str() == "-";
        if standard && format == FileFormat::Parquet {
            bail!("Parquet cannot be read from standard input: its index stands at the end\nhint: give a file");
        }
        let (reader, len): (Box<dyn BufRead + Send>, _) = if standard {
            (Box::new(BufReader::new(std::io::stdin())), None)
        } else {
            let failed = || format!("cannot read file={}", path.display());
            let file = File::open(path).with_context(failed)?;
            let len = file.metadata().with_context(failed)?.len();
            if format == FileFormat::Parquet {
                let reader = ParquetRecordBatchReaderBuilder::try_new(file).with_context(failed)?;
                let rows_all = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
                return Ok((Source::Parquet(reader.with_batch_size(rows).build().with_context(failed)?), Some(rows_all)));
            }
            (Box::new(BufReader::with_capacity(256 << 10, file)), Some(len))
        };
        Ok((Source::Text(Text::new(reader, format == FileFormat::Csv, rows)?), len))
    }

    /// The next piece.
    pub fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        match self {
            Source::Text(text) => text.next(),
            Source::Parquet(reader) => {
                let Some(batch) = reader.next().transpose().context("cannot read the Parquet file")? else { return Ok(None) };
                let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
                writer.write(&batch)?;
                let body = writer.into_inner()?;
                let n_rows = batch.num_rows();
                Ok(Some(Piece { format: Format::Arrow, body, n_rows, file_bytes: n_rows as u64, lines: Lines::None }))
            }
        }
    }
}

/// Lines of NDJSON, or records of CSV, which may span lines.
pub struct Text {
    reader: Box<dyn BufRead + Send>,
    csv: bool,
    header: Vec<u8>,
    rows: usize,
    /// The line that comes next, from 1.
    line: u64,
}

impl Text {
    fn new(reader: Box<dyn BufRead + Send>, csv: bool, rows: usize) -> anyhow::Result<Text> {
        let mut text = Text { reader, csv, header: vec![], rows, line: 1 };
        if csv {
            let mut header = Vec::new();
            text.record(&mut header)?;
            if !header.ends_with(b"\n") {
                header.push(b'\n');
            }
            text.header = header;
        }
        Ok(text)
    }

    fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        let first = self.line;
        let mut body = self.header.clone();
        let (mut n_rows, mut file_bytes) = (0, 0);
        while n_rows < self.rows && body.len() < PIECE_BYTES {
            let before = body.len();
            if !self.record(&mut body)? {
                break;
            }
            file_bytes += (body.len() - before) as u64;
            if !body[before..].trim_ascii().is_empty() || self.csv {
                n_rows += 1;
            }
        }
        if n_rows == 0 {
            return Ok(None);
        }
        let (format, lines) =
            if self.csv { (Format::Csv, Lines::BehindHeader(first)) } else { (Format::Ndjson, Lines::From(first)) };
        Ok(Some(Piece { format, body, n_rows, file_bytes, lines }))
    }

    /// Appends the next record with its line end; false at the end of the file.
    fn record(&mut self, out: &mut Vec<u8>) -> anyhow::Result<bool> {
        let start = out.len();
        loop {
            let before = out.len();
            let read = std::io::Read::take(&mut self.reader, RECORD_BYTES_MAX as u64).read_until(b'\n', out);
            if read.context("cannot read the file")? == 0 {
                return Ok(out.len() > start);
            }
            if out.len() - start >= RECORD_BYTES_MAX {
                bail!("record is too long line={} max_bytes={RECORD_BYTES_MAX}", self.line);
            }
            self.line += u64::from(out.ends_with(b"\n"));
            // Within quotes a line end belongs to the value: doubled quotes keep the count even.
            let quoted = self.csv && out[start..].iter().filter(|b| **b == b'"').count() % 2 == 1;
            if !quoted || out.len() == before {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, csv: bool, rows: usize) -> Vec<(String, u64)> {
        let mut text = Text::new(Box::new(std::io::Cursor::new(text.to_owned())), csv, rows).expect("text");
        std::iter::from_fn(|| text.next().expect("piece"))
            .map(|p| (String::from_utf8(p.body.clone()).expect("utf8"), p.file_line(if csv { 2 } else { 1 })))
            .collect()
    }

    #[test]
    fn csv_is_cut_between_records_and_each_piece_has_the_header() {
        let cut = pieces("a,b\n1,\"x\ny\"\n2,\"say \"\"hi\"\"\"\n3,z", true, 2);
        let whole: Vec<_> = cut.iter().map(|(body, line)| (body.as_str(), *line)).collect();
        assert_eq!(whole, [("a,b\n1,\"x\ny\"\n2,\"say \"\"hi\"\"\"\n", 2), ("a,b\n3,z", 5)]);
    }

    #[test]
    fn lines_of_a_piece_are_found_in_the_file() {
        let cut = pieces("{}\n\n{}\n{}\n", false, 2);
        assert_eq!(cut, [("{}\n\n{}\n".to_owned(), 1), ("{}\n".to_owned(), 4)]);
        assert!(pieces("\n\n", false, 2).is_empty());
    }
}
