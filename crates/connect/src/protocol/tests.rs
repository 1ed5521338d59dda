//! The protocol against a target that is a value, under random schedules: faults before, during and after each step, writers that come
//! back from the dead, changes that are lost, versions that are replaced.

use super::*;
use proptest::prelude::*;

/// A target that keeps the protocol's rules, and what was written to it.
#[derive(Clone, Debug, Default)]
struct Target {
    record: Record,
    /// The sum of all that was written: the value of the source, if nothing is missing or double.
    sum: i64,
}

/// A relation of one number: its value at an epoch of a version is a function of both.
fn value(mark: Mark) -> i64 {
    let mixed = (u64::from(mark.version) << 32 ^ mark.epoch).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    i64::try_from(mixed >> 40).unwrap_or(0)
}

impl Target {
    fn claim(&mut self) -> Record {
        self.record.incarnation += 1;
        self.record
    }

    fn write(&mut self, mine: u64, from: Option<Mark>, to: Mark, content: Content) -> Result<(), Fault> {
        if self.record.incarnation != mine {
            return Err(Fault::Fenced { found: self.record.incarnation, mine });
        }
        if self.record.mark != from {
            return Err(Fault::Moved);
        }
        match content {
            Content::Whole(value) => self.sum = value,
            Content::Change(diff) => self.sum += diff,
        }
        self.record.mark = Some(to);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Whole(i64),
    Change(i64),
}

/// A writer: its state, and what it has at hand.
#[derive(Clone, Debug)]
struct Writer {
    state: State,
    content: Content,
}

/// What happens next, out of the schedule's hands.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The source goes on by some epochs.
    Grow(u8),
    /// The view is replaced.
    Replace,
    /// A writer acts, and all goes well.
    Act(usize),
    /// A writer acts and the target does not hear of it.
    Lost(usize),
    /// A writer acts, the target does it, and the writer does not hear of it.
    Unheard(usize),
    /// The changes that a writer would follow are compacted away.
    Compact(usize),
    /// A writer is killed, and another one opened in its place.
    Reopen(usize),
    /// A writer is opened beside the others, which live on.
    Second,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..3_usize;
    let one = prop_oneof![
        3 => (1..4_u8).prop_map(Step::Grow),
        1 => Just(Step::Replace),
        12 => who.clone().prop_map(Step::Act),
        2 => who.clone().prop_map(Step::Lost),
        2 => who.clone().prop_map(Step::Unheard),
        1 => who.clone().prop_map(Step::Compact),
        1 => who.prop_map(Step::Reopen),
        1 => Just(Step::Second),
    ];
    prop::collection::vec(one, 1..200)
}

#[derive(Clone, Copy, PartialEq)]
enum Net {
    Well,
    Lost,
    Unheard,
}

fn act(writer: &mut Writer, target: &mut Target, now: Mark, net: Net) {
    let down = || Fact::Failed(Fault::Refused("down".into()));
    let fact = match writer.state.action() {
        Action::Stop => return,
        Action::Ask { .. } if net == Net::Lost => down(),
        Action::Ask { mine, .. } => {
            let record = if mine.is_none() { target.claim() } else { target.record };
            // Unheard: the incarnation is taken, and nobody knows.
            if net == Net::Unheard { down() } else { Fact::Answered { record, version: now.version, durable: now.epoch } }
        }
        Action::Take => {
            writer.content = Content::Whole(value(now));
            Fact::Rows(now)
        }
        Action::Look { after } if after.version != now.version => Fact::Gap,
        Action::Look { after } if after == now => Fact::Quiet(now),
        Action::Look { .. } => {
            let State::Following { from, .. } = writer.state else { unreachable!("it looks") };
            writer.content = Content::Change(value(now) - value(from));
            Fact::Changes(now)
        }
        Action::Write { .. } if net == Net::Lost => down(),
        Action::Write { mine, from, to } => match target.write(mine, from, to, writer.content) {
            _ if net == Net::Unheard => down(),
            Ok(()) => Fact::Committed,
            Err(fault) => Fact::Failed(fault),
        },
    };
    writer.state = decide(writer.state.clone(), fact);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_target_is_the_source_at_its_mark_whatever_happens(steps in steps()) {
        let mut target = Target::default();
        let mut now = Mark { version: 1, epoch: 1 };
        let new = || Writer { state: State::opened(), content: Content::Change(0) };
        let mut writers = vec![new()];
        let mut last: Option<Mark> = None;
        for step in steps {
            let n = writers.len();
            match step {
                Step::Grow(by) => now.epoch += u64::from(by),
                Step::Replace => now = Mark { version: now.version + 1, epoch: now.epoch + 1 },
                Step::Act(who) => act(&mut writers[who % n], &mut target, now, Net::Well),
                Step::Lost(who) => act(&mut writers[who % n], &mut target, now, Net::Lost),
                Step::Unheard(who) => act(&mut writers[who % n], &mut target, now, Net::Unheard),
                Step::Compact(who) => {
                    let writer = &mut writers[who % n];
                    if matches!(writer.state, State::Following { .. }) {
                        writer.state = decide(writer.state.clone(), Fact::Gap);
                    }
                }
                Step::Reopen(who) => writers[who % n] = new(),
                Step::Second => writers.push(new()),
            }
            if let Some(mark) = target.record.mark {
                prop_assert_eq!(target.sum, value(mark), "gap or double at {:?}", mark);
                prop_assert!(last.is_none_or(|l| l.epoch <= mark.epoch), "the target went back");
                last = Some(mark);
            }
            for writer in &writers {
                if let State::Stopped { fenced, why } = &writer.state {
                    prop_assert!(*fenced, "stopped for no reason: {}", why);
                }
            }
        }
        // Left in peace, the writer that was opened last brings the target to the source.
        writers.push(new());
        for _ in 0..10 {
            let at = writers.len() - 1;
            act(&mut writers[at], &mut target, now, Net::Well);
        }
        prop_assert_eq!(target.record.mark, Some(now));
        prop_assert_eq!(target.sum, value(now));
    }
}

const M5: Mark = Mark { version: 1, epoch: 5 };
const M7: Mark = Mark { version: 1, epoch: 7 };

fn asked(mine: Option<u64>, sent: Option<(Option<Mark>, Mark)>, record: Record) -> State {
    let state = State::Asking { mine, sent, failures: 3 };
    decide(state, Fact::Answered { record, version: 1, durable: 9 })
}

#[test]
fn an_unknown_outcome_is_what_the_target_says() {
    let sent = Some((Some(M5), M7));
    let at = |mark| asked(Some(2), sent, Record { incarnation: 2, mark: Some(mark) });
    assert_eq!(at(M7), State::Following { mine: 2, from: M7, seen: M7, failures: 0 });
    assert_eq!(at(M5), State::Following { mine: 2, from: M5, seen: M5, failures: 3 });
    let State::Stopped { fenced: false, why } = at(Mark { version: 1, epoch: 6 }) else { panic!("it goes on") };
    assert!(why.contains("nobody has written"), "{why}");
}

#[test]
fn who_is_fenced_stops_and_says_so() {
    let state = asked(Some(2), None, Record { incarnation: 3, mark: Some(M5) });
    assert!(matches!(&state, State::Stopped { fenced: true, .. }));
    assert_eq!(decide(state.clone(), Fact::Committed), state);
}

#[test]
fn a_target_that_is_ahead_or_has_forgotten_stops_the_sink() {
    let ahead = Record { incarnation: 1, mark: Some(Mark { version: 1, epoch: 10 }) };
    assert!(matches!(asked(None, None, ahead), State::Stopped { fenced: false, .. }));
    assert!(matches!(asked(Some(2), None, Record { incarnation: 1, mark: None }), State::Stopped { fenced: false, .. }));
}

#[test]
fn another_version_is_written_whole() {
    let record = Record { incarnation: 1, mark: Some(Mark { version: 9, epoch: 5 }) };
    assert!(matches!(asked(None, None, record), State::Whole { mine: 1, from: Some(_), .. }));
}

#[test]
fn waits_grow_to_a_bound() {
    assert_eq!(backoff(0), Duration::ZERO);
    assert_eq!(backoff(2), 2 * backoff(1));
    assert_eq!(backoff(40), WAIT_MAX);
}
