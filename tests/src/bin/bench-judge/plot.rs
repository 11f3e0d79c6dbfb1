//! The plot beside the page: times to roll back over fault sizes, and false rollbacks as bars.

use std::fmt::Write;

use crate::markdown::capital;
use crate::peers::NAMES;
use crate::profiles::{Hour, OBJECTIVES, percent};
use crate::simulate::Endings;
use crate::survey::{Detection, Survey, gate_rolled_back, peer_rolled_back};

const WIDTH: f64 = 960.0;
const LINES_HEIGHT: f64 = 440.0;
const BAR_ROW: f64 = 40.0;

/// Gate's policies, in the order of their endings.
const OURS: [&str; 2] = ["gate", "gate, versus blue"];
/// Colour-blind safe (Okabe and Ito), gate's the strongest.
const GATE: &str = "#0072b2";
const VERSUS: &str = "#56b4e9";
const COLOURS: [&str; 6] = ["#d55e00", "#e69f00", "#009e73", "#cc79a7", "#555555", "#999999"];
/// Of [`NAMES`]: one of each kind, the one that rolls back fewer healthy releases.
const DRAWN: [usize; 6] = [2, 3, 5, 7, 8, NAIVE];
/// Drawn dashed: as quick as it is wrong.
const NAIVE: usize = 9;

/// Where a value stands between two others on a scale of decades.
struct Decades {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Decades {
    fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }
}

/// One rule's curve: fault and median seconds, where half of the runs saw the fault.
struct Curve {
    name: &'static str,
    colour: &'static str,
    width: f64,
    points: Vec<(f64, f64)>,
}

/// The whole picture.
pub fn plot(survey: &Survey) -> String {
    let rows = NAMES.len() + OURS.len();
    let height = LINES_HEIGHT + 104.0 + rows as f64 * BAR_ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
        height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
        <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    lines(&mut svg, survey);
    bars(&mut svg, survey);
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>");
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

fn title(svg: &mut String, y: f64, first: &str, second: &str) {
    text(svg, (24.0, y), "font-size=\"17\" font-weight=\"bold\"", first);
    text(svg, (24.0, y + 20.0), "fill=\"#555\"", second);
}

fn curves(survey: &Survey) -> Vec<Curve> {
    let Some(set) = survey.faults.first() else { return Vec::new() };
    let from = set.faults.from_seconds;
    let curve = |name, colour, width, detection: &dyn Fn(&Endings) -> Detection| {
        let points = set
            .broken
            .iter()
            .filter_map(|(fault, endings)| Some((*fault, f64::from(detection(endings).median?))));
        Curve { name, colour, width, points: points.collect() }
    };
    let mut curves = vec![
        curve(OURS[0], GATE, 3.0, &|endings| Detection::of_gate(&endings.gate[0], from)),
        curve(OURS[1], VERSUS, 3.0, &|endings| Detection::of_gate(&endings.gate[1], from)),
    ];
    for (place, colour) in DRAWN.into_iter().zip(COLOURS) {
        curves.push(curve(NAMES[place], colour, 1.8, &|endings| {
            Detection::of_peer(&endings.peers[place], from)
        }));
    }
    curves
}

fn lines(svg: &mut String, survey: &Survey) {
    let Some(set) = survey.faults.first() else { return };
    let objective = set.faults.healthy.objective;
    title(
        svg,
        34.0,
        "Time to roll back a broken release",
        &format!(
            "Median, objective: at most {} errors, {} probes a second; a curve ends where fewer than half of the runs see the fault in ten minutes",
            percent(objective.acceptable),
            set.faults.healthy.rate
        ),
    );
    let x = Decades { low: 0.004, high: 1.0, from: 78.0, to: 690.0 };
    let y = Decades { low: 1.5, high: 700.0, from: LINES_HEIGHT - 50.0, to: 76.0 };
    for seconds in [2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0] {
        let at = y.at(seconds);
        line(svg, (x.from, at), (x.to, at), "stroke=\"#e4e4e4\"");
        text(
            svg,
            (x.from - 8.0, at + 4.5),
            "text-anchor=\"end\" fill=\"#555\"",
            &duration(seconds),
        );
    }
    for fault in crate::profiles::FAULTS {
        let at = x.at(fault);
        line(svg, (at, y.from), (at, y.from + 5.0), "stroke=\"#888\"");
        text(svg, (at, y.from + 20.0), "text-anchor=\"middle\" fill=\"#555\"", &percent(fault));
    }
    line(svg, (x.from, y.from), (x.to, y.from), "stroke=\"#888\"");
    let middle = f64::midpoint(x.from, x.to);
    text(svg, (middle, y.from + 40.0), "text-anchor=\"middle\"", "share of bad probes of green");
    let curves = curves(survey);
    // Gate's last, on top of the others.
    for curve in curves.iter().rev() {
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|&(fault, seconds)| format!("{:.1},{:.1}", x.at(fault), y.at(seconds)))
            .collect();
        let (colour, width) = (curve.colour, curve.width);
        let dashes = if curve.name == NAMES[NAIVE] { " stroke-dasharray=\"5 4\"" } else { "" };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dashes}/>",
            points.join(" ")
        );
        for &(fault, seconds) in &curve.points {
            let (x, y, radius) = (x.at(fault), y.at(seconds), width + 1.2);
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" stroke=\"#fff\"/>"
            );
        }
    }
    labels(svg, &curves, &x, &y);
}

/// The names at the right, in the order of the curves' ends, pushed apart where they would overlap.
fn labels(svg: &mut String, curves: &[Curve], x: &Decades, y: &Decades) {
    const APART: f64 = 18.0;
    let ends = curves.iter().filter_map(|curve| Some((curve, y.at(curve.points.last()?.1))));
    let mut ends: Vec<(&Curve, f64)> = ends.collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut at = f64::NEG_INFINITY;
    for (curve, end) in ends {
        at = end.max(at + APART);
        let (from, to) = ((x.to + 6.0, end), (x.to + 22.0, at));
        line(svg, from, to, &format!("stroke=\"{}\" stroke-opacity=\"0.6\"", curve.colour));
        let weight = if curve.name.starts_with("gate") { "bold" } else { "normal" };
        let style = format!("fill=\"{}\" font-weight=\"{weight}\"", curve.colour);
        text(svg, (x.to + 26.0, at + 4.5), &style, curve.name);
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds} s") } else { format!("{} min", seconds / 60.0) }
}

/// Two profiles at one objective: independent errors at the limit, and stalls at half the budget.
fn shown(survey: &Survey) -> Option<[&(Hour, Endings); 2]> {
    let found = |stalls: bool| {
        survey.hours.iter().find(|(hour, _)| {
            let profile = &hour.profile;
            let longest = profile.green.stalls.is_none_or(|stalls| stalls.seconds > 0.3);
            hour.inside
                && profile.objective == OBJECTIVES[0]
                && profile.rate == 20
                && profile.green.stalls.is_some() == stalls
                && longest
        })
    };
    Some([found(false)?, found(true)?])
}

fn bars(svg: &mut String, survey: &Survey) {
    let Some(shown) = shown(survey) else { return };
    let top = LINES_HEIGHT + 42.0;
    let objective = percent(shown[0].0.profile.objective.acceptable);
    title(
        svg,
        top,
        "Healthy releases rolled back within an hour",
        &format!("Objective: at most {objective} errors, 20 probes a second"),
    );
    let (left, right) = (250.0, 860.0);
    // The key, in the corner that the titles leave free.
    for (place, (hour, _)) in shown.iter().enumerate() {
        let y = top - 12.0 + 20.0 * place as f64;
        let opacity = OPACITY[place];
        let _ = writeln!(
            svg,
            "<rect x=\"560\" y=\"{y:.1}\" width=\"14\" height=\"12\" fill=\"#555\" fill-opacity=\"{opacity}\"/>"
        );
        text(svg, (582.0, y + 11.0), "", &capital(&hour.badness));
    }
    let top = top + 44.0;
    for (row, name) in OURS.into_iter().chain(NAMES).enumerate() {
        let y = top + row as f64 * BAR_ROW;
        let (colour, weight) =
            [(GATE, "bold"), (VERSUS, "bold")].get(row).copied().unwrap_or(("#888", "normal"));
        let style = format!("text-anchor=\"end\" font-weight=\"{weight}\"");
        text(svg, (left - 10.0, y + 20.0), &style, name);
        for (place, (_, endings)) in shown.iter().enumerate() {
            let share = match endings.gate.get(row) {
                Some(runs) => gate_rolled_back(runs),
                None => peer_rolled_back(&endings.peers[row - endings.gate.len()]),
            };
            let width = share.percent() / 100.0 * (right - left);
            let (y, opacity) = (y + 2.0 + 14.0 * place as f64, OPACITY[place]);
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"12\" fill=\"{colour}\" fill-opacity=\"{opacity}\"/>"
            );
            let style = "font-size=\"11\" fill=\"#333\"";
            text(svg, (left + width + 6.0, y + 10.0), style, &format!("{share} %"));
        }
    }
    let bottom = top + (NAMES.len() + OURS.len()) as f64 * BAR_ROW - 8.0;
    line(svg, (left, top - 4.0), (left, bottom), "stroke=\"#888\"");
}

/// The first profile dark, the second light.
const OPACITY: [f64; 2] = [1.0, 0.5];
