//! The eight tables at a hundredth of scale factor 1, every fourth order, a twentieth of those held back for the refresh.

use std::fmt::Display;

use regauge_oracle::slt::Block;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

const SCALE: f64 = 0.01;

/// The specification's tables; fixed texts are text.
pub const TABLES: &[&str] = &[
    "CREATE TABLE region (r_regionkey bigint PRIMARY KEY, r_name text NOT NULL, r_comment text)",
    "CREATE TABLE nation (n_nationkey bigint PRIMARY KEY, n_name text NOT NULL, n_regionkey bigint NOT NULL, n_comment text)",
    "CREATE TABLE part (p_partkey bigint PRIMARY KEY, p_name text NOT NULL, p_mfgr text NOT NULL, p_brand text NOT NULL, \
     p_type text NOT NULL, p_size integer NOT NULL, p_container text NOT NULL, p_retailprice numeric(15, 2) NOT NULL, p_comment text)",
    "CREATE TABLE supplier (s_suppkey bigint PRIMARY KEY, s_name text NOT NULL, s_address text NOT NULL, s_nationkey bigint NOT NULL, \
     s_phone text NOT NULL, s_acctbal numeric(15, 2) NOT NULL, s_comment text)",
    "CREATE TABLE partsupp (ps_partkey bigint, ps_suppkey bigint, ps_availqty integer NOT NULL, \
     ps_supplycost numeric(15, 2) NOT NULL, ps_comment text, PRIMARY KEY (ps_partkey, ps_suppkey))",
    "CREATE TABLE customer (c_custkey bigint PRIMARY KEY, c_name text NOT NULL, c_address text NOT NULL, c_nationkey bigint NOT NULL, \
     c_phone text NOT NULL, c_acctbal numeric(15, 2) NOT NULL, c_mktsegment text NOT NULL, c_comment text)",
    "CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey bigint NOT NULL, o_orderstatus text NOT NULL, \
     o_totalprice numeric(15, 2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority text NOT NULL, o_clerk text NOT NULL, \
     o_shippriority integer NOT NULL, o_comment text)",
    "CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer, \
     l_quantity numeric(15, 2) NOT NULL, l_extendedprice numeric(15, 2) NOT NULL, l_discount numeric(15, 2) NOT NULL, \
     l_tax numeric(15, 2) NOT NULL, l_returnflag text NOT NULL, l_linestatus text NOT NULL, l_shipdate date NOT NULL, \
     l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct text NOT NULL, l_shipmode text NOT NULL, \
     l_comment text, PRIMARY KEY (l_orderkey, l_linenumber))",
];

/// What PostgreSQL alone is given: query 20 asks for the items of each part and supplier, and read all items for each of them, more than a
/// minute for one answer.
pub const INDEXES: &[&str] = &["CREATE INDEX ON lineitem (l_partkey, l_suppkey)"];

/// Changes beyond the specification's refreshes: columns that are keys of joins, of groups and of conditions.
pub const UPDATES: &[&str] = &[
    "UPDATE lineitem SET l_discount = l_discount + 0.01, l_quantity = l_quantity + 1 WHERE l_orderkey % 64 = 3",
    "UPDATE lineitem SET l_returnflag = 'R', l_receiptdate = l_receiptdate + 3 WHERE l_orderkey % 50 = 4",
    "UPDATE customer SET c_mktsegment = 'BUILDING', c_acctbal = c_acctbal - 100 WHERE c_custkey % 10 = 3",
    "UPDATE supplier SET s_nationkey = (s_nationkey + 1) % 25 WHERE s_suppkey % 7 = 0",
    "UPDATE part SET p_brand = 'Brand#12', p_size = 1 + p_size % 50 WHERE p_partkey % 11 = 0",
    "UPDATE partsupp SET ps_supplycost = ps_supplycost * 0.9, ps_availqty = ps_availqty + 10 WHERE ps_partkey % 13 = 5",
    "UPDATE orders SET o_orderpriority = '1-URGENT', o_comment = 'special requests' WHERE o_orderkey % 17 = 0",
    "UPDATE nation SET n_regionkey = 3 WHERE n_name = 'CHINA'",
];

/// Rows as lines of COPY: the generator's form without its last bar.
fn copy(table: &str, rows: impl Iterator<Item = impl Display>) -> Block {
    let lines: Vec<String> = rows.map(|row| row.to_string().trim_end_matches('|').to_string()).collect();
    Block::Copy { sql: format!("COPY {table} FROM STDIN WITH (DELIMITER '|')"), data: lines.join("\n") + "\n", fails: None }
}

/// All but orders and their items.
pub fn small_tables() -> Vec<Block> {
    vec![
        copy("region", RegionGenerator::default().iter()),
        copy("nation", NationGenerator::default().iter()),
        copy("part", PartGenerator::new(SCALE, 1, 1).iter()),
        copy("supplier", SupplierGenerator::new(SCALE, 1, 1).iter()),
        copy("partsupp", PartSuppGenerator::new(SCALE, 1, 1).iter()),
        copy("customer", CustomerGenerator::new(SCALE, 1, 1).iter()),
    ]
}

/// Orders and their items in two lots.
pub struct Orders(OrderGenerator<'static>, LineItemGenerator<'static>);

impl Orders {
    pub fn new() -> Orders {
        Orders(OrderGenerator::new(SCALE, 1, 1), LineItemGenerator::new(SCALE, 1, 1))
    }

    fn lot(&self, lot: impl Fn(i64) -> bool) -> [Block; 2] {
        // keys come eight in a row, then 24 are left out
        let wanted = |key: i64| key / 32 % 4 == 0 && lot(key);
        [
            copy("orders", self.0.iter().filter(|order| wanted(order.o_orderkey))),
            copy("lineitem", self.1.iter().filter(|item| wanted(item.l_orderkey))),
        ]
    }

    /// What is there from the start.
    pub fn first(&self) -> [Block; 2] {
        self.lot(|key| key % 20 != 7)
    }

    /// What the refresh brings.
    pub fn second(&self) -> [Block; 2] {
        self.lot(|key| key % 20 == 7)
    }
}
