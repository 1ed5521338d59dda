//! Which words are names: as in PostgreSQL, not as in sqlparser, which knows the keywords of all its dialects at once.
//!
//! ```text
//!   PostgreSQL's pg_get_keywords():  reserved, type or function ─▶ no alias of a table without AS
//!                                    without a bare label       ─▶ no alias of a column without AS
//!   words of other dialects (TOP, SORT, MINUS ..)               ─▶ plain words before the parser sees them
//! ```
//! Our own words (EMIT FINAL, ASOF JOIN, WATERMARK) are found by their places, in files of their own.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Words that mean something to sqlparser in a query and nothing there to PostgreSQL.
const FOREIGN: &[Keyword] = &[
    Keyword::ANTI,
    Keyword::APPLY,
    Keyword::CLUSTER,
    Keyword::CONNECT,
    Keyword::DISTRIBUTE,
    Keyword::EXCLUDE,
    Keyword::EXPLAIN,
    Keyword::FORMAT,
    Keyword::GLOBAL,
    Keyword::LOCAL,
    Keyword::MATCH,
    Keyword::MATCH_RECOGNIZE,
    Keyword::MINUS,
    Keyword::OPEN,
    Keyword::OUTPUT,
    Keyword::PIVOT,
    Keyword::PREWHERE,
    Keyword::QUALIFY,
    Keyword::REPLACE,
    Keyword::SAMPLE,
    Keyword::SEMI,
    Keyword::SETTINGS,
    Keyword::SORT,
    Keyword::STRUCT,
    Keyword::TOP,
    Keyword::UNPIVOT,
    Keyword::VIEW,
];

/// Words that mean something to sqlparser wherever they stand, and to PostgreSQL only before a bracket.
const BEFORE_BRACKETS: &[Keyword] = &[Keyword::CUBE, Keyword::EXISTS, Keyword::ROLLUP, Keyword::TRIM];

/// Words of other dialects become plain ones, and so do PostgreSQL's where they are names.
pub(super) fn plain(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let blank = |t: &&TokenWithSpan| matches!(t.token, Token::Whitespace(_));
    let mut names = vec![];
    let mut before: Option<&Token> = None;
    for (at, t) in tokens.iter().enumerate().filter(|(_, t)| !blank(t)) {
        if let Token::Word(Word { keyword, quote_style: None, .. }) = &t.token
            && *keyword != Keyword::NoKeyword
        {
            let behind = || tokens[at + 1..].iter().find(|t| !blank(t)).map(|t| &t.token);
            let is_foreign = FOREIGN.contains(keyword) && !lent(*keyword, &tokens, at);
            if is_foreign || is_name(*keyword, before, behind) {
                names.push(at);
            }
        }
        before = Some(&t.token);
    }
    for at in names {
        if let Token::Word(word) = &mut tokens[at].token {
            word.keyword = Keyword::NoKeyword;
        }
    }
    tokens
}

/// Whether a word of other systems stands where it is no name: QUALIFY before a condition, EXCLUDE behind the `*` of a select list.
fn lent(keyword: Keyword, tokens: &[TokenWithSpan], at: usize) -> bool {
    let there = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_));
    match keyword {
        Keyword::QUALIFY => {
            let mut behind = tokens[at + 1..].iter().filter(there).map(|t| &t.token);
            let Some(Token::Word(first)) = behind.next() else { return false };
            let clause = is_reserved(first.keyword)
                || matches!(
                    first.keyword,
                    Keyword::CROSS
                        | Keyword::FULL
                        | Keyword::INNER
                        | Keyword::JOIN
                        | Keyword::LEFT
                        | Keyword::NATURAL
                        | Keyword::RIGHT
                );
            let second = behind.next();
            !clause
                && matches!(
                    second,
                    Some(
                        Token::LParen
                            | Token::Period
                            | Token::Eq
                            | Token::Neq
                            | Token::Lt
                            | Token::LtEq
                            | Token::Gt
                            | Token::GtEq
                    )
                )
        }
        Keyword::EXCLUDE => {
            let mut before = tokens[..at].iter().rev().filter(there).map(|t| &t.token);
            before.next() == Some(&Token::Mul)
                && match before.next() {
                    Some(Token::Comma | Token::Period) => true,
                    Some(Token::Word(w)) => matches!(w.keyword, Keyword::SELECT | Keyword::DISTINCT | Keyword::ALL),
                    _ => false,
                }
        }
        _ => false,
    }
}

/// Whether a word of PostgreSQL is a name between these.
fn is_name<'a>(keyword: Keyword, before: Option<&Token>, behind: impl Fn() -> Option<&'a Token>) -> bool {
    let is = |token: Option<&Token>, word: Keyword| matches!(token, Some(Token::Word(w)) if w.keyword == word);
    match keyword {
        // EXISTS of DROP TABLE IF EXISTS and its kin stays a word.
        word if BEFORE_BRACKETS.contains(&word) => {
            behind() != Some(&Token::LParen) && !is(before, Keyword::IF) && !is(before, Keyword::NOT)
        }
        Keyword::TRUE | Keyword::FALSE | Keyword::NULL => before == Some(&Token::Period),
        Keyword::RECURSIVE => is(before, Keyword::WITH) && (behind() == Some(&Token::LParen) || is(behind(), Keyword::AS)),
        _ => false,
    }
}

/// Whether it may stand behind a value as its name without AS: PostgreSQL's BareColLabel.
pub(super) fn is_bare_label(kw: Keyword) -> bool {
    use Keyword::*;
    !matches!(
        kw,
        ARRAY
            | AS
            | CHAR
            | CHARACTER
            | CREATE
            | DAY
            | EXCEPT
            | FETCH
            | FILTER
            | FOR
            | FROM
            | GRANT
            | GROUP
            | HAVING
            | HOUR
            | INTERSECT
            | INTO
            | LIMIT
            | MINUTE
            | MONTH
            | NOTNULL
            | OFFSET
            | ON
            | ORDER
            | OVER
            | OVERLAPS
            | PRECISION
            | RETURNING
            | SECOND
            | TO
            | UNION
            | VARYING
            | WHERE
            | WINDOW
            | WITH
            | WITHIN
            | WITHOUT
            | YEAR
    )
}

/// Whether it may stand behind a relation as its name without AS: PostgreSQL's ColId, but for SET, which UPDATE needs, and for ASOF.
pub(super) fn is_table_alias(kw: Keyword) -> bool {
    use Keyword::*;
    !is_reserved(kw)
        && !matches!(
            kw,
            ASOF | AUTHORIZATION
                | BINARY
                | COLLATION
                | CONCURRENTLY
                | CROSS
                | CURRENT_SCHEMA
                | FREEZE
                | FULL
                | ILIKE
                | INNER
                | IS
                | JOIN
                | LEFT
                | LIKE
                | MATCH_CONDITION
                | NATURAL
                | NOTNULL
                | OUTER
                | OVERLAPS
                | QUALIFY
                | RIGHT
                | SET
                | SIMILAR
                | TABLESAMPLE
                | VERBOSE
        )
}

/// PostgreSQL's reserved words.
fn is_reserved(kw: Keyword) -> bool {
    use Keyword::*;
    matches!(
        kw,
        ALL | ANALYZE
            | AND
            | ANY
            | ARRAY
            | AS
            | ASC
            | ASYMMETRIC
            | BOTH
            | CASE
            | CAST
            | CHECK
            | COLLATE
            | COLUMN
            | CONSTRAINT
            | CREATE
            | CURRENT_CATALOG
            | CURRENT_DATE
            | CURRENT_ROLE
            | CURRENT_TIME
            | CURRENT_TIMESTAMP
            | CURRENT_USER
            | DEFAULT
            | DEFERRABLE
            | DESC
            | DISTINCT
            | DO
            | ELSE
            | END
            | EXCEPT
            | FALSE
            | FETCH
            | FOR
            | FOREIGN
            | FROM
            | GRANT
            | GROUP
            | HAVING
            | IN
            | INITIALLY
            | INTERSECT
            | INTO
            | LATERAL
            | LEADING
            | LIMIT
            | LOCALTIME
            | LOCALTIMESTAMP
            | NOT
            | NULL
            | OFFSET
            | ON
            | ONLY
            | OR
            | ORDER
            | PLACING
            | PRIMARY
            | REFERENCES
            | RETURNING
            | SELECT
            | SESSION_USER
            | SOME
            | SYMMETRIC
            | TABLE
            | THEN
            | TO
            | TRAILING
            | TRUE
            | UNION
            | UNIQUE
            | USER
            | USING
            | VARIADIC
            | WHEN
            | WHERE
            | WINDOW
            | WITH
    )
}
