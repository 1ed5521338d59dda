//! Roles and privileges: CREATE, ALTER and DROP ROLE, GRANT, REVOKE, ALTER DEFAULT PRIVILEGES, OWNER TO, SET ROLE.
//!
//! Plain data comes out, names folded. It does not know which roles there are, nor which privileges an object has. A password is
//! a [`Secret`]: whoever prints the statement does not print it, and no error of this file repeats a string of the text.

use datafusion::sql::sqlparser::tokenizer::Token;
use std::fmt;

use super::function::DroppedFunction;
use super::statement::{RelationName, Statement};
use super::{P, Result};
use crate::error::PlanError;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A role as statements name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleName {
    /// By its name.
    Named(String),
    /// CURRENT_USER, CURRENT_ROLE.
    Current,
    /// SESSION_USER.
    Session,
    /// PUBLIC: everybody.
    Public,
}

/// What CREATE ROLE and ALTER ROLE say of a role; none: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// SUPERUSER.
    pub superuser: Option<bool>,
    /// INHERIT.
    pub inherit: Option<bool>,
    /// CREATEROLE.
    pub createrole: Option<bool>,
    /// CREATEDB.
    pub createdb: Option<bool>,
    /// LOGIN.
    pub login: Option<bool>,
    /// PASSWORD; `Some(None)` for PASSWORD NULL.
    pub password: Option<Option<Secret>>,
    /// VALID UNTIL.
    pub valid_until: Option<String>,
}

/// Statements about roles and privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// CREATE ROLE, USER, GROUP.
    CreateRole {
        /// Its name.
        name: String,
        /// Attributes; USER has `login`.
        options: RoleOptions,
        /// IN ROLE: it becomes a member of these.
        within: Vec<String>,
        /// ROLE: these become members of it.
        members: Vec<String>,
        /// ADMIN: the same, with ADMIN OPTION.
        admins: Vec<String>,
    },
    /// ALTER ROLE .. WITH.
    AlterRole {
        /// Which one.
        name: RoleName,
        /// What changes.
        options: RoleOptions,
    },
    /// ALTER ROLE .. RENAME TO.
    RenameRole {
        /// Which one.
        name: RoleName,
        /// Its new name.
        to: String,
    },
    /// DROP ROLE.
    DropRole {
        /// Which ones.
        names: Vec<RoleName>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// GRANT role TO role, and REVOKE.
    Member {
        /// REVOKE.
        revoke: bool,
        /// Roles.
        roles: Vec<String>,
        /// Who becomes a member, or is one no more.
        members: Vec<RoleName>,
        /// WITH ADMIN OPTION, ADMIN OPTION FOR.
        admin: bool,
    },
    /// GRANT and REVOKE of privileges on objects.
    Grant {
        /// What.
        grant: Grant,
        /// On which objects.
        on: GrantOn,
    },
    /// ALTER DEFAULT PRIVILEGES.
    Default {
        /// FOR ROLE: of whose new objects; empty for the current user's.
        of: Vec<RoleName>,
        /// IN SCHEMA.
        schemas: Vec<String>,
        /// What.
        grant: Grant,
        /// On which kind of objects.
        kind: GrantKind,
    },
    /// REASSIGN OWNED.
    Reassign {
        /// Whose.
        of: Vec<RoleName>,
        /// To whom.
        to: RoleName,
    },
    /// DROP OWNED.
    DropOwned {
        /// Whose.
        of: Vec<RoleName>,
        /// CASCADE.
        cascade: bool,
    },
    /// CREATE SECRET and ALTER SECRET .. AS.
    SetSecret {
        /// Its name.
        name: RelationName,
        /// ALTER: it is there.
        alter: bool,
        /// IF NOT EXISTS of CREATE, IF EXISTS of ALTER.
        leniently: bool,
        /// Its value.
        value: Secret,
    },
    /// DROP SECRET.
    DropSecret {
        /// Which ones.
        names: Vec<RelationName>,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE.
        cascade: bool,
    },
    /// ALTER SCHEMA, ALTER SEQUENCE and ALTER FUNCTION .. OWNER TO.
    Owner {
        /// The object.
        on: GrantOn,
        /// Its new owner.
        to: RoleName,
    },
}

/// What is granted, or revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// REVOKE.
    pub revoke: bool,
    /// Words, in lower case; empty for ALL PRIVILEGES.
    pub privileges: Vec<String>,
    /// To or from whom.
    pub roles: Vec<RoleName>,
    /// WITH GRANT OPTION, GRANT OPTION FOR.
    pub option: bool,
    /// CASCADE.
    pub cascade: bool,
}

/// Kinds of objects that privileges are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// Tables, streams and views of both kinds.
    Relations,
    /// Sequences.
    Sequences,
    /// Schemas.
    Schemas,
    /// Functions.
    Functions,
}

/// Objects that privileges are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOn {
    /// Relations by name.
    Relations(Vec<RelationName>),
    /// Sequences by name.
    Sequences(Vec<RelationName>),
    /// Schemas.
    Schemas(Vec<String>),
    /// Secrets by name.
    Secrets(Vec<RelationName>),
    /// Functions by name, and by the types of their parameters where they are given.
    Functions(Vec<DroppedFunction>),
    /// The database.
    Database(Vec<String>),
    /// ALL .. IN SCHEMA.
    All {
        /// Of which kind; none for procedures, of which there are none.
        kind: Option<GrantKind>,
        /// In which schemas.
        schemas: Vec<String>,
    },
}

const ROLE_WORDS: [&str; 3] = ["role", "user", "group"];

impl P<'_> {
    fn rights(rights: Rights) -> Result<Statement> {
        Ok(Statement::Rights(Box::new(rights)))
    }

    /// After CREATE; none if it is not about a role or a secret.
    pub(super) fn create_role(&mut self) -> Result<Option<Statement>> {
        if self.take("secret") {
            let leniently = self.take("if not exists");
            return self.set_secret(false, leniently).map(Some);
        }
        let Some(word) = ROLE_WORDS.iter().find(|w| self.take(w)) else { return Ok(None) };
        let name = self.name()?;
        let _ = self.take("with");
        let mut options = RoleOptions { login: (*word == "user").then_some(true), ..RoleOptions::default() };
        let (mut within, mut members, mut admins) = (vec![], vec![], vec![]);
        loop {
            if self.role_option(&mut options)? {
            } else if self.take("in role") || self.take("in group") {
                within.extend(self.list(Self::name)?);
            } else if self.take("role") || self.take("user") {
                members.extend(self.list(Self::name)?);
            } else if self.take("admin") {
                admins.extend(self.list(Self::name)?);
            } else if self.take("sysid") {
                self.parser.next_token();
            } else if self.ended() {
                return Self::rights(Rights::CreateRole { name, options, within, members, admins }).map(Some);
            } else {
                return Err(self.unexpected("a role's option"));
            }
        }
    }

    /// After ALTER; none if it is about something else.
    pub(super) fn alter_rights(&mut self) -> Result<Option<Statement>> {
        if self.take("default privileges") {
            return self.default_privileges().map(Some);
        }
        if self.take("schema") {
            let name = self.name()?;
            if self.take("owner to") {
                let to = self.role_name()?;
                return Self::rights(Rights::Owner { on: GrantOn::Schemas(vec![name]), to }).map(Some);
            }
            return Err(PlanError::unsupported("this ALTER SCHEMA is not offered", "ALTER SCHEMA .. OWNER TO is"));
        }
        if self.take("sequence") {
            let if_exists = self.take("if exists");
            let name = self.relation()?;
            if self.take("owner to") {
                let to = self.role_name()?;
                return Self::rights(Rights::Owner { on: GrantOn::Sequences(vec![name]), to }).map(Some);
            }
            if self.take("restart") {
                return self.restart_sequence(name, if_exists).map(Some);
            }
            let hint = "ALTER SEQUENCE .. OWNER TO and RESTART are";
            return Err(PlanError::unsupported("this ALTER SEQUENCE is not offered", hint));
        }
        if self.take("secret") {
            let leniently = self.take("if exists");
            return self.set_secret(true, leniently).map(Some);
        }
        if self.take("function") || self.take("routine") {
            let named = self.named_function()?;
            if self.take("owner to") {
                let to = self.role_name()?;
                return Self::rights(Rights::Owner { on: GrantOn::Functions(vec![named]), to }).map(Some);
            }
            return Err(PlanError::unsupported(
                "this ALTER FUNCTION is not offered",
                "ALTER FUNCTION .. OWNER TO is; CREATE OR REPLACE FUNCTION changes the rest",
            ));
        }
        if !ROLE_WORDS.iter().any(|w| self.take(w)) {
            return Ok(None);
        }
        let name = self.role_name()?;
        if self.take("rename to") {
            let to = self.name()?;
            return Self::rights(Rights::RenameRole { name, to }).map(Some);
        }
        if self.take("set") || self.take("reset") || self.take("in database") {
            return Err(PlanError::unsupported(
                "settings of a role are not offered",
                "set them when connecting: options=-c name=value",
            ));
        }
        let _ = self.take("with");
        let mut options = RoleOptions::default();
        while self.role_option(&mut options)? {}
        if !self.ended() {
            return Err(self.unexpected("a role's option"));
        }
        Self::rights(Rights::AlterRole { name, options }).map(Some)
    }

    /// After DROP; none if it is about something else.
    pub(super) fn drop_rights(&mut self) -> Result<Option<Statement>> {
        if self.take("secret") {
            let if_exists = self.take("if exists");
            let names = self.list(Self::relation)?;
            let cascade = self.cascades();
            return Self::rights(Rights::DropSecret { names, if_exists, cascade }).map(Some);
        }
        if self.take("owned by") {
            let of = self.list(Self::role_name)?;
            let cascade = self.cascades();
            return Self::rights(Rights::DropOwned { of, cascade }).map(Some);
        }
        if !ROLE_WORDS.iter().any(|w| self.take(w)) {
            return Ok(None);
        }
        let if_exists = self.take("if exists");
        let names = self.list(Self::role_name)?;
        Self::rights(Rights::DropRole { names, if_exists }).map(Some)
    }

    pub(super) fn reassign(&mut self) -> Result<Statement> {
        self.expect("reassign owned by")?;
        let of = self.list(Self::role_name)?;
        self.expect("to")?;
        let to = self.role_name()?;
        Self::rights(Rights::Reassign { of, to })
    }

    fn role_option(&mut self, options: &mut RoleOptions) -> Result<bool> {
        for (word, no) in [
            ("superuser", "nosuperuser"),
            ("inherit", "noinherit"),
            ("createrole", "nocreaterole"),
            ("createdb", "nocreatedb"),
            ("login", "nologin"),
            ("replication", "noreplication"),
            ("bypassrls", "nobypassrls"),
        ] {
            let value = if self.take(word) {
                true
            } else if self.take(no) {
                false
            } else {
                continue;
            };
            let slot = match word {
                "superuser" => &mut options.superuser,
                "inherit" => &mut options.inherit,
                "createrole" => &mut options.createrole,
                "createdb" => &mut options.createdb,
                "login" => &mut options.login,
                _ if !value => return Ok(true),
                _ => {
                    let message = format!("{} is not offered", word.to_uppercase());
                    return Err(PlanError::unsupported(message, "there is no replication and no row level security here"));
                }
            };
            *slot = Some(value);
            return Ok(true);
        }
        let encrypted = self.take("encrypted");
        if self.take("password") {
            options.password = Some(if self.take("null") { None } else { Some(self.secret()?) });
            return Ok(true);
        }
        if encrypted {
            return Err(self.unexpected("PASSWORD"));
        }
        if self.take("valid until") {
            options.valid_until = Some(self.text().map_err(|_| self.unexpected("a string"))?);
            return Ok(true);
        }
        if self.take("connection limit") {
            let minus = self.symbol(&Token::Minus);
            self.parser.next_token();
            return if minus {
                Ok(true)
            } else {
                Err(PlanError::unsupported("CONNECTION LIMIT is not offered", "the server has one limit: --max-connections"))
            };
        }
        Ok(false)
    }

    /// After CREATE SECRET, ALTER SECRET. No error of it repeats a string of the text.
    fn set_secret(&mut self, alter: bool, leniently: bool) -> Result<Statement> {
        let name = match self.parser.peek_token_ref().token {
            Token::Word(_) => self.relation()?,
            _ => return Err(self.unexpected("a secret's name")),
        };
        if alter && self.take("owner to") {
            let to = self.role_name()?;
            return Self::rights(Rights::Owner { on: GrantOn::Secrets(vec![name]), to });
        }
        if !self.take("as") {
            return Err(self.unexpected("AS"));
        }
        let value = self.text().map(Secret).map_err(|_| self.unexpected("a value in quotes"))?;
        if !self.ended() {
            return Err(self.unexpected("the end of the statement"));
        }
        Self::rights(Rights::SetSecret { name, alter, leniently, value })
    }

    fn secret(&mut self) -> Result<Secret> {
        self.text().map(Secret).map_err(|_| self.unexpected("a password in quotes, or NULL"))
    }

    /// As [`P::expected`]; a string is not repeated, it may be a password.
    fn unexpected(&self, what: &str) -> PlanError {
        match &self.parser.peek_token_ref().token {
            Token::Word(w) if w.quote_style.is_none() => self.expected(what),
            Token::EOF => self.expected(what),
            _ => PlanError::syntax(format!("syntax error: expected {what}")),
        }
    }

    fn ended(&self) -> bool {
        matches!(self.parser.peek_token_ref().token, Token::SemiColon | Token::EOF)
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.symbol(&Token::Comma) {
            all.push(one(self)?);
        }
        Ok(all)
    }

    pub(super) fn role_name(&mut self) -> Result<RoleName> {
        if self.take("current_user") || self.take("current_role") {
            return Ok(RoleName::Current);
        }
        if self.take("session_user") {
            return Ok(RoleName::Session);
        }
        if self.take("public") {
            return Ok(RoleName::Public);
        }
        let _ = self.take("group");
        Ok(RoleName::Named(self.name()?))
    }

    /// GRANT and REVOKE.
    pub(super) fn grant(&mut self) -> Result<Statement> {
        let revoke = self.take("revoke");
        if !revoke {
            self.expect("grant")?;
        }
        if revoke && self.take("admin option for") {
            let roles = self.list(Self::name)?;
            return self.membership(true, roles, true);
        }
        let option = revoke && self.take("grant option for");
        let privileges = self.privileges()?;
        if !self.take("on") {
            if option || privileges.is_empty() {
                return Err(self.expected("ON"));
            }
            return self.membership(revoke, privileges, false);
        }
        let on = self.grant_on()?;
        let grant = self.grantees(revoke, privileges, option)?;
        Self::rights(Rights::Grant { grant, on })
    }

    /// Words up to ON, TO or FROM; none for ALL.
    fn privileges(&mut self) -> Result<Vec<String>> {
        if self.take("all") {
            let _ = self.take("privileges");
            self.no_columns()?;
            return Ok(vec![]);
        }
        let privileges = self.list(|p| {
            let name = p.name()?;
            p.no_columns()?;
            Ok(name)
        })?;
        Ok(privileges)
    }

    fn no_columns(&mut self) -> Result<()> {
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(PlanError::unsupported(
                "privileges on columns are not offered",
                "make a view of the columns and grant SELECT on it: a view is read with its owner's rights",
            ));
        }
        Ok(())
    }

    fn membership(&mut self, revoke: bool, roles: Vec<String>, admin: bool) -> Result<Statement> {
        self.expect(if revoke { "from" } else { "to" })?;
        let members = self.list(Self::role_name)?;
        let admin = admin || !revoke && (self.take("with admin option") || self.take("with admin true"));
        if !revoke && self.word_at(0).as_deref() == Some("with") {
            return Err(PlanError::unsupported("GRANT .. WITH INHERIT and WITH SET are not offered", "write WITH ADMIN OPTION"));
        }
        self.granted_by()?;
        let _ = self.cascades();
        Self::rights(Rights::Member { revoke, roles, members, admin })
    }

    fn granted_by(&mut self) -> Result<()> {
        if self.take("granted by") {
            match self.role_name()? {
                RoleName::Current => {}
                _ => {
                    return Err(PlanError::unsupported(
                        "GRANTED BY takes CURRENT_USER",
                        "SET ROLE to grant in the name of another role",
                    ));
                }
            }
        }
        Ok(())
    }

    fn grantees(&mut self, revoke: bool, privileges: Vec<String>, option: bool) -> Result<Grant> {
        self.expect(if revoke { "from" } else { "to" })?;
        let roles = self.list(Self::role_name)?;
        let option = option || !revoke && self.take("with grant option");
        self.granted_by()?;
        let cascade = revoke && self.cascades();
        Ok(Grant { revoke, privileges, roles, option, cascade })
    }

    fn grant_on(&mut self) -> Result<GrantOn> {
        for (words, kind) in [
            ("all tables in schema", Some(GrantKind::Relations)),
            ("all sequences in schema", Some(GrantKind::Sequences)),
            ("all functions in schema", Some(GrantKind::Functions)),
            ("all routines in schema", Some(GrantKind::Functions)),
            ("all procedures in schema", None),
        ] {
            if self.take(words) {
                return Ok(GrantOn::All { kind, schemas: self.list(Self::name)? });
            }
        }
        let next = self.word_at(0).unwrap_or_default();
        let is_name = matches!(self.parser.peek_nth_token_ref(1).token, Token::Comma | Token::Period)
            || matches!(self.word_at(1).as_deref(), Some("to" | "from"));
        if self.take("schema") {
            return Ok(GrantOn::Schemas(self.list(Self::name)?));
        }
        if !is_name && self.take("secret") {
            return Ok(GrantOn::Secrets(self.list(Self::relation)?));
        }
        if self.take("sequence") {
            return Ok(GrantOn::Sequences(self.list(Self::relation)?));
        }
        if self.take("database") {
            return Ok(GrantOn::Database(self.list(Self::name)?));
        }
        if !is_name && (self.take("function") || self.take("routine")) {
            return Ok(GrantOn::Functions(self.list(Self::named_function)?));
        }
        if ["procedure", "language", "type", "domain", "tablespace", "foreign", "large", "parameter"].contains(&next.as_str())
            && !is_name
        {
            let message = format!("privileges on a {next} are not offered");
            return Err(PlanError::unsupported(message, "TABLE, SEQUENCE, SCHEMA, DATABASE, FUNCTION and ALL .. IN SCHEMA are"));
        }
        let _ = self.take("table") || self.take("stream") || self.take("materialized view") || self.take("view");
        Ok(GrantOn::Relations(self.list(Self::relation)?))
    }

    fn default_privileges(&mut self) -> Result<Statement> {
        let (mut of, mut schemas) = (vec![], vec![]);
        loop {
            if self.take("for role") || self.take("for user") {
                of = self.list(Self::role_name)?;
            } else if self.take("in schema") {
                schemas = self.list(Self::name)?;
            } else {
                break;
            }
        }
        let revoke = self.take("revoke");
        if !revoke {
            self.expect("grant")?;
        }
        let option = revoke && self.take("grant option for");
        let privileges = self.privileges()?;
        self.expect("on")?;
        let kinds = [
            ("tables", GrantKind::Relations),
            ("sequences", GrantKind::Sequences),
            ("schemas", GrantKind::Schemas),
            ("functions", GrantKind::Functions),
            ("routines", GrantKind::Functions),
        ];
        let Some((_, kind)) = kinds.into_iter().find(|(word, _)| self.take(word)) else {
            return Err(match self.word_at(0).as_deref() {
                Some("types") => {
                    let hint = "TABLES, SEQUENCES, FUNCTIONS and SCHEMAS are";
                    PlanError::unsupported("default privileges on types are not offered", hint)
                }
                _ => self.expected("TABLES, SEQUENCES, FUNCTIONS or SCHEMAS"),
            });
        };
        let grant = self.grantees(revoke, privileges, option)?;
        Self::rights(Rights::Default { of, schemas, grant, kind })
    }

    /// After SET [LOCAL]: ROLE and SESSION AUTHORIZATION are settings of their own names; none if it is another one.
    pub(super) fn set_role(&mut self, local: bool) -> Result<Option<Statement>> {
        let name = if self.take("session authorization") || self.take("authorization") {
            "session_authorization"
        } else if self.word_at(0).as_deref() == Some("role")
            && !matches!(self.parser.peek_nth_token_ref(1).token, Token::Eq)
            && self.word_at(1).as_deref() != Some("to")
        {
            self.parser.next_token();
            "role"
        } else {
            return Ok(None);
        };
        let value = if self.take("default") || name == "role" && self.take("none") {
            None
        } else {
            match self.parser.peek_token_ref().token {
                Token::Word(_) => Some(self.name()?),
                _ => Some(self.text()?),
            }
        };
        Ok(Some(Statement::Set { local, name: name.to_owned(), value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParseLimits, parse};

    fn one(sql: &str) -> Rights {
        match parse(sql, &ParseLimits::default()).expect(sql).pop() {
            Some(Statement::Rights(rights)) => *rights,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn roles_and_grants_are_read() {
        let Rights::CreateRole { name, options, within, .. } =
            one("CREATE USER a WITH NOINHERIT ENCRYPTED PASSWORD 'x' IN ROLE b, c")
        else {
            panic!("a role")
        };
        assert_eq!((name.as_str(), options.login, options.inherit, within.len()), ("a", Some(true), Some(false), 2));
        assert_eq!(options.password, Some(Some(Secret("x".to_owned()))));
        let Rights::Grant { grant, on } = one("GRANT SELECT, insert ON s.t, u TO PUBLIC, \"B\" WITH GRANT OPTION") else {
            panic!("a grant")
        };
        assert_eq!(grant.privileges, ["select", "insert"]);
        assert_eq!(grant.roles, [RoleName::Public, RoleName::Named("B".to_owned())]);
        assert!(grant.option && matches!(on, GrantOn::Relations(names) if names.len() == 2));
        assert!(matches!(one("GRANT a, b TO c WITH ADMIN OPTION"), Rights::Member { admin: true, revoke: false, .. }));
        assert!(matches!(one("REVOKE ADMIN OPTION FOR a FROM c"), Rights::Member { admin: true, revoke: true, .. }));
        assert!(matches!(
            one("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT ALL ON TABLES TO b"),
            Rights::Default { kind: GrantKind::Relations, .. }
        ));
        assert!(matches!(one("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM a CASCADE"), Rights::Grant { .. }));
    }

    #[test]
    fn no_error_and_no_statement_shows_a_password() {
        for sql in [
            "CREATE ROLE a PASSWORD 'hunter2' 'more'",
            "ALTER ROLE a PASSWORD hunter2'",
            "ALTER ROLE a PASSWORD 'hunter2",
            "CREATE ROLE a LOGIN 'hunter2'",
            "ALTER USER a 'hunter2'",
        ] {
            let error = parse(sql, &ParseLimits::default()).expect_err(sql).to_string();
            assert!(!error.contains("hunter2'"), "{sql}: {error}");
        }
        assert!(!format!("{:?}", one("CREATE ROLE a PASSWORD 'hunter2'")).contains("hunter2"));
    }
}
