//! Prepared statements: parameters have types, values take their places.

use crate::common::{answer, run, site};
use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, StringArray},
    datatypes::DataType,
};
use std::sync::Arc;

fn int(n: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![n]))
}

fn text(t: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![t]))
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_types_of_what_they_meet() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)").await;
    let insert = s.prepare("INSERT INTO t VALUES ($1, $2) RETURNING id", &[]).await.unwrap();
    assert_eq!(insert.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(insert.columns.as_ref().unwrap().field(0).name(), "id");
    for (id, v) in [(1, "it's"), (2, "'); DROP TABLE t; --")] {
        let rows = answer(s.run(&insert, &[int(id), text(v)]).await.unwrap()).await.unwrap();
        assert_eq!(rows, [id.to_string()]);
    }
    let select = s.prepare("SELECT v FROM t WHERE id = $1", &[]).await.unwrap();
    assert_eq!(select.params, [DataType::Int32]);
    assert_eq!(answer(s.run(&select, &[int(2)]).await.unwrap()).await.unwrap(), ["'); DROP TABLE t; --"]);
    let update = s.prepare("UPDATE t SET v = $2 WHERE id = $1", &[]).await.unwrap();
    assert_eq!(update.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(answer(s.run(&update, &[int(1), text("new")]).await.unwrap()).await.unwrap(), ["UPDATE 1"]);
    let given = s.prepare("SELECT $1 + 1", &[Some(DataType::Int64)]).await.unwrap();
    let seven: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    assert_eq!(answer(s.run(&given, &[seven]).await.unwrap()).await.unwrap(), ["8"]);
    assert_eq!(s.run(&given, &[]).await.err().unwrap().sqlstate, "08P01");
}
