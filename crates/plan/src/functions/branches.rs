//! The branches of UNION, INTERSECT and EXCEPT take one type for each column, by PostgreSQL's rules, once the types within each
//! branch are settled. A literal of unknown type takes what the other branch has.
//!
//! DataFusion matches the branches when it binds, where a bare integer is still a bigint and a call has the type that its own
//! function would have; so the raw plan's types of a set operation mean nothing, and only the names are kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection, Union};

use super::bind::{self, is_text};
use super::error::EvalError;
use super::semantics::{coerce, is_unknown_literal};
use crate::bind::setop::SetOpNode;
use crate::flowplan::SetOpKind;
use crate::pgtypes::type_name;

/// A set operation with its inputs cast to common types; any other plan as it is.
pub(super) fn unify(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Union(union) => {
            let inputs: Vec<LogicalPlan> = union.inputs.into_iter().map(Arc::unwrap_or_clone).collect();
            let types = common_types(&inputs, "UNION")?;
            let inputs = inputs.into_iter().map(|input| cast_to(input, &types).map(Arc::new)).collect::<DfResult<_>>()?;
            Ok(LogicalPlan::Union(Union { inputs, schema: retyped(&union.schema, &types)? }))
        }
        LogicalPlan::Extension(extension) => {
            let Some(node) = extension.node.as_any().downcast_ref::<SetOpNode>() else {
                return Ok(LogicalPlan::Extension(extension));
            };
            let what = if node.kind == SetOpKind::Intersect { "INTERSECT" } else { "EXCEPT" };
            let sides = [node.left.clone(), node.right.clone()];
            let types = common_types(&sides, what)?;
            let [left, right] = sides.map(|side| cast_to(side, &types));
            let node = node.with_sides(left?, right?)?;
            Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
        }
        plan => Ok(plan),
    }
}

fn common_types(inputs: &[LogicalPlan], what: &str) -> DfResult<Vec<DataType>> {
    let n = inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or_default();
    (0..n)
        .map(|i| {
            let types: Vec<&DataType> = inputs.iter().map(|input| input.schema().field(i).data_type()).collect();
            if types.windows(2).all(|pair| pair[0] == pair[1]) && *types[0] != DataType::Null {
                return Ok(types[0].clone());
            }
            let known = inputs.iter().zip(&types).filter(|(input, _)| literal(input, i).is_none());
            let known: Vec<&DataType> = known.map(|(_, ty)| *ty).collect();
            let other = known.iter().find(|ty| !is_text(ty) && ***ty != DataType::Null);
            if let (Some(other), true) = (other, known.iter().any(|ty| is_text(ty))) {
                let message = format!("{what} types text and {} cannot be matched", type_name(other));
                return Err(EvalError::new("42804", message).into());
            }
            Ok(bind::common_all(if known.is_empty() { types } else { known }, what)?)
        })
        .collect()
}

/// The literal of unknown type that a branch selects as its i-th column.
fn literal(input: &LogicalPlan, i: usize) -> Option<&Expr> {
    let LogicalPlan::Projection(projection) = input else { return None };
    let mut e = projection.expr.get(i)?;
    while let Expr::Alias(alias) = e {
        e = &alias.expr;
    }
    is_unknown_literal(e).then_some(e)
}

fn cast_to(input: LogicalPlan, types: &[DataType]) -> DfResult<LogicalPlan> {
    let input = read_literals(input, types)?;
    let schema = Arc::clone(input.schema());
    if schema.fields().iter().zip(types).all(|(field, ty)| field.data_type() == ty) {
        return Ok(input);
    }
    let exprs = schema.columns().into_iter().zip(schema.fields().iter().zip(types)).enumerate();
    let exprs: Vec<Expr> = exprs
        .map(|(i, (column, (field, ty)))| {
            let repeated = schema.fields()[..i].iter().any(|f| f.name() == field.name());
            let name = if repeated { format!("{}\u{1}{i}", field.name()) } else { field.name().clone() };
            Ok(coerce(Expr::Column(column), ty, &schema)?.alias(name))
        })
        .collect::<DfResult<_>>()?;
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}

/// Literals of unknown type are read as the type that is asked for, or refused, before any row.
fn read_literals(input: LogicalPlan, types: &[DataType]) -> DfResult<LogicalPlan> {
    if (0..types.len()).all(|i| literal(&input, i).is_none()) {
        return Ok(input);
    }
    let known: Vec<bool> = (0..types.len()).map(|i| literal(&input, i).is_none()).collect();
    let LogicalPlan::Projection(Projection { expr, input, schema, .. }) = input else { return Ok(input) };
    let exprs = expr.into_iter().zip(known.iter().zip(types)).zip(schema.fields());
    let exprs: Vec<Expr> = exprs
        .map(|((e, (known, ty)), field)| {
            if *known {
                return Ok(e);
            }
            Ok(coerce(e.unalias_nested().data, ty, input.schema())?.alias(field.name()))
        })
        .collect::<DfResult<_>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}

/// The same names with these types.
pub(crate) fn retyped(schema: &DFSchema, types: &[DataType]) -> DfResult<DFSchemaRef> {
    let fields = schema.iter().zip(types);
    let fields =
        fields.map(|((qualifier, field), ty)| (qualifier.cloned(), Arc::new(Field::new(field.name(), ty.clone(), true))));
    Ok(Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?))
}
