//! Which training pictures are replaced by counterexamples, and of which pair those are made.
//!
//! What becomes of picture `i` of epoch `e` depends on the seed, `e` and `i` alone. Each kind of [`KINDS`] takes its share of a class by
//! one number that is drawn for the picture; what remains is left as it is. A fake is its own pair. A genuine picture takes the pair of
//! its twin, so that a trace that follows the content follows this one; where the data have no twins, a fake is drawn for it. A pair of
//! which nothing can be made leaves the picture as it is, and is counted with its reason.

use super::counter::{CounterConfig, Counterexample, KINDS, Left, LeftOut, Pair, Tally};
use super::picture::Picture;
use super::pictures::Pictures;
use super::sample::{Sample, Split};
use crate::core::rng::{Rng, stream};
use crate::error::{Error, Result};

/// Draws counterexamples.
pub struct Counterexamples {
    config: CounterConfig,
    seed: u64,
    /// S, pixels a side.
    size: usize,
    /// Genuine and forged pictures of training and of validation.
    train: [Vec<u32>; 2],
    val: [Vec<u32>; 2],
    left: Tally,
}

/// The kind that `u` in [0, 1) falls to.
fn chosen(config: &CounterConfig, u: f32) -> Option<&'static dyn Counterexample> {
    let mut end = 0.0;
    KINDS.iter().copied().find(|kind| {
        end += kind.share(config);
        u < end
    })
}

impl Counterexamples {
    /// For the `size` × `size` pictures of `pictures`. An error where a kind needs originals and no training fake has one.
    pub fn new(config: &CounterConfig, pictures: &dyn Pictures, size: usize, seed: u64) -> Result<Counterexamples> {
        config.check()?;
        let classes = |split| -> [Vec<u32>; 2] {
            let (real, fake) = (0..pictures.len(split) as u32).partition(|&i| !pictures.is_fake(split, i));
            [real, fake]
        };
        let (train, val) = (classes(Split::Train), classes(Split::Val));
        let first = KINDS.iter().find(|k| k.share(config) > 0.0).map_or("transplant", |k| k.name());
        if train.iter().chain(&val).any(Vec::is_empty) {
            let why = "training and validation need genuine pictures and fakes for it; add them, or set it to 0";
            return Err(Error::config(format!("counter.{first}"), why));
        }
        let without = || train[1].iter().all(|&i| !pictures.has_original(Split::Train, i));
        if let Some(kind) = KINDS.iter().find(|k| k.share(config) > 0.0 && k.needs_original() && without()) {
            let why = format!(
                "{}: no training fake has an original to be compared with; name them in manifest.jsonl (`original`), or set it to 0",
                kind.share(config)
            );
            return Err(Error::config(format!("counter.{}", kind.name()), why));
        }
        Ok(Counterexamples { config: config.clone(), seed, size, train, val, left: Tally::default() })
    }

    /// What takes the place of `sample`, picture `i` of `split` (training or validation) in `epoch`; none if it is left as it is.
    pub fn of(&self, pictures: &dyn Pictures, split: Split, i: u32, epoch: u32, sample: &Sample) -> Result<Option<Picture>> {
        let (part, classes) = match split {
            Split::Train => ("train", &self.train),
            Split::Val => ("val", &self.val),
            _ => return Ok(None),
        };
        // Validation judges every epoch by the same pictures. Frozen pictures are those of epoch 0, and other ones are replaced each time.
        let epoch = if split == Split::Train { epoch } else { 0 };
        let crops = if pictures.fresh(split) { epoch } else { 0 };
        let mut rng = Rng::new(self.seed, stream("counter") ^ stream(part).rotate_left(1), (epoch as u64) << 32 | i as u64);
        let Some(kind) = chosen(&self.config, rng.unit()).filter(|k| sample.fake || k.replaces_genuine()) else {
            return Ok(None);
        };
        // The fake of the pair, and the genuine picture for a kind that needs no original.
        let (fake, genuine) = match (sample.fake, pictures.twins()) {
            (true, true) => (i, i - 1),
            (false, true) => (i + 1, i),
            (true, false) => (i, pick(&classes[0], &mut rng)),
            (false, false) => (pick(&classes[1], &mut rng), i),
        };
        match self.pair(pictures, split, (fake, genuine), crops, kind, sample)? {
            Ok(pair) if sample.fake => Ok(Some(kind.fake(&pair, &self.config, &mut rng))),
            Ok(pair) => Ok(Some(kind.genuine(&sample.picture, &pair, &self.config))),
            Err(why) => {
                let name = || match pictures.path(split, fake) {
                    Some(path) => crate::text::shown(path),
                    None => format!("picture {fake} of {part}, epoch {epoch}"),
                };
                self.left.add(why, (epoch, fake), name);
                Ok(None)
            }
        }
    }

    /// The fake and what stands beside it, or why they are no pair. `sample`: one of the two, which need not be made again.
    fn pair(
        &self,
        pictures: &dyn Pictures,
        split: Split,
        (fake, genuine): (u32, u32),
        epoch: u32,
        kind: &dyn Counterexample,
        sample: &Sample,
    ) -> Result<Result<Pair, LeftOut>> {
        let made = |i: u32| match i == if sample.fake { fake } else { genuine } {
            true => Ok(sample.clone()),
            false => pictures.sample(split, i, epoch),
        };
        let forged = made(fake)?;
        let Some(mask) = forged.mask else { return Ok(Err(LeftOut::NoMask)) };
        if !kind.needs_original() {
            return Ok(Pair::without_original(forged.picture, made(genuine)?.picture, mask));
        }
        let own = pictures.path(split, fake);
        if own.is_some() && own != forged.path.as_deref() {
            return Ok(Err(LeftOut::StandIn));
        }
        let before = match pictures.untouched(split, fake, epoch) {
            None => return Ok(Err(LeftOut::NoOriginal)),
            Some(Err(Error::Data { .. } | Error::Io { .. })) => return Ok(Err(LeftOut::Unreadable)),
            Some(before) => before?,
        };
        // A file of its own is compared at the size that it has, and then shrunk as the fake was.
        if own.map(Picture::probe).transpose()?.is_some_and(|size| size != (before.w, before.h)) {
            return Ok(Err(LeftOut::Sizes));
        }
        Ok(Pair::new(forged.picture, before.resize(self.size), mask))
    }

    /// Pairs that were left out so far.
    pub fn left(&self) -> &Tally {
        &self.left
    }

    /// The settings in words, for reports.
    pub fn describe(&self) -> String {
        let percent = |x: f32| format!("{} %", (x * 1000.0).round() / 10.0);
        let of = |k: &&dyn Counterexample| {
            let class = if k.replaces_genuine() { "each class" } else { "the fakes" };
            let share = k.share(&self.config);
            (share > 0.0).then(|| format!("{} of {class} by {}", percent(share), k.name()))
        };
        KINDS.iter().filter_map(of).collect::<Vec<_>>().join(", ")
    }

    /// What a report must say: what was replaced, and what was left out.
    pub fn notices(&self) -> Vec<String> {
        let what = format!(
            "training and validation pictures are replaced by counterexamples to a trace (counter.*): {}; tests are not",
            self.describe()
        );
        [what].into_iter().chain(self.left.rows().iter().map(Left::notice)).collect()
    }
}

fn pick(of: &[u32], rng: &mut Rng) -> u32 {
    of[rng.below(of.len())]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::config::DataConfig;
    use crate::data::dataset::Dataset;
    use crate::data::export::export;
    use crate::data::fingerprint::Fingerprint;
    use crate::data::manifest::Entry;
    use crate::data::picture::Mask;
    use crate::data::sample::Batch;

    const S: usize = 32;

    fn traced() -> DataConfig {
        DataConfig {
            train_count: 200,
            val_count: 12,
            test_count: 20,
            photographs: 15,
            fingerprint: Fingerprint::Checkerboard,
            ..DataConfig::default()
        }
    }

    fn with(c: &DataConfig, counter: &CounterConfig) -> Dataset {
        Dataset::open(c, S, 9).unwrap().with_counter(counter).unwrap()
    }

    fn transplant(share: f32) -> CounterConfig {
        CounterConfig { transplant: share, ..CounterConfig::default() }
    }

    fn filled(data: &Dataset, split: Split, epoch: u32, order: &[u32]) -> Batch {
        let mut batch = Batch::default();
        data.fill_training(split, epoch, order, &mut batch).unwrap();
        batch
    }

    fn picture(batch: &Batch, k: usize) -> Vec<u8> {
        batch.x[k * S * S * 3..][..S * S * 3].iter().map(|v| (v * 255.0).round() as u8).collect()
    }

    /// Pictures that `fill_training` gives in place of the data's, of each class.
    fn replaced(data: &Dataset, split: Split, epoch: u32) -> [Vec<u32>; 2] {
        let order: Vec<u32> = (0..data.len(split) as u32).collect();
        let batch = filled(data, split, epoch, &order);
        let mut out = [vec![], vec![]];
        for &i in &order {
            let own = data.sample(split, i, epoch).unwrap();
            assert_eq!(batch.label_true[i as usize] == 0.0, own.fake, "a label never changes");
            let mask: Vec<f32> = own.mask.map_or(vec![0.0; S * S], |m| m.on.iter().map(|&v| v as f32).collect());
            assert_eq!(batch.mask[i as usize * S * S..][..S * S], mask);
            if picture(&batch, i as usize) != own.picture.rgb {
                out[own.fake as usize].push(i);
            }
        }
        out
    }

    #[test]
    fn nothing_is_replaced_unless_it_is_asked_for() {
        assert_eq!(replaced(&with(&traced(), &CounterConfig::default()), Split::Train, 0), [Vec::<u32>::new(), vec![]]);
    }

    /// The trace is planted on all fakes; with half of each class transplanted it is on half of each.
    #[test]
    fn transplant_makes_trace_and_label_independent() {
        let data = with(&traced(), &transplant(0.5));
        let [real, fake] = replaced(&data, Split::Train, 1);
        assert!((35..=65).contains(&real.len()) && (35..=65).contains(&fake.len()), "{} and {} of 100", real.len(), fake.len());
        // Outside of the region a fake that lost the trace is its original, and a genuine picture that got it is its fake.
        let batch = filled(&data, Split::Train, 1, &(0..200).collect::<Vec<_>>());
        for (class, twin) in [(&fake, -1i64), (&real, 1)] {
            for &i in class {
                let j = (i as i64 + twin) as u32;
                let (own, other) = (data.sample(Split::Train, i, 1).unwrap(), data.sample(Split::Train, j, 1).unwrap());
                let mask = own.mask.or(other.mask).unwrap();
                let got = picture(&batch, i as usize);
                let same = |p: usize| got[p * 3..][..3] == other.picture.rgb[p * 3..][..3];
                assert!((0..S * S).all(|p| mask.on[p] != 0 || same(p)), "picture {i}");
            }
        }
        // Other epochs replace other pictures; validation always the same; tests none.
        assert_ne!(replaced(&data, Split::Train, 2), [real, fake]);
        let of_val = replaced(&data, Split::Val, 0);
        assert!(of_val[0].len() + of_val[1].len() > 0);
        assert_eq!(filled(&data, Split::Val, 0, &[0, 1, 2, 3]).x, filled(&data, Split::Val, 7, &[0, 1, 2, 3]).x);
        assert_eq!(replaced(&data, Split::Test, 0), [Vec::<u32>::new(), vec![]]);
    }

    #[test]
    fn every_kind_takes_its_share() {
        let c = CounterConfig { transplant: 0.2, exchange: 0.2, pseudo: 0.2, ..CounterConfig::default() };
        let data = with(&traced(), &c);
        let [real, fake] = replaced(&data, Split::Train, 0);
        assert!((25..=55).contains(&real.len()), "{} of 100: pseudo-forgeries are fakes", real.len());
        assert!((45..=75).contains(&fake.len()), "{} of 100", fake.len());
        let words = data.describe().counter.unwrap();
        assert_eq!(words, "20 % of each class by transplant, 20 % of each class by exchange, 20 % of the fakes by pseudo");
        assert!(data.describe().notices.iter().any(|n| n.contains(&words)) && data.left_out().is_empty());
    }

    /// What a run sees that was killed and goes on, whatever the threads, the order and the memory.
    #[test]
    fn neither_threads_nor_order_nor_memory_change_a_byte() {
        let counter = CounterConfig { transplant: 0.4, exchange: 0.3, pseudo: 0.3, ..CounterConfig::default() };
        for c in [traced(), DataConfig { paired: false, ..traced() }, DataConfig { fresh: false, ..traced() }] {
            let all: Vec<u32> = (0..40).collect();
            let back: Vec<u32> = all.iter().rev().copied().collect();
            let fill = |c: &DataConfig, threads: usize, order: &[u32]| {
                let data = with(c, &counter);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let batch = pool.install(|| filled(&data, Split::Train, 3, order));
                let mut rows: Vec<_> = order.iter().enumerate().map(|(k, &i)| (i, picture(&batch, k))).collect();
                rows.sort();
                (rows, data.left_out())
            };
            let first = fill(&c, 1, &all);
            assert!(first == fill(&c, 2, &back));
            assert!(first == fill(&DataConfig { cache_mib: 0, ..c.clone() }, 2, &all));
        }
    }

    /// A ready data set in which one pair is as it should be.
    fn spoilt(out: &Path) {
        let made = DataConfig { train_count: 12, val_count: 4, test_count: 4, ..traced() };
        export(&Dataset::open(&made, S, 3).unwrap(), out, |_, _| ()).unwrap();
        let file = out.join("manifest.jsonl");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut entries: Vec<Entry> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let at = |n: usize| format!("train/fake/{n:06}.png");
        std::fs::create_dir(out.join("before")).unwrap();
        for e in &mut entries {
            let mut other = |name: &str, p: Picture| {
                p.save(out.join("before").join(name)).unwrap();
                e.original = Some(format!("before/{name}"));
            };
            match e.path.as_str() {
                p if p == at(1) => other("larger.png", Picture::new(S + 8, S)),
                p if p == at(2) => other("another.png", Picture::from_fn(S, S, |x, _| [if x % 2 == 0 { 255 } else { 0 }; 3])),
                p if p == at(3) => Mask::from_fn(S, S, |_, _| true).save(out.join("train/mask/000003.png")).unwrap(),
                p if p == at(4) => e.original = None,
                p if p == at(5) => e.original = Some("before/lost.png".into()),
                _ => {}
            }
        }
        let lines: String = entries.iter().map(|e| serde_json::to_string(e).unwrap() + "\n").collect();
        std::fs::write(file, lines).unwrap();
    }

    #[test]
    fn pairs_of_which_nothing_can_be_made_are_counted_named_and_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        spoilt(&out);
        let ready = DataConfig { dir: Some(out.clone()), allow_duplicates: true, ..DataConfig::default() };
        let data = with(&ready, &transplant(1.0));
        let [_, fake] = replaced(&data, Split::Train, 0);
        let of = |n: u32| 6 + n;
        assert_eq!(fake, [of(0)], "the others are left as they are");
        let left = data.left_out();
        let why: Vec<LeftOut> = left.iter().map(|l| l.why).collect();
        use LeftOut::*;
        assert_eq!(why, [NoOriginal, Everything, Sizes, NotItsOriginal, Unreadable]);
        for (row, file) in left.iter().zip([4, 3, 1, 2, 5]) {
            assert!(row.times >= 1 && row.name.ends_with(&format!("train/fake/{file:06}.png")), "{row:?}");
        }
        let notices = data.describe().notices;
        assert!(notices.iter().any(|n| n.contains("left out") && n.contains("another size")), "{notices:?}");
        // Fakes that replace nothing need no original.
        let data = with(&ready, &CounterConfig { pseudo: 1.0, ..CounterConfig::default() });
        assert_eq!(replaced(&data, Split::Train, 0)[1].len(), 5, "all but the one whose mask is everything");
    }

    #[test]
    fn data_without_originals_are_refused_by_key() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("set");
        let made = DataConfig { train_count: 4, val_count: 4, test_count: 4, ..traced() };
        export(&Dataset::open(&made, S, 3).unwrap(), &out, |_, _| ()).unwrap();
        std::fs::remove_file(out.join("manifest.jsonl")).unwrap();
        let ready = DataConfig { dir: Some(out), allow_duplicates: true, ..DataConfig::default() };
        let open = |c: &CounterConfig| Dataset::open(&ready, S, 1).unwrap().with_counter(c);
        let e = open(&CounterConfig { exchange: 0.5, ..CounterConfig::default() }).err().unwrap().to_string();
        assert!(e.starts_with("counter.exchange") && e.contains("manifest.jsonl"), "{e}");
        open(&CounterConfig { pseudo: 0.5, ..CounterConfig::default() }).unwrap();
    }
}
