//! EXPLAIN: what a query does, what a view maintains and at what cost.

use super::{Session, show::texts, txn::Txn};
use crate::{
    catalog::{
        Kind,
        late::{self, Late},
    },
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use datafusion::{physical_plan::displayable, sql::sqlparser::ast};
use futures::TryStreamExt;
use regauge_plan::{
    FlowPlan,
    parse::{CreateView, RelationName},
};
use std::sync::Arc;

impl Session {
    pub(super) fn explain_view(&mut self, txn: &mut Txn, name: &RelationName, analyze: bool) -> Result<Response> {
        let relation = self.target(txn, name)?;
        let (Kind::Materialized { versions, routed }, Some(view)) = (&relation.kind, relation.view()) else {
            let message = format!("\"{name}\" is not a materialized view");
            return Err(Error::invalid(code::WRONG_OBJECT, message).hint("EXPLAIN SELECT ... explains a query"));
        };
        let no = name.version.map_or(*routed, regauge_types::VersionNo);
        let version = versions.get(&no).ok_or_else(|| {
            Error::no_relation(name)
                .hint(format!("versions there are: {}", versions.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
        })?;
        // What it reads stands in the plan, plain views opened: it is shown to who may read that himself.
        let mut scope = self.scope(Some(txn));
        Arc::make_mut(&mut scope.who).opened = true;
        let scope = scope.of_definition(&relation, &version.definition);
        self.core.planner.uses(&crate::syntax::query(&version.definition.sql)?, &scope)?;
        let plan = FlowPlan::from_bytes(&version.plan)
            .map_err(|e| Error::new(regauge_types::ErrorKind::Corrupt, code::CORRUPT, e.to_string()))?;
        let mut lines: Vec<String> = plan.explain().lines().map(str::to_owned).collect();
        lines.push(format!("fingerprint {}", crate::catalog::hex(&version.fingerprint)));
        let late = Late::of(version);
        if late != Late::Correct {
            lines.push(format!("late = '{}': streams that have a watermark are read WHERE NOT _late", late.name()));
        }
        if version.options.contains_key(late::EMIT) {
            lines.push("emit final: a row is sent once, when no record can change it any more".to_owned());
        }
        if analyze {
            let report = self.core.versions.report(view, no);
            lines.push(format!("state {}", report.state));
            lines.extend(report.upper.map(|e| format!("epoch {e}")));
            lines.extend(report.error.map(|e| format!("error {e}")));
            lines.extend(self.core.versions.operator_lines(view, no));
        }
        plan_lines(lines)
    }

    pub(super) async fn explain_query(
        &mut self,
        txn: &mut Txn,
        query: &ast::Query,
        analyze: bool,
        as_view: Option<&CreateView>,
    ) -> Result<Response> {
        // A plan tells how views are made, so it is shown to who may read what they read.
        let mut scope = self.scope(Some(txn));
        Arc::make_mut(&mut scope.who).opened = true;
        if let Some(create) = as_view {
            self.core.planner.uses(&create.query, &scope)?;
            let (_, plan) = self.plan_created(txn, create)?;
            return plan_lines(plan.explain().lines().map(str::to_owned).collect());
        }
        let kept = self.planned(txn, query.clone(), scope, None, None).await?;
        if !analyze {
            return plan_lines(displayable(kept.plan.as_ref()).indent(false).to_string().lines().map(str::to_owned).collect());
        }
        let reading = self.bind(txn, &kept.uses, true).await?;
        let at = reading.at;
        let n_rows = self.core.planner.run(&kept.plan, reading)?.try_fold(0, |n, b| async move { Ok(n + b.num_rows()) }).await;
        let n_rows = n_rows.map_err(Error::from_datafusion)?;
        let mut lines: Vec<String> =
            displayable(kept.plan.as_ref()).indent(false).to_string().lines().map(str::to_owned).collect();
        lines.push(format!("rows {n_rows}"));
        lines.push(format!("epoch {at}"));
        plan_lines(lines)
    }
}

fn plan_lines(lines: Vec<String>) -> Result<Response> {
    let rows: Vec<_> = lines.into_iter().map(|line| vec![Some(line)]).collect();
    texts(&["QUERY PLAN"], &rows, "EXPLAIN")
}
