//! `regauge serve` as a child on free ports over a temporary folder, stopped by its own pid.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};
use tempfile::TempDir;

pub struct Server {
    child: Child,
    pub dir: TempDir,
    /// The line that connects, as it was printed.
    pub line: String,
    pub port: u16,
}

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_regauge"))
}

pub fn start() -> Server {
    start_with(&[])
}

pub fn start_with(more: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let mut command = binary();
    // A blank in the folder's name: what is printed must still work.
    command.args(["serve", "--pg-port", "0", "--http-port", "0", "--data"]).arg(dir.path().join("my data")).args(more);
    // waited for when the `Server` is dropped
    #[allow(clippy::zombie_processes)]
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut port = None;
    loop {
        let line = lines.next().expect("the server ended before it said how to connect").unwrap();
        if let Some(address) = line.strip_prefix("postgres listens on ") {
            let address = address.split(' ').next().unwrap();
            port = Some(address.rsplit(':').next().unwrap().parse().unwrap());
        }
        if line.contains(" psql ") {
            return Server { child, dir, line: line.trim().to_owned(), port: port.unwrap() };
        }
    }
}

impl Server {
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("my data")
    }

    /// A client's command that finds the server by its environment.
    pub fn client(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let passfile = self.data().join("passfile");
        command.env("PGPASSFILE", passfile).env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        command.env("PGUSER", "regauge").env("PGDATABASE", "regauge").env_remove("PGPASSWORD").env_remove("PGSERVICE");
        command.stdin(Stdio::null());
        command
    }

    /// SIGTERM, and what becomes of it.
    pub fn stop(&mut self) -> ExitStatus {
        terminate(&self.child);
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            terminate(&self.child);
            let _ = self.child.wait();
        }
    }
}

fn terminate(child: &Child) {
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(asked.is_ok_and(|s| s.success()), "cannot run kill");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Both outputs, for the message of a failed assertion.
pub fn shown(output: &Output) -> String {
    format!("{}\n--- standard output\n{}\n--- standard error\n{}", output.status, text(&output.stdout), text(&output.stderr))
}
