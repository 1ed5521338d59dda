//! A small catalog.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use regauge_plan::{
    CatalogView, FlowPlan, ParseLimits, PlanError, PlanOptions, RelationInfo, RelationKind, RelationName, SourceId, Statement,
    parse, plan_view,
};
use regauge_types::{TopicId, VersionNo, ViewId};

pub struct Fixture(HashMap<String, RelationInfo>);

impl CatalogView for Fixture {
    fn relation(&self, name: &RelationName) -> Option<RelationInfo> {
        if name.schema.as_deref().is_some_and(|s| s != "public") {
            return None;
        }
        let mut info = self.0.get(&name.name)?.clone();
        if let (Some(v), SourceId::Version(id, _)) = (name.version, info.id) {
            info.id = SourceId::Version(id, VersionNo(v));
        }
        Some(info)
    }
}

fn schema(columns: &[(&str, DataType)], first_id: u32) -> Arc<Schema> {
    let fields: Vec<_> = columns
        .iter()
        .zip(first_id..)
        .map(|((n, t), id)| {
            let meta = HashMap::from([("regauge.column".to_owned(), id.to_string())]);
            Field::new(*n, t.clone(), true).with_metadata(meta)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

pub fn catalog() -> Fixture {
    use DataType::*;
    let tz = Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let ts = Timestamp(TimeUnit::Microsecond, None);
    let table = |id, columns: &[(&str, DataType)], key: &[usize]| RelationInfo {
        id: SourceId::Topic(TopicId(id)),
        kind: RelationKind::Table,
        schema: schema(columns, 1),
        append_only: false,
        key: Some(key.to_vec()),
        view_sql: None,
        watermark: None,
    };
    let mut all = HashMap::new();
    let orders = table(
        1,
        &[
            ("id", Int64),
            ("customer", Int64),
            ("amount", Decimal128(10, 2)),
            ("qty", Int32),
            ("note", Utf8),
            ("paid", Boolean),
            ("at", ts.clone()),
        ],
        &[0],
    );
    all.insert("orders".to_owned(), orders);
    let customers = [("id", Int64), ("name", Utf8), ("city", Utf8), ("score", Float64), ("born", Date32)];
    all.insert("customers".to_owned(), table(2, &customers, &[0]));
    all.insert("friends".to_owned(), table(3, &[("a", Int64), ("b", Int64)], &[0, 1]));
    let mut clicks = table(
        4,
        &[("who", Int64), ("page", Utf8), ("at", tz), ("ms", Int32), ("gap", Interval(IntervalUnit::MonthDayNano))],
        &[],
    );
    (clicks.kind, clicks.append_only, clicks.key, clicks.watermark) = (RelationKind::Stream, true, None, Some(2));
    all.insert("clicks".to_owned(), clicks);
    let totals = RelationInfo {
        id: SourceId::Version(ViewId(7), VersionNo(2)),
        kind: RelationKind::MaterializedView,
        schema: schema(&[("customer", Int64), ("n", Int64)], 0),
        append_only: false,
        key: Some(vec![0]),
        view_sql: None,
        watermark: None,
    };
    all.insert("totals".to_owned(), totals);
    let paid = RelationInfo {
        id: SourceId::Version(ViewId(8), VersionNo(1)),
        kind: RelationKind::View,
        schema: schema(&[("order_id", Int64), ("who", Int64), ("qty", Int32)], 0),
        append_only: false,
        key: None,
        view_sql: Some("SELECT id, customer, qty FROM orders WHERE paid".into()),
        watermark: None,
    };
    all.insert("paid_orders".to_owned(), paid);
    Fixture(all)
}

/// Plans the text of one query.
pub fn plan(sql: &str) -> Result<FlowPlan, PlanError> {
    let statements = parse(sql, &ParseLimits::default())?;
    match statements.as_slice() {
        [Statement::Query(q)] => plan_view(q, &catalog(), &PlanOptions::default()),
        [Statement::CreateView(v)] => {
            let without_late = v.options.iter().any(|(name, value)| name == "late" && value != "correct");
            let options =
                PlanOptions { columns: v.columns.clone(), without_late, emit_final: v.emit_final, ..PlanOptions::default() };
            plan_view(&v.query, &catalog(), &options)
        }
        other => panic!("one query expected, not {other:?}"),
    }
}
