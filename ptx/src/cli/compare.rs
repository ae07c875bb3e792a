//! Results against what was wanted.

use super::types::Type;

/// How far a value may be off: `|got − wanted| ≤ atol + rtol · |wanted|`, in all but `max_bad` places.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
    pub max_bad: u64,
}

/// Numbers in memory; `known` is false for a value that nothing wrote.
#[derive(Clone, Copy)]
pub struct Numbers<'a> {
    pub ty: Type,
    pub bytes: &'a [u8],
    pub known: &'a [bool],
}

impl Numbers<'_> {
    fn one(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.ty.size()..][..self.ty.size()]
    }

    pub fn is_known(&self, i: usize) -> bool {
        self.known.is_empty() || self.known[i]
    }

    pub fn show(&self, i: usize) -> String {
        if self.is_known(i) { self.ty.show(self.one(i)) } else { "?".into() }
    }

    pub fn count(&self) -> usize {
        self.bytes.len() / self.ty.size()
    }
}

/// What is wrong with a result, in a sentence; none if nothing is. Both sides have as many values.
pub fn difference(got: Numbers, want: Numbers, t: Tolerance) -> Option<String> {
    let ints = !got.ty.float() && !want.ty.float();
    // How far off, and how far it may be.
    let off = |i: usize| -> (f64, f64) {
        let (g, w) = (got.one(i), want.one(i));
        let (a, b) = (got.ty.float_of(g), want.ty.float_of(w));
        let allowed = t.atol + t.rtol * b.abs();
        if !got.is_known(i) {
            return (f64::INFINITY, allowed);
        }
        if ints {
            return ((got.ty.int_of(g) - want.ty.int_of(w)).unsigned_abs() as f64, allowed);
        }
        // Infinities of one sign are equal, and a NaN is what a NaN wants.
        if a == b || a.is_nan() && b.is_nan() {
            return (0.0, allowed);
        }
        let d = (a - b).abs();
        // An infinity is near to nothing else, whatever `rtol` says.
        (if d.is_nan() || !d.is_finite() { f64::INFINITY } else { d }, if b.is_finite() { allowed } else { 0.0 })
    };
    let (mut bad, mut first, mut worst) = (0u64, None, (0, -1.0));
    for i in 0..got.count() {
        let (d, allowed) = off(i);
        if d > allowed {
            bad += 1;
            first.get_or_insert(i);
            if d - allowed > worst.1 {
                worst = (i, d - allowed);
            }
        }
    }
    let first = first.filter(|_| bad > t.max_bad)?;
    let place = |i: usize| {
        let (d, allowed) = off(i);
        let size = |x: f64| Type::F64.show(&x.to_le_bytes());
        let how =
            if got.is_known(i) { format!("off by {}, {} allowed", size(d), size(allowed)) } else { "nothing wrote it".into() };
        format!("at {i}: got {}, wanted {} ({how})", got.show(i), want.show(i))
    };
    let most = if t.max_bad > 0 { format!(" ({} may)", t.max_bad) } else { String::new() };
    let worst = if worst.0 != first { format!("; the worst {}", place(worst.0)) } else { String::new() };
    Some(format!("{bad} of {} values differ{most}, the first {}{worst}", got.count(), place(first)))
}

/// Where two runs left different bits.
pub fn unequal(a: Numbers, b: Numbers) -> Option<String> {
    let differ = |i: &usize| a.is_known(*i) != b.is_known(*i) || a.is_known(*i) && a.one(*i) != b.one(*i);
    let first = (0..a.count()).find(differ)?;
    let bad = (first..a.count()).filter(differ).count();
    Some(format!("{bad} of {} values differ, the first at {first}: {} and {}", a.count(), a.show(first), b.show(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(x: &[f32]) -> Vec<u8> {
        x.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn within_and_beyond() {
        let n = |ty, bytes| Numbers { ty, bytes, known: &[] };
        let tol = |rtol, atol, max_bad| Tolerance { rtol, atol, max_bad };
        let (got, want) = (f32s(&[1.0, 2.0, f32::NAN, f32::INFINITY, 5.0]), f32s(&[1.0, 2.5, f32::NAN, f32::INFINITY, 5.1]));
        let d = |t| difference(n(Type::F32, &got), n(Type::F32, &want), t);
        let text = d(tol(0.0, 0.0, 0)).unwrap();
        assert_eq!(text, "2 of 5 values differ, the first at 1: got 2, wanted 2.5 (off by 0.5, 0 allowed)");
        let text = d(tol(0.0, 0.45, 0)).unwrap();
        assert!(text.starts_with("1 of 5 values differ, the first at 1"), "{text}");
        assert_eq!(d(tol(0.2, 0.0, 0)), None);
        assert_eq!(d(tol(0.0, 0.0, 2)), None);
        assert!(d(tol(0.0, 0.0, 1)).unwrap().contains("2 of 5 values differ (1 may)"));
        // A result in f32 against a reference in f64.
        let wide: Vec<u8> = [1f64, 2.0, f64::NAN, f64::INFINITY, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(difference(n(Type::F32, &got), n(Type::F64, &wide), tol(0.0, 0.0, 0)), None);
        // An infinity is not near to a large number.
        let (a, b) = (f32s(&[f32::INFINITY, 1.0]), f32s(&[3e38, f32::INFINITY]));
        assert!(difference(n(Type::F32, &a), n(Type::F32, &b), tol(1e9, 1e9, 0)).unwrap().starts_with("2 of 2"));
        let (a, b) = (u64::MAX.to_le_bytes(), (u64::MAX - 1).to_le_bytes());
        assert!(difference(n(Type::U64, &a), n(Type::U64, &b), tol(0.0, 0.0, 0)).unwrap().contains("off by 1, 0 allowed"));
        let unwritten = Numbers { ty: Type::F32, bytes: &got[..4], known: &[false] };
        assert!(
            difference(unwritten, n(Type::F32, &got[..4]), tol(9.0, 9.0, 0))
                .unwrap()
                .contains("got ?, wanted 1 (nothing wrote it)")
        );
        assert_eq!(unequal(n(Type::F32, &got), n(Type::F32, &got)), None, "the same NaN is the same");
        assert_eq!(unequal(n(Type::F32, &got), n(Type::F32, &want)).unwrap(), "2 of 5 values differ, the first at 1: 2 and 2.5");
    }
}
