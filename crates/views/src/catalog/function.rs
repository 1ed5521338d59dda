//! Functions as the catalog has them: of language SQL, and exports of WebAssembly modules, whose body is a call of the export.
//!
//! A function is known by its name and the number of its parameters. Its body is text in which relations are named whole; what has
//! taken it in (a view, a DEFAULT) holds a copy, so that a function may be replaced or dropped at any time.

use super::{
    Catalog, Name, RoleId, Who,
    rights::{Object, Privileges},
    ty,
};
use regauge_plan::{
    PlanError,
    parse::{self, ParseLimits, RelationName},
    user_function::{Param, Returns, UserFunction, UserFunctions},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Without one it is `$1`, `$2` ..
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name of its type in SQL.
    #[serde(rename = "type")]
    pub ty: String,
    /// In SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// An export of a WebAssembly module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmSpec {
    /// The module's hash.
    pub module: String,
    /// The export's name.
    pub export: String,
    /// It is an aggregate, of two exports that begin with the name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aggregate: bool,
}

/// A function of the program that has the folder open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its name, version and types.
    pub key: String,
    /// It is an aggregate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aggregate: bool,
}

/// What a function is, in text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// In their order.
    pub params: Vec<ParamSpec>,
    /// Columns that it gives; one without a name for a value.
    pub returns: Vec<ParamSpec>,
    /// A call with a NULL among its arguments is NULL, or gives no rows.
    #[serde(default)]
    pub strict: bool,
    /// The query.
    pub body: String,
    /// What it is an export of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmSpec>,
    /// What it is of the program's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostSpec>,
    /// Who owned it when it was made, in events of earlier releases: who does now is said by [`super::rights::Rights::owner`].
    #[serde(default = "bootstrap", skip_serializing_if = "is_bootstrap")]
    pub owner: RoleId,
}

fn bootstrap() -> RoleId {
    RoleId::BOOTSTRAP
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_bootstrap(owner: &RoleId) -> bool {
    *owner == RoleId::BOOTSTRAP
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: Name,
    /// As it is stored.
    pub spec: FunctionSpec,
    /// As calls take it in.
    pub function: Arc<UserFunction>,
}

impl Function {
    /// What privileges on it are kept under.
    #[must_use]
    pub fn object(&self) -> Object {
        Object::Function { name: self.name.clone(), params: self.spec.params.len() }
    }
}

impl FunctionSpec {
    /// Whether it is an aggregate.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        self.wasm.as_ref().is_some_and(|wasm| wasm.aggregate) || self.host.as_ref().is_some_and(|host| host.aggregate)
    }

    /// A function that was read from a statement, whose body names relations whole.
    #[must_use]
    pub fn of(function: &UserFunction) -> FunctionSpec {
        let param = |p: &Param| ParamSpec {
            name: p.name.clone(),
            ty: ty::name(&p.ty),
            default: p.default.as_ref().map(ToString::to_string),
        };
        let returns = match &function.returns {
            Returns::Value(value) => vec![ParamSpec { name: None, ty: ty::name(value), default: None }],
            Returns::Rows(columns) => {
                columns.iter().map(|(name, of)| ParamSpec { name: Some(name.clone()), ty: ty::name(of), default: None }).collect()
            }
        };
        FunctionSpec {
            params: function.params.iter().map(param).collect(),
            returns,
            strict: function.strict,
            body: function.body.to_string(),
            wasm: None,
            host: None,
            owner: RoleId::BOOTSTRAP,
        }
    }

    /// Read again; what cannot be is said.
    pub(super) fn function(&self, name: &Name) -> Result<Arc<UserFunction>, &'static str> {
        let param = |p: &ParamSpec| -> Result<Param, &'static str> {
            let ty = ty::parse(&p.ty).ok_or("a parameter's type is not known")?;
            let default = p.default.as_ref().map(|sql| crate::syntax::expression(sql)).transpose();
            Ok(Param { name: p.name.clone(), ty, default: default.map_err(|_| "a parameter's default cannot be read")? })
        };
        let returns = match self.returns.as_slice() {
            [ParamSpec { name: None, ty, .. }] => Returns::Value(super::ty::parse(ty).ok_or("a function's type is not known")?),
            columns => {
                let column = |p: &ParamSpec| Some((p.name.clone()?, ty::parse(&p.ty)?));
                Returns::Rows(columns.iter().map(column).collect::<Option<_>>().ok_or("a function's column is not known")?)
            }
        };
        let body = parse::parse_query(&self.body, &ParseLimits::default()).map_err(|_| "a function's body cannot be read")?;
        let params = self.params.iter().map(param).collect::<Result<_, _>>()?;
        // The call of an export, or of a closure, sees to NULLs itself, and so does not name its arguments twice.
        let strict = self.strict && self.wasm.is_none() && self.host.is_none();
        let fold = self.is_aggregate();
        Ok(Arc::new(UserFunction { name: name.name.clone(), params, returns, strict, fold, body }))
    }
}

/// The catalog's functions, as a statement finds them.
pub struct Found<'a> {
    /// Where.
    pub catalog: &'a Catalog,
    /// Who calls.
    pub who: &'a Who,
    /// Schemas in which unqualified names are looked for.
    pub search_path: &'a [String],
    /// One that is about to be created.
    pub also: Option<&'a Arc<UserFunction>>,
}

impl Found<'_> {
    /// Those that a name means.
    fn meant(&self, schema: Option<&str>, name: &str) -> Vec<Arc<Function>> {
        let of = |schema: &str| self.catalog.functions_named(&Name { schema: schema.to_owned(), name: name.to_owned() });
        match schema {
            // As of relations: what is in a closed schema is not there.
            Some(schema) if self.who.schema(schema, Privileges::USAGE).is_err() => vec![],
            Some(schema) => of(schema),
            None => self.search_path.iter().map(|schema| of(schema)).find(|found| !found.is_empty()).unwrap_or_default(),
        }
    }
}

impl UserFunctions for Found<'_> {
    fn named(&self, schema: Option<&str>, name: &str) -> Vec<Arc<UserFunction>> {
        if let Some(also) = self.also.filter(|also| also.name == name) {
            return vec![also.clone()];
        }
        self.meant(schema, name).iter().map(|f| f.function.clone()).collect()
    }

    fn execute(&self, schema: Option<&str>, function: &UserFunction) -> Result<(), PlanError> {
        if self.also.is_some_and(|also| also.name == function.name) {
            return Ok(());
        }
        let meant = self.meant(schema, &function.name).into_iter().find(|f| f.spec.params.len() == function.params.len());
        let Some(meant) = meant else { return Ok(()) };
        self.who.execute(&meant).map_err(|e| {
            let told = PlanError::invalid(e.sqlstate, e.message);
            if let Some(hint) = e.hint { told.with_hint(hint) } else { told }
        })
    }

    fn may_call(&self, module: &str) -> bool {
        let of = |f: &Arc<Function>| {
            f.spec.wasm.as_ref().is_some_and(|wasm| wasm.module == module)
                || f.spec.host.as_ref().is_some_and(|host| host.key == module)
        };
        let may = |f: &Arc<Function>| self.who.schema(&f.name.schema, Privileges::USAGE).is_ok() && self.who.execute(f).is_ok();
        let there = self.catalog.module(module).is_some() || regauge_plan::host::find(module).is_some();
        there && (self.who.is_superuser() || self.catalog.functions().filter(|f| of(f)).any(may))
    }

    fn columns(&self, relation: &RelationName) -> Vec<String> {
        let found = self.catalog.resolve(relation.schema.as_deref(), &relation.name, self.search_path);
        found.map(|relation| relation.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default()
    }
}
