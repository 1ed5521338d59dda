//! The statements of regauge: what a session can be told. sqlparser's trees stand inside where they fit; everything else is
//! plain data with names folded as PostgreSQL folds them.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;

use super::ddl::{Check, Ddl, SequenceSpec};
use super::merge::Merge;
use super::rights::Rights;
use super::with::With;

/// What LOCK TABLE asks for, by what PostgreSQL's modes conflict with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableLock {
    /// ACCESS SHARE, ROW SHARE, ROW EXCLUSIVE: nothing.
    Weak,
    /// SHARE UPDATE EXCLUSIVE: to be the only one who locks.
    Alone,
    /// SHARE: that nobody else writes.
    Share,
    /// SHARE ROW EXCLUSIVE, EXCLUSIVE, ACCESS EXCLUSIVE: both.
    Exclusive,
}

/// A relation's name: folded to lower case unless quoted; `view@2` names a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// `schema.name`.
    pub schema: Option<String>,
    /// The relation.
    pub name: String,
    /// The version after `@`.
    pub version: Option<u32>,
}

impl RelationName {
    /// A name without schema or version.
    pub fn bare(name: impl Into<String>) -> RelationName {
        RelationName { schema: None, name: name.into(), version: None }
    }
}

impl std::fmt::Display for RelationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(s) = &self.schema {
            write!(f, "{s}.")?;
        }
        f.write_str(&self.name)?;
        self.version.map_or(Ok(()), |v| write!(f, "@{v}"))
    }
}

/// Where a cursor goes, seen from the row that it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// So many rows on, or all that are left.
    Forward(Option<u64>),
    /// So many rows back, or all of them.
    Backward(Option<u64>),
    /// To this row, counted from 1; negative numbers count from the end.
    Absolute(i64),
    /// To the row that is so many rows away.
    Relative(i64),
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// CREATE TABLE, CREATE STREAM, CREATE TABLE .. APPEND ONLY.
    CreateTable(Box<CreateTable>),
    /// CREATE [MATERIALIZED] VIEW.
    CreateView(Box<CreateView>),
    /// ALTER, COMMENT and their kin.
    Ddl(Box<Ddl>),
    /// Roles and privileges.
    Rights(Box<Rights>),
    /// DROP.
    Drop {
        /// What kind of thing must it be.
        kind: ObjectKind,
        /// Which ones.
        names: Vec<RelationName>,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE of one table.
    Update(Box<Update>),
    /// DELETE from one table.
    Delete(Box<Delete>),
    /// MERGE.
    Merge(Box<Merge>),
    /// WITH around what writes.
    With(Box<With>),
    /// COPY .. FROM STDIN.
    Copy(Box<Copy>),
    /// COPY .. TO STDOUT.
    CopyTo(Box<CopyTo>),
    /// PREPARE.
    Prepare {
        /// Its name.
        name: String,
        /// Types of the first parameters.
        types: Vec<DataType>,
        /// What is prepared: a query, INSERT, UPDATE, DELETE or MERGE.
        statement: Box<Statement>,
    },
    /// EXECUTE.
    Execute {
        /// Which prepared statement.
        name: String,
        /// Values of its parameters.
        args: Vec<ast::Expr>,
    },
    /// DECLARE .. CURSOR FOR.
    Declare {
        /// The cursor.
        name: String,
        /// Its rows.
        query: Box<ast::Query>,
        /// SCROLL: it goes back as well.
        scroll: bool,
        /// WITH HOLD: it outlives its transaction.
        hold: bool,
    },
    /// FETCH and MOVE.
    Fetch {
        /// The cursor.
        name: String,
        /// Which rows.
        direction: Direction,
        /// MOVE: they are not shown.
        moves: bool,
    },
    /// CLOSE of a cursor; `None` for ALL.
    Close {
        /// The cursor.
        name: Option<String>,
    },
    /// BEGIN, START TRANSACTION.
    Begin {
        /// READ ONLY.
        read_only: Option<bool>,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// COMMIT AND CHAIN, ROLLBACK AND CHAIN: the next transaction begins at once.
    Chain {
        /// What the one that ends has done is taken back.
        rollback: bool,
    },
    /// LOCK TABLE.
    Lock {
        /// Which.
        names: Vec<RelationName>,
        /// How.
        mode: TableLock,
        /// Fails instead of waiting.
        nowait: bool,
    },
    /// LISTEN.
    Listen {
        /// To what.
        channel: String,
    },
    /// UNLISTEN.
    Unlisten {
        /// To what no more; `None` for all.
        channel: Option<String>,
    },
    /// NOTIFY.
    Notify {
        /// To whom.
        channel: String,
        /// What.
        payload: String,
    },
    /// What there is nothing to do for: SET CONSTRAINTS, DISCARD PLANS.
    Nothing {
        /// What the command is answered with.
        tag: &'static str,
    },
    /// SAVEPOINT.
    Savepoint {
        /// Its name.
        name: String,
    },
    /// RELEASE SAVEPOINT.
    Release {
        /// Its name.
        name: String,
    },
    /// ROLLBACK TO SAVEPOINT.
    RollbackTo {
        /// Its name.
        name: String,
    },
    /// SELECT, VALUES, WITH, TABLE.
    Query(Box<ast::Query>),
    /// SUBSCRIBE TO.
    Subscribe(Subscribe),
    /// FLUSH: wait until every view has caught up.
    Flush,
    /// BACKUP TO.
    Backup {
        /// Where to: a folder.
        to: String,
    },
    /// SHOW of a setting.
    Show {
        /// The setting, lowercase, dots kept; `all` for all.
        name: String,
    },
    /// SHOW SECRETS.
    ShowSecrets,
    /// SHOW TABLES and its like.
    ShowObjects {
        /// Which kind.
        kind: ObjectKind,
    },
    /// SET.
    Set {
        /// SET LOCAL: until the transaction ends.
        local: bool,
        /// The setting, lowercase.
        name: String,
        /// The value as text; `None` for DEFAULT.
        value: Option<String>,
    },
    /// RESET; `None` for ALL.
    Reset {
        /// The setting.
        name: Option<String>,
    },
    /// DESCRIBE.
    Describe {
        /// Which relation.
        name: RelationName,
    },
    /// EXPLAIN [ANALYZE] MATERIALIZED VIEW.
    ExplainView {
        /// Which view.
        name: RelationName,
        /// With rows and time per operator.
        analyze: bool,
    },
    /// ADVANCE WATERMARK FOR stream [PARTITION n] TO timestamp.
    AdvanceWatermark {
        /// The stream.
        stream: RelationName,
        /// One of its partitions; none for all that get records.
        partition: Option<u32>,
        /// A constant.
        to: Box<ast::Expr>,
    },
    /// EXPLAIN [ANALYZE] of a query, or of CREATE MATERIALIZED VIEW (its FlowPlan).
    ExplainQuery {
        /// What is explained.
        query: Box<ast::Query>,
        /// Run it.
        analyze: bool,
        /// The plan that this materialized view would have; the query is its.
        as_view: Option<Box<CreateView>>,
    },
    /// EXPLAIN of INSERT, UPDATE, DELETE or MERGE.
    ExplainChange(Box<Statement>),
    /// DISCARD ALL.
    Discard,
    /// DISCARD SEQUENCES.
    DiscardSequences,
    /// DEALLOCATE; `None` for ALL.
    Deallocate {
        /// The prepared statement.
        name: Option<String>,
    },
}

/// Kinds of named things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Tables.
    Table,
    /// Streams.
    Stream,
    /// Plain views.
    View,
    /// Materialized views.
    MaterializedView,
    /// Anything named.
    Any,
}

/// CREATE TABLE or CREATE STREAM.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// Its name.
    pub name: RelationName,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// A stream (CREATE STREAM, APPEND ONLY).
    pub stream: bool,
    /// In order.
    pub columns: Vec<ColumnSpec>,
    /// Positions of the primary key's columns; empty for a table whose rows may repeat.
    pub primary_key: Vec<usize>,
    /// Conditions on each row.
    pub checks: Vec<Check>,
    /// LIKE, in order; where there are some, the primary key is open.
    pub likes: Vec<Like>,
    /// Names of the primary key's columns, where that is open and was given.
    pub key: Option<Vec<String>>,
    /// CREATE TABLE .. AS: its rows, and whether they are stored. The columns have names only, or none.
    pub query: Option<(Box<ast::Query>, bool)>,
    /// WATERMARK FOR.
    pub watermark: Option<Watermark>,
    /// PARTITION BY: positions of columns.
    pub partition_by: Vec<usize>,
    /// WITH (..).
    pub options: Vec<(String, String)>,
}

/// LIKE among the columns of a table: the columns of another relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    /// How many columns were declared before it.
    pub at: usize,
    /// Whose columns.
    pub table: RelationName,
    /// INCLUDING, less what EXCLUDING took back.
    pub including: Vec<LikePart>,
}

impl Like {
    /// Whether a part is taken.
    #[must_use]
    pub fn takes(&self, part: LikePart) -> bool {
        self.including.contains(&part)
    }
}

/// What LIKE takes besides names, types and NOT NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikePart {
    /// DEFAULT, serial's included.
    Defaults,
    /// CHECK.
    Constraints,
    /// GENERATED ALWAYS AS (..).
    Generated,
    /// GENERATED AS IDENTITY, with a sequence of its own.
    Identity,
    /// The primary key.
    Indexes,
}

/// A column as declared.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: DataType,
    /// varchar(n).
    pub chars_max: Option<u64>,
    /// NOT NULL or part of the primary key.
    pub not_null: bool,
    /// DEFAULT; bind it with [`crate::constant`].
    pub default: Option<ast::Expr>,
    /// Where its values come from when they are not the user's.
    pub made: Made,
}

/// Where a column's values come from.
#[expect(clippy::large_enum_variant, reason = "one for each column of a statement")]
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Made {
    /// The user, or DEFAULT.
    #[default]
    Given,
    /// GENERATED ALWAYS AS (..) STORED.
    Computed(ast::Expr),
    /// A sequence of its own.
    Counted {
        /// GENERATED ALWAYS: the user cannot give a value.
        always: bool,
        /// SERIAL: the sequence shows as a DEFAULT.
        serial: bool,
        /// What it counts.
        spec: SequenceSpec,
    },
}

/// `WATERMARK FOR column AS column - delay`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// Position of the event time's column.
    pub column: usize,
    /// How late a record may be, microseconds, not negative.
    pub delay_us: i64,
}

/// CREATE [MATERIALIZED] VIEW.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// Its name.
    pub name: RelationName,
    /// Materialized.
    pub materialized: bool,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// OR REPLACE (plain views).
    pub or_replace: bool,
    /// `(a, b)` after the name: new names for the first columns.
    pub columns: Vec<String>,
    /// WITH (..); a bare word has the value `true`.
    pub options: Vec<(String, String)>,
    /// The query.
    pub query: Box<ast::Query>,
    /// The query's text, as the catalog stores it for plain views.
    pub query_sql: String,
    /// EMIT FINAL (materialized views).
    pub emit_final: bool,
}

/// INSERT.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// Into what.
    pub table: RelationName,
    /// `AS alias`.
    pub alias: Option<String>,
    /// Named columns; empty for all.
    pub columns: Vec<String>,
    /// VALUES or a query; `None` for DEFAULT VALUES.
    pub source: Option<Box<ast::Query>>,
    /// ON CONFLICT.
    pub on_conflict: Option<OnConflict>,
    /// RETURNING.
    pub returning: Vec<ast::SelectItem>,
    /// WITH SEQUENCE n: the producer's sequence number.
    pub sequence: Option<u64>,
    /// OVERRIDING .. VALUE.
    pub overriding: Option<Overriding>,
}

/// What is to become of values that are given for identity columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overriding {
    /// They are taken, of GENERATED ALWAYS as well.
    System,
    /// The sequence's are taken in their place.
    User,
}

/// ON CONFLICT.
#[derive(Debug, Clone, PartialEq)]
pub struct OnConflict {
    /// The conflict target; empty when not given.
    pub columns: Vec<String>,
    /// ON CONSTRAINT.
    pub constraint: Option<String>,
    /// DO UPDATE, or DO NOTHING.
    pub update: Option<(Vec<Assignment>, Option<ast::Expr>)>,
}

/// `column = value`; `None` for DEFAULT.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Which column.
    pub column: String,
    /// The new value.
    pub value: Option<ast::Expr>,
}

/// UPDATE.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Which table.
    pub table: RelationName,
    /// Its alias.
    pub alias: Option<String>,
    /// SET.
    pub assignments: Vec<Assignment>,
    /// FROM: what the table is joined with.
    pub from: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub selection: Option<ast::Expr>,
    /// RETURNING.
    pub returning: Vec<ast::SelectItem>,
}

/// DELETE.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// Which table.
    pub table: RelationName,
    /// Its alias.
    pub alias: Option<String>,
    /// USING: what the table is joined with.
    pub using: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub selection: Option<ast::Expr>,
    /// RETURNING.
    pub returning: Vec<ast::SelectItem>,
}

/// COPY .. FROM STDIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Into what.
    pub table: RelationName,
    /// Named columns; empty for all.
    pub columns: Vec<String>,
    /// csv, else PostgreSQL's text format.
    pub csv: bool,
    /// Neither: PostgreSQL's binary format.
    pub binary: bool,
    /// The first line holds names.
    pub header: bool,
    /// Between fields.
    pub delimiter: char,
    /// What stands for NULL.
    pub null: String,
    /// csv's quote.
    pub quote: char,
    /// What becomes of bad records, if it is said.
    pub on_error: Option<String>,
}

/// SUBSCRIBE TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Which view.
    pub name: RelationName,
    /// Start with the present rows.
    pub snapshot: bool,
    /// Say when an epoch is complete.
    pub progress: bool,
    /// AFTER: continue behind this token.
    pub after: Option<String>,
}

/// COPY .. TO STDOUT.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyTo {
    /// What is copied: the query, or the table's columns as one.
    pub query: Box<ast::Query>,
    /// Its form; table and columns are those that were named, if a table was.
    pub form: Copy,
}
