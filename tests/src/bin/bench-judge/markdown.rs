//! The few pieces of Markdown that tables are made of.

use std::fmt::Write;

/// A row of a table.
pub fn row(page: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

/// The head of a table.
pub fn header(page: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    let rule = vec!["---".to_owned(); cells.len()];
    page.push('\n');
    row(page, cells);
    row(page, rule);
}

/// Words as cells.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// 20000 as `20,000`.
pub fn grouped(number: u32) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", number / 1000, number % 1000)
    }
}

/// The first letter large.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Two times in seconds, `–` where too few runs ended.
pub fn pair(median: Option<u32>, p95: Option<u32>) -> String {
    let show = |time: Option<u32>| time.map_or_else(|| "–".to_owned(), |time| time.to_string());
    format!("{} / {}", show(median), show(p95))
}
