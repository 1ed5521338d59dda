//! Errors about texts that hold a password or a secret's value repeat nothing of them.
//!
//! What stands where a mistake is may be the value itself, or a part of it after a quote too many. So the words after `found` and `at or
//! near` are left out, and the place alone tells. Cost: one walk over a text that was refused. It does not know whether the text that
//! looks so is one: an error too terse is better than one too open.

use crate::error::PlanError;

/// The error without what it repeats of the text, if the text may hold what nobody may read.
pub(super) fn quiet(sql: &str, error: PlanError) -> PlanError {
    match error {
        PlanError::Syntax { sqlstate, message, position, hint } if is_private(sql) => {
            let cut = [", found", " found ", " at or near"].iter().filter_map(|word| message.find(word)).min();
            let message = cut.map_or(message.as_str(), |at| &message[..at]).to_owned();
            PlanError::Syntax { sqlstate, message, position, hint }
        }
        other => other,
    }
}

/// CREATE or ALTER, and within a few words of it SECRET; or PASSWORD anywhere after it.
fn is_private(sql: &str) -> bool {
    const NEAR: usize = 5;
    let mut since = None;
    for word in sql.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if ["create", "alter"].iter().any(|w| word.eq_ignore_ascii_case(w)) {
            since = Some(0);
        } else if let (Some(n), false) = (since, word.is_empty()) {
            if word.eq_ignore_ascii_case("password") || (n < NEAR && word.eq_ignore_ascii_case("secret")) {
                return true;
            }
            since = Some(n + 1);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse};

    #[test]
    fn no_mistake_makes_an_error_repeat_a_value() {
        for sql in [
            "CREATE SECRET s AS 'it's xyzzy' now'",
            "CREATE SECRET s AS xyzzy",
            "CREATE SECRET s AS \"xyzzy\"",
            "CREATE SECRET s 'xyzzy'",
            "CREATE SECRET s = 'xyzzy'",
            "CREATE SECRET s AS 'a' 'xyzzy'",
            "CREATE SECRET s AS 1xyzzy",
            "CREATE SECRET s AS 'a' xyzzy",
            "CREATE SECRET s AS 'a', 'xyzzy'",
            "CREATE OR REPLACE SECRET s AS 'xyzzy'",
            "CREATE SECRET IF NOT EXISTS 'xyzzy'",
            "ALTER SECRET s SET 'xyzzy'",
            "ALTER SECRET IF EXISTS s AS 'a'xyzzy",
            "SELECT 1; CREATE SECRET s AS 'a' xyzzy",
            "CREATE ROLE r PASSWORD xyzzy",
            "CREATE ROLE r PASSWORD 'a' 'xyzzy'",
            "ALTER ROLE r PASSWORD 'it's xyzzy'",
            "CREATE SECRET s AS 'xyzzy",
        ] {
            let error = parse(sql, &ParseLimits::default()).expect_err(sql);
            assert!(!format!("{error:?} {error}").contains("xyzzy"), "{sql}: {error:?}");
        }
        let open = parse("CREATE VIEW v AS SELECT 1 secret xyzzy plugh", &ParseLimits::default()).expect_err("no alias");
        assert!(open.to_string().contains("plugh") || open.to_string().contains("xyzzy"), "{open}");
    }
}
