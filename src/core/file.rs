//! Files that are whole or not there: written under a temporary name, then renamed.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path`. A kill, a crash or a full disk on the way leaves an older file of that name as it was.
pub fn write_whole(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write(path.as_ref(), bytes, true)
}

/// The same without waiting for the disk, for thousands of files that can be made again: whole after a kill, but perhaps not after
/// a loss of power.
pub fn write_quickly(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write(path.as_ref(), bytes, false)
}

fn write(path: &Path, bytes: &[u8], sync: bool) -> Result<()> {
    let mut name = path.file_name().ok_or_else(|| Error::data(path, "not a file name"))?.to_os_string();
    // Two processes may write the same file.
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let done = File::create(&temporary)
        .and_then(|mut f| f.write_all(bytes).and_then(|()| if sync { f.sync_all() } else { Ok(()) }))
        .and_then(|()| std::fs::rename(&temporary, path));
    done.map_err(|e| {
        // Best effort: the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.html");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_whole(dir.path().join("none/a.html"), b"x").is_err());
        assert!(write_whole("/", b"x").is_err());
        // A folder of that name is in the way: nothing is lost and nothing is left behind.
        std::fs::create_dir_all(dir.path().join("b.html/full")).unwrap();
        assert!(write_whole(dir.path().join("b.html"), b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
