//! Scoring of test sets and what the report shows of them.

use crate::core::params::ParamStore;
use crate::data::dataset::{Batch, Dataset, Split};
use crate::error::{Error, Result};
use crate::metrics::{Bootstrap, ConstantMap, LocalisationSet, RankedMap, Scored};
use crate::report::heatmap::bilinear;
use crate::report::{DetectionRow, Gallery, GalleryItem, LocalisationRow, Origin, Rgb};
use crate::train::step::{Scorer, Verdict};

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
    scorer: &mut Scorer,
    store: &mut ParamStore,
    mut tick: impl FnMut(usize),
) -> Result<Vec<Judged>> {
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    let indices: Vec<u32> = (0..data.len(split) as u32).collect();
    for part in indices.chunks(scorer.batch) {
        data.fill(split, 0, part, &mut batch)?;
        let verdicts = scorer.run(store, &batch.x)?;
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

/// The attention map at the size of the picture.
pub fn full_map(v: &Verdict, grid: usize, size: usize) -> Result<Vec<f32>> {
    bilinear(&v.map, grid, grid, size, size)
}

/// Maps and masks of the fakes that have one, as metrics; `None` if there are none.
fn localisation(rows: &[Judged], grid: usize, size: usize) -> Result<Option<LocalisationSet>> {
    let maps: Vec<(Vec<f32>, &Judged)> = rows
        .iter()
        .filter(|r| r.mask.is_some())
        .map(|r| full_map(&r.verdict, grid, size).map(|m| (m, r)))
        .collect::<Result<_>>()?;
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

/// Judge every test set with the stage-1 network and (if there is one) the stage-2 network.
pub fn evaluate(
    data: &Dataset,
    scorer: &mut Scorer,
    mut stages: [Option<&mut ParamStore>; 2],
    how: &Bootstrap,
    gallery: usize,
    mut tick: impl FnMut(usize),
) -> Result<Evaluation> {
    let constant = constant_map(data)?;
    let (grid, size) = (scorer.grid, data.size());
    let mut out = Evaluation { detection: vec![], localisation: vec![], galleries: vec![], notices: vec![] };
    for set in test_sets(data) {
        let mut judged: [Option<Vec<Judged>>; 2] = [None, None];
        for (j, store) in judged.iter_mut().zip(&mut stages) {
            if let Some(store) = store {
                *j = Some(judge(data, set.split, scorer, store, &mut tick)?);
            }
        }
        let scores: Vec<Option<Scored>> = judged.iter().map(|j| j.as_deref().map(scored)).collect();
        match DetectionRow::new(set.seen, &set.name, scores[0].as_ref(), scores[1].as_ref(), how) {
            Ok(mut row) => {
                row.note = set.note.clone();
                out.detection.push(row);
            }
            Err(e @ (Error::Data { .. } | Error::Config { .. })) => out.notices.push(format!("{}: {e}", set.name)),
            Err(e) => return Err(e),
        }
        let maps: Vec<Option<LocalisationSet>> =
            judged.iter().map(|j| j.as_deref().map_or(Ok(None), |rows| localisation(rows, grid, size))).collect::<Result<_>>()?;
        let any = judged.iter().flatten().next();
        if let (true, Some(rows)) = (maps.iter().any(Option::is_some), any) {
            let pictures: Vec<(&[bool], Option<u64>)> = rows.iter().filter_map(|r| Some((r.mask.as_deref()?, r.group))).collect();
            let constant = constant.as_ref().map(|c| LocalisationSet::of_constant(c, &pictures)).transpose()?;
            let mut row = LocalisationRow::new(set.seen, &set.name, maps[0].as_ref(), maps[1].as_ref(), constant.as_ref(), how)?;
            row.note = set.note.clone();
            out.localisation.push(row);
        }
        out.galleries.push(Gallery { heading: heading(&set), items: items(data, &set, &judged, grid, gallery)? });
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
    judged: &[Option<Vec<Judged>>; 2],
    grid: usize,
    count: usize,
) -> Result<Vec<GalleryItem>> {
    let Some(rows) = judged.iter().flatten().next() else { return Ok(vec![]) };
    let fakes = (0..rows.len()).filter(|&i| rows[i].fake).take(count);
    let real = (0..rows.len()).filter(|&i| !rows[i].fake).take((set.split == Split::Test) as usize);
    let mut items = Vec::new();
    for i in fakes.chain(real) {
        let sample = data.sample(set.split, rows[i].index, 0)?;
        let size = sample.picture.w;
        let rgb = Rgb::new(size, size, sample.picture.rgb)?;
        let maps: Vec<Option<(Vec<f32>, f64)>> = judged
            .iter()
            .map(|j| j.as_ref().map(|rows| Ok((full_map(&rows[i].verdict, grid, size)?, rows[i].verdict.p_fake()))).transpose())
            .collect::<Result<_>>()?;
        let name = format!("{} {}", if rows[i].fake { &set.name } else { "genuine" }, rows[i].index);
        let at = |k: usize| maps[k].as_ref().map(|(m, p)| (&m[..], *p));
        items.push(GalleryItem::before_after(name, &rgb, rows[i].mask.as_deref(), at(0), at(1))?);
    }
    Ok(items)
}
