//! Which picture is trained on, and which is a test: the splits as given, else by group; methods that are not trained on become tests
//! of their own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::reading::Reading;
use super::row::{Place, Row};
use crate::core::rng::{Rng, stream};
use crate::core::text::thousands;
use crate::error::{Error, Result};
use crate::text::{line, shown};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The method that is trained on, `all`, or nothing: as the layout has it.
    pub seen: Option<String>,
    /// The methods that are only tested on; empty: all others.
    pub unseen: Vec<String>,
    /// Shares of the groups for validation and tests, where the set has none.
    pub shares: (f64, f64),
    pub seed: u64,
    /// Go on where a group is on both sides of a split.
    pub straddling: bool,
}

/// Gives every row its final place. Rows of methods that are not wanted are left out and counted.
pub fn settle(reading: &mut Reading, wanted: &Wanted) -> Result<()> {
    divide(reading, wanted)?;
    choose(reading, wanted)?;
    carve(reading, wanted)?;
    if !wanted.straddling {
        no_group_straddles(reading)?;
    }
    Ok(())
}

/// Where no row has a split: by group, a share for validation and one for the tests.
fn divide(reading: &mut Reading, wanted: &Wanted) -> Result<()> {
    let without = |r: &&Row| r.split.is_none();
    match reading.rows.iter().filter(without).count() {
        0 => return Ok(()),
        n if n < reading.rows.len() => {
            let row = reading.rows.iter().find(without).expect("counted");
            let at = if row.line > 0 { format!("line {}: ", row.line) } else { String::new() };
            let why = format!(
                "{at}{} has no split, and other pictures have one ({} of {} have none): give every row train, val, test or unseen/METHOD, \
                 or none",
                reading.name(&row.path),
                thousands(n),
                thousands(reading.rows.len()),
            );
            return Err(Error::data(&reading.given, why));
        }
        _ => {}
    }
    let (val, test) = wanted.shares;
    assign(&mut reading.rows, |_| true, wanted.seed, &[(Place::Val, val), (Place::Test, test)], Place::Train);
    reading.notes.push(format!(
        "no splits were given: divided by group, {:.0} % for validation and {:.0} % for the tests (data.val_share, data.test_share; seed {})",
        100.0 * val,
        100.0 * test,
        wanted.seed
    ));
    Ok(())
}

/// Where there are training pictures and tests but no validation: a share of the training groups.
fn carve(reading: &mut Reading, wanted: &Wanted) -> Result<()> {
    let has = |place| reading.rows.iter().any(|r| r.split == Some(place));
    if !has(Place::Train) || has(Place::Val) {
        return Ok(());
    }
    let train = |r: &Row| r.split == Some(Place::Train);
    assign(&mut reading.rows, train, wanted.seed, &[(Place::Val, wanted.shares.0)], Place::Train);
    reading.notes.push(format!(
        "no validation was given: {:.0} % of the training groups are kept for it (data.val_share; seed {})",
        100.0 * wanted.shares.0,
        wanted.seed
    ));
    Ok(())
}

/// Divides the groups of the rows that `which` takes. Groups of genuine, of forged, and of both kinds are divided apart, so that each split
/// has its share of each; with three groups or more every split gets one.
fn assign(rows: &mut [Row], which: impl Fn(&Row) -> bool, seed: u64, shares: &[(Place, f64)], rest: Place) {
    type Key = (bool, std::ffi::OsString);
    let key = |r: &Row| -> Key { (r.together().0, r.together().1.to_os_string()) };
    let mut kinds: BTreeMap<Key, [bool; 2]> = BTreeMap::new();
    for row in rows.iter().filter(|r| which(r)) {
        kinds.entry(key(row)).or_default()[row.fake as usize] = true;
    }
    let mut of: HashMap<Key, Place> = HashMap::new();
    for (k, kind) in [[true, true], [true, false], [false, true]].into_iter().enumerate() {
        let mut keys: Vec<&Key> = kinds.iter().filter(|(_, has)| **has == kind).map(|(key, _)| key).collect();
        Rng::new(seed, stream("division of a set"), k as u64).shuffle(&mut keys);
        let n = keys.len();
        let mut keys = keys.into_iter();
        for &(place, share) in shares {
            let count = ((n as f64 * share).round() as usize).max((n > shares.len()) as usize);
            of.extend(keys.by_ref().take(count).map(|key| (key.clone(), place)));
        }
        of.extend(keys.map(|key| (key.clone(), rest)));
    }
    for row in rows.iter_mut().filter(|r| which(r)) {
        row.split = of.get(&key(row)).copied();
    }
}

/// Makes tests of their own of the methods that are not trained on.
fn choose(reading: &mut Reading, wanted: &Wanted) -> Result<()> {
    let methods = |test: &dyn Fn(&Row) -> bool| -> Vec<String> {
        let found: HashSet<&String> = reading.rows.iter().filter(|r| r.fake && test(r)).map(|r| &r.method).collect();
        let mut found: Vec<String> = found.into_iter().cloned().collect();
        found.sort();
        found
    };
    let learned = methods(&|r| r.split != Some(Place::Unseen));
    let all = methods(&|_| true);
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let seen: Vec<String> = match wanted.seen.as_deref() {
        Some("all") => learned.clone(),
        Some(name) => {
            let found = learned.iter().find(|m| same(m, name)).ok_or_else(|| {
                let why = format!(
                    "{name}: {} has no such method to train on; it has {}; or all",
                    shown(&reading.given),
                    line(&learned.join(", "))
                );
                Error::config("data.seen", why)
            })?;
            vec![found.clone()]
        }
        None => match reading.preferred.iter().find_map(|p| learned.iter().find(|m| same(m, p))) {
            Some(preferred) if learned.len() > 1 => {
                reading.notes.push(format!(
                    "{preferred} is trained on, the other methods are only tested on; data.seen = NAME (data import: --seen NAME) takes \
                     another, data.seen = all all of them"
                ));
                vec![preferred.clone()]
            }
            _ => learned.clone(),
        },
    };
    if let Some(none) = wanted.unseen.iter().find(|u| !all.iter().any(|m| same(m, u))) {
        let why = format!("{none}: {} has no such method; it has {}", shown(&reading.given), line(&all.join(", ")));
        return Err(Error::config("data.unseen", why));
    }
    let unseen = |m: &str| wanted.unseen.is_empty() || wanted.unseen.iter().any(|u| same(u, m));
    let mut left: Vec<(String, std::path::PathBuf)> = Vec::new();
    reading.rows.retain_mut(|row| {
        let method = row.method.as_str();
        let tested = row.split == Some(Place::Unseen) || (row.fake && !seen.iter().any(|s| s == method));
        if !tested {
            return true;
        }
        let why = match row.split {
            _ if !unseen(method) => format!("pictures of {}, which data.unseen does not name", line(method)),
            Some(Place::Train | Place::Val) => {
                format!("training and validation pictures of {}, which is only tested on", line(method))
            }
            _ => {
                row.split = Some(Place::Unseen);
                return true;
            }
        };
        left.push((why, row.path.clone()));
        false
    });
    left.iter().for_each(|(why, path)| reading.leave(why.as_str(), path));
    Ok(())
}

/// Refuses a group (video, identity) that is on two sides of the split.
fn no_group_straddles(reading: &Reading) -> Result<()> {
    let mut first: HashMap<&str, &Row> = HashMap::new();
    let (mut both, mut example) = (HashSet::new(), None);
    for row in &reading.rows {
        let (Some(group), Some(place)) = (row.group.as_deref(), row.split) else { continue };
        let other = *first.entry(group).or_insert(row);
        if other.split.is_some_and(|s| s.side() != place.side()) {
            both.insert(group);
            example.get_or_insert((group, other, row));
        }
    }
    let Some((group, a, b)) = example else { return Ok(()) };
    let at = |r: &Row| {
        let number = if r.line > 0 { format!("line {}, ", r.line) } else { String::new() };
        format!("{} ({number}{})", reading.name(&r.path), line(&r.split_name()))
    };
    let why = format!(
        "{} {} in two splits: group {} has {} and {}. A test on what was trained on would flatter: put a group on one side, or go on with \
         --allow-duplicates",
        thousands(both.len()),
        if both.len() == 1 { "group is" } else { "groups are" },
        line(group),
        at(a),
        at(b)
    );
    Err(Error::data(&reading.given, why))
}

/// Counts the pictures that are not there: an error where that is more than half.
pub fn most_are_there(reading: &Reading) -> Result<()> {
    use rayon::prelude::*;
    let absent: Vec<&Row> = reading.rows.par_iter().filter(|r| !Path::new(&r.path).exists()).collect();
    if absent.len() * 2 <= reading.rows.len() {
        return Ok(());
    }
    let first = absent[0];
    let at = if first.line > 0 { format!("line {}, ", first.line) } else { String::new() };
    let why = format!(
        "{} of {} pictures are not there, {at}{} first; paths are relative to {}: copy the pictures, or correct the paths",
        thousands(absent.len()),
        thousands(reading.rows.len()),
        shown(&first.path),
        shown(&reading.root)
    );
    Err(Error::data(&reading.given, why))
}
