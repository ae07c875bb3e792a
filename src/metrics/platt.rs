//! A score made into a probability by a logistic curve with two parameters.
//!
//! J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999, with his smoothed targets; fitted by Newton's method
//! with backtracking as in H.-T. Lin, C.-J. Lin, R. C. Weng, "A Note on Platt's Probabilistic Outputs for Support Vector
//! Machines", Machine Learning 68, 2007, whose written-out form of the loss neither overflows nor cancels.

use serde::{Deserialize, Serialize};

/// p = 1 / (1 + e^−(a·score + b)). Platt's own A and B are −a and −b.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    pub a: f64,
    pub b: f64,
}

impl Platt {
    /// The curve of least smoothed log loss. Both classes must be there and the scores be finite; where all scores are equal `a`
    /// is 0.
    ///
    /// The share of fakes among `scores` is part of `b`: see [`Platt::balanced`].
    pub fn fit(scores: &[(f64, bool)]) -> Platt {
        // The score enters with mean 0 and deviation 1, so that the ridge and the tolerance below mean the same for every unit.
        let n = scores.len() as f64;
        let mean = scores.iter().map(|s| s.0 / n).sum::<f64>();
        let spread = (scores.iter().map(|s| (s.0 - mean).powi(2) / n).sum::<f64>()).sqrt();
        let spread = if spread > 0.0 { spread } else { 1.0 };
        let target = targets(scores);
        let rows: Vec<(f64, f64)> = scores.iter().map(|&(s, fake)| ((s - mean) / spread, target[fake as usize])).collect();
        let loss = |a: f64, b: f64| -> f64 {
            rows.iter()
                .map(|&(x, t)| {
                    let z = a * x + b;
                    if z >= 0.0 { (1.0 - t) * z + (-z).exp().ln_1p() } else { -t * z + z.exp().ln_1p() }
                })
                .sum()
        };
        let (mut a, mut b) = (0.0, prior(scores));
        let mut now = loss(a, b);
        for _ in 0..100 {
            // Gradient, and the Hessian with a ridge that keeps it invertible.
            let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-12, 0.0, 1e-12);
            for &(x, t) in &rows {
                let p = logistic(a * x + b);
                let (d, h) = (p - t, p * (1.0 - p));
                ga += d * x;
                gb += d;
                haa += h * x * x;
                hab += h * x;
                hbb += h;
            }
            if ga.abs() < 1e-10 && gb.abs() < 1e-10 {
                break;
            }
            let det = haa * hbb - hab * hab;
            let (da, db) = ((hab * gb - hbb * ga) / det, (hab * ga - haa * gb) / det);
            let slope = ga * da + gb * db;
            let mut step = 1.0;
            // Near the lowest point the loss falls by less than it is rounded by.
            while step > 1e-10 && loss(a + step * da, b + step * db) > now + 1e-4 * step * slope + 1e-14 * n {
                step *= 0.5;
            }
            if step <= 1e-10 {
                break; // as low as rounding lets it come
            }
            (a, b) = (a + step * da, b + step * db);
            now = loss(a, b);
        }
        Platt { a: a / spread, b: b - a * mean / spread }
    }

    /// The curve for a picture that is as likely forged as genuine before anything is known of it: the odds of fakes among
    /// `scores`, which the curve was fitted to, taken off (for a logistic curve only `b` depends on them; R. L. Prentice, R.
    /// Pyke, Biometrika 66, 1979). Where the curve then says ½, the score is as likely among genuine pictures as among forged
    /// ones.
    pub fn balanced(self, scores: &[(f64, bool)]) -> Platt {
        Platt { a: self.a, b: self.b - prior(scores) }
    }

    /// The probability that a picture with this score is forged, within [0, 1].
    pub fn p(&self, score: f64) -> f64 {
        logistic(self.a * score + self.b)
    }

    /// The score at which p is ½; none for a curve without slope.
    pub fn even(&self) -> Option<f64> {
        (self.a != 0.0).then(|| -self.b / self.a).filter(|s| s.is_finite())
    }
}

fn logistic(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// Platt's targets of genuine pictures and of fakes: 1/(n₀ + 2) and (n₁ + 1)/(n₁ + 2) in place of 0 and 1, so that the curve
/// stays finite where a threshold parts the classes.
fn targets(scores: &[(f64, bool)]) -> [f64; 2] {
    let forged = scores.iter().filter(|s| s.1).count() as f64;
    [1.0 / (scores.len() as f64 - forged + 2.0), (forged + 1.0) / (forged + 2.0)]
}

/// Log odds of the mean target: what a curve without slope says.
fn prior(scores: &[(f64, bool)]) -> f64 {
    let target = targets(scores);
    let sum: f64 = scores.iter().map(|s| target[s.1 as usize]).sum();
    (sum / (scores.len() as f64 - sum)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(genuine: &[f64], forged: &[f64]) -> Vec<(f64, bool)> {
        genuine.iter().map(|&s| (s, false)).chain(forged.iter().map(|&s| (s, true))).collect()
    }

    /// Two values of the score: the curve passes through the mean target at each, so both parameters are known in closed form.
    /// Eight genuine pictures (target 1/10) and six fakes (target 7/8). At 0: six and two, mean (6·0.1 + 2·0.875)/8 = 0.29375.
    /// At 1: two and four, mean (2·0.1 + 4·0.875)/6 = 37/60. b = ln(0.29375/0.70625), a = ln(37/23) − b.
    #[test]
    fn a_score_of_two_values_by_hand() {
        let scores = rows(&[0., 0., 0., 0., 0., 0., 1., 1.], &[0., 0., 1., 1., 1., 1.]);
        let p = Platt::fit(&scores);
        let b = (0.29375f64 / 0.70625).ln();
        assert!((p.b - b).abs() < 1e-9 && (p.a - ((37f64 / 23.0).ln() - b)).abs() < 1e-9, "{p:?}");
    }

    /// By nested bisection of the two derivatives in Python, which shares nothing with Newton's method: for each a the b at
    /// which Σ(p − t) = 0, and the a at which Σ(p − t)·s = 0.
    #[test]
    fn eleven_scores_as_computed_elsewhere() {
        let scores = rows(&[-2.1, -1.3, -0.7, 0.2, 0.9], &[-0.4, 0.5, 1.1, 1.8, 2.6, 3.0]);
        let p = Platt::fit(&scores);
        assert!((p.a - 0.8007599279005269).abs() < 1e-9 && (p.b + 0.1801042955840183).abs() < 1e-9, "{p:?}");
        // Another unit and another zero of the score give the same probabilities.
        let moved: Vec<(f64, bool)> = scores.iter().map(|&(s, f)| (1e6 * s + 3e8, f)).collect();
        let q = Platt::fit(&moved);
        scores.iter().zip(&moved).for_each(|(x, y)| assert!((p.p(x.0) - q.p(y.0)).abs() < 1e-8));
    }

    #[test]
    fn classes_that_a_threshold_parts_have_a_finite_curve() {
        let p = Platt::fit(&rows(&[-3.0, -2.0, -1.0, -1.5], &[1.0, 2.0, 1.5, 3.0]));
        assert!(p.a > 0.5 && p.a < 20.0 && p.even().unwrap().abs() < 0.2, "{p:?}");
        assert!(p.p(1e300) == 1.0 && p.p(-1e300) == 0.0);
    }

    /// Nine copies of every fake: the odds of the sample are nine times as high, those of the balanced curve are as before, but
    /// for the smoothing.
    #[test]
    fn how_many_fakes_there_were_is_no_part_of_the_balanced_curve() {
        let genuine: Vec<f64> = (0..200).map(|i| i as f64 * 0.01 - 1.5).collect();
        let forged: Vec<f64> = (0..200).map(|i| i as f64 * 0.01 - 0.5).collect();
        let (few, many) = (rows(&genuine, &forged), rows(&genuine, &forged.repeat(9)));
        let (a, b) = (Platt::fit(&few).balanced(&few), Platt::fit(&many).balanced(&many));
        assert!((a.even().unwrap() - b.even().unwrap()).abs() < 0.06, "{a:?} {b:?}");
        assert!(Platt::fit(&many).even().unwrap() < a.even().unwrap() - 0.3);
        let flat = rows(&[1.0; 30], &[1.0; 5]);
        let p = Platt::fit(&flat);
        assert!(p.a == 0.0 && p.even().is_none() && (p.balanced(&flat).p(1.0) - 0.5).abs() < 1e-12);
    }
}
