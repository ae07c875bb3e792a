//! Quantiles of Student's t distribution, for bounds from few pictures.

use std::f64::consts::PI;

/// P(T ≤ t) with `df` ≥ 1 degrees of freedom: the finite sums of M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions",
/// 1964, 26.7.3 (odd) and 26.7.4 (even), `df`/2 terms each.
pub fn cumulative(t: f64, df: usize) -> f64 {
    let (sin, cos) = (t / (df as f64).sqrt()).atan().sin_cos();
    let odd = df % 2 == 1;
    // Both sums go from a term to the next by cos²θ and a fraction: 2/3, 4/5, … or 1/2, 3/4, ….
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    for k in 0..(df - odd as usize) / 2 {
        sum += term;
        let (above, below) = if odd { (2 * k + 2, 2 * k + 3) } else { (2 * k + 1, 2 * k + 2) };
        term *= cos * cos * above as f64 / below as f64;
    }
    let within = if odd { 2.0 / PI * ((t / (df as f64).sqrt()).atan() + sin * sum) } else { sin * sum };
    0.5 + 0.5 * within
}

/// The t that a share `q` of the distribution with `df` ≥ 1 degrees of freedom lies below; `q` in (0, 1).
pub fn quantile(q: f64, df: usize) -> f64 {
    assert!(q > 0.0 && q < 1.0 && df > 0, "a quantile at {q} with {df} degrees of freedom");
    let (mut lo, mut hi) = (-1.0, 1.0);
    while cumulative(lo, df) > q {
        lo *= 2.0;
    }
    while cumulative(hi, df) < q {
        hi *= 2.0;
    }
    // Halving ends when no number lies between the two.
    loop {
        let middle = 0.5 * (lo + hi);
        if middle <= lo || middle >= hi {
            return middle;
        }
        *(if cumulative(middle, df) < q { &mut lo } else { &mut hi }) = middle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, upper critical values; its row ∞ is the normal distribution.
    #[test]
    fn quantiles_are_those_of_the_table() {
        let table = [(1, 6.314, 31.821), (4, 2.132, 3.747), (10, 1.812, 2.764), (30, 1.697, 2.457), (100_000, 1.645, 2.326)];
        for (df, at_95, at_99) in table {
            for (q, want) in [(0.95, at_95), (0.99, at_99)] {
                let got = quantile(q, df);
                assert!((got - want).abs() < 0.0006, "df {df}, {q}: {got}");
                assert!((quantile(1.0 - q, df) + got).abs() < 1e-9 * got, "symmetric");
            }
        }
        // df = 1 is Cauchy's distribution: tan(π(q − ½)).
        assert!((quantile(0.99, 1) - (PI * 0.49).tan()).abs() < 1e-10);
        // df = 2: t = (2q − 1) √(2 / (4q(1 − q))).
        assert!((quantile(0.95, 2) - 0.9 * (2.0 / (4.0 * 0.95 * 0.05f64)).sqrt()).abs() < 1e-12);
    }
}
