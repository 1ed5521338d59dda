//! Options of the connector `postgres`.

use crate::options::Options;
use regauge_types::ErrorKind;
use regauge_views::{Error, Result, catalog::Relation};

/// Names of columns that a target of counted rows has besides the relation's.
pub const ROW: &str = "_regauge_row";
/// How many of them there are.
pub const COUNT: &str = "_regauge_count";
/// Whether a staged row comes or goes.
pub const UPSERT: &str = "_regauge_upsert";

/// Where and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Schema of the table, and of the record beside it.
    pub schema: String,
    /// Table.
    pub table: String,
    /// Whether a table that holds rows already is taken over, rows and all.
    pub replace: bool,
    /// TLS is demanded.
    pub tls: bool,
    /// Who may sign the server's certificate, as a file of PEM.
    pub tls_ca: Option<String>,
}

impl Settings {
    /// Reads them; the table is called as the relation unless it is named.
    pub fn read(options: &mut Options<'_>, relation: &str) -> Result<Settings> {
        options.secret("password", &["password_secret", "password_file", "password_env"])?;
        let port = options.number("port", 5432, 1, 65_535)?;
        let host = options.required("host")?.to_owned();
        let local = ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()) || host.starts_with('/');
        let tls_ca = options.text("tls_ca").map(str::to_owned);
        let tls = options.word("tls", if local { &["off", "require"] } else { &["require", "off"] })? == "require";
        Ok(Settings {
            host,
            port: u16::try_from(port).unwrap_or(5432),
            user: options.required("user")?.to_owned(),
            database: options.required("database")?.to_owned(),
            schema: options.text("schema").unwrap_or("public").to_owned(),
            table: options.text("table").unwrap_or(relation).to_owned(),
            replace: options.word("existing", &["refuse", "replace"])? == "replace",
            tls,
            tls_ca,
        })
    }

    /// Whether a relation's columns have names of their own.
    pub fn judge(&self, relation: &Relation) -> Result<()> {
        match relation.columns.iter().find(|c| [ROW, COUNT, UPSERT].contains(&c.name.as_str())) {
            None => Ok(()),
            Some(column) => {
                let message = format!("column \"{}\" has a name that the target needs for itself", column.name);
                Err(Error::new(ErrorKind::Invalid, "42701", message).hint("give it another name in a view"))
            }
        }
    }
}
