//! What must be there: plain collections, one history per client, each state named by the number of the transaction that led to it.
//!
//! Each transaction of a client brings a mark (client, number) in the stream `marks`, so a reader of marks knows which transactions an epoch
//! holds, and what a crash left of one whose answer was lost. Clients change rows of their own only, and balances of all by amounts (which
//! commute), so the state of everything at an epoch is a function of one number per client. The model shares no code with the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Accounts; each is in a branch.
pub const ACCOUNTS: i64 = 12;
/// Branches.
pub const BRANCHES: i64 = 4;

/// What one client has made of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its rows of `items`: kind and quantity by id.
    pub items: BTreeMap<i64, (String, i64)>,
    /// Its rows of `bag`, which has no key: how often each value is there.
    pub bag: BTreeMap<i64, i64>,
    /// By how much it has changed each balance.
    pub moved: BTreeMap<i64, i64>,
    /// Its transactions so far.
    pub n_marks: i64,
}

/// One client's history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The state after each transaction that happened, by its number; 0 is before the first.
    states: BTreeMap<i64, Arc<Own>>,
    /// A transaction that was asked for and not answered yet.
    maybe: Option<(i64, Arc<Own>)>,
    /// The last transaction that was acknowledged, or seen by somebody.
    certain: i64,
    /// Batches sent by its producer: rows and sum of each that was asked for.
    pub sent: Vec<(i64, i64)>,
    /// How many of them were acknowledged.
    pub sent_acked: usize,
}

/// All of it.
#[derive(Debug)]
pub struct Model {
    /// By client.
    pub clients: Vec<History>,
}

/// One number per client: which of its transactions an epoch holds.
pub type Vector = Vec<i64>;

/// Everything at an epoch.
#[derive(Debug)]
pub struct All {
    /// By client.
    pub own: Vec<Arc<Own>>,
}

impl Model {
    /// Nothing has happened.
    pub fn new(n_clients: usize) -> Model {
        let history = History { states: BTreeMap::from([(0, Arc::default())]), ..History::default() };
        Model { clients: vec![history; n_clients] }
    }

    /// The state that a client's next transaction begins with, and its number.
    pub fn next(&self, client: usize) -> (i64, Own) {
        let history = &self.clients[client];
        let (last, state) = history.states.last_key_value().map(|(n, s)| (*n, s.clone())).unwrap_or_default();
        let asked = history.maybe.as_ref().map_or(0, |(n, _)| *n);
        (last.max(asked) + 1, (*state).clone())
    }

    /// A transaction is about to be asked for.
    pub fn ask(&mut self, client: usize, seq: i64, state: Own) {
        self.clients[client].maybe = Some((seq, Arc::new(state)));
    }

    /// It is known to have happened.
    pub fn happened(&mut self, client: usize, seq: i64) {
        let history = &mut self.clients[client];
        if let Some((n, state)) = history.maybe.take_if(|(n, _)| *n == seq) {
            history.states.insert(n, state);
        }
        history.certain = history.certain.max(seq);
    }

    /// It is known not to have happened. Wrong if somebody has seen it.
    pub fn did_not_happen(&mut self, client: usize, seq: i64) -> Result<(), String> {
        let history = &mut self.clients[client];
        history.maybe = None;
        if history.certain >= seq {
            return Err(format!("I1: transaction {client}/{seq} was seen by a reader and is gone"));
        }
        Ok(())
    }

    /// The transaction whose answer was lost, if there is one.
    pub fn unanswered(&self, client: usize) -> Option<i64> {
        self.clients[client].maybe.as_ref().map(|(n, _)| *n)
    }

    /// The last transaction that must be there.
    pub fn certain(&self, client: usize) -> i64 {
        self.clients[client].certain
    }

    /// Everything at an epoch that holds these transactions; says what is wrong with that.
    pub fn at(&mut self, vector: &Vector, counts: &[i64], at_least: &[i64]) -> Result<All, String> {
        let mut own = vec![];
        for (client, history) in self.clients.iter_mut().enumerate() {
            let n = vector[client];
            if n < at_least[client] {
                return Err(format!("I7: a read shows client {client} at {n} and must show it at {} at least", at_least[client]));
            }
            let known = history.states.get(&n).or(history.maybe.as_ref().filter(|(m, _)| *m == n).map(|(_, s)| s));
            let Some(state) = known.cloned() else {
                return Err(format!("a read shows transaction {client}/{n}, which never happened: {:?}", history.states.keys()));
            };
            if state.n_marks != counts[client] {
                let found = counts[client];
                return Err(format!(
                    "I2: {found} marks of client {client} up to {n}, and there were {} transactions",
                    state.n_marks
                ));
            }
            history.certain = history.certain.max(n);
            own.push(state);
        }
        Ok(All { own })
    }
}

impl All {
    /// Balance of an account.
    pub fn balance(&self, account: i64) -> i64 {
        self.own.iter().map(|own| own.moved.get(&account).copied().unwrap_or(0)).sum()
    }

    /// (id, owner, kind, quantity) of all items.
    pub fn items(&self) -> impl Iterator<Item = (i64, usize, &str, i64)> {
        self.own
            .iter()
            .enumerate()
            .flat_map(|(owner, own)| own.items.iter().map(move |(id, (kind, qty))| (*id, owner, kind.as_str(), *qty)))
    }

    /// (owner, value, how often) of the bag.
    pub fn bag(&self) -> impl Iterator<Item = (usize, i64, i64)> {
        self.own
            .iter()
            .enumerate()
            .flat_map(|(owner, own)| own.bag.iter().filter(|(_, n)| **n > 0).map(move |(x, n)| (owner, *x, *n)))
    }

    /// Values in the bag.
    pub fn bag_values(&self) -> BTreeSet<i64> {
        self.bag().map(|(_, x, _)| x).collect()
    }
}
