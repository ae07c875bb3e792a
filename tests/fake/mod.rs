//! The driver without a GPU (`libcuda.c`), built by the test that asks for it.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder to put first on the library path. It hides the machine's own driver, under every name that is tried.
pub struct Fake(pub TempDir);

impl Fake {
    pub fn driver() -> Fake {
        Fake::built(&[])
    }
    /// A library of that name with nothing in it.
    pub fn empty() -> Fake {
        Fake::built(&["-DEMPTY"])
    }
    /// A file that is no library.
    pub fn garbage() -> Fake {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("libcuda.so.1"), "not a library").unwrap();
        Fake::named(dir)
    }
    fn built(flags: &[&str]) -> Fake {
        let dir = TempDir::new().unwrap();
        let (source, library) =
            (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake/libcuda.c"), dir.path().join("libcuda.so.1"));
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).args(flags);
        let built = cc.output().expect("a C compiler, as Rust needs one to link");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Fake::named(dir)
    }
    fn named(dir: TempDir) -> Fake {
        std::fs::copy(dir.path().join("libcuda.so.1"), dir.path().join("libcuda.so")).unwrap();
        Fake(dir)
    }
    /// Run a command with this driver and these settings of it.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut c = Command::new(program);
        c.args(args).env("LD_LIBRARY_PATH", self.0.path()).env_remove("CUDA_VISIBLE_DEVICES");
        c.envs(settings.iter().copied()).output().unwrap()
    }
    /// The calls that a run made, in order, if `FAKE_LOG` was this file.
    pub fn log(&self) -> PathBuf {
        self.0.path().join("calls")
    }
}

/// Run this very test again in a process of its own, with a fake driver; there, do `body`. Settings of the fake are per process.
pub fn in_process(test: &str, settings: &[(&str, &str)], body: impl FnOnce()) {
    const INNER: &str = "LAE_TEST_INNER";
    if std::env::var(INNER).is_ok_and(|t| t == test) {
        return body();
    }
    let fake = Fake::driver();
    let log = fake.log();
    let mut all = vec![(INNER, test), ("FAKE_LOG", log.to_str().unwrap())];
    all.extend(settings);
    let out = fake.run(std::env::current_exe().unwrap(), &["--exact", test, "--nocapture", "--test-threads=1"], &all);
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}
