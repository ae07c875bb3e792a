//! The table `[counter]` of a config file: how many training pictures are counterexamples to a trace, and of which kind.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What stands in the hole of a residual, where the forgery hides the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Copies of the residual's own outside, shifted by multiples of `counter.period`.
    #[default]
    Shift,
    /// Nothing: the trace is moved outside of the forged region alone.
    Zero,
}

/// What becomes of a value that adding the residual would push out of 0..=255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clip {
    /// It is cut off at the end of the range, as a program that leaves the trace would do.
    #[default]
    Cut,
    /// It stays as it was.
    Keep,
}

/// The table `[counter]` of a config file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CounterConfig {
    /// Share of each class to whose pictures the trace is added (genuine) or from which it is taken (fake).
    pub transplant: f32,
    /// Share of each class whose region is exchanged: fakes get their original's outside, genuine pictures a fake's.
    pub exchange: f32,
    /// Share of the fakes that are replaced by self-blended forgeries of genuine pictures.
    pub pseudo: f32,
    /// How the hole of a residual is filled: shift or zero.
    pub fill: Fill,
    /// Shifts of the copies are multiples of this, in pixels: a trace that repeats after it stays aligned.
    pub period: usize,
    /// Values that leave the range: cut or keep.
    pub clip: Clip,
}

impl Default for CounterConfig {
    fn default() -> CounterConfig {
        CounterConfig { transplant: 0.0, exchange: 0.0, pseudo: 0.0, fill: Fill::Shift, period: 8, clip: Clip::Cut }
    }
}

impl CounterConfig {
    /// Whether any picture is a counterexample.
    pub fn on(&self) -> bool {
        self.transplant > 0.0 || self.exchange > 0.0 || self.pseudo > 0.0
    }

    /// Refuses impossible values, naming the key.
    pub fn check(&self) -> Result<()> {
        let fail = |key: &str, why: String| Err(Error::config(format!("counter.{key}"), why));
        let shares = [("transplant", self.transplant), ("exchange", self.exchange), ("pseudo", self.pseudo)];
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return fail(key, format!("{share} is no share of the pictures; use 0 to 1"));
            }
        }
        let all: f32 = shares.iter().map(|s| s.1).sum();
        if all > 1.0 + f32::EPSILON {
            let last = shares.iter().rfind(|s| s.1 > 0.0).expect("a sum above 1 has a share").0;
            let why = format!(
                "a picture is a counterexample of one kind, and the shares of counter.transplant, counter.exchange and \
                 counter.pseudo add up to {all}; make them 1 or less together"
            );
            return fail(last, why);
        }
        if !(1..=256).contains(&self.period) {
            return fail(
                "period",
                format!("{} pixels: give 1 to 256 (8 keeps what repeats after 1, 2, 4 or 8 pixels)", self.period),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_name_their_key_and_the_remedy() {
        let d = CounterConfig::default;
        for (key, remedy, c) in [
            ("counter.transplant", "0 to 1", CounterConfig { transplant: 1.5, ..d() }),
            ("counter.exchange", "0 to 1", CounterConfig { exchange: f32::NAN, ..d() }),
            ("counter.pseudo", "0 to 1", CounterConfig { pseudo: -0.1, ..d() }),
            ("counter.pseudo", "1 or less together", CounterConfig { transplant: 0.5, pseudo: 0.6, ..d() }),
            ("counter.exchange", "1 or less together", CounterConfig { transplant: 0.5, exchange: 0.6, ..d() }),
            ("counter.period", "1 to 256", CounterConfig { period: 0, ..d() }),
        ] {
            let e = c.check().unwrap_err().to_string();
            assert!(e.starts_with(key) && e.contains(remedy), "{key}: {e}");
        }
        d().check().unwrap();
        CounterConfig { transplant: 0.5, exchange: 0.3, pseudo: 0.2, ..d() }.check().unwrap();
        assert!(!d().on() && CounterConfig { pseudo: 0.1, ..d() }.on());
    }
}
