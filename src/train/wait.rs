//! Masks of a person between the selection and stage 2: the run stops until they are there, and stage 2 takes them.

use std::collections::{BTreeMap, HashMap};

use super::annotated::Masks;
use super::detector::{Draw, Stage};
use super::masks::{self, Answer};
use super::run::Run;
use super::select::{MaskUse, Selection};
use crate::data::dataset::Split;
use crate::data::{Mask, MaskOrigin};
use crate::error::{Error, Result};
use crate::report::MaskRow;
use crate::report::terminal::say;
use crate::text::shown;

/// The annotated fakes of a stage and, of those that a person masked, the masks: size·size values, 1 = manipulated.
pub(super) type Chosen = (Vec<u32>, HashMap<u32, Vec<f32>>);

/// Whether a stage waits for masks of a person.
pub(super) fn waits(stage: &Stage) -> bool {
    matches!(&stage.draw, Draw::Annotated(a) if a.selection.masks == Masks::Person)
}

impl Run {
    /// The annotated fakes that stage `stage` draws. Of a stage that waits for a person those with a mask; the first time the
    /// selection keeps which these are.
    pub(super) fn annotated(&self, stage: &Stage) -> Result<Chosen> {
        let mut selection = self.selected()?;
        if !waits(stage) {
            return Ok((selection.indices, HashMap::new()));
        }
        if selection.masks.is_empty() {
            selection.masks = self.answered(&selection)?;
            self.write_selection(&selection)?;
        }
        let used: Vec<&MaskUse> = selection.masks.iter().filter(|m| m.origin.is_some()).collect();
        let mut values = HashMap::new();
        for m in &used {
            let file = masks::file(&self.dir, m.index);
            let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
            if m.crc32c != Some(crc32c::crc32c(&bytes)) {
                let why = "is not the mask that stage 2 began with: put that one back, or start a new run (the first stage need not be \
                           trained again: train --from)";
                return Err(Error::data(&file, why));
            }
            let mask = self.mask_of(m.index)?.resize_to(self.config.size, self.config.size);
            values.insert(m.index, mask.on.iter().map(|&v| v as f32).collect());
        }
        Ok((used.iter().map(|m| m.index).collect(), values))
    }

    /// Whose masks stage 2 has, once it has those of a person.
    pub(super) fn mask_notice(&self) -> Option<String> {
        let of_person = self.stages.iter().any(waits);
        of_person.then(|| self.selected().ok()).flatten().and_then(|s| words(&s.masks))
    }

    /// What became of each chosen picture; [`Error::Waits`] where some have no answer yet, unless those that are there will do.
    fn answered(&self, selection: &Selection) -> Result<Vec<MaskUse>> {
        let answers = masks::answers(&self.dir, &selection.indices)?;
        let total = answers.len();
        let count = |of: fn(&Answer) -> bool| answers.iter().filter(|a| of(a)).count();
        let missing = count(|a| matches!(a, Answer::Missing));
        let masked = count(|a| matches!(a, Answer::Masked { .. }));
        if missing > 0 && !self.masks_so_far {
            return Err(Error::Waits { run: self.dir.clone(), missing, total, masked });
        }
        if masked == 0 {
            let why =
                format!("none of the {total} chosen pictures has a mask: `lae-engine annotate {}` draws them", shown(&self.dir));
            return Err(Error::data(masks::folder(&self.dir), why));
        }
        let one = |(&index, answer): (&u32, Answer)| {
            let mut m = MaskUse { index, origin: None, by: String::new(), without: String::new(), crc32c: None };
            match answer {
                Answer::Missing => m.without = "missing".into(),
                Answer::Skipped { reason } => m.without = format!("skipped: {reason}"),
                Answer::Masked { origin, by } => {
                    let file = masks::file(&self.dir, index);
                    self.mask_of(index)?;
                    let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, e))?;
                    (m.origin, m.by, m.crc32c) = (Some(origin), by, Some(crc32c::crc32c(&bytes)));
                }
            }
            Ok(m)
        };
        let uses: Vec<MaskUse> = selection.indices.iter().zip(answers).map(one).collect::<Result<_>>()?;
        words(&uses).iter().for_each(|w| say(&format!("masks     {w}")));
        Ok(uses)
    }

    /// The finished mask of a training picture: of the picture's size, with something on.
    fn mask_of(&self, index: u32) -> Result<Mask> {
        let file = masks::file(&self.dir, index);
        let size = self.config.size;
        let (w, h) = self.data.own_size(Split::Train, index).unwrap_or(Ok((size, size)))?;
        let mask = Mask::open_for(&file, w, h)?;
        Ok(mask)
    }
}

/// The same as [`words`], for the table of a report.
pub(super) fn stage_rows(uses: &[MaskUse]) -> Vec<MaskRow> {
    let mut rows: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for m in uses {
        *rows.entry(m.origin.map_or(("none", &m.without), |o| (o.name(), &m.by))).or_default() += 1;
    }
    let row = |((origin, note), count): ((&str, &str), usize)| MaskRow {
        of: "stage 2: annotated fakes".into(),
        origin: origin.into(),
        count,
        note: note.into(),
    };
    rows.into_iter().map(row).collect()
}

/// `stage 2: 97 masks by a person (anna 60, ben 37), 1 from a file; 2 pictures without: 2 skipped: unsure`
pub(super) fn words(uses: &[MaskUse]) -> Option<String> {
    let mut by: BTreeMap<MaskOrigin, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut without: BTreeMap<&str, usize> = BTreeMap::new();
    for m in uses {
        match m.origin {
            Some(origin) => *by.entry(origin).or_default().entry(&m.by).or_default() += 1,
            None => *without.entry(&m.without).or_default() += 1,
        }
    }
    let list = |of: &BTreeMap<&str, usize>| of.iter().map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(", ");
    let people = |of: &BTreeMap<&str, usize>| {
        let named: Vec<String> = of.iter().filter(|(k, _)| !k.is_empty()).map(|(k, n)| format!("{k} {n}")).collect();
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    };
    let kinds = by.iter().map(|(origin, of)| format!("{} {}{}", of.values().sum::<usize>(), origin.words(), people(of)));
    let kinds: Vec<String> = kinds.collect();
    let without = match without.values().sum::<usize>() {
        0 => String::new(),
        n => format!("; {n} chosen pictures without: {}", list(&without)),
    };
    (!uses.is_empty()).then(|| format!("stage 2 has masks: {}{without}", kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_apart() {
        let m = |origin: Option<MaskOrigin>, by: &str, without: &str| MaskUse {
            index: 0,
            origin,
            by: by.into(),
            without: without.into(),
            crc32c: None,
        };
        let (person, file) = (Some(MaskOrigin::Person), Some(MaskOrigin::File));
        let uses = [
            m(person, "ben", ""),
            m(file, "", ""),
            m(person, "anna", ""),
            m(person, "ben", ""),
            m(None, "", "skipped: unsure"),
            m(None, "", "missing"),
        ];
        assert_eq!(
            words(&uses).unwrap(),
            "stage 2 has masks: 1 from files, 3 by a person (anna 1, ben 2); 2 chosen pictures without: 1 missing, 1 skipped: unsure"
        );
        assert_eq!(words(&[]), None);
    }
}
