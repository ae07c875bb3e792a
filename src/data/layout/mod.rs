//! Data sets as they lie on users' disks: a manifest, or one of the layouts of [`LAYOUTS`].
//!
//! A layout is a file with a `LAYOUT` (name, how it is known, how it is read) and a word in the list. [`open`] finds the layout by names,
//! reads the rows, gives each its place (`splits`), and hands out a [`Reading`] that says what was understood
//! ([`Reading::understood`]).

mod bench;
mod celeba;
pub mod crop;
pub mod difference;
mod faceforensics;
mod pairs;
mod plain;
mod reading;
mod ready;
mod row;
mod splits;
mod table;
mod tampered;

use std::path::Path;

use crate::error::{Error, Result};

pub use reading::{Layout, Reading};
pub use row::{Crop, Place, Row};
pub use splits::Wanted;
pub use table::{COLUMNS, Kind, write};

/// Every layout, in the order of the documentation. The last is read by [`super::folder`] where it is trained on.
pub static LAYOUTS: [Layout; 7] =
    [table::MANIFEST, faceforensics::LAYOUT, celeba::LAYOUT, bench::LAYOUT, plain::LAYOUT, tampered::LAYOUT, ready::LAYOUT];

/// The layout of a file or folder; none for a folder that has none of them. `name`: the one to take. Errors: no such name, a file that
/// is no manifest, a folder that could be two of them.
pub fn detect(path: &Path, name: Option<&str>) -> Result<Option<&'static Layout>> {
    if !path.exists() {
        return Err(Error::data(path, "no such folder or manifest; check the path"));
    }
    if let Some(name) = name {
        let names: Vec<&str> = LAYOUTS.iter().map(|l| l.name).collect();
        let found = LAYOUTS.iter().find(|l| l.name == name);
        return found.map(Some).ok_or_else(|| Error::config("--layout", format!("{name:?} is none; give {}", names.join(", "))));
    }
    if path.is_file() {
        let found = LAYOUTS.iter().find(|l| (l.detect)(path));
        return found.map(Some).map_or_else(|| Err(Kind::of(path).expect_err("no layout took it")), Ok);
    }
    let found: Vec<&Layout> = LAYOUTS.iter().filter(|l| (l.detect)(path)).collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let names: Vec<String> = found.iter().map(|l| format!("{} ({})", l.name, l.shape)).collect();
            let why = format!(
                "could be {}: say which with `lae-engine data import DIR --layout NAME --out FILE.csv`, and use that manifest",
                names.join(" or ")
            );
            Err(Error::data(path, why))
        }
    }
}

/// Whether [`super::folder`] reads the folder: its own layout, or none that is known (whose error it words).
pub fn is_ready(layout: Option<&Layout>) -> bool {
    layout.is_none_or(|l| l.name == ready::LAYOUT.name)
}

/// The error of a folder of no known layout.
pub fn unknown(path: &Path) -> Error {
    if let n @ 1.. = reading::videos(path)
        && super::walk::walk(path, false).is_ok_and(|found| found.pictures.is_empty())
    {
        return reading::videos_only(path, n);
    }
    let shapes: Vec<String> = LAYOUTS.iter().map(|l| format!("{} ({})", l.name, l.shape)).collect();
    Error::data(
        path,
        format!(
            "has none of the layouts that are known: {}; or write a manifest, path,label,… (docs/data.md)",
            shapes.join("; ")
        ),
    )
}

/// Reads a manifest or a folder of a known layout, each row with its place. No picture is opened.
pub fn open(path: &Path, layout: &Layout, wanted: &Wanted) -> Result<Reading> {
    let mut reading = Reading::new(layout, path);
    (layout.read)(path, &mut reading)?;
    if reading.rows.is_empty() {
        return Err(Error::data(path, format!("{}: no picture was found; {}", layout.title, layout.shape)));
    }
    table::repeated(&reading)?;
    splits::most_are_there(&reading)?;
    splits::settle(&mut reading, wanted)?;
    Ok(reading)
}
