//! Charts as inline SVG: lines over steps, and accuracies with their intervals.
//!
//! Colours are classes (`s0`…), defined by the page for light and dark; lines differ by dashes too.

use maud::{Markup, html};

use super::data::{Chart, DetectionRow, ModelKey, Series};
use crate::metrics::{Interval, interval::fixed};

/// Colours that the page defines; a chart with more lines uses them again with other dashes.
pub const COLOURS: usize = 6;
const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

const W: f64 = 480.0;
const H: f64 = 260.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 38.0;

/// Most points of one line that are drawn: more cannot be told apart on screen.
const BUCKETS: usize = 240;

/// A number axis.
#[derive(Clone, Debug, PartialEq)]
struct Axis {
    lo: f64,
    hi: f64,
    log: bool,
    /// Between ticks; not used if `log`.
    step: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// Ends on round numbers (linear), or on the data (logarithmic). `lo <= hi`, finite; positive if `log`.
    fn new(lo: f64, hi: f64, log: bool, wanted: usize) -> Axis {
        if log {
            // One decade at least, so that there is something to read.
            let (lo, hi) = if hi / lo < 10.0 { (lo / 10f64.sqrt(), hi * 10f64.sqrt()) } else { (lo, hi) };
            let decades = (lo.log10().floor() as i32)..=(hi.log10().ceil() as i32);
            let factors: &[f64] = if hi / lo < 200.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let every = ((hi / lo).log10() / (wanted + 2) as f64).ceil().max(1.0) as i32;
            let ticks = decades
                .filter(|d| factors.len() > 1 || d.rem_euclid(every) == 0)
                .flat_map(|d| factors.iter().map(move |f| f * 10f64.powi(d)))
                .filter(|t| (lo * (1.0 - 1e-9)..=hi * (1.0 + 1e-9)).contains(t))
                .collect();
            return Axis { lo, hi, log, step: 1.0, ticks };
        }
        let pad = if lo == 0.0 { 0.5 } else { 0.1 * lo.abs() };
        // A range that rounding alone could make counts as flat.
        let (lo, hi) = if hi - lo > 1e-9 * lo.abs().max(hi.abs()) { (lo, hi) } else { (lo - pad, hi + pad) };
        let step = round_step((hi - lo) / wanted as f64);
        let (first, last) = ((lo / step).floor() as i64, (hi / step).ceil() as i64);
        Axis {
            lo: first as f64 * step,
            hi: last as f64 * step,
            log,
            step,
            ticks: (first..=last).map(|k| k as f64 * step).collect(),
        }
    }

    /// Position of a value, 0 at `lo`, 1 at `hi`.
    fn at(&self, v: f64) -> f64 {
        match self.log {
            true => (v / self.lo).ln() / (self.hi / self.lo).ln(),
            false => (v - self.lo) / (self.hi - self.lo),
        }
    }

    /// As many decimals as it takes to tell neighbouring ticks apart.
    fn label(&self, v: f64) -> String {
        let a = v.abs();
        let (unit, suffix) = if a >= 1000.0 { (1000.0, "k") } else { (1.0, "") };
        let gap = if self.log { a } else { self.step };
        if a < gap * 1e-6 {
            // The zero tick may be off by rounding.
            return "0".to_string();
        }
        if !(1e-4..1e6).contains(&a) {
            let e = a.log10().floor();
            let decimals = (e - gap.log10().floor()).clamp(0.0, 6.0) as usize;
            return format!("{}e{}", trim(fixed(v / 10f64.powf(e), decimals)), fixed(e, 0));
        }
        let decimals = (-(gap / unit).log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{}{suffix}", trim(fixed(v / unit, decimals)))
    }
}

fn trim(s: String) -> String {
    if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_string() } else { s }
}

/// 1, 2 or 5 times a power of ten, not below x.
fn round_step(x: f64) -> f64 {
    let p = 10f64.powf(x.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * p).find(|&s| s >= x * (1.0 - 1e-9)).unwrap_or(10.0 * p)
}

/// Points to draw, in the order of steps: where there are too many, the lowest and the highest of each stretch, so that spikes stay.
fn thin(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if points.len() <= 2 * BUCKETS {
        return points.to_vec();
    }
    let mut out = Vec::with_capacity(2 * BUCKETS);
    for chunk in points.chunks(points.len().div_ceil(BUCKETS)) {
        let by_y = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]);
        let (Some(&lo), Some(&hi)) = (chunk.iter().min_by(by_y), chunk.iter().max_by(by_y)) else { continue };
        out.extend(if lo[0] <= hi[0] { [lo, hi] } else { [hi, lo] });
    }
    out
}

/// From this many points on a line is drawn twice: thin as logged, thick as its running mean.
const NOISY: usize = 120;

/// Mean over the stretch around each point: a twentieth of the line on either side. The stretch stays centred, so it is shorter near
/// the ends, but keeps enough points that the line does not end in a hook.
fn running_mean(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(points.iter().scan(0.0, |sum, p| {
            *sum += p[1];
            Some(*sum)
        }))
        .collect();
    let (n, half) = (points.len(), points.len() / 20);
    let at = |i: usize| {
        let h = half.min(i).min(n - 1 - i);
        [points[i][0], (sums[i + h + 1] - sums[i - h]) / (2 * h + 1) as f64]
    };
    (half / 2..n - half / 2).step_by((n / BUCKETS).max(1)).map(at).collect()
}

/// The chart in a `figure` with legend and caption; a sentence instead if there is nothing to draw.
pub fn lines(chart: &Chart) -> Markup {
    // Beyond 1e150 the arithmetic of an axis overflows.
    let drawable = |p: &&[f64; 2]| p.iter().all(|v| v.abs() < 1e150) && (!chart.log_y || p[1] > 1e-150);
    let usable = |s: &Series| -> Vec<[f64; 2]> { s.points().iter().filter(drawable).copied().collect() };
    let series: Vec<(usize, &Series, Vec<[f64; 2]>)> =
        chart.series.iter().enumerate().map(|(i, s)| (i, s, usable(s))).filter(|(_, _, p)| !p.is_empty()).collect();
    let range = |k: usize| {
        let all = || series.iter().flat_map(|(_, _, p)| p.iter().map(move |p| p[k]));
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    };
    html! {
        figure.chart {
            figcaption.chart-title { (chart.title) }
            @if series.is_empty() {
                p.none { "No points." }
            } @else {
                ul.legend {
                    @for (i, s, _) in &series {
                        li {
                            svg viewBox="0 0 26 10" aria-hidden="true" {
                                line class={ "line s" (i % COLOURS) } stroke-dasharray=(dash(*i)) x1="0" y1="5" x2="26" y2="5" {}
                            }
                            (s.name)
                        }
                    }
                }
                @let (x0, x1) = range(0);
                @let (y0, y1) = range(1);
                @let (x, y) = (Axis::new(x0, x1, false, 5), Axis::new(y0, y1, chart.log_y, 5));
                // Steps end where the data end: no empty round-up to the right.
                @let x = if x1 > x0 { Axis { lo: x0, hi: x1, ..x } } else { x };
                (plot(chart, &series, &x, &y))
            }
            @if series.iter().any(|(_, _, p)| p.len() >= NOISY) { p.note { "Thin: as logged; thick: running mean." } }
            @if !chart.note.is_empty() { p.note { (chart.note) } }
        }
    }
}

fn dash(i: usize) -> &'static str {
    DASHES[(i + i / COLOURS) % DASHES.len()]
}

fn plot(chart: &Chart, series: &[(usize, &Series, Vec<[f64; 2]>)], x: &Axis, y: &Axis) -> Markup {
    let px = |v: f64| LEFT + x.at(v) * (W - LEFT - RIGHT);
    let py = |v: f64| H - BOTTOM - y.at(v) * (H - TOP - BOTTOM);
    let inside = |t: &&f64| **t >= x.lo && **t <= x.hi;
    let path =
        |points: &[[f64; 2]]| points.iter().map(|p| format!("{},{}", px1(px(p[0])), px1(py(p[1])))).collect::<Vec<_>>().join(" ");
    html! {
        svg.plot viewBox={ "0 0 " (W) " " (H) } role="img" aria-label=(describe(chart, series)) {
            @for &t in &y.ticks {
                line.gridline x1=(LEFT) x2=(W - RIGHT) y1=(px1(py(t))) y2=(px1(py(t))) {}
                text.tick x=(LEFT - 6.0) y=(px1(py(t) + 4.0)) text-anchor="end" { (y.label(t)) }
            }
            @for &t in x.ticks.iter().filter(inside) {
                line.tickmark x1=(px1(px(t))) x2=(px1(px(t))) y1=(H - BOTTOM) y2=(H - BOTTOM + 4.0) {}
                text.tick x=(px1(px(t))) y=(H - BOTTOM + 17.0) text-anchor="middle" { (x.label(t)) }
            }
            line.axis x1=(LEFT) x2=(W - RIGHT) y1=(H - BOTTOM) y2=(H - BOTTOM) {}
            text.axis-label x=(W - RIGHT) y=(H - 4.0) text-anchor="end" { (chart.x_label) }
            text.axis-label x="0" y="12" { (chart.y_label) @if chart.log_y { " (log scale)" } }
            @for (i, _, points) in series {
                @if let [one] = points[..] {
                    circle class={ "dot s" (i % COLOURS) } cx=(px1(px(one[0]))) cy=(px1(py(one[1]))) r="3.5" {}
                } @else if points.len() < NOISY {
                    polyline class={ "line s" (i % COLOURS) } stroke-dasharray=(dash(*i)) points=(path(points)) {}
                } @else {
                    polyline class={ "line raw s" (i % COLOURS) } points=(path(&thin(points))) {}
                    polyline class={ "line s" (i % COLOURS) } stroke-dasharray=(dash(*i)) points=(path(&running_mean(points))) {}
                }
            }
        }
    }
}

/// A coordinate with one decimal, which is finer than a screen shows and keeps the page small.
fn px1(v: f64) -> f64 {
    (v * 10.0).round() / 10.0
}

/// What the chart says, for those who do not see it.
fn describe(chart: &Chart, series: &[(usize, &Series, Vec<[f64; 2]>)]) -> String {
    let one = |(_, s, p): &(usize, &Series, Vec<[f64; 2]>)| match (p.first(), p.last()) {
        (Some(a), Some(b)) => format!("{} goes from {:.4} at {} to {:.4} at {}", s.name, a[1], a[0], b[1], b[0]),
        _ => s.name.clone(),
    };
    format!("{}. {}.", chart.title, series.iter().map(one).collect::<Vec<_>>().join("; "))
}

/// Balanced accuracy of every test set and stage with its interval, and where guessing lies.
pub fn forest(rows: &[DetectionRow]) -> Markup {
    const ROW: f64 = 22.0;
    const HEAD: f64 = 24.0;
    const PLOT: (f64, f64) = (12.0, 400.0);
    // Every model has a colour, by its place in the table's first appearance; its last stage is a square, earlier ones are circles.
    let mut keys: Vec<&ModelKey> = Vec::new();
    for m in rows.iter().flat_map(|r| &r.models) {
        if !keys.contains(&&m.key) {
            keys.push(&m.key);
        }
    }
    let colour = |key: &ModelKey| keys.iter().position(|k| *k == key).unwrap_or(0) % COLOURS;
    let early = |key: &ModelKey| {
        let at = keys.iter().position(|k| *k == key).unwrap_or(0);
        keys.get(at + 1).is_some_and(|next| next.model == key.model)
    };
    let stages = |r: &DetectionRow| -> Vec<(ModelKey, Interval)> {
        r.models.iter().map(|m| (m.key.clone(), m.figures.balanced)).collect()
    };
    let lowest = rows.iter().flat_map(stages).map(|(_, i)| i.lo).fold(1.0, f64::min);
    let lo = if lowest >= 0.42 { 0.4 } else { 0.0 };
    let ticks = if lo > 0.0 { vec![0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0] } else { vec![0.0, 0.25, 0.5, 0.75, 1.0] };
    let px = |v: f64| px1(PLOT.0 + (v - lo) / (1.0 - lo) * (PLOT.1 - PLOT.0));
    // Top of each test set.
    let mut y = 6.0;
    let mut tops = Vec::new();
    for row in rows {
        tops.push(y);
        y += HEAD + ROW * stages(row).len() as f64;
    }
    let bottom = y + 6.0;
    let said: Vec<String> = rows
        .iter()
        .flat_map(|r| {
            stages(r).into_iter().map(|(k, i)| format!("{} {}, {}: {}", r.split.name(), r.method, k.label(), i.percent()))
        })
        .collect();
    html! {
        figure.chart.forest {
            figcaption.chart-title { "Balanced accuracy with 95 % intervals" }
            svg.plot viewBox={ "0 0 " (W) " " (bottom + 24.0) } role="img"
                aria-label={ "Balanced accuracy; guessing is 50 %. " (said.join("; ")) "." } {
                @for &t in &ticks {
                    line class=(if t == 0.5 { "chance" } else { "gridline" }) x1=(px(t)) x2=(px(t)) y1="0" y2=(bottom) {}
                    text.tick x=(px(t)) y=(bottom + 16.0) text-anchor="middle" { (fixed(t * 100.0, 0)) @if t == 0.5 { " = guess" } }
                }
                @for (row, top) in rows.iter().zip(&tops) {
                    text.row-label x=(PLOT.0) y=(top + 15.0) {
                        (row.split.title()) ": " (row.method)
                    }
                    @for (k, (key, i)) in stages(row).into_iter().enumerate() {
                        @let y = px1(top + HEAD + ROW * k as f64 + 8.0);
                        line class={ "line s" (colour(&key)) } x1=(px(i.lo)) x2=(px(i.hi)) y1=(y) y2=(y) {}
                        @if early(&key) {
                            circle class={ "dot hollow s" (colour(&key)) } cx=(px(i.value)) cy=(y) r="5" {}
                        } @else {
                            rect class={ "dot s" (colour(&key)) } x=(px(i.value) - 4.5) y=(y - 4.5) width="9" height="9" {}
                        }
                        text.tick x="410" y=(y + 4.0) { (i.percent_value()) }
                    }
                }
            }
            ul.legend {
                @for key in &keys {
                    li {
                        svg viewBox="0 0 26 10" aria-hidden="true" {
                            line class={ "line s" (colour(key)) } x1="0" y1="5" x2="26" y2="5" {}
                            @if early(key) {
                                circle class={ "dot hollow s" (colour(key)) } cx="13" cy="5" r="4" {}
                            } @else {
                                rect class={ "dot s" (colour(key)) } x="9" y="1" width="8" height="8" {}
                            }
                        }
                        (key.label())
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_on_round_numbers_and_hold_the_data() {
        let a = Axis::new(0.13, 0.97, false, 5);
        assert_eq!((a.lo, a.hi, a.ticks.len()), (0.0, 1.0, 6));
        assert_eq!(a.label(a.ticks[3]), "0.6");
        let flat = Axis::new(3.0, 3.0, false, 5);
        assert!(flat.lo < 3.0 && flat.hi > 3.0 && flat.at(3.0) > 0.0 && flat.at(3.0) < 1.0);
        assert!(Axis::new(0.0, 0.0, false, 5).hi > 0.0);
        let log = Axis::new(1e-5, 2.0, true, 5);
        assert!(
            log.ticks.iter().all(|&t| (-1e-6..1.0 + 1e-6).contains(&log.at(t))) && (3..8).contains(&log.ticks.len()),
            "{log:?}"
        );
        assert!((log.at(1e-5), log.at(2.0)) == (0.0, 1.0));
        assert!(Axis::new(0.5, 0.5, true, 5).ticks.len() > 1);
    }

    #[test]
    fn ticks_have_short_labels_that_differ() {
        let labels = |lo, hi, log| {
            let a = Axis::new(lo, hi, log, 5);
            a.ticks.iter().map(|&t| a.label(t)).collect::<Vec<_>>()
        };
        assert_eq!(labels(0.0, 12_500.0, false), ["0", "5k", "10k", "15k"]);
        assert_eq!(labels(-0.3, 0.3, false), ["−0.4", "−0.2", "0", "0.2", "0.4"]);
        assert_eq!(labels(0.0, 2e-6, false), ["0", "5e−7", "1e−6", "1.5e−6", "2e−6"]);
        assert_eq!(labels(1e-5, 2.0, true), ["1e−5", "0.0001", "0.001", "0.01", "0.1", "1"]);
        for (lo, hi) in [(0.99998, 1.0), (10_000.0, 10_010.0), (3.1e7, 3.2e7), (1.0, 1.0 + 1e-15), (0.0, 1e140), (-5e6, -4e6)] {
            let l = labels(lo, hi, false);
            let distinct: std::collections::HashSet<_> = l.iter().collect();
            assert!(distinct.len() == l.len() && l.len() > 2 && l.iter().all(|s| s.len() < 14), "{lo} {hi} {l:?}");
        }
    }

    #[test]
    fn thinning_keeps_spikes_and_order() {
        let mut points: Vec<[f64; 2]> = (0..10_000).map(|i| [i as f64, 1.0]).collect();
        points[5_003][1] = 9.0;
        let t = thin(&points);
        assert!(t.len() <= 2 * BUCKETS && t.contains(&[5_003.0, 9.0]));
        assert!(t.windows(2).all(|w| w[0][0] <= w[1][0]));
    }

    #[test]
    fn the_running_mean_keeps_straight_lines_and_removes_noise() {
        let straight: Vec<[f64; 2]> = (0..1000).map(|i| [i as f64, 3.0 * i as f64]).collect();
        let m = running_mean(&straight);
        assert!(m.iter().all(|p| (p[1] - 3.0 * p[0]).abs() < 1e-6) && m.len() <= 2 * BUCKETS);
        assert!(m[0][0] < 30.0 && m[m.len() - 1][0] > 960.0);
        let noise: Vec<[f64; 2]> = (0..200).map(|i| [i as f64, if i % 2 == 0 { 1.0 } else { -1.0 }]).collect();
        assert!(running_mean(&noise).iter().all(|p| p[1].abs() < 0.1));
        assert_eq!(running_mean(&noise[..2]).len(), 2);
    }

    #[test]
    fn a_log_chart_leaves_out_what_has_no_logarithm() {
        let series = vec![Series::from_points("a", [(0.0, 1.0), (1.0, 0.0), (2.0, 0.01)])];
        let mut chart = Chart { title: "T".into(), log_y: true, series, ..Chart::default() };
        let svg = lines(&chart).into_string();
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        chart.series = vec![Series::from_points("a", [(0.0, 1e-140), (1.0, 1e140), (2.0, 1e308)])];
        let svg = lines(&chart).into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        chart.series = vec![Series::from_points("a", [(0.0, -1.0), (1.0, f64::NAN)])];
        assert!(lines(&chart).into_string().contains("No points"));
    }

    #[test]
    fn one_point_is_a_dot_and_a_flat_line_has_an_axis() {
        let one = Chart { series: vec![Series::from_points("a", [(3.0, 0.5)])], ..Chart::default() };
        let svg = lines(&one).into_string();
        assert!(svg.contains("<circle") && !svg.contains("NaN"));
        let flat = Chart { series: vec![Series::from_points("a", [(0.0, 0.5), (9.0, 0.5)])], ..Chart::default() };
        assert!(!lines(&flat).into_string().contains("NaN"));
    }
}
