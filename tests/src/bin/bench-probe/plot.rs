//! The plot beside the page: bars, gate's first and dark.

use std::fmt::Write;

use crate::expected::{cpu, jitter};
use crate::freeze::closed_form;
use crate::markdown::number;
use crate::measure::{Measured, Survey};
use crate::scenario::Scenario;
use crate::tool::Tool;

const WIDTH: f64 = 960.0;
const ROW: f64 = 24.0;
/// Colour-blind safe (Okabe and Ito).
const GATE: &str = "#0072b2";
const OTHERS: &str = "#999999";

/// One group of bars.
struct Group {
    title: &'static str,
    unit: (f64, &'static str),
    scenario: Scenario,
    figure: fn(&Measured) -> Option<f64>,
    /// Where a bar should end, of things that are right or wrong.
    right: Option<f64>,
    /// Decades: some are thousands of times others.
    decades: bool,
}

/// The whole picture.
pub fn plot(survey: &Survey) -> String {
    let groups = [
        Group {
            title: "CPU of 100,000 requests at 1,000 a second",
            unit: (1.0, "s"),
            scenario: Scenario::Steady1000,
            figure: cpu,
            right: None,
            decades: false,
        },
        Group {
            title: "Jitter p99 of arrivals at 1,000 a second (decades)",
            unit: (1e6, "µs"),
            scenario: Scenario::Steady1000,
            figure: jitter,
            right: None,
            decades: true,
        },
        Group {
            title: "p95 reported while the server stops 200 ms every 2 s; the line is the truth",
            unit: (1e3, "ms"),
            scenario: Scenario::Freeze,
            figure: |run| run.reported.latency[1],
            right: Some(closed_form(0.95)),
            decades: false,
        },
    ];
    let (mut bars, mut y) = (String::new(), 16.0);
    for group in &groups {
        y = group.draw(&mut bars, survey, y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
        font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
        <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"#fff\"/>\n{bars}</svg>\n"
    )
}

impl Group {
    /// Draws from here and says where the next begins.
    fn draw(&self, svg: &mut String, survey: &Survey, top: f64) -> f64 {
        let (left, right) = (170.0, 840.0);
        let (scale, unit) = self.unit;
        let bars: Vec<(Tool, f64)> = Tool::ALL
            .into_iter()
            .filter_map(|tool| {
                Some((tool, survey.figure(self.scenario, tool, self.figure)?.median * scale))
            })
            .collect();
        let most =
            bars.iter().map(|(_, value)| *value).fold(self.right.unwrap_or(0.0) * scale, f64::max);
        let least = bars.iter().map(|(_, value)| *value).fold(most, f64::min) / 2.0;
        let width = |value: f64| {
            let share = if self.decades {
                (value / least).ln() / (most / least).ln()
            } else {
                value / most
            };
            if share.is_finite() { share * (right - left) } else { 0.0 }
        };
        let title = top + 18.0;
        let _ = writeln!(
            svg,
            "<text x=\"24\" y=\"{title}\" font-size=\"16\" font-weight=\"bold\">{}</text>",
            self.title
        );
        let mut y = top + 30.0;
        let first = y;
        for (tool, value) in bars {
            let (colour, weight) =
                if tool == Tool::Gate { (GATE, "bold") } else { (OTHERS, "normal") };
            let (name, width, text) = (tool.name().trim_matches('*'), width(value), y + 14.0);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>\
                <rect x=\"{left}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>\
                <text x=\"{:.1}\" y=\"{text}\">{} {unit}</text>",
                left - 8.0,
                left + width + 6.0,
                number(value)
            );
            y += ROW;
        }
        if let Some(truth) = self.right {
            let x = left + width(truth * scale);
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{first}\" x2=\"{x:.1}\" y2=\"{y}\" stroke=\"#d55e00\" stroke-width=\"2\"/>"
            );
        }
        y + 12.0
    }
}
