//! `lae-engine data check DIR --exchange RUN`: whether a model looks at what was forged.

use std::path::Path;

use serde_json::json;

use crate::core::params::ParamStore;
use crate::data::dataset::{Dataset, Split};
use crate::data::fingerprint::Fingerprint;
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::metrics::Bootstrap;
use crate::report::table::{Align, Table};
use crate::report::terminal::{print, say};
use crate::text::json_line;
use crate::train::detector::Purpose;
use crate::train::exchange::{Copies, Judge, Pairs};
use crate::train::score::Scorer;
use crate::train::summary::stage_models;

/// The test fakes of a set by method, each kind of copies judged; and what was left out.
fn judged(dir: &Path, run: &Path, device: &Device) -> Result<Vec<(String, Vec<Copies>, Pairs)>> {
    let (entry, mut c) = detectors::of_run(run)?;
    c.data.dir = Some(dir.to_path_buf());
    c.data.photos = None;
    // A ready set carries what it carries.
    c.data.fingerprint = Fingerprint::None;
    // The same picture in two splits does not change what is said of one.
    c.data.allow_duplicates = true;
    let data = Dataset::open_processed(&c.data, &c.augment, c.size, c.seed, say)?;
    let mut store = ParamStore::new(c.seed);
    c.cpu.winograd.set();
    let detector = (entry.build)(&c, &mut store, Purpose::Judge)?;
    let stages = detector.stages();
    let names: Vec<&str> = stages.iter().map(|s| s.name).collect();
    let mut models = stage_models(run, entry.name, &names, &store)?;
    let scorer = Scorer::without_maps(device, &*detector, &store, c.size, 32)?;
    let store = &mut models.last_mut().expect("a run has a stage").store;
    let how = Bootstrap { resamples: c.eval.resamples, seed: c.seed };
    let mut judge = Judge { detector: &*detector, scorer, store, how };
    let mut out = Vec::new();
    for split in data.splits().into_iter().filter(|s| !matches!(s, Split::Train | Split::Val)) {
        let name = if split == Split::Test { data.seen().to_string() } else { data.name(split) };
        let pairs = Pairs::of(&data, split)?;
        let all = if pairs.pairs.is_empty() { vec![] } else { judge.all(&pairs)? };
        out.push((name, all, pairs));
    }
    Ok(out)
}

/// One table of the model in `run` on the pairs of the data set `dir`, at the side that the model was trained on.
pub fn run(dir: &Path, run: &Path, device: &str, json: bool) -> Result<i32> {
    let (device, why) = Device::choose(device)?;
    say(&format!("device    {why}"));
    let methods = judged(dir, run, &device)?;
    let mut text = String::new();
    for (method, _, pairs) in &methods {
        for (why, n) in &pairs.left_out {
            say(&format!("note      {method}: {n} fakes were left out, {why}"));
        }
    }
    if methods.iter().all(|m| m.1.is_empty()) {
        let why =
            "no test fake can be exchanged with its original; name the originals in manifest.jsonl (`original`), beside masks";
        return Err(Error::data(dir, why));
    }
    let mut table = Table::new(&[
        ("", Align::Left),
        ("pictures of the tests", Align::Left),
        ("share", Align::Right),
        ("pictures", Align::Right),
    ]);
    for (method, copies, _) in &methods {
        for c in copies {
            if json {
                let v = c.value;
                text += &json_line(&json!({
                    "method": method, "what": c.name, "value": v.value, "lower": v.lo, "upper": v.hi, "pictures": c.pictures()
                }));
                text.push('\n');
            } else {
                table.row([method.clone(), c.name.clone(), c.value.percent(), c.pictures().to_string()]);
            }
        }
    }
    if !json {
        text = format!(
            "{}\nA model that looks at what was forged is right on every row. One that reads a trace around the region misses exchanged fakes and \
             calls reversed pictures fake.\n",
            table.render()
        );
    }
    print(&text)?;
    Ok(0)
}
