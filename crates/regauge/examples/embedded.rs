//! regauge as a library: a folder, SQL with parameters, a view that is kept right, and what survives closing it.
//!
//! `cargo run --example embedded [FOLDER]`
#![allow(clippy::print_stdout)]

use regauge::{Database, Result};
use std::path::Path;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    run(Path::new(&folder)).await
}

/// The example, in `folder`.
pub async fn run(folder: &Path) -> Result<()> {
    let db = Database::open(folder)?;
    let mut connection = db.connect()?;
    connection
        .batch(
            "CREATE TABLE IF NOT EXISTS products (id INT PRIMARY KEY, name TEXT NOT NULL, price NUMERIC(10, 2));
             CREATE STREAM IF NOT EXISTS orders (product INT, quantity INT, at TIMESTAMPTZ);
             CREATE MATERIALIZED VIEW IF NOT EXISTS turnover AS
                 SELECT p.name, sum(o.quantity) AS sold, sum(o.quantity * p.price) AS turnover
                 FROM orders o JOIN products p ON p.id = o.product GROUP BY p.name",
        )
        .await?;

    let product = "INSERT INTO products VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET price = excluded.price";
    connection.execute(product, &[1.into(), "lamp".into(), "19.90".into()]).await?;
    connection.execute(product, &[2.into(), "chair".into(), "89.00".into()]).await?;
    for (id, quantity) in [(1, 2), (2, 1), (1, 1)] {
        let order = "INSERT INTO orders VALUES ($1, $2, $3)";
        connection.execute(order, &[id.into(), quantity.into(), "2026-11-26 08:00+00".into()]).await?;
    }
    // Acknowledged is durable, and this connection's reads have seen it: no waiting for the view.
    println!("{}", connection.query("SELECT * FROM turnover ORDER BY name", &[]).await?);

    // A price is corrected; every order's turnover with it.
    connection.execute("UPDATE products SET price = $2 WHERE id = $1", &[1.into(), "17.50".into()]).await?;
    println!("{}", connection.query("SELECT * FROM turnover WHERE name = $1", &["lamp".into()]).await?);

    // Another session, which has seen nothing yet, takes over what this one has.
    let mut other = db.connect()?;
    other.observe(&connection.token()).await?;
    let again = other.query("SELECT turnover FROM turnover WHERE name = 'lamp'", &[]).await?;
    println!("the other session sees {:?}", again.texts());
    Ok(())
}
