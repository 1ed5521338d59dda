//! BACKUP TO '..'.

use super::statement::Statement;
use super::{P, Result};

impl P<'_> {
    pub(super) fn backup(&mut self) -> Result<Statement> {
        self.expect("backup")?;
        self.expect("to")?;
        Ok(Statement::Backup { to: self.text()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParseLimits, parse};

    #[test]
    fn a_backup_names_where_it_goes() {
        let one = |sql: &str| parse(sql, &ParseLimits::default()).map(|mut all| all.pop());
        assert_eq!(one("BACKUP TO '/srv/it''s'").expect("reads"), Some(Statement::Backup { to: "/srv/it's".to_owned() }));
        for wrong in ["BACKUP", "BACKUP TO", "BACKUP TO x", "BACKUP TO '/a' '/b'"] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
    }
}
