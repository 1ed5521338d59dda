//! The statistical aggregates: which there are, their names, their numbers in a plan's bytes. What they compute stands in
//! [`crate::functions::kept`].

/// One of them. Those over one argument give numerics for integers and numerics; everything else is double precision. Those over two
/// look at rows where neither is NULL and take the dependent variable first, as `regr_slope(y, x)` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Sum of squared deviations / (n - 1), NULL for one row.
    VarSamp,
    /// The same / n.
    VarPop,
    /// The root of VarSamp.
    DevSamp,
    /// The root of VarPop.
    DevPop,
    /// Sum of products of deviations / (n - 1), NULL for one row.
    CovarSamp,
    /// The same / n.
    CovarPop,
    /// Correlation; NULL where one side does not vary.
    Corr,
    /// How many rows took part; bigint, 0 for none.
    Count,
    /// Sum of squared deviations of x.
    Sxx,
    /// Of y.
    Syy,
    /// Sum of products of deviations.
    Sxy,
    /// Mean of x.
    AvgX,
    /// Mean of y.
    AvgY,
    /// Square of the correlation; 1 where y does not vary, NULL where x does not.
    R2,
    /// Slope of the line of least squares; NULL where x does not vary.
    Slope,
    /// Where that line meets x = 0.
    Intercept,
}

/// Number in a plan's bytes (frozen), name, further name.
const ALL: &[(Spread, u8, &str, &str)] = &[
    (Spread::VarSamp, 60, "var_samp", "variance"),
    (Spread::VarPop, 61, "var_pop", ""),
    (Spread::DevSamp, 62, "stddev_samp", "stddev"),
    (Spread::DevPop, 63, "stddev_pop", ""),
    (Spread::CovarSamp, 64, "covar_samp", ""),
    (Spread::CovarPop, 65, "covar_pop", ""),
    (Spread::Corr, 66, "corr", ""),
    (Spread::Count, 67, "regr_count", ""),
    (Spread::Sxx, 68, "regr_sxx", ""),
    (Spread::Syy, 69, "regr_syy", ""),
    (Spread::Sxy, 70, "regr_sxy", ""),
    (Spread::AvgX, 71, "regr_avgx", ""),
    (Spread::AvgY, 72, "regr_avgy", ""),
    (Spread::R2, 73, "regr_r2", ""),
    (Spread::Slope, 74, "regr_slope", ""),
    (Spread::Intercept, 75, "regr_intercept", ""),
];

impl Spread {
    /// All of them, each with its further names.
    pub fn all() -> impl Iterator<Item = (Spread, Option<&'static str>)> {
        ALL.iter().map(|(spread, _, _, alias)| (*spread, Some(*alias).filter(|a| !a.is_empty())))
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Spread> {
        ALL.iter().find(|(_, _, n, alias)| *n == name || (!alias.is_empty() && *alias == name)).map(|(spread, ..)| *spread)
    }

    fn entry(self) -> (u8, &'static str) {
        ALL.iter().find(|(spread, ..)| *spread == self).map_or((0, ""), |(_, tag, name, _)| (*tag, *name))
    }

    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// How many arguments it takes.
    pub fn n_args(self) -> usize {
        if matches!(self, Spread::VarSamp | Spread::VarPop | Spread::DevSamp | Spread::DevPop) { 1 } else { 2 }
    }

    /// Its number among the aggregates of a plan's bytes.
    pub(super) fn tag(self) -> u8 {
        self.entry().0
    }

    /// The one of a number.
    pub(super) fn of_tag(tag: u8) -> Option<Spread> {
        ALL.iter().find(|(_, t, ..)| *t == tag).map(|(spread, ..)| *spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_number_lead_back_to_their_function() {
        for (spread, alias) in Spread::all() {
            assert_eq!(Spread::of(spread.name()), Some(spread));
            assert_eq!(Spread::of_tag(spread.tag()), Some(spread));
            assert!(alias.is_none_or(|a| Spread::of(a) == Some(spread)));
        }
        assert_eq!((Spread::of(""), Spread::of_tag(0)), (None, None));
    }
}
