//! The terminal: results on standard output, the story of a run and its progress on standard error.
//!
//! What drives a terminal is escaped on the way ([`lines`](crate::text::lines)). Nothing here panics. `lae-engine detect … | head`
//! closes the pipe that results go to, and a training outlives the terminal that it was started from.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::data::duration;
use crate::error::{Error, Result};

/// The bar on the screen, above which lines are printed.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Time between lines of progress where the output is a file.
const QUIET: Duration = Duration::from_secs(30);

fn shown() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(|p| p.into_inner()).clone()
}

/// Prints results on standard output, without a line break of its own. A reader that went away is an error of kind `BrokenPipe`.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(crate::text::lines(text).as_bytes()).and_then(|()| out.flush()).map_err(|e| Error::io("standard output", e))
}

/// Prints a line about the run on standard error, above the progress bar if there is one. A failure to write is ignored: a training
/// goes on without its terminal.
pub fn say(line: &str) {
    let line = &crate::text::lines(line);
    match shown() {
        Some(bar) => bar.println(line),
        None => drop(writeln!(std::io::stderr(), "{line}")),
    }
}

/// Progress with rate and time left: a bar on a terminal, else a line every half a minute.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    unit: &'static str,
    total: u64,
    done: u64,
    /// Done before this process began.
    before: u64,
    begun: Instant,
    told: Instant,
}

impl Progress {
    pub fn new(what: &'static str, total: u64, done: u64, unit: &'static str) -> Progress {
        let bar = ProgressBar::new(total).with_position(done);
        let style = format!("{{prefix:<9}} {{bar:24}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}");
        let style = ProgressStyle::with_template(&style).expect("a valid template");
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ ").with_key("per_sec", rate));
        bar.set_prefix(what);
        bar.reset_eta();
        if !bar.is_hidden() {
            *BAR.lock().unwrap_or_else(|p| p.into_inner()) = Some(bar.clone());
        }
        let now = Instant::now();
        Progress { bar, what, unit, total, done, before: done, begun: now, told: now }
    }

    /// Adds `n` to what is done. `message` is called only where the text is shown.
    pub fn add(&mut self, n: u64, message: impl FnOnce() -> String) {
        self.done += n;
        if !self.bar.is_hidden() {
            self.bar.set_message(message());
            self.bar.set_position(self.done);
        } else if self.told.elapsed() >= QUIET {
            self.told = Instant::now();
            let rate = (self.done - self.before) as f64 / self.begun.elapsed().as_secs_f64();
            let left = duration(self.total.saturating_sub(self.done) as f64 / rate);
            let (what, unit) = (self.what, self.unit);
            say(&format!("{what:<9} {}/{} {unit}, {rate:.1}/s, {left} left  {}", self.done, self.total, message()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        BAR.lock().unwrap_or_else(|p| p.into_inner()).take();
        self.bar.finish_and_clear();
    }
}

/// `3.2/s`.
fn rate(state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write) {
    let _ = write!(w, "{:.1}/s", state.per_sec());
}
