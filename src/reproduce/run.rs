//! The runs, one after another, in a folder that goes on where it stopped.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::cells::{CELL, Cell, Outcome, Runs};
use super::copies;
use super::options::{Options, settings_file};
use super::page::{self, Shown};
use super::pictures;
use super::plan::{Job, Part};
use super::shortcut;
use crate::core::file::write_whole;
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::data::duration;
use crate::report::terminal::{print, say};
use crate::text::shown;
use crate::train::inventory::DATA;
use crate::train::place::{Hold, Place};
use crate::train::run::{CONFIG, Run};

/// What the folder was made for.
const ASKED: &str = "reproduce.toml";

/// What must be the same when a folder is gone on with; seeds, tables and detectors may be others.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    version: String,
    scale: String,
    task: String,
    data: Vec<String>,
}

/// Make the runs that are not there yet, and the report after each. The exit code: 1 if a run diverged.
pub fn reproduce(o: &Options, device: &Device) -> Result<i32> {
    let jobs = o.plan.jobs();
    if jobs.is_empty() {
        let why = "nothing is left to train: these tables and figures need the LAE, or detectors that --detectors leaves out";
        return Err(Error::config("--detectors", why));
    }
    let _hold = open(o)?;
    // What can be refused is refused before the first run, and then leaves no folder.
    if let Err(e) = jobs.iter().try_for_each(|job| o.config(job, 0, &o.out).map(drop)) {
        if !o.resume {
            let _ = std::fs::remove_dir_all(&o.out); // best effort: nothing but the settings is in it
        }
        return Err(e);
    }
    let total = jobs.len() as u64 * o.seeds;
    let (mut runs, mut done) = (Runs::default(), 0);
    // Time left, by the mean of what this process has trained.
    let (start, mut trained) = (Instant::now(), 0);
    for seed in 0..o.seeds {
        for job in &jobs {
            done += 1;
            let dir = o.folder(&job.name, seed);
            let ready = dir.join(CELL).exists();
            if !ready {
                let each = start.elapsed().as_secs_f64() / trained as f64;
                let left = || format!(", about {} left", duration(each * (total - done + 1) as f64));
                let rest = if trained > 0 { left() } else { String::new() };
                say(&format!("\nrun       {done} of {total}: {}, seed {seed}{rest}", job.name));
                train(o, job, seed, &dir, device)?;
            }
            let judged = judge(o, &job.name, seed, &dir, device)?;
            runs.0.push(Outcome::load(&dir)?);
            if !ready || judged {
                trained += !ready as u64;
                save(o, &runs, done, total, None)?;
            }
        }
    }
    let gallery = pictures::of(o, &runs, device)?;
    save(o, &runs, done, total, Some(gallery))?;
    print(&page::text(&Shown::new(o, &runs, done, total, None)))?;
    say(&format!("report    {}", shown(o.out.join("reproduce.html"))));
    Ok(runs.0.iter().any(|r| r.cell.failed.is_some()) as i32)
}

/// Judge a finished run by the traces of the table that asks for it, where it was not yet. Whether there was one.
fn judge(o: &Options, job: &str, seed: u64, dir: &Path, device: &Device) -> Result<bool> {
    let mut any = false;
    for trace in o.plan.traces.iter().filter(|_| o.plan.parts.contains(&Part::Shortcut)) {
        let asked = o.plan.arms(trace).iter().any(|row| row.job == job);
        if asked && !copies::file(dir, trace.name).exists() && Outcome::load(dir)?.cell.failed.is_none() {
            shortcut::judge(o, job, seed, trace, device)?;
            any = true;
        }
    }
    Ok(any)
}

fn save(o: &Options, runs: &Runs, done: u64, total: u64, pictures: Option<pictures::Pictures>) -> Result<()> {
    page::save(&o.out, &Shown::new(o, runs, done, total, pictures))
}

fn write_settings(o: &Options, dir: &Path) -> Result<()> {
    let folder = dir.join("settings");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    for entry in detectors::DETECTORS {
        write_whole(settings_file(dir, entry.name), o.plan.scale.settings(entry).as_bytes())?;
    }
    Ok(())
}

/// Make the folder, or see that it was made for the same.
fn open(o: &Options) -> Result<Hold> {
    let version = env!("CARGO_PKG_VERSION").to_string();
    let asked = Asked { version, scale: o.plan.scale.name().into(), task: o.plan.task.name().into(), data: o.data.clone() };
    let file = o.out.join(ASKED);
    if o.resume {
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io(&file, e))?;
        let then: Asked = toml::from_str(&text).map_err(|e| Error::data(&file, format!("cannot be read: {e}")))?;
        let differs = [
            ("version", then.version == asked.version, &then.version, &asked.version),
            ("--scale", then.scale == asked.scale, &then.scale, &asked.scale),
            ("--task", then.task == asked.task, &then.task, &asked.task),
        ];
        if let Some((what, _, then, now)) = differs.iter().find(|d| !d.1) {
            let why = format!("was made with {what} {then}, this is {now}: give the same, or another --out");
            return Err(Error::data(&o.out, why));
        }
        if then.data != asked.data {
            let words = |d: &[String]| if d.is_empty() { "built-in pictures".into() } else { d.join(" ") };
            let why =
                format!("was made from {}, this is {}: give the same, or another --out", words(&then.data), words(&asked.data));
            return Err(Error::data(&o.out, why));
        }
    } else {
        if o.out.symlink_metadata().is_ok() {
            return Err(Error::data(&o.out, "exists already; go on with it by --resume, or give another --out"));
        }
        Place::from(&o.out).make()?;
        write_whole(&file, toml::to_string(&asked).expect("plain data").as_bytes())?;
    }
    let hold = Hold::take(&o.out, ASKED, say)?;
    write_settings(o, &o.out)?;
    Ok(hold)
}

/// Make a run, or end one that was stopped, and its record. A run that diverges leaves a record that says so.
fn train(o: &Options, job: &Job, seed: u64, dir: &Path, device: &Device) -> Result<()> {
    let (entry, config) = o.config(job, seed, &o.out)?;
    let command = o.alone(job, seed);
    let mut cell = Cell {
        job: job.name.clone(),
        seed,
        detector: job.detector.into(),
        command: command.clone(),
        device: device.to_string(),
        data: None,
        config: checksum(config.to_toml().as_bytes()),
        seconds: 0.0,
        failed: None,
    };
    let from = job.from.as_ref().map(|from| o.folder(from, seed));
    if let Some(from) = &from {
        let trunk = Outcome::load(from)?;
        if let Some(why) = trunk.cell.failed {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
            cell.failed = Some(format!("its first stage: {why}"));
            return write(dir, &cell);
        }
    }
    let begun = dir.join(CONFIG);
    let run = if begun.exists() {
        let text = std::fs::read_to_string(&begun).map_err(|e| Error::io(&begun, e))?;
        if text != config.to_toml() {
            let why =
                "was begun with other settings than this command gives; remove the folder, or give the settings it began with";
            return Err(Error::data(dir, why));
        }
        detectors::resume(dir, command, device, false, false)
    } else {
        // Stopped between the folder and its first file.
        if dir.exists() {
            std::fs::remove_dir(dir).map_err(|e| Error::io(dir, e))?;
        }
        match &from {
            Some(from) => {
                let (_, trunk) = detectors::of_run(from)?;
                Run::branch(entry, config, (from, &trunk), dir, command, device)
            }
            None => Run::create(entry, config, dir, command, device),
        }
    };
    let mut run = run?;
    match run.run() {
        Ok(_) => {}
        Err(e @ Error::Diverged { .. }) => {
            say(&format!("note      {e}"));
            cell.failed = Some(e.to_string());
        }
        Err(e) => return Err(e),
    }
    cell.seconds = run.seconds();
    cell.data = std::fs::read(dir.join(DATA)).ok().map(|bytes| checksum(&bytes));
    write(dir, &cell)
}

fn write(dir: &Path, cell: &Cell) -> Result<()> {
    write_whole(dir.join(CELL), &serde_json::to_vec_pretty(cell).expect("plain data"))
}

fn checksum(bytes: &[u8]) -> String {
    format!("crc32c:{:08x}", crc32c::crc32c(bytes))
}
