//! `lae-engine detect`: a verdict for every picture, as lines, JSON or CSV, and its map as a picture.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::core::file::write_whole;
use crate::core::params::ParamStore;
use crate::data::note::Note;
use crate::data::picture::{Opened, Picture};
use crate::data::png;
use crate::data::source::tell_passed;
use crate::data::walk::{Found, HEAT, HEAT_CHUNK, HEAT_KEYWORD, Passed, explained, identity, regular, walk};
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::Rgb;
use crate::report::data::{ReportData, lower_first};
use crate::report::heatmap;
use crate::report::terminal::{print, say};
use crate::text::{csv, json_line, json_path, line, shown};
use crate::train::checkpoint::{self, What};
use crate::train::config::View;
use crate::train::detector::{Detector, Purpose};
use crate::train::examine::{Examiner, Finding, Way};
use crate::train::grad_cam;
use crate::train::run::MODEL;

#[derive(Args)]
pub struct DetectArgs {
    /// Run folder
    run: PathBuf,
    /// Pictures, or folders of pictures
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Write the attention map of every picture over the picture, as PNG, into this folder
    #[arg(long, value_name = "DIR")]
    heatmaps: Option<PathBuf>,
    /// How to look at a picture: windows (at its own size) or whole (shrunk, as the paper has it) [default: as trained]
    #[arg(long, value_name = "HOW")]
    view: Option<View>,
    /// Judge every picture again after JPEG at quality 90 and 75, and after scaling by 0.75: a verdict that changes is weak
    #[arg(long)]
    stability: bool,
    /// auto, cpu, cuda or emu
    #[arg(long, default_value = "auto")]
    device: String,
    /// One JSON object per line; the last one, where there is such, counts what was passed over
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// path,verdict,p_fake, the values behind it (windows: score,windows; whole, lae: a_true,a_fake),heatmap,error,notes
    #[arg(long)]
    csv: bool,
}

/// Longest side of a written heat map.
const LARGEST: usize = 1024;

impl DetectArgs {
    pub fn run(self) -> Result<i32> {
        let (device, why) = Device::choose(&self.device)?;
        eprintln!("device    {why}");
        let (entry, config) = detectors::of_run(&self.run)?;
        let mut store = ParamStore::new(config.seed);
        config.cpu.apply()?;
        let detector = (entry.build)(&config, &mut store, Purpose::Judge)?;
        let model = self.run.join(MODEL);
        let notes = checkpoint::load(&mut store, &model, What::Model)?;
        let view = self.view.unwrap_or(config.detect.view);
        let mut examiner = Examiner::new(&device, &*detector, &store, &config, view, (&notes, &model))?;
        if self.heatmaps.is_some() && !examiner.has_map() {
            let why = format!(
                "at {} pixels a single cell is left of {}'s last maps, and there is nothing to show; leave --heatmaps out, or train on \
                 larger pictures (--set size=…)",
                config.size, entry.name
            );
            return Err(Error::config("--heatmaps", why));
        }
        if let Some(dir) = &self.heatmaps {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        }
        let (files, passed) = self.files()?;
        let homes = self.heatmaps.as_ref().map(|dir| homes(dir, &files));
        if let Some(n) = notes.get("notices").filter(|n| !n.is_empty() && !self.json && !self.csv) {
            n.split("; ").for_each(|n| say(&format!("note      {n}")));
            self.experience(&self.run, &examiner)?;
        }
        if self.csv {
            print(&format!("path,verdict,p_fake,{},heatmap,error,notes\n", examiner.names().join(",")))?;
        }
        let mut failed = 0;
        for (i, file) in files.iter().enumerate() {
            let judged = match self.judge(file, &*detector, &mut examiner, &mut store) {
                // A map that cannot be written is no fault of its picture: it ends the program.
                Ok((opened, mut j)) => {
                    if let Some(homes) = &homes {
                        write_heatmap(&homes[i], &opened.picture, &j.finding)?;
                        j.heat = Some(homes[i].file.as_path());
                    }
                    Ok((j, opened.notes))
                }
                Err(e) => Err(e),
            };
            failed += judged.is_err() as usize;
            self.print(file, examiner.names(), judged)?;
        }
        if failed > 0 {
            say(&format!("{failed} of {} pictures could not be judged", files.len()));
        }
        tell_passed(&passed, say);
        if self.json && !passed.is_empty() {
            print(&format!("{}\n", json_line(&passed_over(&passed))))?;
        }
        Ok(match failed {
            n if n == files.len() => 2,
            0 if passed.pictures() == 0 => 0,
            _ => 1,
        })
    }

    /// The pictures to judge, each file once, and what the folders hold beside them.
    fn files(&self) -> Result<(Vec<PathBuf>, Passed)> {
        let (mut files, mut passed, mut names) = (Vec::new(), Passed::default(), HashSet::new());
        for p in &self.paths {
            let found = if p.is_dir() { walk(p, false)? } else { Found { pictures: vec![p.clone()], ..Found::default() } };
            if found.pictures.is_empty() {
                let beside =
                    if found.passed.is_empty() { String::new() } else { format!("; passed over: {}", found.passed.line()) };
                return Err(Error::data(p, format!("holds no pictures (png, jpg, webp, bmp, tiff, gif, pnm){beside}")));
            }
            passed.join(found.passed);
            for file in found.pictures {
                match identity(&file) {
                    Ok(id) if !names.insert(id.clone()) => passed.add_name(&file),
                    _ => files.push(file),
                }
            }
        }
        Ok((files, passed))
    }

    /// What a reader of verdicts and maps must know.
    fn experience(&self, run: &Path, examiner: &Examiner) -> Result<()> {
        if let Way::Windows(scanner, reading) = &examiner.way {
            let c = &reading.calibration;
            let words = reading.pool.words(&scanner.windows);
            say(&format!("note      pictures are judged at their own size, window by window; a score is {words}"));
            let cut = &c.fake_from;
            say(&format!("note      from {:.2} on a picture is called fake: {}", cut.score, cut.sentence()));
            reading.caveat().iter().for_each(|c| say(&format!("note      {c}")));
            c.lacks().iter().for_each(|l| say(&format!("note      {l}")));
            if self.heatmaps.is_some() {
                say("note      a map is red where a window looks forged and blue where it does not, the same in every picture");
            }
            return Ok(());
        }
        let file = run.join("report.json");
        if file.is_file() {
            let text = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
            let report: ReportData =
                serde_json::from_slice(&text).map_err(|e| Error::data(&file, format!("not a report: {e}")))?;
            report.sentences().first().into_iter().for_each(|s| say(&format!("note      its own test: {}", lower_first(s))));
        }
        if self.heatmaps.is_some() {
            if examiner.has_grad_cam() {
                say(&format!("note      {}", grad_cam::NOTICE));
            }
            say("note      each map is stretched from its lowest to its highest value: colours compare places, not pictures");
        }
        Ok(())
    }

    fn judge<'a>(
        &self,
        file: &Path,
        detector: &dyn Detector,
        examiner: &mut Examiner,
        store: &mut ParamStore,
    ) -> Result<(Opened, Judged<'a>)> {
        regular(file)?;
        let opened = Picture::open_noted(file).map_err(explained)?;
        let name = |e: Error| match e {
            Error::Data { why, .. } => Error::data(file, why),
            e => e,
        };
        let finding = examiner.examine(detector, store, &opened.picture).map_err(name)?;
        let mut stability = Vec::new();
        if self.stability {
            for change in CHANGES {
                let found = examiner.examine(detector, store, &change.of(&opened.picture)?).map_err(name)?;
                stability.push((change.words(), found));
            }
        }
        Ok((opened, Judged { finding, heat: None, stability }))
    }

    fn print(&self, file: &Path, names: &[&str], judged: Result<(Judged, Vec<Note>)>) -> Result<()> {
        let path = shown(file);
        let text = match (judged, self.json, self.csv) {
            (Ok((j, notes)), true, _) => {
                let v = &j.finding;
                let notes: Vec<String> = notes.iter().map(|n| line(&n.text)).chain(v.notes.clone()).collect();
                let mut object = json!({ "path": path, "verdict": v.word, "p_fake": v.p_fake, "heatmap": null, "notes": notes });
                json_path(&mut object, "path", file);
                j.heat.iter().for_each(|h| json_path(&mut object, "heatmap", h));
                names.iter().zip(&v.values).for_each(|(name, x)| object[name] = json!(x));
                v.experience.iter().for_each(|x| object["validation"] = json!(x));
                for (change, v) in &j.stability {
                    object["stability"][change] = json!({ "verdict": v.word, "p_fake": v.p_fake });
                }
                json_line(&object)
            }
            (Err(e), true, _) => {
                let mut object = json!({ "path": path, "error": e.to_string() });
                json_path(&mut object, "path", file);
                json_line(&object)
            }
            (Ok((j, notes)), _, true) => {
                let v = &j.finding;
                let heat = j.heat.map(|h| csv(&shown(h))).unwrap_or_default();
                let values: String = v.values.iter().map(|x| format!("{x:.6},")).collect();
                let mut notes: Vec<String> = notes.iter().map(|n| line(&n.text)).chain(v.notes.clone()).collect();
                notes.extend(j.stability_words());
                let p = v.p_fake.map(|p| format!("{p:.6}")).unwrap_or_default();
                format!("{},{},{p},{values}{heat},,{}", csv(&path), v.word, csv(&notes.join("; ")))
            }
            (Err(e), _, true) => format!("{},,,{},{},", csv(&path), ",".repeat(names.len()), csv(&line(&e.to_string()))),
            (Ok((j, notes)), ..) => {
                let v = &j.finding;
                notes.iter().for_each(|n| say(&format!("note      {path}: {n}")));
                v.notes.iter().for_each(|n| say(&format!("note      {path}: {n}")));
                let heat = j.heat.map(|h| format!("  {}", shown(h))).unwrap_or_default();
                let p = v.p_fake.map_or("p_fake unknown".into(), |p| format!("p_fake {p:.3}"));
                let behind = v.experience.as_ref().map(|x| format!("\n      score {:.2}; {x}", v.values[0])).unwrap_or_default();
                let again = j.stability_words().map(|w| format!("\n      {w}")).unwrap_or_default();
                format!("{}  {p}  {path}{heat}{behind}{again}", v.word)
            }
            (Err(e), ..) => {
                say(&format!("skipped   {}", line(&e.to_string())));
                return Ok(());
            }
        };
        print(&format!("{text}\n"))
    }
}

/// One picture's verdict, where its map went, and the verdicts on its changed copies.
struct Judged<'a> {
    finding: Finding,
    heat: Option<&'a Path>,
    stability: Vec<(&'static str, Finding)>,
}

impl Judged<'_> {
    /// `stable: fake after JPEG 90, …`, if it was asked for.
    fn stability_words(&self) -> Option<String> {
        if self.stability.is_empty() {
            return None;
        }
        let same = self.stability.iter().all(|(_, v)| v.word == self.finding.word);
        let each: Vec<String> = self.stability.iter().map(|(change, v)| format!("{} after {change}", v.word)).collect();
        Some(format!("{}: {}", if same { "stable" } else { "not stable" }, each.join(", ")))
    }
}

/// What a picture meets on its way through the web.
#[derive(Clone, Copy)]
enum Changed {
    Jpeg(u8),
    Scaled,
}

const CHANGES: [Changed; 3] = [Changed::Jpeg(90), Changed::Jpeg(75), Changed::Scaled];

impl Changed {
    fn words(self) -> &'static str {
        match self {
            Changed::Jpeg(90) => "JPEG 90",
            Changed::Jpeg(_) => "JPEG 75",
            Changed::Scaled => "scaling by 0.75",
        }
    }

    fn of(self, picture: &Picture) -> Result<Picture> {
        match self {
            Changed::Jpeg(quality) => picture.through_jpeg(quality),
            Changed::Scaled => {
                let side = |n: usize| ((0.75 * n as f64).round() as usize).max(1);
                Ok(picture.resize_to(side(picture.w), side(picture.h)))
            }
        }
    }
}

/// The last object of `--json`: what the folders hold that was not judged, a row for each kind.
fn passed_over(passed: &Passed) -> serde_json::Value {
    let row = |(kind, count, first, pictures): (&str, usize, &Path, bool)| {
        let mut row = json!({ "kind": kind, "count": count, "pictures": pictures });
        json_path(&mut row, "first", first);
        row
    };
    json!({ "passed_over": passed.kinds().map(row).collect::<Vec<_>>() })
}

/// Where the heat map of a picture goes, and whose it is.
struct Home {
    file: PathBuf,
    /// Of the picture's path without links.
    owner: u64,
}

/// A place in `dir` for the map of each picture. `a.jpg` has `a.heat.png`; where that name is another picture's, now or in an earlier
/// call, `a.jpg.heat.png`; where that one is, too, a name with a number made of the picture's path. The same call writes the same
/// files again, and no map of another picture is overwritten.
fn homes(dir: &Path, files: &[PathBuf]) -> Vec<Home> {
    let name = |file: &Path, k: usize, owner: u64| {
        let mut name = if k == 0 { file.file_stem() } else { file.file_name() }.unwrap_or_default().to_os_string();
        if k == 2 {
            name.push(format!(".{owner:016x}"));
        }
        name.push(HEAT);
        dir.join(name)
    };
    // Some file systems do not tell A from a.
    let key = |file: &Path| file.as_os_str().to_ascii_lowercase();
    let mut wanted: HashMap<_, usize> = HashMap::new();
    for file in files {
        (0..2).for_each(|k| *wanted.entry((k, key(&name(file, k, 0)))).or_default() += 1);
    }
    let mut taken = HashSet::new();
    let home = |file: &PathBuf| {
        let owner = owner(file);
        let free = |k: &usize| {
            let place = name(file, *k, owner);
            let whose = std::fs::symlink_metadata(&place).is_ok().then(|| owner_in(&place));
            wanted[&(*k, key(&place))] == 1 && !taken.contains(&key(&place)) && whose.is_none_or(|o| o == Some(owner))
        };
        let file = name(file, (0..2).find(free).unwrap_or(2), owner);
        taken.insert(key(&file));
        Home { file, owner }
    };
    files.iter().map(home).collect()
}

/// A number for a path without links (FNV-1a): the same for the same picture in every call.
fn owner(file: &Path) -> u64 {
    let path = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3))
}

/// Whose heat map a file is; none for a file that is no heat map.
fn owner_in(file: &Path) -> Option<u64> {
    regular(file).ok()?;
    let head = crate::data::walk::head_of(file, HEAT_CHUNK + 4 + HEAT_KEYWORD.len() + 16).ok()?;
    let text = head.get(HEAT_CHUNK + 4..)?.strip_prefix(HEAT_KEYWORD)?;
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// A PNG file with a chunk that names the owner.
fn with_owner(png: &[u8], owner: u64) -> Vec<u8> {
    let chunk = [HEAT_KEYWORD, format!("{owner:016x}").as_bytes()].concat();
    let crc = png::checksum(&chunk);
    [&png[..HEAT_CHUNK], &(chunk.len() as u32 - 4).to_be_bytes(), &chunk, &crc.to_be_bytes(), &png[HEAT_CHUNK..]].concat()
}

fn write_heatmap(home: &Home, picture: &Picture, finding: &Finding) -> Result<()> {
    let longest = picture.w.max(picture.h).max(1);
    let scale = (LARGEST as f64 / longest as f64).min(1.0);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    let shown = picture.resize_to(side(picture.w), side(picture.h));
    let map = finding.map((picture.w, picture.h), (shown.w, shown.h))?.expect("asked before: the detector has maps");
    let rgb = Rgb::new(shown.w, shown.h, shown.rgb)?;
    // The values of windows mean the same in every picture: they are not stretched.
    let overlay = if finding.absolute() { heatmap::overlay_absolute(&rgb, &map)? } else { heatmap::overlay(&rgb, &map)? };
    write_whole(&home.file, &with_owner(&overlay.png()?, home.owner))
}
