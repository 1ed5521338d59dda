//! Functions about relations, types, and constraints: `pg_get_*`, `format_type`, `*_is_visible`,
//! `reg*`.

use super::{Fault, Function, Ret, int, text};
use crate::pg_catalog::{
    facts::{Facts, Object, name_parts, quote_ident},
    oids,
    shape::{Cell, Ty},
    types,
};
use regauge_views::catalog::Made;

const fn f(name: &'static str, ret: Ty, body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>) -> Function {
    Function { name, ret: Ret::Is(ret), strict: true, body }
}

pub const FUNCTIONS: &[Function] = &[
    f("pg_table_is_visible", Ty::Bool, |facts, a| {
        Ok(int(a, 0).and_then(|oid| facts.by_oid(oid)).map(|o| facts.visible(o)).into())
    }),
    f("pg_type_is_visible", Ty::Bool, |_, a| Ok(int(a, 0).map(|oid| types::format(oid, None) != "???").into())),
    f("pg_function_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_operator_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_opclass_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_opfamily_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_collation_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_conversion_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_statistics_obj_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    f("pg_ts_config_is_visible", Ty::Bool, |_, _| Ok(true.into())),
    Function {
        name: "format_type",
        ret: Ret::Is(Ty::Text),
        strict: false,
        body: |_, a| Ok(int(a, 0).map(|oid| types::format(oid, int(a, 1))).into()),
    },
    f("pg_get_userbyid", Ty::Name, |facts, a| {
        let known = int(a, 0).and_then(|oid| role_name(facts, oid));
        Ok(known.or_else(|| text(a, 0).map(|oid| format!("unknown (OID={oid})"))).into())
    }),
    f("pg_get_expr", Ty::Text, |_, a| Ok(text(a, 0).into())),
    f("pg_get_viewdef", Ty::Text, |facts, a| Ok(object(facts, a).and_then(|o| o.definition().map(ended)).into())),
    f("pg_get_indexdef", Ty::Text, |facts, a| {
        let Some(index) = int(a, 0).and_then(|oid| facts.by_oid(oid)) else { return Ok(Cell::Null) };
        let Some(table) = index.index_of.and_then(|oid| facts.by_oid(oid)) else { return Ok(Cell::Null) };
        match int(a, 1).and_then(|no| usize::try_from(no).ok()) {
            None | Some(0) => Ok(index_def(index, table).into()),
            Some(no) => Ok(index.columns.get(no - 1).map(|c| quote_ident(&c.name)).into()),
        }
    }),
    f("pg_get_constraintdef", Ty::Text, |facts, a| {
        let oid = int(a, 0);
        let of = |o: &Object| {
            if !o.key.is_empty() && Some(oids::key_constraint(o.oid)) == oid {
                return Some(format!("PRIMARY KEY ({})", o.key_list()));
            }
            let mut checks = o.relation.iter().flat_map(|r| r.checks.iter()).enumerate();
            let found = checks.find(|(n, _)| Some(oids::check(o.oid, *n)) == oid);
            // Written for people PostgreSQL leaves out parentheses that say nothing.
            let pretty = a.get(1) == Some(&Cell::Bool(true));
            found.map(|(_, c)| if pretty { format!("CHECK ({})", c.sql) } else { format!("CHECK (({}))", c.sql) })
        };
        Ok(facts.users().find_map(of).into())
    }),
    f("pg_get_ruledef", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_triggerdef", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_partkeydef", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_statisticsobjdef", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_statisticsobjdef_columns", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_functiondef", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_function_result", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_function_arguments", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_function_identity_arguments", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_function_sqlbody", Ty::Text, |_, _| Ok(Cell::Null)),
    f("pg_get_serial_sequence", Ty::Text, |facts, a| {
        let (Some(table), Some(column)) = (text(a, 0), text(a, 1)) else { return Ok(Cell::Null) };
        // A column that is not there is NULL: readers ask about columns of everything at once.
        let columns = facts.by_name(&table).and_then(|o| o.relation.as_ref()).into_iter().flat_map(|r| r.columns.iter());
        let made = columns.into_iter().find(|c| c.name == column).map(|c| c.made.clone());
        let Some(Made::Counted { sequence, .. }) = made else { return Ok(Cell::Null) };
        let name = facts.scope.catalog.sequence(sequence).map(|s| s.name.clone());
        Ok(name.map(|n| format!("{}.{}", quote_ident(&n.schema), quote_ident(&n.name))).into())
    }),
    f("pg_relation_is_publishable", Ty::Bool, |_, _| Ok(false.into())),
    f("obj_description", Ty::Text, |facts, a| {
        let of_relations = text(a, 1).is_none_or(|class| class == "pg_class");
        let found = int(a, 0).filter(|_| of_relations).and_then(|oid| facts.by_oid(oid));
        Ok(found.and_then(|o| o.comment.clone()).into())
    }),
    f("col_description", Ty::Text, |facts, a| {
        let at = int(a, 1).and_then(|n| usize::try_from(n - 1).ok());
        let found = int(a, 0).and_then(|oid| facts.by_oid(oid)).zip(at);
        Ok(found.and_then(|(o, at)| o.columns.get(at)?.comment.clone()).into())
    }),
    f("shobj_description", Ty::Text, |_, _| Ok(Cell::Null)),
    // regclass and its kin, as numbers and as names
    f("regclass", Ty::Oid, |facts, a| match a {
        [Cell::Text(name), ..] => match name.trim().parse::<i64>() {
            Ok(oid) => Ok(oid.into()),
            Err(_) if name == "-" => Ok(0i64.into()),
            Err(_) => match facts.by_name(name) {
                Some(o) => Ok(o.oid.into()),
                None => Err(("42P01", format!("relation \"{name}\" does not exist"))),
            },
        },
        _ => Ok(int(a, 0).into()),
    }),
    f("to_regclass", Ty::Oid, |facts, a| Ok(text(a, 0).and_then(|n| facts.by_name(&n)).map(|o| o.oid).into())),
    f("regclass_text", Ty::Text, |facts, a| match a {
        [Cell::Text(name), ..] if name.parse::<i64>().is_err() => match facts.by_name(name) {
            Some(o) => Ok(class_name(facts, o).into()),
            None => Err(("42P01", format!("relation \"{name}\" does not exist"))),
        },
        _ => Ok(int(a, 0).map(|oid| facts.by_oid(oid).map_or_else(|| bare(oid), |o| class_name(facts, o))).into()),
    }),
    f("regtype", Ty::Oid, |_, a| match a {
        [Cell::Text(name), ..] => match name.trim().parse::<i64>().ok().or_else(|| types::by_name(name)) {
            Some(oid) => Ok(oid.into()),
            None => Err(("42704", format!("type \"{name}\" does not exist"))),
        },
        _ => Ok(int(a, 0).into()),
    }),
    f("to_regtype", Ty::Oid, |_, a| Ok(text(a, 0).and_then(|n| types::by_name(&n)).into())),
    f("regtype_text", Ty::Text, |_, a| match a {
        [Cell::Text(name), ..] if name.parse::<i64>().is_err() => match types::by_name(name) {
            Some(oid) => Ok(types::format(oid, None).into()),
            None => Err(("42704", format!("type \"{name}\" does not exist"))),
        },
        _ => Ok(int(a, 0).map(|oid| if types::format(oid, None) == "???" { bare(oid) } else { types::format(oid, None) }).into()),
    }),
    f("regnamespace", Ty::Oid, |facts, a| match a {
        [Cell::Text(name), ..] => match name.trim().parse::<i64>() {
            Ok(oid) => Ok(oid.into()),
            Err(_) if facts.schemas().contains(name) => Ok(oids::schema(name).into()),
            Err(_) => Err(("3F000", format!("schema \"{name}\" does not exist"))),
        },
        _ => Ok(int(a, 0).into()),
    }),
    f("regnamespace_text", Ty::Text, |facts, a| {
        let name = |oid: i64| facts.schemas().into_iter().find(|s| oids::schema(s) == oid);
        Ok(int(a, 0).map(|oid| name(oid).map_or_else(|| bare(oid), |s| quote_ident(&s))).or_else(|| text(a, 0)).into())
    }),
    f("regrole", Ty::Oid, |facts, a| match a {
        [Cell::Text(name), ..] if name.parse::<i64>().is_err() => {
            let name = name_parts(name).pop().unwrap_or_default();
            match facts.who().rights.named(&name) {
                Some(id) => Ok(oids::role(id).into()),
                None => Err(("42704", format!("role \"{name}\" does not exist"))),
            }
        }
        _ => Ok(int(a, 0).into()),
    }),
    f("regrole_text", Ty::Text, |facts, a| {
        Ok(int(a, 0)
            .map(|oid| role_name(facts, oid).map_or_else(|| bare(oid), |name| quote_ident(&name)))
            .or_else(|| text(a, 0))
            .into())
    }),
    // Functions are not listed, so a name of one has no oid and an oid no name.
    f("regproc", Ty::Oid, |_, a| match a {
        [Cell::Text(name), ..] if name.parse::<i64>().is_err() => Err(("42883", format!("function \"{name}\" does not exist"))),
        _ => Ok(int(a, 0).into()),
    }),
    f("regproc_text", Ty::Text, |_, a| Ok(int(a, 0).map(bare).or_else(|| text(a, 0)).into())),
];

fn role_name(facts: &Facts, oid: i64) -> Option<String> {
    facts.who().rights.roles().find(|(id, _)| oids::role(*id) == oid).map(|(_, role)| role.name.clone())
}

/// An oid that nothing has.
fn bare(oid: i64) -> String {
    if oid == 0 { "-".to_owned() } else { oid.to_string() }
}

/// A relation as `regclass` writes it: without its schema where that is not needed.
fn class_name(facts: &Facts, o: &Object) -> String {
    if facts.visible(o) { quote_ident(&o.name) } else { o.full_name() }
}

fn object<'a>(facts: &'a Facts, args: &[Cell]) -> Option<&'a Object> {
    match args.first()? {
        Cell::Text(name) if name.parse::<i64>().is_err() => facts.by_name(name),
        _ => facts.by_oid(int(args, 0)?),
    }
}

/// A query as psql shows it: with a semicolon.
fn ended(sql: &str) -> String {
    format!(" {};", sql.trim().trim_end_matches(';'))
}

/// `CREATE UNIQUE INDEX .. ON .. USING btree (..)`
pub fn index_def(index: &Object, table: &Object) -> String {
    if let (Some(made), Some(relation)) = (&index.made, &table.relation) {
        let (name, by) = (quote_ident(&made.name), made.shown(relation, &quote_ident));
        return format!("CREATE INDEX {name} ON {} {by}", table.full_name());
    }
    let columns: Vec<String> = index.columns.iter().map(|c| quote_ident(&c.name)).collect();
    let name = quote_ident(&index.name);
    format!("CREATE UNIQUE INDEX {name} ON {} USING btree ({})", table.full_name(), columns.join(", "))
}
