//! Texts without a zone in a DEFAULT and a CHECK: they are of the zone of who defines it, whoever writes rows later.
//!
//! ```text
//!   SET timezone = 'Asia/Tokyo';  DEFAULT '2026-07-01 00:00'  ─▶  kept as '2026-06-30 15:00:00+00'
//! ```
//! It knows literals that are cast to timestamptz, that are the default of a column of that type, or that are compared with one; a text that
//! becomes a moment in another way is read when the row is written. A text that names its zone stays as it is written. So do casts of
//! statements that are prepared, which are of the zone of PREPARE.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{self, Expr, TimezoneInfo, Value, VisitorMut};
use regauge_plan::{
    local::{self, Zone},
    parse::{ColumnSpec, fold},
    pgtypes::{format_text, parse_text, timestamptz},
    walk::VisitMut,
};
use std::ops::ControlFlow;

/// The text that a default of a column of this type is kept by.
pub(super) fn default(e: &Expr, ty: &DataType) -> String {
    let mut e = e.clone();
    if *ty == timestamptz() {
        settle(&mut e);
    }
    let _ = VisitMut::visit(&mut e, &mut Literals(&[]));
    e.to_string()
}

/// The text that a condition over these columns is kept by.
pub(super) fn condition(e: &Expr, columns: &[ColumnSpec]) -> String {
    let mut e = e.clone();
    let _ = VisitMut::visit(&mut e, &mut Literals(columns));
    e.to_string()
}

struct Literals<'a>(&'a [ColumnSpec]);

impl Literals<'_> {
    fn is_moment(&self, e: &Expr) -> bool {
        matches!(e, Expr::Identifier(name) if self.0.iter().any(|c| c.ty == timestamptz() && c.name == fold(name)))
    }
}

fn is_timestamptz(ty: &ast::DataType) -> bool {
    matches!(ty, ast::DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))
}

/// A zone that is not UTC: a text that means the same in both names its own.
const ELSEWHERE: Zone = Zone::Fixed(3600);

/// A literal as the same moment in UTC; what is none, and words that ask for a clock, stay.
fn settle(e: &mut Expr) {
    if let Expr::Value(value) = e
        && let Value::SingleQuotedString(text) = &mut value.value
        && let Ok(moment) = parse_text(&timestamptz(), text)
    {
        let other = {
            let _elsewhere = local::enter(ELSEWHERE);
            parse_text(&timestamptz(), text)
        };
        let nearer = {
            let _utc = local::enter(Zone::UTC);
            parse_text(&timestamptz(), text)
        };
        if other.ok() == nearer.ok() {
            return;
        }
        let _utc = local::enter(Zone::UTC);
        if let Some(shown) = format_text(&moment) {
            *text = shown;
        }
    }
}

/// A literal that is cast to a moment, as the same moment in UTC.
pub(super) fn cast(e: &mut Expr) {
    match e {
        Expr::Cast { expr, data_type, .. } if is_timestamptz(data_type) => settle(expr),
        Expr::TypedString(typed) if is_timestamptz(&typed.data_type) => {
            let mut value = Expr::Value(typed.value.clone());
            settle(&mut value);
            if let Expr::Value(value) = value {
                typed.value = value;
            }
        }
        _ => {}
    }
}

impl VisitorMut for Literals<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        cast(e);
        match e {
            Expr::BinaryOp { left, right, .. } => match (self.is_moment(left), self.is_moment(right)) {
                (true, false) => settle(right),
                (false, true) => settle(left),
                _ => {}
            },
            Expr::Between { expr, low, high, .. } if self.is_moment(expr) => {
                settle(low);
                settle(high);
            }
            Expr::InList { expr, list, .. } if self.is_moment(expr) => list.iter_mut().for_each(settle),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
