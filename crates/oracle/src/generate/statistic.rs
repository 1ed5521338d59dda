//! Variances, regression, percentiles, modes, bits.
//!
//! Correlation and regression are drawn over small integers: there both systems agree exactly on whether a side varies at all, which
//! decides between a value and NULL; over fractions PostgreSQL's running mean leaves a rest where nothing varies.

use super::expr::{self, Expr};
use super::query::Maker;
use super::{Col, Ty};

/// Most digits of an integer whose products with others stay exact in doubles.
const SMALL_DIGITS: u8 = 4;

impl Maker<'_> {
    /// One call over the scope, where there is something to call it over.
    pub(super) fn statistic(&mut self, scope: &[Col]) -> Option<Expr> {
        let distinct = if self.rng.percent(15) { "DISTINCT " } else { "" };
        match self.rng.below(10) {
            0..=2 => self.variance(scope, distinct),
            3 | 4 => self.regression(scope, distinct),
            5 => self.bits(scope, distinct),
            6 => self.mode(scope),
            _ => self.percentile(scope),
        }
    }

    /// An exact expression of one of these types over columns that are there.
    fn of(&mut self, scope: &[Col], types: &[Ty], digits_max: u8) -> Option<Expr> {
        let there: Vec<Ty> = types.iter().copied().filter(|ty| !expr::columns_of(scope, *ty).is_empty()).collect();
        let ty = *self.rng.pick(&there)?;
        let drawn = expr::value(&mut self.rng, scope, ty, 1);
        // a bare NULL or word has no type yet
        (drawn.digits <= digits_max && !drawn.sql.starts_with('\'')).then_some(drawn)
    }

    fn variance(&mut self, scope: &[Col], distinct: &str) -> Option<Expr> {
        let word = ["variance", "var_pop", "var_samp", "stddev", "stddev_pop", "stddev_samp"][self.rng.below(6)];
        let arg = self.of(scope, &[Ty::Int, Ty::BigInt, Ty::Numeric(2), Ty::Double], 6)?;
        let ty = if arg.ty == Ty::Double { Ty::Double } else { Ty::Numeric(16) };
        Some(Expr { sql: format!("{word}({distinct}{})", arg.sql), ty, digits: 12, exact: false })
    }

    fn regression(&mut self, scope: &[Col], distinct: &str) -> Option<Expr> {
        let words = [
            "corr",
            "covar_pop",
            "covar_samp",
            "regr_count",
            "regr_sxx",
            "regr_syy",
            "regr_sxy",
            "regr_avgx",
            "regr_avgy",
            "regr_r2",
            "regr_slope",
            "regr_intercept",
        ];
        let word = words[self.rng.below(words.len())];
        let y = self.of(scope, &[Ty::Int, Ty::BigInt], SMALL_DIGITS)?;
        let x = self.of(scope, &[Ty::Int, Ty::BigInt], SMALL_DIGITS)?;
        let sql = format!("{word}({distinct}{}, {})", y.sql, x.sql);
        let count = word == "regr_count";
        Some(Expr { sql, ty: if count { Ty::BigInt } else { Ty::Double }, digits: 9, exact: count })
    }

    fn bits(&mut self, scope: &[Col], distinct: &str) -> Option<Expr> {
        let word = ["bit_and", "bit_or", "bit_xor"][self.rng.below(3)];
        let arg = self.of(scope, &[Ty::Int, Ty::BigInt], 8)?;
        Some(Expr { sql: format!("{word}({distinct}{})", arg.sql), digits: arg.digits + 1, ..arg })
    }

    fn within_group(&mut self, arg: &Expr) -> String {
        let word = ["", " DESC", " NULLS FIRST"][self.rng.below(3)];
        format!("WITHIN GROUP (ORDER BY {}{word})", arg.sql)
    }

    fn mode(&mut self, scope: &[Col]) -> Option<Expr> {
        let arg = self.of(
            scope,
            &[Ty::Int, Ty::BigInt, Ty::Numeric(2), Ty::Text, Ty::Timestamp, Ty::Bool, Ty::Span, Ty::Json, Ty::Date, Ty::Uuid],
            18,
        )?;
        let within = self.within_group(&arg);
        Some(Expr { sql: format!("mode() {within}"), ..arg })
    }

    fn percentile(&mut self, scope: &[Col]) -> Option<Expr> {
        let fraction = ["0", "0.25", "0.5", "0.9", "1", "CAST(NULL AS double precision)"][self.rng.below(6)];
        let all = ["ARRAY[0.5]", "ARRAY[0, 0.25, 0.75, 1]", "ARRAY[0.9, 0.1]"][self.rng.below(3)];
        if self.rng.percent(50) {
            let arg = self.of(
                scope,
                &[Ty::Int, Ty::BigInt, Ty::Numeric(2), Ty::Text, Ty::Timestamp, Ty::Span, Ty::Json, Ty::Zoned],
                18,
            )?;
            let within = self.within_group(&arg);
            if self.rng.percent(30) {
                return Some(Expr { sql: format!("percentile_disc({all}) {within}"), ty: Ty::Array, ..arg });
            }
            return Some(Expr { sql: format!("percentile_disc({fraction}) {within}"), ..arg });
        }
        // arrays of doubles are compared as text
        let in_array = self.rng.percent(30);
        let types: &[Ty] = if in_array { &[Ty::Int] } else { &[Ty::Int, Ty::BigInt, Ty::Numeric(2), Ty::Double] };
        let arg = self.of(scope, types, 9)?;
        let within = self.within_group(&arg);
        let (direct, ty) = if in_array { (all, Ty::Array) } else { (fraction, Ty::Double) };
        Some(Expr { sql: format!("percentile_cont({direct}) {within}"), ty, digits: 9, exact: false })
    }
}
