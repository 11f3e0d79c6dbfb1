//! The few pieces of Markdown that tables are made of, and figures as cells.

use std::fmt::Write;

use crate::figures::Figure;

/// A cell of which nothing is known.
pub const NOTHING: &str = "–";

/// A row of a table.
pub fn row<S: AsRef<str>>(page: &mut String, cells: impl IntoIterator<Item = S>) {
    page.push('|');
    for cell in cells {
        let _ = write!(page, " {} |", cell.as_ref());
    }
    page.push('\n');
}

/// The head of a table.
pub fn header(page: &mut String, cells: &[&str]) {
    page.push('\n');
    row(page, cells);
    row(page, cells.iter().map(|_| "---"));
}

/// Three significant digits, and no more than three decimals.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 0.9995 => 3,
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => return grouped(value),
    };
    format!("{value:.decimals$}")
}

/// 20000 as `20,000`.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A median in a unit.
pub fn median(figure: Option<Figure>, scale: f64) -> String {
    figure.map_or_else(|| NOTHING.to_owned(), |figure| number(figure.median * scale))
}

/// A median and from where to where the rounds went.
pub fn noisy(figure: Option<Figure>, scale: f64) -> String {
    let Some(figure) = figure else { return NOTHING.to_owned() };
    let [median, low, high] =
        [figure.median, figure.low, figure.high].map(|value| number(value * scale));
    if low == high { median } else { format!("{median} ({low}–{high})") }
}

/// Two medians in one cell.
pub fn pair(first: Option<Figure>, second: Option<Figure>, scale: f64) -> String {
    format!("{} / {}", median(first, scale), median(second, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0.000"),
            (0.1234, "0.123"),
            (1.234, "1.23"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (199_500.4, "199,500"),
            (1_234_567.0, "1,234,567"),
            (-1500.0, "-1,500"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn noise_is_shown_where_there_is_some() {
        let figure = Figure { median: 0.002, low: 0.001, high: 0.003 };
        assert_eq!(noisy(Some(figure), 1e3), "2.00 (1.00–3.00)");
        assert_eq!(noisy(Figure::of([0.002]), 1e3), "2.00");
        assert_eq!(pair(None, Some(figure), 1e3), "– / 2.00");
    }
}
