//! Roles made, changed, dropped, and made members of one another: wishes become changes, or are refused in PostgreSQL's words.
//!
//! Pure. Who may: a superuser anything; CREATEROLE whatever is not about superusers; ADMIN OPTION membership of its role; everybody
//! the own password. The first superuser stays as it is: its password is in a file, and without it nobody could mend the rest.

use super::{Change, Rights, Role, RoleId, Who, denied};
use crate::{
    catalog::Catalog,
    error::{Error, Result, sqlstate as code},
};
use regauge_types::ErrorKind;

/// What a statement says of a role; none: nothing.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
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
    /// Of PASSWORD; `Some(None)` takes it away.
    pub verifier: Option<Option<String>>,
    /// VALID UNTIL, in microseconds of Unix time; `Some(None)` for ever.
    pub valid_until_us: Option<Option<i64>>,
}

impl Attributes {
    fn put(&self, role: &mut Role) {
        role.superuser = self.superuser.unwrap_or(role.superuser);
        role.inherit = self.inherit.unwrap_or(role.inherit);
        role.createrole = self.createrole.unwrap_or(role.createrole);
        role.createdb = self.createdb.unwrap_or(role.createdb);
        role.login = self.login.unwrap_or(role.login);
        if let Some(verifier) = &self.verifier {
            role.verifier.clone_from(verifier);
        }
        role.valid_until_us = self.valid_until_us.unwrap_or(role.valid_until_us);
    }

    fn is_password_alone(&self) -> bool {
        self.verifier.is_some()
            && self.valid_until_us.is_none()
            && [self.superuser, self.inherit, self.createrole, self.createdb, self.login].iter().all(Option::is_none)
    }
}

/// Changes that fulfil a wish, and what the client is told besides.
pub type Decided = (Vec<Change>, Vec<String>);

/// A role by name.
pub fn find(rights: &Rights, name: &str) -> Result<RoleId> {
    rights.named(name).ok_or_else(|| denied::no_role(name))
}

fn makes_roles(who: &Who) -> bool {
    who.is_superuser() || who.rights.role(who.role).is_some_and(|role| role.createrole)
}

fn free(rights: &Rights, name: &str) -> Result<()> {
    let reserved = |detail: Option<&str>| {
        let error = Error::invalid("42939", format!("role name \"{name}\" is reserved"));
        Err(if let Some(detail) = detail { error.detail(detail) } else { error })
    };
    if name.starts_with("pg_") {
        return reserved(Some("Role names starting with \"pg_\" are reserved."));
    }
    if ["public", "none"].contains(&name) {
        return reserved(None);
    }
    match rights.named(name) {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(ErrorKind::Conflict, "42710", format!("role \"{name}\" already exists")).hint("ALTER ROLE changes it"))
        }
    }
}

/// CREATE ROLE; `id` is the new role's.
pub fn create(
    catalog: &Catalog,
    who: &Who,
    name: &str,
    attributes: &Attributes,
    within: &[String],
    members: &[(String, bool)],
) -> Result<Decided> {
    if attributes.superuser == Some(true) && !who.is_superuser() {
        return Err(denied::error("must be superuser to create superusers"));
    }
    if !makes_roles(who) {
        return Err(denied::error("permission denied to create role").hint("a superuser can ALTER ROLE .. CREATEROLE"));
    }
    free(&catalog.rights, name)?;
    let id = RoleId(catalog.rights.last_role + 1);
    let mut role = Role::new(name);
    attributes.put(&mut role);
    let mut changes = vec![Change::Role { role: id, attributes: role }];
    for of in within {
        let of = find(&catalog.rights, of)?;
        may_admit(&catalog.rights, who, of)?;
        changes.push(Change::Member { role: of, member: id, admin: false, grantor: who.role });
    }
    for (member, admin) in members {
        let member = find(&catalog.rights, member)?;
        changes.push(Change::Member { role: id, member, admin: *admin, grantor: who.role });
    }
    Ok((changes, vec![]))
}

fn stays(id: RoleId, rights: &Rights) -> Result<()> {
    if id != RoleId::BOOTSTRAP {
        return Ok(());
    }
    Err(Error::unsupported(format!("role \"{}\" is the first superuser and stays as it is", rights.name(id)))
        .hint("its password stands in the file passfile of the data folder; CREATE ROLE makes others"))
}

/// ALTER ROLE.
pub fn alter(catalog: &Catalog, who: &Who, id: RoleId, attributes: &Attributes) -> Result<Decided> {
    let rights = &catalog.rights;
    let mut role = rights.role(id).ok_or_else(|| Error::internal("no such role"))?.clone();
    if (role.superuser || attributes.superuser.is_some()) && !who.is_superuser() {
        return Err(denied::error("must be superuser to alter superuser roles or change superuser attribute"));
    }
    let own_password = id == who.role && attributes.is_password_alone();
    if !makes_roles(who) && !own_password {
        return Err(denied::error("permission denied").hint("a role may change its own password, and no more"));
    }
    stays(id, rights)?;
    attributes.put(&mut role);
    Ok((vec![Change::Role { role: id, attributes: role }], vec![]))
}

/// ALTER ROLE .. RENAME TO.
pub fn rename(catalog: &Catalog, who: &Who, id: RoleId, to: &str) -> Result<Decided> {
    let rights = &catalog.rights;
    let mut role = rights.role(id).ok_or_else(|| Error::internal("no such role"))?.clone();
    for (own, word) in [(who.session, "session"), (who.role, "current")] {
        if own == id {
            return Err(Error::unsupported(format!("{word} user cannot be renamed")).hint("connect as another role"));
        }
    }
    stays(id, rights)?;
    if role.superuser && !who.is_superuser() {
        return Err(denied::error("must be superuser to rename superusers"));
    }
    if !makes_roles(who) {
        return Err(denied::error("permission denied to rename role"));
    }
    free(rights, to)?;
    role.name = to.to_owned();
    Ok((vec![Change::Role { role: id, attributes: role }], vec![]))
}

/// DROP ROLE of one.
pub fn drop(catalog: &Catalog, who: &Who, id: RoleId) -> Result<Decided> {
    let rights = &catalog.rights;
    if !makes_roles(who) {
        return Err(denied::error("permission denied to drop role"));
    }
    for (own, word) in [(who.role, "current"), (who.session, "session")] {
        if own == id {
            return Err(Error::invalid(code::IN_USE, format!("{word} user cannot be dropped")).hint("connect as another role"));
        }
    }
    if id == RoleId::BOOTSTRAP {
        let message = format!("cannot drop role {} because it is required by the database system", rights.name(id));
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message));
    }
    if rights.is_superuser(id) && !who.is_superuser() {
        return Err(denied::error("must be superuser to drop superusers"));
    }
    let used = super::owned::uses(catalog, id);
    if !used.is_empty() {
        let message = format!("role \"{}\" cannot be dropped because some objects depend on it", rights.name(id));
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .detail(used.join("\n"))
            .hint("REASSIGN OWNED BY it TO another role, then DROP OWNED BY it"));
    }
    Ok((vec![Change::RoleDropped { role: id }], vec![]))
}

fn may_admit(rights: &Rights, who: &Who, role: RoleId) -> Result<()> {
    if rights.is_superuser(role) {
        return if who.is_superuser() { Ok(()) } else { Err(denied::error("must be superuser to alter superusers")) };
    }
    if makes_roles(who) || who.rights.is_admin(who.role, role) {
        return Ok(());
    }
    Err(denied::error(format!("must have admin option on role \"{}\"", rights.name(role))))
}

/// GRANT role TO role, or REVOKE.
pub fn member(catalog: &Catalog, who: &Who, revoke: bool, role: RoleId, member: RoleId, admin: bool) -> Result<Decided> {
    let rights = &catalog.rights;
    may_admit(rights, who, role)?;
    let (role_name, member_name) = (rights.name(role), rights.name(member));
    let standing = rights.members.get(&(role, member)).copied();
    if !revoke {
        if rights.is_true_member(role, member) {
            let message = format!("role \"{role_name}\" is a member of role \"{member_name}\"");
            return Err(Error::invalid("0LP01", message).hint("roles cannot be members of one another in a circle"));
        }
        if standing.is_some_and(|how| how.admin || !admin) {
            return Ok((vec![], vec![format!("role \"{member_name}\" is already a member of role \"{role_name}\"")]));
        }
        return Ok((vec![Change::Member { role, member, admin, grantor: who.role }], vec![]));
    }
    Ok(match standing {
        None => (vec![], vec![format!("role \"{member_name}\" is not a member of role \"{role_name}\"")]),
        Some(how) if admin => (vec![Change::Member { role, member, admin: false, grantor: how.grantor }], vec![]),
        Some(_) => (vec![Change::MemberGone { role, member }], vec![]),
    })
}
