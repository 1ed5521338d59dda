//! EXPLAIN: the plan as an indented tree, the root first, and warnings of what grows with the product of two inputs. Columns of an operator's input are `$0, $1, ..`; a shared node is
//! printed once, and later as a reference. For people and golden files; nothing parses it.

use std::fmt::Write;

use super::op::{AggCall, AsOfMatch, JoinKind, Op, OrderKey, SetOpKind};
use super::window::{Arg, Bound, Exclude, Frame, Units, WindowCall};
use super::{FlowPlan, types::sql_name};
use crate::scalar::{CompareOp, IsTest, Scalar};

impl FlowPlan {
    /// The tree, one operator a line, ending in the output's names and key.
    pub fn explain(&self) -> String {
        let mut out = String::new();
        let seen = self.explain_nodes(&mut out, 0);
        let columns: Vec<_> = self.output.iter().map(|c| format!("{} {}", c.name, sql_name(&c.ty))).collect();
        let _ = writeln!(out, "output: {}", columns.join(", "));
        let name = |k: &usize| self.output.get(*k).map_or_else(|| format!("${k}"), |c| c.name.clone());
        let key = self.key.as_ref().map_or("none".to_owned(), |k| format!("({})", join(k, name)));
        let _ = writeln!(out, "key: {key}");
        for (node, shown) in self.nodes.iter().zip(&seen) {
            if let (Op::Join { on, .. }, true) = (&node.op, shown)
                && on.is_empty()
            {
                let what = describe(&node.op, node.types.len());
                let _ = writeln!(out, "warning: every row of one side meets every row of the other, on one worker: {what}");
                let _ = writeln!(out, "  what a change costs grows with the other side; an equality (a.x = b.y) would divide it");
            }
        }
        out
    }

    /// The tree below the root; which nodes it has.
    fn explain_nodes(&self, out: &mut String, depth: usize) -> Vec<bool> {
        let mut seen = vec![false; self.nodes.len()];
        // Explicit stack: the depth of a plan is bounded only by MAX_NODES.
        let mut todo = vec![(self.root, depth)];
        while let Some((i, depth)) = todo.pop() {
            let Some(node) = self.nodes.get(i) else { continue };
            let indent = depth * 2;
            if std::mem::replace(&mut seen[i], true) {
                let _ = writeln!(out, "{:indent$}(node {i}, above)", "");
                continue;
            }
            let mark = if node.append_only { " [append-only]" } else { "" };
            let _ = writeln!(out, "{:indent$}{}{mark}", "", describe(&node.op, node.types.len()));
            if let Op::Recursive { step, .. } = &node.op {
                let _ = writeln!(out, "{:1$}step:", "", indent + 2);
                step.explain_nodes(out, depth + 2);
            }
            todo.extend(node.inputs.iter().rev().map(|i| (*i, depth + 1)));
        }
        seen
    }
}

fn describe(op: &Op, width: usize) -> String {
    match op {
        Op::Source { id, columns } => format!("Source {id} columns=[{}]", join(columns, |c| c.0.to_string())),
        Op::Rows { rows } => {
            let mut shown: Vec<_> = rows.iter().take(8).map(|r| format!("({})", join(r, ToString::to_string))).collect();
            if rows.len() > shown.len() {
                shown.push(format!(".. {} rows", rows.len()));
            }
            format!("Rows width={width} {}", shown.join(", "))
        }
        Op::Map { filter, exprs } => {
            let mut s = "Map".to_owned();
            if let Some(f) = filter {
                let _ = write!(s, " where {}", text(f));
            }
            if let Some(e) = exprs {
                let _ = write!(s, " [{}]", join(e, text));
            }
            s
        }
        Op::Join { kind, on, nulls_equal, residual } => {
            let kind = match kind {
                JoinKind::Inner => "inner",
                JoinKind::Left => "left",
                JoinKind::Right => "right",
                JoinKind::Full => "full",
                JoinKind::LeftSemi => "semi",
                JoinKind::LeftAnti => "anti",
            };
            let mut s = format!("Join {kind} on [{}]", join(on, |(a, b)| format!("l.${a} = r.${b}")));
            if *nulls_equal {
                s.push_str(" nulls_equal");
            }
            if let Some(r) = residual {
                let _ = write!(s, " where {}", text(r));
            }
            s
        }
        Op::Aggregate { keys, aggs } => {
            format!("Aggregate keys=[{}] aggs=[{}]", join(keys, |k| format!("${k}")), join(aggs, agg))
        }
        Op::Temporal { from, until, .. } => {
            let sign = |inclusive: bool| if inclusive { "<=" } else { "<" };
            let from = from.iter().map(|(c, inclusive)| format!("${c} {} now", sign(*inclusive)));
            let until = until.iter().map(|(c, inclusive)| format!("now {} ${c}", sign(*inclusive)));
            format!("Temporal {}", from.chain(until).collect::<Vec<_>>().join(" and "))
        }
        Op::AsOf { outer, on, moment: (a, b), matching } => {
            let kind = if *outer { "left" } else { "inner" };
            let sign = match matching {
                AsOfMatch::AtOrBefore => "<=",
                AsOfMatch::Before => "<",
                AsOfMatch::AtOrAfter => ">=",
                AsOfMatch::After => ">",
            };
            let on = join(on, |(a, b)| format!("l.${a} = r.${b}"));
            format!("AsOf {kind} on [{on}] nearest r.${b} {sign} l.${a}")
        }
        Op::Distinct => "Distinct".into(),
        Op::TopK { partition, order, limit, offset, row_number } => {
            let mut s = format!("TopK partition=[{}] order=[{}]", join(partition, |k| format!("${k}")), order_text(order));
            if *limit != u64::MAX {
                let _ = write!(s, " limit={limit}");
            }
            if *offset != 0 {
                let _ = write!(s, " offset={offset}");
            }
            if *row_number {
                s.push_str(" row_number");
            }
            s
        }
        Op::Window { partition, order, calls } => format!(
            "Window partition=[{}] order=[{}] calls=[{}]",
            join(partition, |k| format!("${k}")),
            order_text(order),
            join(calls, window_call)
        ),
        Op::Union => "Union".into(),
        Op::SetOp { kind, all } => {
            let kind = match kind {
                SetOpKind::Intersect => "Intersect",
                SetOpKind::Except => "Except",
            };
            format!("{kind}{}", if *all { " all" } else { "" })
        }
        Op::Tumble { ts, size_us, offset_us } => format!("Tumble ts=${ts} size_us={size_us} offset_us={offset_us}"),
        Op::Hop { ts, slide_us, size_us, offset_us } => {
            format!("Hop ts=${ts} slide_us={slide_us} size_us={size_us} offset_us={offset_us}")
        }
        Op::FlatMap { keep, lists, outer } => super::rows::describe(keep, lists, *outer),
        Op::Recursive { distinct, limits, .. } => {
            let word = if *distinct { "union" } else { "union all" };
            format!("Recursive {word} max_steps={} max_rows={}", limits.steps, limits.rows)
        }
        Op::Given { input: 0 } => "Given the rows, with their level".into(),
        Op::Given { input } => format!("Given input {input}"),
        Op::Cumulate { ts, step_us, size_us, offset_us } => {
            format!("Cumulate ts=${ts} step_us={step_us} size_us={size_us} offset_us={offset_us}")
        }
        Op::Session { partition, ts, gap_us, on_close } => {
            let partition = join(partition, |k| format!("${k}"));
            let closed = if *on_close { " once closed" } else { "" };
            format!("Session partition=[{partition}] ts=${ts} gap_us={gap_us}{closed}")
        }
        Op::Close { keys, aggs, key, plus_us } => {
            let (keys_, aggs) = (join(keys, |k| format!("${k}")), join(aggs, agg));
            let closes = keys.get(*key).map_or(String::new(), |k| format!("${k}"));
            let plus = if *plus_us == 0 { String::new() } else { format!(" + {plus_us} us") };
            format!("Aggregate keys=[{keys_}] aggs=[{aggs}] once the watermark has reached {closes}{plus}")
        }
    }
}

fn join<T>(items: &[T], f: impl Fn(&T) -> String) -> String {
    items.iter().map(f).collect::<Vec<_>>().join(", ")
}

fn order_text(order: &[OrderKey]) -> String {
    join(order, |k| {
        let direction = if k.descending { " desc" } else { "" };
        let nulls = if k.nulls_first == k.descending {
            ""
        } else if k.nulls_first {
            " nulls first"
        } else {
            " nulls last"
        };
        format!("${}{direction}{nulls}", k.column)
    })
}

fn window_call(c: &WindowCall) -> String {
    let args = join(&c.args, |a| match a {
        Arg::Column(i) => format!("${i}"),
        Arg::Constant(v) => v.to_string(),
    });
    let filter = c.filter.map_or(String::new(), |f| format!(" filter ${f}"));
    let frame = if c.func.looks_at_frame() && c.frame != Frame::default() { frame_text(&c.frame) } else { String::new() };
    format!("{}({args}){filter}{frame} {}", c.func.name(), sql_name(&c.output))
}

/// A frame that is not the default, with a blank before.
pub(crate) fn frame_text(f: &Frame) -> String {
    let bound = |b: &Bound| match b {
        Bound::UnboundedPreceding => "unbounded preceding".to_owned(),
        Bound::Preceding(v) => format!("{v} preceding"),
        Bound::CurrentRow => "current row".to_owned(),
        Bound::Following(v) => format!("{v} following"),
        Bound::UnboundedFollowing => "unbounded following".to_owned(),
    };
    let units = match f.units {
        Units::Rows => "rows",
        Units::Range => "range",
        Units::Groups => "groups",
    };
    let exclude = match f.exclude {
        Exclude::NoOthers => "",
        Exclude::CurrentRow => " exclude current row",
        Exclude::Group => " exclude group",
        Exclude::Ties => " exclude ties",
    };
    format!(" {units} between {} and {}{exclude}", bound(&f.start), bound(&f.end))
}

fn agg(a: &AggCall) -> String {
    let distinct = if a.distinct { "distinct " } else { "" };
    let args = if a.args.is_empty() { "*".into() } else { join(&a.args, |c| format!("${c}")) };
    let order = if a.order.is_empty() { String::new() } else { format!(" order by {}", order_text(&a.order)) };
    let filter = a.filter.map_or(String::new(), |f| format!(" filter ${f}"));
    if a.func.is_ordered_set() {
        let direct = join(&a.direct, ToString::to_string);
        return format!("{}({direct}) within group ({}){filter} {}", a.func.name(), order.trim_start(), sql_name(&a.output));
    }
    format!("{}({distinct}{args}{order}){filter} {}", a.func.name(), sql_name(&a.output))
}

/// A scalar as text.
pub(crate) fn text(s: &Scalar) -> String {
    match s {
        Scalar::Column(i) => format!("${i}"),
        Scalar::Literal(v) => v.to_string(),
        Scalar::Call { func, args, .. } => format!("{func}({})", join(args, text)),
        Scalar::Compare { op, left, right } => {
            let op = match op {
                CompareOp::Eq => "=",
                CompareOp::Ne => "<>",
                CompareOp::Lt => "<",
                CompareOp::Le => "<=",
                CompareOp::Gt => ">",
                CompareOp::Ge => ">=",
                CompareOp::Distinct => "is distinct from",
                CompareOp::NotDistinct => "is not distinct from",
            };
            format!("({} {op} {})", text(left), text(right))
        }
        Scalar::And(v) => format!("({})", v.iter().map(text).collect::<Vec<_>>().join(" and ")),
        Scalar::Or(v) => format!("({})", v.iter().map(text).collect::<Vec<_>>().join(" or ")),
        Scalar::Not(v) => format!("not {}", text(v)),
        Scalar::Is { test, negated, arg } => {
            let test = match test {
                IsTest::Null => "null",
                IsTest::True => "true",
                IsTest::False => "false",
                IsTest::Unknown => "unknown",
            };
            format!("({} is {}{test})", text(arg), not(*negated))
        }
        Scalar::Case { branches, otherwise, .. } => {
            let arms = branches.iter().map(|(c, r)| format!(" when {} then {}", text(c), text(r)));
            let last = otherwise.as_ref().map(|o| format!(" else {}", text(o))).unwrap_or_default();
            format!("case{}{last} end", arms.collect::<String>())
        }
        Scalar::Coalesce(v) => format!("coalesce({})", join(v, text)),
        Scalar::Cast { arg, to } => format!("cast({} as {})", text(arg), sql_name(to)),
        Scalar::InList { arg, list, negated } => format!("({} {}in ({}))", text(arg), not(*negated), join(list, text)),
        Scalar::Like { arg, pattern, escape, case_insensitive, negated } => {
            let like = if *case_insensitive { "ilike" } else { "like" };
            let escape = match escape {
                Some('\\') => String::new(),
                Some(c) => format!(" escape '{c}'"),
                None => " escape ''".into(),
            };
            format!("({} {}{like} {}{escape})", text(arg), not(*negated), text(pattern))
        }
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "not " } else { "" }
}
