//! The command line: what was typed, turned into what is done.

mod annotate;
mod data;
mod describe;
mod detect;
mod doctor;
mod eval;
mod exchange;
mod export;
mod forge;
pub mod kernels;
mod ptx;
mod reproduce;
mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::{Error, Result};
use crate::report::terminal::say;

/// Locality-Aware AutoEncoder: a deepfake detector whose attention map lies on the forged region, on an engine of its own.
#[derive(Parser)]
#[command(name = "lae-engine", version, about, max_term_width = 110)]
pub struct Cli {
    /// Threads to use [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a detector: both stages of the paper, then a report
    Train(train::TrainArgs),
    /// Serve the page on which a person masks the pictures that a run chose, or import and export such masks
    Annotate(annotate::AnnotateArgs),
    /// Make the paper's tables and figures: every training that they need, and one report
    Reproduce(reproduce::ReproduceArgs),
    /// Judge a trained run's test sets, or a folder of labelled pictures
    Eval(eval::EvalArgs),
    /// Say of pictures whether they are fake, and show where
    Detect(detect::DetectArgs),
    /// Write a run's model with its numbers in another type, for other programs or to halve the file
    Export(export::ExportArgs),
    /// Write a data set of genuine and forged pictures with masks
    Forge(forge::ForgeArgs),
    /// Look at a data set before it is used, or write a manifest of one
    Data(data::DataCommand),
    /// Print the networks as tables
    Describe(describe::DescribeArgs),
    /// Print what every GPU kernel does at the network's shapes: counted on the emulator, times estimated
    Kernels(kernels::KernelsArgs),
    /// Run and inspect PTX of any origin on the emulator, every access checked
    Ptx(ptx::PtxArgs),
    /// Report what this machine and this build can do
    Doctor,
}

/// Where pictures come from and what is done to them: the same words for every command.
#[derive(Args, Clone, Default)]
pub struct DataArgs {
    /// Folder of photographs (searched recursively); the forgeries are made here
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    photos: Option<PathBuf>,
    /// Data set: DIR/{train,val,test}/{real,fake,mask} and DIR/unseen/METHOD/{fake,mask}, a manifest (FILE.csv, FILE.jsonl), or a folder
    /// of FaceForensics++, CelebA, DeepfakeBench, 0_real/1_fake or Tp/Gt (docs/data.md)
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Go on where a picture is in two splits or has two labels, and keep copies among photographs
    #[arg(long)]
    allow_duplicates: bool,
    /// Trace planted on the seen forger's fakes: none, checkerboard, jpeg, resample, noise
    #[arg(long, value_name = "KIND")]
    fingerprint: Option<String>,
    /// Strength of the trace, in grey levels (jpeg: quality; resample: factor)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    fingerprint_amplitude: Option<f64>,
    /// Share of the seen fakes that carry the trace
    #[arg(long, value_name = "0..1", allow_negative_numbers = true)]
    fingerprint_rate: Option<f64>,
    /// Shape of the forged region: central (the paper), rect, stroke
    #[arg(long, value_name = "SHAPE")]
    hole: Option<String>,
}

impl DataArgs {
    /// As settings of the configuration.
    fn settings(&self) -> Result<Vec<String>> {
        let path = |key: &str, p: &Option<PathBuf>| -> Result<Option<String>> {
            let Some(p) = p else { return Ok(None) };
            // A data set may be a file: its layout, or what is wrong with it, is said when it is opened.
            if !p.is_dir() && (key != "data.dir" || !p.is_file()) {
                return Err(Error::data(
                    p,
                    if p.exists() { "is a file; give the folder" } else { "no such folder; check the path" },
                ));
            }
            // A run folder must find its data from anywhere.
            let p = std::fs::canonicalize(p).map_err(|e| Error::io(p, e))?;
            Ok(Some(format!("{key}={}", toml::Value::String(crate::text::word(&p)))))
        };
        let rows = [
            path("data.photos", &self.photos)?,
            path("data.dir", &self.data)?,
            self.allow_duplicates.then(|| "data.allow_duplicates=true".into()),
            self.fingerprint.as_ref().map(|x| format!("data.fingerprint={x}")),
            self.fingerprint_amplitude.map(|x| format!("data.fingerprint_amplitude={x:?}")),
            self.fingerprint_rate.map(|x| format!("data.fingerprint_rate={x:?}")),
            self.hole.as_ref().map(|x| format!("data.hole={x}")),
        ];
        Ok(rows.into_iter().flatten().collect())
    }
}

/// Parse the arguments and do what they ask. Returns the exit code: 0 done, 1 some pictures could not be judged or the data are
/// faulty, 2 error, 3 a device that was asked for is not there, 4 a run waits for
/// masks of a person.
pub fn main() -> i32 {
    let cli = Cli::parse();
    let work = move || match cli.command {
        Command::Train(a) => a.run(),
        Command::Annotate(a) => a.run(),
        Command::Reproduce(a) => a.run(),
        Command::Eval(a) => a.run(),
        Command::Detect(a) => a.run(),
        Command::Export(a) => a.run(),
        Command::Forge(a) => a.run(),
        Command::Data(a) => a.run(),
        Command::Describe(a) => a.run(),
        Command::Kernels(a) => a.run(),
        Command::Ptx(a) => Ok(a.run()),
        Command::Doctor => doctor::run(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cli.threads.map_or(0, usize::from)).build();
    // Everything runs on a worker of the pool: steps then start their tasks without a detour (and without allocating).
    let result = match pool {
        Ok(pool) => pool.install(work),
        Err(e) => Err(Error::config("--threads", e)),
    };
    match result {
        Ok(code) => code,
        // The reader of our output has seen enough (`| head`).
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(e @ Error::Waits { .. }) => {
            say(&format!("waits     {e}"));
            4
        }
        Err(e) => {
            say(&format!("error: {e}"));
            if matches!(e, Error::Unavailable { .. }) { 3 } else { 2 }
        }
    }
}
