//! Every key of the configuration is documented, and every documented value of an open question changes what a run computes.

use std::collections::HashMap;
use std::path::Path;

use lae_engine::detectors;
use lae_engine::device::Device;
use lae_engine::train::detector::Entry;
use lae_engine::train::resolve::all_keys;
use lae_engine::train::run::Run;

/// The cells of all tables of a page, without their headings.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = page.lines().collect();
    let body = lines.windows(2).filter(|w| w[1].starts_with("| ") && !w[0].is_empty()).map(|w| w[1]);
    let cells = |l: &str| {
        let l = l.replace("\\|", "\u{1}");
        l.trim().trim_matches('|').split('|').map(|c| c.trim().replace('\u{1}', "|")).collect::<Vec<_>>()
    };
    body.map(cells).collect()
}

/// The words in backticks of a cell.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

/// Smaller than smoke: two dozen pictures of 16 pixels. A detector takes of these what it knows.
const TINY: &[&str] = &[
    "size=16",
    "lae.width=2",
    "lae.grid=4",
    "lae.latent=8",
    "comparator.layer=conv1_2",
    "comparator.width=0.05",
    "discriminator.width=4",
    "train.epochs=1",
    "train.batch=4",
    "data.train_count=24",
    "data.val_count=4",
    "data.test_count=2",
    "data.photographs=8",
    "concept.batch=8",
    "concept.lr=0.1",
    "selection.annotations=4",
    "selection.topk=3",
    "stage2.epochs=1",
    "stage2.annotated_batch=2",
    "eval.resamples=2",
    "eval.gallery=0",
    // The paper's values where the smoke preset has its own.
    "lae.init=torch_default",
    "lae.init_decoder=dcgan",
    "discriminator.lr=0.001",
    "discriminator.beta1=0.9",
    "data.hole=central",
];

/// What a tiny run computes: its log, its choice (if the detector makes one), its weights.
fn outcome(entry: &'static Entry, settings: &[&str]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let keys = all_keys(entry);
    let tiny = TINY.iter().filter(|s| keys.iter().any(|k| Some(&**k) == s.split('=').next()));
    let set: Vec<String> = tiny.chain(settings).map(|s| s.to_string()).collect();
    let (entry, config) =
        detectors::resolve(Some(entry.name), "smoke", None, &set).unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    let mut r = Run::create(entry, config, &run, String::new(), &Device::Cpu).unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    r.run().unwrap_or_else(|e| panic!("{settings:?}: {e}"));
    // Weights without their metadata, which hold the configuration.
    let weights = |f: &Path| {
        let bytes = std::fs::read(f).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names: Vec<_> = tensors.names();
        names.sort();
        names.iter().flat_map(|n| tensors.tensor(n).unwrap().data().to_vec()).collect::<Vec<u8>>()
    };
    let read = |f: &str| std::fs::read(run.join(f)).unwrap();
    let choice = if run.join("selection.json").is_file() { read("selection.json") } else { Vec::new() };
    vec![read("metrics.jsonl"), choice, weights(&run.join("model.safetensors"))]
}

#[test]
fn every_documented_value_is_run_and_changes_something() {
    let page = include_str!("../docs/ambiguities.md");
    // The first detector that has a key runs it: the default one, for those that all share.
    let paper = |e: &Entry| detectors::resolve(Some(e.name), "paper", None, &[]).unwrap().1.rows();
    let papers: Vec<HashMap<String, String>> = detectors::DETECTORS.iter().map(|e| paper(e).into_iter().collect()).collect();
    let mut unchanged: HashMap<(usize, String), Vec<Vec<u8>>> = HashMap::new();
    let (mut keys, mut values) = (0, 0);
    for row in rows(page) {
        let [_, question, key, default, others, with, file] = &row[..] else { panic!("{row:?} has not 7 cells") };
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&code(file)[0]).is_file(), "{file} is not there");
        let [key] = &code(key)[..] else { continue };
        keys += 1;
        let of = papers.iter().position(|p| p.contains_key(key)).unwrap_or_else(|| panic!("no detector has {key} ({question})"));
        let entry = detectors::DETECTORS[of];
        assert_eq!(papers[of].get(key), Some(&code(default)[0]), "default of {key} ({question})");
        let with = code(with);
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        let base = unchanged.entry((of, with.join(" "))).or_insert_with(|| outcome(entry, &with)).clone();
        let others = code(others);
        assert!(!others.is_empty(), "{key} has no other value");
        for value in others {
            let setting = format!("{key}={value}");
            let changed = outcome(entry, &[&with[..], &[setting.as_str()]].concat());
            assert!(changed != base, "{setting} (with {with:?}) changes nothing");
            values += 1;
        }
    }
    assert!(keys >= 49 && values >= 71, "{keys} keys with {values} values: was the page read?");
    // The same settings give the same outcome, so a difference means something.
    assert!(outcome(detectors::DETECTORS[0], &[]) == unchanged[&(0, String::new())]);
}

#[test]
fn every_key_is_documented_with_its_default() {
    let table = rows(include_str!("../docs/configuration.md"));
    let documented: HashMap<String, &Vec<String>> =
        table.iter().filter_map(|r| Some((code(&r[0]).first()?.clone(), r))).collect();
    let mut known = Vec::new();
    for entry in detectors::DETECTORS {
        let (_, paper) = detectors::resolve(Some(entry.name), "paper", None, &[]).unwrap();
        for (key, value) in paper.rows() {
            let row = documented.get(&key).unwrap_or_else(|| panic!("docs/configuration.md lacks {key} of {}", entry.name));
            // The name of the detector is its own; where its paper has another value, the row says "`NAME`: VALUE".
            let own = key == "detector" || row[2].contains(&format!("`{}`: {value}", entry.name));
            assert!(own || code(&row[1]) == [value.as_str()], "default of {key} for {}: {value}", entry.name);
            assert!(row[2].len() > 3, "{key} is not explained");
            known.push(key);
        }
    }
    assert!(known.len() > 120, "{} keys", known.len());
    documented.keys().for_each(|k| assert!(known.contains(k), "{k} is documented and does not exist"));
}

/// Names of version 0.1 are refused with the present ones, which exist.
#[test]
fn former_keys_are_refused_with_their_new_names() {
    let mut tried = 0;
    for entry in detectors::DETECTORS {
        let known = lae_engine::train::resolve::all_keys(entry);
        for (old, new) in entry.former {
            let below = |new: &str| known.iter().any(|k| k == new || k.starts_with(&format!("{new}.")));
            assert!(below(new) && !below(old), "{old} → {new}");
            let key = if known.iter().any(|k| k == new) { old.to_string() } else { format!("{old}.x") };
            let e = detectors::resolve(Some(entry.name), "paper", None, &[format!("{key}=1")]).map(drop).unwrap_err().to_string();
            assert!(e.starts_with(&key) && e.contains(&format!("is called {new}")), "{key}: {e}");
            tried += 1;
        }
    }
    assert!(tried >= 14, "{tried} former names");
}
