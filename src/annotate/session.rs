//! One server for a run at a time, and the address that an open page knows: the same port and token again after a restart, so
//! that work done while the server was away finds its way back.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::clock;
use crate::error::{Error, Result};
use crate::report::terminal::say;
use crate::train::masks;

const LOCK: &str = ".lock";
const SESSION: &str = ".session.json";

/// A hold on the masks of a run, given up with the process, however that ends.
pub struct Hold {
    _file: File,
}

impl Hold {
    /// An error that names who serves the run already.
    pub fn take(run: &Path, by: &str) -> Result<Hold> {
        let folder = masks::folder(run);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        let path = folder.join(LOCK);
        let io = |e| Error::io(&path, e);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut who = String::new();
                // Where a locked file cannot be read nobody is named.
                let _ = file.read_to_string(&mut who);
                let who = if who.is_empty() { "another process".into() } else { crate::text::line(who.trim()) };
                let why = format!("{who} annotates this run already: use the page of that server, or end it first");
                return Err(Error::data(run, why));
            }
            Err(TryLockError::Error(e)) => say(&format!(
                "note      {}: cannot be locked ({e}); let no second `annotate` serve this run",
                crate::text::shown(&path)
            )),
        }
        let who = if by.is_empty() { "somebody" } else { by };
        let text = format!("{who} (process {}, since {})", std::process::id(), clock::now());
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(text.as_bytes())).map_err(io)?;
        Ok(Hold { _file: file })
    }
}

/// The address of a page but for the machine.
#[derive(Serialize, Deserialize)]
pub struct Session {
    pub port: u16,
    pub token: String,
}

/// Listens on this machine alone: on `port` if one is asked for, else where the last server of this run did, else anywhere.
pub fn listen(run: &Path, port: Option<u16>) -> Result<(TcpListener, Session)> {
    let file = masks::folder(run).join(SESSION);
    let before: Option<Session> = std::fs::read(&file).ok().and_then(|b| serde_json::from_slice(&b).ok());
    let before = before.filter(|s| s.token.len() == 2 * TOKEN && s.token.bytes().all(|b| b.is_ascii_hexdigit()));
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let listener = match (port, &before) {
        (Some(port), _) => bind(port).map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                Error::config("--port", format!("{port} is in use by another program: give another, or leave --port out"))
            }
            _ => Error::config("--port", format!("{port}: {e}; give another, or leave --port out")),
        })?,
        (None, Some(s)) => match bind(s.port) {
            Ok(listener) => listener,
            Err(e) => {
                say(&format!(
                    "note      port {} of the last time cannot be used ({e}): a page that is still open there cannot save; what it holds comes \
                     back when this command gets that port again",
                    s.port
                ));
                bind(0).map_err(|e| Error::config("--port", e))?
            }
        },
        (None, None) => bind(0).map_err(|e| Error::config("--port", e))?,
    };
    let port = listener.local_addr().map_err(|e| Error::config("--port", e))?.port();
    let token = match before {
        Some(s) => s.token,
        None => token()?,
    };
    let session = Session { port, token };
    write_private(&file, &serde_json::to_vec(&session).expect("plain data"))?;
    Ok((listener, session))
}

/// Bytes of a token.
const TOKEN: usize = 24;

fn token() -> Result<String> {
    let mut bytes = [0; TOKEN];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::config("the token of the address", format!("no random numbers from the system ({e})")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A file that others on this machine cannot read.
fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(&temporary)
        .and_then(|mut f| f.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_stays_and_a_port_in_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(masks::folder(dir.path())).unwrap();
        let (first, s) = listen(dir.path(), None).unwrap();
        assert!(first.local_addr().unwrap().ip().is_loopback());
        let e = listen(dir.path(), Some(s.port)).err().unwrap().to_string();
        assert!(e.contains("--port") && e.contains("in use") && e.contains(&s.port.to_string()), "{e}");
        // The port is taken: another one, the same token.
        let (_other, t) = listen(dir.path(), None).unwrap();
        assert!(t.port != s.port && t.token == s.token);
        drop(_other);
        let (_again, u) = listen(dir.path(), None).unwrap();
        assert_eq!((u.port, &u.token), (t.port, &t.token));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(masks::folder(dir.path()).join(SESSION)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let tokens: std::collections::HashSet<String> = (0..50).map(|_| token().unwrap()).collect();
        assert!(tokens.len() == 50 && tokens.iter().all(|t| t.len() == 48));
    }

    #[test]
    fn a_second_server_hears_of_the_first_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(masks::folder(dir.path())).unwrap();
        let hold = Hold::take(dir.path(), "anna").unwrap();
        let e = Hold::take(dir.path(), "ben").err().unwrap().to_string();
        assert!(e.contains("anna (process") && e.contains("annotates this run already"), "{e}");
        drop(hold);
        Hold::take(dir.path(), "ben").unwrap();
    }
}
