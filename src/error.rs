//! One error type for the whole crate. Every variant says what failed, where, and (in `why`) what to do about it. Names of files are
//! escaped ([`shown`]): a name cannot forge a line of output.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::shown;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit together; found when an op is recorded, before any memory is touched.
    #[error("{}{op}: {why}", prefix(at))]
    Shape { op: &'static str, at: String, why: String },
    /// A file or folder that cannot be read or written.
    #[error("{}: {source}{}", shown(path), remedy(source))]
    Io { path: PathBuf, source: std::io::Error },
    /// A configuration key or command line argument with an impossible value.
    #[error("{key}: {why}")]
    Config { key: String, why: String },
    /// A picture, mask, data set or checkpoint whose content cannot be used.
    #[error("{}: {why}", shown(file))]
    Data { file: PathBuf, why: String },
    /// A device that was asked for and is not there.
    #[error("device {device} is not available: {why}")]
    Unavailable { device: String, why: String },
    /// A launch that does not fit its kernel, or that the device refused.
    #[error("{}kernel {kernel}: {why}", prefix(at))]
    Launch { kernel: String, at: String, why: String },
    /// A device that failed while it worked.
    #[error("device {device}: {why}")]
    Device { device: String, why: String },
    /// A run that goes on when a person has done something: no failure.
    #[error(
        "the run waits for a person's masks: {missing} of {total} chosen pictures have none yet. Draw them with `lae-engine annotate {run}`, \
         then `lae-engine train --resume {run}`{}",
        so_far(*masked),
        run = shown(run)
    )]
    Waits { run: PathBuf, missing: usize, total: usize, masked: usize },
    /// A loss that is no longer a finite number; `key` names the rates that may be too high.
    #[error("training diverged at step {step}: {what} is {value}; try a lower learning rate ({key})")]
    Diverged { step: u64, what: String, value: f64, key: String },
}

/// As [`fmt::Display`]: `fn main() -> Result<()>` and `unwrap` print this, and a person reads it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What to do about a failure of the system, where that can be said.
fn remedy(e: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::*;
    match e.kind() {
        NotFound => "; check the path",
        PermissionDenied | ReadOnlyFilesystem => "; change its permissions, or choose another place",
        StorageFull | QuotaExceeded | FileTooLarge => "; make room and start again (train: with --resume, nothing saved is lost)",
        _ => "",
    }
}

fn so_far(masked: usize) -> String {
    match masked {
        0 => String::new(),
        n => format!(" (or with --masks-so-far, to go on with the {n} that are there)"),
    }
}

fn prefix(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!("{at}: ") }
}

impl Error {
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Error {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
    pub fn config(key: impl Into<String>, why: impl fmt::Display) -> Error {
        Error::Config { key: key.into(), why: why.to_string() }
    }
    pub fn data(file: impl AsRef<Path>, why: impl fmt::Display) -> Error {
        Error::Data { file: file.as_ref().to_path_buf(), why: why.to_string() }
    }
    /// An op adds the layer that it was recorded in: `lae.encoder.2: conv2d: …`.
    pub fn at(mut self, layer: &str) -> Error {
        if let Error::Shape { at, .. } | Error::Launch { at, .. } = &mut self
            && at.is_empty()
        {
            *at = layer.to_string();
        }
        self
    }
}
