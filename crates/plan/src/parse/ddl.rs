//! ALTER, COMMENT, SCHEMA, SEQUENCE, TRUNCATE, SHOW CREATE: what changes or tells of things that are there.
//!
//! Plain data comes out, names folded. It does not know what there is: whether a name fits its kind is the session's to say.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::create::column;
use super::function::{CreateFunction, DroppedFunction};
use super::index::CreateIndex;
use super::rights::RoleName;
use super::sink::SinkDdl;
use super::statement::{ColumnSpec, ObjectKind, RelationName, Statement};
use super::{P, Result};
use crate::error::PlanError;

/// Statements about things that are there.
#[derive(Debug, Clone, PartialEq)]
pub enum Ddl {
    /// CREATE SCHEMA.
    CreateSchema {
        /// Its name.
        name: String,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// AUTHORIZATION: whose it is; none for the current user's.
        owner: Option<RoleName>,
    },
    /// DROP SCHEMA.
    DropSchema {
        /// Which ones.
        names: Vec<String>,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER .. RENAME TO, RENAME COLUMN, ADD, DROP and ALTER COLUMN.
    Alter {
        /// What kind of thing must it be; [`ObjectKind::Table`] takes any, as in PostgreSQL.
        kind: ObjectKind,
        /// IF EXISTS.
        if_exists: bool,
        /// Which one.
        name: RelationName,
        /// One after the other.
        actions: Vec<Alter>,
    },
    /// COMMENT ON.
    Comment {
        /// What kind of thing must it be.
        kind: ObjectKind,
        /// The relation.
        name: RelationName,
        /// The column, for COMMENT ON COLUMN.
        column: Option<String>,
        /// NULL takes it away.
        text: Option<String>,
    },
    /// SHOW CREATE.
    ShowCreate {
        /// What kind of thing must it be.
        kind: ObjectKind,
        /// Which one.
        name: RelationName,
    },
    /// TRUNCATE.
    Truncate {
        /// Which tables.
        names: Vec<RelationName>,
        /// RESTART IDENTITY.
        restart: bool,
    },
    /// REFRESH MATERIALIZED VIEW.
    Refresh {
        /// Which one.
        name: RelationName,
    },
    /// CREATE SEQUENCE.
    CreateSequence {
        /// Its name.
        name: RelationName,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// What it counts.
        spec: SequenceSpec,
    },
    /// CREATE FUNCTION.
    CreateFunction(CreateFunction),
    /// DROP FUNCTION, DROP AGGREGATE.
    DropFunction {
        /// Which ones.
        functions: Vec<DroppedFunction>,
        /// IF EXISTS.
        if_exists: bool,
        /// DROP AGGREGATE.
        aggregate: bool,
    },
    /// CREATE INDEX.
    CreateIndex(CreateIndex),
    /// DROP INDEX.
    DropIndex {
        /// Which ones.
        names: Vec<RelationName>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// About sinks.
    Sink(SinkDdl),
    /// ALTER SEQUENCE .. RESTART.
    RestartSequence {
        /// Which one.
        name: RelationName,
        /// IF EXISTS.
        if_exists: bool,
        /// The next number; the one it was made to start with if it is not said.
        with: Option<i64>,
    },
    /// DROP SEQUENCE.
    DropSequence {
        /// Which ones.
        names: Vec<RelationName>,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
}

/// One change of a relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Alter {
    /// RENAME TO.
    Rename(String),
    /// SET SCHEMA.
    SetSchema(String),
    /// OWNER TO.
    Owner(RoleName),
    /// SET (backfill_rate = n): rows a second of its history, none for as many as can be.
    BackfillRate(Option<u64>),
    /// SET (on_error = ..) of a stream; RESET is `fail`.
    OnError(String),
    /// RENAME COLUMN.
    RenameColumn {
        /// The column.
        from: String,
        /// Its new name.
        to: String,
    },
    /// ADD COLUMN.
    AddColumn {
        /// The column.
        column: Box<ColumnSpec>,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// DROP COLUMN.
    DropColumn {
        /// The column.
        column: String,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER COLUMN .. SET DEFAULT, DROP DEFAULT.
    Default {
        /// The column.
        column: String,
        /// The new one.
        default: Option<ast::Expr>,
    },
    /// ALTER COLUMN .. SET NOT NULL, DROP NOT NULL.
    NotNull {
        /// The column.
        column: String,
        /// Whether NULL is refused from now on.
        not_null: bool,
    },
    /// ADD [CONSTRAINT ..] CHECK.
    AddCheck(Check),
    /// DROP CONSTRAINT.
    DropConstraint {
        /// Its name.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// A condition on each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// As given; none: the session finds one.
    pub name: Option<String>,
    /// Names of its column, for one that stands beside a column.
    pub column: Option<String>,
    /// It must not be false.
    pub condition: ast::Expr,
}

/// What a sequence counts; none: PostgreSQL's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SequenceSpec {
    /// INCREMENT BY.
    pub increment: Option<i64>,
    /// MINVALUE.
    pub min: Option<i64>,
    /// MAXVALUE.
    pub max: Option<i64>,
    /// START WITH.
    pub start: Option<i64>,
    /// CYCLE.
    pub cycle: bool,
    /// AS: the bits of its type.
    pub bits: Option<u8>,
}

const KINDS: [(&str, ObjectKind); 4] = [
    ("table", ObjectKind::Table),
    ("stream", ObjectKind::Stream),
    ("materialized view", ObjectKind::MaterializedView),
    ("view", ObjectKind::View),
];

/// Rows a second, as an option has it; none for no limit.
pub fn rate(value: &str) -> Result<Option<u64>> {
    if ["null", "reset", "unlimited", "default"].iter().any(|none| value.eq_ignore_ascii_case(none)) {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| {
        PlanError::invalid("22023", format!("backfill_rate is not a number of rows a second backfill_rate={value:?}"))
    })
}

impl P<'_> {
    fn kind(&mut self) -> Option<ObjectKind> {
        KINDS.iter().find(|(words, _)| self.take(words)).map(|(_, kind)| *kind)
    }

    pub(super) fn ddl(ddl: Ddl) -> Statement {
        Statement::Ddl(Box::new(ddl))
    }

    pub(super) fn create_schema(&mut self) -> Result<Statement> {
        let if_not_exists = self.take("if not exists");
        let name = if self.take("authorization") {
            // Named as its owner.
            let owner = self.role_name()?;
            let RoleName::Named(name) = &owner else { return Err(self.expected("a role's name")) };
            let name = name.clone();
            return Ok(Self::ddl(Ddl::CreateSchema { name, if_not_exists, owner: Some(owner) }));
        } else {
            let name = self.name()?;
            if self.symbol(&Token::Period) {
                // A database before the schema is taken as ours.
                let name = self.name()?;
                return self.schema_end(name, if_not_exists);
            }
            name
        };
        self.schema_end(name, if_not_exists)
    }

    fn schema_end(&mut self, name: String, if_not_exists: bool) -> Result<Statement> {
        let owner = if self.take("authorization") { Some(self.role_name()?) } else { None };
        Ok(Self::ddl(Ddl::CreateSchema { name, if_not_exists, owner }))
    }

    pub(super) fn drop_schema(&mut self) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let mut names = vec![];
        loop {
            let mut name = self.name()?;
            if self.symbol(&Token::Period) {
                name = self.name()?;
            }
            names.push(name);
            if !self.symbol(&Token::Comma) {
                break;
            }
        }
        let cascade = self.cascades();
        Ok(Self::ddl(Ddl::DropSchema { names, if_exists, cascade }))
    }

    /// CASCADE, or RESTRICT, which is what happens without a word.
    pub(super) fn cascades(&mut self) -> bool {
        let cascade = self.take("cascade");
        if !cascade {
            let _ = self.take("restrict");
        }
        cascade
    }

    pub(super) fn create_sequence(&mut self) -> Result<Statement> {
        let if_not_exists = self.take("if not exists");
        let name = self.relation()?;
        let spec = self.sequence_spec()?;
        Ok(Self::ddl(Ddl::CreateSequence { name, if_not_exists, spec }))
    }

    pub(super) fn drop_sequence(&mut self) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        let cascade = self.cascades();
        Ok(Self::ddl(Ddl::DropSequence { names, if_exists, cascade }))
    }

    /// Behind ALTER SEQUENCE .. RESTART.
    pub(super) fn restart_sequence(&mut self, name: RelationName, if_exists: bool) -> Result<Statement> {
        let named = self.take("with") || matches!(self.parser.peek_token_ref().token, Token::Number(..) | Token::Minus);
        let with = if named { Some(self.whole()?) } else { None };
        Ok(Self::ddl(Ddl::RestartSequence { name, if_exists, with }))
    }

    fn sequence_spec(&mut self) -> Result<SequenceSpec> {
        let mut spec = SequenceSpec::default();
        loop {
            if self.take("as") {
                spec.bits = Some(match self.name()?.as_str() {
                    "smallint" | "int2" => 16,
                    "integer" | "int" | "int4" => 32,
                    "bigint" | "int8" => 64,
                    _ => return Err(PlanError::invalid("22023", "sequence type must be smallint, integer, or bigint")),
                });
            } else if self.take("increment by") || self.take("increment") {
                spec.increment = Some(self.whole()?);
            } else if self.take("minvalue") {
                spec.min = Some(self.whole()?);
            } else if self.take("maxvalue") {
                spec.max = Some(self.whole()?);
            } else if self.take("start with") || self.take("start") {
                spec.start = Some(self.whole()?);
            } else if self.take("no minvalue") || self.take("no maxvalue") || self.take("no cycle") || self.take("owned by none")
            {
            } else if self.take("cache") {
                let _ = self.whole()?;
            } else if self.take("cycle") {
                spec.cycle = true;
            } else if self.word_at(0).as_deref() == Some("owned") {
                return Err(PlanError::unsupported(
                    "OWNED BY is not offered",
                    "declare the column serial or GENERATED AS IDENTITY",
                ));
            } else {
                return Ok(spec);
            }
        }
    }

    fn whole(&mut self) -> Result<i64> {
        let minus = self.symbol(&Token::Minus);
        let Token::Number(digits, _) = self.parser.peek_token_ref().token.clone() else { return Err(self.expected("a number")) };
        self.parser.next_token();
        let text = format!("{}{digits}", if minus { "-" } else { "" });
        text.parse().map_err(|_| PlanError::invalid("22003", format!("value \"{text}\" is out of range for type bigint")))
    }

    pub(super) fn alter(&mut self) -> Result<Statement> {
        self.expect("alter")?;
        if let Some(rights) = self.alter_rights()? {
            return Ok(rights);
        }
        if self.take("sink") {
            return self.alter_sink();
        }
        let Some(kind) = self.kind() else {
            return Err(match self.word_at(0).as_deref() {
                Some("database" | "system" | "index") => {
                    PlanError::unsupported("this ALTER is not offered", "ALTER TABLE, STREAM, VIEW and MATERIALIZED VIEW are")
                }
                _ => self.expected("TABLE, STREAM, VIEW or MATERIALIZED VIEW"),
            });
        };
        let if_exists = self.take("if exists");
        let _ = self.take("only");
        let name = self.relation()?;
        let mut actions = vec![self.alteration(kind)?];
        while self.symbol(&Token::Comma) {
            actions.push(self.alteration(kind)?);
        }
        Ok(Self::ddl(Ddl::Alter { kind, if_exists, name, actions }))
    }

    fn alteration(&mut self, kind: ObjectKind) -> Result<Alter> {
        if self.take("rename to") {
            return Ok(Alter::Rename(self.name()?));
        }
        if self.take("set schema") {
            return Ok(Alter::SetSchema(self.name()?));
        }
        if self.take("owner to") {
            return Ok(Alter::Owner(self.role_name()?));
        }
        if kind == ObjectKind::MaterializedView && (self.take("set") || self.word_at(0).as_deref() == Some("reset")) {
            return self.backfill_rate();
        }
        if kind == ObjectKind::Stream && (self.take("set") || self.word_at(0).as_deref() == Some("reset")) {
            return self.on_error();
        }
        if !matches!(kind, ObjectKind::Table | ObjectKind::Stream) {
            return Err(PlanError::unsupported(
                "a view can be renamed and set into another schema",
                "write CREATE OR REPLACE VIEW, or drop it and create it anew",
            ));
        }
        if self.take("rename column") || self.take("rename") {
            let from = self.name()?;
            self.expect("to")?;
            return Ok(Alter::RenameColumn { from, to: self.name()? });
        }
        if self.take("add") {
            return self.addition();
        }
        if self.take("drop constraint") {
            let if_exists = self.take("if exists");
            let name = self.name()?;
            let _ = self.cascades();
            return Ok(Alter::DropConstraint { name, if_exists });
        }
        if self.take("drop") {
            let _ = self.take("column");
            let if_exists = self.take("if exists");
            let column = self.name()?;
            return Ok(Alter::DropColumn { column, if_exists, cascade: self.cascades() });
        }
        if self.take("alter") {
            let _ = self.take("column");
            let column = self.name()?;
            if self.take("set default") {
                return Ok(Alter::Default { column, default: Some(super::create::without_query(self.expr()?)?) });
            }
            if self.take("drop default") {
                return Ok(Alter::Default { column, default: None });
            }
            if self.take("set not null") {
                return Ok(Alter::NotNull { column, not_null: true });
            }
            if self.take("drop not null") {
                return Ok(Alter::NotNull { column, not_null: false });
            }
            return Err(PlanError::unsupported(
                "this ALTER COLUMN is not offered",
                "SET DEFAULT, DROP DEFAULT, SET NOT NULL and DROP NOT NULL are; for another type add a column and copy",
            ));
        }
        Err(PlanError::unsupported(
            "this ALTER is not offered",
            "RENAME TO, SET SCHEMA, OWNER TO, RENAME COLUMN, ADD COLUMN, DROP COLUMN, ALTER COLUMN, ADD CHECK and DROP CONSTRAINT are",
        ))
    }

    /// `(backfill_rate = n)` behind SET, or RESET (backfill_rate).
    fn backfill_rate(&mut self) -> Result<Alter> {
        let unknown = |name: &str| {
            let hint = "ALTER MATERIALIZED VIEW v SET (backfill_rate = n) is: n rows a second, 0 pauses, NULL is no limit";
            PlanError::unsupported(format!("option \"{name}\" of a materialized view cannot be changed"), hint)
        };
        if self.take("reset") {
            return match self.names_in_parens()?.as_slice() {
                [name] if name == "backfill_rate" => Ok(Alter::BackfillRate(None)),
                names => Err(unknown(&names.join(", "))),
            };
        }
        match self.options()?.as_slice() {
            [(name, value)] if name == "backfill_rate" => rate(value).map(Alter::BackfillRate),
            options => Err(unknown(options.iter().find(|(n, _)| n != "backfill_rate").map_or("backfill_rate", |(n, _)| n))),
        }
    }

    /// `(on_error = ..)` behind SET, or RESET (on_error).
    fn on_error(&mut self) -> Result<Alter> {
        let unknown = |name: &str| {
            let hint = "ALTER STREAM s SET (on_error = 'dead_letter') is, and 'fail'; the number of partitions is fixed";
            PlanError::unsupported(format!("option \"{name}\" of a stream cannot be changed"), hint)
        };
        if self.take("reset") {
            return match self.names_in_parens()?.as_slice() {
                [name] if name == "on_error" => Ok(Alter::OnError("fail".to_owned())),
                names => Err(unknown(&names.join(", "))),
            };
        }
        match self.options()?.as_slice() {
            [(name, value)] if name == "on_error" => Ok(Alter::OnError(value.clone())),
            options => Err(unknown(options.iter().find(|(n, _)| n != "on_error").map_or("on_error", |(n, _)| n))),
        }
    }

    fn addition(&mut self) -> Result<Alter> {
        if let Some(constraint) = self.constraint()? {
            return match constraint {
                super::create::Constraint::Check(check) => Ok(Alter::AddCheck(check)),
                super::create::Constraint::Key(_) => Err(PlanError::unsupported(
                    "a primary key is given when the table is created",
                    "create a table with the key and INSERT INTO it .. SELECT",
                )),
            };
        }
        let _ = self.take("column");
        let if_not_exists = self.take("if not exists");
        let def = self.parser.parse_column_def();
        let def = self.sqlparser(def)?;
        let (mut key, mut checks) = (None, vec![]);
        let column = column(&def, &mut key, &mut checks)?;
        if key.is_some() || !checks.is_empty() {
            return Err(PlanError::unsupported(
                "ADD COLUMN takes a type, NOT NULL and DEFAULT",
                "add the column, then ALTER TABLE .. ADD CHECK",
            ));
        }
        Ok(Alter::AddColumn { column: Box::new(column), if_not_exists })
    }

    pub(super) fn comment(&mut self) -> Result<Statement> {
        self.expect("comment on")?;
        let (kind, name, column) = if self.take("column") {
            let mut parts = vec![self.name()?];
            while self.symbol(&Token::Period) {
                parts.push(self.name()?);
            }
            let column = parts.pop().filter(|_| !parts.is_empty());
            let Some(column) = column else {
                return Err(PlanError::syntax("a column's comment names its relation: COMMENT ON COLUMN t.c IS ''"));
            };
            (ObjectKind::Any, super::relation_of_parts(parts)?, Some(column))
        } else {
            let Some(kind) = self.kind() else {
                return Err(PlanError::unsupported(
                    "this COMMENT is not offered",
                    "COMMENT ON TABLE, STREAM, VIEW, MATERIALIZED VIEW and COLUMN are",
                ));
            };
            (kind, self.relation()?, None)
        };
        self.expect("is")?;
        let text = if self.take("null") { None } else { Some(self.text()?) };
        Ok(Self::ddl(Ddl::Comment { kind, name, column, text: text.filter(|t| !t.is_empty()) }))
    }

    pub(super) fn show_create(&mut self) -> Result<Statement> {
        if self.take("sink") {
            return self.show_create_sink();
        }
        let kind = self.kind().ok_or_else(|| self.expected("TABLE, STREAM, VIEW or MATERIALIZED VIEW"))?;
        Ok(Self::ddl(Ddl::ShowCreate { kind, name: self.relation()? }))
    }

    pub(super) fn truncate(&mut self) -> Result<Statement> {
        self.expect("truncate")?;
        let _ = self.take("table");
        let _ = self.take("only");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        let restart = self.take("restart identity");
        let _ = self.take("continue identity");
        let _ = self.cascades();
        Ok(Self::ddl(Ddl::Truncate { names, restart }))
    }

    pub(super) fn refresh(&mut self) -> Result<Statement> {
        self.expect("refresh materialized view")?;
        let _ = self.take("concurrently");
        let name = self.relation()?;
        if self.take("with no data") {
            return Err(PlanError::unsupported("WITH NO DATA is not offered", "a materialized view is always up to date"));
        }
        let _ = self.take("with data");
        Ok(Self::ddl(Ddl::Refresh { name }))
    }
}
