//! What SqlToRel asks: relations from the catalog, functions from the one registry.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};

use super::source::{RelationSource, WorkTable};
use super::{rules, series, setop, window};
use crate::batch::BatchCatalog;
use crate::catalog::{CatalogView, RelationKind};
use crate::error::PlanError;
use crate::functions;
use crate::parse::{ParseLimits, RelationName, parse_query};

/// Plain views nested deeper than this are refused (a cycle cannot be made, but a long chain can).
const VIEW_DEPTH_MAX: usize = 32;

/// For which executor a relation is planned: ours knows the node of [`window`], DataFusion's gets it spelt out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    View,
    Batch,
}

/// Every function that SQL here has, and how expressions, types and relations of SQL map to them.
pub(crate) struct Functions {
    /// DataFusion's functions that are not immutable: a plain SELECT may call them, a view is refused by their name.
    moody: HashMap<String, Arc<ScalarUDF>>,
    /// DataFusion's further aggregates, for the same two reasons.
    other_aggregates: HashMap<String, Arc<AggregateUDF>>,
    window: HashMap<String, Arc<WindowUDF>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    type_planner: Arc<dyn TypePlanner>,
    view_planners: Vec<Arc<dyn RelationPlanner>>,
    batch_planners: Vec<Arc<dyn RelationPlanner>>,
}

pub(super) fn planners(mode: Mode) -> Vec<Arc<dyn RelationPlanner>> {
    vec![Arc::new(window::WindowFunctions(mode)), Arc::new(setop::SetOperations), Arc::new(series::SetReturning)]
}

impl Functions {
    /// Whether a function of whatever kind has this name.
    pub fn knows(&self, name: &str) -> bool {
        functions::scalar(name).is_some()
            || functions::aggregate(name).is_some()
            || self.moody.contains_key(name)
            || self.other_aggregates.contains_key(name)
            || self.window.contains_key(name)
    }

    /// The process's registry; immutable, so that planning is a function of text and catalog.
    pub fn get() -> &'static Functions {
        static ALL: OnceLock<Functions> = OnceLock::new();
        ALL.get_or_init(|| {
            let mut f = Functions {
                moody: HashMap::new(),
                other_aggregates: HashMap::new(),
                window: HashMap::new(),
                expr_planners: functions::expr_planners(),
                type_planner: functions::type_planner(),
                view_planners: planners(Mode::View),
                batch_planners: planners(Mode::Batch),
            };
            for udf in SessionStateDefaults::default_scalar_functions() {
                if udf.signature().volatility != Volatility::Immutable {
                    let names: Vec<String> = udf.aliases().iter().cloned().chain([udf.name().to_owned()]).collect();
                    f.moody.extend(names.into_iter().map(|n| (n, Arc::clone(&udf))));
                }
            }
            for name in ["now", "current_timestamp", "transaction_timestamp"] {
                f.moody.insert(name.into(), functions::now());
            }
            f.moody.insert("statement_timestamp".into(), functions::statement_timestamp());
            f.moody.insert("clock_timestamp".into(), functions::clock_timestamp(None));
            f.moody.insert("gen_random_uuid".into(), functions::gen_random_uuid());
            for udf in SessionStateDefaults::default_aggregate_functions() {
                let names: Vec<String> = udf.aliases().iter().cloned().chain([udf.name().to_owned()]).collect();
                f.other_aggregates.extend(names.into_iter().map(|n| (n, Arc::clone(&udf))));
            }
            for udf in functions::aggregates() {
                let names: Vec<String> = udf.aliases().iter().cloned().chain([udf.name().to_owned()]).collect();
                f.other_aggregates.extend(names.into_iter().map(|n| (n, Arc::clone(&udf))));
            }
            for udf in SessionStateDefaults::default_window_functions() {
                f.window.insert(udf.name().to_owned(), udf);
            }
            for udf in functions::over::functions() {
                f.window.insert(udf.name().to_owned(), Arc::new(udf));
            }
            f
        })
    }
}

/// Who answers for names.
pub(super) enum Relations<'a> {
    /// Sources of a view.
    View(&'a dyn CatalogView),
    /// Rows.
    Batch(&'a dyn BatchCatalog),
}

impl Relations<'_> {
    /// The names of a relation's columns; `late`: see [`RelationSource::of`].
    pub fn columns(&self, name: &RelationName, late: bool) -> Option<Vec<String>> {
        let names = |schema: &SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect();
        let info = match self {
            Relations::View(c) => c.relation(name)?,
            Relations::Batch(c) => match c.table(name) {
                Some(rows) => return Some(names(&rows.schema())),
                None => c.relation(name)?,
            },
        };
        if info.kind == RelationKind::View {
            return Some(names(&info.schema));
        }
        Some(names(&RelationSource::of(info, late).schema()))
    }
}

pub(super) struct Provider<'a> {
    catalog: &'a Relations<'a>,
    functions: &'a Functions,
    options: ConfigOptions,
    depth: usize,
    /// The query names the lateness of records, so streams show it.
    late: bool,
}

impl<'a> Provider<'a> {
    pub fn new(catalog: &'a Relations<'a>, functions: &'a Functions, depth: usize, late: bool) -> Self {
        Provider { catalog, functions, options: rules::config(), depth, late }
    }

    fn source(&self, name: &TableReference) -> Result<Arc<dyn TableSource>, PlanError> {
        let name = relation_name(name);
        let missing = || {
            PlanError::invalid("42P01", format!("relation \"{name}\" does not exist"))
                .with_hint("SHOW TABLES, SHOW STREAMS, SHOW VIEWS and SHOW MATERIALIZED VIEWS list what does")
        };
        let info = match self.catalog {
            Relations::View(c) => c.relation(&name),
            Relations::Batch(c) => match c.table(&name) {
                Some(rows) => return Ok(provider_as_source(rows)),
                None => c.relation(&name),
            },
        };
        let info = info.ok_or_else(missing)?;
        if info.kind != RelationKind::View {
            return match self.catalog {
                Relations::View(_) => Ok(Arc::new(RelationSource::of(info, self.late))),
                Relations::Batch(_) => Err(PlanError::internal(format!("no rows for relation \"{name}\""))),
            };
        }
        if self.depth >= VIEW_DEPTH_MAX {
            return Err(PlanError::TooComplex { what: "views are nested too deeply", limit: VIEW_DEPTH_MAX });
        }
        let text = info.view_sql.as_deref().ok_or_else(|| PlanError::internal("a plain view without its query"))?;
        let mut query = parse_query(text, &ParseLimits::default())?;
        let shapes = |name: &RelationName| match self.catalog {
            Relations::View(c) => super::shape(c.relation(name)?),
            Relations::Batch(c) => super::shape(c.relation(name)?),
        };
        super::event_time::place(&mut query, &shapes)?;
        super::system_time::resolve(&mut query, &shapes)?;
        super::prepare_over(&mut query, self.catalog)?;
        let plan = super::raw_plan(*query, self.catalog, self.functions, self.depth + 1)?;
        Ok(Arc::new(RelationSource::expanded(info, plan)?))
    }
}

fn relation_name(name: &TableReference) -> RelationName {
    let (table, version) = match name.table().rsplit_once('@').and_then(|(n, v)| Some((n, v.parse().ok()?))) {
        Some((n, v)) => (n, Some(v)),
        None => (name.table(), None),
    };
    let schema = name.schema().map(str::to_owned);
    RelationName { schema, name: table.to_owned(), version }
}

impl ContextProvider for Provider<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.source(&name).map_err(DataFusionError::from)
    }
    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        Ok(match self.catalog {
            Relations::View(_) => Arc::new(WorkTable { name: name.to_owned(), schema }),
            Relations::Batch(_) => provider_as_source(Arc::new(CteWorkTable::new(name, schema))),
        })
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.expr_planners
    }
    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        match self.catalog {
            Relations::View(_) => &self.functions.view_planners,
            Relations::Batch(_) => &self.functions.batch_planners,
        }
    }
    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.functions.type_planner))
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions::scalar(name).or_else(|| self.functions.moody.get(name).cloned())
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        functions::aggregate(name).or_else(|| self.functions.other_aggregates.get(name).cloned())
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.options
    }
    fn udf_names(&self) -> Vec<String> {
        sorted(functions::builtins().map(|b| b.name).chain(functions::BORROWED.iter().copied()))
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }
    fn udaf_names(&self) -> Vec<String> {
        sorted(["sum", "avg"].into_iter().chain(functions::BORROWED_AGGREGATES.iter().copied()))
    }
    fn udwf_names(&self) -> Vec<String> {
        sorted(self.functions.window.keys().map(String::as_str))
    }
}

/// DataFusion names a near miss in its message: in one order, so that messages do not vary.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names
}
