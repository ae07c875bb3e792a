//! What every kernel does at the shapes of the LAE's networks and of each baseline (64 px, two pictures), pinned: traffic, bank
//! conflicts, multiply-adds. A change of a kernel that moves more bytes, meets more banks or wastes more of its tiles shows here,
//! on a machine without a GPU.
//!
//! The figures are in `tests/golden/kernel_counters.json`, summed over the layers of a detector for each kernel and precision.
//! After a change that is meant: `LAE_PIN=1 cargo test --test kernel_counters`, and look at the difference before it is committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use lae_engine::cli::kernels::network_cases;
use lae_engine::core::case::Case;
use lae_engine::core::dtype::DType;
use lae_engine::detectors::DETECTORS;
use lae_engine::device::{Precision, kernels};
use lae_engine::profile::{Row, profile};
use lae_engine::ptx::roofline;
use libtest_mimic::{Arguments, Failed, Trial};
use serde::{Deserialize, Serialize};

/// The counts of one kernel, over all layers that launch it.
#[derive(Serialize, Deserialize, Default, Clone, PartialEq, Debug)]
struct Pin {
    launches: u64,
    load_requests: u64,
    load_sectors: u64,
    store_requests: u64,
    store_sectors: u64,
    shared_wavefronts: u64,
    bank_conflicts: u64,
    macs: u64,
    useful_macs: u64,
    touched_bytes: u64,
}

impl Pin {
    fn add(&mut self, r: &Row) {
        let c = &r.counters;
        self.launches += r.launches;
        self.load_requests += c.load.requests;
        self.load_sectors += c.load.sectors;
        self.store_requests += c.store.requests;
        self.store_sectors += c.store.sectors;
        self.shared_wavefronts += c.shared_waves();
        self.bank_conflicts += c.conflicts();
        self.macs += c.all_macs();
        self.useful_macs += r.useful_macs.unwrap_or(0);
        self.touched_bytes += c.read.bytes + c.written.bytes;
    }
}

type Pins = BTreeMap<String, Pin>;

/// Matrix products, whose operands are read by more than one block.
const PRODUCTS: [&str; 4] = ["conv2d_", "linear_", "cam_attention_head_", "cam_attention_weight_"];

/// Everything else reads each operand once and writes each result once, but for a tenth.
fn streams_once(r: &Row) -> Result<bool, String> {
    let touched = r.counters.read.bytes + r.counters.written.bytes;
    // A sector of 32 bytes holds fewer of a handful of values.
    if PRODUCTS.iter().any(|p| r.kernel.name.starts_with(p)) || touched < 4096 {
        return Ok(false);
    }
    let (name, layer, moved) = (r.kernel.name, &r.layer, r.moved_over_compulsory());
    if moved > 1.1 { Err(format!("{name} at {layer} moves {moved:.2} times its {touched} bytes")) } else { Ok(true) }
}

/// Of a baseline, cases of over 4 Mi values are left out: SuppressNet's wide layers, updates of all weights at once.
fn small(case: &Case) -> bool {
    case.inputs.iter().map(|i| i.0.len()).max() < Some(4 << 20)
}

fn words(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
        Precision::Tf32 => "tf32",
        Precision::Tf32x3 => "3xtf32",
        Precision::Bf16 => "bf16",
    }
}

fn measure() -> Result<Pins, Failed> {
    let (mut pins, mut streams, mut wasteful) = (Pins::new(), 0, Vec::new());
    let gpu = roofline::gpu("h100").expect("in the table");
    for entry in DETECTORS {
        let lae = entry.name == "lae";
        let cases: Vec<Case> =
            network_cases(entry.name, 64, 2, Precision::F32)?.into_iter().filter(|c| lae || small(c)).collect();
        let convolutions: Vec<_> = cases.iter().filter(|c| c.op.name().starts_with("conv")).cloned().collect();
        // In bf16 all but the convolutions, whose launches between casts are those of tf32.
        let halved = if lae { network_cases(entry.name, 64, 2, Precision::Bf16)? } else { Vec::new() };
        let halved = halved.into_iter().filter(|c| c.dtypes.contains(&DType::Bf16) && !c.op.name().starts_with("conv")).collect();
        for (precision, some) in [(Precision::F32, &cases), (Precision::Tf32, &convolutions), (Precision::Bf16, &halved)] {
            for r in profile(some, precision, gpu, None, || ())? {
                if r.spilled > 0 {
                    return Err(format!("{} spills {} bytes of registers", r.kernel.name, r.spilled).into());
                }
                // Launches of baselines need not read once: pixels of one or two channels fill no sector, and what overlapping windows
                // share is read again. The figures are pinned all the same.
                match streams_once(&r) {
                    Ok(s) => streams += (lae && s) as usize,
                    Err(e) if lae => wasteful.push(e),
                    Err(_) => {}
                }
                let of = if lae { String::new() } else { format!("{}: ", entry.name) };
                let name = format!("{of}{} {}", r.kernel.name, words(precision));
                pins.entry(name).or_default().add(&r);
            }
        }
    }
    if !wasteful.is_empty() {
        return Err(wasteful.join("\n").into());
    }
    if streams < 50 {
        return Err(format!("only {streams} launches stream").into());
    }
    Ok(pins)
}

fn pinned() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kernel_counters.json");
    let now = measure()?;
    if now.len() < 30 {
        return Err(format!("only {} kernels were launched", now.len()).into());
    }
    if std::env::var_os("LAE_PIN").is_some() {
        let mut text = serde_json::to_string_pretty(&now)?;
        text.push('\n');
        return Ok(std::fs::write(path, text)?);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let then: Pins = serde_json::from_str(&text)?;
    let mut wrong = Vec::new();
    for name in then.keys().chain(now.keys().filter(|n| !then.contains_key(*n))) {
        if then.get(name) != now.get(name) {
            wrong.push(format!("{name}: pinned {:?}\n    counted {:?}", then.get(name), now.get(name)));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("figures changed (LAE_PIN=1 writes the new ones):\n{}", wrong.join("\n")).into())
    }
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let built = !kernels::KERNELS.is_empty();
    let name = if built { "counters of the network's kernels" } else { "counters (kernels were not built)" };
    libtest_mimic::run(&args, vec![Trial::test(name, pinned).with_ignored_flag(!built)]).exit_code()
}
