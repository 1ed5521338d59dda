//! INSERT .. VALUES of many rows: only what must be computed is planned.
//!
//! ```text
//!   (1, 'a', now()), (2, 'b', now()) ─▶ columns of literals, read as their types     1, 2 | a, b
//!                                       the rest: rows that say the same are a group  SELECT now() over as many rows
//!   (1, 2 + 1), (2, 3 + 4)           ─▶ but for numbers and typed literals in them    SELECT l0 + l1 over l0, l1: 2, 1 | 3, 4
//!                                       the rest, if nearly each row is a group       VALUES of those columns alone
//! ```
//! A plan costs as much as all of its expressions, and VALUES has one for each cell: a batch of an object mapper, ten thousand cells and a
//! `now()` or DEFAULT in each row, took seconds to plan. Invariant: the rows are those that the whole VALUES gives, in its order. Where
//! cells count (`nextval`, `currval`, the DEFAULT of a serial column) rows are computed in their order, and where several columns do, row by
//! row, as in PostgreSQL. Cost: a pass over the cells, and one plan for each group.

use super::{
    Session,
    insert::fill_values,
    rows::{one, provider_of, scaled},
    txn::Txn,
};
use crate::{
    catalog::{Column, Relation},
    error::{Error, Result},
    syntax,
};
use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, Visitor, VisitorMut},
};
use regauge_plan::walk::{Visit, VisitMut};
use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

/// What the rows of a group are under.
const ALIKE: &str = "__alike";

/// The rows of a VALUES and nothing around it, each as wide as what is named.
pub(super) fn plain_rows<'a>(query: &'a ast::Query, named: &[usize]) -> Option<&'a ast::Values> {
    let ast::SetExpr::Values(values) = query.body.as_ref() else { return None };
    let more = query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some();
    let fits = !values.rows.is_empty() && values.rows.iter().all(|row| row.len() == named.len());
    (!more && fits).then_some(values)
}

/// A column of literals that fit their type.
pub(super) fn literals(values: &ast::Values, i: usize, ty: &DataType) -> Option<ArrayRef> {
    let cells = values.rows.iter().map(|row| regauge_plan::literal(&row[i], ty)?.to_scalar());
    ScalarValue::iter_to_array(cells.collect::<Option<Vec<_>>>()?).ok()
}

impl Session {
    /// Rows of which some columns need no plan, or all rows the same one; `None` where the VALUES is to be planned as it is.
    pub(super) async fn mixed_rows(
        &mut self,
        txn: &mut Txn,
        query: &ast::Query,
        relation: &Relation,
        named: &[usize],
    ) -> Result<Option<RecordBatch>> {
        let Some(values) = plain_rows(query, named).filter(|v| v.rows.len() > 1) else { return Ok(None) };
        let columns = named.iter().map(|at| &relation.columns[*at]);
        let mut arrays: Vec<Option<ArrayRef>> = columns.clone().enumerate().map(|(i, c)| literals(values, i, &c.ty)).collect();
        let open: Vec<usize> = (0..named.len()).filter(|i| arrays[*i].is_none()).collect();
        let counting =
            open.iter().filter(|i| values.rows.iter().any(|row| counts(&row[**i], &relation.columns[named[**i]]))).count();
        let names: Vec<usize> = open.iter().map(|i| named[*i]).collect();
        let types: Vec<&DataType> = names.iter().map(|at| &relation.columns[*at].ty).collect();
        let computed = match groups(values, &open, &types, counting) {
            Some(groups) => self.grouped(txn, relation, &groups, &names, counting > 1).await?,
            None if open.len() == named.len() => return Ok(None),
            None => self.rest(txn, relation, query, &open, &names).await?,
        };
        for (i, array) in open.iter().zip(computed.columns()) {
            arrays[*i] = Some(array.clone());
        }
        let arrays = arrays.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("a column was lost"))?;
        let fields: Vec<Field> =
            columns.zip(&arrays).map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map(Some).map_err(Error::arrow)
    }

    /// Group by group, each row put where it belongs.
    async fn grouped(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        groups: &[Group],
        names: &[usize],
        row_by_row: bool,
    ) -> Result<RecordBatch> {
        let fields: Vec<Field> =
            names.iter().map(|at| &relation.columns[*at]).map(|c| Field::new(&c.name, c.ty.clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut parts = Vec::with_capacity(groups.len());
        let mut places: Vec<(usize, u64)> = vec![];
        for group in groups {
            let computed = self.of_group(txn, relation, group, names, row_by_row).await?;
            let columns = computed.columns().iter().zip(schema.fields()).map(|(column, field)| scaled(column, field));
            let columns = columns.collect::<Result<_>>()?;
            parts.push(RecordBatch::try_new(schema.clone(), columns).map_err(Error::arrow)?);
            let begin = places.len() as u64;
            places.extend(group.rows.iter().zip(begin..).map(|(row, at)| (*row, at)));
        }
        let all = one(&schema, &parts)?;
        if all.num_rows() != places.len() {
            return Err(Error::internal(format!("rows of a VALUES were lost rows={} of={}", all.num_rows(), places.len())));
        }
        if let [_] = parts.as_slice() {
            return Ok(all);
        }
        places.sort_unstable();
        let places = UInt64Array::from_iter_values(places.into_iter().map(|(_, at)| at));
        take_record_batch(&all, &places).map_err(Error::arrow)
    }

    /// Rows that say the same, as a query over as many rows.
    async fn of_group(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        group: &Group,
        names: &[usize],
        row_by_row: bool,
    ) -> Result<RecordBatch> {
        let item = |(n, (cell, at)): (usize, (&ast::Expr, &usize))| {
            let cell = (!syntax::is_default(cell)).then(|| cell.clone());
            Ok(syntax::expr_as(Session::value_for(&relation.columns[*at], cell)?, &format!("__c{n}")))
        };
        let items = group.cells.iter().zip(names).enumerate().map(item).collect::<Result<_>>()?;
        let query = syntax::select(items, &syntax::quote(ALIKE), None)?;
        let rows: ArrayRef = Arc::new(BooleanArray::from(vec![true; group.rows.len()]));
        let mut columns = vec![("__row".to_owned(), rows)];
        for (n, literals) in group.literals.iter().enumerate() {
            let column = ScalarValue::iter_to_array(literals.iter().cloned()).map_err(Error::from_datafusion)?;
            columns.push((literal_name(n), column));
        }
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
        let rows = rows.map_err(Error::arrow)?;
        let rows = if row_by_row { (0..rows.num_rows()).map(|at| rows.slice(at, 1)).collect() } else { vec![rows] };
        let mut scope = self.scope(Some(txn));
        scope.own.insert(ALIKE.to_owned(), provider_of(rows)?);
        let kept = self.planned(txn, query, scope, None, None).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        one(&kept.plan.schema(), &batches)
    }

    /// What is no literal, as a VALUES of its own.
    async fn rest(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        query: &ast::Query,
        open: &[usize],
        names: &[usize],
    ) -> Result<RecordBatch> {
        let mut query = query.clone();
        if let ast::SetExpr::Values(values) = query.body.as_mut() {
            for row in &mut values.rows {
                let mut i = 0..row.len();
                row.retain(|_| i.next().is_some_and(|i| open.contains(&i)));
            }
        }
        fill_values(&mut query, relation, names)?;
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query, scope, None, None).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        one(&kept.plan.schema(), &batches)
    }
}

/// Rows that say the same but for their literals.
struct Group {
    /// What they say, over the columns of their literals.
    cells: Vec<ast::Expr>,
    /// For each literal in it the values, one for each row.
    literals: Vec<Vec<ScalarValue>>,
    /// Which rows of the VALUES they are.
    rows: Vec<usize>,
}

/// The groups of all rows; `None` where a cell means another thing over other rows, and where so many plans would cost more than one of the
/// whole. Where cells count a group is a run of rows.
fn groups(values: &ast::Values, open: &[usize], kinds: &[&DataType], counting: usize) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = vec![];
    let mut known: HashMap<String, usize> = HashMap::new();
    let groups_max = if counting > 1 { usize::MAX } else { values.rows.len() / 2 };
    for (at, row) in values.rows.iter().enumerate() {
        let mut lift = Lift::default();
        let mut cells = Vec::with_capacity(open.len());
        for (i, ty) in open.iter().zip(kinds) {
            // What is a literal and nothing else is read as its column's type.
            if let Some(value) = regauge_plan::literal(&row[*i], ty).and_then(|value| value.to_scalar()) {
                cells.push(lift.column(value));
                continue;
            }
            let mut cell = row[*i].clone();
            if names_columns(&cell) || VisitMut::visit(&mut cell, &mut lift).is_break() {
                return None;
            }
            cells.push(cell);
        }
        let types: Vec<_> = lift.literals.iter().map(ScalarValue::data_type).collect();
        let shown: Vec<String> = cells.iter().map(ToString::to_string).collect();
        let key = format!("{}\n{types:?}", shown.join("\n"));
        let group = match known.get(&key) {
            Some(group) if counting == 0 || *group + 1 == groups.len() => *group,
            _ => {
                let literals = vec![vec![]; lift.literals.len()];
                groups.push(Group { cells, literals, rows: vec![] });
                known.insert(key, groups.len() - 1);
                groups.len() - 1
            }
        };
        if groups.len() > 1 && groups.len() > groups_max {
            return None;
        }
        let group = &mut groups[group];
        group.rows.push(at);
        group.literals.iter_mut().zip(lift.literals).for_each(|(all, one)| all.push(one));
    }
    Some(groups)
}

fn literal_name(n: usize) -> String {
    format!("__l{n}")
}

/// Whether an expression names a column, which no row of a VALUES has. Asked before columns stand in the place of literals: a user may write
/// their names, too.
fn names_columns(cell: &ast::Expr) -> bool {
    struct Look;
    impl Visitor for Look {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let names = matches!(e, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)) && !syntax::is_default(e);
            if names { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    cell.visit(&mut Look).is_break()
}

/// Puts columns in the place of literals, and breaks off where an expression asks something, or does not give each row one
/// value. A string has no type by itself: it stays where that matters, and what reads its arguments as constants keeps them.
#[derive(Default)]
struct Lift {
    literals: Vec<ScalarValue>,
    /// Around what is visited: expressions whose literals stay.
    held: usize,
}

impl Lift {
    /// The column that stands for a literal.
    fn column(&mut self, value: ScalarValue) -> ast::Expr {
        let name = literal_name(self.literals.len());
        self.literals.push(value);
        ast::Expr::CompoundIdentifier(vec![syntax::ident(ALIKE), syntax::ident(&name)])
    }

    /// Strings whose type no other row can change: those of an array of strings, of a chain of `||`, and of a call that means the same whether
    /// they are open or texts.
    fn texts(&mut self, e: &mut ast::Expr) {
        match e {
            ast::Expr::Array(list) if list.elem.iter().all(is_string) => list.elem.iter_mut().for_each(|e| self.text(e)),
            ast::Expr::BinaryOp { op: ast::BinaryOperator::StringConcat, .. } if is_chain(e) => self.chain(e),
            ast::Expr::Function(f) if takes_texts(f) => {
                let ast::FunctionArguments::List(list) = &mut f.args else { return };
                for arg in &mut list.args {
                    if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) = arg {
                        self.text(e);
                    }
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, e: &mut ast::Expr) {
        if let ast::Expr::Value(v) = &*e
            && let ast::Value::SingleQuotedString(text) = &v.value
        {
            *e = self.column(ScalarValue::Utf8(Some(text.clone())));
        }
    }

    fn chain(&mut self, e: &mut ast::Expr) {
        match e {
            ast::Expr::BinaryOp { left, right, .. } => {
                self.chain(left);
                self.text(right);
            }
            e => self.text(e),
        }
    }

    fn holds(e: &ast::Expr) -> bool {
        match e {
            ast::Expr::Interval(_) => true,
            ast::Expr::Function(f) => {
                regauge_plan::functions::builtin(&name_of(f).unwrap_or_default()).is_some_and(|known| known.refine.is_some())
            }
            _ => false,
        }
    }
}

fn is_string(e: &ast::Expr) -> bool {
    matches!(e, ast::Expr::Value(v) if matches!(v.value, ast::Value::SingleQuotedString(_)))
}

/// `'a' || 'b' || 'c'`
fn is_chain(e: &ast::Expr) -> bool {
    match e {
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::StringConcat, right } => is_chain(left) && is_string(right),
        e => is_string(e),
    }
}

/// Whether a call of strings and other literals takes its strings as texts, and would take texts as it takes them.
fn takes_texts(call: &ast::Function) -> bool {
    let ast::FunctionArguments::List(list) = &call.args else { return false };
    let Some(name) = name_of(call).filter(|name| name != "pg_typeof") else { return false };
    let Some(def) = regauge_plan::functions::builtin(&name) else { return false };
    let kind = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) if is_string(e) => Some(None),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Some(Some(regauge_plan::typed_literal(e)?.ty)),
        _ => None,
    };
    let Some(kinds) = list.args.iter().map(kind).collect::<Option<Vec<_>>>() else { return false };
    let with = |open: DataType| kinds.iter().map(|kind| kind.clone().unwrap_or_else(|| open.clone())).collect::<Vec<_>>();
    let (Ok(open), Ok(texts)) = ((def.bind)(&with(DataType::Null)), (def.bind)(&with(DataType::Utf8))) else { return false };
    let are_texts = kinds.iter().zip(&open.args).all(|(kind, ty)| kind.is_some() || *ty == DataType::Utf8);
    are_texts && open.args == texts.args && open.ret == texts.ret
}

impl VisitorMut for Lift {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, e: &mut ast::Expr) -> ControlFlow<()> {
        match &*e {
            // what has been put here has no parts
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => return ControlFlow::Continue(()),
            ast::Expr::Function(f) if !of_one_row(f) => return ControlFlow::Break(()),
            _ => {}
        }
        if self.held == 0
            && let Some(value) = regauge_plan::typed_literal(e).and_then(|value| value.to_scalar())
        {
            *e = self.column(value);
        }
        if self.held == 0 {
            self.texts(e);
        }
        self.held += usize::from(Lift::holds(e));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut ast::Expr) -> ControlFlow<()> {
        self.held -= usize::from(Lift::holds(e));
        ControlFlow::Continue(())
    }
}

/// Functions that count, each row on its own.
const COUNTING: [&str; 4] = ["nextval", "currval", "lastval", "setval"];

/// Whether a cell of a column reads or moves a sequence.
fn counts(cell: &ast::Expr, column: &Column) -> bool {
    struct Look;
    impl Visitor for Look {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let counts = matches!(e, ast::Expr::Function(f) if name_of(f).is_some_and(|name| COUNTING.contains(&name.as_str())));
            if counts { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    match syntax::is_default(cell) {
        true => column.absent().is_some_and(|default| COUNTING.iter().any(|name| default.contains(name))),
        false => cell.visit(&mut Look).is_break(),
    }
}

fn name_of(call: &ast::Function) -> Option<String> {
    call.name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase())
}

/// Whether a call is of a function that we know to give one value for one row: aggregates, windows and rows out of rows are refused, or mean
/// another thing, in VALUES and over many rows.
fn of_one_row(call: &ast::Function) -> bool {
    let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
    let known = |name: String| COUNTING.contains(&name.as_str()) || regauge_plan::functions::is_scalar(&name);
    plain && call.name.0.len() == 1 && name_of(call).is_some_and(known)
}
