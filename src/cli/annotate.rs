//! `lae-engine annotate`: the page on which a person masks the chosen pictures of a run.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use clap::Args;

use crate::annotate::desk::Desk;
use crate::annotate::formats::{self, Format};
use crate::annotate::queue::Queue;
use crate::annotate::server;
use crate::annotate::session::{Hold, listen};
use crate::annotate::store::Store;
use crate::error::{Error, Result};
use crate::report::terminal::{print, say};
use crate::text::shown;
use crate::train::masks::Outcome;

#[derive(Args)]
pub struct AnnotateArgs {
    /// Run folder, as `train --wait-for-masks` leaves it
    run: PathBuf,
    /// The annotator's name, written beside each mask [default: the login name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Port on 127.0.0.1 [default: that of the last time, else any that is free]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
    /// Take masks from a folder, from labelme JSON (a file or a folder) or from COCO JSON with RLE, and stop
    #[arg(long, value_name = "PATH", conflicts_with_all = ["port", "open", "export"])]
    import: Option<PathBuf>,
    /// With --import: take the file's mask where the run has a finished one
    #[arg(long, requires = "import")]
    replace: bool,
    /// Write the finished masks as folder, labelme, coco (compressed RLE) or coco-lists (plain RLE), and stop
    #[arg(long, num_args = 2, value_names = ["FORMAT", "PATH"], conflicts_with_all = ["port", "open"])]
    export: Option<Vec<String>>,
}

impl AnnotateArgs {
    pub fn run(self) -> Result<i32> {
        let by = self.by.clone().unwrap_or_else(login);
        if by.len() > 100 || by.chars().any(char::is_control) {
            return Err(Error::config("--by", "give a name of at most 100 bytes without control characters"));
        }
        let format = match &self.export {
            Some(words) => Some((words[0].parse::<Format>()?, PathBuf::from(&words[1]))),
            None => None,
        };
        let queue = Queue::open(&self.run)?;
        let _hold = Hold::take(&self.run, &by)?;
        let mut store = Store::open(&self.run)?;
        if let Some((format, path)) = format {
            let n = formats::export(&queue, &store, format, &path)?;
            print(&format!("{n} masks written to {}\n", shown(&path)))?;
            return Ok(0);
        }
        if let Some(path) = &self.import {
            let done = formats::import(&queue, &mut store, path, &by, self.replace)?;
            done.notes.iter().for_each(|n| say(&format!("note      {n}")));
            print(&format!("{}\n", done.words()))?;
            return Ok(0);
        }
        queue.note.iter().for_each(|n| say(&format!("note      {n}")));
        let (listener, session) = listen(&self.run, self.port)?;
        let total = queue.items.len();
        let settled = queue.items.iter().filter(|i| store.latest(i.index).is_some_and(|a| a.outcome != Outcome::Open)).count();
        let mut desk = Desk::new(queue, store, shown(&self.run), by);
        let address = format!("http://127.0.0.1:{}/{}/", session.port, session.token);
        let (to, calls) = mpsc::channel::<server::Asked>();
        let longest = desk.longest();
        let (failed, failure) = mpsc::channel();
        std::thread::spawn(move || drop(failed.send(server::serve(listener, &session, longest, to))));
        say(&format!("annotate  {} of {total} pictures are settled; end with Ctrl-C, nothing is lost", settled));
        print(&format!("{address}\n"))?;
        if self.open {
            open(&address);
        }
        // Ends when the server does.
        for (call, answer) in calls {
            // A client that went away waits for no answer.
            let _ = answer.send(desk.answer(&call, Instant::now()));
        }
        failure.recv().unwrap_or(Ok(())).map(|()| 0)
    }
}

/// The name under which the user works here, or nothing.
fn login() -> String {
    ["USER", "LOGNAME", "USERNAME"].iter().find_map(|v| std::env::var(v).ok().filter(|n| !n.is_empty())).unwrap_or_default()
}

/// Asks the desktop to open the page. A failure is told; the address is printed in any case.
fn open(address: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    if let Err(e) = std::process::Command::new(program).arg(address).spawn() {
        say(&format!("note      no browser could be opened ({program}: {e}): open the address yourself"));
    }
}
