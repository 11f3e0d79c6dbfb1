//! One line of an exposition, read by a parser that is not ours.
//!
//! Of the parsers there are, `nom-openmetrics` is the one that is maintained (0.3.0, July 2026), may be linked
//! (MIT), reads names and numbers of both formats, and gives a label's value back as it was before it was
//! escaped. `openmetrics-parser` knows more, but is LGPL, and full of `unwrap`. `prometheus-parse` cuts labels
//! at every comma and equals sign, between quotes too, and passes over what it does not understand, which
//! would make two series one without a word. The others are years old, by what they depend on.
//!
//! It wants a line as the specification's own examples have it, and knows neither timestamps nor exemplars, nor
//! Micrometer's comma behind the last label. So each line is laid out for it first, and only lines of metrics
//! that somebody wants are parsed at all.

use nom_openmetrics::parser;

/// One number of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Labels,
    pub(super) value: f64,
}

/// Labels of a series, by name: the order in which a service writes them means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    /// All but one.
    pub(super) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(label, _)| label != name).cloned().collect())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(label, value)| label.len() + value.len()).sum()
    }
}

/// The name that a line of a sample begins with.
pub(super) fn name_of(line: &str) -> &str {
    line.split(['{', ' ', '\t']).next().unwrap_or(line)
}

/// Reads a line that holds a sample; `room` is used again for each line. `None` where it holds none.
pub(super) fn read(line: &str, room: &mut String) -> Option<Sample> {
    room.clear();
    tidy(line, room)?;
    let (rest, family) = parser::family(room).ok()?;
    let [sample] = family.samples.as_slice() else { return None };
    if !rest.is_empty() {
        return None;
    }
    let labels = sample.labels().iter();
    let mut labels: Vec<(String, String)> =
        labels.map(|label| (label.name.to_owned(), label.value.clone())).collect();
    labels.sort_unstable();
    let name = sample.name().to_owned();
    Some(Sample { name, labels: Labels(labels), value: sample.number() })
}

/// Lays a line out as the parser wants it: no blanks between labels, no comma behind the last one, one blank
/// before the value, and nothing behind it.
fn tidy(line: &str, out: &mut String) -> Option<()> {
    let name = name_of(line);
    out.push_str(name);
    let rest = line.strip_prefix(name)?.trim_start_matches([' ', '\t']);
    let rest = match rest.strip_prefix('{') {
        Some(inside) => tidy_labels(inside, out)?,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?;
    // Then a timestamp or none, and an exemplar or none.
    if let Some(word) = words.next().filter(|word| !word.starts_with('#')) {
        word.parse::<f64>().ok()?;
        if words.next().is_some_and(|word| !word.starts_with('#')) {
            return None;
        }
    }
    out.push(' ');
    // No count is infinite, and the parser writes a line to standard error for each infinity.
    let unsigned = value.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let is_infinite = ["inf", "infinity"].contains(&unsigned.as_str());
    out.push_str(if is_infinite { "NaN" } else { value });
    out.push('\n');
    Some(())
}

/// Copies labels up to their closing brace, and returns what is behind it.
fn tidy_labels<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let (mut quoted, mut escaped, mut apart) = (false, false, false);
    out.push('{');
    for (place, letter) in text.char_indices() {
        match letter {
            _ if quoted => {
                quoted = escaped || letter != '"';
                escaped = !escaped && letter == '\\';
                out.push(letter);
                continue;
            }
            ' ' | '\t' => {
                apart = true;
                continue;
            }
            '}' => {
                if out.ends_with(',') {
                    out.pop();
                }
                out.push('}');
                return text.get(place + 1..);
            }
            // A blank within a name is no layout.
            _ if apart && is_word(letter) && out.ends_with(is_word) => return None,
            letter => {
                quoted = letter == '"';
                out.push(letter);
            }
        }
        apart = false;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and `name|label=value|value` of it.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let shown = read(line, &mut String::new()).map_or_else(
            || "none".to_owned(),
            |sample| {
                let labels = sample.labels.0.iter();
                let labels: Vec<String> =
                    labels.map(|(name, value)| format!("{name}={value}")).collect();
                format!("{}|{}|{}", sample.name, labels.join(","), sample.value)
            },
        );
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn a_sample_is_read_however_it_is_laid_out() {
        check("up 1", "up||1");
        check("up\t 1.5e3 ", "up||1500");
        check("up{} 1", "up||1");
        check("a:b:c{x=\"1\"} 2", "a:b:c|x=1|2");
        check("up{b=\"2\",a=\"1\"} 1", "up|a=1,b=2|1");
        check("up{a=\"1\",} 1", "up|a=1|1");
        check("up { a = \"1\" , b=\"2\" , } 1", "up|a=1,b=2|1");
        check("up{a=\"1\"}1", "up|a=1|1");
    }

    #[test]
    fn what_is_behind_a_value_is_no_part_of_it() {
        check("up 1 1395066363000", "up||1");
        check("up 1 -3982045", "up||1");
        check("up{a=\"1\"} 7 1520879607.789", "up|a=1|7");
        check("up{le=\"1\"} 7 # {trace_id=\"a}\"} 0.67 1520879607.789", "up|le=1|7");
        check("up{le=\"1\"} 7 1520879607.789 # {} 0.67", "up|le=1|7");
        check("up 1 one", "none");
        check("up 1 2 3", "none");
    }

    #[test]
    fn a_value_of_a_label_is_what_it_was_before_it_was_escaped() {
        check(
            r#"f{path="C:\\DIR\\F.TXT",error="no:\n\"F\""} 1"#,
            "f|error=no:\n\"F\",path=C:\\DIR\\F.TXT|1",
        );
        check("f{a=\"x,y=z} 9\"} 1", "f|a=x,y=z} 9|1");
        check("f{a=\"ends in \\\\\"} 1", "f|a=ends in \\|1");
        check("f{a=\"☃ \"} 1", "f|a=☃ |1");
    }

    #[test]
    fn no_count_is_infinite() {
        check("up +Inf", "up||NaN");
        check("up -infinity", "up||NaN");
        check("up NaN", "up||NaN");
        check("up -1", "up||-1");
    }

    #[test]
    fn what_is_no_sample_is_none() {
        for line in [
            "",
            " ",
            "up",
            "up{a=\"1\"}",
            "up{a=\"1\" 1",
            "up{a=\"1} 1",
            "up{a=1} 1",
            "up{a} 1",
            "up one",
            "up 1_0",
            "5up 1",
            "{a=\"1\"} 1",
            "up{a b=\"1\"} 1",
            "up{\"a\"=\"1\"} 1",
            "<html> 1",
            "up{a=\"\\\"} 1",
            "up{a=\"1\"b=\"2\"} 1",
            "up 0x10",
            "HTTP/1.1 200",
        ] {
            check(line, "none");
        }
    }
}
