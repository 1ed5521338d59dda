//! Rows out of arrays and series. What the rows keep is computed before, once for each row that is unfolded; the lists are computed by
//! the operator itself, in pieces.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{LogicalPlan, Unnest};

use super::{Builder, Rel, Result, scalar};
use crate::error::PlanError;
use crate::flowplan::types::{is_supported, sql_name};
use crate::flowplan::{Op, RowsOf};
use crate::functions::rows::FULL_NAME;
use crate::scalar::Scalar;

impl Builder {
    pub(super) fn unnest(&mut self, u: &Unnest) -> Result<Rel> {
        let refused = || PlanError::unsupported("unnest of this value is not offered in a view", "unnest an array");
        if !u.struct_type_columns.is_empty() || u.list_type_columns.iter().any(|(_, l)| l.depth != 1) {
            return Err(refused());
        }
        let is_list = |c: usize| u.list_type_columns.iter().any(|(i, _)| *i == c);
        let (rel, exprs) = self.below(&u.input)?;
        let outer = u.options.preserve_nulls();
        // Of each output column: a kept expression, or a list.
        let (mut kept, mut lists, mut places) = (vec![], vec![], vec![]);
        for input in &u.dependency_indices {
            let Lowered { scalar, ty } = exprs.get(*input).ok_or_else(refused)?;
            if is_list(*input) {
                places.push(Err(lists.len()));
                lists.push(rows_of(scalar.clone(), ty, outer)?);
            } else {
                places.push(Ok(kept.len()));
                kept.push(scalar.clone());
            }
        }
        let (node, kept, lists) = self.unfolded(rel, kept, lists)?;
        let keep: Vec<usize> = kept.iter().filter_map(column).collect::<BTreeSet<_>>().into_iter().collect();
        let at = |c: usize| keep.iter().position(|k| *k == c).unwrap_or(usize::MAX);
        let kept: Vec<Scalar> = kept.into_iter().map(|e| e.map_columns(&|c| Scalar::Column(at(c)))).collect();
        let n_keep = keep.len();
        let node = self.push(Op::FlatMap { keep, lists, outer }, vec![node])?;
        let exprs = places.into_iter().map(|p| match p {
            Ok(i) => kept.get(i).cloned().unwrap_or(Scalar::Column(usize::MAX)),
            Err(list) => Scalar::Column(n_keep + list),
        });
        Ok(Rel { node, filter: vec![], exprs: exprs.collect() })
    }

    /// The input with what its projections compute: a list may be what no column can hold, so it is not made one.
    fn below(&mut self, input: &LogicalPlan) -> Result<(Rel, Vec<Lowered>)> {
        match input {
            LogicalPlan::SubqueryAlias(a) => self.below(&a.input),
            LogicalPlan::Projection(p) => {
                let (rel, inner) = self.below(&p.input)?;
                let inner: Vec<Scalar> = inner.into_iter().map(|e| e.scalar).collect();
                let mut exprs = vec![];
                for (e, field) in p.expr.iter().zip(p.schema.fields()) {
                    let scalar = super::builder::substitute(scalar::lower_list(e, p.input.schema())?, &inner);
                    exprs.push(Lowered { scalar, ty: scalar::output_type(field.data_type()) });
                }
                Ok((rel, exprs))
            }
            other => {
                let rel = self.lower(other)?;
                let exprs = self.typed_exprs(&rel);
                Ok((rel, exprs))
            }
        }
    }

    fn typed_exprs(&self, rel: &Rel) -> Vec<Lowered> {
        let types = self.types(rel.node);
        let typed = |e: &Scalar| Lowered { scalar: e.clone(), ty: e.data_type(types).unwrap_or(DataType::Null) };
        rel.exprs.iter().map(typed).collect()
    }

    /// A node over which what is kept are columns and constants.
    fn unfolded(&mut self, rel: Rel, kept: Vec<Scalar>, lists: Vec<RowsOf>) -> Result<(usize, Vec<Scalar>, Vec<RowsOf>)> {
        let plain = |e: &Scalar| matches!(e, Scalar::Column(_) | Scalar::Literal(_));
        if kept.iter().all(plain) {
            let node = if rel.filter.is_empty() {
                rel.node
            } else {
                let width = self.types(rel.node).len();
                self.materialize(Rel { exprs: super::columns(width), ..rel })?
            };
            return Ok((node, kept, lists));
        }
        let mut used = BTreeSet::new();
        for arg in lists.iter().flat_map(|l| &l.args) {
            arg.walk(&mut |s| used.extend(column(s)));
        }
        let used: Vec<usize> = used.into_iter().collect();
        let n_kept = kept.len();
        let exprs = kept.into_iter().chain(used.iter().map(|c| Scalar::Column(*c))).collect();
        let node = self.materialize(Rel { exprs, ..rel })?;
        let at = |c: usize| Scalar::Column(n_kept + used.iter().position(|u| *u == c).unwrap_or(usize::MAX));
        let lists = lists.into_iter().map(|l| l.map_columns(&at)).collect();
        Ok((node, super::columns(n_kept), lists))
    }
}

/// An expression and its type, which may be none that a column has.
struct Lowered {
    scalar: Scalar,
    ty: DataType,
}

fn column(e: &Scalar) -> Option<usize> {
    if let Scalar::Column(c) = e { Some(*c) } else { None }
}

fn rows_of(list: Scalar, ty: &DataType, outer: bool) -> Result<RowsOf> {
    let DataType::List(item) = ty else {
        return Err(PlanError::unsupported(format!("unnest of {} is not offered in a view", sql_name(ty)), "unnest an array"));
    };
    let item = item.data_type().clone();
    if !is_supported(&item) {
        return Err(PlanError::unsupported(format!("type {} is not offered in a view", sql_name(&item)), "cast the elements"));
    }
    Ok(match list {
        // The operator knows by itself which rows have no elements.
        Scalar::Call { func, mut args, .. } if func == FULL_NAME && outer && args.len() == 1 => {
            rows_of(args.pop().unwrap_or(Scalar::Column(usize::MAX)), ty, outer)?
        }
        Scalar::Call { func, args, .. } => RowsOf { func: Some(func), args, item },
        list => RowsOf { func: None, args: vec![list], item },
    })
}
