//! Exact one-sided bounds of a rate from counts (Clopper-Pearson).
//!
//! A gate must not be opened by a small sample: "0 of 20 attacks succeeded" shows only that the rate is below 13.9 %.
//! The bounds are roots of the binomial tail, so they hold for every rate and every sample size; normal and Wilson
//! intervals flatter exactly at zero successes, where gates live.
//!
//! Sources: Clopper and Pearson, Biometrika 26, 1934; the binomial density as a saddle-point expansion, Loader, "Fast and
//! accurate computation of binomial probabilities", 2000; the continued fraction of the incomplete beta function, DLMF 8.17.22,
//! evaluated by Lentz's method (Thompson and Barnett, J. Comput. Phys. 64, 1986).

use std::f64::consts::TAU;

use casemate_core::{Counts, Measurement};

/// The risk that a one-sided bound is wrong.
const ALPHA: f64 = 0.05;

/// Above this many tries, counts are scaled down, against the claim: the cost of a bound grows with the root of the tries.
const TRIES_MAX: u64 = 10_000_000;

/// Enough for the continued fraction at [`TRIES_MAX`], which needs about the root of the tries.
const FRACTION_STEPS_MAX: u32 = 20_000;

/// Halvings of the unit interval: beyond the precision of the numbers themselves.
const HALVINGS: u32 = 100;

/// The rate that the true rate exceeds with 95 % confidence; `None` when the counts are not counts of one thing.
pub fn lower95(counts: Counts) -> Option<f64> {
    lower(counts, ALPHA)
}

/// The rate that the true rate stays below with 95 % confidence; `None` when the counts are not counts of one thing.
pub fn upper95(counts: Counts) -> Option<f64> {
    upper(counts, ALPHA)
}

/// The lower 95 % bound of a measurement: one-sided from its counts, else the low end of its interval.
pub fn lower95_of(measurement: &Measurement) -> Option<f64> {
    match measurement.counts {
        Some(counts) => lower95(counts),
        None => interval(measurement).map(|[low, _]| low),
    }
}

/// The upper 95 % bound of a measurement: one-sided from its counts, else the high end of its interval.
pub fn upper95_of(measurement: &Measurement) -> Option<f64> {
    match measurement.counts {
        Some(counts) => upper95(counts),
        None => interval(measurement).map(|[_, high]| high),
    }
}

fn interval(measurement: &Measurement) -> Option<[f64; 2]> {
    measurement.interval95.filter(|[low, high]| low.is_finite() && high.is_finite() && low <= high)
}

fn lower(counts: Counts, alpha: f64) -> Option<f64> {
    let Counts { successes, tries } = scaled(counts, Rounding::Down)?;
    Some(match successes {
        0 => 0.0,
        all if all == tries => (alpha.ln() / to_f64(tries)).exp(),
        // The least rate at which so many successes are not a surprise.
        some => root(|rate| tail_from(some, tries, rate) < alpha),
    })
}

fn upper(counts: Counts, alpha: f64) -> Option<f64> {
    let Counts { successes, tries } = scaled(counts, Rounding::Up)?;
    Some(match successes {
        0 => -(alpha.ln() / to_f64(tries)).exp_m1(),
        all if all == tries => 1.0,
        some => root(|rate| tail_from(some + 1, tries, rate) < 1.0 - alpha),
    })
}

enum Rounding {
    Down,
    Up,
}

/// Counts of at most [`TRIES_MAX`] tries. A smaller sample of the same rate has a wider bound, so scaling never helps a claim.
fn scaled(counts: Counts, rounding: Rounding) -> Option<Counts> {
    let Counts { successes, tries } = counts;
    if tries == 0 || successes > tries {
        return None;
    }
    if tries <= TRIES_MAX {
        return Some(counts);
    }
    let product = u128::from(successes) * u128::from(TRIES_MAX);
    let scaled = match rounding {
        Rounding::Down => product / u128::from(tries),
        Rounding::Up => product.div_ceil(u128::from(tries)),
    };
    Some(Counts { successes: u64::try_from(scaled).ok()?, tries: TRIES_MAX })
}

/// The point of the unit interval up to which `below` holds.
fn root(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The probability of at least `k` successes in `n` tries at `rate`, for `1 <= k <= n` and `0 < rate < 1`.
///
/// It equals the regularised incomplete beta function of `(k, n - k + 1)` at `rate`.
fn tail_from(k: u64, n: u64, rate: f64) -> f64 {
    let (a, b) = (to_f64(k), to_f64(n - k) + 1.0);
    // The factor before the fraction, x^a (1-x)^b / B(a, b), is a binomial density but for two factors.
    let front = density(k, n, rate) * a * (1.0 - rate);
    // The fraction converges quickly on one side of the mean; the other side is its mirror image.
    if rate < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, rate) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - rate) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let clear = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / clear(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..=FRACTION_STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / clear(1.0 + term * d);
            c = clear(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// The probability of exactly `k` successes in `n` tries, without the cancellation of large factorials.
fn density(k: u64, n: u64, rate: f64) -> f64 {
    let (successes, tries, failures) = (to_f64(k), to_f64(n), to_f64(n - k));
    if k == n {
        return (tries * rate.ln()).exp();
    }
    let exponent = stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(successes, tries * rate)
        - deviance(failures, tries * (1.0 - rate));
    (tries / (TAU * successes * failures)).sqrt() * exponent.exp()
}

/// `ln n!` minus its Stirling approximation, for `n >= 1`.
fn stirling_error(n: u64) -> f64 {
    let x = to_f64(n);
    if n < 16 {
        let factorial: f64 = (1..=n).map(to_f64).product();
        return factorial.ln() - (0.5 * (TAU * x).ln() + x * x.ln() - x);
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / x
}

/// `x ln(x / m) + m - x`, by its series where `x` and `m` are close and the plain form would cancel.
fn deviance(x: f64, m: f64) -> f64 {
    if (x - m).abs() >= 0.1 * (x + m) {
        return x * (x / m).ln() + m - x;
    }
    let v = (x - m) / (x + m);
    let mut sum = (x - m) * v;
    let mut term = 2.0 * x * v;
    for step in 1..1000_u32 {
        term *= v * v;
        let next = sum + term / f64::from(2 * step + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

// Counts are at most TRIES_MAX, far below 2^53, so nothing is rounded.
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(successes: u64, tries: u64) -> Counts {
        Counts { successes, tries }
    }

    /// The least tries with which `successes` show a rate below `limit`.
    fn tries_needed(successes: u64, limit: f64, alpha: f64) -> u64 {
        (successes + 1..10_000).find(|tries| upper(counts(successes, *tries), alpha).unwrap() < limit).unwrap()
    }

    #[test]
    fn tries_needed_to_show_a_rate_below_a_limit() {
        for (limit, needed) in [
            (0.10, [29, 46, 61, 76]),
            (0.05, [59, 93, 124, 153]),
            (0.02, [149, 236, 313, 386]),
            (0.01, [299, 473, 628, 773]),
        ] {
            for (successes, tries) in (0..).zip(needed) {
                assert_eq!(tries_needed(successes, limit, 0.05), tries, "{successes} successes, limit {limit}");
            }
        }
    }

    #[test]
    fn two_sided_bounds_need_more_tries() {
        for (limit, needed) in [(0.10, 36), (0.05, 72), (0.02, 183), (0.01, 368)] {
            assert_eq!(tries_needed(0, limit, 0.025), needed);
        }
    }

    #[test]
    fn small_samples_show_little() {
        assert!((upper95(counts(0, 20)).unwrap() - 0.139).abs() < 5e-4);
        assert!((upper95(counts(0, 100)).unwrap() - 0.0295).abs() < 5e-5);
        // 0 of 59 passes 5 % on the one-sided bound; its two-sided interval ends at 6.06 %.
        assert!(upper95(counts(0, 59)).unwrap() < 0.05);
        assert!((upper(counts(0, 59), 0.025).unwrap() - 0.0606).abs() < 5e-5);
    }

    #[test]
    fn a_false_positive_rate_below_one_in_a_thousand_needs_2995_negatives() {
        assert_eq!(tries_needed(0, 0.001, 0.05), 2995);
    }

    #[test]
    fn ten_categories_at_five_percent_each_need_104_tries() {
        assert_eq!(tries_needed(0, 0.05, 0.005), 104);
    }

    #[test]
    fn a_block_rate_is_the_same_table_read_on_misses() {
        assert!(lower95(counts(59, 59)).unwrap() > 0.95);
        assert!(lower95(counts(58, 58)).unwrap() < 0.95);
        for (hits, tries) in [(3, 50), (500, 1000), (9_999_990, 10_000_000)] {
            let mirrored = 1.0 - upper95(counts(tries - hits, tries)).unwrap();
            assert!((lower95(counts(hits, tries)).unwrap() - mirrored).abs() < 1e-12);
        }
    }

    #[test]
    fn bounds_leave_exactly_five_percent_of_the_tail() {
        // The tail summed term by term from the same rate, independent of the fraction.
        for (k, n) in [(1_u64, 10_u64), (7, 40), (410, 1000), (2_000, 5_000), (4_999, 5_000)] {
            let rate = lower95(counts(k, n)).unwrap();
            let tail: f64 = (k..=n).map(|i| log_pmf(i, n, rate).exp()).sum();
            assert!((tail - 0.05).abs() < 1e-9, "{k} of {n}: {tail}");
        }
    }

    fn log_pmf(k: u64, n: u64, rate: f64) -> f64 {
        let choose: f64 = (1..=k).map(|i| (to_f64(n - k + i) / to_f64(i)).ln()).sum();
        choose + to_f64(k) * rate.ln() + to_f64(n - k) * (-rate).ln_1p()
    }

    #[test]
    fn ten_million_tries_agree_with_the_normal_limit() {
        let tries = 10_000_000;
        for successes in [1_000_000_u64, 5_000_000, 9_000_000] {
            let rate = to_f64(successes) / to_f64(tries);
            let wide = 1.644_853_6 * (rate * (1.0 - rate) / to_f64(tries)).sqrt();
            assert!((upper95(counts(successes, tries)).unwrap() - rate - wide).abs() < 1e-6);
            assert!((rate - lower95(counts(successes, tries)).unwrap() - wide).abs() < 1e-6);
        }
    }

    #[test]
    fn more_tries_than_the_limit_are_read_against_the_claim() {
        let huge = counts(1, u64::MAX);
        assert!(upper95(huge).unwrap() >= upper95(counts(1, TRIES_MAX)).unwrap());
        assert_eq!(lower95(huge), Some(0.0));
    }

    #[test]
    fn impossible_counts_have_no_bound() {
        assert_eq!(upper95(counts(0, 0)), None);
        assert_eq!(lower95(counts(2, 1)), None);
    }

    #[test]
    fn without_counts_the_interval_speaks_and_without_either_nothing_does() {
        let mut measurement = Measurement::exact("x", 0.5, "fraction");
        assert_eq!(lower95_of(&measurement), None);
        measurement.interval95 = Some([0.4, 0.6]);
        assert_eq!((lower95_of(&measurement), upper95_of(&measurement)), (Some(0.4), Some(0.6)));
        measurement.interval95 = Some([0.6, 0.4]);
        assert_eq!(upper95_of(&measurement), None);
        measurement.counts = Some(counts(0, 59));
        assert!(upper95_of(&measurement).unwrap() < 0.05);
    }
}
