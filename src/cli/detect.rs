use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::train::run_config;
use crate::core::params::ParamStore;
use crate::data::picture::{Picture, is_picture_name};
use crate::data::source::picture_files;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::models::lae::Lae;
use crate::report::Rgb;
use crate::report::file::write_whole;
use crate::report::heatmap;
use crate::train::checkpoint::{self, What};
use crate::train::run::MODEL;
use crate::train::step::{Scorer, Verdict};

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
    /// path,verdict,p_fake,a_true,a_fake,heatmap,error
    #[arg(long)]
    csv: bool,
}

/// Longest side of a written heat map.
const LARGEST: usize = 1024;

impl DetectArgs {
    pub fn run(self) -> Result<i32> {
        let (device, _) = Device::choose(&self.device)?;
        let config = run_config(&self.run)?;
        let mut store = ParamStore::new(config.seed);
        let lae = Lae::build(&mut store, &config.lae, config.size)?;
        let notes = checkpoint::load(&mut store, &self.run.join(MODEL), What::Model)?;
        let mut scorer = Scorer::new(&device, &config, &lae, &store, 1)?;
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
            eprintln!("note: this model was trained under: {n}");
        }
        if self.csv {
            println!("path,verdict,p_fake,a_true,a_fake,heatmap,error");
        }
        let mut failed = 0;
        for (i, file) in files.iter().enumerate() {
            let judged = judge(file, &config.size, &mut scorer, &mut store).and_then(|(picture, v)| {
                let heat = match &self.heatmaps {
                    Some(dir) => Some(write_heatmap(dir, i, file, &picture, &v, scorer.grid)?),
                    None => None,
                };
                Ok((v, heat))
            });
            failed += judged.is_err() as usize;
            self.print(file, judged);
        }
        if failed > 0 {
            eprintln!("{failed} of {} pictures could not be judged", files.len());
        }
        Ok(match failed {
            0 => 0,
            n if n == files.len() => 2,
            _ => 1,
        })
    }

    fn print(&self, file: &Path, judged: Result<(Verdict, Option<PathBuf>)>) {
        let path = file.display().to_string();
        match (judged, self.json, self.csv) {
            (Ok((v, heat)), true, _) => println!(
                "{}",
                json!({ "path": path, "verdict": word(&v), "p_fake": v.p_fake(), "a_true": v.a_true, "a_fake": v.a_fake, "heatmap": heat })
            ),
            (Err(e), true, _) => println!("{}", json!({ "path": path, "error": e.to_string() })),
            (Ok((v, heat)), _, true) => {
                let heat = heat.map(|h| quote(&h.display().to_string())).unwrap_or_default();
                println!("{},{},{:.6},{:.6},{:.6},{heat},", quote(&path), word(&v), v.p_fake(), v.a_true, v.a_fake)
            }
            (Err(e), _, true) => println!("{},,,,,,{}", quote(&path), quote(&e.to_string())),
            (Ok((v, heat)), ..) => {
                let heat = heat.map(|h| format!("  {}", h.display())).unwrap_or_default();
                println!("{}  p_fake {:.3}  {path}{heat}", word(&v), v.p_fake())
            }
            (Err(e), ..) => eprintln!("skipped: {e}"),
        }
    }
}

fn word(v: &Verdict) -> &'static str {
    if v.called_fake() { "fake" } else { "real" }
}

/// A CSV field.
fn quote(s: &str) -> String {
    if s.contains([',', '"', '\n']) { format!("\"{}\"", s.replace('"', "\"\"")) } else { s.to_string() }
}

fn judge(file: &Path, size: &usize, scorer: &mut Scorer, store: &mut ParamStore) -> Result<(Picture, Verdict)> {
    if !file.exists() {
        return Err(Error::data(file, "no such file"));
    }
    let picture = Picture::open(file).map_err(|e| match e {
        Error::Data { file, why } if !is_picture_name(&file) => Error::data(file, format!("{why} (is it a picture?)")),
        e => e,
    })?;
    let x: Vec<f32> = picture.resize(*size).rgb.iter().map(|&v| v as f32 / 255.0).collect();
    let verdict = scorer.run(store, &x)?.remove(0);
    Ok((picture, verdict))
}

fn write_heatmap(dir: &Path, number: usize, file: &Path, picture: &Picture, v: &Verdict, grid: usize) -> Result<PathBuf> {
    let longest = picture.w.max(picture.h).max(1);
    let scale = (LARGEST as f64 / longest as f64).min(1.0);
    let side = |n: usize| ((n as f64 * scale).round() as usize).max(1);
    let shown = picture.resize_to(side(picture.w), side(picture.h));
    let map = heatmap::bilinear(&v.map, grid, grid, shown.w, shown.h)?;
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
