//! The file in a run folder that holds what the run says of pictures with and without a trace.

use std::path::{Path, PathBuf};

use crate::core::file::write_whole;
use crate::error::{Error, Result};
use crate::train::exchange::Copies;

/// Of fakes that carry the trace of training, and genuine pictures, the share that is right.
pub const TRACED: &str = "seen, with the trace";
/// The same without the trace.
pub const UNTRACED: &str = "seen, without it";
/// Of genuine pictures with the trace, the share that is called fake.
pub const TRACED_GENUINE: &str = "genuine with the trace, called fake";

/// The file about a trace in a run folder.
pub fn file(dir: &Path, trace: &str) -> PathBuf {
    dir.join(format!("shortcut-{trace}.json"))
}

/// Write what the run in `dir` says.
pub fn save(dir: &Path, trace: &str, all: &[Copies]) -> Result<()> {
    write_whole(file(dir, trace), &serde_json::to_vec_pretty(all).expect("plain data"))
}

/// What the run said; none where it was not asked.
pub fn load(dir: &Path, trace: &str) -> Result<Option<Vec<Copies>>> {
    let file = file(dir, trace);
    if !file.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
    let why = |e| Error::data(&file, format!("cannot be read ({e}); remove it, and the run is judged again"));
    serde_json::from_slice(&bytes).map(Some).map_err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Bootstrap;

    #[test]
    fn what_was_written_is_read_and_a_broken_file_says_what_to_do() {
        let how = Bootstrap { resamples: 10, seed: 1 };
        let one = Copies::new(TRACED.into(), &[true, false, true], &[Some(1), Some(1), Some(2)], &how).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "x", std::slice::from_ref(&one)).unwrap();
        assert_eq!(load(dir.path(), "x").unwrap(), Some(vec![one]));
        assert_eq!(load(dir.path(), "y").unwrap(), None);
        std::fs::write(file(dir.path(), "x"), "{}").unwrap();
        assert!(load(dir.path(), "x").unwrap_err().to_string().contains("remove it"));
    }
}
