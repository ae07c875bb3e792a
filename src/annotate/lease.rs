//! Who may write: one tab at a time, by name.
//!
//! A tab asks every few seconds. A tab that has not asked for [`TERM`] is gone, however it went, and the next that asks is let in.

use std::time::{Duration, Instant};

/// After so long without a word a tab is gone.
pub const TERM: Duration = Duration::from_secs(15);

struct Holder {
    tab: String,
    by: String,
    since: Instant,
    seen: Instant,
}

/// The right to write, and who has it.
#[derive(Default)]
pub struct Lease(Option<Holder>);

impl Lease {
    /// Gives the right to `tab`, in which `by` works, or says who has it.
    pub fn take(&mut self, tab: &str, by: &str, now: Instant) -> Result<(), String> {
        match &mut self.0 {
            Some(h) if h.tab == tab => {
                h.seen = now;
                h.by = by.into();
                Ok(())
            }
            Some(h) if now.duration_since(h.seen) < TERM => Err(words(h, now)),
            free => {
                *free = Some(Holder { tab: tab.into(), by: by.into(), since: now, seen: now });
                Ok(())
            }
        }
    }

    /// The name of the annotator in `tab`, if the tab may write; else who may.
    pub fn holds(&mut self, tab: &str, now: Instant) -> Result<String, String> {
        match &mut self.0 {
            Some(h) if h.tab == tab => {
                h.seen = now;
                Ok(h.by.clone())
            }
            Some(h) if now.duration_since(h.seen) < TERM => Err(words(h, now)),
            _ => Err("no tab has asked for this queue: reload the page".into()),
        }
    }

    /// Gives the right up, if `tab` has it.
    pub fn release(&mut self, tab: &str) {
        if self.0.as_ref().is_some_and(|h| h.tab == tab) {
            self.0 = None;
        }
    }
}

fn words(h: &Holder, now: Instant) -> String {
    let who = if h.by.is_empty() { "somebody" } else { &h.by };
    let ago = |t: Instant| match now.duration_since(t).as_secs() {
        s @ ..120 => format!("{s} s"),
        s => format!("{} min", s / 60),
    };
    format!("{who} has this queue open in another tab (for {}, last seen {} ago)", ago(h.since), ago(h.seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writes_and_the_other_hears_who() {
        let (mut lease, t) = (Lease::default(), Instant::now());
        let at = |s: u64| t + Duration::from_secs(s);
        assert!(lease.holds("a", t).unwrap_err().contains("reload"));
        lease.take("a", "anna", t).unwrap();
        assert_eq!(lease.holds("a", at(10)).unwrap(), "anna");
        let e = lease.take("b", "ben", at(14)).unwrap_err();
        assert_eq!(e, "anna has this queue open in another tab (for 14 s, last seen 4 s ago)");
        assert_eq!(lease.holds("b", at(14)).unwrap_err(), e);
        // A tab that went without a word, and one that said so.
        lease.take("b", "ben", at(25)).unwrap();
        assert!(lease.holds("a", at(26)).unwrap_err().starts_with("ben has"));
        lease.release("a");
        assert!(lease.holds("b", at(27)).is_ok());
        lease.release("b");
        lease.take("a", "", at(28)).unwrap();
        assert!(lease.take("b", "ben", at(400)).is_ok());
    }
}
