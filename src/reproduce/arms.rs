//! The trainings of the table `shortcut`: which trace every seen fake carries, and what is done about it.

use crate::data::fingerprint::Fingerprint;

/// A planted trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trace {
    /// In folders and tables.
    pub name: &'static str,
    pub kind: Fingerprint,
    /// Share of the seen training fakes that carry it.
    pub rate: f32,
}

/// Traces that trainings can be made for, the default one first; each at the strength of its kind (`data.fingerprint_amplitude`).
pub const TRACES: [Trace; 6] = [
    Trace { name: "checkerboard", kind: Fingerprint::Checkerboard, rate: 1.0 },
    Trace { name: "checkerboard-0.9", kind: Fingerprint::Checkerboard, rate: 0.9 },
    Trace { name: "checkerboard-0.5", kind: Fingerprint::Checkerboard, rate: 0.5 },
    Trace { name: "jpeg", kind: Fingerprint::Jpeg, rate: 1.0 },
    Trace { name: "resample", kind: Fingerprint::Resample, rate: 1.0 },
    Trace { name: "noise", kind: Fingerprint::Noise, rate: 1.0 },
];

/// A way of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// In folders.
    pub name: &'static str,
    /// In tables.
    pub label: &'static str,
    /// Whether the training fakes carry the trace.
    pub traced: bool,
    /// Keys over what the runs share.
    pub set: &'static [&'static str],
}

/// The paper's method on fakes that carry the trace: what the others are compared with.
pub const PAPER: Arm = Arm { name: "paper", label: "as the paper", traced: true, set: &[] };

/// All trainings, the upper reference first.
pub const ARMS: [Arm; 5] = [
    Arm { name: "untraced", label: "no trace in training (upper reference)", traced: false, set: &[] },
    PAPER,
    Arm { name: "transplant", label: "residual transplant, half of each class", traced: true, set: &["counter.transplant=0.5"] },
    Arm { name: "exchange", label: "exchange of the region, half of each class", traced: true, set: &["counter.exchange=0.5"] },
    Arm { name: "pseudo", label: "self-blended forgeries, half of the fakes", traced: true, set: &["counter.pseudo=0.5"] },
];

impl Arm {
    /// The name of the job of its first stage, on fakes with `trace`; none for the one that knows no trace.
    pub fn job(&self, trace: &Trace) -> Option<String> {
        self.traced.then(|| format!("lae-{}-{}", trace.name, self.name))
    }

    /// Its settings.
    pub fn settings(&self, trace: &Trace) -> Vec<String> {
        let kind = format!("{:?}", trace.kind).to_lowercase();
        let planted = [format!("data.fingerprint={kind}"), format!("data.fingerprint_rate={:?}", trace.rate)];
        let planted = planted.into_iter().filter(|_| self.traced);
        planted.chain(self.set.iter().map(|s| s.to_string())).collect()
    }
}
