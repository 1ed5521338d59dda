//! CREATE, ALTER, DROP and SHOW SINK.
//!
//! Options are taken as they stand: which of them a connector knows is for the connector to say, in the session.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ddl::Ddl;
use super::statement::{RelationName, Statement};
use super::{P, Result};
use crate::error::PlanError;

/// A statement about sinks.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkDdl {
    /// CREATE SINK.
    Create {
        /// Its name.
        name: RelationName,
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// FROM: the relation that it follows.
        of: RelationName,
        /// WITH (..).
        options: Vec<(String, String)>,
    },
    /// ALTER SINK.
    Alter {
        /// Which one.
        name: RelationName,
        /// IF EXISTS.
        if_exists: bool,
        /// What becomes of it.
        change: SinkChange,
    },
    /// DROP SINK.
    Drop {
        /// Which ones.
        names: Vec<RelationName>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// SHOW CREATE SINK.
    ShowCreate {
        /// Which one.
        name: RelationName,
    },
    /// SHOW SINKS.
    Show,
}

/// What ALTER SINK says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkChange {
    /// SET (..).
    Set(Vec<(String, String)>),
    /// RESET (..): these options are not given any more.
    Reset(Vec<String>),
    /// PAUSE.
    Pause,
    /// RESUME.
    Resume,
}

impl P<'_> {
    fn of_sink(ddl: SinkDdl) -> Statement {
        Statement::Ddl(Box::new(Ddl::Sink(ddl)))
    }

    pub(super) fn create_sink(&mut self) -> Result<Statement> {
        let if_not_exists = self.take("if not exists");
        let name = self.relation()?;
        if self.take("as") {
            let hint = "CREATE MATERIALIZED VIEW .. AS the query, then CREATE SINK .. FROM the view";
            return Err(PlanError::unsupported("CREATE SINK .. AS is not offered", hint));
        }
        self.expect("from")?;
        let of = self.relation()?;
        if self.take("into") {
            let hint = "CREATE SINK s FROM v WITH (connector = 'postgres', table = 't', ..)";
            return Err(PlanError::unsupported("INTO is not offered: the target is among the options", hint));
        }
        self.expect("with")?;
        let options = self.options()?;
        Ok(Self::of_sink(SinkDdl::Create { name, if_not_exists, of, options }))
    }

    pub(super) fn alter_sink(&mut self) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let name = self.relation()?;
        let change = if self.take("set") {
            SinkChange::Set(self.options()?)
        } else if self.take("reset") {
            SinkChange::Reset(self.names_in_parens()?)
        } else if self.take("pause") {
            SinkChange::Pause
        } else if self.take("resume") {
            SinkChange::Resume
        } else {
            return Err(self.expected("SET (..), RESET (..), PAUSE or RESUME"));
        };
        Ok(Self::of_sink(SinkDdl::Alter { name, if_exists, change }))
    }

    pub(super) fn drop_sink(&mut self) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        // Nothing depends on a sink.
        let _ = self.cascades();
        Ok(Self::of_sink(SinkDdl::Drop { names, if_exists }))
    }

    pub(super) fn show_create_sink(&mut self) -> Result<Statement> {
        Ok(Self::of_sink(SinkDdl::ShowCreate { name: self.relation()? }))
    }

    pub(super) fn show_sinks() -> Statement {
        Self::of_sink(SinkDdl::Show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParseLimits, parse};

    fn one(sql: &str) -> Result<SinkDdl> {
        match parse(sql, &ParseLimits::default())?.pop() {
            Some(Statement::Ddl(ddl)) => match *ddl {
                Ddl::Sink(sink) => Ok(sink),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sink_is_created_changed_and_dropped() {
        let SinkDdl::Create { name, of, options, .. } =
            one("CREATE SINK s FROM a.v WITH (connector = 'postgres', port = 5432)").expect("reads")
        else {
            panic!("CREATE")
        };
        assert_eq!((name.name.as_str(), of.schema.as_deref(), of.name.as_str()), ("s", Some("a"), "v"));
        assert_eq!(options[1], ("port".to_owned(), "5432".to_owned()));
        assert!(matches!(one("ALTER SINK s PAUSE"), Ok(SinkDdl::Alter { change: SinkChange::Pause, .. })));
        assert!(matches!(one("ALTER SINK IF EXISTS s SET (port = 1)"), Ok(SinkDdl::Alter { if_exists: true, .. })));
        assert!(matches!(one("DROP SINK IF EXISTS s, t CASCADE"), Ok(SinkDdl::Drop { names, .. }) if names.len() == 2));
        assert_eq!(one("SHOW SINKS").expect("reads"), SinkDdl::Show);
        assert!(matches!(one("SHOW CREATE SINK s"), Ok(SinkDdl::ShowCreate { .. })));
    }

    #[test]
    fn what_is_not_offered_says_what_to_write() {
        for sql in ["CREATE SINK s AS SELECT 1", "CREATE SINK s FROM v INTO t WITH (connector = 'x')"] {
            let error = one(sql).expect_err(sql);
            assert!(error.hint().is_some(), "{error}");
        }
        assert!(one("ALTER SINK s RENAME TO t").is_err());
    }
}
