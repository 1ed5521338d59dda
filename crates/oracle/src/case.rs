//! A case: tables, views and a schedule, as a value that can be printed, replayed and shrunk.

use std::fmt::Write as _;

use crate::system::Dialect;

/// Everything that one seed stands for.
#[derive(Debug, Clone)]
pub struct Case {
    /// The seed it was drawn from.
    pub seed: u64,
    /// Created before the first step.
    pub tables: Vec<Table>,
    /// Created and dropped by steps.
    pub views: Vec<View>,
    /// In order; after each the live views are compared.
    pub steps: Vec<Step>,
    /// At the start.
    pub workers: usize,
}

/// A table with a primary key, or an append-only stream.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Column definitions as SQL, the primary key's among them.
    pub columns: Vec<String>,
    /// Append only.
    pub stream: bool,
}

/// A view.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The query, with window markers (`Window`).
    pub sql: Text,
    /// The columns whose numerics are near, not equal.
    pub inexact: Vec<bool>,
    /// The views that it reads.
    pub uses: Vec<usize>,
}

/// One step of the schedule.
#[derive(Debug, Clone)]
pub enum Step {
    /// CREATE MATERIALIZED VIEW.
    Create(usize),
    /// DROP; the generator drops what uses it before.
    Drop(usize),
    /// One transaction.
    Commit(Vec<Change>),
    /// Stop and start over the same data with so many workers.
    Restart(usize),
}

/// One statement of a transaction.
#[derive(Debug, Clone)]
pub enum Change {
    /// Rows are kept apart so that they can be shrunk one by one.
    Insert {
        /// `INSERT INTO t (a, b) VALUES`.
        head: String,
        /// Each `(1, 'x')`.
        rows: Vec<String>,
        /// ` ON CONFLICT ...`, or nothing.
        tail: String,
    },
    /// UPDATE or DELETE.
    Sql(String),
}

/// SQL with the few places where the two systems need other words.
#[derive(Debug, Clone, Default)]
pub struct Text(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Same(String),
    Window(Window),
    /// Regauge's words, and PostgreSQL's.
    Either(Text, Text),
}

/// A windowed relation.
#[derive(Debug, Clone)]
pub struct Window {
    /// A base relation; its event time is never NULL.
    pub relation: String,
    /// The column.
    pub time: String,
    /// Which windows.
    pub kind: Windows,
}

/// Which windows a row is put in; all in seconds.
#[derive(Debug, Clone)]
pub enum Windows {
    /// TUMBLE when size and slide are equal, else HOP; the size is a multiple of the slide.
    Sliding {
        /// How wide.
        size_s: u32,
        /// How far apart.
        slide_s: u32,
    },
    /// CUMULATE; the size is a multiple of the step.
    Growing {
        /// How wide the widest.
        size_s: u32,
        /// By how much they differ.
        step_s: u32,
    },
    /// SESSION.
    Session {
        /// The least distance of two sessions.
        gap_s: u32,
        /// PARTITION BY.
        by: Option<String>,
    },
}

impl Text {
    /// The same words for both.
    #[must_use]
    pub fn same(sql: impl Into<String>) -> Self {
        Self(vec![Piece::Same(sql.into())])
    }

    /// Other words for each.
    #[must_use]
    pub fn window(window: Window) -> Self {
        Self(vec![Piece::Window(window)])
    }

    /// Regauge's words, and PostgreSQL's.
    #[must_use]
    pub fn either(ours: Self, postgres: Self) -> Self {
        Self(vec![Piece::Either(ours, postgres)])
    }

    /// Adds words.
    #[must_use]
    pub fn with(mut self, sql: &str) -> Self {
        self.0.push(Piece::Same(sql.into()));
        self
    }

    /// Adds another text.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// The words for one system.
    #[must_use]
    pub fn render(&self, dialect: Dialect) -> String {
        let mut sql = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Same(same) => sql.push_str(same),
                Piece::Window(window) => sql.push_str(&window.render(dialect)),
                Piece::Either(ours, postgres) => {
                    let words = if dialect == Dialect::Regauge { ours } else { postgres };
                    sql.push_str(&words.render(dialect));
                }
            }
        }
        sql
    }
}

impl Window {
    fn render(&self, dialect: Dialect) -> String {
        let Self { relation, time, kind } = self;
        match (kind, dialect) {
            (Windows::Sliding { size_s, slide_s }, Dialect::Regauge) if size_s == slide_s => {
                format!("TUMBLE({relation}, {time}, INTERVAL '{size_s} seconds')")
            }
            (Windows::Sliding { size_s, slide_s }, Dialect::Regauge) => {
                format!("HOP({relation}, {time}, INTERVAL '{slide_s} seconds', INTERVAL '{size_s} seconds')")
            }
            // The last window that holds the row, and the ones before it at each slide.
            (Windows::Sliding { size_s, slide_s }, Dialect::Postgres) => format!(
                "(SELECT b.*, s.window_start, s.window_start + INTERVAL '{size_s} seconds' AS \
                 window_end FROM {relation} b CROSS JOIN LATERAL (SELECT date_bin(INTERVAL \
                 '{slide_s} seconds', b.{time}, TIMESTAMP '1970-01-01') - n * INTERVAL '{slide_s} \
                 seconds' AS window_start FROM generate_series(0, {}) n) s)",
                size_s / slide_s - 1
            ),
            (Windows::Growing { size_s, step_s }, Dialect::Regauge) => {
                format!("CUMULATE({relation}, {time}, INTERVAL '{step_s} seconds', INTERVAL '{size_s} seconds')")
            }
            (Windows::Growing { size_s, step_s }, Dialect::Postgres) => format!(
                "(SELECT b.*, s.window_start, s.window_end FROM {relation} b CROSS JOIN LATERAL (SELECT w AS window_start, w + n * \
                 INTERVAL '{step_s} seconds' AS window_end FROM generate_series(1, {}) n, LATERAL (SELECT date_bin(INTERVAL \
                 '{size_s} seconds', b.{time}, TIMESTAMP '1970-01-01') AS w) d) s WHERE b.{time} < s.window_end)",
                size_s / step_s
            ),
            (Windows::Session { gap_s, by }, Dialect::Regauge) => {
                let by = by.as_ref().map_or(String::new(), |by| format!(", PARTITION BY {by}"));
                format!("SESSION({relation}, {time}, INTERVAL '{gap_s} seconds'{by})")
            }
            // Which rows begin a session, how many began up to each row, and then the first and the last row of each.
            (Windows::Session { gap_s, by }, Dialect::Postgres) => {
                let by = by.as_ref().map_or("0".to_owned(), |by| format!("b.{by}"));
                let gap = format!("INTERVAL '{gap_s} seconds'");
                format!(
                    "(SELECT (z.b).*, z.window_start, z.window_end FROM (SELECT y.b, min(y.t) OVER w AS window_start, max(y.t) OVER w + {gap} \
                     AS window_end FROM (SELECT x.*, sum(x.begins) OVER (PARTITION BY x.k ORDER BY x.t) AS s FROM (SELECT b, b.{time} \
                     AS t, {by} AS k, CASE WHEN b.{time} - lag(b.{time}) OVER (PARTITION BY {by} ORDER BY b.{time}) < {gap} THEN 0 \
                     ELSE 1 END AS begins FROM {relation} b) x) y WINDOW w AS (PARTITION BY y.k, y.s)) z)"
                )
            }
        }
    }
}

impl Table {
    /// CREATE TABLE or CREATE STREAM.
    #[must_use]
    pub fn create(&self, dialect: Dialect) -> String {
        let word = if self.stream && dialect == Dialect::Regauge { "STREAM" } else { "TABLE" };
        format!("CREATE {word} {} ({})", self.name, self.columns.join(", "))
    }
}

impl View {
    /// CREATE MATERIALIZED VIEW; in PostgreSQL a plain view, which recomputes at every read.
    #[must_use]
    pub fn create(&self, dialect: Dialect) -> String {
        let word = if dialect == Dialect::Regauge { "MATERIALIZED VIEW" } else { "VIEW" };
        format!("CREATE {word} {} AS {}", self.name, self.sql.render(dialect))
    }

    /// DROP.
    #[must_use]
    pub fn drop(&self, dialect: Dialect) -> String {
        let word = if dialect == Dialect::Regauge { "MATERIALIZED VIEW" } else { "VIEW" };
        format!("DROP {word} {}", self.name)
    }
}

impl Change {
    /// The statement.
    #[must_use]
    pub fn sql(&self) -> String {
        match self {
            Self::Insert { head, rows, tail } => format!("{head} {}{tail}", rows.join(", ")),
            Self::Sql(sql) => sql.clone(),
        }
    }
}

impl Case {
    /// The same data with every view built from history: those that live at the end are created behind the last commit.
    #[must_use]
    pub fn rebuilt(&self) -> Self {
        let mut live = vec![false; self.views.len()];
        for step in &self.steps {
            match step {
                Step::Create(view) => live[*view] = true,
                Step::Drop(view) => live[*view] = false,
                Step::Commit(_) | Step::Restart(_) => {}
            }
        }
        let data = self.steps.iter().filter(|step| matches!(step, Step::Commit(_) | Step::Restart(_))).cloned();
        let views = live.iter().enumerate().filter(|(_, live)| **live).map(|(view, _)| Step::Create(view));
        Self { steps: data.chain(views).collect(), ..self.clone() }
    }

    /// The whole case as a script, to be typed into one of the systems.
    #[must_use]
    pub fn script(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        let mut line = |sql: &str| {
            let _ = writeln!(text, "{sql};");
        };
        for table in &self.tables {
            line(&table.create(dialect));
        }
        for step in &self.steps {
            match step {
                Step::Create(view) => line(&self.views[*view].create(dialect)),
                Step::Drop(view) => line(&self.views[*view].drop(dialect)),
                Step::Commit(changes) => {
                    let alone = changes.len() == 1;
                    if !alone {
                        line("BEGIN");
                    }
                    for change in changes {
                        line(&change.sql());
                    }
                    if !alone {
                        line("COMMIT");
                    }
                }
                Step::Restart(workers) if dialect == Dialect::Regauge => {
                    line(&format!("-- restart with {workers} workers"));
                }
                Step::Restart(_) => {}
            }
        }
        text
    }
}
