//! The same picture twice: as the same file, as the same pixels, as a copy that was encoded or scaled anew, or as a forgery of a
//! picture that lies in another split. What a detector saw in training and meets again in a test says nothing about new pictures, and
//! one picture with both labels teaches nothing.
//!
//! Files are compared by length, then by checksum, then byte by byte: a number that an opponent can match is only the way to find what
//! to compare. Pictures are compared as 32 × 32 pixels ([`Look`]); a 64-bit hash of gradients finds what to compare. Mirrored,
//! cropped, turned and recoloured copies are not found.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::picture::Picture;
use super::walk::{Identity, identity, regular};
use crate::core::text::thousands;
use crate::error::{Error, Result};
use crate::text::shown;

/// Pictures of more pixels than this altogether are compared as files only, unless everything is asked for: decoding them would take
/// more than some seconds.
pub const BUDGET: u64 = 500_000_000;
/// Likewise more pictures than this: every one is compared with every other.
pub const MOST: usize = 50_000;

/// How two pictures are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    File,
    Pixels,
    /// Encoded or scaled anew.
    Copy,
    /// The same but for a region: a forgery and its original, or two forgeries of one.
    Part,
}

impl How {
    /// As sentences name it.
    pub fn words(self) -> &'static str {
        match self {
            How::File => "the same file",
            How::Pixels => "the same pixels",
            How::Copy => "a copy",
            How::Part => "the same but for a region",
        }
    }
}

/// A picture in 3 kB.
pub struct Look {
    /// Of the decoded pixels, with the size.
    digest: (u32, usize, usize),
    /// Whether a cell of 8 × 8 is brighter than the one to its left.
    hash: u64,
    /// 32 × 32 pixels, RGB.
    cells: Vec<u8>,
}

/// Side of the small picture.
const SIDE: usize = 32;
/// Most bits by which the hashes of two pictures that are compared may differ. A forged quarter changes about 10 of 64, and of two
/// pictures that have nothing in common about 32 differ.
const BITS: u32 = 20;
/// Cells agree up to this difference of each channel, of 255: what JPEG at a quality from about 60 leaves at this size.
const NEAR: u8 = 8;

impl Look {
    pub fn of(picture: &Picture) -> Look {
        let small = picture.resize(SIDE);
        let tiny = small.resize_to(9, 8);
        let light = |x, y| tiny.at(x, y).iter().map(|&v| v as u32).sum::<u32>();
        let hash = (0..64).fold(0, |h, i| h << 1 | (light(i % 8 + 1, i / 8) > light(i % 8, i / 8)) as u64);
        Look { digest: (crc32c::crc32c(&picture.rgb), picture.w, picture.h), hash, cells: small.rgb }
    }

    /// How two pictures are the same, if they are. `part`: look for forgeries of one original, too.
    fn same(&self, other: &Look, part: bool) -> Option<How> {
        if self.digest == other.digest && self.cells == other.cells {
            return Some(How::Pixels);
        }
        let ((_, w, h), (_, v, g)) = (self.digest, other.digest);
        // Another shape is another crop. Sides are rounded when a picture is scaled.
        let (across, down) = ((w * g) as f64, (h * v) as f64);
        if (self.hash ^ other.hash).count_ones() > BITS
            || (across - down).abs() > 0.03 * across.max(down) + w.max(h).max(v).max(g) as f64
        {
            return None;
        }
        let agree = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).all(|(a, b)| a.abs_diff(*b) <= NEAR);
        let pairs = || self.cells.chunks_exact(3).zip(other.cells.chunks_exact(3));
        // A sample of 79 cells sorts out nearly all: 40 % is four standard deviations below 60 %.
        if pairs().step_by(13).filter(agree).count() * 5 < SIDE * SIDE / 13 * 2 {
            return None;
        }
        let (mut n, mut sum, mut squares, mut errors) = (0usize, 0.0, 0.0, 0.0);
        for (a, b) in pairs().filter(agree) {
            let light = |c: &[u8]| c.iter().map(|&v| v as f64).sum::<f64>() / 3.0;
            let (x, y) = (light(a), light(b));
            n += 1;
            sum += x;
            squares += x * x;
            errors += (x - y) * (x - y);
        }
        let share = n as f64 / (SIDE * SIDE) as f64;
        let spread = (squares / n.max(1) as f64 - (sum / n.max(1) as f64).powi(2)).max(0.0).sqrt();
        let error = (errors / n.max(1) as f64).sqrt();
        // Where the cells that agree are nearly of one colour they say nothing: sky, paper, a black border.
        match () {
            _ if share >= 0.95 && spread >= 6.0 && error <= 0.2 * spread => Some(How::Copy),
            _ if part && share >= 0.6 && spread >= 12.0 && error <= 0.15 * spread => Some(How::Part),
            _ => None,
        }
    }
}

/// A picture of a data set.
pub struct Member {
    pub path: PathBuf,
    /// Train, validation and test, by number; unseen methods are tests.
    pub side: usize,
    /// The class folder, by number.
    pub folder: usize,
    pub fake: bool,
    /// The photograph or video that a manifest names.
    pub group: Option<u32>,
}

/// Two pictures that are the same: by number, and how.
pub type Pair = (usize, usize, How);

/// What was found.
#[derive(Default)]
pub struct Twins {
    /// In two splits.
    pub across: Vec<Pair>,
    /// Genuine and forged.
    pub labels: Vec<Pair>,
    /// In one class folder: no harm but for the weight that the picture gets.
    pub within: Vec<Pair>,
    /// Groups of the manifest that are in two splits, with a picture of each.
    pub groups: Vec<(u32, usize, usize)>,
    /// Whether pictures were compared, or files only.
    pub looked: bool,
}

/// Groups of files with the same bytes, each in rising order, the groups by their first file. Unreadable files are in none.
pub fn identical(files: &[&Path]) -> Vec<Vec<usize>> {
    let lengths: Vec<Option<u64>> =
        files.par_iter().map(|f| regular(f).ok().and_then(|()| f.metadata().ok()).map(|m| m.len())).collect();
    let split = |groups: Vec<Vec<usize>>, key: &(dyn Fn(usize) -> Option<(u64, u32)> + Sync)| -> Vec<Vec<usize>> {
        let split = |group: Vec<usize>| {
            let keys: Vec<_> = group.par_iter().map(|&i| key(i)).collect();
            let mut by: HashMap<(u64, u32), Vec<usize>> = HashMap::new();
            group.iter().zip(keys).for_each(|(&i, k)| k.into_iter().for_each(|k| by.entry(k).or_default().push(i)));
            by.into_values().filter(|g| g.len() > 1).collect::<Vec<_>>()
        };
        groups.into_iter().flat_map(split).collect()
    };
    let start = |i: usize| super::walk::head_of(files[i], 1 << 14).ok().map(|b| (0, crc32c::crc32c(&b)));
    let whole = |i: usize| checksum(files[i]).ok();
    let mut groups = split(vec![(0..files.len()).collect()], &|i| lengths[i].map(|n| (n, 0)));
    groups = split(groups, &start);
    groups = split(groups, &whole);
    // One file under several names is the same without being read.
    let confirm = |group: Vec<usize>| {
        let mut left = group;
        let mut confirmed = Vec::new();
        while left.len() > 1 {
            let first = left[0];
            let (same, rest): (Vec<usize>, Vec<usize>) =
                left.iter().partition(|&&i| i == first || same_bytes(files[first], files[i]));
            confirmed.extend((same.len() > 1).then_some(same));
            left = rest;
        }
        confirmed
    };
    let mut groups: Vec<Vec<usize>> = groups.into_par_iter().flat_map_iter(confirm).collect();
    groups.sort();
    groups
}

fn checksum(file: &Path) -> std::io::Result<(u64, u32)> {
    let (mut file, mut block, mut length, mut crc) = (File::open(file)?, vec![0; 1 << 16], 0, 0);
    loop {
        match file.read(&mut block)? {
            0 => return Ok((length, crc)),
            n => {
                crc = crc32c::crc32c_append(crc, &block[..n]);
                length += n as u64;
            }
        }
    }
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    let id = |p| identity(p).ok();
    if id(a) == id(b) && id(a).is_some() {
        return true;
    }
    let compare = || -> std::io::Result<bool> {
        let (mut a, mut b) = (File::open(a)?, File::open(b)?);
        let (mut x, mut y) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let n = a.read(&mut x)?;
            b.read_exact(&mut y[..n])?;
            if n == 0 || x[..n] != y[..n] {
                return Ok(n == 0 && b.read(&mut y)? == 0);
            }
        }
    };
    compare().unwrap_or(false)
}

/// Looks of files, in parallel; none for those that cannot be read.
pub fn looks(files: &[&Path]) -> Vec<Option<Look>> {
    files.par_iter().with_max_len(1).map(|f| Picture::open(f).ok().map(|p| Look::of(&p))).collect()
}

/// Pairs of pictures that are the same, in rising order. `wanted` says whether a pair matters, and whether forgeries of one original do.
pub fn similar(looks: &[Option<&Look>], wanted: impl Fn(usize, usize) -> Option<bool> + Sync) -> Vec<Pair> {
    let row = |i: usize| {
        let (looks, wanted) = (&looks, &wanted);
        (i + 1..looks.len()).filter_map(move |j| {
            let (a, b) = (looks[i]?, looks[j]?);
            if (a.hash ^ b.hash).count_ones() > BITS {
                return None;
            }
            Some((i, j, a.same(b, wanted(i, j)?)?))
        })
    };
    (0..looks.len()).into_par_iter().flat_map_iter(row).collect()
}

/// Looks for pictures that are the same: as files, and by their looks where these are given.
pub fn find_among(members: &[Member], looks: Option<&[Option<&Look>]>) -> Twins {
    let files: Vec<&Path> = members.iter().map(|m| m.path.as_path()).collect();
    let mut twins = Twins { looked: looks.is_some(), ..Twins::default() };
    let mut pairs: Vec<Pair> = Vec::new();
    for group in identical(&files) {
        pairs.extend(group.iter().enumerate().flat_map(|(k, &a)| group[k + 1..].iter().map(move |&b| (a, b, How::File))));
    }
    if let Some(looks) = looks {
        let known: std::collections::HashSet<(usize, usize)> = pairs.iter().map(|p| (p.0, p.1)).collect();
        let found = similar(looks, |a, b| {
            let (m, n) = (&members[a], &members[b]);
            (m.side != n.side || m.folder == n.folder || m.fake != n.fake).then_some(m.side != n.side && (m.fake || n.fake))
        });
        pairs.extend(found.into_iter().filter(|p| !known.contains(&(p.0, p.1))));
    }
    let ids: Vec<Option<Identity>> = files.iter().map(|f| identity(f).ok()).collect();
    pairs.sort();
    for pair in pairs {
        let (a, b, how) = pair;
        let (m, n) = (&members[a], &members[b]);
        match () {
            _ if m.side != n.side => twins.across.push(pair),
            // A forgery looks like its original; the same pixels are no forgery.
            _ if m.fake != n.fake && how <= How::Pixels => twins.labels.push(pair),
            _ if m.folder == n.folder && ids[a] != ids[b] => twins.within.push(pair),
            _ => {}
        }
    }
    let mut first: HashMap<u32, usize> = HashMap::new();
    let mut straddling: std::collections::BTreeMap<u32, (usize, usize)> = Default::default();
    for (i, m) in members.iter().enumerate() {
        let Some(group) = m.group else { continue };
        let &mut k = first.entry(group).or_insert(i);
        if members[k].side != m.side {
            straddling.entry(group).or_insert((k, i));
        }
    }
    twins.groups = straddling.into_iter().map(|(g, (a, b))| (g, a, b)).collect();
    twins
}

impl Twins {
    /// What must not be in a data set, one sentence each: pictures in two splits, with two labels, groups in two splits.
    pub fn faults(&self, members: &[Member], root: &Path) -> Vec<String> {
        let mut out = Vec::new();
        if !self.across.is_empty() {
            let n = count(&self.across);
            let are = if n == 1 { "picture is" } else { "pictures are" };
            out.push(format!("{} {are} in two splits: {}", thousands(n), few(&self.across, members, root)));
        }
        if !self.labels.is_empty() {
            let n = count(&self.labels);
            let are = if n == 1 { "picture is" } else { "pictures are" };
            out.push(format!("{} {are} both real and fake: {}", thousands(n), few(&self.labels, members, root)));
        }
        if let Some((group, a, b)) = self.groups.first() {
            let n = self.groups.len();
            let are = if n == 1 { "photograph of the manifest is" } else { "photographs of the manifest are" };
            let name = |i: usize| below(&members[i].path, root);
            out.push(format!("{n} {are} in two splits: group {group} with {} and {}", name(*a), name(*b)));
        }
        out
    }

    /// Copies within a class folder, in a sentence.
    pub fn copies(&self, members: &[Member], root: &Path) -> Option<String> {
        let n = count(&self.within);
        let are = if n == 1 { "picture is a copy" } else { "pictures are copies" };
        (n > 0).then(|| format!("{} {are} of another in the same folder: {}", thousands(n), few(&self.within, members, root)))
    }
}

/// Pictures that are the second of a pair.
fn count(pairs: &[Pair]) -> usize {
    let second: std::collections::HashSet<usize> = pairs.iter().map(|p| p.1).collect();
    second.len()
}

fn below(path: &Path, root: &Path) -> String {
    shown(path.strip_prefix(root).unwrap_or(path))
}

/// The first three pairs in words.
fn few(pairs: &[Pair], members: &[Member], root: &Path) -> String {
    let name = |i: usize| below(&members[i].path, root);
    let words: Vec<String> =
        pairs.iter().take(3).map(|&(a, b, how)| format!("{} and {} ({})", name(a), name(b), how.words())).collect();
    let more = if pairs.len() > 3 { ", …" } else { "" };
    format!("{}{more}", words.join(", "))
}

/// Looks through a data folder and gives the notices of its report. `pixels`: of all pictures, about. Pictures in two splits or with
/// two labels are an error unless they are allowed.
pub fn check(members: &[Member], root: &Path, pixels: u64, allowed: bool, tell: fn(&str)) -> Result<Vec<String>> {
    let look = pixels <= BUDGET && members.len() <= MOST;
    announce(members.len(), pixels, look, root, tell);
    let paths: Vec<&Path> = members.iter().map(|m| m.path.as_path()).collect();
    let seen = if look { looks(&paths) } else { Vec::new() };
    let seen: Vec<Option<&Look>> = seen.iter().map(Option::as_ref).collect();
    let twins = find_among(members, look.then_some(&seen[..]));
    let faults = twins.faults(members, root);
    if !faults.is_empty() && !allowed {
        let why = format!(
            "{}. A test on them would flatter: take them out of one of the two, or go on with --allow-duplicates. \
             `lae-engine data check` tells more",
            faults.join("; ")
        );
        return Err(Error::data(root, why));
    }
    Ok(faults.into_iter().map(|f| format!("{f} (allowed)")).chain(twins.copies(members, root)).collect())
}

/// A line before a search that takes a while, or that is not the whole one.
fn announce(pictures: usize, pixels: u64, look: bool, root: &Path, tell: fn(&str)) {
    let (n, mega) = (thousands(pictures), thousands((pixels / 1_000_000) as usize));
    if !look {
        tell(&format!(
            "note      the same picture twice: only identical files are looked for, since {n} pictures ({mega} megapixels) would have to \
             be decoded; `lae-engine data check {}` does",
            shown(root)
        ));
    } else if pixels > BUDGET / 5 {
        tell(&format!("data      looking for the same picture twice in {n} pictures ({mega} megapixels)"));
    }
}

/// Of photographs: those to leave out, each with the earlier one that it is a copy of.
pub fn copies(files: &[PathBuf], pixels: u64, dir: &Path, tell: fn(&str)) -> Vec<(usize, usize, How)> {
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let look = pixels <= BUDGET && files.len() <= MOST;
    announce(files.len(), pixels, look, dir, tell);
    let seen = if look { looks(&paths) } else { Vec::new() };
    copies_among(files, &seen.iter().map(Option::as_ref).collect::<Vec<_>>())
}

/// [`copies`] by looks that are there already; without any, by the files alone.
pub fn copies_among(files: &[PathBuf], looks: &[Option<&Look>]) -> Vec<(usize, usize, How)> {
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut first: Vec<Option<(usize, How)>> = vec![None; files.len()];
    for group in identical(&paths) {
        group[1..].iter().for_each(|&i| first[i] = Some((group[0], How::File)));
    }
    for (a, b, how) in similar(looks, |_, _| Some(false)) {
        let a = first[a].map_or(a, |f| f.0);
        first[b].get_or_insert((a, how));
    }
    first.into_iter().enumerate().filter_map(|(i, f)| f.map(|(a, how)| (i, a, how))).filter(|(i, a, _)| i != a).collect()
}

/// The notice about photographs that [`copies`] found, if any.
pub fn copies_notice(copies: &[(usize, usize, How)], files: &[PathBuf], dir: &Path) -> Option<String> {
    let name = |i: usize| below(&files[i], dir);
    let words: Vec<String> =
        copies.iter().take(3).map(|&(i, a, how)| format!("{} of {} ({})", name(i), name(a), how.words())).collect();
    let more = if copies.len() > 3 { ", …" } else { "" };
    let (n, words) = (thousands(copies.len()), words.join(", "));
    let are = if copies.len() == 1 { "photograph is a copy" } else { "photographs are copies" };
    (!copies.is_empty()).then(|| format!("{n} {are} of others and left out: {words}{more}; --allow-duplicates keeps them"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::{Rng, stream};
    use crate::data::forge::FORGERS;
    use crate::data::hole::Hole;
    use crate::data::procedural::photograph;
    use crate::data::source::random_crop;

    fn again(p: &Picture, quality: u8) -> Picture {
        let bytes = p.to_jpeg(quality).unwrap();
        let rgb = image::load_from_memory(&bytes).unwrap().into_rgb8();
        Picture { w: p.w, h: p.h, rgb: rgb.into_raw() }
    }

    /// False alarms among pictures of different photographs, and what is found of copies and forgeries.
    fn rates(pictures: &[Picture], photo: impl Fn(usize) -> usize) -> (usize, usize, Vec<(String, f64)>) {
        let looks: Vec<Look> = pictures.par_iter().map(Look::of).collect();
        let pairs: Vec<(usize, usize)> = (0..looks.len())
            .flat_map(|i| (i + 1..looks.len()).map(move |j| (i, j)))
            .filter(|&(i, j)| photo(i) != photo(j))
            .collect();
        let alarm = |&&(i, j): &&(usize, usize)| looks[i].same(&looks[j], true).is_some();
        let alarms: Vec<_> = pairs.iter().filter(alarm).collect();
        alarms.iter().take(10).for_each(|(i, j)| println!("alarm: {i} {j}"));
        let mut found = Vec::new();
        let mut measure = |name: String, change: &(dyn Fn(usize, &Picture) -> Picture + Sync), part: bool| {
            let hit = |(i, p): (usize, &Picture)| looks[i].same(&Look::of(&change(i, p)), part).is_some() as usize;
            let hits: usize = pictures.par_iter().enumerate().map(hit).sum();
            found.push((name, hits as f64 / pictures.len() as f64));
        };
        for quality in [95, 75, 50, 30] {
            measure(format!("JPEG {quality}"), &|_, p| again(p, quality), false);
        }
        measure("half".into(), &|_, p| p.resize_to(p.w / 2, p.h / 2), false);
        measure("half, JPEG 75".into(), &|_, p| again(&p.resize_to(p.w / 2, p.h / 2), 75), false);
        for forger in FORGERS {
            let forge = |i: usize, p: &Picture| {
                let mut rng = Rng::new(1, stream("test"), i as u64);
                let hole = Hole::Rect.draw(p.w, p.h, (0.06, 0.25), &mut rng);
                forger.fill(p, &hole, &pictures[(i + 7) % pictures.len()], &mut rng).unwrap()
            };
            measure(forger.name().into(), &forge, true);
        }
        (alarms.len(), pairs.len(), found)
    }

    #[test]
    fn copies_and_forgeries_are_found_and_other_pictures_are_not() {
        let pictures: Vec<Picture> = (0..80).into_par_iter().map(|i| photograph(5, i, 128)).collect();
        let (alarms, pairs, found) = rates(&pictures, |i| i);
        println!("{alarms} of {pairs}, {found:?}");
        assert_eq!(alarms, 0, "of {pairs}");
        found.iter().for_each(|(name, share)| assert!(*share >= 0.9, "{name}: {share}"));
        let flat = |v| Look::of(&Picture::from_fn(64, 64, |_, _| [v; 3]));
        assert_eq!((flat(90).same(&flat(90), true), flat(90).same(&flat(92), true)), (Some(How::Pixels), None));
    }

    /// `LAE_PHOTOS=DIR cargo test --lib duplicates -- --ignored --nocapture`: the numbers of docs/data.md.
    #[test]
    #[ignore = "measures on a folder of photographs"]
    fn rates_on_photographs() {
        let dir = std::env::var("LAE_PHOTOS").expect("LAE_PHOTOS");
        let files = crate::data::walk::walk(Path::new(&dir), false).unwrap().pictures;
        let start = std::time::Instant::now();
        let whole: Vec<Picture> = files.par_iter().map(|f| Picture::open(f).unwrap()).collect();
        let mega = whole.iter().map(|p| p.w * p.h).sum::<usize>() as f64 / 1e6;
        println!("{} photographs, {mega:.0} megapixels: {:.2} s to decode", whole.len(), start.elapsed().as_secs_f64());
        let (alarms, pairs, found) = rates(&whole.iter().map(|p| p.resize(256)).collect::<Vec<_>>(), |i| i);
        println!("whole: {alarms} of {pairs}, {found:?}");
        let per = 40;
        let crop = |k: usize| random_crop(&whole[k / per], 128, (1.0, 4.0), true, &mut Rng::new(2, 3, k as u64));
        let crops: Vec<Picture> = (0..per * whole.len()).into_par_iter().map(crop).collect();
        let (alarms, pairs, found) = rates(&crops, |i| i / per);
        println!("crops: {alarms} of {pairs}, {found:?}");
        let painted: Vec<Picture> = (0..1000).into_par_iter().map(|i| photograph(5, i, 128)).collect();
        let (alarms, pairs, found) = rates(&painted, |i| i);
        println!("painted: {alarms} of {pairs}, {found:?}");
        // Cost per 1000 pictures of 256 pixels.
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..1000).map(|i| dir.path().join(format!("{i}.png"))).collect();
        files.par_iter().enumerate().for_each(|(i, f)| whole[i % whole.len()].crop(i, i / 2, 256, 256).save(f).unwrap());
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let start = std::time::Instant::now();
        println!("identical: {} groups, {:.3} s", identical(&paths).len(), start.elapsed().as_secs_f64());
        let start = std::time::Instant::now();
        let seen = looks(&paths);
        let decoded = start.elapsed().as_secs_f64();
        let pairs = similar(&seen.iter().map(Option::as_ref).collect::<Vec<_>>(), |_, _| Some(true)).len();
        println!(
            "1000 of 256 pixels: decoded in {decoded:.2} s, compared in {:.3} s ({pairs})",
            start.elapsed().as_secs_f64() - decoded
        );
    }

    #[test]
    fn the_same_bytes_are_found_whatever_is_alike() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let long = vec![7u8; 100_000];
        let (mut middle, mut end) = (long.clone(), long.clone());
        middle[50_000] = 8;
        end[99_999] = 8;
        let files = [
            file("a", b"one"),
            file("b", b"two"),
            file("c", b"one"),
            file("d", &long),
            file("e", &middle),
            file("f", &end),
            file("g", &middle),
            dir.path().join("none"),
            file("h", b"one"),
        ];
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        assert_eq!(identical(&paths), [vec![0, 2, 8], vec![4, 6]]);
        assert!(!same_bytes(&files[3], &files[5]) && same_bytes(&files[4], &files[6]));
    }
}
