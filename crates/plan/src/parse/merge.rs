//! MERGE as PostgreSQL 15 has it. sqlparser reads another dialect's: without DO NOTHING, DEFAULT VALUES and OVERRIDING; so the clauses are
//! read here, and only what stands in them by sqlparser.
//!
//! ```text
//!   [WITH ..] MERGE INTO t USING source ON condition
//!     WHEN MATCHED [AND condition] THEN UPDATE SET .. | DELETE | DO NOTHING
//!     WHEN NOT MATCHED [AND condition] THEN INSERT [(columns)] VALUES (..) | INSERT DEFAULT VALUES | DO NOTHING
//! ```
//! For each row of the source, and each row of the table that it matches, the first clause that holds is carried out.

use datafusion::sql::sqlparser::ast::{self, Expr, TableFactor};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::statement::{Assignment, Overriding, RelationName, Statement};
use super::{P, Result, dml, fold, relation_name, repair, with};
use crate::error::PlanError;

/// MERGE.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// Which table.
    pub table: RelationName,
    /// Its alias.
    pub alias: Option<String>,
    /// USING: one relation.
    pub source: ast::TableWithJoins,
    /// What the source is called: its alias, or the relation's name.
    pub source_name: String,
    /// ON.
    pub on: Expr,
    /// In the order of the text; there is one at least.
    pub clauses: Vec<MergeClause>,
}

/// WHEN.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeClause {
    /// Of rows of the table that the source matches; else of rows of the source that match none.
    pub matched: bool,
    /// AND.
    pub condition: Option<Expr>,
    /// THEN.
    pub action: MergeAction,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeAction {
    /// DO NOTHING.
    Nothing,
    /// UPDATE SET.
    Update(Vec<Assignment>),
    /// DELETE.
    Delete,
    /// INSERT.
    Insert {
        /// Named columns; empty for all.
        columns: Vec<String>,
        /// OVERRIDING .. VALUE.
        overriding: Option<Overriding>,
        /// VALUES; `None` for DEFAULT VALUES.
        values: Option<Vec<Expr>>,
    },
}

impl Merge {
    /// The table's name within the statement.
    #[must_use]
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.table.name)
    }

    /// Every expression outside of the source.
    pub fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        std::iter::once(&mut self.on).chain(self.clauses.iter_mut().flat_map(MergeClause::expressions_mut))
    }
}

impl MergeClause {
    /// Its condition and its values.
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let values: Vec<&Expr> = match &self.action {
            MergeAction::Update(list) => list.iter().filter_map(|a| a.value.as_ref()).collect(),
            MergeAction::Insert { values, .. } => values.iter().flatten().collect(),
            MergeAction::Nothing | MergeAction::Delete => vec![],
        };
        self.condition.iter().chain(values)
    }

    fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let values: Vec<&mut Expr> = match &mut self.action {
            MergeAction::Update(list) => list.iter_mut().filter_map(|a| a.value.as_mut()).collect(),
            MergeAction::Insert { values, .. } => values.iter_mut().flatten().collect(),
            MergeAction::Nothing | MergeAction::Delete => vec![],
        };
        self.condition.iter_mut().chain(values)
    }
}

impl P<'_> {
    pub(super) fn merge(&mut self) -> Result<Statement> {
        self.expect("merge into")?;
        let _ = self.take("only");
        let table = self.relation()?;
        let alias = if self.word_at(0).as_deref() == Some("using") {
            None
        } else {
            let _ = self.take("as");
            Some(self.name()?)
        };
        self.expect("using")?;
        let source = self.parser.parse_table_and_joins();
        let source = self.repaired(source)?;
        let source_name = source_name(&source)?;
        self.expect("on")?;
        let mut merge = Merge { table, alias, source, source_name, on: self.expr()?, clauses: vec![] };
        if merge.source_name == merge.name() {
            let message = format!("name \"{}\" specified more than once", merge.source_name);
            return Err(PlanError::invalid("42712", message)
                .with_hint("give the target or the source a name of its own: MERGE INTO t AS target USING .."));
        }
        let target = Some(ast::Ident::with_quote('"', merge.name()));
        while self.take("when") {
            let clause = self.merge_clause(&target)?;
            let mut same = merge.clauses.iter().filter(|c| c.matched == clause.matched);
            if same.next_back().is_some_and(|before| before.condition.is_none()) {
                return Err(PlanError::invalid("42601", "unreachable WHEN clause specified after unconditional WHEN clause"));
            }
            merge.clauses.push(clause);
        }
        if merge.clauses.is_empty() {
            return Err(self.expected("WHEN"));
        }
        Ok(Statement::Merge(Box::new(merge)))
    }

    fn merge_clause(&mut self, target: &Option<ast::Ident>) -> Result<MergeClause> {
        let matched = !self.take("not");
        self.expect("matched")?;
        let condition = if self.take("and") { Some(self.expr()?) } else { None };
        self.expect("then")?;
        let action = match () {
            () if self.take("do nothing") => MergeAction::Nothing,
            () if matched && self.take("delete") => MergeAction::Delete,
            () if matched && self.take("update set") => {
                let list = self.parser.parse_comma_separated(Parser::parse_assignment);
                let mut list = self.sqlparser(list)?;
                for assignment in &mut list {
                    repair(&mut assignment.value)?;
                }
                MergeAction::Update(dml::assignments(list, target)?)
            }
            () if !matched && self.take("insert") => self.merge_insert()?,
            () if matched => return Err(self.expected("UPDATE SET, DELETE or DO NOTHING")),
            () => return Err(self.expected("INSERT or DO NOTHING")),
        };
        Ok(MergeClause { matched, condition, action })
    }

    fn merge_insert(&mut self) -> Result<MergeAction> {
        if self.take("default values") {
            return Ok(MergeAction::Insert { columns: vec![], overriding: None, values: None });
        }
        let columns = if self.parser.peek_token_ref().token == Token::LParen { self.names_in_parens()? } else { vec![] };
        let overriding = match () {
            () if self.take("overriding system value") => Some(Overriding::System),
            () if self.take("overriding user value") => Some(Overriding::User),
            () => None,
        };
        self.expect("values")?;
        self.expect_symbol(&Token::LParen)?;
        let values = self.parser.parse_comma_separated(Parser::parse_expr);
        let values = self.repaired(values)?;
        self.expect_symbol(&Token::RParen)?;
        Ok(MergeAction::Insert { columns, overriding, values: Some(values) })
    }

    /// WITH before MERGE; none, and nothing read, where it stands before another statement.
    pub(super) fn with_merge(&mut self) -> Result<Option<Statement>> {
        let parsed = self.parser.maybe_parse(|parser| {
            parser.expect_keyword_is(Keyword::WITH)?;
            let with_token = parser.get_current_token().clone();
            let recursive = parser.parse_keyword(Keyword::RECURSIVE);
            let cte_tables = parser.parse_comma_separated(Parser::parse_cte)?;
            match &parser.peek_token_ref().token {
                Token::Word(w) if w.keyword == Keyword::MERGE && w.quote_style.is_none() => {}
                _ => return parser.expected_ref("MERGE", parser.peek_token_ref()),
            }
            Ok(ast::With { with_token: with_token.into(), recursive, cte_tables })
        });
        let Some(mut with) = self.sqlparser(parsed)? else { return Ok(None) };
        for cte in &mut with.cte_tables {
            repair(&mut cte.query)?;
        }
        let parts = with::parts(with)?;
        let body = self.merge()?;
        Ok(Some(Statement::With(Box::new(with::With { parts, body }))))
    }
}

/// What the columns of the source are called by.
fn source_name(source: &ast::TableWithJoins) -> Result<String> {
    let joined = || {
        PlanError::unsupported(
            "MERGE USING a join is not offered",
            "put it into a subquery: USING (SELECT .. FROM a JOIN b ..) AS s",
        )
    };
    if !source.joins.is_empty() {
        return Err(joined());
    }
    let alias = match &source.relation {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. } => alias,
        _ => return Err(joined()),
    };
    match (alias, &source.relation) {
        (Some(alias), _) => Ok(fold(&alias.name)),
        (None, TableFactor::Table { name, args: None, .. }) => Ok(relation_name(name)?.name),
        (None, TableFactor::Derived { .. }) => {
            Err(PlanError::invalid("42601", "subquery in FROM must have an alias")
                .with_hint("For example, USING (SELECT ...) AS s."))
        }
        (None, _) => Err(PlanError::unsupported("a function in USING has no alias", "write USING f(..) AS s")),
    }
}
