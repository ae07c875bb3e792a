//! Scoring of test sets and what the report shows of them.

use super::detector::Detector;
use super::grad_cam::NOTICE;
use super::score::{Scorer, Verdict};
use crate::core::params::ParamStore;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::error::{Error, Result};
use crate::metrics::{Bootstrap, ConstantMap, LocalisationSet, RankedMap, Scored};
use crate::report::heatmap::bilinear;
use crate::report::{DetectionRow, Gallery, GalleryItem, LocalisationRow, ModelKey, Origin, Rgb};

/// A test set: its split, what it is called, and whether its forger was trained on.
pub struct TestSet {
    pub split: Split,
    pub name: String,
    pub seen: Origin,
    pub note: String,
}

/// Every test set of a data set, seen first.
pub fn test_sets(data: &Dataset) -> Vec<TestSet> {
    let planted = data.describe().fingerprint;
    let mut sets = Vec::new();
    for split in data.splits() {
        let (name, seen, note) = match split {
            Split::Train | Split::Val => continue,
            Split::Test => {
                let note = planted.as_ref().map(|f| format!("with the {:?} trace", f.kind).to_lowercase());
                (data.seen().to_string(), Origin::Seen, note.unwrap_or_default())
            }
            Split::SeenClean => (data.seen().to_string(), Origin::Seen, "without the trace".into()),
            Split::Unseen(k) => (data.unseen()[k].to_string(), Origin::Unseen, String::new()),
        };
        sets.push(TestSet { split, name, seen, note });
    }
    sets
}

/// One scored picture of a test set.
pub struct Judged {
    pub index: u32,
    pub fake: bool,
    pub group: Option<u64>,
    pub verdict: Verdict,
    /// Of fakes whose mask is known: size × size.
    pub mask: Option<Vec<bool>>,
}

/// Score a whole split.
pub fn judge(
    data: &Dataset,
    split: Split,
    detector: &dyn Detector,
    scorer: &mut Scorer,
    store: &mut ParamStore,
    mut tick: impl FnMut(usize),
) -> Result<Vec<Judged>> {
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let indices: Vec<u32> = (0..data.len(split) as u32).collect();
    for part in indices.chunks(scorer.batch) {
        data.fill(split, 0, part, &mut batch)?;
        let verdicts = scorer.run(detector, store, &batch.x)?;
        let pixels = batch.size * batch.size;
        for (i, verdict) in verdicts.into_iter().enumerate() {
            let mask = (batch.has_mask[i] == 1.0).then(|| batch.mask[i * pixels..][..pixels].iter().map(|&m| m > 0.5).collect());
            let group = (batch.group[i] != Batch::NO_GROUP).then_some(batch.group[i] as u64);
            out.push(Judged { index: part[i], fake: batch.label_true[i] == 0.0, group, verdict, mask });
        }
        tick(part.len());
    }
    Ok(out)
}

pub fn scored(rows: &[Judged]) -> Scored {
    let mut s = Scored::new();
    rows.iter().for_each(|r| s.push(r.verdict.p_fake(), r.fake, r.verdict.called_fake(), r.group));
    s
}

/// The map at the size of the picture; none if the detector has no map.
pub fn full_map(v: &Verdict, grid: Option<usize>, size: usize) -> Result<Option<Vec<f32>>> {
    let (Some(map), Some(grid)) = (&v.map, grid) else { return Ok(None) };
    bilinear(map, grid, grid, size, size).map(Some)
}

/// Whether a mask has an inside and an outside: no map can be right or wrong about one that covers nothing or everything.
fn tells(mask: &[bool]) -> bool {
    mask.contains(&true) && mask.contains(&false)
}

/// Maps and masks of the fakes that have both, as metrics; `None` if there are none.
fn localisation(rows: &[Judged], grid: Option<usize>, size: usize) -> Result<Option<LocalisationSet>> {
    let mut maps: Vec<(Vec<f32>, &Judged)> = Vec::new();
    for r in rows.iter().filter(|r| r.mask.as_deref().is_some_and(tells)) {
        maps.extend(full_map(&r.verdict, grid, size)?.map(|m| (m, r)));
    }
    if maps.is_empty() {
        return Ok(None);
    }
    let pictures: Vec<(&[f32], &[bool], Option<u64>)> =
        maps.iter().map(|(m, r)| (&m[..], r.mask.as_deref().expect("filtered"), r.group)).collect();
    LocalisationSet::of(&pictures).map(Some)
}

/// The mean mask of the training fakes (at most 400 of them): what a map scores that never looks at the picture.
pub fn constant_map(data: &Dataset) -> Result<Option<RankedMap>> {
    let fakes = (0..data.len(Split::Train) as u32).filter(|&i| data.is_fake(Split::Train, i)).take(400);
    let mut mean = ConstantMap::new();
    for i in fakes {
        if let Some(mask) = data.sample(Split::Train, i, 0)?.mask {
            mean.add(&mask.on.iter().map(|&m| m == 1).collect::<Vec<bool>>())?;
        }
    }
    if mean.count() == 0 { Ok(None) } else { RankedMap::new(&mean.map()?).map(Some) }
}

/// All that evaluation adds to a report.
pub struct Evaluation {
    pub detection: Vec<DetectionRow>,
    pub localisation: Vec<LocalisationRow>,
    pub galleries: Vec<Gallery>,
    /// Test sets that could not be judged, with the reason.
    pub notices: Vec<String>,
}

/// The weights of one model after one stage: a column of the report's tables.
pub struct Model {
    /// The detector's name.
    pub name: String,
    /// Empty where there is only one.
    pub stage: String,
    pub store: ParamStore,
}

/// Judge every test set with every model, in order; changes are between neighbours.
pub fn evaluate(
    data: &Dataset,
    detector: &dyn Detector,
    scorer: &mut Scorer,
    models: &mut [Model],
    how: &Bootstrap,
    gallery: usize,
    mut tick: impl FnMut(usize),
) -> Result<Evaluation> {
    let constant = constant_map(data)?;
    let (grid, size) = (scorer.grid, data.size());
    let mut out = Evaluation { detection: vec![], localisation: vec![], galleries: vec![], notices: vec![] };
    out.notices.extend(scorer.has_grad_cam().then(|| NOTICE.to_string()));
    for set in test_sets(data) {
        let mut judged: Vec<Vec<Judged>> = Vec::new();
        for m in models.iter_mut() {
            judged.push(judge(data, set.split, detector, scorer, &mut m.store, &mut tick)?);
        }
        let key = |i: usize| ModelKey { model: models[i].name.clone(), stage: models[i].stage.clone() };
        let scores: Vec<(ModelKey, Scored)> = judged.iter().enumerate().map(|(i, j)| (key(i), scored(j))).collect();
        match DetectionRow::new(set.seen, &set.name, &scores, how) {
            Ok(mut row) => {
                row.note = set.note.clone();
                out.detection.push(row);
            }
            Err(e @ (Error::Data { .. } | Error::Config { .. })) => out.notices.push(format!("{}: {e}", set.name)),
            Err(e) => return Err(e),
        }
        let masks = judged.first().into_iter().flatten().filter_map(|r| r.mask.as_deref());
        let (total, blind) = masks.fold((0, 0), |(n, blind), m| (n + 1, blind + !tells(m) as usize));
        if blind > 0 && grid.is_some() {
            let rest =
                if blind == total { "so maps are not judged there" } else { "which leaves them out of what is said of maps" };
            out.notices.push(format!(
                "{}: {blind} of {total} masks cover nothing or everything at {size} × {size} pixels, {rest}",
                set.name
            ));
        }
        let mut maps: Vec<(ModelKey, LocalisationSet)> = Vec::new();
        for (i, rows) in judged.iter().enumerate() {
            maps.extend(localisation(rows, grid, size)?.map(|m| (key(i), m)));
        }
        if let (false, Some(rows)) = (maps.is_empty(), judged.first()) {
            let pictures: Vec<(&[bool], Option<u64>)> =
                rows.iter().filter_map(|r| Some((r.mask.as_deref().filter(|m| tells(m))?, r.group))).collect();
            let constant = constant.as_ref().map(|c| LocalisationSet::of_constant(c, &pictures)).transpose()?;
            let mut row = LocalisationRow::new(set.seen, &set.name, &maps, constant.as_ref(), how)?;
            row.note = set.note.clone();
            out.localisation.push(row);
        }
        let names: Vec<ModelKey> = (0..models.len()).map(key).collect();
        out.galleries.push(Gallery { heading: heading(&set), items: items(data, &set, &names, &judged, grid, gallery)? });
    }
    Ok(out)
}

fn heading(set: &TestSet) -> String {
    let note = if set.note.is_empty() { String::new() } else { format!(" ({})", set.note) };
    format!("{}: {}{note}", if set.seen == Origin::Seen { "Seen" } else { "Unseen" }, set.name)
}

/// The first fakes of a set and, on the seen one, a true picture too.
fn items(
    data: &Dataset,
    set: &TestSet,
    names: &[ModelKey],
    judged: &[Vec<Judged>],
    grid: Option<usize>,
    count: usize,
) -> Result<Vec<GalleryItem>> {
    let Some(rows) = judged.first() else { return Ok(vec![]) };
    let fakes = (0..rows.len()).filter(|&i| rows[i].fake).take(count);
    let real = (0..rows.len()).filter(|&i| !rows[i].fake).take((set.split == Split::Test) as usize);
    let mut items = Vec::new();
    for i in fakes.chain(real) {
        let sample = data.sample(set.split, rows[i].index, 0)?;
        let size = sample.picture.w;
        let rgb = Rgb::new(size, size, sample.picture.rgb)?;
        let mut maps = Vec::new();
        for (name, rows) in names.iter().zip(judged) {
            maps.extend(full_map(&rows[i].verdict, grid, size)?.map(|m| (name, m, rows[i].verdict.p_fake())));
        }
        let name = format!("{} {}", if rows[i].fake { &set.name } else { "genuine" }, rows[i].index);
        items.push(GalleryItem::with_maps(name, &rgb, rows[i].mask.as_deref(), &maps)?);
    }
    Ok(items)
}
