//! A path over a value. What it finds are parts of the value; an error of the value's shape ends a strict path and is nothing to a lax
//! one, and within a filter it makes the condition unknown.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::super::Json;
use super::{Compare, Expr, Path, Step, Test};
use crate::functions::error::{EvalError, EvalResult};

/// More items than this are not gathered.
const ITEMS_MAX: usize = 10_000_000;

/// What a condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can say.
    Unknown,
}

impl Answer {
    fn of(holds: bool) -> Answer {
        if holds { Answer::True } else { Answer::False }
    }
}

type Item<'v> = Cow<'v, Json<'v>>;

/// A path being run over one value.
#[derive(Debug)]
pub struct Run<'v> {
    path: &'v Path,
    root: &'v Json<'v>,
    variables: Option<&'v Json<'v>>,
}

impl<'v> Run<'v> {
    /// Over `root`, with an object of variables.
    pub fn new(path: &'v Path, root: &'v Json<'v>, variables: Option<&'v Json<'v>>) -> Run<'v> {
        Run { path, root, variables }
    }

    /// All items that the path leads to.
    ///
    /// # Errors
    /// 2203A and its kin: a strict path that the value does not fit; 42704 for a variable that is not there.
    pub fn items(&self) -> EvalResult<Vec<Item<'v>>> {
        self.expr(&self.path.root, None)
    }

    fn expr(&self, e: &'v Expr, current: Option<&Item<'v>>) -> EvalResult<Vec<Item<'v>>> {
        Ok(match e {
            Expr::Root => vec![Cow::Borrowed(self.root)],
            Expr::Current => {
                vec![current.cloned().ok_or_else(|| EvalError::new("42601", "@ is not allowed in root expressions"))?]
            }
            Expr::Variable(name) => {
                let found = match self.variables {
                    Some(Json::Object(fields)) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
                    _ => None,
                };
                let found =
                    found.ok_or_else(|| EvalError::new("42704", format!("could not find jsonpath variable \"{name}\"")))?;
                vec![Cow::Borrowed(found)]
            }
            Expr::Value(value) => vec![Cow::Borrowed(value)],
            Expr::Steps(from, steps) => {
                let mut items = self.expr(from, current)?;
                for step in steps {
                    let mut next = vec![];
                    for item in items {
                        self.step(step, item, &mut next)?;
                        if next.len() > ITEMS_MAX {
                            return Err(EvalError::new("54000", "a jsonpath gives too many items"));
                        }
                    }
                    items = next;
                }
                items
            }
            Expr::Holds(test) => vec![Cow::Owned(match self.test(test, current)? {
                Answer::True => Json::Bool(true),
                Answer::False => Json::Bool(false),
                Answer::Unknown => Json::Null,
            })],
        })
    }

    fn step(&self, step: &'v Step, item: Item<'v>, out: &mut Vec<Item<'v>>) -> EvalResult<()> {
        let strict = self.path.strict;
        // a lax path looks into arrays where it wants something else
        if !strict && matches!(step, Step::Key(_) | Step::AnyKey | Step::Filter(_)) && matches!(*item, Json::Array(_)) {
            for inner in children(item) {
                self.step_within(step, inner, out)?;
            }
            return Ok(());
        }
        self.step_within(step, item, out)
    }

    fn step_within(&self, step: &'v Step, item: Item<'v>, out: &mut Vec<Item<'v>>) -> EvalResult<()> {
        let strict = self.path.strict;
        match step {
            Step::Key(key) => match field(&item, key) {
                Some(value) => out.push(value),
                None if strict && matches!(*item, Json::Object(_)) => {
                    return Err(EvalError::new("2203A", format!("JSON object does not contain key \"{key}\"")));
                }
                None if strict => {
                    return Err(EvalError::new("2203A", "jsonpath member accessor can only be applied to an object"));
                }
                None => {}
            },
            Step::AnyKey => match *item {
                Json::Object(_) => out.extend(children(item)),
                _ if strict => {
                    return Err(EvalError::new("2203C", "jsonpath wildcard member accessor can only be applied to an object"));
                }
                _ => {}
            },
            Step::Deep(from, to) => deep(item, 0, *from, *to, out),
            Step::AnyItem => match *item {
                Json::Array(_) => out.extend(children(item)),
                _ if strict => {
                    return Err(EvalError::new("22039", "jsonpath wildcard array accessor can only be applied to an array"));
                }
                _ => out.push(item),
            },
            Step::Items(places) => {
                let items = match *item {
                    Json::Array(_) => children(item),
                    _ if strict => {
                        return Err(EvalError::new("22039", "jsonpath array accessor can only be applied to an array"));
                    }
                    _ => vec![item],
                };
                let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
                for (from, to) in places {
                    let at = |place: i64| if place < 0 { len + place } else { place };
                    let (from, to) = (at(*from), at(*to));
                    if strict && (from < 0 || from > to || to >= len) {
                        return Err(EvalError::new("22033", "jsonpath array subscript is out of bounds"));
                    }
                    for place in from.max(0)..=to.min(len - 1) {
                        out.extend(usize::try_from(place).ok().and_then(|p| items.get(p)).cloned());
                    }
                }
            }
            Step::Filter(test) => {
                if self.test(test, Some(&item))? == Answer::True {
                    out.push(item);
                }
            }
            Step::Size => match &*item {
                Json::Array(items) => out.push(Cow::Owned(Json::Number(items.len().to_string().into()))),
                _ if strict => {
                    return Err(EvalError::new("22039", "jsonpath item method .size() can only be applied to an array"));
                }
                _ => out.push(Cow::Owned(Json::Number("1".into()))),
            },
            Step::Type => out.push(Cow::Owned(Json::Text(item.kind().into()))),
        }
        Ok(())
    }

    /// An operand of a condition; `None` where the value does not fit it.
    fn operand(&self, e: &'v Expr, current: Option<&Item<'v>>) -> EvalResult<Option<Vec<Item<'v>>>> {
        match self.expr(e, current) {
            Ok(items) if self.path.strict => Ok(Some(items)),
            Ok(items) => Ok(Some(
                items.into_iter().flat_map(|i| if matches!(*i, Json::Array(_)) { children(i) } else { vec![i] }).collect(),
            )),
            // of the value's shape
            Err(e) if e.sqlstate.starts_with("22") => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn test(&self, test: &'v Test, current: Option<&Item<'v>>) -> EvalResult<Answer> {
        Ok(match test {
            Test::And(a, b) => match self.test(a, current)? {
                Answer::False => Answer::False,
                a => match (a, self.test(b, current)?) {
                    (_, Answer::False) => Answer::False,
                    (Answer::True, b) => b,
                    (a, _) => a,
                },
            },
            Test::Or(a, b) => match self.test(a, current)? {
                Answer::True => Answer::True,
                a => match (a, self.test(b, current)?) {
                    (_, Answer::True) => Answer::True,
                    (Answer::False, b) => b,
                    (a, _) => a,
                },
            },
            Test::Not(inner) => match self.test(inner, current)? {
                Answer::True => Answer::False,
                Answer::False => Answer::True,
                Answer::Unknown => Answer::Unknown,
            },
            Test::IsUnknown(inner) => Answer::of(self.test(inner, current)? == Answer::Unknown),
            Test::Exists(e) => match self.expr(e, current) {
                Ok(items) => Answer::of(!items.is_empty()),
                Err(e) if e.sqlstate.starts_with("22") => Answer::Unknown,
                Err(e) => return Err(e),
            },
            Test::Compare(op, l, r) => self.pairs(l, r, current, |l, r| compared(*op, l, r))?,
            Test::StartsWith(l, r) => self.pairs(l, r, current, |l, r| match (l, r) {
                (Json::Text(l), Json::Text(r)) => Answer::of(l.starts_with(r.as_ref())),
                _ => Answer::Unknown,
            })?,
            Test::Like(l, pattern) => {
                let Some(items) = self.operand(l, current)? else { return Ok(Answer::Unknown) };
                self.any(items.iter().map(|item| match &**item {
                    Json::Text(t) => Answer::of(pattern.is_match(t)),
                    _ => Answer::Unknown,
                }))
            }
        })
    }

    fn pairs(
        &self,
        l: &'v Expr,
        r: &'v Expr,
        current: Option<&Item<'v>>,
        f: impl Fn(&Json<'_>, &Json<'_>) -> Answer,
    ) -> EvalResult<Answer> {
        let (Some(l), Some(r)) = (self.operand(l, current)?, self.operand(r, current)?) else { return Ok(Answer::Unknown) };
        Ok(self.any(l.iter().flat_map(|l| r.iter().map(|r| f(l, r)))))
    }

    /// A lax path is content with the first that holds; to a strict one an unknown one makes all unknown.
    fn any(&self, answers: impl Iterator<Item = Answer>) -> Answer {
        let (mut found, mut unknown) = (false, false);
        for answer in answers {
            match answer {
                Answer::True if !self.path.strict => return Answer::True,
                Answer::True => found = true,
                Answer::Unknown if self.path.strict => return Answer::Unknown,
                Answer::Unknown => unknown = true,
                Answer::False => {}
            }
        }
        match (found, unknown) {
            (true, _) => Answer::True,
            (false, true) => Answer::Unknown,
            (false, false) => Answer::False,
        }
    }
}

/// The items of an array, the values of an object.
fn children<'v>(item: Item<'v>) -> Vec<Item<'v>> {
    match item {
        Cow::Borrowed(Json::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Json::Object(fields)) => fields.iter().map(|(_, value)| Cow::Borrowed(value)).collect(),
        _ => vec![],
    }
}

fn field<'v>(item: &Item<'v>, key: &str) -> Option<Item<'v>> {
    match item {
        Cow::Borrowed(Json::Object(fields)) => fields.iter().find(|(k, _)| k == key).map(|(_, value)| Cow::Borrowed(value)),
        _ => None,
    }
}

/// The value itself (level 0) and all within it.
fn deep<'v>(item: Item<'v>, level: usize, from: usize, to: usize, out: &mut Vec<Item<'v>>) {
    let inner = if level < to { children(item.clone()) } else { vec![] };
    // `last` are the leaves
    let leaf = from == usize::MAX && inner.is_empty();
    if (from..=to).contains(&level) || leaf {
        out.push(item);
    }
    for item in inner {
        deep(item, level + 1, from, to, out);
    }
}

fn compared(op: Compare, l: &Json<'_>, r: &Json<'_>) -> Answer {
    let order = match (l, r) {
        (Json::Null, Json::Null) => Ordering::Equal,
        (Json::Null, _) | (_, Json::Null) => return Answer::of(op == Compare::Ne),
        (Json::Bool(l), Json::Bool(r)) => l.cmp(r),
        (Json::Text(l), Json::Text(r)) => l.cmp(r),
        (Json::Number(l), Json::Number(r)) => {
            let key = |n: &str| {
                let mut key = vec![];
                regauge_types::jsonb::put_order(n, &mut key);
                key
            };
            key(l).cmp(&key(r))
        }
        _ => return Answer::Unknown,
    };
    Answer::of(match op {
        Compare::Eq => order == Ordering::Equal,
        Compare::Ne => order != Ordering::Equal,
        Compare::Lt => order == Ordering::Less,
        Compare::Le => order != Ordering::Greater,
        Compare::Gt => order == Ordering::Greater,
        Compare::Ge => order != Ordering::Less,
    })
}
