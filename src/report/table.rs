//! The tables of the report for a terminal: plain text, columns aligned by how wide characters are on screen.

use super::calibration::CalibrationSection;
use super::data::{DetectionRow, LocalisationRow, Origin, ReportData};
use crate::metrics::calibration::Share;
use crate::metrics::interval::fixed;
use crate::metrics::{Interval, Localisation};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Align {
    Left,
    Right,
}

/// Rows of cells under a heading, two spaces between columns; a row with no cells is a blank line.
#[derive(Clone, Debug)]
pub struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &[(&str, Align)]) -> Table {
        let heading = columns.iter().map(|(name, _)| name.to_string()).collect();
        Table { align: columns.iter().map(|&(_, a)| a).collect(), rows: vec![heading] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| clean(&c)).collect());
    }

    pub fn render(&self) -> String {
        let mut widths = vec![0; self.align.len()];
        for row in &self.rows {
            row.iter().zip(&mut widths).for_each(|(cell, w)| *w = (*w).max(width(cell)));
        }
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &w), align) in row.iter().zip(&widths).zip(&self.align) {
                let pad = " ".repeat(w - width(cell));
                match align {
                    Align::Left => line.extend([cell, pad.as_str(), "  "]),
                    Align::Right => line.extend([pad.as_str(), cell, "  "]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Names come from folders: control characters (escape sequences, line breaks) must not reach the terminal.
fn clean(s: &str) -> String {
    s.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Columns that a text takes on a terminal: 0 for combining marks, 2 for East Asian wide characters and emoji, else 1.
pub fn width(s: &str) -> usize {
    s.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200f | 0x20d0..=0x20ff | 0xfe00..=0xfe0f | 0xfe20..=0xfe2f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

use Align::{Left, Right};

/// `61.1 [58.0, 64.2]`: percent, the sign is in the heading.
fn rate(i: &Interval) -> String {
    i.percent().replace(" %", "")
}

fn short(i: &Interval) -> String {
    i.percent_value().replace(" %", "")
}

/// The first cells of the lines of a test set: method, and below the method what tells the set from others of that method.
/// `lines`: of one line, both stand in it.
fn names(split: Origin, method: &str, note: &str, lines: usize) -> impl Iterator<Item = String> {
    let name = format!("{} {method}", split.name());
    let cells = match (lines, note) {
        (1, note) if !note.is_empty() => [format!("{name}, {note}"), String::new()],
        _ => [name, format!("  {note}")],
    };
    cells.into_iter()
}

/// Seen and unseen detection; everything in percent.
pub fn detection(rows: &[DetectionRow]) -> String {
    let mut table = Table::new(&[
        ("detection, %", Left),
        ("", Left),
        ("n", Right),
        ("accuracy [95 %]", Right),
        ("balanced", Right),
        ("AUC [95 %]", Right),
        ("AP", Right),
        ("EER", Right),
    ]);
    for row in rows {
        let changes = row.models.iter().filter(|m| m.change.is_some()).count();
        let mut names = names(row.split, &row.method, &row.note, row.models.len() + changes);
        for m in &row.models {
            let d = &m.figures;
            table.row([
                names.next().unwrap_or_default(),
                m.key.label(),
                (d.real + d.fake).to_string(),
                rate(&d.accuracy),
                short(&d.balanced),
                rate(&d.auc),
                short(&d.ap),
                short(&d.eer),
            ]);
            let Some(c) = &m.change else { continue };
            table.row([
                String::new(),
                "change".to_string(),
                String::new(),
                c.accuracy.points(),
                c.balanced.points_value(),
                c.auc.points(),
                c.ap.points_value(),
                c.eer.points_value(),
            ]);
        }
    }
    table.render()
}

/// Localisation, each model beside the constant map.
pub fn localisation(rows: &[LocalisationRow]) -> String {
    let mut table = Table::new(&[
        ("localisation, %", Left),
        ("", Left),
        ("n", Right),
        ("pixel AUC [95 %]", Right),
        ("IoU 0.5 [95 %]", Right),
        ("best IoU", Right),
        ("energy", Right),
        ("pointing", Right),
    ]);
    for row in rows {
        let mut names = names(row.split, &row.method, &row.note, row.models.len() + row.constant.is_some() as usize);
        let maps = row.constant.iter().map(|l| ("constant".to_string(), l));
        for (map, l) in maps.chain(row.models.iter().map(|m| (m.key.label(), &m.figures))) {
            let cells = [rate(&l.auc), rate(&l.iou_half), short(&l.iou_best), short(&l.energy), short(&l.pointing)];
            table.row([names.next().unwrap_or_default(), map, l.pictures.to_string()].into_iter().chain(cells));
        }
        let differences = row.last().map_or([None, None], |m| [m.gain.as_ref(), m.change.as_ref()]);
        for (kind, l) in ["gain", "change"].into_iter().zip(differences) {
            let Some(l) = l else { continue };
            table.row([String::new(), kind.to_string(), String::new()].into_iter().chain(points(l)));
        }
    }
    table.render()
}

fn points(l: &Localisation) -> [String; 5] {
    [l.auc.points(), l.iou_half.points(), l.iou_best.points_value(), l.energy.points_value(), l.pointing.points_value()]
}

/// Thresholds on validation pictures, and what they are worth in sentences.
pub fn calibration(section: &CalibrationSection) -> String {
    let title = format!("calibration of {}", section.model);
    let mut table =
        Table::new(&[(&title, Left), ("score", Right), ("genuine above [95 %]", Right), ("forged above [95 %]", Right)]);
    let share =
        |s: Share| format!("{}/{}{}", s.count, s.of, s.interval().map_or(String::new(), |i| format!(" {}", i.percent_bounds())));
    for m in section.marks() {
        table.row([m.name, fixed(m.cut.score, 3), share(m.cut.false_alarms), share(m.cut.detected)]);
    }
    let notes = section.figures.lacks().into_iter().map(|l| format!("note: {l}"));
    section.sentences().into_iter().chain(notes).fold(table.render(), |text, s| text + &clean(&s) + "\n")
}

/// What a run prints at its end: notices, both tables, warnings.
pub fn summary(data: &ReportData) -> String {
    let mut parts = Vec::new();
    if !data.notices.is_empty() {
        parts.push(data.notices.iter().map(|n| format!("note: {}\n", clean(n))).collect());
    }
    if !data.detection.is_empty() {
        parts.push(detection(&data.detection));
    }
    if !data.localisation.is_empty() {
        let mut text = localisation(&data.localisation);
        if data.localisation.iter().any(|r| r.constant.is_some()) {
            text.push_str(
                "constant: the mean training mask, which never looks at the picture; gain: the last model minus constant\n",
            );
        }
        parts.push(text);
    }
    parts.extend(data.calibration.as_ref().map(calibration));
    if let Some(full) = &data.full_size {
        let notes: String = full.notes.iter().map(|n| format!("  {}\n", clean(n))).collect();
        let tables = [detection(&full.detection), localisation(&full.localisation)];
        parts.push(format!("photographs at their own size\n{notes}\n{}", tables.join("\n")));
    }
    let warnings = data.warnings();
    if !warnings.is_empty() {
        parts.push(warnings.iter().map(|w| format!("warning: {}\n", clean(w))).collect());
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_on_screen() {
        let mut t = Table::new(&[("set", Left), ("n", Right)]);
        t.row(["画像 seen".to_string(), "7".to_string()]);
        t.row(["ete\u{301}".to_string(), "1234".to_string()]);
        let text = t.render();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["set           n", "画像 seen     7", "ete\u{301}        1234"]);
        assert!(lines.iter().all(|l| width(l) == 15));
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut t = Table::new(&[("set", Left)]);
        t.row(["a\u{1b}[31m\nb".to_string()]);
        assert_eq!(t.render(), "set\na\u{fffd}[31m\u{fffd}b\n");
    }
}
