//! `metrics.jsonl`: one JSON object per line, appended as the run goes.
//!
//! A checkpoint records [`JsonLog::len_bytes`]; a resumed run cuts the file back to there, so that it ends with the same bytes as a
//! run that was never interrupted. For the same reason nothing here adds a time of day.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

#[derive(Debug)]
pub struct JsonLog {
    file: File,
    path: PathBuf,
    len: u64,
}

impl JsonLog {
    /// A new, empty log. A file that is already there is emptied.
    pub fn create(path: impl AsRef<Path>) -> Result<JsonLog> {
        let path = path.as_ref().to_path_buf();
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(JsonLog { file, path, len: 0 })
    }

    /// Goes on after the first `bytes` bytes and drops the rest, which belongs to steps that will be made again.
    pub fn resume(path: impl AsRef<Path>, bytes: u64) -> Result<JsonLog> {
        let path = path.as_ref().to_path_buf();
        let fail = |e| Error::io(&path, e);
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(fail)?;
        let have = file.metadata().map_err(fail)?.len();
        if have < bytes {
            let why = format!("has {have} bytes, the checkpoint was written after {bytes}; restore the file or start a new run");
            return Err(Error::data(&path, why));
        }
        if bytes > 0 {
            let mut last = [0u8];
            file.seek(SeekFrom::Start(bytes - 1)).and_then(|_| file.read_exact(&mut last)).map_err(fail)?;
            if last != *b"\n" {
                return Err(Error::data(&path, format!("byte {bytes} is not the end of a line: not the log of this checkpoint")));
            }
        }
        file.set_len(bytes).and_then(|_| file.seek(SeekFrom::Start(bytes))).map_err(fail)?;
        Ok(JsonLog { file, path, len: bytes })
    }

    /// Appends one object as one line and hands it to the system at once. Struct fields keep their order, `json!` maps are sorted by
    /// key: the same values give the same bytes. NaN and infinities become `null`.
    pub fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| Error::data(&self.path, e))?;
        if line.first() != Some(&b'{') {
            return Err(Error::data(&self.path, "a log line must be a JSON object"));
        }
        line.push(b'\n');
        if let Err(e) = self.file.write_all(&line) {
            // A full disk may have taken half a line. Cutting the file back to the last whole line keeps it readable; an error of the
            // cut itself is dropped, since the first error is reported already.
            let _ = self.file.set_len(self.len).and_then(|_| self.file.seek(SeekFrom::Start(self.len)));
            return Err(Error::io(&self.path, e));
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Length after the last whole line; a checkpoint stores it.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Waits until all lines are on the disk. Call this before writing a checkpoint, which stores the length of the log.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.path, e))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn steps(log: &mut JsonLog, range: std::ops::Range<u32>) {
        range.for_each(|step| log.write(&json!({"step": step, "loss": 1.0 / (step as f64 + 1.0)})).unwrap());
    }

    #[test]
    fn a_resumed_log_has_the_bytes_of_an_uninterrupted_one() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.jsonl"), dir.path().join("b.jsonl"));
        steps(&mut JsonLog::create(&a).unwrap(), 0..10);
        let mut log = JsonLog::create(&b).unwrap();
        steps(&mut log, 0..4);
        let checkpoint = log.len_bytes();
        steps(&mut log, 4..7);
        log.sync().unwrap();
        drop(log);
        // Killed while writing a line.
        OpenOptions::new().append(true).open(&b).unwrap().write_all(b"{\"step\":7,\"lo").unwrap();
        let mut log = JsonLog::resume(&b, checkpoint).unwrap();
        assert_eq!((log.len_bytes(), std::fs::metadata(&b).unwrap().len()), (checkpoint, checkpoint));
        steps(&mut log, 4..10);
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
        assert_eq!(log.len_bytes(), std::fs::metadata(&b).unwrap().len());
    }

    #[test]
    fn every_line_is_an_object_and_is_there_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.jsonl");
        let mut log = JsonLog::create(&path).unwrap();
        log.write(&json!({"b": 1, "a": "x\ny", "n": f64::NAN})).unwrap();
        assert!(log.write(&json!([1, 2])).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":\"x\\ny\",\"b\":1,\"n\":null}\n");
    }

    #[test]
    fn a_log_that_does_not_fit_the_checkpoint_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.jsonl");
        steps(&mut JsonLog::create(&path).unwrap(), 0..2);
        let before = std::fs::read(&path).unwrap();
        assert!(JsonLog::resume(&path, 10_000).unwrap_err().to_string().contains("start a new run"));
        assert!(JsonLog::resume(&path, 5).unwrap_err().to_string().contains("end of a line"));
        assert!(JsonLog::resume(dir.path().join("none"), 0).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before, "a refused log is left as it was");
        assert_eq!(JsonLog::resume(&path, 0).unwrap().len_bytes(), 0);
    }
}
