//! Windows before binding: named ones are put in place, and frames are taken out of DataFusion's hands.
//!
//! ```text
//!   OVER (w ROWS 1 PRECEDING EXCLUDE TIES) .. WINDOW w AS (PARTITION BY a ORDER BY b)
//!   OVER (PARTITION BY nullif('<mark> rows 1 preceding ..', ''), a ORDER BY b)
//! ```
//! A frame becomes text in a mark that stands with the PARTITION BY expressions, until [`crate::functions::over`] takes it out:
//! DataFusion's parser has no EXCLUDE (`crate::parse::exclude` makes a literal of it), and its offsets are not PostgreSQL's.

use crate::walk::VisitMut;
use std::fmt;
use std::ops::ControlFlow;

use datafusion::logical_expr::{Expr as DfExpr, WindowFrame, WindowFrameBound as DfBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, Expr, NamedWindowExpr, Query, SetExpr, Value, VisitorMut, WindowFrameBound, WindowSpec, WindowType,
};

use crate::error::PlanError;
use crate::flowplan::{Exclude, Units};
use crate::functions::over::mark_of;
use crate::parse::{EXCLUDE_MARK, fold};

/// Starts a mark.
const MARK: &str = "\u{1}frame";
/// Parts the fields of a mark.
const SEP: char = '\u{2}';

/// A frame as it was written; offsets are SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WrittenFrame {
    pub units: Units,
    pub start: WrittenBound,
    pub end: WrittenBound,
    pub exclude: Exclude,
}

/// A bound of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum WrittenBound {
    UnboundedPreceding,
    Preceding(String),
    CurrentRow,
    Following(String),
    UnboundedFollowing,
}

impl fmt::Display for WrittenBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrittenBound::UnboundedPreceding => f.write_str("UNBOUNDED PRECEDING"),
            WrittenBound::Preceding(by) => write!(f, "{by} PRECEDING"),
            WrittenBound::CurrentRow => f.write_str("CURRENT ROW"),
            WrittenBound::Following(by) => write!(f, "{by} FOLLOWING"),
            WrittenBound::UnboundedFollowing => f.write_str("UNBOUNDED FOLLOWING"),
        }
    }
}

impl WrittenBound {
    fn read(text: &str) -> Option<WrittenBound> {
        Some(match text {
            "UNBOUNDED PRECEDING" => WrittenBound::UnboundedPreceding,
            "CURRENT ROW" => WrittenBound::CurrentRow,
            "UNBOUNDED FOLLOWING" => WrittenBound::UnboundedFollowing,
            other => match (other.strip_suffix(" PRECEDING"), other.strip_suffix(" FOLLOWING")) {
                (Some(by), _) => WrittenBound::Preceding(by.to_owned()),
                (_, Some(by)) => WrittenBound::Following(by.to_owned()),
                _ => return None,
            },
        })
    }

    fn of(bound: &WindowFrameBound) -> WrittenBound {
        match bound {
            WindowFrameBound::CurrentRow => WrittenBound::CurrentRow,
            WindowFrameBound::Preceding(None) => WrittenBound::UnboundedPreceding,
            WindowFrameBound::Preceding(Some(e)) => WrittenBound::Preceding(e.to_string()),
            WindowFrameBound::Following(None) => WrittenBound::UnboundedFollowing,
            WindowFrameBound::Following(Some(e)) => WrittenBound::Following(e.to_string()),
        }
    }
}

/// Names of units and exclusions in marks and messages.
const UNITS: [(Units, &str); 3] = [(Units::Rows, "ROWS"), (Units::Range, "RANGE"), (Units::Groups, "GROUPS")];
const EXCLUDES: [(Exclude, &str); 4] =
    [(Exclude::NoOthers, "NO OTHERS"), (Exclude::CurrentRow, "CURRENT ROW"), (Exclude::Group, "GROUP"), (Exclude::Ties, "TIES")];

fn named<T: Copy + PartialEq>(all: &[(T, &'static str)], name: &str) -> Option<T> {
    all.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
}

fn name_of<T: Copy + PartialEq>(all: &[(T, &'static str)], of: T) -> &'static str {
    all.iter().find(|(t, _)| *t == of).map_or("", |(_, n)| n)
}

impl fmt::Display for WrittenFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = name_of(&UNITS, self.units);
        write!(f, "{units} BETWEEN {} AND {} EXCLUDE {}", self.start, self.end, name_of(&EXCLUDES, self.exclude))
    }
}

impl WrittenFrame {
    /// Takes the mark out of PARTITION BY expressions, if there is one.
    pub fn take(partition_by: &mut Vec<DfExpr>) -> Result<Option<WrittenFrame>, PlanError> {
        let mut frame = None;
        let mut broken = false;
        partition_by.retain(|e| {
            let Some(text) = mark_of(e).filter(|t| t.starts_with(MARK)) else { return true };
            frame = WrittenFrame::read(text);
            broken |= frame.is_none();
            false
        });
        if broken { Err(PlanError::internal("a frame's mark cannot be read")) } else { Ok(frame) }
    }

    /// The frame of a call that was bound without [`place`], where it is not the default.
    pub fn unmarked(frame: &WindowFrame, is_ordered: bool) -> Option<WrittenFrame> {
        if *frame == WindowFrame::new(is_ordered.then_some(false)) {
            return None;
        }
        let offset = |v: &ScalarValue| match v {
            ScalarValue::Utf8(Some(text)) if text.parse::<f64>().is_err() => format!("'{}'", text.replace('\'', "''")),
            other => other.to_string(),
        };
        let bound = |b: &DfBound| match b {
            DfBound::CurrentRow => WrittenBound::CurrentRow,
            DfBound::Preceding(v) if v.is_null() => WrittenBound::UnboundedPreceding,
            DfBound::Following(v) if v.is_null() => WrittenBound::UnboundedFollowing,
            DfBound::Preceding(v) => WrittenBound::Preceding(offset(v)),
            DfBound::Following(v) => WrittenBound::Following(offset(v)),
        };
        let units = match frame.units {
            WindowFrameUnits::Rows => Units::Rows,
            WindowFrameUnits::Range => Units::Range,
            WindowFrameUnits::Groups => Units::Groups,
        };
        let (start, end) = (bound(&frame.start_bound), bound(&frame.end_bound));
        Some(WrittenFrame { units, start, end, exclude: Exclude::NoOthers })
    }

    fn read(text: &str) -> Option<WrittenFrame> {
        let fields: Vec<&str> = text.split(SEP).collect();
        let [_, units, start, end, exclude] = fields.as_slice() else { return None };
        Some(WrittenFrame {
            units: named(&UNITS, units)?,
            start: WrittenBound::read(start)?,
            end: WrittenBound::read(end)?,
            exclude: named(&EXCLUDES, exclude)?,
        })
    }

    fn mark(&self) -> String {
        let (units, exclude) = (name_of(&UNITS, self.units), name_of(&EXCLUDES, self.exclude));
        format!("{MARK}{SEP}{units}{SEP}{}{SEP}{}{SEP}{exclude}", self.start, self.end)
    }

    pub fn has_offset(&self) -> bool {
        let offset = |b: &WrittenBound| matches!(b, WrittenBound::Preceding(_) | WrittenBound::Following(_));
        offset(&self.start) || offset(&self.end)
    }

    /// Bounds in an order that PostgreSQL's grammar refuses.
    fn check(&self) -> Result<(), PlanError> {
        use WrittenBound::{CurrentRow, Following, Preceding, UnboundedFollowing, UnboundedPreceding};
        let what = match (&self.start, &self.end) {
            (UnboundedFollowing, _) => "frame start cannot be UNBOUNDED FOLLOWING",
            (_, UnboundedPreceding) => "frame end cannot be UNBOUNDED PRECEDING",
            (CurrentRow, Preceding(_)) => "frame starting from current row cannot have preceding rows",
            (Following(_), CurrentRow | Preceding(_)) => "frame starting from following row cannot have preceding rows",
            _ => return Ok(()),
        };
        Err(PlanError::invalid("42P20", what))
    }
}

/// Puts named windows in place and frames into marks, in the SELECTs of one query, not of those inside it.
pub(super) fn place(query: &mut Query) -> Result<(), PlanError> {
    let mut one = match query.body.as_mut() {
        SetExpr::Select(_) => query.order_by.as_mut(),
        _ => None,
    };
    let mut todo = vec![query.body.as_mut()];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                todo.push(left);
                todo.push(right);
            }
            SetExpr::Select(select) => {
                refuse_in(&mut select.selection, "WHERE")?;
                refuse_in(&mut select.group_by, "GROUP BY")?;
                refuse_in(&mut select.having, "HAVING")?;
                let mut windows = Windows { named: vec![] };
                for definition in std::mem::take(&mut select.named_window) {
                    windows.define(&fold(&definition.0), definition.1)?;
                }
                let mut visited = VisitMut::visit(&mut select.projection, &mut windows);
                if visited.is_continue() {
                    visited = VisitMut::visit(&mut select.qualify, &mut windows);
                }
                if let (true, Some(order)) = (visited.is_continue(), one.take()) {
                    visited = VisitMut::visit(order, &mut windows);
                }
                if let ControlFlow::Break(e) = visited {
                    return Err(e);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A window function where there are no rows yet to look at; queries inside may have their own.
fn refuse_in<T: VisitMut>(part: &mut T, name: &str) -> Result<(), PlanError> {
    struct Find(usize);
    impl VisitorMut for Find {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
            match e {
                Expr::Function(f) if f.over.is_some() && self.0 == 0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match VisitMut::visit(part, &mut Find(0)) {
        ControlFlow::Break(()) => {
            let hint = "compute it in a subquery and filter around it";
            Err(PlanError::invalid("42P20", format!("window functions are not allowed in {name}")).with_hint(hint))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The named windows of a SELECT.
struct Windows {
    named: Vec<(String, WindowSpec)>,
}

impl Windows {
    fn define(&mut self, name: &str, window: NamedWindowExpr) -> Result<(), PlanError> {
        if self.named.iter().any(|(n, _)| n == name) {
            return Err(PlanError::invalid("42P20", format!("window \"{name}\" is already defined")));
        }
        let NamedWindowExpr::WindowSpec(spec) = window else {
            return Err(PlanError::syntax(format!("window \"{name}\" is not defined by a specification in parentheses")));
        };
        let spec = self.completed(spec)?;
        self.named.push((name.to_owned(), spec));
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&WindowSpec, PlanError> {
        let found = self.named.iter().find(|(n, _)| n == name).map(|(_, spec)| spec);
        found.ok_or_else(|| PlanError::invalid("42704", format!("window \"{name}\" does not exist")))
    }

    /// A specification with what it takes over from the window it names.
    fn completed(&self, mut spec: WindowSpec) -> Result<WindowSpec, PlanError> {
        let Some(name) = spec.window_name.take().map(|n| fold(&n)) else { return Ok(spec) };
        let base = self.find(&name)?;
        let wrong = |what: String| Err(PlanError::invalid("42P20", what));
        if base.window_frame.is_some() {
            return wrong(format!("cannot copy window \"{name}\" because it has a frame clause"));
        }
        let exclude = |e: &Expr| excluded(e).is_some();
        if !spec.partition_by.iter().all(exclude) {
            return wrong(format!("cannot override PARTITION BY clause of window \"{name}\""));
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return wrong(format!("cannot override ORDER BY clause of window \"{name}\""));
        }
        spec.partition_by.extend(base.partition_by.iter().cloned());
        if spec.order_by.is_empty() {
            spec.order_by.clone_from(&base.order_by);
        }
        Ok(spec)
    }

    fn over(&self, over: &mut WindowType) -> Result<(), PlanError> {
        let spec = match over {
            WindowType::NamedWindow(name) => self.find(&fold(name))?.clone(),
            WindowType::WindowSpec(spec) => self.completed(spec.clone())?,
        };
        *over = WindowType::WindowSpec(marked(spec)?);
        Ok(())
    }
}

impl VisitorMut for Windows {
    type Break = PlanError;

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        if let Expr::Function(f) = e
            && let Some(over) = &mut f.over
            && let Err(e) = self.over(over)
        {
            return ControlFlow::Break(e);
        }
        ControlFlow::Continue(())
    }
}

/// What an EXCLUDE left among the PARTITION BY expressions.
fn excluded(e: &Expr) -> Option<Exclude> {
    let Expr::Value(v) = e else { return None };
    let Value::SingleQuotedString(text) = &v.value else { return None };
    named(&EXCLUDES, text.strip_prefix(EXCLUDE_MARK)?)
}

/// The specification with its frame as a mark.
fn marked(mut spec: WindowSpec) -> Result<WindowSpec, PlanError> {
    let exclude = spec.partition_by.iter().find_map(excluded);
    spec.partition_by.retain(|e| excluded(e).is_none());
    let Some(frame) = spec.window_frame.take() else {
        return match exclude {
            None => Ok(spec),
            Some(_) => Err(PlanError::syntax("syntax error: EXCLUDE without a frame")),
        };
    };
    let units = match frame.units {
        ast::WindowFrameUnits::Rows => Units::Rows,
        ast::WindowFrameUnits::Range => Units::Range,
        ast::WindowFrameUnits::Groups => Units::Groups,
    };
    let written = WrittenFrame {
        units,
        start: WrittenBound::of(&frame.start_bound),
        end: frame.end_bound.as_ref().map_or(WrittenBound::CurrentRow, WrittenBound::of),
        exclude: exclude.unwrap_or(Exclude::NoOthers),
    };
    written.check()?;
    spec.partition_by.insert(0, mark(&written.mark())?);
    Ok(spec)
}

/// `nullif('mark', '')`: a bare literal would be left out as deciding nothing.
fn mark(text: &str) -> Result<Expr, PlanError> {
    let text = text.replace('\'', "''");
    crate::parse::parse_expr(&format!("nullif('{text}', '')"))
}
