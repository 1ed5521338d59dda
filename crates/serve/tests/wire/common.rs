//! A served instance in a folder of its own.

use regauge_serve::{
    pg::{Options, Server},
    secret::Passwords,
};
use regauge_types::Env;
use regauge_views::{Config, Instance};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

pub struct Site {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: Option<tokio::task::JoinHandle<()>>,
}

pub async fn site() -> Site {
    site_with(Options::default()).await
}

pub async fn site_with(options: Options) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let address = server.address().unwrap();
    let mut config = Config::new(dir.path());
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    let instance = Instance::open(config).unwrap();
    regauge_serve::pg_catalog::install(&instance);
    let passwords = Passwords::open(&Env::real(), dir.path()).unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.run(instance, passwords, stop.clone()));
    Site { dir, address, stop, serving: Some(serving) }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    pub fn password(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("passfile")).unwrap();
        text.trim_end().rsplit(':').next().unwrap().to_owned()
    }

    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.address.port()).user("regauge").dbname("regauge").password(self.password());
        config
    }

    pub async fn client(&self) -> Client {
        let (client, connection) = self.config().connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// Rows of the last statement of a text, values joined by `|`.
pub async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let mut rows = vec![];
    for message in client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}\n  failed: {e:?}")) {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
                rows.push(values.join("|"));
            }
            _ => {}
        }
    }
    rows
}

/// The SQLSTATE that a text fails with.
pub async fn code(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => "00000".to_owned(),
        Err(error) => sqlstate(&error),
    }
}

pub fn sqlstate(error: &tokio_postgres::Error) -> String {
    error.code().unwrap_or_else(|| panic!("no answer of the server: {error:?}")).code().to_owned()
}
