//! `lae-engine kernels`: what every kernel does at the network's shapes, counted on the PTX emulator.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use crate::core::case::Case;
use crate::core::file::write_whole;
use crate::core::params::ParamStore;
use crate::detectors;
use crate::device::{Device, Hopper, Precision, kernels};
use crate::error::{Error, Result};
use crate::profile::{self, Row};
use crate::ptx::roofline::{self, GPUS};
use crate::report::table::{Align, Table};
use crate::report::terminal::print;
use crate::train::TrainConfig;
use crate::train::detector::{Entry, Purpose};

#[derive(Args)]
pub struct KernelsArgs {
    /// The method whose networks are counted
    #[arg(long, value_name = "NAME", default_value = "lae")]
    detector: String,
    /// The GPU to estimate for: a100, rtx3090, rtx4090, h100, h200
    #[arg(long, value_name = "GPU", default_value = "h100")]
    gpu: String,
    /// Side of the pictures in pixels; 256 takes minutes
    #[arg(long, value_name = "N", default_value_t = 64)]
    size: usize,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 2)]
    batch: usize,
    /// What convolutions round their factors to, or activations are stored in: f32, tf32, 3xtf32, bf16
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: String,
    /// One step of the first stage in place of each op once: counted with two pictures and with four, extrapolated to --batch
    #[arg(long)]
    step: bool,
    /// Only kernels whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only the rows that take longest
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Print JSON: one object with all rows
    #[arg(long)]
    json: bool,
    /// Write a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What every output says of its times.
const ESTIMATE: &str = "Times are estimates: counted work over published peaks, not measured on any GPU. Counts are the PTX \
    emulator's. No cache is modelled: `moved` counts every sector of every request.";

#[derive(Serialize)]
struct Out<'a> {
    estimate: &'static str,
    detector: &'a str,
    gpu: &'static str,
    size: usize,
    batch: usize,
    precision: &'a str,
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonRow {
    layer: String,
    op: &'static str,
    inputs: String,
    kernel: &'static str,
    launches: u64,
    grid: [u32; 3],
    threads: u32,
    registers: u32,
    spilled_bytes: u32,
    shared_bytes: u32,
    occupancy: Option<f64>,
    occupancy_limit: Option<&'static str>,
    macs: u64,
    useful_macs: Option<u64>,
    tile_use: Option<f64>,
    moved_bytes: u64,
    touched_bytes: u64,
    moved_over_compulsory: f64,
    sectors_per_load: f64,
    sectors_per_store: f64,
    bank_conflicts: u64,
    estimated_seconds: Option<f64>,
    estimated_bound: &'static str,
    metrics: std::collections::BTreeMap<&'static str, f64>,
}

impl From<&Row> for JsonRow {
    fn from(r: &Row) -> JsonRow {
        let c = &r.counters;
        JsonRow {
            layer: r.layer.clone(),
            op: r.op,
            inputs: r.inputs.clone(),
            kernel: r.kernel.name,
            launches: r.launches,
            grid: r.grid,
            threads: r.threads,
            registers: r.registers,
            spilled_bytes: r.spilled,
            shared_bytes: r.shared,
            occupancy: r.occupancy.map(|o| o.share()),
            occupancy_limit: r.occupancy.map(|o| o.limit.name()),
            macs: c.all_macs(),
            useful_macs: r.useful_macs,
            tile_use: r.tile_use(),
            moved_bytes: c.moved_bytes(),
            touched_bytes: c.read.bytes + c.written.bytes,
            moved_over_compulsory: r.moved_over_compulsory(),
            sectors_per_load: c.sectors_per_load(),
            sectors_per_store: c.sectors_per_store(),
            bank_conflicts: c.conflicts(),
            estimated_seconds: r.seconds,
            estimated_bound: r.bound,
            metrics: c.metrics().into_iter().collect(),
        }
    }
}

/// A detector's preset `paper` at this size.
fn paper(detector: &str, size: usize, batch: usize, precision: Precision) -> Result<(&'static Entry, TrainConfig)> {
    let mut set = vec![format!("size={size}"), format!("train.batch={batch}")];
    set.extend((precision == Precision::Bf16).then(|| "precision=bf16".to_string()));
    set.extend((detector == "lae").then(|| "lae.grid=16".to_string()));
    detectors::resolve(Some(detector), "paper", None, &set)
}

/// The ops of all stages of a detector's training at this size, preset `paper`, each once, with all gradients that any stage asks for.
pub fn network_cases(detector: &str, size: usize, batch: usize, precision: Precision) -> Result<Vec<Case>> {
    let (entry, c) = paper(detector, size, batch, precision)?;
    let mut merged: Vec<Case> = Vec::new();
    for case in detectors::cases(entry, &c, |_| batch)? {
        match merged.iter_mut().find(|c| c.same_work(&case)) {
            Some(c) => c.wants = c.wants.union(case.wants),
            None => merged.push(case),
        }
    }
    Ok(merged)
}

impl KernelsArgs {
    pub fn run(self) -> Result<i32> {
        let gpu = roofline::gpu(&self.gpu).ok_or_else(|| {
            let known = GPUS.map(|g| g.key).join(", ");
            Error::config("--gpu", format!("{:?} is not in the table of GPUs; use one of {known}", self.gpu))
        })?;
        let precision = match self.precision.as_str() {
            "f32" => Precision::F32,
            "tf32" => Precision::Tf32,
            "3xtf32" => Precision::Tf32x3,
            "bf16" => Precision::Bf16,
            p => return Err(Error::config("--precision", format!("{p:?} is not one of f32, tf32, 3xtf32, bf16"))),
        };
        let hopper = |when| (gpu.sm == 90 && kernels::hopper()).then_some(when);
        if kernels::KERNELS.is_empty() {
            let why = "this build has no kernels; `lae-engine doctor` says why".to_string();
            return Err(Error::Unavailable { device: "emu".into(), why });
        }
        if self.step {
            if self.batch < 2 || self.batch % 2 == 1 {
                return Err(Error::config(
                    "--batch",
                    format!("{}: half of a batch is true, half fake; give an even number", self.batch),
                ));
            }
            let cases = |n| step_cases(&self.detector, self.size, n, precision);
            return self.estimate_step(&cases(2)?, &cases(4)?, precision, gpu, hopper(Hopper::WherePossible));
        }
        let cases = network_cases(&self.detector, self.size, self.batch, precision)?;
        let style = ProgressStyle::with_template("{pos}/{len} ops on the emulator, {elapsed}").expect("a valid template");
        let bar = ProgressBar::new(cases.len() as u64).with_style(style);
        let mut rows = profile::profile(&cases, precision, gpu, hopper(Hopper::WhereFaster), || bar.inc(1))?;
        bar.finish_and_clear();
        if let Some(text) = &self.filter {
            rows.retain(|r| r.kernel.name.contains(text.as_str()));
        }
        rows.sort_by(|a, b| b.seconds.unwrap_or(f64::INFINITY).total_cmp(&a.seconds.unwrap_or(f64::INFINITY)));
        let total: f64 = rows.iter().filter_map(|r| r.seconds).sum();
        rows.truncate(self.top.unwrap_or(usize::MAX));
        if let Some(file) = &self.html {
            write_whole(file, page(&self, gpu, &rows, total).into_string().as_bytes())?;
        }
        if self.json {
            let (size, batch, rows) = (self.size, self.batch, rows.iter().map(JsonRow::from).collect());
            let out = Out {
                estimate: ESTIMATE,
                detector: &self.detector,
                gpu: gpu.name,
                size,
                batch,
                precision: &self.precision,
                rows,
            };
            print(&format!("{}\n", serde_json::to_string_pretty(&out).expect("plain data")))?;
        } else if self.html.is_none() {
            let (batch, size, total) = (self.batch, self.size, total * 1e6);
            let once = format!("Each op once, {batch} pictures of {size} px: {total:.1} µs (estimate, {}).", gpu.name);
            print(&format!("{}\n{once}\n{ESTIMATE}\n", table(&rows).render()))?;
        }
        Ok(0)
    }
}

/// What runs in a step of the first stage, in order, each op with the gradients that are asked of it there.
fn step_cases(detector: &str, size: usize, batch: usize, precision: Precision) -> Result<Vec<Case>> {
    let (entry, c) = paper(detector, size, batch, precision)?;
    let mut store = ParamStore::new(c.seed);
    let detector = (entry.build)(&c, &mut store, Purpose::Train)?;
    Ok(detectors::step(&*detector, &c, &store, 0, batch, &Device::Cpu)?.plan.steps_as_cases())
}

impl KernelsArgs {
    fn estimate_step(
        &self,
        two: &[Case],
        four: &[Case],
        precision: Precision,
        gpu: &'static roofline::DataSheet,
        hopper: Option<Hopper>,
    ) -> Result<i32> {
        let style = ProgressStyle::with_template("{pos} ops on the emulator, {elapsed}").expect("a valid template");
        let bar = ProgressBar::no_length().with_style(style);
        let rows = profile::step(two, four, self.batch as u64, precision, gpu, hopper, || bar.inc(1))?;
        bar.finish_and_clear();
        let mut t = Table::new(&STEP_COLUMNS);
        let ms = |s: f64| format!("{:.3}", s * 1e3);
        for r in rows.iter().take(self.top.unwrap_or(usize::MAX)) {
            let c = &r.counters;
            let useful = r.useful_macs.map_or("–".into(), |m| format!("{:.1}", 100.0 * m as f64 / c.all_macs() as f64));
            let gb = |b: u64| format!("{:.3}", b as f64 / 1e9);
            let dram = c.read.sector_bytes + c.written.sector_bytes;
            let (launches, macs) = (r.launches.to_string(), format!("{:.2}", c.all_macs() as f64 / 1e9));
            t.row([r.kernel.to_string(), launches, macs, useful, gb(dram), gb(c.bulk_bytes), ms(r.seconds), r.bound.to_string()]);
        }
        let sum = |f: fn(&profile::InStep) -> bool| rows.iter().filter(|r| f(r)).map(|r| r.seconds).sum::<f64>();
        let (all, wgmma) = (sum(|_| true), sum(|r| r.kernel.contains("wgmma")));
        let launches: u64 = rows.iter().map(|r| r.launches).sum();
        let (batch, size, precision) = (self.batch, self.size, &self.precision);
        print(&format!(
            "{}\nOne step of the first stage, {batch} pictures of {size} px, {precision}: {} ms in {launches} launches, of which wgmma \
             {} ms (estimate, {}; without uploads).\n{ESTIMATE}\n",
            t.render(),
            ms(all),
            ms(wgmma),
            gpu.name
        ))?;
        Ok(0)
    }
}

const STEP_COLUMNS: [(&str, Align); 8] = [
    ("kernel", Align::Left),
    ("launches", Align::Right),
    ("GMAC", Align::Right),
    ("useful %", Align::Right),
    ("DRAM GB", Align::Right),
    ("TMA GB", Align::Right),
    ("est. ms", Align::Right),
    ("bound", Align::Left),
];

const COLUMNS: [(&str, Align); 15] = [
    ("layer", Align::Left),
    ("kernel", Align::Left),
    ("blocks", Align::Right),
    ("threads", Align::Right),
    ("regs", Align::Right),
    ("spill", Align::Right),
    ("shared", Align::Right),
    ("occ %", Align::Right),
    ("MMAC", Align::Right),
    ("tiles %", Align::Right),
    ("moved", Align::Right),
    ("sect/ld", Align::Right),
    ("conflicts", Align::Right),
    ("est. µs", Align::Right),
    ("bound", Align::Left),
];

fn cells(r: &Row) -> [String; 15] {
    let c = &r.counters;
    let or_dash = |x: Option<String>| x.unwrap_or_else(|| "–".to_string());
    [
        if r.layer.is_empty() { r.op.to_string() } else { r.layer.clone() },
        r.kernel.name.to_string(),
        c.blocks.to_string(),
        r.threads.to_string(),
        r.registers.to_string(),
        r.spilled.to_string(),
        r.shared.to_string(),
        or_dash(r.occupancy.map(|o| format!("{:.0}", 100.0 * o.share()))),
        format!("{:.1}", c.all_macs() as f64 / 1e6),
        or_dash(r.tile_use().map(|u| format!("{:.1}", 100.0 * u))),
        format!("{:.2}×", r.moved_over_compulsory()),
        format!("{:.1}", c.sectors_per_load()),
        c.conflicts().to_string(),
        or_dash(r.seconds.map(|s| format!("{:.1}", s * 1e6))),
        r.bound.to_string(),
    ]
}

fn table(rows: &[Row]) -> Table {
    let mut t = Table::new(&COLUMNS);
    rows.iter().for_each(|r| t.row(cells(r)));
    t
}

fn page(a: &KernelsArgs, gpu: &roofline::DataSheet, rows: &[Row], total: f64) -> Markup {
    let style = "body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:right;\
        border-bottom:1px solid #ddd;white-space:nowrap}td:nth-child(-n+2),td:last-child{text-align:left}th{position:sticky;top:0;background:#fff}";
    html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "Kernels" } style { (maud::PreEscaped(style)) } }
            body {
                h1 { "Kernels at the network's shapes" }
                p {
                    (a.batch) " pictures of " (a.size) " px, " (a.precision) ", estimated for " (gpu.name) ": each op once, "
                    (format!("{:.1}", total * 1e6)) " µs."
                }
                p { strong { (ESTIMATE) } }
                table {
                    thead { tr { @for (name, _) in COLUMNS { th { (name) } } } }
                    tbody { @for r in rows { tr title=(r.inputs) { @for c in cells(r) { td { (c) } } } } }
                }
            }
        }
    }
}
