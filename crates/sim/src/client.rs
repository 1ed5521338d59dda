//! A client: transactions, producers' batches, views that come and go, tokens that are passed on, and reads that the model judges.
//!
//! A transaction whose answer is lost is asked after when the client comes back: its mark says whether it happened.

use crate::{
    bugs::Bug,
    model::{ACCOUNTS, Own, Vector},
    past,
    queries::VIEWS,
    reader,
    scenario::{Life, Trouble},
    shared::{Memory, Shared, lock},
};
use arrow::{
    array::{Array, Int32Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
    util::display::array_value_to_string,
};
use regauge_log::ProducerSeq;
use regauge_views::{Error, Instance, Response, Session, SessionOptions};
use std::{sync::Arc, time::Duration};

/// A client in one life.
pub struct Client<'a> {
    pub shared: &'a Shared,
    pub instance: &'a Instance,
    pub life: &'a Life,
    pub me: usize,
    pub session: Session,
    pub memory: Memory,
}

/// A client has no more to do in this life: why.
pub enum Stop {
    /// The log takes no more commits; the next opening tells.
    Unavailable,
    /// A promise was broken, and it was said.
    Violated,
}

type Done = Result<(), Stop>;

/// What became of a statement that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing of it is there, and one may go on.
    No,
    /// Only the next opening tells.
    Unknown,
    /// It should not have failed.
    Wrong,
}

impl<'a> Client<'a> {
    /// Comes (back) and runs its share of operations.
    pub async fn run(shared: &'a Shared, instance: &'a Instance, life: &'a Life, me: usize) {
        let memory = lock(&shared.memory)[me].clone();
        let session = match instance.session(SessionOptions::default()) {
            Ok(session) => session,
            Err(error) => return shared.violation(format!("no session: {error}")),
        };
        let mut client = Client { shared, instance, life, me, session, memory };
        let mut done = client.resume().await;
        for n in 0..life.ops {
            if done.is_err() {
                break;
            }
            if me == 0 && life.trouble == Trouble::Full && (n == life.ops / 3 || n == life.ops * 2 / 3) {
                shared.disk.fill(n == life.ops / 3);
                shared.count(if n == life.ops / 3 { "disk-full" } else { "disk-has-room-again" });
            }
            done = client.operation().await;
            lock(&shared.memory)[me] = client.memory.clone();
        }
        if matches!(done, Err(Stop::Unavailable)) {
            shared.count("client-waits-for-restart");
        }
    }

    /// Finds out what became of what it had asked for.
    async fn resume(&mut self) -> Done {
        if let Some(token) = self.memory.token.clone()
            && self.shared.bug != Some(Bug::TokenIgnored)
            && let Err(error) = self.session.set_token(&token).await
        {
            self.fail("a token of an earlier session", &error)?;
        }
        // a statement of its own: the lock must not be held in what follows
        let unanswered = lock(&self.shared.model).unanswered(self.me);
        if let Some(seq) = unanswered {
            let sql = format!("SELECT count(*) FROM marks WHERE client = {} AND seq = {seq}", self.me);
            let found = match self.rows(&sql).await {
                Ok(rows) => rows.concat(),
                Err(error) => return self.fail(&sql, &error),
            };
            self.shared.tell(&format!("{} asks after {seq}: {found}", self.me));
            match found.as_str() {
                "0" => {
                    self.shared.count("unanswered-not-there");
                    self.settled(seq, false)?;
                }
                "1" => {
                    self.shared.count("unanswered-there");
                    self.settled(seq, true)?;
                }
                n => return self.violated(format!("I2: transaction {}/{seq} is there {n} times", self.me)),
            }
        }
        for view in self.memory.views.iter().filter(|(_, sure)| !**sure).map(|(view, _)| *view).collect::<Vec<_>>() {
            match self.rows(&format!("SELECT * FROM {} LIMIT 0", self.view_name(view))).await {
                Err(error) if error.sqlstate == "42P01" => drop(self.memory.views.remove(&view)),
                Ok(_) => drop(self.memory.views.insert(view, true)),
                Err(error) => self.fail("is a view there", &error)?,
            }
        }
        self.resend().await
    }

    fn settled(&mut self, seq: i64, happened: bool) -> Done {
        let gone = {
            let mut model = lock(&self.shared.model);
            if happened {
                model.happened(self.me, seq);
                Ok(())
            } else {
                model.did_not_happen(self.me, seq)
            }
        };
        match gone {
            Ok(()) if happened => self.memory.floor[self.me] = self.memory.floor[self.me].max(seq),
            Ok(()) => {}
            Err(why) => return self.violated(why),
        }
        Ok(())
    }

    async fn operation(&mut self) -> Done {
        self.shared.count("operations");
        match self.memory.draw.below(20) {
            0..9 => self.transaction().await,
            9 | 10 => self.batch().await,
            11 => self.view().await,
            12 => self.pass_token().await,
            13 => self.checkpoint(),
            14 | 15 => self.past().await,
            _ if self.memory.draw.one_in(2) && lock(&self.shared.post).is_some() => self.pass_token().await,
            _ => self.read().await,
        }
    }

    /// One to three changes and the mark, in one transaction.
    async fn transaction(&mut self) -> Done {
        let (seq, mut own) = lock(&self.shared.model).next(self.me);
        let mut statements = vec![(format!("INSERT INTO marks VALUES ({}, {seq})", self.me), Some(1))];
        for _ in 0..1 + self.memory.draw.below(3) {
            statements.extend(change(&mut self.memory.draw, self.me, &mut own));
        }
        own.n_marks += 1;
        if self.shared.bug == Some(Bug::UpdateLost) {
            let Ok(balances) = self.rows("SELECT id, balance FROM accounts").await else { return Ok(()) };
            statements.iter_mut().for_each(|(sql, _)| lose_update(sql, &balances));
        }
        // the mark stands anywhere among them
        let to = usize::try_from(self.memory.draw.below(statements.len() as u64)).unwrap_or(0);
        let mark = statements.remove(0);
        statements.insert(to, mark);
        if self.memory.draw.one_in(2) {
            let text: Vec<&str> = statements.iter().map(|(sql, _)| sql.as_str()).collect();
            let text = text.join("; ");
            lock(&self.shared.model).ask(self.me, seq, own);
            let answer = self.rows(&text).await;
            return self.answered(seq, &text, answer).await;
        }
        let torn = self.shared.bug == Some(Bug::TransactionTorn);
        if !torn {
            self.must("BEGIN").await?;
        }
        for (sql, touched) in &statements {
            if torn {
                // what is committed piece by piece may be seen piece by piece
                lock(&self.shared.model).ask(self.me, seq, own.clone());
            }
            match self.rows(sql).await {
                Ok(tag) => {
                    let n = tag.last().and_then(|tag| tag.rsplit(' ').next()?.parse::<i64>().ok());
                    if touched.is_some() && n != *touched {
                        let all: Vec<&str> = statements.iter().map(|(sql, _)| sql.as_str()).collect();
                        return self.violated(format!("I3: {sql} answered {tag:?} and touches {touched:?} rows, in {all:?}"));
                    }
                }
                Err(error) => {
                    self.fail(sql, &error)?;
                    if torn {
                        lock(&self.shared.model).happened(self.me, seq);
                        return Ok(());
                    }
                    return self.must("ROLLBACK").await;
                }
            }
        }
        if self.memory.draw.one_in(8) {
            self.shared.count("rollbacks");
            return self.must("ROLLBACK").await;
        }
        lock(&self.shared.model).ask(self.me, seq, own);
        let answer = if torn { Ok(vec![]) } else { self.rows("COMMIT").await };
        self.answered(seq, "COMMIT", answer).await
    }

    async fn answered(&mut self, seq: i64, what: &str, answer: Result<Vec<String>, Error>) -> Done {
        self.shared.tell(&format!("{} {seq} {what}: {:?}", self.me, answer.as_ref().map_err(|e| e.sqlstate)));
        match answer {
            Ok(_) => {
                self.shared.count("acknowledged");
                self.memory.token = Some(self.session.token());
                self.settled(seq, true)?;
                // read by another session at once, or given away, while views are still on their way to it
                if self.memory.draw.one_in(4) {
                    self.hand_over().await?;
                }
                if self.memory.draw.one_in(3) {
                    *lock(&self.shared.post) = Some((self.session.token(), self.memory.floor.clone()));
                }
                Ok(())
            }
            Err(error) if error.sqlstate == "40001" && self.shared.bug == Some(Bug::RefusalAcknowledged) => {
                self.settled(seq, true)
            }
            Err(error) => match self.fate(&error) {
                Fate::No => {
                    self.shared.count(&format!("refused-{}", error.sqlstate));
                    self.settled(seq, false)
                }
                Fate::Unknown => {
                    self.shared.count("outcome-unknown");
                    Err(Stop::Unavailable)
                }
                Fate::Wrong => self.violated(format!("{what} failed: {} {error}", error.sqlstate)),
            },
        }
    }

    /// A producer's batch, sometimes twice.
    async fn batch(&mut self) -> Done {
        let n = if self.memory.draw.one_in(6) { 70 } else { 1 + self.memory.draw.int(5) };
        {
            let mut model = lock(&self.shared.model);
            let history = &mut model.clients[self.me];
            let no = history.sent.len() as i64;
            history.sent.push((n, (0..n).map(|i| value(no, i)).sum()));
        }
        self.resend().await?;
        if self.memory.draw.one_in(4) {
            self.shared.count("sent-again");
            let no = lock(&self.shared.model).clients[self.me].sent.len() - 1;
            self.send(no, true).await?;
        }
        Ok(())
    }

    /// Sends what was sent and not acknowledged.
    async fn resend(&mut self) -> Done {
        loop {
            let no = {
                let model = lock(&self.shared.model);
                let history = &model.clients[self.me];
                if history.sent_acked == history.sent.len() {
                    return Ok(());
                }
                history.sent_acked
            };
            self.send(no, false).await?;
        }
    }

    async fn send(&mut self, no: usize, again: bool) -> Done {
        let n = lock(&self.shared.model).clients[self.me].sent[no].0;
        let renumbered = again && self.shared.bug == Some(Bug::RetryRenumbered);
        let id = if renumbered { format!("retry{}-{no}", self.me) } else { format!("p{}", self.me) };
        let producer = ProducerSeq { id, incarnation: 1, sequence: if renumbered { 0 } else { no as u64 } };
        let rows = rows(self.me, no as i64, n);
        match self.session.append("events", rows, Some(producer)).await {
            Ok(duplicate) => {
                self.shared.tell(&format!("{} sent {no} duplicate={duplicate}", self.me));
                self.shared.count(if duplicate { "batches-stored-before" } else { "batches" });
                if again && !duplicate && !renumbered {
                    return self.violated(format!("I2: batch {}/{no} was acknowledged and then stored again", self.me));
                }
                let history = &mut lock(&self.shared.model).clients[self.me];
                history.sent_acked = history.sent_acked.max(no + 1);
                self.memory.token = Some(self.session.token());
                Ok(())
            }
            Err(error) => self.fail("append", &error).and(Err(Stop::Unavailable)),
        }
    }

    fn view_name(&self, view: usize) -> String {
        format!("v{}_{}", self.me, VIEWS[view].name)
    }

    /// Makes a view or drops it.
    async fn view(&mut self) -> Done {
        let view = usize::try_from(self.memory.draw.below(VIEWS.len() as u64)).unwrap_or(0);
        let name = self.view_name(view);
        let there = self.memory.views.contains_key(&view);
        let sql = if there {
            format!("DROP MATERIALIZED VIEW {name}")
        } else {
            format!("CREATE MATERIALIZED VIEW {name} AS {}", VIEWS[view].sql)
        };
        self.memory.views.insert(view, false);
        // before it is asked for: a machine that stops in the middle must not forget that it may be there
        lock(&self.shared.memory)[self.me].views.insert(view, false);
        let answer = self.rows(&sql).await;
        self.shared.tell(&format!("{} {sql}: {:?}", self.me, answer.as_ref().map_err(|e| e.sqlstate)));
        match answer {
            Ok(_) => {
                self.shared.count(if there { "views-dropped" } else { "views-made" });
                if there {
                    self.memory.views.remove(&view);
                } else {
                    self.memory.views.insert(view, true);
                }
                self.memory.token = Some(self.session.token());
                Ok(())
            }
            Err(error) => {
                self.fail(&sql, &error)?;
                if there {
                    self.memory.views.insert(view, true);
                } else {
                    self.memory.views.remove(&view);
                }
                Ok(())
            }
        }
    }

    /// Gives what it has seen away, or takes what somebody else has seen.
    async fn pass_token(&mut self) -> Done {
        let post = lock(&self.shared.post).take();
        match post {
            Some((token, floor)) => {
                if self.shared.bug != Some(Bug::TokenIgnored)
                    && let Err(error) = self.session.set_token(&token).await
                {
                    return self.fail("a token of another session", &error);
                }
                self.shared.count("tokens-passed");
                self.memory.floor.iter_mut().zip(&floor).for_each(|(own, other)| *own = (*own).max(*other));
                self.memory.token = Some(self.session.token());
                let floor = self.memory.floor.clone();
                match reader::glance(self.shared, &mut self.session, &floor).await {
                    Ok(vector) => self.saw(&vector),
                    Err(reader::Failure::Error(sql, error)) => self.fail(&sql, &error)?,
                    Err(reader::Failure::Wrong(why)) => return self.violated(format!("with a token that was passed: {why}")),
                }
                self.read().await
            }
            None => {
                *lock(&self.shared.post) = Some((self.session.token(), self.memory.floor.clone()));
                Ok(())
            }
        }
    }

    /// Another session is given the token of what this one has just written, and reads at once.
    async fn hand_over(&mut self) -> Done {
        let mut other = match self.instance.session(SessionOptions::default()) {
            Ok(session) => session,
            Err(error) => return self.fail("another session", &error),
        };
        if self.shared.bug != Some(Bug::TokenIgnored)
            && let Err(error) = other.set_token(&self.session.token()).await
        {
            return self.fail("the token of what was just written", &error);
        }
        let mut floor = self.memory.floor.clone();
        floor[self.me] = lock(&self.shared.model).certain(self.me).max(floor[self.me]);
        match reader::glance(self.shared, &mut other, &floor).await {
            Ok(_) => {
                self.shared.count("tokens-handed-over");
                Ok(())
            }
            Err(reader::Failure::Error(sql, error)) => self.fail(&sql, &error),
            Err(reader::Failure::Wrong(why)) => self.violated(format!("with the token of what was just written: {why}")),
        }
    }

    fn checkpoint(&mut self) -> Done {
        if !self.life.checkpoints.enabled {
            return Ok(());
        }
        match self.instance.checkpoint(Duration::from_secs(5)) {
            Ok(taken) => {
                self.shared.count(if taken { "checkpoints-asked-for" } else { "checkpoints-not-taken" });
                Ok(())
            }
            Err(error) => self.fail("checkpoint", &error),
        }
    }

    /// Reads everything that matters at one epoch, and a view or two.
    pub async fn read(&mut self) -> Done {
        let mut floor = self.memory.floor.clone();
        floor[self.me] = lock(&self.shared.model).certain(self.me).max(floor[self.me]);
        let chosen = self.some_views();
        let sent = lock(&self.shared.model).clients[self.me].sent_acked;
        let wanted = reader::Wanted {
            floor,
            views: chosen,
            sent: vec![(self.me, sent)],
            whole: self.memory.draw.one_in(3),
            with_views: true,
        };
        match reader::read(self.shared, &mut self.session, &wanted).await {
            Ok(vector) => {
                self.shared.count("reads");
                self.saw(&vector);
                Ok(())
            }
            Err(reader::Failure::Error(sql, error)) => {
                self.fail(&sql, &error)?;
                if self.session.status() != regauge_views::TransactionStatus::Idle {
                    self.must("ROLLBACK").await?;
                }
                Ok(())
            }
            Err(reader::Failure::Wrong(why)) => self.violated(why),
        }
    }

    /// A view or two of its own.
    fn some_views(&mut self) -> Vec<(String, usize)> {
        let views: Vec<usize> = self.memory.views.iter().filter(|(_, sure)| **sure).map(|(view, _)| *view).collect();
        let n = self.memory.draw.below(3).min(views.len() as u64);
        (0..n)
            .map(|_| {
                let view = self.memory.draw.pick(&views);
                (self.view_name(view), view)
            })
            .collect()
    }

    /// Asks for what an epoch held that somebody has read.
    async fn past(&mut self) -> Done {
        let asked = lock(&self.shared.past).draw(&mut self.memory.draw);
        let Some(asked) = asked else { return self.read().await };
        let (views, whole) = (self.some_views(), self.memory.draw.one_in(3));
        match past::ask(self.shared, self.instance, &mut self.session, &asked, views, whole).await {
            Ok(()) => Ok(()),
            Err(reader::Failure::Error(sql, error)) => self.fail(&sql, &error),
            Err(reader::Failure::Wrong(why)) => self.violated(why),
        }
    }

    fn saw(&mut self, vector: &Vector) {
        self.memory.floor.iter_mut().zip(vector).for_each(|(floor, seen)| *floor = (*floor).max(*seen));
        self.memory.token = Some(self.session.token());
    }

    async fn must(&mut self, sql: &str) -> Done {
        match self.rows(sql).await {
            Ok(_) => Ok(()),
            Err(error) => self.fail(sql, &error),
        }
    }

    /// An error of something whose outcome does not matter, or is told by the next opening.
    fn fail(&mut self, what: &str, error: &Error) -> Done {
        match self.fate(error) {
            Fate::No => {
                self.shared.count(&format!("failed-{}", error.sqlstate));
                Ok(())
            }
            Fate::Unknown => Err(Stop::Unavailable),
            Fate::Wrong => self.violated(format!("{what} failed: {} {error}", error.sqlstate)),
        }
    }

    fn fate(&self, error: &Error) -> Fate {
        let troubled = self.life.is_troubled();
        match error.sqlstate {
            // somebody else was first; a view is still being built
            "40001" | "RG004" => Fate::No,
            "XX000" | "XX001" | "RG006" => Fate::Wrong,
            "53100" if troubled || self.life.trouble == Trouble::Full => Fate::No,
            _ if troubled => Fate::Unknown,
            _ => Fate::Wrong,
        }
    }

    fn violated(&self, why: String) -> Done {
        self.shared.violation(format!("client {}: {why}", self.me));
        Err(Stop::Violated)
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        rows_of(&mut self.session, sql).await
    }
}

/// Rows of the last statement of a text, or its tag.
pub async fn rows_of(session: &mut Session, sql: &str) -> Result<Vec<String>, Error> {
    let mut last = vec![];
    for response in session.execute(sql).await? {
        last = match response {
            Response::Rows(rows) => lines(&rows.collect().await?),
            Response::Command { tag, .. } => vec![tag],
            _ => vec![],
        };
    }
    Ok(last)
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let cell = |column: &Arc<dyn Array>, row| match column.is_null(row) {
        true => "NULL".to_owned(),
        false => array_value_to_string(column, row).unwrap_or_else(|error| error.to_string()),
    };
    let line = |batch: &RecordBatch, row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|");
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| line(batch, row))).collect()
}

/// A row's value: what anybody can work out again.
pub fn value(batch: i64, i: i64) -> i64 {
    (batch * 31 + i * 7) % 100
}

fn rows(client: usize, batch: i64, n: i64) -> RecordBatch {
    let small = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    let field = |name: &str, ty| Field::new(name, ty, true);
    let schema = Schema::new(vec![
        field("client", DataType::Int32),
        field("batch", DataType::Int32),
        field("i", DataType::Int32),
        field("val", DataType::Int64),
    ]);
    let same = |value: i64| Arc::new(Int32Array::from_iter_values((0..n).map(|_| small(value))));
    let columns: Vec<Arc<dyn Array>> = vec![
        same(client as i64),
        same(batch),
        Arc::new(Int32Array::from_iter_values((0..n).map(small))),
        Arc::new(Int64Array::from_iter_values((0..n).map(|i| value(batch, i)))),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length")
}

/// Writes what somebody made of a balance that was read before the transaction began.
fn lose_update(sql: &mut String, balances: &[String]) {
    let Some((head, id)) = sql.rsplit_once(" WHERE id = ") else { return };
    let Some(amount) = head.strip_prefix("UPDATE accounts SET balance = balance ").map(|a| a.replace(' ', "")) else { return };
    let read = balances.iter().find_map(|row| row.strip_prefix(&format!("{id}|"))?.parse::<i64>().ok());
    let made = read.unwrap_or(0) + amount.parse::<i64>().unwrap_or(0);
    *sql = format!("UPDATE accounts SET balance = {made} WHERE id = {id}");
}

/// A change as statements, each with the number of rows that it touches, done to the model as well.
fn change(draw: &mut crate::scenario::Draw, me: usize, own: &mut Own) -> Vec<(String, Option<i64>)> {
    let x = draw.int(14);
    match draw.below(9) {
        0..3 => {
            let (from, to, amount) = (draw.int(ACCOUNTS), draw.int(ACCOUNTS), 1 + draw.int(100));
            *own.moved.entry(from).or_default() -= amount;
            *own.moved.entry(to).or_default() += amount;
            let update = |id, sign| (format!("UPDATE accounts SET balance = balance {sign} {amount} WHERE id = {id}"), Some(1));
            vec![update(from, '-'), update(to, '+')]
        }
        3 | 4 => {
            let (id, kind) = (me as i64 * 1000 + draw.int(12), draw.pick(&["a", "b", "c", "ü"]));
            own.items.insert(id, (kind.to_owned(), x));
            let values = format!("INSERT INTO items VALUES ({id}, {me}, '{kind}', {x})");
            vec![(format!("{values} ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, qty = excluded.qty"), Some(1))]
        }
        5 => {
            let rest = draw.int(3);
            let hit = own.items.iter_mut().filter(|(id, _)| **id % 3 == rest);
            let n = hit.map(|(_, item)| item.1 += 1).count() as i64;
            vec![(format!("UPDATE items SET qty = qty + 1 WHERE owner = {me} AND id % 3 = {rest}"), Some(n))]
        }
        6 => {
            let before = own.items.len();
            own.items.retain(|_, item| item.1 != x);
            vec![(format!("DELETE FROM items WHERE owner = {me} AND qty = {x}"), Some((before - own.items.len()) as i64))]
        }
        7 => {
            let n = 1 + draw.int(3);
            *own.bag.entry(x).or_default() += n;
            let rows: Vec<String> = (0..n).map(|_| format!("({me}, {x})")).collect();
            vec![(format!("INSERT INTO bag VALUES {}", rows.join(", ")), Some(n))]
        }
        _ => {
            let n = own.bag.remove(&x).unwrap_or(0);
            if draw.one_in(2) {
                return vec![(format!("DELETE FROM bag WHERE owner = {me} AND x = {x}"), Some(n))];
            }
            if n > 0 {
                *own.bag.entry(x + 1).or_default() += n;
            }
            vec![(format!("UPDATE bag SET x = x + 1 WHERE owner = {me} AND x = {x}"), Some(n))]
        }
    }
}
