//! Transactions, settings, SHOW, EXPLAIN, SUBSCRIBE: what a session is told about itself.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::statement::{ObjectKind, Statement, Subscribe, TableLock};
use super::{P, Result};
use crate::error::PlanError;

impl P<'_> {
    pub(super) fn transaction(&mut self) -> Result<Statement> {
        let first = self.word_at(0).unwrap_or_default();
        self.parser.next_token();
        let word = |p: &mut Self| {
            let _ = p.take("transaction") || p.take("work");
        };
        if first == "start" {
            self.expect("transaction")?;
        } else {
            word(self);
        }
        match first.as_str() {
            "begin" | "start" => {
                if self.take("evolution") {
                    return Err(PlanError::unsupported("evolutions are not offered yet", "create the views one by one"));
                }
                let read_only = self.transaction_modes()?;
                Ok(Statement::Begin { read_only })
            }
            "commit" | "end" => Ok(if self.chain() { Statement::Chain { rollback: false } } else { Statement::Commit }),
            _ => {
                if self.take("to") {
                    let _ = self.take("savepoint");
                    return Ok(Statement::RollbackTo { name: self.name()? });
                }
                Ok(if self.chain() { Statement::Chain { rollback: true } } else { Statement::Rollback })
            }
        }
    }

    /// VACUUM, ANALYZE, CHECKPOINT, with whatever they say: nothing waits for being asked to tidy up.
    pub(super) fn housekeeping(&mut self) -> Result<Statement> {
        let tag = match self.word_at(0).as_deref() {
            Some("vacuum") => "VACUUM",
            Some("checkpoint") => "CHECKPOINT",
            _ => "ANALYZE",
        };
        while !matches!(self.parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
            self.parser.next_token();
        }
        Ok(Statement::Nothing { tag })
    }

    /// LISTEN channel.
    pub(super) fn listen(&mut self) -> Result<Statement> {
        self.expect("listen")?;
        Ok(Statement::Listen { channel: self.name()? })
    }

    /// UNLISTEN *, UNLISTEN channel.
    pub(super) fn unlisten(&mut self) -> Result<Statement> {
        self.expect("unlisten")?;
        let channel = if self.symbol(&Token::Mul) { None } else { Some(self.name()?) };
        Ok(Statement::Unlisten { channel })
    }

    /// NOTIFY channel, 'payload'.
    pub(super) fn notify(&mut self) -> Result<Statement> {
        self.expect("notify")?;
        let channel = self.name()?;
        let payload = if self.symbol(&Token::Comma) { self.text()? } else { String::new() };
        Ok(Statement::Notify { channel, payload })
    }

    /// SAVEPOINT and RELEASE.
    pub(super) fn savepoint(&mut self) -> Result<Statement> {
        let release = self.take("release");
        let _ = self.take("savepoint");
        let name = self.name()?;
        Ok(if release { Statement::Release { name } } else { Statement::Savepoint { name } })
    }

    /// AND CHAIN.
    fn chain(&mut self) -> bool {
        !self.take("and no chain") && self.take("and chain")
    }

    /// LOCK TABLE; without a mode the strongest.
    pub(super) fn lock(&mut self) -> Result<Statement> {
        self.expect("lock")?;
        let _ = self.take("table");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        let modes = [
            ("in access share mode", TableLock::Weak),
            ("in row share mode", TableLock::Weak),
            ("in row exclusive mode", TableLock::Weak),
            ("in share update exclusive mode", TableLock::Alone),
            ("in share mode", TableLock::Share),
            ("in share row exclusive mode", TableLock::Exclusive),
            ("in exclusive mode", TableLock::Exclusive),
            ("in access exclusive mode", TableLock::Exclusive),
        ];
        let mode = modes.into_iter().find(|(words, _)| self.take(words)).map_or(TableLock::Exclusive, |(_, mode)| mode);
        let nowait = self.take("nowait");
        Ok(Statement::Lock { names, mode, nowait })
    }

    /// Isolation levels at most as strong as what every transaction has; true for READ ONLY, false for READ WRITE.
    fn transaction_modes(&mut self) -> Result<Option<bool>> {
        let mut read_only = None;
        loop {
            if self.take("isolation level") {
                if self.take("serializable") {
                    return Err(PlanError::unsupported(
                        "SERIALIZABLE is not offered",
                        "use REPEATABLE READ: every transaction has a snapshot, and the first to commit wins per key",
                    ));
                }
                let known = ["read committed", "read uncommitted", "repeatable read"].into_iter().any(|l| self.take(l));
                if !known {
                    return Err(self.expected("an isolation level"));
                }
            } else if self.take("read only") {
                read_only = Some(true);
            } else if self.take("read write") {
                read_only = Some(false);
            } else if !(self.take("deferrable") || self.take("not deferrable")) {
                return Ok(read_only);
            }
            let _ = self.symbol(&Token::Comma);
        }
    }

    pub(super) fn subscribe(&mut self) -> Result<Statement> {
        self.expect("subscribe")?;
        let _ = self.take("to");
        let name = self.relation()?;
        let mut s = Subscribe { name, snapshot: true, progress: false, after: None };
        if self.take("with") {
            for (option, value) in self.options()? {
                let flag = match value.as_str() {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    _ => return Err(PlanError::invalid("22023", format!("option \"{option}\" is true or false"))),
                };
                match option.as_str() {
                    "snapshot" => s.snapshot = flag,
                    "progress" => s.progress = flag,
                    _ => {
                        return Err(PlanError::invalid("42601", format!("unknown option \"{option}\" of SUBSCRIBE"))
                            .with_hint("the options are snapshot and progress"));
                    }
                }
            }
        }
        if self.take("after") {
            s.after = Some(self.text()?);
            s.snapshot = false;
        }
        Ok(Statement::Subscribe(s))
    }

    pub(super) fn show(&mut self) -> Result<Statement> {
        self.expect("show")?;
        if self.take("create") {
            return self.show_create();
        }
        for (words, kind) in [
            ("tables", ObjectKind::Table),
            ("streams", ObjectKind::Stream),
            ("views", ObjectKind::View),
            ("materialized views", ObjectKind::MaterializedView),
            ("objects", ObjectKind::Any),
        ] {
            if self.take(words) {
                return Ok(Statement::ShowObjects { kind });
            }
        }
        for (words, listed) in [
            ("schemas", "SELECT nspname AS name FROM pg_catalog.pg_namespace ORDER BY 1"),
            ("databases", "SELECT datname AS name FROM pg_catalog.pg_database ORDER BY 1"),
            ("users", "SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY 1"),
        ] {
            if self.take(words) {
                return super::parse_query(listed, &super::ParseLimits::default()).map(Statement::Query);
            }
        }
        if self.take("columns from") {
            return Ok(Statement::Describe { name: self.relation()? });
        }
        if self.take("sinks") {
            return Ok(Self::show_sinks());
        }
        if self.take("secrets") {
            return Ok(Statement::ShowSecrets);
        }
        if self.take("transaction isolation level") {
            return Ok(Statement::Show { name: "transaction_isolation".into() });
        }
        if self.take("time zone") {
            return Ok(Statement::Show { name: "timezone".into() });
        }
        Ok(Statement::Show { name: self.setting()? })
    }

    fn setting(&mut self) -> Result<String> {
        let mut name = self.name()?.to_lowercase();
        while self.symbol(&Token::Period) {
            name = format!("{name}.{}", self.name()?.to_lowercase());
        }
        Ok(name)
    }

    pub(super) fn set(&mut self) -> Result<Statement> {
        self.expect("set")?;
        let lasting = self.take("session characteristics as transaction");
        if lasting || self.take("transaction") {
            if let Some(read_only) = self.transaction_modes()? {
                let name = if lasting { "default_transaction_read_only" } else { "transaction_read_only" };
                let value = if read_only { "on" } else { "off" };
                return Ok(Statement::Set { local: !lasting, name: name.into(), value: Some(value.into()) });
            }
            let value = Some("repeatable read".into());
            let name = if lasting { "default_transaction_isolation" } else { "transaction_isolation" };
            return Ok(Statement::Set { local: !lasting, name: name.into(), value });
        }
        let local = self.take("local");
        if !local && self.take("constraints") {
            return self.set_constraints();
        }
        if !local {
            let _ = self.take("session");
        }
        if self.take("time zone") {
            let value = match () {
                () if self.take("local") => None,
                () if self.take("interval") => {
                    let text = self.text()?;
                    let _ = self.take("hour to minute");
                    Some(format!("INTERVAL '{text}'"))
                }
                () => self.setting_value()?,
            };
            return Ok(Statement::Set { local, name: "timezone".into(), value });
        }
        if let Some(role) = self.set_role(local)? {
            return Ok(role);
        }
        if self.take("names") {
            let value = self.setting_value()?;
            return Ok(Statement::Set { local, name: "client_encoding".into(), value });
        }
        let name = self.setting()?;
        if !(self.symbol(&Token::Eq) || self.take("to")) {
            return Err(self.expected("= or TO"));
        }
        let value = self.setting_value()?;
        Ok(Statement::Set { local, name, value })
    }

    /// Constraints are judged at each statement; keys and CHECK are not deferrable in PostgreSQL either unless they say so, and none does.
    fn set_constraints(&mut self) -> Result<Statement> {
        let all = self.take("all");
        if !all {
            return Err(PlanError::unsupported(
                "no constraint is deferrable: constraints are judged at each statement",
                "SET CONSTRAINTS ALL is taken",
            ));
        }
        if !(self.take("deferred") || self.take("immediate")) {
            return Err(self.expected("DEFERRED or IMMEDIATE"));
        }
        Ok(Statement::Nothing { tag: "SET CONSTRAINTS" })
    }

    /// One or more values, joined by ", " as PostgreSQL shows lists.
    fn setting_value(&mut self) -> Result<Option<String>> {
        if self.take("default") {
            return Ok(None);
        }
        let mut values = vec![];
        loop {
            let minus = self.symbol(&Token::Minus);
            let sign = if minus { "-" } else { "" };
            match self.parser.peek_token_ref().token.clone() {
                Token::Number(n, _) => {
                    self.parser.next_token();
                    values.push(format!("{sign}{n}"));
                }
                Token::Word(_) if !minus => values.push(self.name()?),
                _ if !minus => values.push(self.text()?),
                _ => return Err(self.expected("a value")),
            }
            if !self.symbol(&Token::Comma) {
                return Ok(Some(values.join(", ")));
            }
        }
    }

    pub(super) fn reset(&mut self) -> Result<Statement> {
        self.expect("reset")?;
        if self.take("all") {
            return Ok(Statement::Reset { name: None });
        }
        if self.take("session authorization") {
            return Ok(Statement::Reset { name: Some("session_authorization".into()) });
        }
        if self.take("time zone") {
            return Ok(Statement::Reset { name: Some("timezone".into()) });
        }
        Ok(Statement::Reset { name: Some(self.setting()?) })
    }

    pub(super) fn explain(&mut self) -> Result<Statement> {
        self.expect("explain")?;
        let mut analyze = self.take("analyze");
        let _ = self.take("verbose");
        if self.parser.peek_token_ref().token == Token::LParen
            && !matches!(self.word_at(1).as_deref(), Some("select" | "with" | "values"))
        {
            for (option, value) in self.explain_options()? {
                analyze |= option == "analyze" && value;
            }
        }
        if self.take("materialized view") {
            return Ok(Statement::ExplainView { name: self.relation()?, analyze });
        }
        let mut as_view = None;
        let query = if self.word_at(0).as_deref() == Some("create") {
            match self.create()? {
                Statement::CreateView(v) if v.materialized => as_view.insert(v).query.clone(),
                _ => return Err(PlanError::syntax("EXPLAIN CREATE is for materialized views")),
            }
        } else {
            match self.word_at(0).as_deref() {
                Some("insert" | "update" | "delete" | "merge") => {
                    if analyze {
                        return Err(PlanError::unsupported(
                            "EXPLAIN ANALYZE of a change is not offered",
                            "EXPLAIN shows its plan; EXPLAIN ANALYZE takes its SELECT",
                        ));
                    }
                    return Ok(Statement::ExplainChange(Box::new(self.statement()?)));
                }
                _ => self.query()?,
            }
        };
        Ok(Statement::ExplainQuery { query, analyze, as_view })
    }

    fn explain_options(&mut self) -> Result<Vec<(String, bool)>> {
        self.expect_symbol(&Token::LParen)?;
        let mut out = vec![];
        loop {
            let name = self.name()?;
            const OPTIONS: [&str; 9] =
                ["analyze", "verbose", "costs", "settings", "generic_plan", "buffers", "wal", "timing", "summary"];
            if name != "format" && !OPTIONS.contains(&name.as_str()) {
                let message = format!("unrecognized EXPLAIN option \"{name}\"");
                return Err(PlanError::syntax(message).with_hint(format!("there are {}, format", OPTIONS.join(", "))));
            }
            let value = match self.word_at(0) {
                Some(v) => {
                    self.parser.next_token();
                    !matches!(v.as_str(), "false" | "off")
                }
                None => true,
            };
            out.push((name, value));
            if !self.symbol(&Token::Comma) {
                self.expect_symbol(&Token::RParen)?;
                return Ok(out);
            }
        }
    }

    pub(super) fn discard(&mut self) -> Result<Statement> {
        self.expect("discard")?;
        if self.take("all") {
            return Ok(Statement::Discard);
        }
        if self.take("sequences") {
            return Ok(Statement::DiscardSequences);
        }
        // plans are made anew whenever something has changed, and there are no temporary tables
        for (what, tag) in [("plans", "DISCARD PLANS"), ("temporary", "DISCARD TEMP"), ("temp", "DISCARD TEMP")] {
            if self.take(what) {
                return Ok(Statement::Nothing { tag });
            }
        }
        Err(self.expected("ALL"))
    }

    pub(super) fn deallocate(&mut self) -> Result<Statement> {
        self.expect("deallocate")?;
        let _ = self.take("prepare");
        if self.take("all") {
            return Ok(Statement::Deallocate { name: None });
        }
        Ok(Statement::Deallocate { name: Some(self.name()?) })
    }
}
