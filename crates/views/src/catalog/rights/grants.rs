//! GRANT and REVOKE on objects, and ALTER DEFAULT PRIVILEGES: who grants in whose name, and what becomes of the lists.
//!
//! Pure. An owner and a superuser grant in the owner's name; another in its own, or in that of the first role it inherits from that holds
//! more of the grant options asked for. What somebody may not grant is left out, and said so, as in PostgreSQL.

use super::{
    Change, Kind, Object, Privileges, Rights, RoleId, Who,
    acl::{self, Edit},
    denied, plain,
    roles::Decided,
};
use crate::{
    catalog::Catalog,
    error::{Error, Result, sqlstate as code},
};

/// Privileges that PostgreSQL has on columns too.
const OF_COLUMNS: Privileges = Privileges::SELECT.with(Privileges::INSERT).with(Privileges::UPDATE).with(Privileges::REFERENCES);

/// What is granted or revoked.
#[derive(Clone, Debug)]
pub struct Grant {
    /// REVOKE.
    pub revoke: bool,
    /// Words; none for ALL.
    pub words: Vec<String>,
    /// To or from whom.
    pub roles: Vec<RoleId>,
    /// WITH GRANT OPTION, GRANT OPTION FOR.
    pub option: bool,
    /// CASCADE.
    pub cascade: bool,
}

impl Grant {
    fn privileges(&self, kind: Kind) -> Result<Privileges> {
        if self.words.is_empty() {
            return Ok(kind.all());
        }
        self.words.iter().try_fold(Privileges::NONE, |all, word| {
            let one = match Privileges::of_word(word) {
                Some(one) => one,
                None => return Err(Error::invalid(code::SYNTAX, format!("unrecognized privilege type \"{word}\""))),
            };
            if one.is_empty() || !kind.all().has(one) {
                let message = format!("invalid privilege type {} for {}", word.to_uppercase(), kind.word());
                return Err(Error::invalid("0LP01", message).hint(format!(
                    "those for a {} are {}",
                    kind.word(),
                    kind.all().words()
                )));
            }
            Ok(all.with(one))
        })
    }
}

/// `table t`, with the name alone besides.
pub(super) fn called(catalog: &Catalog, object: &Object) -> (String, String) {
    match object {
        Object::Relation(id) => catalog
            .get(*id)
            .map_or_else(|| ("relation".to_owned(), String::new()), |r| (r.kind_name().to_owned(), r.name.name.clone())),
        Object::Sequence(id) => ("sequence".to_owned(), catalog.sequence(*id).map_or_else(String::new, |s| s.name.name.clone())),
        Object::Schema(name) => ("schema".to_owned(), name.clone()),
        Object::Database => ("database".to_owned(), crate::read::names::DATABASE.to_owned()),
        Object::Secret(name) => ("secret".to_owned(), name.name.clone()),
        Object::Function { name, .. } => ("function".to_owned(), name.name.clone()),
    }
}

/// In whose name a role grants, and what it may grant.
fn grantor(rights: &Rights, role: RoleId, object: &Object, wanted: Privileges) -> (RoleId, Privileges) {
    let owner = rights.owner(object);
    if role == owner || rights.is_superuser(role) {
        return (owner, object.kind().all());
    }
    let acl = rights.acl(object);
    let mut best = (role, Privileges::NONE);
    for candidate in rights.above(role, true) {
        let held = acl::grantable(&acl, owner, candidate).and(wanted);
        if held.len() > best.1.len() {
            best = (candidate, held);
        }
    }
    best
}

/// GRANT or REVOKE on one object.
pub fn on(catalog: &Catalog, who: &Who, grant: &Grant, object: &Object) -> Result<Decided> {
    let rights = &catalog.rights;
    let wanted = grant.privileges(object.kind())?;
    let (grantor, held) = grantor(rights, who.role, object, wanted);
    let (word, name) = called(catalog, object);
    // PostgreSQL takes back from columns what it takes back from the relation, and asks for a right that columns have.
    let mut any = rights.privileges(who.role, object);
    if grant.revoke && object.kind() == Kind::Relation && !wanted.and(OF_COLUMNS).is_empty() {
        any = any.and(OF_COLUMNS);
    }
    if held.is_empty() && any.is_empty() {
        return Err(denied::error(format!("permission denied for {word} {name}"))
            .hint("its owner can, or who was granted it WITH GRANT OPTION"));
    }
    if grant.option && !grant.revoke && grant.roles.contains(&RoleId::PUBLIC) {
        return Err(acl::no_option_for_public());
    }
    let allowed = wanted.and(held);
    let mut notices = vec![];
    let said = match grant.revoke {
        false => "privileges were granted",
        true => "privileges could be revoked",
    };
    if allowed.is_empty() {
        notices.push(format!("no {said} for \"{name}\""));
    } else if allowed != wanted && !grant.words.is_empty() {
        notices.push(format!("not all {said} for \"{name}\""));
    }
    let owner = rights.owner(object);
    let before = rights.acl(object);
    let mut acl = before.to_vec();
    if !allowed.is_empty() {
        for grantee in &grant.roles {
            let edit = Edit {
                revoke: grant.revoke,
                grantee: *grantee,
                grantor,
                privileges: allowed,
                option: grant.option,
                cascade: grant.cascade,
            };
            acl = acl::edited(&acl, owner, edit)?;
        }
    }
    // What was said once stays written out, as in PostgreSQL.
    if acl == *before && rights.granted(object).is_some() {
        return Ok((vec![], notices));
    }
    Ok((vec![Change::Privileges { object: object.clone(), acl: Some(acl) }], notices))
}

/// ALTER DEFAULT PRIVILEGES for a role's new objects of a kind, in a schema or in any.
pub fn default(catalog: &Catalog, who: &Who, grant: &Grant, of: RoleId, schema: Option<&str>, kind: Kind) -> Result<Decided> {
    let rights = &catalog.rights;
    if !who.rights.is_member(who.role, of) {
        return Err(denied::error(format!("must be member of role \"{}\"", rights.name(of))));
    }
    if schema.is_some() && kind == Kind::Schema {
        return Err(Error::invalid("0LP01", "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS"));
    }
    let privileges = grant.privileges(kind)?;
    let key = (of, schema.map(str::to_owned), kind);
    let start = if schema.is_some() { vec![] } else { plain(kind, of) };
    let before = rights.default_of(&key).cloned().unwrap_or_else(|| start.clone());
    let mut acl = before.clone();
    for grantee in &grant.roles {
        let Grant { revoke, option, cascade, .. } = *grant;
        acl = acl::edited(&acl, of, Edit { revoke, grantee: *grantee, grantor: of, privileges, option, cascade })?;
    }
    if acl == before {
        return Ok((vec![], vec![]));
    }
    let acl = (acl != start).then_some(acl);
    Ok((vec![Change::Default { role: of, schema: key.1, kind, acl }], vec![]))
}
