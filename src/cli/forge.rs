use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::error::Result;
use crate::train::config::TrainConfig;

#[derive(Args)]
pub struct ForgeArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write; must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Side of the pictures in pixels
    #[arg(long, value_name = "N", default_value = "256")]
    size: usize,
    /// Pictures of the training split, half of them forged; validation and test get a quarter each
    #[arg(long, value_name = "N", default_value = "200")]
    count: usize,
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// One setting, such as data.seen=patchmatch; repeat as needed
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ForgeArgs {
    pub fn run(self) -> Result<i32> {
        let quarter = (self.count / 4).max(2) / 2 * 2;
        let mut set = self.data.settings()?;
        set.push(format!("size={}", self.size));
        set.push(format!("seed={}", self.seed));
        set.push(format!("data.train_count={}", self.count));
        set.push(format!("data.val_count={quarter}"));
        set.push(format!("data.test_count={quarter}"));
        set.extend(self.set);
        let _config = TrainConfig::resolve("small", None, &set)?;
        todo!()
    }
}
