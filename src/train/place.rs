//! The folder of a run: made once, held by one process at a time.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where a new run shall live.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder that must not exist yet.
    Named(PathBuf),
    /// `parent/name-1`, or the first number that is free.
    Numbered { parent: PathBuf, name: String },
}

impl From<&Path> for Place {
    fn from(dir: &Path) -> Place {
        Place::Named(dir.to_path_buf())
    }
}

impl From<&PathBuf> for Place {
    fn from(dir: &PathBuf) -> Place {
        Place::Named(dir.clone())
    }
}

fn taken(dir: &Path) -> Error {
    Error::data(dir, "exists already; give another --out, or --resume it")
}

impl Place {
    /// Refuses a folder that exists, before anything else is done.
    pub fn check(&self) -> Result<()> {
        match self {
            Place::Named(dir) if dir.symlink_metadata().is_ok() => Err(taken(dir)),
            _ => Ok(()),
        }
    }

    /// Makes the folder. Making a folder fails if there is one, so of two processes that ask for the same name one gets an error,
    /// and of two that ask for a number each gets its own.
    pub fn make(&self) -> Result<PathBuf> {
        let in_use = |e: &std::io::Error| e.kind() == ErrorKind::AlreadyExists;
        match self {
            Place::Named(dir) => {
                if let Some(parent) = dir.parent() {
                    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
                }
                std::fs::create_dir(dir).map_err(|e| if in_use(&e) { taken(dir) } else { Error::io(dir, e) })?;
                Ok(dir.clone())
            }
            Place::Numbered { parent, name } => {
                std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
                for dir in (1..100_000).map(|i| parent.join(format!("{name}-{i}"))) {
                    match std::fs::create_dir(&dir) {
                        Ok(()) => return Ok(dir),
                        Err(e) if in_use(&e) => {}
                        Err(e) => return Err(Error::io(dir, e)),
                    }
                }
                Err(Error::config("--out", format!("no free folder name in {}; give one", crate::text::shown(parent))))
            }
        }
    }
}

/// A hold on a run folder, given up with the value or with the process, however it ends.
pub struct Hold {
    _file: Option<File>,
}

impl Hold {
    /// Lock `file` of the run folder `dir`. An error if another process holds it. A file system that knows no locks lets everybody
    /// in; `tell` hears of that.
    pub fn take(dir: &Path, file: &str, tell: impl Fn(&str)) -> Result<Hold> {
        let path = dir.join(file);
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Hold { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::data(dir, "another process trains in this folder; wait for its end, or stop it and --resume"))
            }
            Err(TryLockError::Error(e)) => {
                tell(&format!("note      {}: cannot be locked ({e}); let no second process train here", crate::text::shown(dir)));
                Ok(Hold { _file: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_numbers_go_on() {
        let root = tempfile::tempdir().unwrap();
        let named = Place::from(&root.path().join("deep/run"));
        named.check().unwrap();
        named.make().unwrap();
        assert!(named.check().unwrap_err().to_string().contains("exists already"));
        assert!(named.make().unwrap_err().to_string().contains("exists already"));
        let numbered = Place::Numbered { parent: root.path().join("runs"), name: "a".into() };
        // Eight threads at once, eight folders.
        let made: std::collections::BTreeSet<PathBuf> = std::thread::scope(|s| {
            (0..8)
                .map(|_| s.spawn(|| numbered.make().unwrap()))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|t| t.join().unwrap())
                .collect()
        });
        assert_eq!(made.len(), 8);
        assert!(made.contains(&root.path().join("runs/a-8")));
    }

    #[test]
    fn a_folder_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "").unwrap();
        let hold = Hold::take(dir.path(), "config.toml", |_| panic!("locks work here")).unwrap();
        let second = Hold::take(dir.path(), "config.toml", |_| ()).err().unwrap().to_string();
        assert!(second.contains("another process"), "{second}");
        drop(hold);
        Hold::take(dir.path(), "config.toml", |_| ()).unwrap();
    }
}
