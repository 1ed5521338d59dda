//! The eight tables, from the crate `tpchgen`: each row comes as a line and goes through COPY's reader, as a user's would.

use crate::print;
use anyhow::Context;
use arrow::array::RecordBatch;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use regauge_views::{Response, Session};
use std::{fmt::Display, fs::File, path::Path};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

/// Rows of one commit.
const COMMIT_ROWS: usize = 100_000;

/// The specification's tables; fixed texts are text.
pub const TABLES: &str = "
CREATE TABLE region (r_regionkey BIGINT PRIMARY KEY, r_name TEXT NOT NULL, r_comment TEXT);
CREATE TABLE nation (n_nationkey BIGINT PRIMARY KEY, n_name TEXT NOT NULL, n_regionkey BIGINT NOT NULL, n_comment TEXT);
CREATE TABLE part (p_partkey BIGINT PRIMARY KEY, p_name TEXT NOT NULL, p_mfgr TEXT NOT NULL, p_brand TEXT NOT NULL, p_type TEXT NOT NULL,
    p_size INT NOT NULL, p_container TEXT NOT NULL, p_retailprice NUMERIC(15, 2) NOT NULL, p_comment TEXT);
CREATE TABLE supplier (s_suppkey BIGINT PRIMARY KEY, s_name TEXT NOT NULL, s_address TEXT NOT NULL, s_nationkey BIGINT NOT NULL,
    s_phone TEXT NOT NULL, s_acctbal NUMERIC(15, 2) NOT NULL, s_comment TEXT);
CREATE TABLE partsupp (ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INT NOT NULL, ps_supplycost NUMERIC(15, 2) NOT NULL,
    ps_comment TEXT, PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (c_custkey BIGINT PRIMARY KEY, c_name TEXT NOT NULL, c_address TEXT NOT NULL, c_nationkey BIGINT NOT NULL,
    c_phone TEXT NOT NULL, c_acctbal NUMERIC(15, 2) NOT NULL, c_mktsegment TEXT NOT NULL, c_comment TEXT);
CREATE TABLE orders (o_orderkey BIGINT PRIMARY KEY, o_custkey BIGINT NOT NULL, o_orderstatus TEXT NOT NULL,
    o_totalprice NUMERIC(15, 2) NOT NULL, o_orderdate DATE NOT NULL, o_orderpriority TEXT NOT NULL, o_clerk TEXT NOT NULL,
    o_shippriority INT NOT NULL, o_comment TEXT);
CREATE TABLE lineitem (l_orderkey BIGINT, l_partkey BIGINT NOT NULL, l_suppkey BIGINT NOT NULL, l_linenumber INT,
    l_quantity NUMERIC(15, 2) NOT NULL, l_extendedprice NUMERIC(15, 2) NOT NULL, l_discount NUMERIC(15, 2) NOT NULL,
    l_tax NUMERIC(15, 2) NOT NULL, l_returnflag TEXT NOT NULL, l_linestatus TEXT NOT NULL, l_shipdate DATE NOT NULL,
    l_commitdate DATE NOT NULL, l_receiptdate DATE NOT NULL, l_shipinstruct TEXT NOT NULL, l_shipmode TEXT NOT NULL, l_comment TEXT,
    PRIMARY KEY (l_orderkey, l_linenumber));
";

/// Fills the tables, and writes the same rows to `dir/<table>.parquet`. Answers how many rows there are.
pub async fn load(session: &mut Session, dir: &Path, scale: f64) -> anyhow::Result<usize> {
    let mut n = 0;
    n += table(session, dir, "region", RegionGenerator::default().iter()).await?;
    n += table(session, dir, "nation", NationGenerator::default().iter()).await?;
    n += table(session, dir, "part", PartGenerator::new(scale, 1, 1).iter()).await?;
    n += table(session, dir, "supplier", SupplierGenerator::new(scale, 1, 1).iter()).await?;
    n += table(session, dir, "partsupp", PartSuppGenerator::new(scale, 1, 1).iter()).await?;
    n += table(session, dir, "customer", CustomerGenerator::new(scale, 1, 1).iter()).await?;
    n += table(session, dir, "orders", OrderGenerator::new(scale, 1, 1).iter()).await?;
    n += table(session, dir, "lineitem", LineItemGenerator::new(scale, 1, 1).iter()).await?;
    Ok(n)
}

async fn table(session: &mut Session, dir: &Path, name: &str, rows: impl Iterator<Item = impl Display>) -> anyhow::Result<usize> {
    let mut file: Option<ArrowWriter<File>> = None;
    let mut n = 0;
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let mut text = String::new();
        for row in rows.by_ref().take(COMMIT_ROWS) {
            // The generator's form has a bar at the end.
            let line = row.to_string();
            text.push_str(line.strip_suffix('|').unwrap_or(&line));
            text.push('\n');
        }
        let batch = typed(session, name, text.as_bytes()).await?;
        n += batch.num_rows();
        match &mut file {
            Some(file) => file.write(&batch)?,
            None => file.insert(create(&dir.join(format!("{name}.parquet")), &batch)?).write(&batch)?,
        }
        session.append(name, batch, None).await.map_err(print::explain)?;
    }
    file.context("a table without rows")?.close()?;
    eprintln!("{name}: {n} rows");
    Ok(n)
}

/// Lines as the table's columns.
async fn typed(session: &mut Session, name: &str, lines: &[u8]) -> anyhow::Result<RecordBatch> {
    let copy = session.execute(&format!("COPY {name} FROM STDIN WITH (DELIMITER '|')")).await.map_err(print::explain)?.pop();
    let Some(Response::CopyIn(mut copy)) = copy else { anyhow::bail!("COPY asks for no rows") };
    copy.push(lines).map_err(print::explain)?;
    copy.into_intake().map(|intake| intake.rows).map_err(print::explain)
}

/// A Parquet file for rows like these.
pub fn create(path: &Path, like: &RecordBatch) -> anyhow::Result<ArrowWriter<File>> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
    let file = File::create(path).with_context(|| format!("cannot write file={}", path.display()))?;
    Ok(ArrowWriter::try_new(file, like.schema(), Some(properties))?)
}
