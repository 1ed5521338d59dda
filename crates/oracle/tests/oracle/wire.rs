//! Values on the wire: the same statements sent to PostgreSQL and to a served instance, and the bytes that come back compared, in
//! text and in binary form, with the types that the columns are said to have.

use bytes::{BufMut, BytesMut};
use regauge_oracle::postgres::{Server, connect};
use regauge_serve::{pg, secret::Passwords};
use regauge_types::Env;
use regauge_views::{Config, Instance};
use std::error::Error;
use tokio_postgres::{
    Client, NoTls, SimpleQueryMessage,
    types::{Format, FromSql, IsNull, ToSql, Type},
};
use tokio_util::sync::CancellationToken;

/// A type, and texts of values that it has.
const VALUES: &[(&str, &[&str])] = &[
    ("boolean", &["true", "f"]),
    ("smallint", &["0", "-32768", "32767"]),
    ("integer", &["0", "-2147483648", "2147483647"]),
    ("bigint", &["0", "-9223372036854775808", "9223372036854775807"]),
    (
        "real",
        &["0", "-0", "1.5", "1e-45", "3.4028235e38", "NaN", "Infinity", "-Infinity", "123456", "1234567", "0.0001", "0.00001"],
    ),
    (
        "double precision",
        &["0", "0.1", "1e15", "1e14", "123456789012345.6", "5e-324", "1.7976931348623157e308", "NaN", "-Infinity"],
    ),
    ("numeric(38,10)", &["0", "1", "-1", "0.0000000001", "12345678.9", "9999", "10000", "10000.0001", "-99999999.9999999999"]),
    ("numeric(38,0)", &["0", "99999999999999999999999999999999999999", "-10000000000000000"]),
    ("numeric(38,38)", &["0", "0.00000000000000000000000000000000000001", "-0.5"]),
    ("numeric(5,2)", &["999.99", "-0.01", "1.005"]),
    ("text", &["", "a", "it''s", "\u{e9}\u{1f600}", "back\\slash", "tab\tnew\nline"]),
    ("bytea", &["", "\\x00ff5c27", "abc"]),
    ("date", &["1970-01-01", "2000-02-29", "0001-01-01", "4713-01-01 BC", "5874897-12-31", "infinity", "-infinity"]),
    ("time", &["00:00:00", "23:59:59.999999", "12:30:00.5", "24:00:00"]),
    (
        "timestamp",
        &["1970-01-01 00:00:00", "1999-12-31 23:59:59.999999", "0044-03-15 12:00:00 BC", "infinity", "-infinity", "10000-01-01"],
    ),
    ("timestamptz", &["2000-01-01 00:00:00+00", "1969-07-20 20:17:40.5+02", "infinity", "-infinity"]),
    ("interval", &["0", "1 year 2 mons 3 days 04:05:06.789", "-1 mon +1 day -00:00:00.000001", "1000 hours", "-100 years"]),
];

/// Expressions whose values are arrays, NULLs, or made by the server.
const EXPRESSIONS: &[&str] = &[
    "SELECT NULL::int, NULL::text, NULL::numeric(5,2)",
    "SELECT array_agg(x ORDER BY x) FROM (VALUES (3), (1), (2)) AS v(x)",
    "SELECT array_agg(x ORDER BY x) FROM (VALUES ('b,c'), ('a'), (NULL), (''), ('null'), ('\"\\')) AS v(x)",
    "SELECT count(*), sum(x), min(x), max(x), bool_and(x > 1) FROM (VALUES (3), (1)) AS v(x)",
    "SELECT 1 + 1, 2::bigint * 3, 'a' || 'b', 1 = 2, 7 / 2",
];

/// Any value, as the bytes that travel.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }
    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

pub(crate) struct Served {
    _dir: tempfile::TempDir,
    stop: CancellationToken,
    pub(crate) client: Client,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let server = pg::Server::bind("127.0.0.1:0".parse().unwrap(), pg::Options::default()).unwrap();
    let port = server.address().unwrap().port();
    let passwords = Passwords::open(&Env::real(), dir.path()).unwrap();
    let line = std::fs::read_to_string(passwords.passfile()).unwrap();
    let stop = CancellationToken::new();
    let instance = Instance::open(Config::new(dir.path())).unwrap();
    regauge_serve::pg_catalog::install(&instance);
    tokio::spawn(server.run(instance, passwords, stop.clone()));
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user("regauge").dbname("regauge").password(line.trim().rsplit(':').next().unwrap());
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    Served { _dir: dir, stop, client }
}

/// The types and binary values of a row.
async fn binary(client: &Client, sql: &str) -> Vec<(Type, Option<Raw>)> {
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    row.columns().iter().enumerate().map(|(i, column)| (column.type_().clone(), row.get(i))).collect()
}

/// The texts of a row.
async fn texts(client: &Client, sql: &str) -> Vec<Option<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = messages.into_iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
    let row = row.unwrap_or_else(|| panic!("{sql}: no row"));
    (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_travel_as_the_bytes_that_postgres_sends() {
    let server = Server::start().await.unwrap();
    let (theirs, ours) = (connect(server.port()).await.unwrap(), served().await);
    let ours = &ours.client;
    theirs.batch_execute("SET TimeZone = 'UTC'; SET IntervalStyle = postgres").await.unwrap();
    let mut differences = vec![];
    let values = VALUES.iter().flat_map(|(ty, values)| values.iter().map(move |v| format!("SELECT CAST('{v}' AS {ty}) AS v")));
    for sql in values.chain(EXPRESSIONS.iter().map(|sql| (*sql).to_owned())) {
        let (a, b) = (texts(&theirs, &sql).await, texts(ours, &sql).await);
        if a != b {
            differences.push(format!("{sql}\n  PostgreSQL {a:?}\n  regauge    {b:?}"));
        }
        let (a, b) = (binary(&theirs, &sql).await, binary(ours, &sql).await);
        if a != b {
            differences.push(format!("{sql}\n  PostgreSQL {a:?}\n  regauge    {b:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_parameters_mean_what_they_mean_to_postgres() {
    let server = Server::start().await.unwrap();
    let (theirs, ours) = (connect(server.port()).await.unwrap(), served().await);
    let ours = &ours.client;
    let mut differences = vec![];
    for (ty, values) in VALUES {
        for value in *values {
            let (_, bytes) = binary(&theirs, &format!("SELECT CAST('{value}' AS {ty}) AS v")).await.remove(0);
            let echo = format!("SELECT $1::{ty} AS v");
            let back = ours.query_one(echo.as_str(), &[&bytes]).await;
            match back {
                Ok(row) if row.get::<_, Option<Raw>>(0) == bytes => {}
                other => differences.push(format!("{echo} of '{value}': sent {bytes:?}, got {other:?}")),
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
