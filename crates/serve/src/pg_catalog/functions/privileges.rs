//! `has_*_privilege` and `pg_has_role`: what a role may, asked by itself or by others.
//!
//! They know the whole catalog: of a relation that the user is not shown they say `false`, as PostgreSQL does.

use super::{Fault, Function, Ret};
use crate::pg_catalog::{
    facts::{Facts, name_parts},
    oids,
    shape::{Cell, Ty},
    types,
};
use regauge_plan::user_function::{self, Param};
use regauge_views::catalog::{
    self, Catalog, Name, RoleId, dead,
    rights::{Object, Privileges, acl},
};
use std::sync::Arc;

const fn f(name: &'static str, body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>) -> Function {
    Function { name, ret: Ret::Is(Ty::Bool), strict: true, body }
}

pub const FUNCTIONS: &[Function] = &[
    f("has_table_privilege", |facts, a| ask(facts, a, 2, |facts, of| relation(facts, of, false))),
    f("has_any_column_privilege", |facts, a| ask(facts, a, 2, |facts, of| relation(facts, of, false))),
    // Privileges are on whole relations: the column is not asked about.
    f("has_column_privilege", |facts, a| {
        let without: Vec<Cell> = a.iter().enumerate().filter(|(at, _)| at + 2 != a.len()).map(|(_, c)| c.clone()).collect();
        ask(facts, &without, 2, |facts, of| relation(facts, of, false))
    }),
    f("has_sequence_privilege", |facts, a| ask(facts, a, 2, |facts, of| relation(facts, of, true))),
    f("has_schema_privilege", |facts, a| ask(facts, a, 2, schema)),
    f("has_database_privilege", |facts, a| ask(facts, a, 2, |_, _| Ok(Found::Object(Object::Database)))),
    f("has_function_privilege", |facts, a| ask(facts, a, 2, function)),
    f("has_tablespace_privilege", |_, _| Ok(true.into())),
    f("has_type_privilege", |_, _| Ok(true.into())),
    f("has_language_privilege", |_, _| Ok(true.into())),
    f("pg_has_role", |facts, a| {
        let (asked, rest) = asker(facts, a, 2)?;
        let of = role(facts, rest.first())?;
        let rights = &facts.who().rights;
        let words = words(rest.get(1));
        let one = |word: &str| match word.trim().to_lowercase().as_str() {
            "member" | "set" => Ok(rights.is_member(asked, of)),
            "usage" => Ok(rights.has(asked, of)),
            "member with admin option" | "member with grant option" | "usage with admin option" | "usage with grant option" => {
                Ok(rights.is_admin(asked, of))
            }
            _ => Err(unknown(word)),
        };
        words.iter().map(|w| one(w)).try_fold(false, |any, one| Ok(any | one?)).map(Cell::Bool)
    }),
];

fn unknown(word: &str) -> Fault {
    ("22023", format!("unrecognized privilege type: \"{word}\""))
}

fn words(cell: Option<&Cell>) -> Vec<String> {
    match cell {
        Some(Cell::Text(text)) => text.split(',').map(|w| w.trim().to_owned()).collect(),
        _ => vec![],
    }
}

/// The role that is asked about, and the other arguments: one more than `n` begins with the role.
fn asker<'a>(facts: &Facts, args: &'a [Cell], n: usize) -> Result<(RoleId, &'a [Cell]), Fault> {
    match args {
        [first, rest @ ..] if args.len() > n => Ok((role(facts, Some(first))?, rest)),
        _ => Ok((facts.who().role, args)),
    }
}

fn role(facts: &Facts, cell: Option<&Cell>) -> Result<RoleId, Fault> {
    let rights = &facts.who().rights;
    match cell {
        Some(Cell::Text(name)) if name == "public" => Ok(RoleId::PUBLIC),
        Some(Cell::Text(name)) => rights.named(name).ok_or_else(|| ("42704", format!("role \"{name}\" does not exist"))),
        Some(Cell::Int(oid)) => {
            let found = rights.roles().find(|(id, _)| oids::role(*id) == *oid).map(|(id, _)| id);
            // PostgreSQL takes an oid that is nobody's for one without rights.
            Ok(found.unwrap_or(RoleId::PUBLIC))
        }
        _ => Ok(RoleId::PUBLIC),
    }
}

/// What an argument stands for.
enum Found {
    Object(Object),
    /// Of the system, with the privilege that everybody has.
    System(&'static str),
    Nothing,
}

fn ask(facts: &Facts, args: &[Cell], n: usize, find: fn(&Facts, &Cell) -> Result<Found, Fault>) -> Result<Cell, Fault> {
    let (asked, rest) = asker(facts, args, n)?;
    let Some(of) = rest.first() else { return Ok(Cell::Null) };
    let rights = &facts.who().rights;
    let object = match find(facts, of)? {
        Found::Object(object) => object,
        Found::Nothing => return Ok(Cell::Null),
        // Everybody reads and uses the system's own, and no more.
        Found::System(open) => {
            let named = words(rest.get(1)).iter().any(|w| w.eq_ignore_ascii_case(open));
            return Ok((named || rights.is_superuser(asked)).into());
        }
    };
    let one = |word: &String| {
        let lower = word.to_lowercase();
        let (name, option) = match lower.strip_suffix(" with grant option") {
            Some(name) => (name.trim(), true),
            None => (lower.as_str(), false),
        };
        let privilege = Privileges::of_word(name).filter(|p| object.kind().all().has(*p)).ok_or_else(|| unknown(word))?;
        if !option {
            return Ok(rights.may(asked, privilege, &object));
        }
        let (list, owner) = (rights.acl(&object), rights.owner(&object));
        let held = |(id, _)| rights.has(asked, id) && acl::grantable(&list, owner, id).has(privilege);
        Ok(rights.is_superuser(asked) || rights.roles().any(held))
    };
    words(rest.get(1)).iter().map(one).try_fold(false, |any, one| Ok(any | one?)).map(Cell::Bool)
}

fn relation(facts: &Facts, of: &Cell, sequence: bool) -> Result<Found, Fault> {
    let catalog: &Catalog = &facts.whole;
    let oid = match of {
        Cell::Int(oid) => Some(*oid),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    if let Some(oid) = oid {
        let relation = catalog.relations().find(|r| oids::relation(r.id) == oid).map(|r| dead::object(r));
        let sequence = || catalog.sequences().find(|s| oids::sequence(s.id) == oid).map(|s| Object::Sequence(s.id));
        let system = || facts.by_oid(oid).filter(|o| o.rights.is_none()).map(|_| Found::System("select"));
        return Ok(relation.or_else(sequence).map(Found::Object).or_else(system).unwrap_or(Found::Nothing));
    }
    let Cell::Text(text) = of else { return Ok(Found::Nothing) };
    let parts = name_parts(text);
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name.as_str()),
        [.., schema, name] => (Some(schema.as_str()), name.as_str()),
        [] => (None, ""),
    };
    let path = &facts.scope.search_path;
    let relation = catalog.resolve(schema, name, path).map(|r| dead::object(r));
    let found = relation.or_else(|| catalog.resolve_sequence(schema, name, path).map(|s| Object::Sequence(s.id)));
    match found {
        Some(Object::Relation(_)) if sequence => Err(("42809", format!("\"{name}\" is not a sequence"))),
        Some(found) => Ok(Found::Object(found)),
        None if facts.by_name(text).is_some_and(|o| o.rights.is_none()) => Ok(Found::System("select")),
        None => Err(("42P01", format!("relation \"{text}\" does not exist"))),
    }
}

/// A function by its name and the types of its parameters; the system's own have no oid to be told by.
fn function(facts: &Facts, of: &Cell) -> Result<Found, Fault> {
    let Cell::Text(text) = of else { return Ok(Found::System("execute")) };
    let missing = || ("42883", format!("function \"{text}\" does not exist"));
    let (name, types) = text.trim().strip_suffix(')').and_then(|t| t.split_once('(')).ok_or_else(|| {
        let bare = text.trim().parse::<i64>().is_ok();
        if bare {
            ("42883", format!("function with OID {text} does not exist"))
        } else {
            ("22P02", "expected a left parenthesis".to_owned())
        }
    })?;
    let types: Option<Vec<i64>> = types.split(',').filter(|t| !t.trim().is_empty()).map(types::by_name).collect();
    let parts = name_parts(name);
    let catalog: &Catalog = &facts.whole;
    let of_schema =
        |schema: &str, name: &str| catalog.functions_named(&Name { schema: schema.to_owned(), name: name.to_owned() });
    let found = match parts.as_slice() {
        [name] => facts.scope.search_path.iter().map(|schema| of_schema(schema, name)).find(|all| !all.is_empty()),
        [.., schema, name] => Some(of_schema(schema, name)),
        [] => None,
    };
    let oid = |param: &Param| types::of_column(&param.ty, None).0;
    let fits = |f: &Arc<catalog::Function>| {
        types.as_ref().is_some_and(|types| f.function.params.iter().map(oid).eq(types.iter().copied()))
    };
    match found.unwrap_or_default().into_iter().find(fits) {
        Some(function) => Ok(Found::Object(function.object())),
        None if parts.last().is_some_and(|name| user_function::is_builtin(name)) => Ok(Found::System("execute")),
        None => Err(missing()),
    }
}

fn schema(facts: &Facts, of: &Cell) -> Result<Found, Fault> {
    const SYSTEM: [&str; 3] = ["pg_catalog", "information_schema", "regauge"];
    let names = || std::iter::once("public").chain(SYSTEM).chain(facts.whole.schemas());
    let found = match of {
        Cell::Int(oid) => names().find(|s| oids::schema(s) == *oid).map(str::to_owned),
        Cell::Text(name) => {
            let name = name_parts(name).pop().unwrap_or_default();
            if !facts.whole.has_schema(&name) && !SYSTEM.contains(&name.as_str()) {
                return Err(("3F000", format!("schema \"{name}\" does not exist")));
            }
            Some(name)
        }
        _ => None,
    };
    Ok(match found {
        None => Found::Nothing,
        Some(name) if SYSTEM.contains(&name.as_str()) => Found::System("usage"),
        Some(name) => Found::Object(Object::Schema(name)),
    })
}
