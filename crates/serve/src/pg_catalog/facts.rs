//! What a statement's catalog holds, as `pg_class` counts it: relations of users, indexes of their keys, and the system
//! relations themselves. Columns come with PostgreSQL's types.

use super::{oids, relations, types};
use regauge_views::{
    catalog::{
        Catalog, Kind, Made, ObjectId, Relation, RoleId, Sequence, Who,
        rights::{self, AclItem, Rights},
    },
    read::names::Scope,
};
use std::sync::{Arc, OnceLock};

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub type_oid: i64,
    pub typmod: i64,
    pub not_null: bool,
    pub default: Option<String>,
    /// What it is computed by.
    pub computed: Option<String>,
    /// `a` or `d` of an identity column, else empty.
    pub identity: &'static str,
    pub comment: Option<String>,
}

/// Something with a place in `pg_class`.
#[derive(Clone, Debug)]
pub struct Object {
    pub oid: i64,
    pub schema: String,
    pub name: String,
    /// `relkind`.
    pub kind: &'static str,
    pub columns: Vec<Column>,
    /// Positions of the primary key's columns.
    pub key: Vec<usize>,
    /// The table that an index is of.
    pub index_of: Option<i64>,
    /// What CREATE INDEX made; none of the index of a key.
    pub made: Option<Arc<regauge_views::catalog::Index>>,
    /// Of a user.
    pub relation: Option<Arc<Relation>>,
    /// What rights are on: none for an object of the system.
    pub rights: Option<rights::Object>,
    pub comment: Option<String>,
}

impl Object {
    /// The definition of a view.
    pub fn definition(&self) -> Option<&str> {
        let relation = self.relation.as_ref()?;
        match &relation.kind {
            Kind::View { definition } => Some(definition.sql.as_str()),
            Kind::Materialized { .. } => relation.routed().map(|v| v.definition.sql.as_str()),
            _ => None,
        }
        // It is told to the owner only.
        .filter(|sql| !sql.is_empty())
    }

    /// `a, b` of the key, in quotes where needed.
    pub fn key_list(&self) -> String {
        let names = self.key.iter().filter_map(|at| self.columns.get(*at)).map(|c| quote_ident(&c.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// `schema.name` in quotes where needed.
    pub fn full_name(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

/// One statement's view of everything.
#[derive(Clone)]
pub struct Facts {
    /// Catalog, search path, user and settings. The catalog is the one that the user is shown.
    pub scope: Scope,
    /// All of it: for answers about rights.
    pub whole: Arc<Catalog>,
    objects: Arc<OnceLock<Vec<Object>>>,
}

impl Facts {
    pub fn new(scope: &Scope) -> Facts {
        let mut shown = scope.clone();
        shown.catalog = scope.catalog.shown_to(&scope.who);
        Facts { scope: shown, whole: scope.catalog.clone(), objects: Arc::default() }
    }

    /// Everything in `pg_class`, users' relations first.
    pub fn objects(&self) -> &[Object] {
        self.objects.get_or_init(|| {
            let mut all: Vec<Object> = self.scope.catalog.relations().flat_map(|r| of_relation(&self.scope.catalog, r)).collect();
            all.extend(self.scope.catalog.sequences().map(|s| of_sequence(s)));
            all.extend(relations::all().map(of_system));
            all
        })
    }

    /// Relations of users, without indexes.
    pub fn users(&self) -> impl Iterator<Item = &Object> {
        self.objects().iter().filter(|o| o.relation.is_some() && o.index_of.is_none())
    }

    pub fn by_oid(&self, oid: i64) -> Option<&Object> {
        self.objects().iter().find(|o| o.oid == oid)
    }

    /// An object by a name as `regclass` reads it.
    pub fn by_name(&self, text: &str) -> Option<&Object> {
        let parts = name_parts(text);
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [schema, name] | [_, schema, name] => (Some(schema), name),
            _ => return None,
        };
        match schema {
            Some(schema) => self.objects().iter().find(|o| o.schema == *schema && o.name == *name),
            None => self.path().iter().find_map(|s| self.objects().iter().find(|o| o.schema == *s && o.name == *name)),
        }
    }

    /// Whether anything is an index of it.
    pub fn is_indexed(&self, o: &Object) -> bool {
        let own = |o: &Object| o.relation.as_ref().is_some_and(|r| self.scope.catalog.indexes_of(r.id).next().is_some());
        o.index_of.is_none() && (!o.key.is_empty() || own(o))
    }

    /// Schemas in which names without one are found, `pg_catalog` first.
    pub fn path(&self) -> Vec<String> {
        let named = self.scope.search_path.iter().filter(|s| *s != "pg_catalog").cloned();
        std::iter::once("pg_catalog".to_owned()).chain(named).collect()
    }

    /// Whether an object is what its bare name stands for.
    pub fn visible(&self, object: &Object) -> bool {
        self.by_name(&quote_ident(&object.name)).is_some_and(|o| o.oid == object.oid)
    }

    /// Every schema, in the order of names.
    pub fn schemas(&self) -> Vec<String> {
        let public = rights::Object::Schema("public".to_owned());
        let mut all = if self.who().rights.knows(self.who().role, &public) { vec!["public".to_owned()] } else { vec![] };
        all.extend(super::SCHEMAS.iter().map(|s| (*s).to_owned()));
        all.extend(self.scope.catalog.schemas().map(str::to_owned));
        all.sort();
        all.dedup();
        all
    }

    /// By whose rights.
    pub fn who(&self) -> &Who {
        &self.scope.who
    }

    /// The oid of an object's owner; of an object of the system the first superuser's.
    pub fn owner(&self, object: Option<&rights::Object>) -> i64 {
        object.map_or(oids::OWNER, |object| oids::role(self.who().rights.owner(object)))
    }

    /// The same by name.
    pub fn owner_name(&self, object: Option<&rights::Object>) -> String {
        let rights = &self.who().rights;
        rights.name(object.map_or(RoleId::BOOTSTRAP, |object| rights.owner(object)))
    }

    /// Privileges on an object as PostgreSQL writes them; none if it is as it was made.
    pub fn acl(&self, object: Option<&rights::Object>) -> Option<Vec<String>> {
        let rights = &self.who().rights;
        rights.granted(object?).map(|acl| acl.iter().map(|item| acl_text(rights, item)).collect())
    }

    /// An error of a view's rows, if it may be told.
    pub fn told(&self, id: ObjectId, error: Option<String>) -> Option<String> {
        error.map(|e| if self.who().tells(&self.whole, id) { e } else { "a row of it has an error".to_owned() })
    }

    pub fn user(&self) -> &str {
        let user = &self.scope.about.user;
        if user.is_empty() { "regauge" } else { user }
    }
}

/// `alice=r*w/bob`
pub fn acl_text(rights: &Rights, item: &AclItem) -> String {
    let name = |id: RoleId| if id == RoleId::PUBLIC { String::new() } else { quote_ident(&rights.name(id)) };
    let letter =
        |(one, letter, _): (_, char, &str)| if item.grantable.has(one) { format!("{letter}*") } else { letter.to_string() };
    let letters: String = item.privileges.each().map(letter).collect();
    format!("{}={letters}/{}", name(item.grantee), name(item.grantor))
}

fn of_sequence(s: &Sequence) -> Object {
    let column = |name: &str, type_oid: i64| Column {
        name: name.to_owned(),
        type_oid,
        typmod: -1,
        not_null: true,
        default: None,
        computed: None,
        identity: "",
        comment: None,
    };
    Object {
        oid: oids::sequence(s.id),
        schema: s.name.schema.clone(),
        name: s.name.name.clone(),
        kind: "S",
        columns: vec![column("last_value", 20), column("log_cnt", 20), column("is_called", 16)],
        key: vec![],
        index_of: None,
        made: None,
        relation: None,
        rights: Some(rights::Object::Sequence(s.id)),
        comment: None,
    }
}

/// `nextval('t_id_seq'::regclass)`
fn counting(catalog: &Catalog, sequence: u32) -> Option<String> {
    let name = &catalog.sequence(sequence)?.name;
    let schema = if name.schema == "public" { String::new() } else { format!("{}.", quote_ident(&name.schema)) };
    Some(format!("nextval('{schema}{}'::regclass)", quote_ident(&name.name)))
}

fn of_relation(catalog: &Catalog, relation: &Arc<Relation>) -> Vec<Object> {
    let oid = oids::relation(relation.id);
    let (kind, key) = match &relation.kind {
        Kind::Table { key } => ("r", key.clone()),
        Kind::Stream { .. } => ("r", vec![]),
        Kind::View { .. } => ("v", vec![]),
        Kind::Materialized { .. } => ("m", vec![]),
    };
    let columns: Vec<Column> = relation
        .columns
        .iter()
        .enumerate()
        .map(|(at, c)| {
            let (type_oid, typmod) = types::of_column(&c.ty, c.chars_max);
            let not_null = c.not_null || key.contains(&at);
            let (default, computed, identity) = match &c.made {
                Made::Given => (c.default.clone(), None, ""),
                Made::Computed(sql) => (None, Some(sql.clone()), ""),
                Made::Counted { sequence, serial: true, .. } => (counting(catalog, *sequence), None, ""),
                Made::Counted { always: true, .. } => (None, None, "a"),
                Made::Counted { .. } => (None, None, "d"),
            };
            let comment = catalog.comment(relation.id, Some(c.id)).map(str::to_owned);
            Column { name: c.name.clone(), type_oid, typmod, not_null, default, computed, identity, comment }
        })
        .collect();
    let (schema, name) = (relation.name.schema.clone(), relation.name.name.clone());
    let comment = catalog.comment(relation.id, None).map(str::to_owned);
    let rights = Some(regauge_views::catalog::dead::object(relation));
    let relation = Some(relation.clone());
    let (index_of, of, own) = (None, schema.clone(), name.clone());
    let object = Object { oid, schema: of, name: own, kind, columns, key, index_of, made: None, relation, rights, comment };
    let of = object.relation.clone();
    let own = of.iter().flat_map(|of| catalog.indexes_of(of.id)).enumerate().map(|(n, index)| {
        let place = |id: u32| object.relation.as_ref()?.columns.iter().position(|c| c.id.0 == id);
        let key: Vec<usize> = index.all_columns().filter_map(place).collect();
        let columns = key.iter().filter_map(|at| object.columns.get(*at)).cloned().collect();
        let (oid, name) = (oids::index(oid, n), index.name.clone());
        let (made, index_of) = (Some(Arc::clone(index)), Some(object.oid));
        Object { oid, name, kind: "i", columns, key, index_of, made, comment: None, ..object.clone() }
    });
    let own: Vec<Object> = own.collect();
    if object.key.is_empty() {
        return std::iter::once(object).chain(own).collect();
    }
    let index = Object {
        oid: oids::key_index(oid),
        schema,
        name: regauge_views::catalog::key_constraint(&name),
        kind: "i",
        columns: object.key.iter().filter_map(|at| object.columns.get(*at)).cloned().collect(),
        index_of: Some(oid),
        comment: None,
        ..object.clone()
    };
    [object, index].into_iter().chain(own).collect()
}

fn of_system(shape: &relations::System) -> Object {
    let column = |(name, ty): &(&'static str, super::shape::Ty)| Column {
        name: (*name).to_owned(),
        type_oid: ty.oid(),
        typmod: -1,
        not_null: *name == "oid",
        default: None,
        computed: None,
        identity: "",
        comment: None,
    };
    Object {
        oid: shape.oid,
        schema: shape.schema.to_owned(),
        name: shape.name.to_owned(),
        kind: if shape.schema == "pg_catalog" && shape.oid < 10_000 { "r" } else { "v" },
        columns: shape.columns.iter().map(column).collect(),
        key: vec![],
        index_of: None,
        made: None,
        relation: None,
        rights: None,
        comment: None,
    }
}

/// An identifier, in quotes if it needs them.
pub fn quote_ident(name: &str) -> String {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !RESERVED.contains(&name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that cannot be a name without quotes.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "into",
    "is",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "primary",
    "references",
    "right",
    "select",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "when",
    "where",
    "window",
    "with",
];

/// `a."B c"` as its parts, folded as SQL folds them.
pub fn name_parts(text: &str) -> Vec<String> {
    let mut parts = vec![];
    let mut part = String::new();
    let mut chars = text.trim().chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_sql_needs_it_and_read_back() {
        for name in ["plain", "Upper", "with space", "qu\"ote", "select", "do.t", "1st"] {
            assert_eq!(name_parts(&quote_ident(name)), [name]);
        }
        assert_eq!(quote_ident("plain_1"), "plain_1");
        assert_eq!(name_parts("Public.\"A\""), ["public", "A"]);
    }
}
