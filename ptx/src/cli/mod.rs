//! The command line: run and inspect PTX of any origin, and check kernels by a specification. `lae-ptx …` and `lae-engine ptx …`
//! are both this.
//!
//! Exit codes, of every command: 0 nothing was found, 1 a finding (a fault, a wrong value), 2 the call was wrong: an unknown
//! kernel, arguments that do not fit, an instruction that is not supported, a file that is no PTX or not there.

mod argument;
pub mod check;
mod compare;
mod files;
mod init;
mod list;
mod load;
mod map;
mod names;
pub mod report;
mod run;
mod slot;
mod spec;
mod tree;
mod types;
mod values;
pub mod verdict;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const CODES: &str = "Exit code: 0 nothing found, 1 a finding, 2 a wrong call, an unsupported kernel or no PTX.";

#[derive(Args)]
pub struct PtxArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a kernel, check every access, and print what it wrote
    #[command(after_help = format!("{}\n\n{}\n\n{CODES}", argument::HELP, values::HELP))]
    Run(Box<run::RunArgs>),
    /// Print the kernels of a file, their parameters, and whether the emulator can run them
    #[command(after_help = CODES)]
    List(FileArgs),
    /// Run the launches that a specification describes, and judge them: for CI
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Print a first specification for a PTX file
    #[command(after_help = CODES)]
    Init(FileArgs),
    /// Print how often each instruction occurs in a file
    #[command(after_help = CODES)]
    Census(FileArgs),
    /// Print every instruction that the emulator knows
    Isa,
}

#[derive(Args)]
struct FileArgs {
    /// PTX text, as `nvcc -ptx` writes it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const CHECK: &str = "\
PATH is FILE.ptx SPEC.toml; SPEC.toml alone if it names its file (ptx = \"…\") or lies beside SPEC.ptx; or a folder of such pairs.
docs/kernel-authors.md shows specifications; `ptx init FILE.ptx` writes a first one.

Exit code: 0 nothing found, 1 findings, 2 something could not be checked, or no launch ran.";

#[derive(Args)]
struct CheckArgs {
    /// PTX file, specification, or folder of pairs
    #[arg(value_name = "PATH", required = true, num_args = 1..=2)]
    paths: Vec<PathBuf>,
    /// Run this launch alone, and those before that it needs; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Write JUnit XML to a file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write SARIF 2.1.0 to a file
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Most memory of the buffers of a specification [default: 4096, or a quarter of what is free]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Most warp instructions of a launch, whatever the specification says
    #[arg(long, value_name = "N")]
    budget: Option<u64>,
    /// File of findings that are known and meant: [[suppress]], as in a specification
    #[arg(long, value_name = "FILE")]
    suppress: Option<PathBuf>,
}

impl CheckArgs {
    fn run(self) -> Result<(String, String, i32), String> {
        let suppress = match &self.suppress {
            Some(path) => check::suppressions(path)?,
            None => Vec::new(),
        };
        let limits = check::Limits { only: self.only, memory: self.memory, budget: self.budget, suppress };
        let files = check::check(&self.paths, &limits)?;
        let pretty = |v: serde_json::Value| format!("{v:#}\n");
        let write = |path: &Option<PathBuf>, text: &dyn Fn() -> String| match path {
            Some(p) => std::fs::write(p, text()).map_err(|e| format!("{}: {e}; choose another place", p.display())),
            None => Ok(()),
        };
        write(&self.junit, &|| report::junit(&files))?;
        write(&self.sarif, &|| pretty(report::sarif(&files)))?;
        let out = if self.json { pretty(report::json(&files)) } else { report::text(&files) };
        Ok((out, String::new(), verdict::Summary::of(&files).code()))
    }
}

/// Run PTX on the host, every access checked: no GPU, no CUDA.
#[derive(Parser)]
#[command(name = "lae-ptx", version, about, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    args: PtxArgs,
}

/// The program `lae-ptx`: parses its arguments, and gives the exit code.
pub fn main() -> i32 {
    Cli::parse().args.run()
}

impl PtxArgs {
    /// Does what was asked for, prints, and gives the exit code.
    pub fn run(self) -> i32 {
        let result = match self.command {
            Command::Run(a) => a.run(),
            Command::Check(a) => a.run(),
            Command::Init(a) => init::init(&a.file).map(|out| (out, String::new(), 0)),
            Command::List(a) => list::list(&a.file).map(|(out, code)| (out, String::new(), code)),
            Command::Census(a) => list::census(&a.file).map(|(out, code)| (out, String::new(), code)),
            Command::Isa => Ok((list::forms(), String::new(), 0)),
        };
        // A reader who has seen enough (`| head`) closes the pipe: that is no error.
        match result {
            Ok((out, errors, code)) => {
                let _ = std::io::stdout().lock().write_all(out.as_bytes());
                let _ = std::io::stderr().lock().write_all(errors.as_bytes());
                code
            }
            Err(why) => {
                let _ = writeln!(std::io::stderr().lock(), "error: {why}");
                2
            }
        }
    }
}
