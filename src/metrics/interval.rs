//! A figure with its 95 % interval.

use serde::{Deserialize, Serialize};

/// A figure and the 2.5 and 97.5 percentiles of its resampled values. All three are finite, in the unit of the figure
/// (rates are in [0, 1], not in percent).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub value: f64,
    pub lo: f64,
    pub hi: f64,
}

impl Interval {
    /// A figure of which no spread is known.
    pub fn point(value: f64) -> Interval {
        Interval { value, lo: value, hi: value }
    }
    /// `count` of `of` ≥ 1, with the 95 % interval of E. B. Wilson, J. Am. Stat. Assoc. 22, 1927: sound for few pictures and
    /// near 0 and 1, where resampling gives no width.
    pub fn wilson(count: usize, of: usize) -> Interval {
        const Z: f64 = 1.959_963_984_540_054;
        let (n, p) = (of as f64, count as f64 / of as f64);
        let centre = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        // Rounding must not put a bound beside the share that it touches.
        let lo = if count == 0 { 0.0 } else { centre - half };
        let hi = if count == of { 1.0 } else { centre + half };
        Interval { value: p, lo, hi }
    }
    /// True when the whole interval lies on one side of zero: a difference that resampling does not explain away.
    pub fn excludes_zero(&self) -> bool {
        self.lo > 0.0 || self.hi < 0.0
    }
    /// `61.1 % [58.0, 64.2]`
    pub fn percent(&self) -> String {
        format!("{} {}", self.percent_value(), self.percent_bounds())
    }
    /// `61.1 %`
    pub fn percent_value(&self) -> String {
        format!("{} %", fixed(self.value * 100.0, 1))
    }
    /// `[58.0, 64.2]`, in percent
    pub fn percent_bounds(&self) -> String {
        format!("[{}, {}]", fixed(self.lo * 100.0, 1), fixed(self.hi * 100.0, 1))
    }
    /// `+1.2 [−0.3, +2.7]`: a difference of rates in percentage points.
    pub fn points(&self) -> String {
        format!("{} {}", self.points_value(), self.points_bounds())
    }
    /// `+1.2`
    pub fn points_value(&self) -> String {
        signed(self.value * 100.0, 1)
    }
    /// `[−0.3, +2.7]`
    pub fn points_bounds(&self) -> String {
        format!("[{}, {}]", signed(self.lo * 100.0, 1), signed(self.hi * 100.0, 1))
    }
    /// `0.123 [0.110, 0.135]`: for errors, which are not rates.
    pub fn plain(&self) -> String {
        format!("{} [{}, {}]", fixed(self.value, 3), fixed(self.lo, 3), fixed(self.hi, 3))
    }
}

/// Fixed decimals with a true minus sign; never `−0.0`.
pub fn fixed(x: f64, decimals: usize) -> String {
    let s = format!("{:.*}", decimals, x.abs());
    let zero = s.bytes().all(|b| matches!(b, b'0' | b'.'));
    if x < 0.0 && !zero { format!("\u{2212}{s}") } else { s }
}

/// [`fixed`] with a plus sign on what is above zero.
pub fn signed(x: f64, decimals: usize) -> String {
    let s = fixed(x, decimals);
    let zero = s.bytes().all(|b| matches!(b, b'0' | b'.'));
    if x > 0.0 && !zero { format!("+{s}") } else { s }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        let i = Interval { value: 0.6114, lo: 0.58, hi: 0.642 };
        assert_eq!(i.percent(), "61.1 % [58.0, 64.2]");
        let d = Interval { value: -0.0003, lo: -0.012, hi: 0.0123 };
        assert_eq!(d.points(), "0.0 [−1.2, +1.2]");
        assert_eq!(Interval { value: 0.05, lo: 0.04, hi: 0.0625 }.plain(), "0.050 [0.040, 0.062]");
        assert_eq!(fixed(-12.34, 1), "−12.3");
    }

    /// R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Stat. Med. 17, 1998, table I, method 3.
    #[test]
    fn shares_have_wilsons_interval() {
        for (count, of, lo, hi) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let i = Interval::wilson(count, of);
            assert!((i.lo - lo).abs() < 6e-5 && (i.hi - hi).abs() < 6e-5, "{count} of {of}: {i:?}");
        }
        let all = Interval::wilson(20, 20);
        assert!(all.hi == 1.0 && (all.lo - 0.8389).abs() < 6e-5);
    }

    #[test]
    fn zero_is_excluded_only_by_a_whole_interval() {
        assert!(Interval { value: 0.1, lo: 0.01, hi: 0.2 }.excludes_zero());
        assert!(Interval { value: -0.1, lo: -0.2, hi: -0.01 }.excludes_zero());
        assert!(!Interval { value: 0.1, lo: 0.0, hi: 0.2 }.excludes_zero());
    }
}
