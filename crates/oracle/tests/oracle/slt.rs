//! The SQL text files: first PostgreSQL itself answers as they say (so no expectation is stale), then
//! regauge in four ways.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use regauge_oracle::postgres::{Server, connect, unique};
use regauge_oracle::regauge::{Regauge, Views};
use regauge_oracle::slt::{Block, Expected, File, Way, bless, check, parse, print};
use regauge_oracle::system::Postgres;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slt")
}

/// All files, or those that `cargo xtask slt FILE..` names.
fn files() -> Vec<(PathBuf, File)> {
    let wanted = std::env::var("REGAUGE_SLT_FILES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "slt"))
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            wanted.is_empty() || wanted.iter().any(|name| name.contains(&*stem))
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no file named {wanted:?} in tests/slt");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = parse(&text).with_context(|| path.display().to_string()).unwrap();
        (path, file)
    };
    paths.into_iter().map(read).collect()
}

async fn postgres(server: &Server) -> Result<Postgres> {
    Postgres::new(connect(server.port()).await?, &format!("slt_{}", unique())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_say_what_postgres_answers() {
    let server = Server::start().await.unwrap();
    let blessing = std::env::var_os("REGAUGE_SLT_BLESS").is_some();
    let mut wrong = Vec::new();
    for (path, file) in files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut system = postgres(&server).await.unwrap();
        if blessing {
            let blessed = bless(&file, &mut system, &[]).await.with_context(|| name).unwrap();
            std::fs::write(&path, print(&blessed)).unwrap();
            continue;
        }
        let found = check(&file, Way::Live, &mut system).await.unwrap();
        wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "PostgreSQL answers otherwise:\n{}", wrong.join("\n"));
}

/// Files about what only maintained views refuse or show; the last holds a recursion without an end, which a plain view runs until it
/// is cancelled.
const NOT_AT_READ: &[&str] = &["refused", "show", "recursive_limits"];

/// Files that give other names to what their views read: the views cannot come behind that.
const NOT_REBUILT: &[&str] = &["alter"];

const _: () = assert!(Way::ALL.len() == 4, "a test below for each way");

/// A test for each way, so that they run side by side: all of them in one would run alone when the other tests are through.
mod maintained_views_answer_as_the_files_say {
    use super::{Views, Way, all_files};

    #[tokio::test(flavor = "multi_thread")]
    async fn live() {
        all_files(Way::Live, Views::Maintained, &[]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rebuilt() {
        all_files(Way::Rebuilt, Views::Maintained, &[]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn restored() {
        all_files(Way::Restored, Views::Maintained, &[]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_other_workers() {
        all_files(Way::Workers(4), Views::Maintained, &[]).await;
    }
}

mod views_computed_at_read_answer_as_the_files_say {
    use super::{NOT_AT_READ, Views, Way, all_files};

    #[tokio::test(flavor = "multi_thread")]
    async fn live() {
        all_files(Way::Live, Views::AtRead, NOT_AT_READ).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rebuilt() {
        all_files(Way::Rebuilt, Views::AtRead, NOT_AT_READ).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn restored() {
        all_files(Way::Restored, Views::AtRead, NOT_AT_READ).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_other_workers() {
        all_files(Way::Workers(4), Views::AtRead, NOT_AT_READ).await;
    }
}

/// How a file's instance finds its state again in a way: each of [`Keeping`]'s ways for a third of the files.
fn seed(name: &str, way: Way) -> u64 {
    name.bytes()
        .fold(Way::ALL.iter().position(|w| *w == way).unwrap() as u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_003)
}

async fn all_files(way: Way, views: Views, left_out: &[&str]) {
    if std::env::var_os("REGAUGE_SLT_BLESS").is_some() {
        return;
    }
    let mut wrong = Vec::new();
    for (path, file) in files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if left_out.iter().any(|left_out| name == format!("{left_out}.slt")) {
            continue;
        }
        if way == Way::Rebuilt && NOT_REBUILT.iter().any(|renames| name == format!("{renames}.slt")) {
            continue;
        }
        let mut system = Regauge::new(way.workers(), views, seed(&name, way)).unwrap();
        let found = check(&file, way, &mut system).await;
        let found = found.unwrap_or_else(|gone| vec![format!("the system is gone: {gone:#}")]);
        wrong.extend(found.into_iter().map(|what| format!("{name} {way:?}: {what}")));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A file whose expectations PostgreSQL gives while the test runs, with these indexes: none may be empty, and maintained views must answer so
/// in all ways.
pub async fn answered_in_all_ways(name: &str, file: &File, indexes: &[&str]) {
    let server = Server::start().await.unwrap();
    let file = bless(file, &mut postgres(&server).await.unwrap(), indexes).await.unwrap();
    let answers = file.blocks.iter().filter_map(|block| match block {
        Block::Result { name, expected: Expected::Rows { answer, .. } } => Some((name, answer.rows.len())),
        _ => None,
    });
    let empty: Vec<&String> = answers.filter(|(_, n)| *n == 0).map(|(name, _)| name).collect();
    assert!(empty.is_empty(), "queries without an answer: {empty:?}");
    let mut wrong = Vec::new();
    for way in Way::ALL {
        let mut system = Regauge::new(way.workers(), Views::Maintained, seed(name, way)).unwrap();
        let found = check(&file, way, &mut system).await.unwrap();
        wrong.extend(found.into_iter().map(|what| format!("{way:?}: {what}")));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
