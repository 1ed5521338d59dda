//! Names as DataFusion looks them up: a catalog's relations, and system schemas whose rows are made when asked for.
//!
//! A plain view is expanded here, planned with the search path of its own definition. Invariant: everything a statement names is
//! found in one [`Catalog`] value, so a change of the catalog meanwhile does not mix with it.

use super::{
    exec::with_system_columns,
    planner::Planner,
    relation::{RelationTable, Source},
};
use crate::{
    catalog::{Catalog, Definition, Kind, Relation, Who, diverted},
    error::{Error, Result},
    stack::within,
};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider},
    common::DataFusionError,
    datasource::ViewTable,
};
use regauge_plan::{
    batch::Shape,
    local::{self, Zone},
    parse::RelationName,
};
use regauge_types::{VersionNo, ViewId};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

/// The only database there is; names of three parts must begin with it.
pub const DATABASE: &str = "regauge";

/// What DataFusion takes for the schema of a name that has none: it is looked up along the search path. No schema is called so.
pub const PATH: &str = "$path";

/// Makes the rows of a system relation out of what a statement sees; `None` when it has no such relation.
pub type SystemRelations = Arc<dyn Fn(&Scope, &str) -> Option<RecordBatch> + Send + Sync>;

/// In which names are looked up.
#[derive(Clone)]
pub struct Scope {
    /// Relations.
    pub catalog: Arc<Catalog>,
    /// For names without a schema.
    pub search_path: Vec<String>,
    /// Of the session.
    pub time_zone: String,
    /// Whether streams show [`super::relation::SYSTEM_COLUMNS`].
    pub system_columns: bool,
    /// Relations that only this statement has, by name.
    pub own: HashMap<String, Arc<dyn TableProvider>>,
    /// Who asks.
    pub about: Arc<About>,
    /// By whose rights they are found.
    pub who: Arc<Who>,
    /// Materialized views that the transaction at hand has created: nothing maintains them yet, so they are read as plain ones.
    pub made: Arc<BTreeSet<ViewId>>,
    /// Types of the statement's parameters, where it is planned for whatever values they will have.
    pub params: Arc<[DataType]>,
}

/// What system relations and functions tell of the session that asks.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// `current_user`.
    pub user: String,
    /// `session_user`.
    pub session_user: String,
    /// Its settings, by name.
    pub settings: Arc<BTreeMap<String, String>>,
    /// Of those that were set and that a plan may depend on: a hash of names and values.
    pub planning: [u8; 32],
    /// Its open cursors.
    pub cursors: Vec<CursorAbout>,
    /// What it was given of sequences.
    pub(crate) sequences: Option<Arc<crate::sequences::Mine>>,
    /// What functions that change it reach.
    pub(crate) calls: Option<Arc<crate::session::calls::Calls>>,
}

/// An open cursor, as `pg_cursors` tells of it.
#[derive(Clone, Debug)]
pub struct CursorAbout {
    /// Its name.
    pub name: String,
    /// The statement that declared it.
    pub statement: String,
    /// WITH HOLD.
    pub holdable: bool,
    /// It can be read backwards.
    pub scrollable: bool,
    /// When it was declared, in microseconds from 1970.
    pub created_us: i64,
}

impl Scope {
    /// A relation by a possibly qualified name.
    pub fn relation(&self, schema: Option<&str>, name: &str) -> Result<&Arc<Relation>> {
        self.catalog.resolve(schema, name, &self.search_path).ok_or_else(|| {
            let full = schema.map_or(name.to_owned(), |s| format!("{s}.{name}"));
            Error::no_relation(full).hint("SHOW TABLES, SHOW STREAMS and SHOW VIEWS list what there is")
        })
    }

    /// A relation's columns, the positions of its key, and its time.
    pub(super) fn shape(&self, name: &RelationName) -> Option<Shape> {
        let relation = self.catalog.resolve(name.schema.as_deref(), &name.name, &self.search_path)?;
        let key = match &relation.kind {
            Kind::Table { key } => Some(key.clone()),
            Kind::Materialized { versions, routed } => {
                versions.get(&name.version.map_or(*routed, VersionNo)).and_then(|v| v.key.clone())
            }
            _ => None,
        };
        let watermark = match &relation.kind {
            Kind::Stream { watermark: Some(w), .. } => relation.columns.iter().position(|c| c.id == w.column),
            _ => None,
        };
        Some(Shape { schema: relation.schema(), key, watermark })
    }

    /// The names of a relation's columns as [`Names`] shows them; system relations are left out.
    pub(super) fn columns(&self, name: &RelationName) -> Option<Vec<String>> {
        let names = |schema: SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect();
        if name.version.is_some() {
            return None;
        }
        let own = self.own.get(&name.name).filter(|_| name.schema.is_none());
        if let Some(own) = own {
            return Some(names(own.schema()));
        }
        if diverted::find(&self.catalog, name.schema.as_deref(), &name.name).is_some() {
            return Some(names(diverted::schema()));
        }
        let relation = self.catalog.resolve(name.schema.as_deref(), &name.name, &self.search_path)?;
        let schema = relation.schema();
        let has_system = self.system_columns && matches!(relation.kind, Kind::Stream { .. });
        Some(names(if has_system { with_system_columns(&schema) } else { schema }))
    }

    /// What a relation is read by, if that is a query: a plain view's, or that of a view which nothing maintains yet.
    pub(super) fn definition<'a>(&self, relation: &'a Relation) -> Option<&'a Definition> {
        match &relation.kind {
            Kind::View { definition } => Some(definition),
            Kind::Materialized { .. } if relation.view().is_some_and(|view| self.made.contains(&view)) => {
                relation.routed().map(|version| &version.definition)
            }
            _ => None,
        }
    }

    /// What a view's definition is read in: its own search path, with its owner's rights.
    pub(crate) fn of_definition(&self, view: &Relation, definition: &Definition) -> Scope {
        Scope {
            who: Arc::new(self.who.owner_of(view.id)),
            catalog: self.catalog.clone(),
            search_path: definition.search_path.clone(),
            time_zone: definition.time_zone.clone(),
            system_columns: false,
            own: HashMap::new(),
            about: self.about.clone(),
            made: self.made.clone(),
            params: Arc::default(),
        }
    }
}

/// [`Scope`] as a list of catalogs.
#[derive(Clone)]
pub struct Names {
    scope: Arc<Scope>,
    planner: Planner,
    schema: String,
}

impl Names {
    /// Names in a scope.
    #[must_use]
    pub fn new(scope: Arc<Scope>, planner: Planner) -> Names {
        Names { scope, planner, schema: PATH.to_owned() }
    }

    fn find(&self, name: &str) -> Option<&Arc<Relation>> {
        let schema = Some(self.schema.as_str()).filter(|s| *s != PATH);
        self.scope.catalog.resolve(schema, name, &self.scope.search_path)
    }

    async fn provide(&self, relation: &Relation) -> Result<Arc<dyn TableProvider>> {
        let schema = relation.schema();
        if let Some(definition) = self.scope.definition(relation) {
            let scope = self.scope.of_definition(relation, definition);
            // Its literals are of the zone that it was made in, as PostgreSQL has them; what it computes is of the reader's.
            let zone = local::setting(&definition.time_zone).map_or(Zone::UTC, |(zone, _)| zone);
            let plan = within(zone, self.planner.plan_text(&definition.sql, scope)).await?;
            let plan = super::planner::renamed(plan, &schema)?;
            return Ok(Arc::new(ViewTable::new(plan, Some(definition.sql.clone()))));
        }
        let source = match (&relation.kind, relation.topic(), relation.view()) {
            (Kind::Table { key }, Some(topic), _) => Source::Table { topic, key: key.clone() },
            (Kind::Stream { .. }, Some(topic), _) => {
                let schema = if self.scope.system_columns { with_system_columns(&schema) } else { schema };
                return Ok(Arc::new(RelationTable::new(Source::Stream { topic }, schema)));
            }
            (Kind::Materialized { routed, .. }, _, Some(view)) => Source::Version { view, version: *routed },
            _ => return Err(Error::internal(format!("relation without an identity relation={}", relation.name))),
        };
        Ok(Arc::new(RelationTable::new(source, schema)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl CatalogProviderList for Names {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.to_owned()]
    }

    fn catalog(&self, _name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(self.clone()))
    }
}

impl CatalogProvider for Names {
    fn schema_names(&self) -> Vec<String> {
        vec![self.schema.clone()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Names { schema: name.to_owned(), ..self.clone() }))
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Names {
    fn table_names(&self) -> Vec<String> {
        self.scope.catalog.relations().filter(|r| r.name.schema == self.schema).map(|r| r.name.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(own) = self.scope.own.get(name).filter(|_| self.schema == PATH) {
            return Ok(Some(own.clone()));
        }
        if let Some(rows) = self.planner.system_rows(&self.scope, &self.schema, name) {
            let schema = rows.schema();
            return Ok(Some(Arc::new(RelationTable::new(Source::Rows(Arc::new(vec![rows])), schema))));
        }
        if let Some(of) = diverted::find(&self.scope.catalog, Some(&self.schema), name)
            && let (Some(view), Some(version)) = (of.view(), of.routed())
        {
            let source = Source::Diverted { view, version: version.no };
            return Ok(Some(Arc::new(RelationTable::new(source, diverted::schema()))));
        }
        match self.find(name) {
            None => Ok(None),
            Some(relation) => self.provide(relation).await.map(Some).map_err(|e| DataFusionError::External(Box::new(e))),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).or_else(|| diverted::find(&self.scope.catalog, Some(&self.schema), name)).is_some()
    }
}
