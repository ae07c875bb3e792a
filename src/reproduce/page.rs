//! What a reproduction shows: one page, the same as JSON and CSV, and as text.

use std::path::Path;

use maud::{Markup, html};
use serde::Serialize;

use super::arms::Trace;
use super::cells::{Cell, Figure, Outcome, Runs, Set};
use super::claims::{Claim, Verdict, claims};
use super::copies::TRACED;
use super::gains::gains;
use super::options::Options;
use super::paper;
use super::pictures::Pictures;
use super::plan::{FIRST, Part, Row, annotated};
use crate::core::file::write_whole;
use crate::error::{Error, Result};
use crate::metrics::Interval;
use crate::metrics::interval::fixed;
use crate::report::data::duration;
use crate::report::table::{Align, Table};
use crate::report::{Chart, Series, chart, html as report};

/// A table of the paper with our figures.
#[derive(Serialize)]
pub struct Filled {
    #[serde(skip)]
    pub part: Part,
    pub name: String,
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<FilledRow>,
    /// What the paper's two columns are.
    pub paper_columns: [&'static str; 2],
}

#[derive(Serialize)]
pub struct FilledRow {
    pub label: String,
    pub job: String,
    pub cells: Vec<Figure>,
    /// Per cent, on other pictures.
    pub paper: Option<[f64; 2]>,
}

/// Everything that is shown.
#[derive(Serialize)]
pub struct Shown {
    pub title: String,
    pub version: &'static str,
    pub command: String,
    pub scale: &'static str,
    pub task: String,
    /// Runs that are there, and that there will be.
    pub done: u64,
    pub total: u64,
    pub notices: Vec<String>,
    pub tables: Vec<Filled>,
    pub maps: Vec<Filled>,
    pub linear: Vec<(String, Figure)>,
    pub claims: Vec<Claim>,
    /// What the trainings against a trace gain over the paper's.
    pub gains: Vec<Claim>,
    pub cells: Vec<Cell>,
    #[serde(skip)]
    pub figure5: Option<Chart>,
    pub pictures: Option<Pictures>,
}

const TITLES: [(Part, &str, [&str; 2]); 5] = [
    (Part::Table3, "Accuracy of all methods", ["G&L (seen)", "ContextAtten (unseen)"]),
    (Part::Table4, "What each loss gives", ["Face2face (seen)", "FaceSwap (unseen)"]),
    (Part::Table5, "Weights of the reconstruction losses, no attention loss", ["Face2face (seen)", "FaceSwap (unseen)"]),
    (Part::Table6, "Weights of stage 2", ["Face2face (seen)", "FaceSwap (unseen)"]),
    (Part::Figure5, "Active and random choice of annotated pictures", ["", ""]),
];

impl Shown {
    pub fn new(o: &Options, runs: &Runs, done: u64, total: u64, pictures: Option<Pictures>) -> Shown {
        let plan = &o.plan;
        let mut sets = vec![Set::Seen];
        let unseen = runs.unseen();
        sets.extend(unseen.iter().cloned().map(Set::Unseen));
        if unseen.len() > 1 {
            sets.push(Set::AllUnseen);
        }
        let columns: Vec<String> = sets
            .iter()
            .map(|s| match s {
                Set::Seen => format!("seen: {}", runs.seen().unwrap_or("")),
                s => s.name(),
            })
            .collect();
        let parts = || TITLES.iter().filter(|t| plan.parts.contains(&t.0));
        let fill = |rows: Vec<Row>, of: &dyn Fn(&Outcome, &Set) -> Option<Interval>| -> Vec<FilledRow> {
            let cells = |job: &str| sets.iter().map(|s| runs.figure(job, |o| of(o, s))).collect();
            rows.into_iter().map(|r| FilledRow { cells: cells(&r.job), label: r.label, job: r.job, paper: r.paper }).collect()
        };
        let table = |part: Part, title: &str, paper_columns, rows| Filled {
            part,
            name: part.name(),
            title: title.into(),
            columns: columns.clone(),
            rows,
            paper_columns,
        };
        let of_paper =
            parts().map(|&(part, title, paper)| table(part, title, paper, fill(plan.rows(part), &|o, s| o.accuracy(s))));
        let tables = of_paper.chain(shortcuts(o, runs)).filter(|t| !t.rows.is_empty()).collect();
        // Maps: of every method of Table 3 that has one, and of stage 1.
        let mut rows: Vec<Row> = plan.rows(Part::Table3).into_iter().map(|r| Row { paper: None, ..r }).collect();
        if plan.detectors.contains(&"lae") {
            rows.push(Row { label: "stage 1 of the LAE".into(), job: FIRST.into(), paper: None });
        }
        let traces = plan.traces.iter().filter(|_| plan.parts.contains(&Part::Shortcut));
        for row in traces.flat_map(|trace| plan.arms(trace)) {
            if rows.iter().all(|r| r.job != row.job) {
                rows.push(row);
            }
        }
        let mut maps: Vec<FilledRow> = fill(rows, &|o, s| o.iou(s, false));
        maps.retain(|r| r.cells.iter().any(|c| c.mean.is_some()));
        if let Some(job) = maps.first().map(|r| r.job.clone()) {
            let cells = sets.iter().map(|s| runs.figure(&job, |o| o.iou(s, true))).collect();
            maps.insert(0, FilledRow { label: "constant map".into(), job, cells, paper: None });
        }
        let maps = match maps.is_empty() {
            true => vec![],
            false => {
                let title = "IoU at 0.5 of the map with the forged region";
                vec![Filled { name: "Maps".into(), ..table(Part::Table3, title, ["", ""], maps) }]
            }
        };
        let linear = plan
            .scale
            .annotations()
            .map(|n| (format!("LAE_{n}"), runs.figure(&annotated(n, false), |o| o.linear.map(Interval::point))));
        let mut notices: Vec<String> = Vec::new();
        if done < total {
            notices.push(format!("{done} of {total} runs are there: the others are missing in what follows"));
        }
        if o.plan.scale.name() == "smoke" {
            notices
                .push("scale smoke: trainings of seconds, which show that everything works; their figures mean nothing".into());
        }
        for notice in runs.0.iter().flat_map(|r| &r.notices) {
            if !notices.contains(notice) {
                notices.push(notice.clone());
            }
        }
        let failed =
            runs.0.iter().filter_map(|r| Some(format!("{}, seed {}: {}", r.cell.job, r.cell.seed, r.cell.failed.as_ref()?)));
        notices.extend(failed);
        Shown {
            title: format!("lae-engine reproduce: {}, {}", o.plan.task.name(), o.plan.scale.name()),
            version: env!("CARGO_PKG_VERSION"),
            command: o.command.clone(),
            scale: o.plan.scale.name(),
            task: o.plan.task.name().into(),
            done,
            total,
            notices,
            tables,
            maps,
            linear: linear.into_iter().filter(|l| l.1.mean.is_some()).collect(),
            claims: claims(plan, runs),
            gains: gains(plan, runs),
            cells: runs.0.iter().map(|r| r.cell.clone()).collect(),
            figure5: plan.parts.contains(&Part::Figure5).then(|| figure5(o, runs)),
            pictures,
        }
    }
}

/// A table for each trace: every arm on pictures with and without it, from the runs that were judged by them.
fn shortcuts(o: &Options, runs: &Runs) -> Vec<Filled> {
    let one = |trace: &Trace| {
        let first = runs.0.iter().map(|r| r.copies(trace.name)).find(|c| !c.is_empty());
        let columns: Vec<String> = first.map_or(vec![TRACED.into()], |c| c.iter().map(|c| c.name.clone()).collect());
        let value = |r: &Outcome, name: &str| r.copies(trace.name).iter().find(|c| c.name == name).map(|c| c.value);
        let cells = |job: &str| columns.iter().map(|name| runs.figure(job, |r| value(r, name))).collect();
        let rows = o.plan.arms(trace).into_iter();
        Filled {
            part: Part::Shortcut,
            name: format!("{}, {}", Part::Shortcut.name(), trace.name),
            title: "Trainings on fakes that carry a trace, and what is done about it; shares of the test pictures".into(),
            rows: rows.map(|r| FilledRow { cells: cells(&r.job), label: r.label, job: r.job, paper: r.paper }).collect(),
            columns,
            paper_columns: ["", ""],
        }
    };
    o.plan.traces.iter().filter(|_| o.plan.parts.contains(&Part::Shortcut)).map(one).collect()
}

/// Accuracy on unseen pictures over the number of annotations.
fn figure5(o: &Options, runs: &Runs) -> Chart {
    let value = |job: &str| runs.figure(job, |o| o.accuracy(&Set::AllUnseen)).mean.map(|i| 100.0 * i.value);
    let line = |name: &str, random: bool| {
        let counts = o.plan.scale.annotations();
        let points = counts.iter().map(|&n| (n as f64, value(&annotated(n, random))));
        let all = [(0.0, value(FIRST))].into_iter().chain(points).filter_map(|(n, v)| Some((n, v?)));
        Series::from_points(name, all)
    };
    Chart {
        title: "Figure 5: accuracy on unseen forgers, mean over them and over seeds".into(),
        x_label: "annotated pictures".into(),
        y_label: "accuracy, %".into(),
        log_y: false,
        note: "Intervals stand in the table.".into(),
        series: vec![line("active", false), line("random", true)],
    }
}

/// Write the page, and the same as JSON and CSV.
pub fn save(out: &Path, shown: &Shown) -> Result<()> {
    let json = out.join("reproduce.json");
    write_whole(&json, &serde_json::to_vec(shown).map_err(|e| Error::data(&json, e))?)?;
    write_whole(out.join("reproduce.csv"), csv(shown).as_bytes())?;
    write_whole(out.join("reproduce.html"), page(shown).as_bytes())
}

/// One line for each cell: table, row, job, column, mean, lower, upper, number of seeds, values, failures, the paper's two figures.
fn csv(shown: &Shown) -> String {
    let quoted = |s: &str| format!("\"{}\"", s.replace('"', "\"\""));
    let mut text = String::from("table,row,job,column,mean,lower,upper,seeds,values,failed,paper_seen,paper_unseen\n");
    for t in shown.tables.iter().chain(&shown.maps) {
        for row in &t.rows {
            for (column, f) in t.columns.iter().zip(&row.cells) {
                let number = |v: Option<f64>| v.map_or(String::new(), |v| format!("{v:.6}"));
                let values = f.seeds.iter().map(|s| format!("{:.6}", s.1)).collect::<Vec<_>>().join(" ");
                let paper = |i: usize| row.paper.map_or(String::new(), |p| p[i].to_string());
                let fields = [
                    quoted(&t.name),
                    quoted(&row.label),
                    quoted(&row.job),
                    quoted(column),
                    number(f.mean.map(|i| i.value)),
                    number(f.mean.map(|i| i.lo)),
                    number(f.mean.map(|i| i.hi)),
                    f.seeds.len().to_string(),
                    quoted(&values),
                    f.failed.len().to_string(),
                    paper(0),
                    paper(1),
                ];
                text += &(fields.join(",") + "\n");
            }
        }
    }
    text
}

/// The tables for a terminal.
pub fn text(shown: &Shown) -> String {
    let mut out = String::new();
    for t in shown.tables.iter().chain(&shown.maps) {
        let with_paper = t.rows.iter().any(|r| r.paper.is_some());
        let mut columns: Vec<(&str, Align)> = vec![("", Align::Left)];
        columns.extend(t.columns.iter().map(|c| (c.as_str(), Align::Right)));
        if with_paper {
            columns.extend([("paper's seen", Align::Right), ("unseen (other data)", Align::Right)]);
        }
        let mut table = Table::new(&columns);
        for row in &t.rows {
            let paper = row.paper.map_or([String::new(), String::new()], |p| p.map(|v| fixed(v, 1)));
            let cells = row.cells.iter().map(Figure::text);
            table.row([row.label.clone()].into_iter().chain(cells).chain(paper.into_iter().take(if with_paper { 2 } else { 0 })));
        }
        out += &format!("{}: {}\n{}\n", t.name, t.title, table.render());
    }
    for c in shown.claims.iter().chain(&shown.gains) {
        out += &format!("{}: {}\n    {}\n", c.verdict.words(), c.claim, c.because);
    }
    out
}

fn cell(f: &Figure) -> Markup {
    let text = f.text();
    let (value, bounds) = text.split_once(" [").map_or((text.as_str(), None), |(v, b)| (v, Some(b)));
    let seeds: Vec<String> = f.seeds.iter().map(|(s, v)| format!("seed {s}: {} %", fixed(100.0 * v, 1))).collect();
    html! { td title=(seeds.join(", ")) { (value) @if let Some(b) = bounds { small { "[" (b) } } } }
}

fn table(t: &Filled) -> Markup {
    let with_paper = t.rows.iter().any(|r| r.paper.is_some());
    html! {
        (report::scroll(&t.title, html! {
            table {
                thead { tr {
                    th.set scope="col" { "" }
                    @for c in &t.columns { th scope="col" { (c) } }
                    @if with_paper { @for c in t.paper_columns { th scope="col" { "paper: " (c) small { "other pictures" } } } }
                } }
                tbody {
                    @for row in &t.rows {
                        tr {
                            th.set scope="row" { (row.label) small { (row.job) } }
                            @for f in &row.cells { (cell(f)) }
                            @if with_paper {
                                @match row.paper {
                                    Some(p) => { @for v in p { td.none { (fixed(v, 2)) " %" } } }
                                    None => { td {} td {} }
                                }
                            }
                        }
                    }
                }
            }
        }))
    }
}

/// Means and intervals of a table, a row for each method, a mark for seen and unseen pictures.
fn intervals(t: &Filled) -> Markup {
    const W: f64 = 760.0;
    const LEFT: f64 = 200.0;
    const RIGHT: f64 = 20.0;
    const STEP: f64 = 26.0;
    let other = if t.part == Part::Shortcut { 1 } else { t.columns.len() - 1 };
    let marks: Vec<usize> = [0].into_iter().chain((t.columns.len() > 1).then_some(other)).collect();
    let bottom = 10.0 + STEP * t.rows.len() as f64;
    let x = |v: f64| fixed(LEFT + v.clamp(0.0, 1.0) * (W - LEFT - RIGHT), 1);
    html! {
        figure.chart {
            svg.plot viewBox={ "0 0 " (W) " " (bottom + 24.0) } role="img" aria-label={ (t.title) ": means and intervals; the same figures stand in the table" } {
                @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
                    line class=(if tick == 0.5 { "chance" } else { "gridline" }) x1=(x(tick)) x2=(x(tick)) y1="0" y2=(bottom) {}
                    text.tick x=(x(tick)) y=(bottom + 16.0) text-anchor="middle" { (fixed(100.0 * tick, 0)) @if tick == 0.5 { " = guess" } }
                }
                @for (i, row) in t.rows.iter().enumerate() {
                    text.tick x=(LEFT - 8.0) y=(10.0 + STEP * i as f64 + 12.0) text-anchor="end" { (row.label) }
                    @for (k, &m) in marks.iter().enumerate() {
                        @if let Some(i95) = row.cells.get(m).and_then(|c| c.mean) {
                            @let y = 10.0 + STEP * i as f64 + 5.0 + 7.0 * k as f64;
                            line class={ "line s" (k) } x1=(x(i95.lo)) x2=(x(i95.hi)) y1=(y) y2=(y) {}
                            circle class={ "dot s" (k) } cx=(x(i95.value)) cy=(y) r="4" {}
                        }
                    }
                }
            }
            ul.legend { @for (k, &m) in marks.iter().enumerate() { li {
                svg viewBox="0 0 26 10" aria-hidden="true" { line class={ "line s" (k) } x1="0" y1="5" x2="26" y2="5" {} circle class={ "dot s" (k) } cx="13" cy="5" r="4" {} }
                (t.columns[m])
            } } }
        }
    }
}

fn page(shown: &Shown) -> String {
    let verdict = |c: &Claim| match c.verdict {
        Verdict::Holds => html! { span.good { "✓ " (c.verdict.words()) } },
        Verdict::DoesNot => html! { span.bad { "✗ " (c.verdict.words()) } },
        Verdict::NotResolved => html! { (c.verdict.words()) },
    };
    let body = html! {
        (report::read_first(&shown.notices))
        @for (title, claims) in [("What the paper claims", &shown.claims), ("Against the paper's training", &shown.gains)] {
            @if !claims.is_empty() {
                section {
                    h2 { (title) }
                    p { "Each claim against these runs. What differs between runs has an interval from two seeds on; with one it resolves nothing." }
                    (report::scroll("Claims", html! { table.pairs { tbody {
                        @for c in claims { tr { th scope="row" { (c.claim) } td { (verdict(c)) small { (c.because) } } } }
                    } } }))
                }
            }
        }
        @for t in &shown.tables {
            section {
                h2 { (t.name) ": " (t.title) }
                @if t.part == Part::Figure5 { @if let Some(c) = &shown.figure5 { div.charts { (chart::lines(c)) } } }
                @if t.part != Part::Figure5 { (intervals(t)) }
                (table(t))
                @if t.rows.iter().any(|r| r.paper.is_some()) {
                    p.note { "Accuracy of the method's own decisions. The paper's figures are of other pictures and other forgers: they are to be compared by their order." }
                }
            }
        }
        @for t in &shown.maps { section { h2 { (t.name) ": " (t.title) } (table(t)) } }
        @if !shown.linear.is_empty() {
            section {
                h2 { "The linear concept model" }
                p { "Share of the training pictures that it gets right; the paper prints " (fixed(paper::LINEAR, 2)) " % on held-out pictures of other data." }
                (report::scroll("Linear model", html! { table { tbody { @for (name, f) in &shown.linear { tr { th.set scope="row" { (name) } (cell(f)) } } } } }))
            }
        }
        @if let Some(p) = &shown.pictures { (p.html()) }
        section {
            h2 { "Runs" }
            p { "Each by the command that makes it alone, from the folder where this one was given." }
            details {
                summary { (shown.cells.len()) " runs, " (duration(shown.cells.iter().map(|c| c.seconds).sum())) " of work, shared first stages counted in each" }
                (report::scroll("Runs", html! { table.pairs { tbody {
                    @for c in &shown.cells {
                        tr {
                            th scope="row" { (c.job) ", seed " (c.seed) small { (duration(c.seconds)) ", " (c.device) } }
                            td.mono { (c.command) small { "config " (c.config) @if let Some(d) = &c.data { ", data " (d) } @if let Some(f) = &c.failed { ", " (f) } } }
                        }
                    }
                } } }))
            }
        }
    };
    let header = html! {
        p.command { code { (shown.command) } }
        p { (shown.done) " of " (shown.total) " runs." }
    };
    let footer = html! {
        "Made by lae-engine " (shown.version) ". The same figures as data: " code { "reproduce.json" } ", " code { "reproduce.csv" } "."
    };
    report::page(&shown.title, header, body, footer)
}
