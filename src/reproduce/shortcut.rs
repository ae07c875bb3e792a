//! Judges a run by test pictures that tell a trace from a forgery. All runs of a seed see the same ones, whatever they were trained on.

use super::arms::Trace;
use super::copies::{TRACED, TRACED_GENUINE, UNTRACED, save};
use super::options::Options;
use crate::core::params::ParamStore;
use crate::core::rng::{Rng, stream};
use crate::data::DataConfig;
use crate::data::dataset::{Dataset, Split};
use crate::detectors;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::metrics::Bootstrap;
use crate::report::terminal::say;
use crate::train::detector::Purpose;
use crate::train::exchange::{Grouped, Judge, Pairs};
use crate::train::score::Scorer;
use crate::train::summary::stage_models;

/// The genuine test pictures with the trace that fakes of training carry.
fn traced(data: &Dataset, trace: &Trace) -> Result<Grouped> {
    let genuine = (0..data.len(Split::Test) as u32).filter(|&i| !data.is_fake(Split::Test, i));
    let one = |i: u32| {
        let sample = data.sample(Split::Test, i, 0)?;
        let mut rng = Rng::new(data.seed(), stream("trace on genuine"), i as u64);
        let picture = trace.kind.apply(sample.picture, data.config().amplitude(), &mut rng)?;
        Ok((picture, sample.group.map(u64::from)))
    };
    genuine.map(one).collect()
}

/// Judge the weights that the last stage of a finished run left, and write what they say into its folder.
pub fn judge(o: &Options, job: &str, seed: u64, trace: &Trace, device: &Device) -> Result<()> {
    let dir = o.folder(job, seed);
    let (entry, c) = detectors::of_run(&dir)?;
    // The tests carry the trace at rate 1, those of a run that was trained without it, too.
    let config = DataConfig { fingerprint: trace.kind, fingerprint_amplitude: None, fingerprint_rate: 1.0, ..c.data.clone() };
    let data = Dataset::open_processed(&config, &c.augment, c.size, c.seed, say)?;
    let mut store = ParamStore::new(c.seed);
    c.cpu.winograd.set();
    let detector = (entry.build)(&c, &mut store, Purpose::Judge)?;
    let stages = detector.stages();
    let names: Vec<&str> = stages.iter().map(|s| s.name).collect();
    let mut models = stage_models(&dir, entry.name, &names, &store)?;
    let scorer = Scorer::without_maps(device, &*detector, &store, c.size, 32)?;
    let last = models.last_mut().expect("a run has a stage");
    let how = Bootstrap { resamples: c.eval.resamples, seed: c.seed };
    let mut judge = Judge { detector: &*detector, scorer, store: &mut last.store, how };

    let mut all = vec![judge.set(&data, Split::Test, TRACED.into())?, judge.set(&data, Split::SeenClean, UNTRACED.into())?];
    for (k, name) in data.unseen().iter().enumerate() {
        all.push(judge.set(&data, Split::Unseen(k), format!("unseen: {name}"))?);
    }
    all.push(judge.pictures(TRACED_GENUINE, &traced(&data, trace)?, true)?);
    let pairs = Pairs::of(&data, Split::Test)?;
    if pairs.pairs.is_empty() {
        let why = format!("no test fake can be exchanged with its original: {:?}; give data with originals", pairs.left_out);
        return Err(Error::data(&dir, why));
    }
    all.extend(judge.exchanged(&pairs)?);
    let words: Vec<String> = all.iter().map(|c| format!("{} {}", c.name, c.value.percent_value())).collect();
    say(&format!("shortcut  {}", words.join("; ")));
    save(&dir, trace.name, &all)
}
