//! Rights: which roles there are, who is a member of which, who owns what, and what was granted to whom (I15).
//!
//! ```text
//!   role ──member of──▶ role ──granted──▶ privileges on  relation · sequence · schema · database · function
//!     └──────owns──────────────────────▶
//! ```
//! Invariant: [`Rights`] is a part of the catalog's fold and nothing else: an event [`Change`] each, in the order of commits. It is a
//! value that never changes under who holds it; what it says is decided by [`Rights::may`] alone. What nobody was given belongs
//! to the superuser `regauge`, so a folder of an earlier release opens as it was. Cost of a question: the roles that one is a member
//! of, times the items of one list. It does not know statements, nor names of objects.

pub mod acl;
mod births;
pub(crate) mod denied;
pub mod grants;
pub mod owned;
pub mod privilege;
pub mod role;
pub mod roles;
pub mod scram;
mod visible;
pub mod who;

pub use acl::{Acl, AclItem};
pub(crate) use births::births;
pub use privilege::{Kind, Privileges};
pub use role::{BOOTSTRAP, Role, RoleId};
pub use who::Who;

use super::{Name, ObjectId, PUBLIC};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Something that has an owner and privileges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A table, stream or view.
    Relation(ObjectId),
    /// A sequence, by its id.
    Sequence(u32),
    /// A schema, by its name.
    Schema(String),
    /// The database.
    Database,
    /// A function, by its name and the number of its parameters.
    Function {
        /// Its name.
        name: Name,
        /// How many it has.
        params: usize,
    },
    /// A secret, by its name.
    Secret(Name),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Object::Relation(_) => Kind::Relation,
            Object::Sequence(_) => Kind::Sequence,
            Object::Schema(_) => Kind::Schema,
            Object::Database => Kind::Database,
            Object::Function { .. } => Kind::Function,
            Object::Secret(_) => Kind::Secret,
        }
    }
}

/// One change of the rights, as the catalog's events have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Change {
    /// A role is made, or is from now on as it stands here.
    Role {
        role: RoleId,
        attributes: Role,
    },
    RoleDropped {
        role: RoleId,
    },
    /// `member` is one of `role`.
    Member {
        role: RoleId,
        member: RoleId,
        admin: bool,
        grantor: RoleId,
    },
    MemberGone {
        role: RoleId,
        member: RoleId,
    },
    Owner {
        object: Object,
        role: RoleId,
    },
    /// Privileges as they are from now on; none: as nobody had granted any.
    Privileges {
        object: Object,
        acl: Option<Acl>,
    },
    /// What new objects of a role get; none: nothing special.
    Default {
        role: RoleId,
        schema: Option<String>,
        kind: Kind,
        acl: Option<Acl>,
    },
}

impl Change {
    /// For people who read the catalog's history.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Change::Role { .. } => "role",
            Change::RoleDropped { .. } => "role_dropped",
            Change::Member { .. } => "member",
            Change::MemberGone { .. } => "member_gone",
            Change::Owner { .. } => "owner",
            Change::Privileges { .. } => "privileges",
            Change::Default { .. } => "default_privileges",
        }
    }
}

/// How one role is a member of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// It may make others members.
    pub admin: bool,
    /// Who made it one.
    pub grantor: RoleId,
}

/// Whose new objects, of which kind, in which schema (or any).
pub type DefaultKey = (RoleId, Option<String>, Kind);

/// All of it as of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    roles: BTreeMap<RoleId, Role>,
    /// By role, then member.
    members: BTreeMap<(RoleId, RoleId), Membership>,
    owners: BTreeMap<Object, RoleId>,
    acls: BTreeMap<Object, Acl>,
    defaults: BTreeMap<DefaultKey, Acl>,
    last_role: u32,
}

impl Default for Rights {
    fn default() -> Rights {
        Rights {
            roles: BTreeMap::from([(RoleId::BOOTSTRAP, Role::bootstrap())]),
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            acls: BTreeMap::new(),
            defaults: BTreeMap::new(),
            last_role: RoleId::BOOTSTRAP.0,
        }
    }
}

impl Rights {
    /// A role.
    #[must_use]
    pub fn role(&self, id: RoleId) -> Option<&Role> {
        self.roles.get(&id)
    }

    /// A role by name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<RoleId> {
        self.roles.iter().find(|(_, role)| role.name == name).map(|(id, _)| *id)
    }

    /// A role's name; of one that is gone its number.
    #[must_use]
    pub fn name(&self, id: RoleId) -> String {
        match self.roles.get(&id) {
            Some(role) => role.name.clone(),
            None if id == RoleId::PUBLIC => "PUBLIC".to_owned(),
            None => id.0.to_string(),
        }
    }

    /// All roles in the order of their ids.
    pub fn roles(&self) -> impl Iterator<Item = (RoleId, &Role)> {
        self.roles.iter().map(|(id, role)| (*id, role))
    }

    /// All memberships: role, member, how.
    pub fn members(&self) -> impl Iterator<Item = (RoleId, RoleId, Membership)> + '_ {
        self.members.iter().map(|((role, member), how)| (*role, *member, *how))
    }

    /// All default privileges.
    pub fn defaults(&self) -> impl Iterator<Item = (&DefaultKey, &Acl)> {
        self.defaults.iter()
    }

    /// Whether there is nobody but the superuser that every instance has.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.roles.len() == 1
    }

    /// Whether nothing is denied to a role.
    #[must_use]
    pub fn is_superuser(&self, id: RoleId) -> bool {
        self.roles.get(&id).is_some_and(|role| role.superuser)
    }

    /// Roles that one is a member of, itself first; `inheriting` only through roles that inherit.
    fn above(&self, id: RoleId, inheriting: bool) -> Vec<RoleId> {
        let mut all = vec![id];
        let mut seen = BTreeSet::from([id]);
        let mut at = 0;
        while let Some(next) = all.get(at).copied() {
            at += 1;
            if inheriting && !self.roles.get(&next).is_some_and(|role| role.inherit) {
                continue;
            }
            let of = self.members.keys().filter(|(_, member)| *member == next).map(|(role, _)| *role);
            all.extend(of.filter(|role| seen.insert(*role)));
        }
        all
    }

    /// Whether a role has what another has: it is that role, inherits from it, or is a superuser.
    #[must_use]
    pub fn has(&self, id: RoleId, of: RoleId) -> bool {
        id == of || self.is_superuser(id) || self.above(id, true).contains(&of)
    }

    /// Whether a role may become another by SET ROLE.
    #[must_use]
    pub fn is_member(&self, id: RoleId, of: RoleId) -> bool {
        id == of || self.is_superuser(id) || self.above(id, false).contains(&of)
    }

    /// The same without what a superuser may.
    #[must_use]
    pub fn is_true_member(&self, id: RoleId, of: RoleId) -> bool {
        self.above(id, false).contains(&of)
    }

    /// Whether a role may make others members of another.
    #[must_use]
    pub fn is_admin(&self, id: RoleId, of: RoleId) -> bool {
        let above = self.above(id, false);
        self.is_superuser(id) || above.iter().any(|m| self.members.get(&(of, *m)).is_some_and(|how| how.admin))
    }

    /// Who owns an object.
    #[must_use]
    pub fn owner(&self, object: &Object) -> RoleId {
        self.owners.get(object).copied().unwrap_or(RoleId::BOOTSTRAP)
    }

    /// Whether a role may do with an object what its owner may.
    #[must_use]
    pub fn owns(&self, id: RoleId, object: &Object) -> bool {
        self.has(id, self.owner(object))
    }

    /// What was granted on an object; none if it is as it was made.
    #[must_use]
    pub fn granted(&self, object: &Object) -> Option<Cow<'_, Acl>> {
        if let Some(acl) = self.acls.get(object) {
            return Some(Cow::Borrowed(acl));
        }
        // Everybody may look into `public`, as in a database that PostgreSQL has made.
        (*object == Object::Schema(PUBLIC.to_owned())).then(|| {
            let mut acl = plain(Kind::Schema, self.owner(object));
            let grantor = self.owner(object);
            acl.push(AclItem { grantee: RoleId::PUBLIC, grantor, privileges: Privileges::USAGE, grantable: Privileges::NONE });
            Cow::Owned(acl)
        })
    }

    /// The same, written out.
    #[must_use]
    pub fn acl(&self, object: &Object) -> Cow<'_, Acl> {
        self.granted(object).unwrap_or_else(|| Cow::Owned(plain(object.kind(), self.owner(object))))
    }

    /// Default privileges of a role's new objects in a schema, or in any.
    #[must_use]
    pub fn default_of(&self, key: &DefaultKey) -> Option<&Acl> {
        self.defaults.get(key)
    }

    /// What a role has on an object, by itself, by roles that it inherits from, and as one of everybody.
    #[must_use]
    pub fn privileges(&self, id: RoleId, object: &Object) -> Privileges {
        if self.is_superuser(id) {
            return object.kind().all();
        }
        let above = self.above(id, true);
        let mine = |item: &&AclItem| item.grantee == RoleId::PUBLIC || above.contains(&item.grantee);
        self.acl(object).iter().filter(mine).fold(Privileges::NONE, |all, item| all.with(item.privileges))
    }

    /// Whether a role has all these privileges on an object.
    #[must_use]
    pub fn may(&self, id: RoleId, privileges: Privileges, object: &Object) -> bool {
        self.is_superuser(id) || self.privileges(id, object).has(privileges)
    }

    /// Whether a role has any right on an object: else it is not told that there is one.
    #[must_use]
    pub fn knows(&self, id: RoleId, object: &Object) -> bool {
        self.owns(id, object) || !self.privileges(id, object).is_empty()
    }

    /// Takes a change in.
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), &'static str> {
        match change {
            Change::Role { role, attributes } => {
                if self.roles.iter().any(|(id, other)| id != role && other.name == attributes.name) {
                    return Err("a role's name is taken");
                }
                self.last_role = self.last_role.max(role.0);
                self.roles.insert(*role, attributes.clone());
            }
            Change::RoleDropped { role } => {
                self.roles.remove(role).ok_or("no such role")?;
                self.members.retain(|(of, member), _| of != role && member != role);
                self.defaults.retain(|(of, ..), _| of != role);
            }
            Change::Member { role, member, admin, grantor } => {
                if !self.roles.contains_key(role) || !self.roles.contains_key(member) {
                    return Err("no such role");
                }
                self.members.insert((*role, *member), Membership { admin: *admin, grantor: *grantor });
            }
            Change::MemberGone { role, member } => {
                self.members.remove(&(*role, *member)).ok_or("not a member")?;
            }
            Change::Owner { object, role } => {
                if !self.roles.contains_key(role) {
                    return Err("no such role");
                }
                match *role {
                    RoleId::BOOTSTRAP => self.owners.remove(object),
                    role => self.owners.insert(object.clone(), role),
                };
            }
            Change::Privileges { object, acl } => match acl {
                Some(acl) => drop(self.acls.insert(object.clone(), acl.clone())),
                None => drop(self.acls.remove(object)),
            },
            Change::Default { role, schema, kind, acl } => {
                let key = (*role, schema.clone(), *kind);
                match acl {
                    Some(acl) => drop(self.defaults.insert(key, acl.clone())),
                    None => drop(self.defaults.remove(&key)),
                }
            }
        }
        Ok(())
    }

    /// A new thing whose owner its own event says, as those of earlier releases do.
    pub(super) fn born(&mut self, object: Object, owner: RoleId) {
        if owner != RoleId::BOOTSTRAP {
            self.owners.insert(object, owner);
        }
    }

    /// Forgets what is no more.
    pub(super) fn forget(&mut self, there: impl Fn(&Object) -> bool, schema: impl Fn(&str) -> bool) {
        self.owners.retain(|object, _| there(object));
        self.acls.retain(|object, _| there(object));
        self.defaults.retain(|(_, of, _), _| of.as_deref().is_none_or(&schema));
    }
}

/// What there is on an object that nobody granted anything on.
#[must_use]
pub fn plain(kind: Kind, owner: RoleId) -> Acl {
    let item = |grantee, privileges| AclItem { grantee, grantor: owner, privileges, grantable: Privileges::NONE };
    let mut acl = vec![];
    if !kind.world().is_empty() {
        acl.push(item(RoleId::PUBLIC, kind.world()));
    }
    acl.push(item(owner, kind.all()));
    acl
}
