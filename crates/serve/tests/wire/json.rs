//! uuid, json and jsonb of both protocols: numbers of types, text and binary forms, parameters, arrays.

use crate::common::{site, sqlstate};
use bytes::BytesMut;
use std::error::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// The bytes of a value as they go over the wire.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Bytes, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Bytes {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    to_sql_checked!();
}

fn bytes(raw: impl AsRef<[u8]>) -> Bytes {
    Bytes(raw.as_ref().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn uuid_json_and_jsonb_go_both_ways_in_their_binary_forms() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (k UUID PRIMARY KEY, b JSONB, j JSON)").await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3)").await.unwrap();
    assert_eq!(insert.params(), [Type::UUID, Type::JSONB, Type::JSON]);
    let uuid: Vec<u8> = (0..16).collect();
    let (jsonb, json) = (b"\x01{\"b\":1e1, \"a\" :\"\xc3\xa9\"}", b"{ \"b\" : 1e1 }");
    client.execute(&insert, &[&bytes(&uuid), &bytes(jsonb), &bytes(json)]).await.unwrap();

    let select = client.prepare("SELECT k, b, j, ARRAY[k, NULL::uuid], b -> 'a' FROM t WHERE k = $1 AND b @> $2").await.unwrap();
    assert_eq!(select.params(), [Type::UUID, Type::JSONB]);
    let types: Vec<Type> = select.columns().iter().map(|c| c.type_().clone()).collect();
    assert_eq!(types, [Type::UUID, Type::JSONB, Type::JSON, Type::UUID_ARRAY, Type::JSONB]);
    let row = client.query_one(&select, &[&bytes(&uuid), &bytes("\x01{\"b\": 10.0}")]).await.unwrap();
    assert_eq!(row.get::<_, Bytes>(0), bytes(&uuid));
    assert_eq!(row.get::<_, Bytes>(1), bytes("\x01{\"a\": \"é\", \"b\": 10}"));
    assert_eq!(row.get::<_, Bytes>(2), bytes(json));
    let array = [
        &1u32.to_be_bytes()[..],
        &[0, 0, 0, 1],
        &2950u32.to_be_bytes(),
        &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 16],
        &uuid,
        &[255; 4],
    ];
    assert_eq!(row.get::<_, Bytes>(3), bytes(array.concat()));
    assert_eq!(row.get::<_, Bytes>(4), bytes("\x01\"é\""));

    for (parameters, state) in [
        ([bytes([0; 15]), bytes("\x01{}"), bytes("{}")], "22P03"),
        ([bytes([0; 16]), bytes("\x02{}"), bytes("{}")], "XX000"),
        ([bytes([0; 16]), bytes(""), bytes("{}")], "22P03"),
        ([bytes([0; 16]), bytes("\x01{"), bytes("{}")], "22P02"),
        ([bytes([0; 16]), bytes("\x01{}"), bytes("{")], "22P02"),
        ([bytes([0; 16]), bytes(format!("\x01{}", "[".repeat(10_000))), bytes("1")], "54001"),
    ] {
        let [k, b, j] = &parameters;
        let error = client.execute(&insert, &[k, b, j]).await.unwrap_err();
        assert_eq!(sqlstate(&error), state, "{parameters:?}");
    }
}
