//! `regauge backup`, `regauge restore`: a data folder into a folder of backups, and back.
//!
//! A running server takes the backup itself, while it goes on (`BACKUP TO`); a folder that nobody has open is read here. Exit codes: 0 it is
//! there; 1 it is not, the reason is on standard error.

use crate::{client::Client, print, running::Running};
use anyhow::{Context, bail};
use clap::Args;
use regauge_types::Env;
use regauge_views::backup::{self, Parts, Taken, Vault};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct BackupArgs {
    /// The data folder. A server that has it open takes the backup, and goes on meanwhile.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// The folder of backups, made if need be. What is there already is not copied again.
    #[arg(long)]
    to: PathBuf,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RestoreArgs {
    /// The folder of backups.
    #[arg(long)]
    from: PathBuf,
    /// The data folder to be; empty, or not there.
    #[arg(long)]
    data: PathBuf,
    /// Which backup; the newest one unless it is given.
    #[arg(long)]
    backup: Option<u64>,
    /// Only lists the backups that are there.
    #[arg(long)]
    list: bool,
}

pub async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let to = std::path::absolute(&args.to).with_context(|| format!("cannot find the folder to={}", args.to.display()))?;
    if !args.data.join("FORMAT").exists() {
        bail!("there is no data folder data={}\nhint: give --data", args.data.display());
    }
    let taken = match Running::find(&args.data) {
        Some(running) => of_server(&running, &to).await?,
        None => {
            let data = args.data.clone();
            tokio::task::spawn_blocking(move || of_folder(&data, &to)).await??
        }
    };
    if args.json {
        println!(
            "{}",
            json!({ "backup": taken.number, "lsn": taken.lsn, "files": taken.n_files, "bytes": taken.bytes, "bytes_written": taken.bytes_written })
        );
    } else {
        println!(
            "backup {}: everything up to lsn {} in {} files, {} bytes, {} of them written now",
            taken.number, taken.lsn, taken.n_files, taken.bytes, taken.bytes_written
        );
    }
    Ok(())
}

async fn of_server(running: &Running, to: &Path) -> anyhow::Result<Taken> {
    let to = to.to_str().context("the folder's name is not text")?;
    let mut client = Client::connect(running).await?;
    let body = json!({ "sql": format!("BACKUP TO '{}'", to.replace('\'', "''")) }).to_string();
    let answer = client.post("/v1/sql", &[("content-type", "application/json")], body.as_bytes()).await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    if answer.status != 200 {
        let part = |name: &str| body[name].as_str().map(|t| format!("\n{name}: {t}")).unwrap_or_default();
        bail!(
            "{} ({}){}{}",
            body["message"].as_str().unwrap_or("no message"),
            body["code"].as_str().unwrap_or_default(),
            part("detail"),
            part("hint")
        );
    }
    let row = &body["results"][0]["rows"][0];
    let number =
        |at: usize| row[at].as_u64().or_else(|| row[at].as_str()?.parse().ok()).context("the answer is not one of a backup");
    Ok(Taken {
        number: number(0)?,
        lsn: number(1)?,
        n_files: usize::try_from(number(2)?)?,
        bytes: number(3)?,
        bytes_written: number(4)?,
    })
}

/// Nothing of it runs meanwhile but its log.
fn of_folder(data: &Path, to: &Path) -> anyhow::Result<Taken> {
    let env = Env::real();
    let parts = Parts::of_closed(&env, data).map_err(print::explain)?;
    backup::take(&parts, &Vault::in_folder(&env, to)).map_err(print::explain)
}

pub fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let env = Env::real();
    let from = std::path::absolute(&args.from).with_context(|| format!("cannot find the folder from={}", args.from.display()))?;
    let vault = Vault::in_folder(&env, &from);
    if args.list {
        return list(&vault);
    }
    let data = std::path::absolute(&args.data)?;
    let restored = backup::restore(&env, &vault, args.backup, &data).map_err(print::explain)?;
    let m = restored.manifest;
    println!("restored backup {}: everything up to lsn {} in {} files, {} bytes", m.number, m.lsn, m.files.len(), m.bytes());
    println!(
        "it is an instance of its own: its sinks are paused until ALTER SINK .. RESUME, tokens of the other one are refused,"
    );
    println!("and the first start makes a new password for the user regauge");
    Ok(())
}

fn list(vault: &Vault) -> anyhow::Result<()> {
    let mut damaged = 0;
    for number in vault.numbers().map_err(print::explain)? {
        match vault.load(number) {
            Ok(m) => println!(
                "backup {number}: data set {}, up to lsn {}, {} files, {} bytes",
                m.dataset,
                m.lsn,
                m.files.len(),
                m.bytes()
            ),
            Err(error) => {
                damaged += 1;
                println!("backup {number}: {error}");
            }
        }
    }
    if damaged == 0 { Ok(()) } else { bail!("{damaged} backups do not read") }
}
