//! The laws: what a query says, and the same in other words.

use super::draw::{Column, Table, Ty, condition, expression};
use crate::rng::Rng;

/// Two queries that give the same rows under the same names and types.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Which law says so.
    pub law: &'static str,
    /// One side.
    pub left: String,
    /// The other.
    pub right: String,
}

/// Rows to ask about: `FROM` something, and what it offers.
struct Rows {
    from: String,
    columns: Vec<Column>,
}

fn qualified(table: &Table, alias: &str) -> Vec<Column> {
    let id = Column { name: format!("{alias}.id"), ty: Ty::Int };
    let others = table.columns.iter().map(|c| Column { name: format!("{alias}.{}", c.name), ty: c.ty });
    std::iter::once(id).chain(others).collect()
}

fn list(columns: &[Column]) -> String {
    columns.iter().enumerate().map(|(i, c)| format!("{} AS c{i}", c.name)).collect::<Vec<_>>().join(", ")
}

fn some_of(rng: &mut Rng, columns: &[Column]) -> Vec<Column> {
    let mut some = columns.to_vec();
    rng.shuffle(&mut some);
    some.truncate(1 + rng.below(4));
    some
}

/// A table, a join of two, or a query over one.
fn rows(rng: &mut Rng, tables: &[Table]) -> Rows {
    let table = |rng: &mut Rng| &tables[rng.below(tables.len())];
    let a = table(rng);
    let plain = Rows { from: format!("{} AS q", a.name), columns: qualified(a, "q") };
    match rng.below(8) {
        0..=2 => plain,
        3..=5 => {
            let b = table(rng);
            let (l, r) = (qualified(a, "q"), qualified(b, "r"));
            let kind = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][rng.below(4)];
            let mut columns = [l, r].concat();
            let also = if kind == "FULL JOIN" || rng.percent(60) {
                String::new()
            } else {
                format!(" AND {}", condition(rng, &columns, 1))
            };
            let key = ["a", "b", "s"][rng.below(3)];
            rng.shuffle(&mut columns);
            columns.truncate(5);
            Rows { from: format!("{} AS q {kind} {} AS r ON q.{key} = r.{key}{also}", a.name, b.name), columns }
        }
        6 => {
            let some = some_of(rng, &plain.columns);
            let columns = some.iter().enumerate().map(|(i, c)| Column { name: format!("d.c{i}"), ty: c.ty }).collect();
            Rows { from: format!("(SELECT DISTINCT {} FROM {}) AS d", list(&some), plain.from), columns }
        }
        _ => {
            let x = expression(rng, &plain.columns, Ty::Int, 2);
            let from =
                format!("(SELECT q.a AS k, count(*) AS n, max({x}) AS m, min(q.s) AS s FROM {} GROUP BY q.a) AS g", plain.from);
            let columns = [("g.k", Ty::Int), ("g.n", Ty::Big), ("g.m", Ty::Int), ("g.s", Ty::Text)];
            Rows { from, columns: columns.map(|(name, ty)| Column { name: name.into(), ty }).to_vec() }
        }
    }
}

/// The three parts into which a condition divides rows.
fn parts(p: &str) -> [String; 3] {
    [p.to_string(), format!("NOT ({p})"), format!("({p}) IS NULL")]
}

fn joined(queries: impl IntoIterator<Item = String>, by: &str) -> String {
    queries.into_iter().collect::<Vec<_>>().join(by)
}

/// No law: what a condition divides in three, taken for two parts.
pub(super) fn forgetful(rng: &mut Rng, tables: &[Table]) -> Pair {
    let Rows { from, columns } = rows(rng, tables);
    let [yes, no, _] = parts(&condition(rng, &columns, 1)).map(|p| format!("SELECT {} FROM {from} WHERE {p}", list(&columns)));
    Pair { law: "planted", left: format!("SELECT {} FROM {from}", list(&columns)), right: format!("{yes} UNION ALL {no}") }
}

/// A law over something.
pub(super) fn draw(rng: &mut Rng, tables: &[Table]) -> Pair {
    let Rows { from, columns } = rows(rng, tables);
    let p = condition(rng, &columns, 2);
    let some = some_of(rng, &columns);
    let shown = list(&some);
    let pair = |law, left, right| Pair { law, left, right };
    match rng.below(13) {
        0 => pair(
            "a condition divides rows in three",
            format!("SELECT {shown} FROM {from}"),
            joined(parts(&p).map(|p| format!("SELECT {shown} FROM {from} WHERE {p}")), " UNION ALL "),
        ),
        1 => pair(
            "distinct rows of three parts",
            format!("SELECT DISTINCT {shown} FROM {from}"),
            joined(parts(&p).map(|p| format!("SELECT {shown} FROM {from} WHERE {p}")), " UNION "),
        ),
        2 => aggregates(rng, &from, &columns, &p),
        3 => pair(
            "a filter counts what CASE sums",
            format!("SELECT count(*) AS n FROM {from} WHERE {p}"),
            format!("SELECT CAST(COALESCE(sum(CASE WHEN {p} THEN 1 ELSE 0 END), 0) AS bigint) AS n FROM {from}"),
        ),
        4 => pair(
            "WHERE takes what is true",
            format!("SELECT {shown} FROM {from} WHERE {p}"),
            format!("SELECT {shown} FROM {from} WHERE CASE ({p}) WHEN true THEN 1 ELSE 0 END = 1"),
        ),
        5 => {
            let keys: Vec<String> = (0..some.len()).map(|i| format!("c{i}")).collect();
            pair(
                "DISTINCT groups by everything",
                format!("SELECT DISTINCT {shown} FROM {from} WHERE {p}"),
                format!("SELECT {0} FROM (SELECT {shown} FROM {from} WHERE {p}) z GROUP BY {0}", keys.join(", ")),
            )
        }
        6 => having(rng, &from, &columns),
        7 => outer_join(rng, tables),
        8 => sets(rng, tables),
        9 => windows(rng, tables),
        10 => semi_join(rng, tables),
        11 => grouping_sets(&from, &some, &columns[rng.below(columns.len())]),
        _ => pair(
            "DISTINCT within an aggregate",
            format!("SELECT count(DISTINCT {}) AS n, count(*) FILTER (WHERE {p}) AS f FROM {from}", some[0].name),
            format!(
                "SELECT (SELECT count(*) FROM (SELECT DISTINCT {0} AS x FROM {from}) z WHERE x IS NOT NULL) AS n, \
                 (SELECT count(*) FROM {from} WHERE {p}) AS f",
                some[0].name
            ),
        ),
    }
}

/// Aggregates of parts add up.
fn aggregates(rng: &mut Rng, from: &str, columns: &[Column], p: &str) -> Pair {
    let key = &columns[rng.below(columns.len())].name;
    let x = expression(rng, columns, Ty::Int, 2);
    let y = &columns.iter().filter(|c| c.ty != Ty::Bool).nth(rng.below(2)).unwrap_or(&columns[0]);
    let (y, y_is_bool) = (&y.name, y.ty == Ty::Bool);
    let (low, high) = if y_is_bool { ("bool_and", "bool_or") } else { ("min", "max") };
    let one = |p: &str| {
        format!(
            "SELECT {key} AS k, count(*) AS n, sum({x}) AS s, {low}({y}) AS l, {high}({y}) AS h FROM {from}{p} GROUP BY {key}"
        )
    };
    let partial = joined(parts(p).map(|p| one(&format!(" WHERE {p}"))), " UNION ALL ");
    Pair {
        law: "aggregates of three parts add up",
        left: one(""),
        right: format!(
            "SELECT k, CAST(sum(n) AS bigint) AS n, CAST(sum(s) AS bigint) AS s, {low}(l) AS l, {high}(h) AS h FROM ({partial}) z GROUP BY k"
        ),
    }
}

/// A condition on groups divides them in three.
fn having(rng: &mut Rng, from: &str, columns: &[Column]) -> Pair {
    let key = &columns[rng.below(columns.len())].name;
    let x = expression(rng, columns, Ty::Int, 1);
    let p = match rng.below(3) {
        0 => format!("count(*) > {}", rng.below(4)),
        1 => format!("max({x}) > {} OR {key} IS NULL", rng.range(-2, 4)),
        _ => format!("sum({x}) - count({x}) <> {}", rng.range(-2, 4)),
    };
    let query = |having: &str| format!("SELECT {key} AS k, count({x}) AS n FROM {from} GROUP BY {key}{having}");
    Pair {
        law: "a condition divides groups in three",
        left: query(""),
        right: joined(parts(&p).map(|p| query(&format!(" HAVING {p}"))), " UNION ALL "),
    }
}

/// An outer join is the inner one and the rows without partners.
fn outer_join(rng: &mut Rng, tables: &[Table]) -> Pair {
    let (t, u) = (&tables[rng.below(tables.len())], &tables[rng.below(tables.len())]);
    let both = [qualified(t, "q"), qualified(u, "r")].concat();
    let on = if rng.percent(70) {
        format!("q.a = r.{} AND {}", ["a", "b"][rng.below(2)], condition(rng, &both, 1))
    } else {
        format!("q.a < r.b AND {}", condition(rng, &both, 1))
    };
    let (t, u) = (&t.name, &u.name);
    let inner = format!("SELECT q.id AS i, q.s AS s, r.id AS j, r.b AS b FROM {t} AS q JOIN {u} AS r ON {on}");
    let left = format!(
        "SELECT q.id AS i, q.s AS s, CAST(NULL AS integer) AS j, CAST(NULL AS integer) AS b FROM {t} AS q \
         WHERE NOT EXISTS (SELECT 1 FROM {u} AS r WHERE {on})"
    );
    let right = format!(
        "SELECT CAST(NULL AS integer) AS i, CAST(NULL AS text) AS s, r.id AS j, r.b AS b FROM {u} AS r \
         WHERE NOT EXISTS (SELECT 1 FROM {t} AS q WHERE {on})"
    );
    let (kind, parts) = match rng.below(3) {
        0 => ("LEFT", vec![inner, left]),
        1 => ("RIGHT", vec![inner, right]),
        _ => ("FULL", vec![inner, left, right]),
    };
    Pair {
        law: "an outer join is the inner one and what has no partner",
        left: format!("SELECT q.id AS i, q.s AS s, r.id AS j, r.b AS b FROM {t} AS q {kind} JOIN {u} AS r ON {on}"),
        right: joined(parts, " UNION ALL "),
    }
}

/// INTERSECT and EXCEPT by existence and by counting.
fn sets(rng: &mut Rng, tables: &[Table]) -> Pair {
    let (t, u) = (&tables[rng.below(tables.len())].name, &tables[rng.below(tables.len())].name);
    let same = "q.a IS NOT DISTINCT FROM r.b AND q.s IS NOT DISTINCT FROM r.s";
    let (l, r) = (format!("SELECT a, s FROM {t}"), format!("SELECT b AS a, s FROM {u}"));
    let exists =
        |not: &str| format!("SELECT DISTINCT q.a, q.s FROM {t} AS q WHERE {not}EXISTS (SELECT 1 FROM {u} AS r WHERE {same})");
    let numbered = |sql: &str| format!("SELECT a, s, row_number() OVER (PARTITION BY a, s) AS n FROM ({sql}) z");
    match rng.below(4) {
        0 => Pair { law: "INTERSECT is existence", left: format!("{l} INTERSECT {r}"), right: exists("") },
        1 => Pair { law: "EXCEPT is absence", left: format!("{l} EXCEPT {r}"), right: exists("NOT ") },
        2 => Pair {
            law: "INTERSECT ALL is existence of the n-th copy",
            left: format!("{l} INTERSECT ALL {r}"),
            right: format!("SELECT a, s FROM ({} INTERSECT {}) y", numbered(&l), numbered(&r)),
        },
        _ => Pair {
            law: "EXCEPT ALL is absence of the n-th copy",
            left: format!("{l} EXCEPT ALL {r}"),
            right: format!("SELECT a, s FROM ({} EXCEPT {}) y", numbered(&l), numbered(&r)),
        },
    }
}

/// Functions with OVER by what they stand for.
fn windows(rng: &mut Rng, tables: &[Table]) -> Pair {
    let t = &tables[rng.below(tables.len())];
    let columns = qualified(t, "q");
    let p = condition(rng, &columns, 1);
    let t = &t.name;
    let k = rng.below(4);
    match rng.below(5) {
        0 => Pair {
            law: "row_number counts what comes before",
            left: format!("SELECT id, row_number() OVER (PARTITION BY s ORDER BY id) AS n FROM {t} AS q WHERE {p}"),
            right: format!(
                "WITH f AS (SELECT id, s FROM {t} AS q WHERE {p}) SELECT id, \
                 (SELECT count(*) FROM f AS g WHERE g.s IS NOT DISTINCT FROM f.s AND g.id <= f.id) AS n FROM f"
            ),
        },
        1 => Pair {
            law: "a running sum sums what comes before",
            left: format!("SELECT id, sum(a) OVER (PARTITION BY b ORDER BY id) AS n FROM {t} AS q WHERE {p}"),
            right: format!(
                "WITH f AS (SELECT id, a, b FROM {t} AS q WHERE {p}) SELECT id, \
                 (SELECT sum(g.a) FROM f AS g WHERE g.b IS NOT DISTINCT FROM f.b AND g.id <= f.id) AS n FROM f"
            ),
        },
        2 => Pair {
            law: "LIMIT takes the first by number",
            left: format!("SELECT id, a FROM {t} AS q WHERE {p} ORDER BY a DESC NULLS LAST, id LIMIT {k}"),
            right: format!(
                "SELECT id, a FROM (SELECT id, a, row_number() OVER (ORDER BY a DESC NULLS LAST, id) AS n FROM {t} AS q WHERE {p}) z \
                 WHERE n <= {k}"
            ),
        },
        3 => Pair {
            law: "rank counts who is better",
            left: format!("SELECT id, rank() OVER (PARTITION BY s ORDER BY a) AS n FROM {t} AS q WHERE a IS NOT NULL"),
            right: format!(
                "SELECT id, (SELECT count(*) + 1 FROM {t} AS g WHERE g.s IS NOT DISTINCT FROM q.s AND g.a < q.a) AS n \
                 FROM {t} AS q WHERE a IS NOT NULL"
            ),
        },
        _ => Pair {
            law: "a total with OVER is the group's",
            left: format!(
                "SELECT id, count(*) OVER (PARTITION BY s) AS n, max(b) OVER (PARTITION BY s) AS m FROM {t} AS q WHERE {p}"
            ),
            right: format!(
                "WITH f AS (SELECT id, b, s FROM {t} AS q WHERE {p}) SELECT f.id, g.n, g.m FROM f \
                 JOIN (SELECT s, count(*) AS n, max(b) AS m FROM f GROUP BY s) g ON g.s IS NOT DISTINCT FROM f.s"
            ),
        },
    }
}

/// EXISTS, IN, ANY, a join with the distinct partners.
fn semi_join(rng: &mut Rng, tables: &[Table]) -> Pair {
    let (t, u) = (&tables[rng.below(tables.len())], &tables[rng.below(tables.len())]);
    let p = condition(rng, &qualified(u, "r"), 1);
    let also = condition(rng, &qualified(t, "q"), 1);
    let (t, u) = (&t.name, &u.name);
    let exists = format!("EXISTS (SELECT 1 FROM {u} AS r WHERE r.b = q.a AND {p})");
    let select = format!("SELECT q.id, q.s FROM {t} AS q");
    match rng.below(4) {
        0 => Pair {
            law: "EXISTS is IN, beside OR",
            left: format!("{select} WHERE {also} OR {exists}"),
            right: format!("{select} WHERE {also} OR q.a IN (SELECT r.b FROM {u} AS r WHERE {p})"),
        },
        1 => Pair {
            law: "EXISTS is a join with distinct partners",
            left: format!("{select} WHERE {exists}"),
            right: format!("{select} JOIN (SELECT DISTINCT r.b FROM {u} AS r WHERE {p}) d ON d.b = q.a"),
        },
        2 => Pair {
            law: "NOT IN knows NULL",
            left: format!("{select} WHERE q.a NOT IN (SELECT r.b FROM {u} AS r WHERE {p})"),
            right: format!(
                "{select} WHERE NOT EXISTS (SELECT 1 FROM {u} AS r WHERE (r.b = q.a OR r.b IS NULL OR q.a IS NULL) AND {p})"
            ),
        },
        _ => Pair {
            law: "> ALL is no less or equal",
            left: format!("{select} WHERE q.a > ALL (SELECT r.b FROM {u} AS r WHERE r.b IS NOT NULL AND {p})"),
            right: format!(
                "{select} WHERE NOT EXISTS (SELECT 1 FROM {u} AS r WHERE r.b IS NOT NULL AND (r.b >= q.a OR q.a IS NULL) AND {p})"
            ),
        },
    }
}

/// ROLLUP is a union of groupings.
fn grouping_sets(from: &str, some: &[Column], other: &Column) -> Pair {
    let (a, b) = (&some[0].name, &other.name);
    let of = |a: &str, b: &str, tail: &str| format!("SELECT {a} AS k, {b} AS m, count(*) AS n FROM {from}{tail}");
    let null = |c: &Column| format!("NULLIF({0}, {0})", c.name);
    // the type of a NULL is that of the column, which only an expression over it has
    let typed = |c: &Column| format!("min({})", null(c));
    let bools = [some[0].ty, other.ty].contains(&Ty::Bool);
    if bools || some[0].name == other.name {
        return Pair {
            law: "a group of all is no group",
            left: format!("SELECT count(*) AS n FROM {from} GROUP BY GROUPING SETS (())"),
            right: format!("SELECT count(*) AS n FROM {from}"),
        };
    }
    Pair {
        law: "ROLLUP is a union of groupings",
        left: of(a, b, &format!(" GROUP BY ROLLUP ({a}, {b})")),
        right: joined(
            [
                of(a, b, &format!(" GROUP BY {a}, {b}")),
                of(a, &typed(other), &format!(" GROUP BY {a}")),
                of(&typed(&some[0]), &typed(other), ""),
            ],
            " UNION ALL ",
        ),
    }
}
