//! What people would rather look at: Table 1, Figures 2 to 4, and §3.5 as tables and pictures.

use maud::{Markup, html};
use serde::Serialize;

use super::cells::Runs;
use super::options::Options;
use super::plan::{Part, annotated};
use crate::core::params::ParamStore;
use crate::data::dataset::{Dataset, Split};
use crate::data::picture::Picture;
use crate::data::sample::Sample;
use crate::data::sums::Sums;
use crate::device::Device;
use crate::error::Result;
use crate::metrics::interval::fixed;
use crate::report::heatmap::min_max;
use crate::report::terminal::{Progress, say};
use crate::report::{Gallery, GalleryItem, KeyValue, ModelKey, Origin, Panel, ReportData, Rgb, html as report};
use crate::train::annotated::Annotated;
use crate::train::detector::{Draw, Purpose};
use crate::train::evaluate::{Judged, full_map, judge, test_sets};
use crate::train::score::Scorer;
use crate::train::select::{Features, LinearModel};
use crate::train::summary::stage_models;

#[derive(Default, Serialize)]
pub struct Pictures {
    /// Table 1: what the data were.
    pub data: Vec<KeyValue>,
    #[serde(skip)]
    pub galleries: Vec<(String, Vec<Gallery>)>,
    pub failures: Option<Failures>,
}

/// §3.5: where the map of the LAE lies, for right and wrong verdicts on each forger.
#[derive(Default, Serialize)]
pub struct Failures {
    pub looks: Vec<Look>,
    pub changes: Vec<Change>,
    /// Channels of the concept model and their weights.
    pub channels: Vec<(usize, f32)>,
    #[serde(skip)]
    galleries: Vec<Gallery>,
}

/// Of the fakes of a set with that verdict: mean shares of the map's mass.
#[derive(Serialize)]
pub struct Look {
    pub set: String,
    pub right: bool,
    pub pictures: usize,
    /// Well inside the region, within `BORDER` of its border, and elsewhere.
    pub map: [f64; 3],
    /// The same shares of the pixels: what a map without places would have.
    pub pixels: [f64; 3],
}

/// A fake and where its map lies: shares of the map's mass and of the pixels, as in [`Look`].
struct Seen<'a> {
    right: bool,
    of_map: [f64; 3],
    of_pixels: [f64; 3],
    judged: &'a Judged,
    map: Vec<f32>,
}

/// What a forger changes.
#[derive(Serialize)]
pub struct Change {
    pub set: String,
    pub pictures: usize,
    /// Share of the picture.
    pub area: f64,
    /// Mean distance to the untouched picture in the region, grey levels of 255.
    pub levels: f64,
    /// Finest detail in the region (mean |Laplacian|) over that of the untouched picture.
    pub detail: f64,
    /// Share of the fakes that are called fake.
    pub found: f64,
}

/// Pixels to each side of a region's border that count as border, of a picture's side.
const BORDER: f64 = 1.0 / 16.0;
/// Pictures of each set.
const SHOWN: usize = 4;

/// What the parts of the plan show, from the runs of the first seed.
pub fn of(o: &Options, runs: &Runs, device: &Device) -> Result<Pictures> {
    let has = |p: Part| o.plan.parts.contains(&p);
    let mut out = Pictures::default();
    let Some(job) = o.plan.jobs().into_iter().next() else { return Ok(out) };
    if has(Part::Table1) || has(Part::Figure2) {
        let (_, c) = o.config(&job, 0, &o.out)?;
        let data = Dataset::open_processed(&c.data, &c.augment, c.size, c.seed, |_| ())?;
        if has(Part::Table1) {
            out.data = table1(&data);
        }
        if has(Part::Figure2) {
            out.galleries.push(("Figure 2: untouched, forged, region".into(), figure2(&data)?));
        }
    }
    let most = annotated(o.plan.scale.annotations()[2], false);
    let there = |job: &str| runs.of(job).any(|r| r.cell.seed == 0 && r.cell.failed.is_none());
    let read = |job: &str| ReportData::load(o.folder(job, 0).join("report.json"));
    if has(Part::Figure3) && there(&most) {
        let others = ["meso", "xception"].into_iter().filter(|j| there(j)).map(read).collect::<Result<Vec<_>>>()?;
        out.galleries.push(("Figure 3: maps of the methods".into(), figure3(read(&most)?, &others)));
    }
    if has(Part::Figure4) && there(&most) {
        out.galleries.push(("Figure 4: before and after the attention loss".into(), read(&most)?.galleries));
    }
    if has(Part::Failures) && there(&most) {
        out.failures = Some(failures(o, &most, device)?);
    }
    Ok(out)
}

fn table1(data: &Dataset) -> Vec<KeyValue> {
    let p = data.describe();
    let mut rows = vec![KeyValue::new("source", &p.source), KeyValue::new("picture", format!("{0} × {0} pixels", data.size()))];
    rows.extend(p.photographs.map(|n| KeyValue::new("photographs", format!("train {}, val {}, test {}", n[0], n[1], n[2]))));
    rows.extend(p.methods.iter().map(|m| KeyValue::new(format!("{} forger {}", m.role, m.name), &m.source)));
    rows.extend(p.hole.iter().map(|h| KeyValue::new("forged region", h)));
    rows.extend(p.counts.iter().map(|n| KeyValue::new(&n.split, format!("{} true, {} fake", n.real, n.fake))));
    rows
}

fn rgb(p: &Picture) -> Result<Rgb> {
    Rgb::new(p.w, p.h, p.rgb.clone())
}

fn on(s: &Sample) -> Option<Vec<bool>> {
    s.mask.as_ref().map(|m| m.on.iter().map(|&m| m != 0).collect())
}

/// The picture that a fake was made from: where the data are made here in pairs, the one before it.
fn untouched(data: &Dataset, split: Split, i: u32) -> Result<Option<Sample>> {
    let pairs = data.photographs(split).is_some() && data.config().paired && i > 0;
    pairs.then(|| data.sample(split, i - 1, 0)).transpose()
}

fn figure2(data: &Dataset) -> Result<Vec<Gallery>> {
    let mut galleries = Vec::new();
    for set in test_sets(data) {
        let fakes = (0..data.len(set.split) as u32).filter(|&i| data.is_fake(set.split, i)).take(SHOWN);
        let mut items = Vec::new();
        for i in fakes {
            let sample = data.sample(set.split, i, 0)?;
            let name = format!("{} {i}", set.name);
            let mut panels = Vec::new();
            let mut add = |title: &str, picture: &Rgb| -> Result<()> {
                let picture = crate::report::Picture::new(picture, format!("{name}: {}", title.to_lowercase()))?;
                panels.push(Panel { title: title.into(), note: String::new(), picture });
                Ok(())
            };
            if let Some(twin) = untouched(data, set.split, i)? {
                add("Untouched", &rgb(&twin.picture)?)?;
            }
            add("Forged", &rgb(&sample.picture)?)?;
            if let Some(mask) = on(&sample) {
                let grey = mask.iter().flat_map(|&m| [if m { 255 } else { 0 }; 3]).collect();
                add("Region", &Rgb::new(sample.picture.w, sample.picture.h, grey)?)?;
            }
            items.push(GalleryItem { name, panels });
        }
        galleries.push(Gallery { heading: format!("{}: {}", set.seen.title(), set.name), items });
    }
    Ok(galleries)
}

/// The LAE's pictures with the maps of the other methods behind its own.
fn figure3(lae: ReportData, others: &[ReportData]) -> Vec<Gallery> {
    let is_map = |p: &Panel| p.title.starts_with("Map");
    let mut galleries = lae.galleries;
    for gallery in &mut galleries {
        for item in &mut gallery.items {
            // Of the LAE only the last stage.
            let last = item.panels.iter().rposition(is_map);
            let mut i = 0..;
            item.panels.retain(|p| {
                let i = i.next().expect("endless");
                !is_map(p) || Some(i) == last
            });
            let same = others.iter().flat_map(|r| &r.galleries).filter(|g| g.heading == gallery.heading);
            let same = same.flat_map(|g| &g.items).filter(|i| i.name == item.name);
            item.panels.extend(same.flat_map(|i| i.panels.iter().filter(|p| is_map(p)).cloned()));
        }
    }
    galleries
}

/// Of each pixel: 0 well inside the region, 1 near its border, 2 elsewhere.
fn zones(mask: &[bool], side: usize) -> Vec<usize> {
    let reach = ((side as f64 * BORDER).round() as usize).max(1);
    let sums = Sums::of(side, side, |p| mask[p]);
    let zone = |p: usize| {
        let (x, y) = (p % side, p / side);
        let (x0, y0) = (x.saturating_sub(reach), y.saturating_sub(reach));
        let (w, h) = ((x + reach + 1).min(side) - x0, (y + reach + 1).min(side) - y0);
        match sums.count((x0, y0), (w, h)) as usize {
            0 => 2,
            n if n == w * h => 0,
            _ => 1,
        }
    };
    (0..side * side).map(zone).collect()
}

fn shares(values: impl Iterator<Item = f64>, zones: &[usize]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    values.zip(zones).for_each(|(v, &z)| sums[z] += v);
    let total: f64 = sums.iter().sum();
    if total > 0.0 { sums.map(|s| s / total) } else { [0.0; 3] }
}

/// Mean |4·centre − neighbours| of the green channel over the pixels of the region that have all neighbours.
fn detail(p: &Picture, mask: &[bool]) -> f64 {
    let green = |x: usize, y: usize| p.rgb[(y * p.w + x) * 3 + 1] as f64;
    let inner = (1..p.h - 1).flat_map(|y| (1..p.w - 1).map(move |x| (x, y))).filter(|&(x, y)| mask[y * p.w + x]);
    let (mut sum, mut n) = (0.0, 0);
    for (x, y) in inner {
        sum += (4.0 * green(x, y) - green(x - 1, y) - green(x + 1, y) - green(x, y - 1) - green(x, y + 1)).abs();
        n += 1;
    }
    sum / n.max(1) as f64
}

fn failures(o: &Options, job: &str, device: &Device) -> Result<Failures> {
    let job = o.plan.jobs().into_iter().find(|j| j.name == job).expect("a job of the plan");
    let (entry, c) = o.config(&job, 0, &o.out)?;
    let data = Dataset::open_processed(&c.data, &c.augment, c.size, c.seed, |_| ())?;
    let mut store = ParamStore::new(c.seed);
    c.cpu.apply()?;
    let detector = (entry.build)(&c, &mut store, Purpose::Judge)?;
    let stages = detector.stages();
    let names: Vec<&str> = stages.iter().map(|s| s.name).collect();
    let mut models = stage_models(&o.folder(&job.name, 0), entry.name, &names, &store)?;
    let mut scorer = Scorer::new(device, &*detector, &store, c.size, 32)?;
    let (grid, side) = (scorer.grid, c.size);
    let mut out = Failures::default();
    let last = models.last_mut().expect("a run has a stage");
    let sets = test_sets(&data);
    let total = sets.iter().map(|s| data.len(s.split) as u64).sum();
    let mut progress = Progress::new("failures", total, 0, "pictures");
    for set in sets {
        let judged = judge(&data, set.split, &*detector, &mut scorer, &mut last.store, |n| progress.add(n as u64, String::new))?;
        let name = format!("{} {}", if set.seen == Origin::Seen { "seen" } else { "unseen" }, set.name);
        let mut seen: Vec<Seen> = Vec::new();
        for j in judged.iter().filter(|j| j.fake) {
            let (Some(mask), Some(map)) = (&j.mask, full_map(&j.verdict, grid, side)?) else { continue };
            let (zones, map) = (zones(mask, side), min_max(&map));
            let of_map = shares(map.iter().map(|&v| v as f64), &zones);
            let of_pixels = shares(zones.iter().map(|_| 1.0), &zones);
            seen.push(Seen { right: j.verdict.called_fake(), of_map, of_pixels, judged: j, map });
        }
        for right in [true, false] {
            let rows: Vec<_> = seen.iter().filter(|s| s.right == right).collect();
            let mean = |of: fn(&Seen) -> [f64; 3]| {
                std::array::from_fn(|z| rows.iter().map(|r| of(r)[z]).sum::<f64>() / rows.len() as f64)
            };
            if !rows.is_empty() {
                out.looks.push(Look {
                    set: name.clone(),
                    right,
                    pictures: rows.len(),
                    map: mean(|r| r.of_map),
                    pixels: mean(|r| r.of_pixels),
                });
            }
        }
        out.changes.extend(change(&data, set.split, &name, &judged)?);
        // Least of the map's mass on or near the region, for what the region has of the picture.
        let lost = |s: &Seen| s.of_map[2] - s.of_pixels[2];
        seen.sort_by(|a, b| lost(b).total_cmp(&lost(a)));
        let mut items = Vec::new();
        for Seen { right, of_map, judged: j, map, .. } in seen.iter().take(SHOWN) {
            let sample = data.sample(set.split, j.index, 0)?;
            let key = ModelKey::new("lae", if *right { "called fake" } else { "called genuine" });
            let maps = [(&key, map.clone(), j.verdict.p_fake())];
            let name = format!("{} {}: {} % of the map elsewhere", set.name, j.index, fixed(100.0 * of_map[2], 0));
            items.push(GalleryItem::with_maps(name, &rgb(&sample.picture)?, j.mask.as_deref(), &maps)?);
        }
        out.galleries.push(Gallery { heading: format!("Where the map is most wrong, {name}"), items });
    }
    drop(progress);
    if let Some(Draw::Annotated(a)) = stages.iter().map(|s| &s.draw).find(|d| matches!(d, Draw::Annotated(_))) {
        // The concept model reads what stage 1 left.
        let first = &mut models[0].store;
        concept(&data, a, &mut out, c.seed, |tick| Features::of(&data, &*detector, &mut scorer, first, tick))?;
    }
    say(&format!("failures  {} sets looked at", out.changes.len()));
    Ok(out)
}

/// What the fakes of a set differ in from the pictures they were made from.
fn change(data: &Dataset, split: Split, name: &str, judged: &[Judged]) -> Result<Option<Change>> {
    let mut rows: Vec<[f64; 3]> = Vec::new();
    let fakes: Vec<&Judged> = judged.iter().filter(|j| j.fake).collect();
    for j in fakes.iter().take(200) {
        let (Some(mask), Some(twin)) = (&j.mask, untouched(data, split, j.index)?) else { continue };
        let fake = data.sample(split, j.index, 0)?.picture;
        let n = mask.iter().filter(|&&m| m).count();
        if n == 0 || (fake.w, fake.h) != (twin.picture.w, twin.picture.h) {
            continue;
        }
        let inside = (0..mask.len()).filter(|&p| mask[p]).flat_map(|p| p * 3..p * 3 + 3);
        let levels: u64 = inside.map(|i| fake.rgb[i].abs_diff(twin.picture.rgb[i]) as u64).sum();
        let before = detail(&twin.picture, mask).max(1e-9);
        rows.push([n as f64 / mask.len() as f64, levels as f64 / (3 * n) as f64, detail(&fake, mask) / before]);
    }
    let mean = |k: usize| rows.iter().map(|r| r[k]).sum::<f64>() / rows.len() as f64;
    let found = fakes.iter().filter(|j| j.verdict.called_fake()).count() as f64 / fakes.len().max(1) as f64;
    let change = |pictures| Change { set: name.into(), pictures, area: mean(0), levels: mean(1), detail: mean(2), found };
    Ok((!rows.is_empty()).then(|| change(rows.len())))
}

/// The ten channels of the concept model, each with the training pictures that excite it most.
fn concept(
    data: &Dataset,
    a: &Annotated,
    out: &mut Failures,
    seed: u64,
    features: impl FnOnce(&mut dyn FnMut(usize)) -> Result<Features>,
) -> Result<()> {
    let features = features(&mut |_| ())?;
    let model = LinearModel::train(&features, &a.concept, seed)?;
    let mut gallery = Gallery {
        heading: "The channels that speak most of forgery, and the training pictures that excite them most".into(),
        items: vec![],
    };
    for k in model.channels(a.selection.topk, a.selection.rank) {
        out.channels.push((k, model.w[k]));
        let mut order: Vec<usize> = (0..features.fake.len()).collect();
        order.sort_by(|&i, &j| features.row(j)[k].total_cmp(&features.row(i)[k]).then(i.cmp(&j)));
        let mut panels = Vec::new();
        for &i in order.iter().take(SHOWN) {
            let title = if features.fake[i] { "fake" } else { "genuine" };
            let picture = rgb(&data.sample(Split::Train, i as u32, 0)?.picture)?;
            let note = format!("u = {:.2}", features.row(i)[k]);
            let picture = crate::report::Picture::new(&picture, format!("training picture {i}, {title}, {note}"))?;
            panels.push(Panel { title: title.into(), note, picture });
        }
        gallery.items.push(GalleryItem { name: format!("channel {k}, weight {:+.3}", model.w[k]), panels });
    }
    out.galleries.push(gallery);
    Ok(())
}

impl Pictures {
    pub fn html(&self) -> Markup {
        html! {
            @if !self.data.is_empty() { section { h2 { "Table 1: what the data were" } (report::pairs(&self.data, "Data")) } }
            @for (heading, galleries) in &self.galleries { section { h2 { (heading) } (report::galleries(galleries)) } }
            @if let Some(f) = &self.failures { (f.html()) }
        }
    }
}

impl Failures {
    fn html(&self) -> Markup {
        let percent = |v: f64| format!("{} %", fixed(100.0 * v, 1));
        html! {
            section {
                h2 { "Section 3.5: right and wrong verdicts" }
                p { "How much of the map's mass (stretched to 0…1) lies well inside the region, near its border, and elsewhere; in small print the same shares of the pixels, which a map without places would have. Fakes, first seed, after stage 2." }
                (report::scroll("Where the map lies", html! { table {
                    thead { tr { th.set scope="col" { "Fakes" } th scope="col" { "called" } th scope="col" { "Pictures" } th scope="col" { "inside" } th scope="col" { "border" } th scope="col" { "elsewhere" } } }
                    tbody { @for l in &self.looks { tr {
                        th.set scope="row" { (l.set) } td { (if l.right { "fake" } else { "genuine" }) } td { (l.pictures) }
                        @for z in 0..3 { td { (percent(l.map[z])) small { (percent(l.pixels[z])) } } }
                    } } }
                } }))
                p { "What the forgers change, against the untouched picture:" }
                (report::scroll("What forgers change", html! { table {
                    thead { tr { th.set scope="col" { "Fakes" } th scope="col" { "Pictures" } th scope="col" { "Area" } th scope="col" { "Grey levels" } th scope="col" { "Fine detail" small { "of the untouched" } } th scope="col" { "Called fake" } } }
                    tbody { @for c in &self.changes { tr {
                        th.set scope="row" { (c.set) } td { (c.pictures) } td { (percent(c.area)) } td { (fixed(c.levels, 1)) } td { (percent(c.detail)) } td { (percent(c.found)) }
                    } } }
                } }))
                (report::galleries(&self.galleries))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_an_inside_a_border_and_the_rest() {
        // 64 pixels: the border reaches 4 to each side of a square of 20.
        let mask: Vec<bool> = (0..64 * 64).map(|p| (20..40).contains(&(p % 64)) && (20..40).contains(&(p / 64))).collect();
        let zones = zones(&mask, 64);
        let count = |z| zones.iter().filter(|&&x| x == z).count();
        assert_eq!((count(0), count(1)), (12 * 12, 28 * 28 - 12 * 12));
        let all = shares((0..64 * 64).map(|p| mask[p] as u8 as f64), &zones);
        assert!((all[0] - 144.0 / 400.0).abs() < 1e-12 && all[2] == 0.0, "{all:?}");
        assert_eq!(shares((0..64 * 64).map(|_| 0.0), &zones), [0.0; 3], "a map of zeros lies nowhere");
    }

    #[test]
    fn a_fill_without_noise_has_less_detail() {
        let noisy = Picture::from_fn(16, 16, |x, y| [((x * 7 + y * 13) % 32) as u8 * 4; 3]);
        let flat = Picture::from_fn(16, 16, |x, _| [x as u8; 3]);
        let all = vec![true; 256];
        assert!(detail(&flat, &all) == 0.0 && detail(&noisy, &all) > 10.0);
    }
}
