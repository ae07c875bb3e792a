//! The part of a report that says what a score is worth: thresholds, false alarms, and whether `p_fake` means what it says.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::metrics::Calibration;
use crate::metrics::calibration::{Cut, How, Probability, Share};
use crate::metrics::interval::fixed;
use crate::metrics::reliability::Bin;

/// A calibration and what it was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationSection {
    /// Whose scores: `lae, stage 2`.
    pub model: String,
    /// What was scored, to go on with after "from": `40 photographs at their own size, each genuine and forged in 12 ways`.
    pub pictures: String,
    pub figures: Calibration,
}

/// One line of the table of marks.
pub(super) struct Mark {
    pub(super) name: String,
    note: String,
    pub(super) cut: Cut,
}

impl CalibrationSection {
    /// The thresholds, then the marks of the three verdicts.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let c = &self.figures;
        let how = |h: How| match h {
            How::Empirical => "by rank among genuine pictures",
            How::Tolerance => "by mean and deviation of genuine pictures",
        };
        let threshold = |t: &crate::metrics::calibration::Threshold| Mark {
            name: format!("{} false alarms", t.percent()),
            note: how(t.how).into(),
            cut: t.cut,
        };
        let mark = |name: &str, note: &str, cut: Cut| Mark { name: name.into(), note: note.into(), cut };
        vec![
            threshold(&c.at_1),
            threshold(&c.at_5),
            mark("called fake", "from here on", c.fake_from),
            mark("no sign found", "below; inconclusive between", c.genuine_below),
        ]
    }

    /// The errors of calibration in words; none without a probability.
    fn error(&self) -> Option<String> {
        let c = &self.figures;
        let points = |e: f64| format!("{} points", fixed(100.0 * e, 1));
        let before = c.ece_before.map_or(String::new(), |e| format!(" (before: {})", points(e)));
        Some(format!("p_fake is off by {} on average{before}.", points(c.ece?)))
    }

    /// What a reader is told first.
    pub(super) fn sentences(&self) -> Vec<String> {
        let c = &self.figures;
        let mut out = vec![format!("From {}.", self.pictures)];
        out.push(format!("A picture is called fake from {} on: {}.", fixed(c.fake_from.score, 3), c.fake_from.sentence()));
        out.extend(self.error());
        out
    }

    /// For the page.
    pub(super) fn html(&self) -> Markup {
        let c = &self.figures;
        let share = |s: Share| {
            html! {
                td {
                    (s.count) " of " (s.of)
                    @if let Some(i) = s.interval() { small { (i.percent_value()) " " (i.percent_bounds()) } }
                }
            }
        };
        html! {
            @for s in self.sentences() { p { (s) } }
            @if !c.lacks().is_empty() {
                div.warning role="note" { @for l in c.lacks() { p { "⚠ " (l) "." } } }
            }
            div.charts {
                @if !c.bins.is_empty() { (plot(&c.bins, &c.bins_before)) }
                div.scroll role="region" tabindex="0" aria-label="Thresholds on validation pictures" {
                    table {
                        thead {
                            tr {
                                th.stage scope="col" { (self.model) small { "on its validation pictures" } }
                                th scope="col" { "Score" }
                                th scope="col" { "Genuine above" small { "false alarms" } }
                                th scope="col" { "Forged above" small { "detected" } }
                            }
                        }
                        tbody {
                            @for m in self.marks() {
                                tr {
                                    th.stage scope="row" { (m.name) small { (m.note) } }
                                    td { (fixed(m.cut.score, 3)) }
                                    (share(m.cut.false_alarms)) (share(m.cut.detected))
                                }
                            }
                        }
                    }
                }
            }
            @if let Probability::Platt(curve) = c.probability {
                p.note {
                    "p_fake = 1 / (1 + exp(−(" (fixed(curve.a, 4)) " · score " @if curve.b < 0.0 { "− " } @else { "+ " }
                    (fixed(curve.b.abs(), 4)) "))), for a picture that is as likely forged as genuine beforehand."
                }
            }
        }
    }
}

const W: f64 = 480.0;
const H: f64 = 400.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 38.0;

/// Reliability: share of fakes over probability, the diagonal, and how many pictures stand behind each point.
fn plot(after: &[Bin], before: &[Bin]) -> Markup {
    // Tenths of a pixel: more digits show nothing.
    let px = |v: f64| ((LEFT + v * (W - LEFT - RIGHT)) * 10.0).round() / 10.0;
    let py = |v: f64| ((H - BOTTOM - v * (H - TOP - BOTTOM)) * 10.0).round() / 10.0;
    let most = after.iter().chain(before).map(|b| b.genuine + b.forged).max().unwrap_or(1) as f64;
    let radius = |b: &Bin| ((2.5 + 4.5 * ((b.genuine + b.forged) as f64 / most).sqrt()) * 10.0).round() / 10.0;
    let path = |bins: &[Bin]| bins.iter().map(|b| format!("{},{}", px(b.p), py(b.share.value))).collect::<Vec<_>>().join(" ");
    let said: Vec<String> = after.iter().map(|b| format!("at {} %: {}", fixed(100.0 * b.p, 0), b.share.percent())).collect();
    let told = |b: &Bin| {
        format!("p_fake {}: {} forged, {} genuine; forged, weighed: {}", fixed(b.p, 2), b.forged, b.genuine, b.share.percent())
    };
    html! {
        figure.chart {
            figcaption.chart-title { "Does p_fake mean what it says?" }
            ul.legend {
                li { (key(false)) "calibrated, each picture by a curve fitted to others" }
                @if !before.is_empty() { li { (key(true)) "as the model said it" } }
            }
            svg.plot viewBox={ "0 0 " (W) " " (H) } role="img"
                aria-label={ "Share of forged pictures by p_fake: " (said.join("; ")) "." } {
                @for t in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line.gridline x1=(LEFT) x2=(W - RIGHT) y1=(py(t)) y2=(py(t)) {}
                    line.gridline x1=(px(t)) x2=(px(t)) y1=(TOP) y2=(H - BOTTOM) {}
                    text.tick x=(LEFT - 6.0) y=(py(t) + 4.0) text-anchor="end" { (fixed(100.0 * t, 0)) " %" }
                    text.tick x=(px(t)) y=(H - BOTTOM + 17.0) text-anchor="middle" { (fixed(100.0 * t, 0)) " %" }
                }
                line.chance x1=(px(0.0)) y1=(py(0.0)) x2=(px(1.0)) y2=(py(1.0)) {}
                text.axis-label x=(W - RIGHT) y=(H - 4.0) text-anchor="end" { "p_fake" }
                text.axis-label x="0" y="12" { "forged" }
                @for (class, bins) in [("s1", before), ("s0", after)] {
                    polyline class={ "line raw " (class) } points=(path(bins)) {}
                    @for b in bins {
                        line class={ "line " (class) (if class == "s1" { " raw" } else { "" }) }
                            x1=(px(b.p)) x2=(px(b.p)) y1=(py(b.share.lo)) y2=(py(b.share.hi)) {}
                        circle class={ "dot " (class) (if class == "s1" { " hollow" } else { "" }) }
                            cx=(px(b.p)) cy=(py(b.share.value)) r=(radius(b)) { title { (told(b)) } }
                    }
                }
            }
            p.note {
                "On the dashed line a probability means what it says; below it, it says too much. Bars: 95 % intervals. "
                "The larger a point, the more pictures. Genuine and forged pictures weigh the same in total."
            }
        }
    }
}

fn key(before: bool) -> Markup {
    let class = if before { "dot hollow s1" } else { "dot s0" };
    html! { svg viewBox="0 0 26 10" aria-hidden="true" { circle class=(class) cx="13" cy="5" r="4" {} } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table;

    fn section(forged: usize) -> CalibrationSection {
        let scores: Vec<(f64, bool)> =
            (0..60).map(|i| (i as f64 / 10.0, false)).chain((0..forged).map(|i| (3.0 + i as f64 / 10.0, true))).collect();
        let mut figures = Calibration::fit(&scores).unwrap();
        let before: Vec<(f64, bool)> = scores.iter().map(|s| ((s.0 / 20.0).min(1.0), s.1)).collect();
        figures.compare_with(&before).unwrap();
        CalibrationSection { model: "lae, stage 2".into(), pictures: "60 photographs".into(), figures }
    }

    #[test]
    fn both_classes_have_a_plot_with_a_point_for_each_bin() {
        let s = section(120);
        let page = s.html().into_string();
        assert_eq!(page.matches("<title>").count(), s.figures.bins.len() + s.figures.bins_before.len());
        assert!(!page.contains("NaN") && page.contains("p_fake is off by") && page.contains("(before: "), "{page}");
        assert!(page.contains("of 60 genuine validation pictures") && page.contains("⚠ 60 genuine validation pictures are few"));
        let text = table::calibration(&s);
        assert!(text.starts_with("calibration of lae, stage 2") && text.contains("5 % false alarms"), "{text}");
        assert!(text.lines().all(|l| l.len() < 300) && text.contains("note: 60 genuine"), "{text}");
    }

    #[test]
    fn genuine_pictures_alone_have_thresholds_and_no_plot() {
        let s = section(0);
        let page = s.html().into_string();
        assert!(!page.contains("<svg") && page.contains("p_fake is not calibrated") && !page.contains("off by"), "{page}");
        assert!(table::calibration(&s).contains("0/0\n"), "{}", table::calibration(&s));
    }
}
