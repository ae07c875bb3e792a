//! What annotators made, on disk: each file is whole or not there, and nothing is told to the page before it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::core::file::write_whole;
use crate::data::Mask;
use crate::error::{Error, Result};
use crate::train::masks::{self, ANNOTATIONS, Annotation, DRAFTS, Outcome};

/// The folder of masks of a run.
pub struct Store {
    run: PathBuf,
    lines: Vec<Annotation>,
    latest: BTreeMap<u32, Annotation>,
}

impl Store {
    /// Makes the folder if there is none, and removes what a killed server was writing. For whoever holds the run alone.
    pub fn open(run: &Path) -> Result<Store> {
        let drafts = masks::folder(run).join(DRAFTS);
        std::fs::create_dir_all(&drafts).map_err(|e| Error::io(&drafts, e))?;
        for dir in [masks::folder(run), drafts] {
            for entry in std::fs::read_dir(&dir).map_err(|e| Error::io(&dir, e))?.flatten() {
                if entry.path().extension().is_some_and(|e| e == "tmp") {
                    std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
                }
            }
        }
        let lines = masks::read(run)?;
        Ok(Store { run: run.to_path_buf(), latest: masks::latest(lines.clone()), lines })
    }

    /// The last line about a picture, where its mask (if it has one) is there too.
    pub fn latest(&self, index: u32) -> Option<&Annotation> {
        self.latest.get(&index).filter(|a| a.outcome != Outcome::Masked || masks::file(&self.run, index).is_file())
    }

    /// How often something was settled about a picture. A page that saw another number has not seen the last of it.
    pub fn revision(&self, index: u32) -> usize {
        self.lines.iter().filter(|a| a.index == index).count()
    }

    fn draft_file(&self, index: u32) -> PathBuf {
        masks::folder(&self.run).join(DRAFTS).join(masks::name(index) + ".png")
    }

    pub fn has_draft(&self, index: u32) -> bool {
        self.draft_file(index).is_file()
    }

    /// What is being drawn.
    pub fn draft(&self, index: u32) -> Result<Option<Mask>> {
        let file = self.draft_file(index);
        if file.is_file() { Mask::open(&file).map(Some) } else { Ok(None) }
    }

    pub fn put_draft(&self, index: u32, mask: &Mask) -> Result<()> {
        write_whole(self.draft_file(index), &mask.to_png()?)
    }

    /// The finished mask.
    pub fn mask(&self, index: u32) -> Result<Option<Mask>> {
        let file = masks::file(&self.run, index);
        if file.is_file() { Mask::open(&file).map(Some) } else { Ok(None) }
    }

    /// Settles a picture: the mask of a masked one, then the line, then its draft goes.
    pub fn settle(&mut self, mut line: Annotation, mask: Option<&Mask>) -> Result<()> {
        let index = line.index;
        if let Some(mask) = mask {
            let bytes = mask.to_png()?;
            line.crc32c = Some(crc32c::crc32c(&bytes));
            write_whole(masks::file(&self.run, index), &bytes)?;
        }
        self.lines.push(line);
        self.write_lines().inspect_err(|_| drop(self.lines.pop()))?;
        self.latest.insert(index, self.lines.last().expect("just pushed").clone());
        if mask.is_some() && self.has_draft(index) {
            let file = self.draft_file(index);
            std::fs::remove_file(&file).map_err(|e| Error::io(&file, e))?;
        }
        Ok(())
    }

    fn write_lines(&self) -> Result<()> {
        let text: String = self.lines.iter().map(|a| serde_json::to_string(a).expect("plain data") + "\n").collect();
        write_whole(masks::folder(&self.run).join(ANNOTATIONS), text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MaskOrigin;

    fn line(index: u32, outcome: Outcome) -> Annotation {
        Annotation {
            index,
            name: masks::name(index),
            picture: String::new(),
            outcome,
            reason: String::new(),
            by: "anna".into(),
            when: super::super::clock::now(),
            seconds: 3.0,
            tools: vec!["brush".into()],
            first: "none".into(),
            edits: 2,
            area: 0.1,
            crc32c: None,
            origin: MaskOrigin::Person,
        }
    }

    #[test]
    fn finished_masks_replace_drafts_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let mut store = Store::open(run).unwrap();
        let mask = Mask::from_fn(9, 5, |x, y| x > y);
        store.put_draft(3, &mask).unwrap();
        assert_eq!((store.draft(3).unwrap(), store.mask(3).unwrap(), store.revision(3)), (Some(mask.clone()), None, 0));
        store.settle(line(3, Outcome::Masked), Some(&mask)).unwrap();
        assert_eq!((store.draft(3).unwrap(), store.mask(3).unwrap(), store.revision(3)), (None, Some(mask.clone()), 1));
        store.settle(line(4, Outcome::Skipped), None).unwrap();
        std::fs::write(run.join("masks/train-000005.png.77.tmp"), "half").unwrap();
        let again = Store::open(run).unwrap();
        assert_eq!((again.lines.len(), again.latest(3).unwrap().outcome), (2, Outcome::Masked));
        assert!(!run.join("masks/train-000005.png.77.tmp").exists());
        // A mask that went away by hand is no finished mask.
        std::fs::remove_file(masks::file(run, 3)).unwrap();
        assert!(again.latest(3).is_none() && again.latest(4).is_some());
    }

    /// A mask that cannot be written leaves the lines as they were.
    #[test]
    fn a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        // A folder of that name is in the way.
        std::fs::create_dir_all(masks::file(dir.path(), 1).join("full")).unwrap();
        let e = store.settle(line(1, Outcome::Masked), Some(&Mask::new(2, 2))).unwrap_err().to_string();
        assert!(e.contains("train-000001.png"), "{e}");
        assert_eq!((store.revision(1), masks::read(dir.path()).unwrap().len()), (0, 0));
    }
}
