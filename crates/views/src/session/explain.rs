//! EXPLAIN: what a query does, what a view maintains and at what cost.

use super::{Session, show::texts, txn::Txn};
use crate::{
    catalog::{
        Kind,
        late::{self, Late},
    },
    error::{Error, Result, sqlstate as code},
    response::Response,
    syntax,
};
use datafusion::{physical_plan::displayable, sql::sqlparser::ast};
use futures::TryStreamExt;
use regauge_plan::{
    FlowPlan,
    parse::{CreateView, RelationName, Statement},
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

    /// What a change reads and which table it writes to; nothing of it is done.
    pub(super) async fn explain_change(&mut self, txn: &mut Txn, change: &Statement) -> Result<Response> {
        let (word, table, query) = match change {
            Statement::Insert(insert) => ("Insert", &insert.table, insert.source.as_deref().cloned()),
            Statement::Update(update) => {
                let name = update.alias.as_deref().unwrap_or(&update.table.name);
                let values = update.assignments.iter().enumerate();
                let values = values.filter_map(|(i, a)| Some(syntax::expr_as(a.value.clone()?, &format!("new_{i}"))));
                let items = std::iter::once(syntax::all_of(name)).chain(values).collect();
                ("Update", &update.table, Some(self.changed(txn, &update.table, name, items, &update.from, &update.selection)?))
            }
            Statement::Delete(delete) => {
                let name = delete.alias.as_deref().unwrap_or(&delete.table.name);
                let items = vec![syntax::all_of(name)];
                ("Delete", &delete.table, Some(self.changed(txn, &delete.table, name, items, &delete.using, &delete.selection)?))
            }
            Statement::Merge(merge) => {
                let items = vec![syntax::all_of(merge.name()), syntax::all_of(&merge.source_name)];
                let (source, on) = (std::slice::from_ref(&merge.source), Some(merge.on.clone()));
                ("Merge", &merge.table, Some(self.changed(txn, &merge.table, merge.name(), items, source, &on)?))
            }
            _ => return Err(Error::unsupported("EXPLAIN of this statement is not offered")),
        };
        let relation = self.target(txn, table)?;
        let mut lines = vec![format!("{word} on {}", relation.name)];
        let query = query.filter(|q| !matches!(q.body.as_ref(), ast::SetExpr::Values(_)));
        match query {
            Some(query) => {
                let mut scope = self.scope(Some(txn));
                let who = Arc::make_mut(&mut scope.who);
                who.opened = true;
                who.judged.insert(relation.id);
                let kept = self.planned(txn, query, scope, None, None).await?;
                let plan = displayable(kept.plan.as_ref()).indent(false).to_string();
                lines.extend(plan.lines().map(|line| format!("  {line}")));
            }
            None => lines.push("  Values".to_owned()),
        }
        plan_lines(lines)
    }

    /// The rows that an UPDATE or a DELETE finds, as a query.
    fn changed(
        &self,
        txn: &Txn,
        table: &RelationName,
        name: &str,
        items: Vec<ast::SelectItem>,
        with: &[ast::TableWithJoins],
        selection: &Option<ast::Expr>,
    ) -> Result<ast::Query> {
        let relation = self.target(txn, table)?;
        let (schema, of) = (syntax::quote(&relation.name.schema), syntax::quote(&relation.name.name));
        let mut query = syntax::select(items, &format!("{schema}.{of} AS {}", syntax::quote(name)), selection.clone())?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.from.extend(with.iter().cloned());
        }
        Ok(query)
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
        let kept = self.planned(txn, syntax::unlocked(query), scope, None, None).await?;
        let past = kept.as_of.map(|at| format!("as of epoch {at}"));
        if !analyze {
            let plan = displayable(kept.plan.as_ref()).indent(false).to_string();
            return plan_lines(plan.lines().map(str::to_owned).chain(past).collect());
        }
        let reading = self.bind_kept(txn, &kept, true).await?;
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
