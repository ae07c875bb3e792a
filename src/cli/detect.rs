//! `lae-engine detect`: a verdict for every picture, as lines, JSON or CSV, and its map as a picture.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::core::file::write_whole;
use crate::core::params::ParamStore;
use crate::data::picture::{Note, Opened, Picture, is_picture_name};
use crate::data::source::picture_files;
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::report::Rgb;
use crate::report::data::{ReportData, lower_first};
use crate::report::heatmap;
use crate::report::terminal::{print, say};
use crate::train::checkpoint::{self, What};
use crate::train::detector::{Detector, Purpose};
use crate::train::run::MODEL;
use crate::train::score::{Scorer, Verdict};

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
    /// auto, cpu, cuda or emu
    #[arg(long, default_value = "auto")]
    device: String,
    /// One JSON object per line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// path,verdict,p_fake, the values behind it (lae: a_true,a_fake),heatmap,error,notes
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
        let detector = (entry.build)(&config, &mut store, Purpose::Judge)?;
        let notes = checkpoint::load(&mut store, &self.run.join(MODEL), What::Model)?;
        let mut scorer = Scorer::new(&device, &*detector, &store, config.size, 1)?;
        if self.heatmaps.is_some() && scorer.grid.is_none() {
            let why = format!("{} gives a verdict without a map; leave --heatmaps out", entry.name);
            return Err(Error::config("--heatmaps", why));
        }
        if let Some(dir) = &self.heatmaps {
            std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
        }
        let mut files = Vec::new();
        for p in &self.paths {
            if p.is_dir() {
                let found = picture_files(p)?;
                if found.is_empty() {
                    return Err(Error::data(p, "holds no pictures (png, jpg, webp, bmp, tiff, gif, pnm)"));
                }
                files.extend(found);
            } else {
                files.push(p.clone());
            }
        }
        if let Some(n) = notes.get("notices").filter(|n| !n.is_empty() && !self.json && !self.csv) {
            n.split("; ").for_each(|n| say(&format!("note      {n}")));
            self.experience(&self.run)?;
        }
        if self.csv {
            print(&format!("path,verdict,p_fake,{},heatmap,error,notes\n", scorer.names.join(",")))?;
        }
        let mut failed = 0;
        for (i, file) in files.iter().enumerate() {
            let judged = match (judge(file, config.size, &*detector, &mut scorer, &mut store), &self.heatmaps) {
                // A map that cannot be written is no fault of its picture: it ends the program.
                (Ok((opened, v)), Some(dir)) => {
                    let map = v.map.as_deref().zip(scorer.grid).expect("asked above");
                    let heat = write_heatmap(dir, i, file, &opened.picture, map)?;
                    Ok((v, Some(heat), opened.notes))
                }
                (judged, _) => judged.map(|(opened, v)| (v, None, opened.notes)),
            };
            failed += judged.is_err() as usize;
            self.print(file, scorer.names, judged)?;
        }
        if failed > 0 {
            say(&format!("{failed} of {} pictures could not be judged", files.len()));
        }
        Ok(match failed {
            0 => 0,
            n if n == files.len() => 2,
            _ => 1,
        })
    }

    /// What a reader of verdicts and maps must know.
    fn experience(&self, run: &Path) -> Result<()> {
        let file = run.join("report.json");
        if file.is_file() {
            let text = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
            let report: ReportData =
                serde_json::from_slice(&text).map_err(|e| Error::data(&file, format!("not a report: {e}")))?;
            report.sentences().first().into_iter().for_each(|s| say(&format!("note      its own test: {}", lower_first(s))));
        }
        if self.heatmaps.is_some() {
            say("note      each map is stretched from its lowest to its highest value: colours compare places, not pictures");
        }
        Ok(())
    }

    fn print(&self, file: &Path, names: &[&str], judged: Result<Judged>) -> Result<()> {
        let path = file.display().to_string();
        let line = match (judged, self.json, self.csv) {
            (Ok((v, heat, notes)), true, _) => {
                let notes: Vec<&str> = notes.iter().map(|n| n.text.as_str()).collect();
                let mut line =
                    json!({ "path": path, "verdict": word(&v), "p_fake": v.p_fake(), "heatmap": heat, "notes": notes });
                names.iter().zip(&v.values).for_each(|(name, x)| line[name] = json!(x));
                line.to_string()
            }
            (Err(e), true, _) => json!({ "path": path, "error": e.to_string() }).to_string(),
            (Ok((v, heat, notes)), _, true) => {
                let heat = heat.map(|h| quote(&h.display().to_string())).unwrap_or_default();
                let values: String = v.values.iter().map(|x| format!("{x:.6},")).collect();
                let notes = notes.iter().map(|n| n.text.as_str()).collect::<Vec<_>>().join("; ");
                format!("{},{},{:.6},{values}{heat},,{}", quote(&path), word(&v), v.p_fake(), quote(&notes))
            }
            (Err(e), _, true) => format!("{},,,{},{},", quote(&path), ",".repeat(names.len()), quote(&e.to_string())),
            (Ok((v, heat, notes)), ..) => {
                notes.iter().for_each(|n| say(&format!("note      {path}: {n}")));
                let heat = heat.map(|h| format!("  {}", h.display())).unwrap_or_default();
                format!("{}  p_fake {:.3}  {path}{heat}", word(&v), v.p_fake())
            }
            (Err(e), ..) => {
                say(&format!("skipped   {e}"));
                return Ok(());
            }
        };
        print(&format!("{line}\n"))
    }
}

/// A verdict, its heat map's file, and what was decided about the picture.
type Judged = (Verdict, Option<PathBuf>, Vec<Note>);

fn word(v: &Verdict) -> &'static str {
    if v.called_fake() { "fake" } else { "real" }
}

/// A CSV field.
fn quote(s: &str) -> String {
    if s.contains([',', '"', '\n']) { format!("\"{}\"", s.replace('"', "\"\"")) } else { s.to_string() }
}

fn judge(
    file: &Path,
    size: usize,
    detector: &dyn Detector,
    scorer: &mut Scorer,
    store: &mut ParamStore,
) -> Result<(Opened, Verdict)> {
    if !file.exists() {
        return Err(Error::data(file, "no such file"));
    }
    let opened = Picture::open_noted(file).map_err(|e| match e {
        Error::Data { file, why } if !is_picture_name(&file) => Error::data(file, format!("{why} (is it a picture?)")),
        e => e,
    })?;
    let x: Vec<f32> = opened.picture.resize(size).rgb.iter().map(|&v| v as f32 / 255.0).collect();
    let verdict = scorer.run(detector, store, &x)?.remove(0);
    Ok((opened, verdict))
}

fn write_heatmap(dir: &Path, number: usize, file: &Path, picture: &Picture, (map, grid): (&[f32], usize)) -> Result<PathBuf> {
    let longest = picture.w.max(picture.h).max(1);
    let scale = (LARGEST as f64 / longest as f64).min(1.0);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    let shown = picture.resize_to(side(picture.w), side(picture.h));
    let map = heatmap::bilinear(map, grid, grid, shown.w, shown.h)?;
    let overlay = heatmap::overlay(&Rgb::new(shown.w, shown.h, shown.rgb)?, &map)?;
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_else(|| "picture".into());
    // Pictures of different folders may share a name: the second gets its number.
    let mut out = dir.join(format!("{stem}.heat.png"));
    if out.exists() {
        out = dir.join(format!("{stem}.{number}.heat.png"));
    }
    write_whole(&out, &overlay.png()?)?;
    Ok(out)
}
