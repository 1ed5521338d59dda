//! A list of who was granted what by whom: PostgreSQL's `aclitem[]`, and its rules for changing it.
//!
//! ```text
//!   alice=r*w/bob      bob granted alice SELECT, which she may grant on, and UPDATE
//!   =r/bob             everybody has SELECT
//! ```
//! Pure. Invariants: one item for each pair of grantee and grantor; nobody but the owner holds a grant option that no one who had
//! it gave. The rules are those of PostgreSQL's documentation of GRANT and REVOKE.

use super::{RoleId, privilege::Privileges};
use crate::error::{Error, Result};
use regauge_types::ErrorKind;
use serde::{Deserialize, Serialize};

/// What one role granted another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclItem {
    /// Who has it; [`RoleId::PUBLIC`] for everybody.
    pub grantee: RoleId,
    /// Who gave it.
    pub grantor: RoleId,
    /// What.
    pub privileges: Privileges,
    /// What of it may be granted on.
    #[serde(default, skip_serializing_if = "is_none")]
    pub grantable: Privileges,
}

fn is_none(privileges: &Privileges) -> bool {
    privileges.is_empty()
}

/// Items in the order in which they came.
pub type Acl = Vec<AclItem>;

/// One change of a list.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// REVOKE.
    pub revoke: bool,
    /// To or from whom.
    pub grantee: RoleId,
    /// In whose name.
    pub grantor: RoleId,
    /// What.
    pub privileges: Privileges,
    /// WITH GRANT OPTION, GRANT OPTION FOR.
    pub option: bool,
    /// What was given on by who loses it goes too.
    pub cascade: bool,
}

/// The list after a change; `owner` holds every grant option without an item.
pub fn edited(acl: &[AclItem], owner: RoleId, edit: Edit) -> Result<Acl> {
    let mut acl = acl.to_vec();
    if !edit.revoke {
        if edit.option {
            if edit.grantee == RoleId::PUBLIC {
                return Err(no_option_for_public());
            }
            if circular(&acl, owner, &edit) {
                return Err(Error::invalid(INVALID_GRANT, "grant options cannot be granted back to your own grantor"));
            }
        }
        let at = place(&mut acl, edit.grantee, edit.grantor);
        acl[at].privileges = acl[at].privileges.with(edit.privileges);
        if edit.option {
            acl[at].grantable = acl[at].grantable.with(edit.privileges);
        }
        return Ok(acl);
    }
    let Some(at) = acl.iter().position(|i| i.grantee == edit.grantee && i.grantor == edit.grantor) else { return Ok(acl) };
    let lost = acl[at].grantable.and(edit.privileges);
    acl[at].grantable = acl[at].grantable.without(edit.privileges);
    if !edit.option {
        acl[at].privileges = acl[at].privileges.without(edit.privileges);
    }
    if acl[at].privileges.is_empty() && acl[at].grantable.is_empty() {
        acl.remove(at);
    }
    if !lost.is_empty() {
        follow(&mut acl, owner, edit.grantee, lost, edit.cascade)?;
    }
    Ok(acl)
}

const INVALID_GRANT: &str = "0LP01";

pub(super) fn no_option_for_public() -> Error {
    Error::invalid(INVALID_GRANT, "grant options can only be granted to roles")
}

/// What a role may grant on by this list alone; the owner everything.
pub fn grantable(acl: &[AclItem], owner: RoleId, role: RoleId) -> Privileges {
    if role == owner {
        return Privileges::EVERY;
    }
    acl.iter().filter(|i| i.grantee == role).fold(Privileges::NONE, |all, i| all.with(i.grantable))
}

/// The pair's item, made if it is not there.
fn place(acl: &mut Acl, grantee: RoleId, grantor: RoleId) -> usize {
    acl.iter().position(|i| i.grantee == grantee && i.grantor == grantor).unwrap_or_else(|| {
        acl.push(AclItem { grantee, grantor, privileges: Privileges::NONE, grantable: Privileges::NONE });
        acl.len() - 1
    })
}

/// Whether the grantor would have its grant option from the grantee alone.
fn circular(acl: &[AclItem], owner: RoleId, edit: &Edit) -> bool {
    if edit.grantor == owner {
        return false;
    }
    // Without all that the grantee gave on, the grantor must still have it.
    let mut rest = acl.to_vec();
    rest.retain(|i| i.grantee != edit.grantee);
    while let Some(at) = rest.iter().position(|i| !grantable(&rest, owner, i.grantor).has(i.privileges.and(edit.privileges))) {
        let had = grantable(&rest, owner, rest[at].grantor);
        let item = &mut rest[at];
        item.privileges = item.privileges.without(edit.privileges.without(had));
        item.grantable = item.grantable.without(edit.privileges.without(had));
        if item.privileges.is_empty() {
            rest.remove(at);
        }
    }
    !grantable(&rest, owner, edit.grantor).has(edit.privileges)
}

/// Takes back what a role gave on of privileges that it may no longer give.
fn follow(acl: &mut Acl, owner: RoleId, loser: RoleId, lost: Privileges, cascade: bool) -> Result<()> {
    let lost = lost.without(grantable(acl, owner, loser));
    while let Some(item) = acl.iter().find(|i| i.grantor == loser && !i.privileges.and(lost).is_empty()).copied() {
        if !cascade {
            return Err(
                Error::new(ErrorKind::Conflict, "2BP01", "dependent privileges exist").hint("Use CASCADE to revoke them too.")
            );
        }
        let privileges = item.privileges.and(lost);
        let edit = Edit { revoke: true, grantee: item.grantee, grantor: loser, privileges, option: false, cascade };
        *acl = edited(acl, owner, edit)?;
    }
    Ok(())
}

/// The list with another item in it.
pub(super) fn merged(acl: &[AclItem], item: &AclItem) -> Acl {
    let mut acl = acl.to_vec();
    let at = place(&mut acl, item.grantee, item.grantor);
    acl[at].privileges = acl[at].privileges.with(item.privileges);
    acl[at].grantable = acl[at].grantable.with(item.grantable);
    acl
}

/// The list after the owner became another: what stood in the old one's name stands in the new one's.
pub fn inherited(acl: &[AclItem], old: RoleId, new: RoleId) -> Acl {
    let renamed = |role: RoleId| if role == old { new } else { role };
    let mut all: Acl = vec![];
    for item in acl {
        all = merged(&all, &AclItem { grantee: renamed(item.grantee), grantor: renamed(item.grantor), ..*item });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: RoleId = RoleId(10);
    const A: RoleId = RoleId(11);
    const B: RoleId = RoleId(12);
    const S: Privileges = Privileges::SELECT;

    fn edit(revoke: bool, grantor: RoleId, grantee: RoleId, option: bool, cascade: bool) -> Edit {
        Edit { revoke, grantee, grantor, privileges: S, option, cascade }
    }

    #[test]
    fn what_was_given_on_falls_with_the_option_and_only_with_cascade() {
        let acl = edited(&[], OWNER, edit(false, OWNER, A, true, false)).expect("granted");
        let acl = edited(&acl, OWNER, edit(false, A, B, false, false)).expect("granted on");
        let refused = edited(&acl, OWNER, edit(true, OWNER, A, false, false)).expect_err("B has it from A");
        assert_eq!(refused.sqlstate, "2BP01");
        assert!(edited(&acl, OWNER, edit(true, OWNER, A, false, true)).expect("revoked").is_empty());
        let kept = edited(&acl, OWNER, edit(true, OWNER, A, true, true)).expect("option revoked");
        assert_eq!((kept.len(), kept[0].grantee, kept[0].grantable), (1, A, Privileges::NONE));
    }

    #[test]
    fn an_option_is_not_given_back_to_who_gave_it() {
        let acl = edited(&[], OWNER, edit(false, OWNER, A, true, false)).expect("granted");
        let acl = edited(&acl, OWNER, edit(false, A, B, true, false)).expect("granted on");
        assert_eq!(edited(&acl, OWNER, edit(false, B, A, true, false)).expect_err("circular").sqlstate, "0LP01");
        assert!(edited(&acl, OWNER, edit(false, OWNER, RoleId::PUBLIC, true, false)).is_err());
        // Who also has it from the owner keeps it by that.
        let acl = edited(&acl, OWNER, edit(false, OWNER, B, true, false)).expect("granted twice");
        assert!(edited(&acl, OWNER, edit(false, B, RoleId(13), true, false)).is_ok());
    }

    #[test]
    fn a_new_owner_takes_the_old_ones_place() {
        let item = |grantee, grantor, privileges| AclItem { grantee, grantor, privileges, grantable: Privileges::NONE };
        let acl = [item(OWNER, OWNER, S), item(A, OWNER, Privileges::INSERT), item(B, OWNER, S)];
        let now = inherited(&acl, OWNER, A);
        assert_eq!(now, [item(A, A, S.with(Privileges::INSERT)), item(B, A, S)]);
    }
}
