//! Durations, shares and rates as people write them, and refused when they are nonsense.

use std::time::Duration;

use jiff::SignedDuration;

/// The longest duration a policy may name: CodeDeploy waits 3,600 s for a hook, an ECS pause hook 14 days.
pub const DURATION_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// The largest share below everything; closer to 100 % there is nothing left to be worse.
const SHARE_MAX_PERCENT: f64 = 99.999;

/// The highest probe rate for each arm, per second; one core sends about this much.
pub const RATE_MAX_PER_SECOND: f64 = 20_000.0;

/// `500ms`, `2s`, `1m 30s`, `10m`: positive, with a unit, at most 14 days, at least a millisecond.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!(
            "`{text}` is not a duration; write `500ms`, `2s`, `1m 30s`, `10m` or `24h`"
        ));
    }
    if text.parse::<f64>().is_ok() {
        return Err(format!("`{text}` has no unit; write `{text}ms`, `{text}s` or `{text}m`"));
    }
    let signed: SignedDuration = text.parse().map_err(|_refused| {
        format!("`{text}` is not a duration; write `500ms`, `2s`, `1m 30s`, `10m` or `24h`")
    })?;
    let duration = Duration::try_from(signed)
        .map_err(|_refused| format!("`{text}` is negative; a duration is zero or more"))?;
    if duration > DURATION_MAX {
        return Err(format!("`{text}` is too long; AWS waits for 14 days (`336h`) at most"));
    }
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return Err(format!("`{text}` is too short; write at least `1ms`"));
    }
    Ok(duration)
}

/// `0.5%`: a share of requests from 0 to below 100 %, as a fraction.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let Some(number) = text.strip_suffix('%') else {
        return Err(match plain(text) {
            // Of `0.5` nobody can tell whether it is half of all or half a percent.
            Some(value) if value > 0.0 && value < 1.0 => {
                let fraction = exact_percent(value).replace(' ', "");
                format!("`{text}` has no `%`; write `{fraction}` or `{text}%`")
            }
            Some(_) => format!("`{text}` has no `%`; write `{text}%`"),
            None => format!("`{text}` is not a share; write it like `0.5%`"),
        });
    };
    let percent = plain(number.trim_end())
        .ok_or_else(|| format!("`{text}` is not a share; write it like `0.5%`"))?;
    if !(0.0..=SHARE_MAX_PERCENT).contains(&percent) {
        return Err(format!("`{text}` is out of range; a share is at least 0% and below 100%"));
    }
    Ok(percent / 100.0)
}

/// A number in digits: neither signs nor exponents, which mean something else here or are a slip.
fn plain(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| digits)
}

/// `100%`: a part of a whole, above 0 and at most 100 %, as a fraction.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn part(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.strip_suffix('%').and_then(|number| plain(number.trim_end())) {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        Some(_) => Err(format!("`{text}` is out of range; write it above 0% and at most 100%")),
        None => share(text),
    }
}

/// `+20%`: how much more than something else, from 0 to 1000 %, as a fraction.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn more(text: &str) -> Result<f64, String> {
    signed(text, '+', 1000.0)
}

/// `-20%`: how much less than something else, from 0 to below 100 %, as a fraction.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn less(text: &str) -> Result<f64, String> {
    signed(text, '-', 99.999)
}

fn signed(text: &str, sign: char, most: f64) -> Result<f64, String> {
    let text = text.trim();
    let shape = || format!("`{text}` is not a difference; write it like `{sign}20%`");
    let number = text.strip_prefix(sign).and_then(|rest| rest.strip_suffix('%'));
    let percent = number.and_then(|number| plain(number.trim())).ok_or_else(shape)?;
    if percent > most {
        return Err(format!("`{text}` is out of range; write at most `{sign}{most}%`"));
    }
    Ok(percent / 100.0)
}

/// `10`, `14.4x`: a number above 0 and at most a million.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = plain(text.strip_suffix('x').unwrap_or(text));
    match number {
        Some(number) if number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err(format!("`{text}` is not a number above 0; write it like `10`")),
    }
}

/// `0`, `3`: a whole number, at most a million.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn whole(text: &str) -> Result<u32, String> {
    const WHOLE_MAX: u32 = 1_000_000;
    let text = text.trim();
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= WHOLE_MAX);
    number
        .ok_or_else(|| format!("`{text}` is not a whole number up to a million; write it like `0`"))
}

/// `20/s`, `600/m`: events per second, from one a minute to [`RATE_MAX_PER_SECOND`].
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let shape = || format!("`{text}` is not a rate; write it like `20/s` or `30/m`");
    let (number, unit) = text.split_once('/').ok_or_else(shape)?;
    let count = plain(number.trim()).ok_or_else(shape)?;
    let per_second = match unit.trim() {
        "s" | "sec" | "second" => count,
        "m" | "min" | "minute" => count / 60.0,
        "h" | "hour" => count / 3600.0,
        _ => return Err(shape()),
    };
    if !(1.0 / 60.0..=RATE_MAX_PER_SECOND).contains(&per_second) {
        return Err(format!("`{text}` is out of range; a rate is from 1/m to 20000/s"));
    }
    Ok(per_second)
}

/// `512B`, `64KiB`, `1MB`: a size in bytes, up to what gate reads of an answer.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let shape = || format!("`{text}` is not a size; write it like `512B` or `64KiB`");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or_else(shape)?;
    let times = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 1.0,
        "kb" => 1e3,
        "kib" => 1024.0,
        "mb" => 1e6,
        "mib" => 1024.0 * 1024.0,
        _ => return Err(shape()),
    };
    let bytes = plain(number).ok_or_else(shape)? * times;
    let most = crate::evidence::numerics::count(crate::plan::BODY_MAX_BYTES as u64);
    if bytes > most {
        return Err(format!("`{text}` is out of range; gate reads at most 1MiB of an answer"));
    }
    Ok(crate::evidence::numerics::whole(bytes))
}

/// `p99`, `p99.9`, `p50`: a quantile strictly between 0 and 1.
///
/// # Errors
/// A sentence saying what is wrong and how it should look.
pub fn quantile(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let percent = text
        .strip_prefix('p')
        .and_then(plain)
        .ok_or_else(|| format!("`{text}` is not a quantile; write it like `p99` or `p99.9`"))?;
    // Beyond five nines of either end a quantile would need more probes than a day has.
    if !(0.001..=99.999).contains(&percent) {
        return Err(format!("`{text}` is out of range; a quantile is from p0.001 to p99.999"));
    }
    Ok(percent / 100.0)
}

/// A fraction as a person reads it: `0.5 %`, `12 %`, `0.012 %`.
pub fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    let digits: usize = match value {
        v if v >= 9.995 => 0,
        v if v >= 0.995 => 1,
        v if v >= 0.0995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text.as_str()
    };
    format!("{text} %")
}

/// A fraction to the last digit that was written: `99.95 %`.
pub fn exact_percent(fraction: f64) -> String {
    let text = format!("{:.6}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A duration to the last digit that was written: `1.25 s`. Names are made of it, so that two are alike only
/// where they are.
pub fn exact(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) => format!("{seconds} s"),
        (seconds, millis) => {
            format!("{seconds}.{millis:03}").trim_end_matches('0').to_owned() + " s"
        }
    }
}

/// A duration as a person reads it: `250 ms`, `1.2 s`, `10 min`.
pub fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.001 {
        format!("{} µs", duration.as_micros())
    } else if seconds < 1.0 {
        let text = format!("{:.1}", seconds * 1000.0);
        format!("{} ms", text.trim_end_matches(".0"))
    } else if seconds < 120.0 {
        let text = format!("{seconds:.1}");
        format!("{} s", text.trim_end_matches(".0"))
    } else {
        let text = format!("{:.1}", seconds / 60.0);
        format!("{} min", text.trim_end_matches(".0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check<T: std::fmt::Debug>(parsed: Result<T, String>, expected: Expect) {
        expected.assert_eq(&match parsed {
            Ok(value) => format!("{value:?}"),
            Err(reason) => reason,
        });
    }

    #[test]
    fn durations_need_a_unit_and_a_sane_size() {
        check(duration("500ms"), expect!["500ms"]);
        check(duration("1m 30s"), expect!["90s"]);
        check(duration("10m"), expect!["600s"]);
        check(duration("0s"), expect!["0ns"]);
        check(duration("10"), expect!["`10` has no unit; write `10ms`, `10s` or `10m`"]);
        check(
            duration("-2s"),
            expect!["`-2s` is not a duration; write `500ms`, `2s`, `1m 30s`, `10m` or `24h`"],
        );
        check(
            duration("15d"),
            expect!["`15d` is not a duration; write `500ms`, `2s`, `1m 30s`, `10m` or `24h`"],
        );
        check(
            duration("400h"),
            expect!["`400h` is too long; AWS waits for 14 days (`336h`) at most"],
        );
    }

    #[test]
    fn shares_need_their_percent_sign() {
        check(share("0.5%"), expect!["0.005"]);
        check(share("0%"), expect!["0.0"]);
        check(share("0.005"), expect!["`0.005` has no `%`; write `0.5%` or `0.005%`"]);
        check(share("5"), expect!["`5` has no `%`; write `5%`"]);
        check(share("+50%"), expect!["`+50%` is not a share; write it like `0.5%`"]);
        check(part("100%"), expect!["1.0"]);
        check(part("0%"), expect!["`0%` is out of range; write it above 0% and at most 100%"]);
        check(
            share("100%"),
            expect!["`100%` is out of range; a share is at least 0% and below 100%"],
        );
        check(share("NaN%"), expect!["`NaN%` is not a share; write it like `0.5%`"]);
    }

    #[test]
    fn rates_are_per_second_minute_or_hour() {
        check(rate("20/s"), expect!["20.0"]);
        check(rate("30/m"), expect!["0.5"]);
        check(rate("20"), expect!["`20` is not a rate; write it like `20/s` or `30/m`"]);
        check(rate("0/s"), expect!["`0/s` is out of range; a rate is from 1/m to 20000/s"]);
    }

    #[test]
    fn quantiles_are_written_like_p99() {
        check(quantile("p99.9"), expect!["0.9990000000000001"]);
        check(quantile("99"), expect!["`99` is not a quantile; write it like `p99` or `p99.9`"]);
        check(
            quantile("pNaN"),
            expect!["`pNaN` is not a quantile; write it like `p99` or `p99.9`"],
        );
        check(
            quantile("p100"),
            expect!["`p100` is out of range; a quantile is from p0.001 to p99.999"],
        );
    }

    #[test]
    fn numbers_are_spelled_for_people() {
        for (fraction, text) in [
            (0.005, "0.5 %"),
            (0.0456, "4.6 %"),
            (0.12, "12 %"),
            (0.00012, "0.012 %"),
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.2, "20 %"),
        ] {
            assert_eq!(percent(fraction), text);
        }
        for (millis, text) in [(250, "250 ms"), (1200, "1.2 s"), (2000, "2 s"), (600_000, "10 min")]
        {
            assert_eq!(spell(Duration::from_millis(millis)), text);
        }
    }
}
