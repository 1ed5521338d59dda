//! Compilation: types are checked here once, so that running never meets a surprise; constants are folded, patterns
//! compiled, and for each node it is known whether a row of it can fail and which columns it reads.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use datafusion::scalar::ScalarValue;

use super::like::LikePattern;
use super::run::{Frame, RowErrors};
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::udf::{Builtin, call};
use crate::functions::{self, cast};
use crate::scalar::{CompareOp, IsTest, Scalar};

/// A compiled expression. Cheap to clone is not needed: one per operator.
#[derive(Debug)]
pub struct Program {
    pub(super) root: Node,
    input: Vec<DataType>,
}

/// A column and the rows that have none of it.
#[derive(Debug)]
pub struct Evaluated {
    /// One value for each row of the batch; NULL where a row failed.
    pub values: ArrayRef,
    /// Failed rows, ascending.
    pub errors: Vec<(usize, EvalError)>,
}

/// A compiled condition.
#[derive(Debug)]
pub struct Predicate(Program);

/// Which rows a condition holds for.
#[derive(Debug)]
pub struct Selected {
    /// Set for rows where it is true: not NULL, not failed.
    pub rows: BooleanBuffer,
    /// Failed rows, ascending.
    pub errors: Vec<(usize, EvalError)>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub ty: DataType,
    /// Can a row of it fail?
    pub fails: bool,
    /// Input columns it reads, ascending.
    pub columns: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Column(usize),
    Const(ScalarValue),
    /// A constant expression that has no value: every row that reaches it fails.
    Failure(EvalError),
    Call(Function, Vec<Node>),
    Compare(CompareOp, Box<Node>, Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Is(IsTest, bool, Box<Node>),
    Case(Vec<(Node, Node)>, Option<Box<Node>>),
    Coalesce(Vec<Node>),
    InList(Box<Node>, Vec<Node>, bool),
    Like(Box<Node>, Pattern, bool),
}

#[derive(Debug)]
pub(super) enum Pattern {
    Fixed(LikePattern),
    Each(Box<Node>, Option<char>, bool),
}

#[derive(Debug)]
pub(super) enum Function {
    Ours(&'static Builtin),
    Borrowed { udf: Arc<ScalarUDF>, arg_fields: Vec<FieldRef>, ret: FieldRef, config: Arc<ConfigOptions> },
}

impl Function {
    /// Calls it for `n` rows.
    pub fn invoke(&self, args: &[ColumnarValue], n: usize, ty: &DataType) -> EvalResult<ColumnarValue> {
        match self {
            Function::Ours(def) => call(def, args, n, ty),
            Function::Borrowed { udf, arg_fields, ret, config } => udf
                .invoke_with_args(ScalarFunctionArgs {
                    args: args.to_vec(),
                    arg_fields: arg_fields.clone(),
                    number_rows: n,
                    return_field: Arc::clone(ret),
                    config_options: Arc::clone(config),
                })
                .map_err(|e| EvalError::from_datafusion(&e)),
        }
    }
}

/// Compiles an expression over rows of these types.
///
/// # Errors
/// XX000 for a column out of bounds or types that do not meet (a stored plan that lies), 42883 for a function that does not
/// exist.
pub fn compile(scalar: &Scalar, input: &[DataType]) -> EvalResult<Program> {
    Ok(Program { root: node(scalar, input)?, input: input.to_vec() })
}

/// Compiles a condition over rows of these types.
///
/// # Errors
/// Those of [`compile`], and 42804 when it is not boolean.
pub fn compile_predicate(scalar: &Scalar, input: &[DataType]) -> EvalResult<Predicate> {
    let program = compile(scalar, input)?;
    expect_bool(&program.root)?;
    Ok(Predicate(program))
}

impl Program {
    /// The result's type.
    pub fn data_type(&self) -> &DataType {
        &self.root.ty
    }

    /// Can a row of it fail?
    pub fn can_fail(&self) -> bool {
        self.root.fails
    }

    /// The input columns it reads, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.root.columns
    }

    /// Evaluates all rows. A batch that does not have the compiled types fails in every row.
    pub fn eval(&self, batch: &RecordBatch) -> Evaluated {
        let n = batch.num_rows();
        let (value, errors) = self.run(batch);
        let values = match value {
            ColumnarValue::Array(a) => a,
            ColumnarValue::Scalar(s) => s.to_array_of_size(n).unwrap_or_else(|_| arrow::array::new_null_array(&self.root.ty, n)),
        };
        let errors = errors.into_vec();
        if errors.is_empty() {
            return Evaluated { values, errors };
        }
        let mut failed = vec![false; n];
        errors.iter().for_each(|(row, _)| failed[*row] = true);
        let failed = BooleanArray::from(failed);
        let values = arrow::compute::nullif(&values, &failed).unwrap_or(values);
        Evaluated { values, errors }
    }

    fn run(&self, batch: &RecordBatch) -> (ColumnarValue, RowErrors) {
        let mut errors = RowErrors::default();
        let columns = batch.columns();
        let fits = self
            .root
            .columns
            .iter()
            .all(|i| columns.get(*i).is_some_and(|c| self.input.get(*i).is_some_and(|ty| c.data_type() == ty)));
        let frame = Frame { columns: columns.to_vec(), n: batch.num_rows() };
        if !fits {
            errors.fail_all(frame.n, &EvalError::internal("a batch does not have the compiled types"));
            return (super::run::null(&self.root.ty), errors);
        }
        let value = super::run::run(&self.root, &frame, &mut errors);
        (value, errors)
    }
}

impl Predicate {
    /// Can a row of it fail?
    pub fn can_fail(&self) -> bool {
        self.0.can_fail()
    }

    /// The rows for which it is true.
    pub fn select(&self, batch: &RecordBatch) -> Selected {
        let n = batch.num_rows();
        let (value, errors) = self.0.run(batch);
        let mut rows = match value {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => BooleanBuffer::new_set(n),
            ColumnarValue::Scalar(_) => BooleanBuffer::new_unset(n),
            ColumnarValue::Array(a) => super::run::truths(a.as_boolean()),
        };
        let errors = errors.into_vec();
        if !errors.is_empty() {
            let mut failed = vec![true; n];
            errors.iter().for_each(|(row, _)| failed[*row] = false);
            rows = &rows & &BooleanBuffer::from(failed);
        }
        Selected { rows, errors }
    }
}

fn mismatch(what: &str, a: &DataType, b: &DataType) -> EvalError {
    EvalError::internal(format!("{what}: types {a} and {b} do not meet"))
}

fn expect_bool(n: &Node) -> EvalResult<()> {
    match n.ty {
        DataType::Boolean | DataType::Null => Ok(()),
        ref ty => Err(EvalError::new("42804", format!("a condition has type {ty}"))),
    }
}

fn nodes(args: &[Scalar], input: &[DataType]) -> EvalResult<Vec<Node>> {
    args.iter().map(|a| node(a, input)).collect()
}

fn boxed(arg: &Scalar, input: &[DataType]) -> EvalResult<Box<Node>> {
    Ok(Box::new(node(arg, input)?))
}

fn node(scalar: &Scalar, input: &[DataType]) -> EvalResult<Node> {
    let (kind, ty, own_fails) = parts(scalar, input)?;
    let mut columns = vec![];
    let mut fails = own_fails;
    kind.children(&mut |child| {
        columns.extend(&child.columns);
        fails |= child.fails;
    });
    if let Kind::Column(i) = kind {
        columns.push(i);
    }
    columns.sort_unstable();
    columns.dedup();
    let node = Node { kind, ty, fails, columns };
    let constant = node.columns.is_empty() && !matches!(node.kind, Kind::Const(_) | Kind::Failure(_));
    Ok(if constant { fold(node) } else { node })
}

/// A constant expression is evaluated now; one that fails keeps its error for the rows that reach it.
fn fold(node: Node) -> Node {
    let mut errors = RowErrors::default();
    let frame = Frame { columns: vec![], n: 1 };
    let value = super::run::run(&node, &frame, &mut errors);
    let value = match value {
        ColumnarValue::Scalar(s) => Some(s),
        ColumnarValue::Array(a) => ScalarValue::try_from_array(&a, 0).ok(),
    };
    let error = errors.into_vec().pop().map(|(_, e)| e);
    match (error, value) {
        (Some(e), _) => Node { kind: Kind::Failure(e), ty: node.ty, fails: true, columns: vec![] },
        (None, Some(s)) => Node { kind: Kind::Const(s), ty: node.ty, fails: false, columns: vec![] },
        (None, None) => node,
    }
}

fn parts(scalar: &Scalar, input: &[DataType]) -> EvalResult<(Kind, DataType, bool)> {
    let boolean = DataType::Boolean;
    Ok(match scalar {
        Scalar::Column(i) => {
            let ty = input.get(*i).ok_or_else(|| EvalError::internal(format!("no input column {i}")))?;
            (Kind::Column(*i), ty.clone(), false)
        }
        Scalar::Literal(v) => {
            let value = v.to_scalar().ok_or_else(|| EvalError::internal(format!("constant does not fit: {v}")))?;
            (Kind::Const(value), v.ty.clone(), false)
        }
        Scalar::Call { func, args, ty } => {
            let args = nodes(args, input)?;
            let (function, fails) = bind_call(func, &args, ty)?;
            (Kind::Call(function, args), ty.clone(), fails)
        }
        Scalar::Cast { arg, to } => {
            let arg = node(arg, input)?;
            if arg.ty == *to {
                return Ok((arg.kind, arg.ty, arg.fails));
            }
            let fails = cast::can_fail(&arg.ty, to)?;
            (Kind::Call(Function::Ours(&cast::CAST), vec![arg]), to.clone(), fails)
        }
        Scalar::Compare { op, left, right } => {
            let (l, r) = (boxed(left, input)?, boxed(right, input)?);
            same_type("comparison", &l, &r)?;
            (Kind::Compare(*op, l, r), boolean, false)
        }
        Scalar::And(args) | Scalar::Or(args) => {
            let args = nodes(args, input)?;
            args.iter().try_for_each(expect_bool)?;
            let kind = if matches!(scalar, Scalar::And(_)) { Kind::And(args) } else { Kind::Or(args) };
            (kind, boolean, false)
        }
        Scalar::Not(arg) => {
            let arg = boxed(arg, input)?;
            expect_bool(&arg)?;
            (Kind::Not(arg), boolean, false)
        }
        Scalar::Is { test, negated, arg } => {
            let arg = boxed(arg, input)?;
            if *test != IsTest::Null {
                expect_bool(&arg)?;
            }
            (Kind::Is(*test, *negated, arg), boolean, false)
        }
        Scalar::Case { branches, otherwise, ty } => {
            let mut out = vec![];
            for (condition, result) in branches {
                let (c, r) = (node(condition, input)?, node(result, input)?);
                expect_bool(&c)?;
                expect_type("CASE", &r, ty)?;
                out.push((c, r));
            }
            let otherwise = otherwise.as_ref().map(|o| boxed(o, input)).transpose()?;
            if let Some(o) = &otherwise {
                expect_type("CASE", o, ty)?;
            }
            (Kind::Case(out, otherwise), ty.clone(), false)
        }
        Scalar::Coalesce(args) => {
            let args = nodes(args, input)?;
            let ty = args.iter().map(|a| &a.ty).find(|t| **t != DataType::Null).cloned().unwrap_or(DataType::Null);
            args.iter().try_for_each(|a| expect_type("COALESCE", a, &ty))?;
            (Kind::Coalesce(args), ty, false)
        }
        Scalar::InList { arg, list, negated } => {
            let arg = boxed(arg, input)?;
            let list = nodes(list, input)?;
            list.iter().try_for_each(|item| same_type("IN", &arg, item))?;
            (Kind::InList(arg, list, *negated), boolean, false)
        }
        Scalar::Like { arg, pattern, escape, case_insensitive, negated } => {
            let (arg, pattern) = (boxed(arg, input)?, boxed(pattern, input)?);
            expect_type("LIKE", &arg, &DataType::Utf8)?;
            expect_type("LIKE", &pattern, &DataType::Utf8)?;
            let fixed = match &pattern.kind {
                Kind::Const(ScalarValue::Utf8(Some(p))) => {
                    Some(LikePattern::new(p, *escape, *case_insensitive)).filter(|p| !p.can_fail())
                }
                _ => None,
            };
            let fails = fixed.is_none();
            let pattern = match fixed {
                Some(p) => Pattern::Fixed(p),
                None => Pattern::Each(pattern, *escape, *case_insensitive),
            };
            (Kind::Like(arg, pattern, *negated), boolean, fails)
        }
    })
}

fn same_type(what: &str, a: &Node, b: &Node) -> EvalResult<()> {
    if a.ty == b.ty || a.ty == DataType::Null || b.ty == DataType::Null {
        return Ok(());
    }
    Err(mismatch(what, &a.ty, &b.ty))
}

fn expect_type(what: &str, n: &Node, ty: &DataType) -> EvalResult<()> {
    if n.ty == *ty || n.ty == DataType::Null { Ok(()) } else { Err(mismatch(what, &n.ty, ty)) }
}

/// Finds the function and checks that the plan's types are those it binds to.
fn bind_call(name: &str, args: &[Node], ty: &DataType) -> EvalResult<(Function, bool)> {
    let types: Vec<DataType> = args.iter().map(|a| a.ty.clone()).collect();
    let constants: Vec<Option<&ScalarValue>> =
        args.iter().map(|a| if let Kind::Const(s) = &a.kind { Some(s) } else { None }).collect();
    if let Some(def) = functions::builtin(name) {
        let bound = (def.bind)(&types)?;
        for (have, want) in types.iter().zip(&bound.args) {
            if have != want && *have != DataType::Null {
                return Err(mismatch(name, have, want));
            }
        }
        let ret = def.refine.map_or_else(|| bound.ret.clone(), |refine| refine(&bound.ret, &constants));
        if ret != *ty && bound.ret != *ty {
            return Err(mismatch(name, &ret, ty));
        }
        return Ok((Function::Ours(def), !def.safe));
    }
    let Some(udf) = functions::scalar(name) else {
        return Err(EvalError::undefined(format!("function {name} does not exist")));
    };
    let field = |name: &str, ty: &DataType| Arc::new(Field::new(name, ty.clone(), true));
    let arg_fields: Vec<FieldRef> = types.iter().map(|t| field("", t)).collect();
    let ret = udf
        .return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &constants })
        .map_err(|e| EvalError::from_datafusion(&e))?;
    if ret.data_type() != ty {
        return Err(mismatch(name, ret.data_type(), ty));
    }
    Ok((Function::Borrowed { udf, arg_fields, ret, config: Arc::default() }, true))
}

impl Kind {
    fn children(&self, visit: &mut impl FnMut(&Node)) {
        match self {
            Kind::Column(_) | Kind::Const(_) | Kind::Failure(_) => {}
            Kind::Call(_, args) | Kind::And(args) | Kind::Or(args) | Kind::Coalesce(args) => args.iter().for_each(visit),
            Kind::Compare(_, l, r) => {
                visit(l);
                visit(r);
            }
            Kind::Not(a) | Kind::Is(_, _, a) | Kind::Like(a, Pattern::Fixed(_), _) => visit(a),
            Kind::Case(branches, otherwise) => {
                for (c, r) in branches {
                    visit(c);
                    visit(r);
                }
                otherwise.iter().for_each(|o| visit(o));
            }
            Kind::InList(a, list, _) => {
                visit(a);
                list.iter().for_each(visit);
            }
            Kind::Like(a, Pattern::Each(p, ..), _) => {
                visit(a);
                visit(p);
            }
        }
    }
}
