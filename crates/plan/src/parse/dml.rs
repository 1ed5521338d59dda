//! INSERT, UPDATE, DELETE, COPY. sqlparser reads the first three; what it accepts of other dialects is refused here.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::statement::{Assignment, Copy, CopyTo, Delete, Insert, OnConflict, RelationName, Statement, Update};
use super::{P, ParseLimits, Result, fold, parse_query, relation_name};
use crate::error::PlanError;

impl P<'_> {
    pub(super) fn insert(&mut self) -> Result<Statement> {
        let token = self.parser.next_token();
        let parsed = self.parser.parse_insert(token);
        let ast::Statement::Insert(i) = self.repaired(parsed)? else { return Err(self.expected("INSERT")) };
        let mut insert = insert_of(i)?;
        let mark = self.parser.peek_token_ref().token.clone();
        insert.overriding = super::extras::overriding(&mark).filter(|_| self.symbol(&mark));
        if self.take("with sequence") {
            let n = self.parser.parse_literal_uint();
            insert.sequence = Some(self.sqlparser(n)?);
        }
        Ok(Statement::Insert(Box::new(insert)))
    }

    pub(super) fn update(&mut self) -> Result<Statement> {
        let token = self.parser.next_token();
        let parsed = self.parser.parse_update(token);
        let ast::Statement::Update(u) = self.repaired(parsed)? else { return Err(self.expected("UPDATE")) };
        update_of(u).map(|u| Statement::Update(Box::new(u)))
    }

    pub(super) fn delete(&mut self) -> Result<Statement> {
        let token = self.parser.next_token();
        let parsed = self.parser.parse_delete(token);
        let ast::Statement::Delete(d) = self.repaired(parsed)? else { return Err(self.expected("DELETE")) };
        delete_of(d).map(|d| Statement::Delete(Box::new(d)))
    }

    /// Both forms of options: `WITH (FORMAT csv, HEADER)` and the old `CSV HEADER`.
    pub(super) fn copy(&mut self) -> Result<Statement> {
        self.expect("copy")?;
        let (table, columns, query) = if self.symbol(&Token::LParen) {
            let mut query = self.query()?;
            if let Some(epoch) = self.epoch()? {
                super::epoch::set(&mut query, epoch)?;
            }
            self.expect_symbol(&Token::RParen)?;
            (RelationName::bare(""), vec![], Some(query))
        } else {
            let table = self.relation()?;
            let columns = if self.parser.peek_token_ref().token == Token::LParen { self.names_in_parens()? } else { vec![] };
            (table, columns, None)
        };
        if self.take("to") {
            if !self.take("stdout") {
                return Err(PlanError::unsupported(
                    "COPY to a file of the server is not offered",
                    "write COPY .. TO STDOUT, or psql's \\copy; `regauge sql` writes the file itself",
                ));
            }
            let query = match query {
                Some(query) => query,
                None => columns_of(&table, &columns)?,
            };
            let given = self.given_options()?;
            let form = copy_options(table, columns, given)?;
            if form.on_error.is_some() {
                return Err(PlanError::invalid("22023", "COPY ON_ERROR cannot be used with COPY TO".to_owned()));
            }
            return Ok(Statement::CopyTo(Box::new(CopyTo { query, form })));
        }
        self.expect("from")?;
        if query.is_some() {
            return Err(self.expected("TO"));
        }
        if !self.take("stdin") {
            return Err(PlanError::unsupported(
                "COPY from a file of the server is not offered",
                "write COPY .. FROM STDIN, psql's \\copy, or regauge append; `regauge sql` reads the file itself",
            ));
        }
        let given = self.given_options()?;
        copy_options(table, columns, given).map(|c| Statement::Copy(Box::new(c)))
    }

    /// `WITH (FORMAT csv, HEADER)`, `CSV HEADER`.
    fn given_options(&mut self) -> Result<Vec<(String, Option<String>)>> {
        let _ = self.take("with");
        let mut given: Vec<(String, Option<String>)> = vec![];
        if self.symbol(&Token::LParen) {
            loop {
                let name = self.name()?;
                let value = match self.parser.peek_token_ref().token.clone() {
                    Token::Comma | Token::RParen => None,
                    Token::Word(_) => Some(self.name()?),
                    Token::Number(n, _) => {
                        self.parser.next_token();
                        Some(n)
                    }
                    _ => Some(self.text()?),
                };
                given.push((name, value));
                if !self.symbol(&Token::Comma) {
                    self.expect_symbol(&Token::RParen)?;
                    break;
                }
            }
        } else {
            while let Some(word) = self.word_at(0) {
                self.parser.next_token();
                let value = if ["delimiter", "null", "quote", "escape", "encoding"].contains(&word.as_str()) {
                    let _ = self.take("as");
                    Some(self.text()?)
                } else {
                    None
                };
                match word.as_str() {
                    "csv" | "text" | "binary" => given.push(("format".into(), Some(word))),
                    _ => given.push((word, value)),
                }
            }
        }
        Ok(given)
    }
}

/// What sqlparser read as INSERT.
pub(super) fn insert_of(i: ast::Insert) -> Result<Insert> {
    let foreign = i.or.is_some()
        || i.ignore
        || i.overwrite
        || i.replace_into
        || !i.assignments.is_empty()
        || i.partitioned.is_some()
        || i.insert_alias.is_some()
        || i.settings.is_some()
        || i.format_clause.is_some()
        || i.output.is_some();
    if foreign {
        return Err(PlanError::unsupported(
            "this form of INSERT is not offered",
            "write INSERT INTO t (columns) VALUES (..) [ON CONFLICT ..] [RETURNING ..]",
        ));
    }
    let ast::TableObject::TableName(table) = &i.table else {
        return Err(PlanError::syntax("INSERT names a table"));
    };
    let columns = i.columns.iter().map(|c| last_part(c, "a column")).collect::<Result<_>>()?;
    let target = i.table_alias.as_ref().map(|a| a.alias.clone()).or_else(|| table.0.last().and_then(|p| p.as_ident()).cloned());
    let on_conflict = match i.on {
        None => None,
        Some(ast::OnInsert::OnConflict(c)) => Some(on_conflict(c, &target)?),
        Some(_) => return Err(PlanError::unsupported("this clause is not offered", "write ON CONFLICT .. DO UPDATE")),
    };
    Ok(Insert {
        table: relation_name(table)?,
        alias: i.table_alias.as_ref().map(|a| fold(&a.alias)),
        columns,
        source: i.source.map(plain),
        on_conflict,
        returning: i.returning.unwrap_or_default(),
        sequence: None,
        overriding: None,
    })
}

/// VALUES without the brackets around it, and DEFAULT without those around that.
fn plain(mut source: Box<ast::Query>) -> Box<ast::Query> {
    let bare = |q: &ast::Query| {
        q.with.is_none() && q.order_by.is_none() && q.limit_clause.is_none() && q.fetch.is_none() && q.locks.is_empty()
    };
    while let ast::SetExpr::Query(inner) = source.body.as_mut()
        && bare(inner)
        && matches!(inner.body.as_ref(), ast::SetExpr::Values(_) | ast::SetExpr::Query(_))
    {
        let none = ast::Values { explicit_row: false, value_keyword: false, rows: vec![] };
        let body = std::mem::replace(&mut inner.body, Box::new(ast::SetExpr::Values(none)));
        source.body = body;
    }
    if let ast::SetExpr::Values(values) = source.body.as_mut() {
        for cell in values.rows.iter_mut().flat_map(|row| &mut row.content) {
            let mut within = &*cell;
            while let ast::Expr::Nested(inner) = within {
                within = inner;
            }
            if is_default(within) {
                *cell = within.clone();
            }
        }
    }
    source
}

fn is_default(e: &ast::Expr) -> bool {
    matches!(e, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}

/// What sqlparser read as UPDATE.
pub(super) fn update_of(u: ast::Update) -> Result<Update> {
    if matches!(u.from, Some(ast::UpdateTableFromKind::BeforeSet(_)))
        || !u.order_by.is_empty()
        || u.limit.is_some()
        || u.or.is_some()
        || u.output.is_some()
    {
        return Err(PlanError::unsupported("UPDATE with ORDER BY and LIMIT is not offered", "use a subquery in WHERE"));
    }
    let (table, alias) = one_table(&u.table)?;
    Ok(Update {
        table,
        alias,
        assignments: assignments(u.assignments, &target_of(&u.table))?,
        from: match u.from {
            Some(ast::UpdateTableFromKind::AfterSet(from)) => from,
            _ => vec![],
        },
        selection: u.selection,
        returning: u.returning.unwrap_or_default(),
    })
}

/// What sqlparser read as DELETE.
pub(super) fn delete_of(d: ast::Delete) -> Result<Delete> {
    if !d.order_by.is_empty() || d.limit.is_some() || !d.tables.is_empty() || d.output.is_some() {
        return Err(PlanError::unsupported("DELETE with ORDER BY and LIMIT is not offered", "use a subquery in WHERE"));
    }
    let ast::FromTable::WithFromKeyword(from) = &d.from else {
        return Err(PlanError::syntax("syntax error: expected FROM after DELETE"));
    };
    let [from] = from.as_slice() else {
        return Err(PlanError::unsupported("DELETE from several tables is not offered", "write one DELETE per table"));
    };
    let (table, alias) = one_table(from)?;
    Ok(Delete {
        table,
        alias,
        using: d.using.unwrap_or_default(),
        selection: d.selection,
        returning: d.returning.unwrap_or_default(),
    })
}

/// A table's columns as a query.
fn columns_of(table: &RelationName, columns: &[String]) -> Result<Box<ast::Query>> {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let listed: Vec<String> = columns.iter().map(|c| quote(c)).collect();
    let what = if listed.is_empty() { "*".to_owned() } else { listed.join(", ") };
    let schema = table.schema.as_deref().map(|s| format!("{}.", quote(s))).unwrap_or_default();
    let name = table.version.map_or_else(|| table.name.clone(), |v| format!("{}@{v}", table.name));
    parse_query(&format!("SELECT {what} FROM {schema}{}", quote(&name)), &ParseLimits::default())
}

fn copy_options(table: RelationName, columns: Vec<String>, given: Vec<(String, Option<String>)>) -> Result<Copy> {
    let invalid = |m: String| PlanError::invalid("22023", m);
    let format = given.iter().find(|(n, _)| n == "format");
    let binary = matches!(format, Some((_, Some(f))) if f == "binary");
    let csv = match format {
        None => false,
        Some((_, Some(f))) if f == "csv" => true,
        Some((_, Some(f))) if f == "text" || f == "binary" => false,
        Some((_, f)) => {
            let f = f.clone().unwrap_or_default();
            return Err(PlanError::unsupported(format!("COPY format \"{f}\" is not offered"), "use csv, text or binary"));
        }
    };
    let (delimiter, null) = if csv { (',', String::new()) } else { ('\t', "\\N".to_owned()) };
    let mut copy = Copy { table, columns, csv, binary, header: false, delimiter, null, quote: '"', on_error: None };
    for (name, value) in given {
        if binary && matches!(name.as_str(), "delimiter" | "null" | "header") {
            let sqlstate = if name == "header" { "0A000" } else { "42601" };
            return Err(PlanError::invalid(sqlstate, format!("cannot specify {} in BINARY mode", name.to_uppercase())));
        }
        let one_char = || {
            let text = value.clone().unwrap_or_default();
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) if c.is_ascii() && !matches!(c, '\n' | '\r') => Ok(c),
                _ => Err(invalid(format!("COPY {name} must be a single one-byte character"))),
            }
        };
        match name.as_str() {
            "format" => {}
            "header" => {
                copy.header = match value.as_deref() {
                    None | Some("true" | "on" | "1") => true,
                    Some("false" | "off" | "0") => false,
                    Some(v) => {
                        return Err(PlanError::unsupported(format!("COPY header \"{v}\" is not offered"), "use true or false"));
                    }
                }
            }
            "delimiter" => copy.delimiter = one_char()?,
            "null" => copy.null = value.clone().unwrap_or_default(),
            "on_error" => copy.on_error = Some(value.clone().unwrap_or_default().to_lowercase()),
            "quote" if csv => copy.quote = one_char()?,
            "escape" if csv && value.as_deref() == Some("\"") => {}
            "encoding" if value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("utf8") || v.eq_ignore_ascii_case("utf-8")) => {
            }
            other => {
                return Err(PlanError::unsupported(
                    format!("COPY option \"{other}\" is not offered here"),
                    "the options are FORMAT csv | text | binary, HEADER, DELIMITER, NULL, QUOTE, ON_ERROR",
                ));
            }
        }
    }
    Ok(copy)
}

fn last_part(name: &ast::ObjectName, what: &str) -> Result<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(fold).ok_or_else(|| PlanError::syntax(format!("not {what}: {name}"))),
        _ => Err(PlanError::syntax(format!("not {what}: {name}"))),
    }
}

fn one_table(t: &ast::TableWithJoins) -> Result<(RelationName, Option<String>)> {
    match (&t.relation, t.joins.is_empty()) {
        (ast::TableFactor::Table { name, alias, args: None, .. }, true) => {
            Ok((relation_name(name)?, alias.as_ref().map(|a| fold(&a.name))))
        }
        _ => Err(PlanError::unsupported("a join as the target is not offered", "name one table, and use subqueries")),
    }
}

/// The name of the table that a statement changes.
fn target_of(t: &ast::TableWithJoins) -> Option<ast::Ident> {
    match &t.relation {
        ast::TableFactor::Table { alias: Some(alias), .. } => Some(alias.name.clone()),
        ast::TableFactor::Table { name, .. } => name.0.last().and_then(|p| p.as_ident()).cloned(),
        _ => None,
    }
}

/// `target`: the table's name, which an array of its own is read by.
pub(super) fn assignments(list: Vec<ast::Assignment>, target: &Option<ast::Ident>) -> Result<Vec<Assignment>> {
    let mut out: Vec<Assignment> = vec![];
    for (column, mut value) in super::assign::flat(list)? {
        super::subscripts::qualify(&mut value, target);
        let column = last_part(&column, "a column")?;
        if let Some(Assignment { value: Some(before), .. }) = out.iter_mut().find(|o| o.column == column)
            && super::subscripts::onto(before, &mut value)
        {
            continue;
        }
        if out.iter().any(|o| o.column == column) {
            return Err(PlanError::invalid("42601", format!("multiple assignments to same column \"{column}\"")));
        }
        let default = is_default(&value);
        out.push(Assignment { column, value: (!default).then_some(value) });
    }
    Ok(out)
}

fn on_conflict(c: ast::OnConflict, target: &Option<ast::Ident>) -> Result<OnConflict> {
    let (columns, constraint) = match c.conflict_target {
        None => (vec![], None),
        Some(ast::ConflictTarget::Columns(c)) => (c.iter().map(fold).collect(), None),
        Some(ast::ConflictTarget::OnConstraint(name)) => (vec![], Some(last_part(&name, "a constraint")?)),
    };
    let update = match c.action {
        ast::OnConflictAction::DoNothing => None,
        ast::OnConflictAction::DoUpdate(_) if columns.is_empty() && constraint.is_none() => {
            return Err(PlanError::invalid("42601", "ON CONFLICT DO UPDATE requires the conflict target's columns")
                .with_hint("name the primary key's columns: ON CONFLICT (id) DO UPDATE"));
        }
        ast::OnConflictAction::DoUpdate(u) => Some((assignments(u.assignments, target)?, u.selection)),
    };
    Ok(OnConflict { columns, constraint, update })
}
