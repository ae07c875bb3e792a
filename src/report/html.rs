//! `report.html`: one file with everything in it, no script and no request to anywhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::data::{Candidate, DetectionRow, FullSizeSection, Gallery, KeyValue, LocalisationRow, Picture, ReportData};
use crate::metrics::{Change, Detection, Interval, Localisation};

/// The style sheet of the page, put in unescaped: it comes with the program.
const CSS: &str = include_str!("page.css");

/// Pictures narrower than this, in pixels, are enlarged by repeating pixels: a browser would interpolate, and show detail that the
/// picture lacks.
const SMALL_PICTURE: usize = 128;

/// Fewer independent units than this make a bootstrap interval too narrow to lean on.
const FEW_UNITS: usize = 20;

/// The whole page.
pub fn render(data: &ReportData) -> String {
    let title = if data.title.is_empty() { "lae-engine report" } else { &data.title };
    let headline = if data.headline.is_empty() { data.sentences() } else { data.headline.clone() };
    let warnings = data.warnings();
    let sections: Vec<(&str, &str, Markup)> = [
        ("photographs", "Photographs at their own size", data.full_size.as_ref().map(full_size)),
        ("detection", "Real or fake", (!data.detection.is_empty()).then(|| detection(&data.detection))),
        ("localisation", "Where it looks", (!data.localisation.is_empty()).then(|| localisation(&data.localisation, &warnings))),
        ("calibration", "What the scores are worth", data.calibration.as_ref().map(|c| c.html())),
        ("maps", "Heat maps", data.galleries.iter().any(|g| !g.items.is_empty()).then(|| galleries(&data.galleries))),
        ("curves", "Training", (!data.curves.is_empty()).then(|| curves(data))),
        ("candidates", "Pictures chosen for annotation", (!data.candidates.is_empty()).then(|| candidates(data))),
        ("data", "Data", (!data.provenance.is_empty()).then(|| origins(data))),
        ("run", "Run", run(data)),
        ("terms", "What the figures mean", Some(terms(data.calibration.is_some()))),
    ]
    .into_iter()
    .filter_map(|(id, heading, body)| body.map(|b| (id, heading, b)))
    .collect();
    let header = html! {
        (facts(data))
        @if !data.command.is_empty() { p.command { code { (data.command) } } }
    };
    let main = html! {
        (read_first(&data.notices))
        div.outcome {
            div {
                @for sentence in &headline { p.headline { (together(sentence)) } }
                @if data.detection.is_empty() { p.none { "This run has no test figures yet." } }
            }
            @if data.detection.iter().any(|r| !r.models.is_empty()) { (chart::forest(&data.detection)) }
        }
        nav aria-label="Contents" { @for (id, heading, _) in &sections { a href={ "#" (id) } { (heading) } } }
        @for (id, heading, body) in &sections {
            section id=(id) aria-labelledby={ (id) "-h" } { h2 id={ (id) "-h" } { (heading) } (body) }
        }
    };
    let footer = html! { "Made by lae-engine " (data.version) ". The same figures as data: " code { "report.json" } "." };
    page(title, header, main, footer)
}

/// A page of one file: no script, no request to anywhere.
pub fn page(title: &str, header: Markup, main: Markup, footer: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The policy makes the browser refuse any request that the page might make.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(CSS)) }
            }
            body {
                header { h1 { (title) } (header) }
                main { (main) }
                footer { (footer) }
            }
        }
    }
    .into_string()
}

/// What a reader must know before any figure.
pub fn read_first(notices: &[String]) -> Markup {
    html! {
        @if !notices.is_empty() {
            aside.notices aria-label="Read this first" {
                h2 { "⚠ Read this first" }
                ul { @for n in notices { li { (n) } } }
            }
        }
    }
}

/// No line break within a percentage or an interval.
fn together(sentence: &str) -> String {
    let mut inside = false;
    let glued = sentence.chars().map(|c| {
        inside = (inside || c == '[') && c != ']';
        if inside && c == ' ' { '\u{a0}' } else { c }
    });
    glued.collect::<String>().replace(" %", "\u{a0}%")
}

fn facts(data: &ReportData) -> Markup {
    let seed = data.seed.to_string();
    let all = [
        ("Detector", &data.detector),
        ("Task", &data.task),
        ("Preset", &data.preset),
        ("Seed", &seed),
        ("Device", &data.device),
        ("Version", &data.version),
    ];
    html! {
        dl.chips { @for (k, v) in all { @if !v.is_empty() { div { dt { (k) } dd { (v) } } } } }
    }
}

/// A table that scrolls sideways within itself on narrow screens.
pub fn scroll(label: &str, table: Markup) -> Markup {
    html! { div.scroll role="region" tabindex="0" aria-label=(label) { (table) } }
}

fn set_heading(split: &str, method: &str, note: &str, rows: usize) -> Markup {
    html! {
        th.set scope="rowgroup" rowspan=(rows) {
            span.split { (split) } (method)
            @if !note.is_empty() { small { (note) } }
        }
    }
}

fn rate(i: &Interval) -> Markup {
    html! { td { (i.percent_value()) small { (i.percent_bounds()) } } }
}

fn error(i: &Interval) -> Markup {
    let text = i.plain();
    let (value, bounds) = text.split_once(' ').unwrap_or((&text, ""));
    html! { td { (value) small { (bounds) } } }
}

/// A difference in points; coloured, with an arrow, only where the interval excludes zero.
fn points(i: &Interval, higher_is_better: bool) -> Markup {
    difference(i, higher_is_better, i.points_value(), i.points_bounds())
}

fn error_points(i: &Interval) -> Markup {
    let bound = |x: f64| crate::metrics::interval::signed(x, 3);
    difference(i, false, bound(i.value), format!("[{}, {}]", bound(i.lo), bound(i.hi)))
}

fn difference(i: &Interval, higher_is_better: bool, value: String, bounds: String) -> Markup {
    let (class, word, arrow) = match (i.excludes_zero(), (i.value > 0.0) == higher_is_better) {
        (false, _) => (None, "", ""),
        (true, true) => (Some("good"), "better", if i.value > 0.0 { "▲ " } else { "▼ " }),
        (true, false) => (Some("bad"), "worse", if i.value > 0.0 { "▲ " } else { "▼ " }),
    };
    html! {
        td {
            span class=[class] title=[class.map(|_| word)] { (arrow) (value) }
            small { (bounds) }
        }
    }
}

fn detection(rows: &[DetectionRow]) -> Markup {
    let figures = |name: &str, d: &Detection| {
        html! {
            th.stage scope="row" { (name) }
            td { (d.real + d.fake) small { (d.real) " + " (d.fake) } }
            (rate(&d.accuracy)) (rate(&d.recall_real)) (rate(&d.recall_fake)) (rate(&d.balanced))
            (rate(&d.auc)) (rate(&d.ap)) (rate(&d.eer))
        }
    };
    let change = |c: &Change| {
        html! {
            th.stage scope="row" { "change" small { "points" } }
            td {}
            (points(&c.accuracy, true)) (points(&c.recall_real, true)) (points(&c.recall_fake, true)) (points(&c.balanced, true))
            (points(&c.auc, true)) (points(&c.ap, true)) (points(&c.eer, false))
        }
    };
    html! {
        (scroll("Detection figures", html! {
            table {
                thead {
                    tr {
                        th.set scope="col" { "Test set" }
                        th.stage scope="col" { "Model" }
                        th scope="col" { "Pictures" small { "real + fake" } }
                        th scope="col" { "Accuracy" }
                        th scope="col" { "On real" small { "accuracy" } }
                        th scope="col" { "On fake" small { "accuracy" } }
                        th scope="col" { "Balanced" }
                        th scope="col" { "AUC" }
                        th scope="col" { "AP" }
                        th scope="col" { "EER" small { "lower is better" } }
                    }
                }
                @for row in rows {
                    @let lines: Vec<(&str, Markup)> = row.models.iter().flat_map(|m| {
                        let change = m.change.as_ref().map(|c| ("change", change(c)));
                        [("", figures(&m.key.label(), &m.figures))].into_iter().chain(change)
                    }).collect();
                    (group(row.split.name(), &row.method, &row.note, &lines))
                }
            }
        }))
        @for note in detection_notes(rows) { p.note { (note) } }
    }
}

/// The rows of one test set; a set without figures says so.
fn group(split: &str, method: &str, note: &str, lines: &[(&str, Markup)]) -> Markup {
    html! {
        tbody {
            @if lines.is_empty() {
                tr { (set_heading(split, method, note, 1)) td.none colspan="12" { "not evaluated" } }
            }
            @for (i, (class, line)) in lines.iter().enumerate() {
                tr class=[(!class.is_empty()).then_some(class)] {
                    @if i == 0 { (set_heading(split, method, note, lines.len())) }
                    (line)
                }
            }
        }
    }
}

/// Sentences below the table: what its rows lack, and which intervals are too narrow to trust.
fn detection_notes(rows: &[DetectionRow]) -> Vec<String> {
    let mut notes = Vec::new();
    for row in rows {
        let Some(d) = row.last_stages().last().map(|m| &m.figures) else { continue };
        let set = format!("{} ({})", row.split.name(), row.method);
        if !d.by_photograph {
            notes.push(format!(
                "{set}: photographs are not known, so single pictures were resampled; intervals may be too narrow."
            ));
        } else if d.units < FEW_UNITS {
            notes.push(format!("{set}: only {} photographs; intervals are too narrow.", d.units));
        }
        if d.accuracy.value >= 1.0 {
            notes.push(format!(
                "{set}: no wrong verdict, which leaves a bootstrap interval without width. {} independent {} without an error still \
                 allow an error rate of {:.1} % (95 %, rule of three).",
                d.units,
                if d.by_photograph { "photographs" } else { "pictures" },
                (300.0 / d.units as f64).min(100.0)
            ));
        }
        if d.skipped > 0 {
            notes.push(format!("{set}: {} of {} resamples held one class only and were left out.", d.skipped, d.resamples));
        }
    }
    notes
}

fn localisation(rows: &[LocalisationRow], warnings: &[String]) -> Markup {
    let figures = |name: &str, small: &str, l: &Localisation| {
        html! {
            th.stage scope="row" { (name) @if !small.is_empty() { small { (small) } } }
            (rate(&l.auc)) (rate(&l.ap)) (rate(&l.iou_half)) (rate(&l.iou_best)) (rate(&l.energy)) (rate(&l.pointing))
            (error(&l.mae)) (error(&l.mse))
        }
    };
    let differences = |name: &str, l: &Localisation| {
        html! {
            th.stage scope="row" { (name) small { "difference" } }
            (points(&l.auc, true)) (points(&l.ap, true)) (points(&l.iou_half, true)) (points(&l.iou_best, true))
            (points(&l.energy, true)) (points(&l.pointing, true)) (error_points(&l.mae)) (error_points(&l.mse))
        }
    };
    let left_out: usize = rows.iter().filter_map(|r| r.last()).map(|m| m.figures.left_out).sum();
    html! {
        p {
            "The attention map of each fake against its mask. The first line of each set is the " em { "constant map" }
            ": the mean training mask, the same for all pictures. A model that finds forged regions must beat it; "
            "one that has learned where holes usually are need not look at the picture at all."
        }
        @if !warnings.is_empty() {
            div.warning role="note" { @for w in warnings { p { "⚠ " (together(w)) } } }
        }
        (scroll("Localisation figures", html! {
            table {
                thead {
                    tr {
                        th.set scope="col" { "Fakes" }
                        th.stage scope="col" { "Map" }
                        th scope="col" { "Pixel AUC" }
                        th scope="col" { "Pixel AP" }
                        th scope="col" { "IoU at 0.5" }
                        th scope="col" { "Best IoU" }
                        th scope="col" { "Energy in mask" }
                        th scope="col" { "Pointing" }
                        th scope="col" { "MAE" small { "lower is better" } }
                        th scope="col" { "MSE" small { "lower is better" } }
                    }
                }
                @for row in rows {
                    @let constant = row.constant.as_ref().map(|l| ("constant", figures("constant map", "baseline", l)));
                    @let models = row.models.iter().flat_map(|m| {
                        let label = m.key.label();
                        [
                            Some(("", figures(&label, "", &m.figures))),
                            m.gain.as_ref().map(|l| ("change", differences(&format!("{label} − constant"), l))),
                            m.change.as_ref().map(|l| ("change", differences(&format!("{label} − stage before"), l))),
                        ].into_iter().flatten()
                    });
                    @let lines: Vec<(&str, Markup)> = constant.into_iter().chain(models).collect();
                    @let count = row.last().map(|m| &m.figures).or(row.constant.as_ref()).map_or(String::new(), |l| format!("{} fakes", l.pictures));
                    @let note = [count.as_str(), &row.note].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(", ");
                    (group(row.split.name(), &row.method, &note, &lines))
                }
            }
        }))
        @if left_out > 0 { p.note { (left_out) " pictures were left out because their mask covers nothing or everything." } }
    }
}

fn full_size(full: &FullSizeSection) -> Markup {
    html! {
        @for n in &full.notes { p { (together(n)) } }
        (detection(&full.detection))
        @if !full.localisation.is_empty() { (localisation(&full.localisation, &[])) }
    }
}

fn image(p: &Picture) -> Markup {
    html! {
        img class=[(p.width < SMALL_PICTURE).then_some("small")] width=(p.width) height=(p.height) alt=(p.alt)
            src={ "data:image/png;base64," (STANDARD.encode(&p.png)) };
    }
}

/// Pictures with their maps, if they have such.
pub fn galleries(all: &[Gallery]) -> Markup {
    let maps = all.iter().flat_map(|g| &g.items).flat_map(|i| &i.panels).any(|p| p.title.starts_with("Map"));
    html! {
        @if maps { p { "As in Fig. 4 of the paper: where the evidence for \"fake\" lies, over the picture. Each map is stretched from its own lowest to its own highest value, so colours compare places, not pictures." }
            div.scale { "lowest" span role="img" aria-label="Colour scale from blue, lowest, over green to red, highest" {} "highest" }
        }
        @for g in all.iter().filter(|g| !g.items.is_empty()) {
            h3 { (g.heading) }
            div.gallery {
                @for item in &g.items {
                    figure.item {
                        figcaption { (item.name) }
                        div.panels {
                            @for p in &item.panels {
                                figure { (image(&p.picture)) figcaption { (p.title) @if !p.note.is_empty() { small { (p.note) } } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn curves(data: &ReportData) -> Markup {
    html! { div.charts { @for c in &data.curves { (chart::lines(c)) } } }
}

fn candidates(data: &ReportData) -> Markup {
    let caption = |k: usize, c: &Candidate| {
        html! { "No. " (k + 1) @if let Some(s) = c.score { small { "score " (format!("{s:.3}")) } } @if !c.mask.is_empty() { small { (c.mask) } } }
    };
    html! {
        @if !data.candidates_note.is_empty() { p { (data.candidates_note) } }
        div.thumbs {
            @for (k, c) in data.candidates.iter().enumerate() {
                figure title=(c.name) { (image(&c.picture)) figcaption { (caption(k, c)) } }
            }
        }
    }
}

/// Where pictures and masks came from.
fn origins(data: &ReportData) -> Markup {
    let table = || {
        html! {
            table {
                thead { tr { th scope="col" { "Masks of" } th scope="col" { "made by" } th.n scope="col" { "number" } th scope="col" { "" } } }
                tbody { @for r in &data.masks { tr { th scope="row" { (r.of) } td { (r.origin) } td.n { (r.count) } td { (r.note) } } } }
            }
        }
    };
    html! {
        (pairs(&data.provenance, "Where the data came from"))
        @if !data.masks.is_empty() { h3 { "Who made the masks" } (scroll("Who made the masks", table())) }
    }
}

/// A table of two columns.
pub fn pairs(rows: &[KeyValue], label: &str) -> Markup {
    scroll(label, html! { table.pairs { tbody { @for r in rows { tr { th scope="row" { (r.key) } td { (r.value) } } } } } })
}

fn run(data: &ReportData) -> Option<Markup> {
    let part = |heading: &str, rows: &[KeyValue]| {
        html! { @if !rows.is_empty() { div { h3 { (heading) } (pairs(rows, heading)) } } }
    };
    let any = !(data.timings.is_empty() && data.parameters.is_empty() && data.config.is_empty());
    any.then(|| {
        html! {
            div.two { (part("Time", &data.timings)) (part("Parameters", &data.parameters)) }
            @if !data.config.is_empty() {
                details {
                    summary { "Configuration, resolved (" (data.config.len()) " keys)" }
                    div.mono { (pairs(&data.config, "Configuration")) }
                }
            }
        }
    })
}

fn terms(calibrated: bool) -> Markup {
    let p_fake = "Activity of the \"fake\" half over the sum of both. Not a calibrated probability";
    let p_fake = if calibrated { format!("{p_fake}, except where the page says so.") } else { format!("{p_fake}.") };
    let all = [
        (
            "Seen, unseen",
            "Seen: fakes by the forger whose fakes were in the training set. Unseen: by forgers that training never used.",
        ),
        (
            "Accuracy",
            "Share of right verdicts. A picture is called real if the \"true\" half of the latent code is more active than the \"fake\" half; a tie is fake.",
        ),
        ("Balanced", "Mean of the accuracies on real and on fake pictures: 50 % is guessing, whatever the mixture."),
        ("AUC", "Chance that a random fake scores higher than a random real picture, ties half. 50 % is guessing."),
        ("AP", "Average precision: area under the precision-recall curve in steps. Guessing gives the share of fakes."),
        ("EER", "Equal error rate: the false alarm rate where it is nearest to the miss rate."),
        (
            "[ , ]",
            "95 % interval: 2.5 and 97.5 percentiles over seeded resamples of whole photographs (or of pictures where photographs are not known). A change is resampled in pairs: both models on the same pictures. Coloured with an arrow where the interval excludes zero. It covers the choice of test pictures, not of the training seed.",
        ),
        ("p_fake", p_fake.as_str()),
        (
            "Pixel AUC, pixel AP",
            "The same two figures over the pixels of one fake, forged against untouched; mean over pictures.",
        ),
        (
            "IoU at 0.5, best IoU",
            "Overlap over union of the mask and the map, stretched to 0…1, cut at 0.5; best: at the best cut of each picture, an upper bound that knows the answer.",
        ),
        ("Energy in mask", "Share of the positive part of the map that lies in the mask."),
        ("Pointing", "Share of fakes whose highest map value lies in the mask."),
        ("MAE, MSE", "Mean absolute and squared difference of map and mask, as in eq. (9) of the paper."),
    ];
    html! {
        details {
            summary { "Definitions" }
            dl.terms { @for (term, meaning) in all { dt { (term) } dd { (meaning) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_not_torn_apart() {
        assert_eq!(together("is 5.0 % [4.0, 6.0] of all [1, 2]."), "is 5.0\u{a0}% [4.0,\u{a0}6.0] of all [1,\u{a0}2].");
    }

    #[test]
    fn only_what_excludes_zero_is_called_better_or_worse() {
        let cell = |value: f64, lo, hi, up| points(&Interval { value, lo, hi }, up).into_string();
        assert!(cell(0.1, 0.05, 0.2, true).contains("\"good\"") && cell(0.1, 0.05, 0.2, true).contains("▲ +10.0"));
        assert!(cell(-0.1, -0.2, -0.05, false).contains("\"good\"") && cell(-0.1, -0.2, -0.05, true).contains("\"bad\""));
        let unclear = cell(0.1, -0.05, 0.2, true);
        assert!(!unclear.contains("class") && !unclear.contains('▲'));
    }
}
