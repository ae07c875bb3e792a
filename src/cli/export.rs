use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::nn::weights::Stored;
use crate::report::terminal::print;
use crate::train::checkpoint;
use crate::train::run::MODEL;

#[derive(Args)]
pub struct ExportArgs {
    /// Run folder
    run: PathBuf,
    /// Number type: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "bf16")]
    dtype: String,
    /// File to write; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl ExportArgs {
    pub fn run(self) -> Result<i32> {
        let Some(stored) = Stored::ALL.into_iter().find(|s| s.name() == self.dtype) else {
            let why = format!("{:?} is not a type of weight files; use f32, f16 or bf16", self.dtype);
            return Err(Error::config("--dtype", why));
        };
        if self.out.exists() {
            return Err(Error::data(&self.out, "exists; give another name with --out"));
        }
        let done = checkpoint::export(&self.run.join(MODEL), &self.out, stored)?;
        let (was, became) = done.most_changed;
        let change = if was == became { "none changed".to_string() } else { format!("changed most: {was:e} to {became:e}") };
        print(&format!(
            "{}: {} tensors, {} values in {}, {change}\n",
            crate::text::shown(&self.out),
            done.tensors,
            done.values,
            stored.name()
        ))?;
        Ok(0)
    }
}
