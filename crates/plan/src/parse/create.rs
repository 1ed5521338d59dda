//! CREATE and DROP.

use datafusion::sql::sqlparser::ast::{self, ColumnOption, TableConstraint};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ddl::{Check, SequenceSpec};
use super::statement::{
    ColumnSpec, CreateTable, CreateView, Like, LikePart, Made, ObjectKind, RelationName, Statement, Watermark,
};
use super::{P, Result, dialect, emit, fold, relation_name, types};
use crate::error::PlanError;
use crate::interval;

/// An option that is `SECRET name` is kept under its name with this behind it.
pub const SECRET_OPTION: &str = "_secret";

impl P<'_> {
    pub(super) fn create(&mut self) -> Result<Statement> {
        self.expect("create")?;
        let or_replace = self.take("or replace");
        if self.take("temporary") || self.take("temp") || self.take("unlogged") {
            return Err(temporary());
        }
        if self.take("table") {
            return self.create_table(false, or_replace);
        }
        if self.take("stream") {
            return self.create_table(true, or_replace);
        }
        if self.take("materialized view") {
            return self.create_view(true, or_replace);
        }
        // a view of Feldera's that is no output of its own
        if self.take("view") || self.take("local view") {
            return self.create_view(false, or_replace);
        }
        if !or_replace && self.word_at(0).as_deref() == Some("index") {
            return self.create_index();
        }
        if self.take("function") {
            return self.create_function(or_replace, false);
        }
        if self.take("aggregate") {
            return self.create_function(or_replace, true);
        }
        if !or_replace && self.take("schema") {
            return self.create_schema();
        }
        if !or_replace && self.take("sequence") {
            return self.create_sequence();
        }
        if !or_replace && self.take("sink") {
            return self.create_sink();
        }
        if !or_replace && let Some(role) = self.create_role()? {
            return Ok(role);
        }
        let what = self.word_at(0).unwrap_or_default();
        let hint = match what.as_str() {
            "unique" => "only a primary key is unique; CREATE INDEX is offered",
            "source" => "load with COPY or INSERT; sources come later",
            "sink" => "DROP SINK it, then CREATE SINK",
            "type" | "domain" => {
                "write the type itself, and what its values must be: state TEXT CHECK (state IN ('new', 'done'))"
            }
            "recursive" => "recursive views are not offered yet",
            "procedure" | "trigger" => "a view follows its relations by itself; CREATE FUNCTION .. LANGUAGE SQL is offered",
            _ => "CREATE TABLE, STREAM, VIEW, MATERIALIZED VIEW, FUNCTION, SCHEMA, SEQUENCE and SINK are",
        };
        match what.as_str() {
            "" => Err(self.expected("TABLE, STREAM, VIEW or MATERIALIZED VIEW")),
            w => Err(PlanError::unsupported(format!("CREATE {} is not offered", w.to_uppercase()), hint)),
        }
    }

    fn create_table(&mut self, stream: bool, or_replace: bool) -> Result<Statement> {
        if or_replace {
            return Err(PlanError::unsupported("CREATE OR REPLACE TABLE is not offered", "drop it first"));
        }
        let if_not_exists = self.take("if not exists");
        let name = self.relation()?;
        if let Some(names) = self.names_before_as() {
            return self.create_table_as(stream, if_not_exists, name, names);
        }
        let mut columns: Vec<ColumnSpec> = vec![];
        let mut key: Option<Vec<String>> = None;
        let mut checks: Vec<Check> = vec![];
        let mut watermark: Option<(String, ast::Expr)> = None;
        let mut likes: Vec<Like> = vec![];
        self.expect_symbol(&Token::LParen)?;
        while !self.symbol(&Token::RParen) {
            if self.take("watermark for") {
                let column = self.name()?;
                self.expect("as")?;
                watermark = Some((column, self.expr()?));
            } else if self.take("like") {
                likes.push(self.like(columns.len())?);
            } else if let Some(constraint) = self.constraint()? {
                match constraint {
                    Constraint::Check(check) => checks.push(check),
                    Constraint::Key(_) if key.is_some() => return Err(two_keys()),
                    Constraint::Key(columns) => key = Some(columns),
                }
            } else {
                let def = self.parser.parse_column_def();
                let def = self.sqlparser(def)?;
                let mut column = column(&def, &mut key, &mut checks)?;
                // as Feldera writes a watermark
                if self.take("lateness") {
                    let time = ast::Expr::Identifier(ast::Ident::with_quote('"', column.name.clone()));
                    // NOT NULL behind it is the column's
                    let delay = self.parser.parse_subexpr(dialect::Postgres.prec_value(Precedence::Is));
                    let (left, right) = (Box::new(time), Box::new(self.repaired(delay)?));
                    let delayed = ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Minus, right };
                    if watermark.replace((column.name.clone(), delayed)).is_some() {
                        return Err(PlanError::unsupported("a stream has one watermark", "name one column's LATENESS"));
                    }
                    column.not_null |= self.take("not null");
                }
                columns.push(column);
            }
            if !self.symbol(&Token::Comma) {
                self.expect_symbol(&Token::RParen)?;
                break;
            }
        }
        let (mut partition_by, mut options, mut append_only) = (vec![], vec![], false);
        loop {
            if self.take("partition by") || self.take("partitioned by") {
                partition_by = self.names_in_parens()?;
            } else if self.take("append only") {
                append_only = true;
            } else if self.take("with") {
                options = self.options()?;
            } else {
                break;
            }
        }
        // as Feldera says it; what is in a table can be read here always
        let told = |(name, value): &(String, String)| {
            let is_bool = matches!(value.as_str(), "true" | "false");
            is_bool && matches!(name.as_str(), "append_only" | "materialized")
        };
        append_only |= options.iter().any(|option| told(option) && option.0 == "append_only" && option.1 == "true");
        options.retain(|option| !told(option));
        let stream = stream || append_only;
        if !likes.is_empty() {
            if stream || watermark.is_some() || !partition_by.is_empty() {
                return Err(PlanError::unsupported(
                    "LIKE is for tables",
                    "write the columns of a stream out; SHOW CREATE shows them",
                ));
            }
            return Ok(Statement::CreateTable(Box::new(CreateTable {
                name,
                if_not_exists,
                stream,
                columns,
                primary_key: vec![],
                checks,
                likes,
                key,
                query: None,
                watermark: None,
                partition_by: vec![],
                options,
            })));
        }
        finish_table(columns, key, watermark, partition_by, stream).map(|(columns, primary_key, watermark, partition_by)| {
            let table = CreateTable {
                name,
                if_not_exists,
                stream,
                columns,
                primary_key,
                checks,
                likes: vec![],
                key: None,
                query: None,
                watermark,
                partition_by,
                options,
            };
            Statement::CreateTable(Box::new(table))
        })
    }

    /// `AS`, or `(a, b) AS`, before a query: the names, and AS is taken. Nothing is taken if columns are declared.
    fn names_before_as(&mut self) -> Option<Vec<String>> {
        if self.take("as") {
            return Some(vec![]);
        }
        let token = |p: &Self, n: usize| p.parser.peek_nth_token_ref(n).token.clone();
        let mut n = 1;
        if token(self, 0) != Token::LParen {
            return None;
        }
        while let (Token::Word(_), next) = (token(self, n), token(self, n + 1)) {
            match next {
                Token::Comma => n += 2,
                Token::RParen if self.word_at(n + 2).as_deref() == Some("as") => {
                    let names = self.names_in_parens().ok()?;
                    self.parser.advance_token();
                    return Some(names);
                }
                _ => return None,
            }
        }
        None
    }

    /// What follows LIKE: `t INCLUDING ALL EXCLUDING INDEXES`.
    fn like(&mut self, at: usize) -> Result<Like> {
        use LikePart::{Constraints, Defaults, Generated, Identity, Indexes};
        let mut like = Like { at, table: self.relation()?, including: vec![] };
        loop {
            let including = self.take("including");
            if !including && !self.take("excluding") {
                return Ok(like);
            }
            let parts: &[LikePart] = match self.word_at(0).as_deref() {
                Some("all") => &[Defaults, Constraints, Generated, Identity, Indexes],
                Some("defaults") => &[Defaults],
                Some("constraints") => &[Constraints],
                Some("generated") => &[Generated],
                Some("identity") => &[Identity],
                Some("indexes") => &[Indexes],
                // There is nothing of the kind to be taken.
                Some("compression" | "statistics" | "storage") => &[],
                Some("comments") if !including => &[],
                Some("comments") => {
                    return Err(PlanError::unsupported("LIKE .. INCLUDING COMMENTS is not offered", "write COMMENT ON"));
                }
                _ => return Err(self.expected("ALL, DEFAULTS, CONSTRAINTS, GENERATED, IDENTITY or INDEXES")),
            };
            self.parser.advance_token();
            like.including.retain(|part| !parts.contains(part));
            if including {
                like.including.extend(parts);
            }
        }
    }

    /// CREATE TABLE .. AS: types come from the query, so the columns are names.
    fn create_table_as(
        &mut self,
        stream: bool,
        if_not_exists: bool,
        name: RelationName,
        names: Vec<String>,
    ) -> Result<Statement> {
        let query = self.query()?;
        let with_data = !self.take("with no data");
        let _ = self.take("with data");
        Ok(table_of(stream, if_not_exists, name, names, query, with_data))
    }

    /// A table constraint: the primary key's columns, or a condition; anything else is refused.
    pub(super) fn constraint(&mut self) -> Result<Option<Constraint>> {
        // a column may be called exclude
        let excludes = self.word_at(0).as_deref() == Some("exclude") && self.word_at(1).as_deref() == Some("using");
        if !excludes && !matches!(self.word_at(0).as_deref(), Some("constraint" | "primary" | "unique" | "foreign" | "check")) {
            return Ok(None);
        }
        let constraint = self.parser.parse_optional_table_constraint();
        match self.sqlparser(constraint)? {
            Some(TableConstraint::PrimaryKey(k)) => {
                let columns = k.columns.iter().map(|c| match &c.column.expr {
                    ast::Expr::Identifier(i) => Ok(fold(i)),
                    other => Err(PlanError::syntax(format!("a primary key names columns, not {other}"))),
                });
                columns.collect::<Result<Vec<_>>>().map(|columns| Some(Constraint::Key(columns)))
            }
            Some(TableConstraint::Check(c)) => {
                Ok(Some(Constraint::Check(Check { name: c.name.as_ref().map(fold), column: None, condition: repaired(*c.expr) })))
            }
            Some(TableConstraint::Unique(_)) => Err(no_unique()),
            Some(TableConstraint::ForeignKey(_)) => Err(no_foreign_key()),
            Some(other) => Err(PlanError::unsupported(
                format!("constraint is not offered: {other}"),
                "leave it out; a view can list offending rows",
            )),
            None => Err(self.expected("a constraint")),
        }
    }

    fn create_view(&mut self, materialized: bool, or_replace: bool) -> Result<Statement> {
        if or_replace && materialized {
            return Err(PlanError::unsupported(
                "CREATE OR REPLACE MATERIALIZED VIEW is not offered",
                "create it under another name, or drop it first",
            ));
        }
        let if_not_exists = self.take("if not exists");
        let name = self.relation()?;
        let columns = if self.parser.peek_token_ref().token == Token::LParen { self.names_in_parens()? } else { vec![] };
        let options = if self.take("with") { self.options()? } else { vec![] };
        if self.word_at(0).as_deref() != Some("as") {
            return Err(self.expected("AS"));
        }
        self.parser.next_token();
        let query = self.query()?;
        let emit_final = self.symbol(&emit::MARK);
        if emit_final && !materialized {
            return Err(emit::misplaced());
        }
        if self.take("with no data") {
            return Err(PlanError::unsupported("WITH NO DATA is not offered", "write WITH (async) after the view's name"));
        }
        let _ = self.take("with data");
        let query_sql = query.to_string();
        let view = CreateView { name, materialized, if_not_exists, or_replace, columns, options, query, query_sql, emit_final };
        Ok(Statement::CreateView(Box::new(view)))
    }

    /// `(a = 1, b = 'x', async)`; values as text, a bare word is `true`.
    pub(super) fn options(&mut self) -> Result<Vec<(String, String)>> {
        self.expect_symbol(&Token::LParen)?;
        let mut options: Vec<(String, String)> = vec![];
        loop {
            let mut name = match &self.parser.peek_token_ref().token {
                Token::SingleQuotedString(_) => self.text()?.to_lowercase(),
                _ => self.name()?.to_lowercase(),
            };
            while self.symbol(&Token::Period) {
                name = format!("{name}.{}", self.name()?.to_lowercase());
            }
            let value = match self.symbol(&Token::Eq) {
                true => match self.secret_named()? {
                    Some(secret) => {
                        name.push_str(SECRET_OPTION);
                        secret
                    }
                    None => self.option_value()?,
                },
                false => "true".to_owned(),
            };
            if options.iter().any(|(n, _)| *n == name) {
                return Err(PlanError::syntax(format!("option \"{name}\" specified more than once")));
            }
            options.push((name, value));
            if !self.symbol(&Token::Comma) {
                self.expect_symbol(&Token::RParen)?;
                return Ok(options);
            }
        }
    }

    /// `SECRET name`, the name quoted.
    fn secret_named(&mut self) -> Result<Option<String>> {
        let next = matches!(self.parser.peek_nth_token_ref(1).token, Token::Word(_));
        if !next || !self.take("secret") {
            return Ok(None);
        }
        let name = self.relation()?;
        let quoted = |part: &String| format!("\"{}\"", part.replace('"', "\"\""));
        Ok(Some(name.schema.iter().chain([&name.name]).map(quoted).collect::<Vec<_>>().join(".")))
    }

    fn option_value(&mut self) -> Result<String> {
        let minus = self.symbol(&Token::Minus);
        let sign = if minus { "-" } else { "" };
        match self.parser.peek_token_ref().token.clone() {
            Token::Number(n, _) => {
                self.parser.next_token();
                Ok(format!("{sign}{n}"))
            }
            Token::Word(w) if !minus => {
                self.parser.next_token();
                Ok(if w.quote_style.is_some() { w.value } else { w.value.to_lowercase() })
            }
            _ if !minus => self.text(),
            _ => Err(self.expected("a number")),
        }
    }

    pub(super) fn drop_objects(&mut self) -> Result<Statement> {
        self.expect("drop")?;
        if let Some(rights) = self.drop_rights()? {
            return Ok(rights);
        }
        let kind = if self.take("table") {
            ObjectKind::Table
        } else if self.take("stream") {
            ObjectKind::Stream
        } else if self.take("materialized view") {
            ObjectKind::MaterializedView
        } else if self.take("view") {
            ObjectKind::View
        } else if self.take("schema") {
            return self.drop_schema();
        } else if self.take("sequence") {
            return self.drop_sequence();
        } else if self.take("function") {
            return self.drop_function(false);
        } else if self.take("aggregate") {
            return self.drop_function(true);
        } else if self.take("sink") {
            return self.drop_sink();
        } else if self.take("index") {
            return self.drop_index();
        } else {
            return Err(self.expected("TABLE, STREAM, VIEW, MATERIALIZED VIEW, INDEX, FUNCTION, SCHEMA, SEQUENCE or SINK"));
        };
        let if_exists = self.take("if exists");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        let cascade = self.cascades();
        Ok(Statement::Drop { kind, names, if_exists, cascade })
    }
}

/// The error of a second primary key.
pub fn two_keys() -> PlanError {
    PlanError::invalid("42P16", "multiple primary keys for one table are not allowed")
}

/// A table constraint that is offered.
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(super) enum Constraint {
    Key(Vec<String>),
    Check(Check),
}

fn repaired(mut expr: ast::Expr) -> ast::Expr {
    super::precedence::repair(&mut expr);
    expr
}

/// `serial` and its kin: the integer type of which it is, in bits.
fn serial(ty: &ast::DataType) -> Option<u8> {
    match ty.to_string().to_lowercase().as_str() {
        "smallserial" | "serial2" => Some(16),
        "serial" | "serial4" => Some(32),
        "bigserial" | "serial8" => Some(64),
        _ => None,
    }
}

fn integer(bits: u8) -> arrow::datatypes::DataType {
    match bits {
        16 => arrow::datatypes::DataType::Int16,
        32 => arrow::datatypes::DataType::Int32,
        _ => arrow::datatypes::DataType::Int64,
    }
}

/// The bits of an integer type.
fn bits(ty: &arrow::datatypes::DataType) -> Option<u8> {
    [16, 32, 64].into_iter().find(|bits| integer(*bits) == *ty)
}

/// Options of GENERATED .. AS IDENTITY (..).
/// A DEFAULT reads nothing: it would be read by whoever inserts.
pub(super) fn without_query(e: ast::Expr) -> Result<ast::Expr> {
    struct V;
    impl ast::Visitor for V {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Break(())
        }
    }
    if crate::walk::Visit::visit(&e, &mut V).is_break() {
        return Err(PlanError::unsupported("cannot use subquery in DEFAULT expression", "name the value when you insert"));
    }
    Ok(e)
}

fn sequence_spec(options: &[ast::SequenceOptions], bits: u8) -> Result<SequenceSpec> {
    use ast::SequenceOptions as O;
    let whole = |e: &ast::Expr| {
        e.to_string().replace(' ', "").parse::<i64>().map_err(|_| PlanError::syntax(format!("a number was expected, not {e}")))
    };
    let mut spec = SequenceSpec { bits: Some(bits), ..SequenceSpec::default() };
    for option in options {
        match option {
            O::IncrementBy(e, _) => spec.increment = Some(whole(e)?),
            O::MinValue(e) => spec.min = e.as_ref().map(whole).transpose()?,
            O::MaxValue(e) => spec.max = e.as_ref().map(whole).transpose()?,
            O::StartWith(e, _) => spec.start = Some(whole(e)?),
            O::Cycle(no) => spec.cycle = !*no,
            O::Cache(_) => {}
        }
    }
    Ok(spec)
}

pub(super) fn column(def: &ast::ColumnDef, key: &mut Option<Vec<String>>, checks: &mut Vec<Check>) -> Result<ColumnSpec> {
    let counted = serial(&def.data_type);
    let (ty, chars_max) = match counted {
        Some(bits) => (integer(bits), None),
        None => types::column_type(&def.data_type)?,
    };
    let name = fold(&def.name);
    let made = counted.map_or(Made::Given, |bits| Made::Counted {
        always: false,
        serial: true,
        spec: SequenceSpec { bits: Some(bits), ..SequenceSpec::default() },
    });
    let mut spec = ColumnSpec { name, ty, chars_max, not_null: counted.is_some(), default: None, made };
    let has = |wanted: fn(&ColumnOption) -> bool| def.options.iter().any(|o| wanted(&o.option));
    let is_both = has(|o| matches!(o, ColumnOption::Null)) && has(|o| matches!(o, ColumnOption::NotNull));
    for o in &def.options {
        match &o.option {
            ColumnOption::Null | ColumnOption::NotNull if is_both => {
                let message = format!("conflicting NULL/NOT NULL declarations for column \"{}\"", spec.name);
                return Err(PlanError::invalid("42601", message).with_hint("write one of the two"));
            }
            ColumnOption::Null => {}
            ColumnOption::NotNull => spec.not_null = true,
            ColumnOption::Default(_) if spec.default.is_some() => {
                let message = format!("multiple default values specified for column \"{}\"", spec.name);
                return Err(PlanError::invalid("42601", message).with_hint("a column has one DEFAULT"));
            }
            ColumnOption::Default(e) => spec.default = Some(without_query(repaired(e.clone()))?),
            ColumnOption::Check(c) => {
                let name = o.name.as_ref().or(c.name.as_ref()).map(fold);
                checks.push(Check { name, column: Some(spec.name.clone()), condition: repaired((*c.expr).clone()) });
            }
            // One that is not stored has the same values: what makes them depends on its row alone.
            ColumnOption::Generated { generation_expr: Some(e), .. } => {
                made_once(&spec)?;
                spec.made = Made::Computed(repaired(e.clone()));
            }
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                made_once(&spec)?;
                let Some(bits) = bits(&spec.ty) else {
                    return Err(PlanError::invalid("22023", "identity column type must be smallint, integer, or bigint"));
                };
                let always = matches!(generated_as, ast::GeneratedAs::Always);
                let sequence = sequence_spec(sequence_options.as_deref().unwrap_or_default(), bits)?;
                spec.made = Made::Counted { always, serial: false, spec: sequence };
                spec.not_null = true;
            }
            ColumnOption::PrimaryKey(_) => {
                if key.replace(vec![spec.name.clone()]).is_some() {
                    return Err(two_keys());
                }
            }
            ColumnOption::Unique(_) => return Err(no_unique()),
            ColumnOption::ForeignKey(_) => return Err(no_foreign_key()),
            ColumnOption::Collation(c) if ["\"C\"", "\"POSIX\""].contains(&c.to_string().as_str()) => {}
            other => {
                return Err(PlanError::unsupported(
                    format!("column option is not offered: {other}"),
                    "a column may have NOT NULL, DEFAULT, CHECK, PRIMARY KEY and GENERATED ALWAYS AS",
                ));
            }
        }
    }
    if spec.default.is_some() && spec.made != Made::Given {
        return Err(two_sources(&spec));
    }
    Ok(spec)
}

fn no_unique() -> PlanError {
    PlanError::unsupported("UNIQUE constraints are not offered", "make the columns the primary key")
}

fn no_foreign_key() -> PlanError {
    let hint = "leave the constraint out; a view can list rows without a partner";
    PlanError::unsupported("foreign keys are not offered", hint)
}

fn made_once(spec: &ColumnSpec) -> Result<()> {
    if spec.made == Made::Given { Ok(()) } else { Err(two_sources(spec)) }
}

fn two_sources(spec: &ColumnSpec) -> PlanError {
    PlanError::invalid("42601", format!("more than one source of values specified for column \"{}\"", spec.name))
        .with_hint("a column has one of DEFAULT, serial, GENERATED AS IDENTITY and GENERATED ALWAYS AS (..) STORED")
}

/// Refuses names that the log uses.
pub fn column_name(name: &str) -> Result<()> {
    let of_the_log =
        ["_op", "_offset", "_partition", "_lsn", "_commit_ts", "_schema", "_late", "_cause", "_watermark", "_stream"];
    if of_the_log.contains(&name) || name.starts_with("_before_") {
        return Err(PlanError::invalid("42939", format!("column name \"{name}\" is reserved"))
            .with_hint("the log uses this name; choose another"));
    }
    Ok(())
}

/// A table of a query's rows; its columns are names.
fn table_of(
    stream: bool,
    if_not_exists: bool,
    name: RelationName,
    names: Vec<String>,
    query: Box<ast::Query>,
    with_data: bool,
) -> Statement {
    let named = |name: String| ColumnSpec {
        name,
        ty: arrow::datatypes::DataType::Null,
        chars_max: None,
        not_null: false,
        default: None,
        made: Made::Given,
    };
    Statement::CreateTable(Box::new(CreateTable {
        name,
        if_not_exists,
        stream,
        columns: names.into_iter().map(named).collect(),
        primary_key: vec![],
        checks: vec![],
        likes: vec![],
        key: None,
        query: Some((query, with_data)),
        watermark: None,
        partition_by: vec![],
        options: vec![],
    }))
}

/// `SELECT .. INTO t ..` is CREATE TABLE t AS.
pub(super) fn select_into(statement: Statement) -> Result<Statement> {
    let Statement::Query(mut query) = statement else { return Ok(statement) };
    let mut body = query.body.as_mut();
    let into = loop {
        match body {
            ast::SetExpr::Select(select) => break select.into.take(),
            ast::SetExpr::SetOperation { left, .. } => body = left.as_mut(),
            _ => break None,
        }
    };
    match into {
        None => Ok(Statement::Query(query)),
        Some(into) if into.temporary || into.unlogged => Err(temporary()),
        Some(into) => Ok(table_of(false, false, relation_name(&into.name)?, vec![], query, true)),
    }
}

fn temporary() -> PlanError {
    PlanError::unsupported("temporary and unlogged tables are not offered", "create an ordinary table")
}

/// Columns of a table that were found elsewhere, and the positions of its key.
pub fn finish_columns(columns: Vec<ColumnSpec>, key: Option<Vec<String>>) -> Result<(Vec<ColumnSpec>, Vec<usize>)> {
    finish_table(columns, key, None, vec![], false).map(|(columns, key, ..)| (columns, key))
}

type Finished = (Vec<ColumnSpec>, Vec<usize>, Option<Watermark>, Vec<usize>);

/// Names to positions, and what a table and a stream must have.
fn finish_table(
    mut columns: Vec<ColumnSpec>,
    key: Option<Vec<String>>,
    watermark: Option<(String, ast::Expr)>,
    partition_by: Vec<String>,
    stream: bool,
) -> Result<Finished> {
    if columns.is_empty() {
        return Err(PlanError::unsupported("a relation without columns is not offered", "name at least one column"));
    }
    for (i, c) in columns.iter().enumerate() {
        if columns[..i].iter().any(|d| d.name == c.name) {
            return Err(PlanError::invalid("42701", format!("column \"{}\" specified more than once", c.name)));
        }
        column_name(&c.name)?;
    }
    let place = |name: &str, columns: &[ColumnSpec]| {
        let missing = || PlanError::invalid("42703", format!("column \"{name}\" does not exist"));
        columns.iter().position(|c| c.name == name).ok_or_else(missing)
    };
    let positions = |names: &[String], columns: &[ColumnSpec]| -> Result<Vec<usize>> {
        let p = names.iter().map(|n| place(n, columns)).collect::<Result<Vec<_>>>()?;
        match p.iter().enumerate().find(|(i, c)| p[..*i].contains(c)) {
            Some((_, c)) => Err(PlanError::invalid("42701", format!("column \"{}\" appears twice in the key", columns[*c].name))),
            None => Ok(p),
        }
    };
    let primary_key = positions(&key.unwrap_or_default(), &columns)?;
    if stream && !primary_key.is_empty() {
        return Err(PlanError::unsupported("a stream has no primary key", "leave it out, or create a table"));
    }
    for k in &primary_key {
        columns[*k].not_null = true;
    }
    let watermark = match watermark {
        None => None,
        Some(_) if !stream => {
            let hint = "write CREATE STREAM, or APPEND ONLY behind the columns";
            return Err(PlanError::unsupported("a watermark belongs to a stream", hint));
        }
        Some((name, e)) => {
            let column = place(&name, &columns)?;
            if !matches!(columns[column].ty, arrow::datatypes::DataType::Timestamp(..)) {
                return Err(PlanError::invalid("42804", format!("watermark column \"{name}\" must be a timestamp")));
            }
            Some(Watermark { column, delay_us: watermark_delay(&name, &e)? })
        }
    };
    let partition_by = positions(&partition_by, &columns)?;
    if !stream && !partition_by.iter().all(|p| primary_key.contains(p)) {
        return Err(PlanError::unsupported(
            "a table is partitioned by columns of its primary key",
            "name columns of the primary key in PARTITION BY",
        ));
    }
    Ok((columns, primary_key, watermark, partition_by))
}

/// `ts` or `ts - INTERVAL '..'`, in microseconds.
fn watermark_delay(column: &str, e: &ast::Expr) -> Result<i64> {
    let is_column = |e: &ast::Expr| matches!(e, ast::Expr::Identifier(i) if fold(i) == column);
    let bad = || {
        PlanError::unsupported(
            format!("watermark expression is not offered: {e}"),
            format!("write WATERMARK FOR {column} AS {column} - INTERVAL '5 seconds'"),
        )
    };
    match e {
        e if is_column(e) => Ok(0),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Minus, right } if is_column(left) => {
            interval::micros(right).filter(|d| *d >= 0).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}
