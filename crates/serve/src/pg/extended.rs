//! The extended protocol: statements with parameters, portals, rows in portions.
//!
//! ```text
//!   Parse ─▶ statement (text, types, columns) ─Bind─▶ portal (values, formats) ─Execute─▶ rows | tag | COPY ─▶ suspended | done
//! ```
//! A statement alone before its Sync is run as a statement of its own, again after a conflict; more of them before one Sync are one
//! transaction, as in PostgreSQL. Which it is, the letter of the next message tells: who sent an Execute must send something more.
//! Portals end with their transaction. They share their names with cursors: what DECLARE has made is described, run and closed here
//! by its name, too.

use super::{
    back,
    connection::{Connection, check_width},
    copy, decode,
    frame::Wire,
    message::{Bind, Front, Target, violation},
    place,
    rows::{Cursor, Ended, attended},
    types::{self, Shape, Type},
};
use arrow::{array::ArrayRef, datatypes::Schema};
use futures::StreamExt;
use regauge_types::ErrorKind;
use regauge_views::{Error, Prepared, Response, TransactionStatus, error::sqlstate as code};
use std::{collections::HashMap, sync::Arc};

/// Statements that one client may keep.
const STATEMENTS_MAX: usize = 10_000;
/// Portals that one client may keep.
const PORTALS_MAX: usize = 1_000;

/// What one client keeps.
#[derive(Default)]
pub struct Extended {
    statements: HashMap<String, Arc<Statement>>,
    portals: HashMap<String, Portal>,
}

struct Statement {
    prepared: Prepared,
    /// As it came, for the places of errors.
    sql: String,
    oids: Vec<u32>,
    /// Columns as text; none for what gives no rows.
    shapes: Option<Vec<Shape>>,
}

struct Portal {
    statement: Arc<Statement>,
    values: Vec<ArrayRef>,
    shapes: Option<Vec<Shape>>,
    state: State,
}

enum State {
    Ready,
    Running(Cursor),
    Done,
}

impl Extended {
    /// A row of messages has ended, outside of a transaction: so have its portals.
    pub fn end(&mut self) {
        self.portals.clear();
    }

    /// CLOSE has ended a portal.
    pub fn close(&mut self, portal: &str) {
        self.portals.remove(portal);
    }

    /// DEALLOCATE: one statement or all.
    pub fn deallocate(&mut self, name: Option<&str>) {
        match name {
            Some(name) => drop(self.statements.remove(name)),
            None => self.statements.clear(),
        }
    }

    fn statement(&self, name: &str) -> Result<Arc<Statement>, Error> {
        let unknown = || {
            let what =
                if name.is_empty() { "unnamed prepared statement".to_owned() } else { format!("prepared statement \"{name}\"") };
            Error::new(ErrorKind::NotFound, "26000", format!("{what} does not exist"))
        };
        self.statements.get(name).cloned().ok_or_else(unknown)
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "34000", format!("portal \"{name}\" does not exist"))
}

fn aborted() -> Error {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    Error::invalid(code::FAILED_TRANSACTION, message).hint("ROLLBACK")
}

impl Connection {
    /// Answers a message of the extended protocol.
    pub async fn extended(&mut self, wire: &mut Wire, front: Front) -> Result<(), Ended> {
        match front {
            Front::Parse { name, sql, oids } => {
                self.parse(name, &sql, &oids).await?;
                back::bare(&mut wire.output, b'1');
            }
            Front::Bind(bind) => {
                self.bind(bind)?;
                back::bare(&mut wire.output, b'2');
            }
            Front::Describe(Target::Statement(name)) => {
                let statement = self.extended.statement(&name)?;
                back::parameters(&mut wire.output, &statement.oids);
                describe(wire, statement.shapes.as_deref());
            }
            Front::Describe(Target::Portal(name)) => match self.extended.portals.get(&name) {
                Some(portal) => describe(wire, portal.shapes.as_deref()),
                None => describe(wire, Some(&self.cursor(&name)?)),
            },
            Front::Execute { portal, rows_max } => self.run_portal(wire, portal, rows_max).await?,
            Front::Close(target) => {
                match target {
                    Target::Statement(name) => {
                        self.extended.deallocate(Some(&name));
                        self.session.statement_kept(&name, false);
                    }
                    Target::Portal(name) => {
                        self.extended.close(&name);
                        self.session.portal_closed(&name);
                    }
                }
                back::bare(&mut wire.output, b'3');
            }
            _ => return Err(violation("unexpected message type").into()),
        }
        wire.relieve().await?;
        Ok(())
    }

    async fn parse(&mut self, name: String, sql: &str, oids: &[u32]) -> Result<(), Error> {
        if !name.is_empty() {
            if self.extended.statements.contains_key(&name) {
                return Err(Error::new(ErrorKind::Conflict, "42P05", format!("prepared statement \"{name}\" already exists")));
            }
            if self.extended.statements.len() >= STATEMENTS_MAX {
                let message = format!("too many prepared statements max={STATEMENTS_MAX}");
                return Err(
                    Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, message).hint("DEALLOCATE those that are not needed")
                );
            }
        }
        // The unnamed statement goes even when the new one fails.
        self.extended.statements.remove(&name);
        let known: Vec<_> = oids.iter().map(|oid| types::parameter(*oid)).collect();
        let prepared = self.session.prepare(sql, &known).await.map_err(|e| place::placed(e, sql))?;
        self.check_failed(&prepared)?;
        let oids = prepared.params.iter().enumerate().map(|(at, ty)| match oids.get(at) {
            Some(oid) if *oid != 0 && types::parameter(*oid).is_some() => *oid,
            _ => types::told(ty, prepared.oid_params.contains(&at)),
        });
        let oids = oids.collect();
        let shapes = prepared.columns.as_deref().map(|columns| Shape::of_prepared(columns, prepared.reads_catalogs_only));
        check_width(shapes.as_deref().unwrap_or_default())?;
        if !name.is_empty() {
            self.session.statement_kept(&name, true);
        }
        self.extended.statements.insert(name, Arc::new(Statement { prepared, sql: sql.to_owned(), oids, shapes }));
        Ok(())
    }

    /// In a failed transaction only what ends it is heard.
    fn check_failed(&self, prepared: &Prepared) -> Result<(), Error> {
        if self.session.status() == TransactionStatus::Failed && !prepared.ends_transaction() && !prepared.is_empty() {
            return Err(aborted());
        }
        Ok(())
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Error> {
        let statement = self.extended.statement(&bind.statement)?;
        self.check_failed(&statement.prepared)?;
        let params = &statement.prepared.params;
        if bind.values.len() != params.len() {
            let (n, needed) = (bind.values.len(), params.len());
            return Err(violation(format!("bind message supplies {n} parameters, but the prepared statement requires {needed}")));
        }
        let _zone = regauge_plan::local::enter(self.session.zone());
        let formats = spread(&bind.formats, params.len(), "parameter")?;
        let values = bind.values.iter().zip(params).zip(&formats).zip(&statement.oids);
        let values = values.map(|(((value, ty), binary), oid)| {
            let value = value.as_ref().map(|bytes| decode::widened(bytes.clone(), *binary && *oid == 26));
            decode::value(ty, value.as_ref(), *binary)
        });
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let mut shapes = statement.shapes.clone();
        let results = spread(&bind.results, shapes.as_ref().map_or(0, Vec::len), "result")?;
        for (shape, binary) in shapes.iter_mut().flatten().zip(results) {
            shape.binary = binary;
        }
        if self.extended.portals.len() >= PORTALS_MAX {
            let message = format!("too many portals max={PORTALS_MAX}");
            return Err(Error::new(ErrorKind::Exhausted, code::LIMIT_EXCEEDED, message).hint("close those that are read"));
        }
        if !bind.portal.is_empty() {
            self.session.portal_opened(&bind.portal)?;
        }
        self.extended.portals.insert(bind.portal, Portal { statement, values, shapes, state: State::Ready });
        Ok(())
    }

    async fn run_portal(&mut self, wire: &mut Wire, name: String, rows_max: usize) -> Result<(), Ended> {
        let Some(mut portal) = self.extended.portals.remove(&name) else { return self.run_cursor(wire, &name, rows_max).await };
        let outcome = self.execute(wire, &mut portal, rows_max).await;
        // Of a portal that failed nothing is left, not even its name.
        if outcome.is_ok() {
            self.extended.portals.insert(name, portal);
        } else {
            self.session.portal_closed(&name);
        }
        outcome
    }

    /// The columns of a cursor, as text.
    fn cursor(&self, name: &str) -> Result<Vec<Shape>, Error> {
        let columns = self.session.cursor_columns(name).ok_or_else(|| no_portal(name))?;
        if self.session.status() == TransactionStatus::Failed {
            return Err(aborted());
        }
        let shapes = Shape::of(&columns);
        check_width(&shapes)?;
        Ok(shapes)
    }

    async fn run_cursor(&mut self, wire: &mut Wire, name: &str, rows_max: usize) -> Result<(), Ended> {
        let shapes = self.cursor(name)?;
        let (batches, ended) = self.session.advance_cursor(name, (rows_max > 0).then_some(rows_max as u64)).await?;
        let rows = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
        let tag = Cursor::new(rows, shapes, "SELECT".to_owned(), self.session.zone()).send(wire, 0).await?.unwrap_or_default();
        if ended {
            back::complete(&mut wire.output, &tag);
        } else {
            back::bare(&mut wire.output, b's');
        }
        Ok(())
    }

    async fn execute(&mut self, wire: &mut Wire, portal: &mut Portal, rows_max: usize) -> Result<(), Ended> {
        let prepared = &portal.statement.prepared;
        if prepared.is_empty() {
            back::bare(&mut wire.output, b'I');
            return Ok(());
        }
        self.check_failed(prepared)?;
        if let State::Ready = portal.state {
            if self.session.status() == TransactionStatus::Idle && self.peek(wire).await? != b'S' {
                self.session.open_implicit();
            }
            let cancel = self.session.cancel_handle();
            let ran = attended(self.session.run(prepared, &portal.values), || cancel.cancel(), wire).await?;
            match ran.map_err(|e| place::placed(e, &portal.statement.sql))? {
                Response::Rows(rows) => {
                    rows.notices.iter().for_each(|n| back::said(&mut wire.output, n));
                    check_columns(prepared, &rows.schema)?;
                    let shapes = portal.shapes.clone().unwrap_or_default();
                    portal.state = State::Running(Cursor::new(rows.stream, shapes, rows.tag, self.session.zone()));
                }
                Response::Subscription(changes) => {
                    check_columns(prepared, &changes.schema)?;
                    let shapes = portal.shapes.clone().unwrap_or_default();
                    portal.state = State::Running(Cursor::live(changes.stream, shapes, self.session.zone()));
                }
                Response::Command { tag, notices } => {
                    notices.iter().for_each(|n| back::said(&mut wire.output, n));
                    self.settle(wire, &tag);
                    back::complete(&mut wire.output, &tag);
                    portal.state = State::Done;
                    return Ok(());
                }
                Response::CopyOut(copy) => {
                    let tag = copy::send(wire, copy).await?;
                    back::complete(&mut wire.output, &tag);
                    portal.state = State::Done;
                    return Ok(());
                }
                Response::CopyIn(copy) => {
                    let tag = copy::run(&mut self.session, wire, copy, self.door.statement_bytes).await?;
                    back::complete(&mut wire.output, &tag);
                    portal.state = State::Done;
                    return Ok(());
                }
            }
        }
        match &mut portal.state {
            State::Running(cursor) => match cursor.send(wire, rows_max).await? {
                Some(tag) => {
                    back::complete(&mut wire.output, &tag);
                    portal.state = State::Done;
                }
                None => back::bare(&mut wire.output, b's'),
            },
            _ if portal.shapes.is_some() => back::complete(&mut wire.output, "SELECT 0"),
            _ => return Err(Error::invalid("55000", "portal cannot be run again").into()),
        }
        Ok(())
    }

    /// The letter of the next message.
    async fn peek(&mut self, wire: &mut Wire) -> Result<u8, Ended> {
        let stop = self.door.stop.clone();
        tokio::select! {
            letter = wire.peek() => Ok(letter?),
            () = stop.cancelled() => Err(Ended::Gone),
        }
    }
}

fn describe(wire: &mut Wire, shapes: Option<&[Shape]>) {
    match shapes {
        Some(shapes) => back::columns(&mut wire.output, shapes),
        None => back::bare(&mut wire.output, b'n'),
    }
}

/// Format codes, one each: none given means text, one given means all.
fn spread(codes: &[i16], n: usize, what: &str) -> Result<Vec<bool>, Error> {
    match codes {
        [] => Ok(vec![false; n]),
        [one] => Ok(vec![*one == 1; n]),
        each if each.len() == n => Ok(each.iter().map(|code| *code == 1).collect()),
        each => Err(violation(format!("bind message has {} {what} formats but {n} {what}s", each.len()))),
    }
}

/// The client was told of these columns: a catalog that changed since must not give it others.
fn check_columns(prepared: &Prepared, schema: &Schema) -> Result<(), Error> {
    let told = prepared.columns.iter().flat_map(|columns| columns.fields());
    let same = prepared.columns.as_ref().is_some_and(|c| c.fields().len() == schema.fields().len())
        && told.zip(schema.fields()).all(|(a, b)| Type::of(a.data_type()) == Type::of(b.data_type()));
    if same {
        Ok(())
    } else {
        Err(Error::unsupported("cached plan must not change result type").hint("prepare the statement again"))
    }
}
