//! The same load for a long time: gate must hold in the end what it held in the middle.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use ::tests::process::Holding;

use crate::place::Place;
use crate::post;

/// A question begins so often.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Every so many-th comes by the queue.
const BY_QUEUE: usize = 5;
/// How often it is looked what gate holds.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// KiB by which memory may be higher at the end of the last third than at its beginning, by its slope: three times what allocators
/// and SQLite's page cache moved it by when nothing leaked, and what 4 KiB lost of each question would be.
const RSS_GROWTH_MAX: f64 = 2048.0;
/// Descriptors may differ by so many: connections of AWS's clients and of probes come and go.
const DESCRIPTORS_GROWTH_MAX: f64 = 8.0;
/// Threads that wait for files and names come and go.
const THREADS_GROWTH_MAX: f64 = 4.0;
/// The page shows a sample of so many, and the last.
const SHOWN_EVERY: usize = 30;
/// In fewer minutes caches fill, and nothing can be told.
const MINUTES_LEAST: u64 = 10;
/// The last questions are answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(270);

/// Asks for so many minutes, so many questions at once, each of which takes a minute. True if gate held what it held.
pub async fn run(place: &mut Place, minutes: u64, runs: usize, page: Option<&Path>) -> bool {
    let began = Instant::now();
    let length = Duration::from_secs(minutes * 60);
    let mut samples: Vec<(f64, Holding)> = Vec::new();
    let mut asked = Vec::new();
    let mut open: VecDeque<String> = VecDeque::new();
    let mut due = tokio::time::interval(ASK_EVERY);
    let mut sampled = Instant::now();
    while began.elapsed() < length {
        due.tick().await;
        open.retain(|id| place.cloud.deployment(id).waits());
        if open.len() < runs {
            let deployment = place.deploy("steady", true);
            let body = place.cloud.hook(&deployment);
            if asked.len() % BY_QUEUE == 0 {
                place.cloud.send(&body);
            } else {
                let stream = post::connect(&place.gate.at(8080)).await;
                let told = post::post(stream, &body).await;
                assert_eq!(told.map(|told| told.status), Some(202), "gate takes it");
            }
            open.push_back(deployment.clone());
            asked.push(deployment);
        }
        if sampled.elapsed() >= SAMPLE_EVERY {
            sampled += SAMPLE_EVERY;
            let now = place.holding();
            let at = began.elapsed().as_secs_f64();
            eprintln!(
                "{at:6.0} s: {} KiB, {} descriptors, {} threads, {} open, cpu {:.1} s",
                now.rss,
                now.descriptors,
                now.threads,
                open.len(),
                now.cpu
            );
            samples.push((at, now));
        }
    }
    let answered = place.answered(&asked, ANSWERED_WITHIN).await;
    let third = samples.len() / 3;
    let (second, last) = (&samples[third..2 * third], &samples[samples.len() - third..]);
    let rss = |part: &[(f64, Holding)]| growth(part, |held| held.rss as f64);
    let descriptors = |part: &[(f64, Holding)]| mean(part, |held| held.descriptors as f64);
    let more = descriptors(last) - descriptors(second);
    let threads = mean(last, |held| held.threads as f64) - mean(second, |held| held.threads as f64);
    let good = rss(last) <= RSS_GROWTH_MAX
        && more <= DESCRIPTORS_GROWTH_MAX
        && threads <= THREADS_GROWTH_MAX
        && answered == asked.len();
    let told = minutes >= MINUTES_LEAST;
    let line = format!(
        "soak {minutes} min: asked {} answered {answered}; memory {:.0} KiB, in the second third {:+.0} KiB, in the last {:+.0} KiB (most {RSS_GROWTH_MAX}); descriptors {:.0}, {more:+.1} (most {DESCRIPTORS_GROWTH_MAX}); threads {threads:+.1}: {}",
        asked.len(),
        mean(last, |held| held.rss as f64),
        rss(second),
        rss(last),
        descriptors(last),
        match (told, good) {
            (false, _) => "too short to tell whether it is flat",
            (true, true) => "flat",
            (true, false) => "NOT flat",
        },
    );
    println!("{line}");
    if let Some(page) = page.filter(|_| told) {
        std::fs::write(page, paged(&line, &samples, (minutes, runs)))
            .expect("the page can be written");
    }
    if told { good } else { answered == asked.len() }
}

fn paged(line: &str, samples: &[(f64, Holding)], (minutes, runs): (u64, usize)) -> String {
    let mut page = format!(
        "# {minutes} minutes of load\n\n\
Written by `make soak` of the release build: a question every {} s, {runs} at once, every {BY_QUEUE}th by the queue; each is judged for a\n\
minute at 20 probes a second of both arms. Gate, the AWS it talks to, all its targets and who asks share one machine.\n\n\
```text\n{line}\n```\n\n\
| after | memory | descriptors | threads | processor |\n| --- | --- | --- | --- | --- |\n",
        ASK_EVERY.as_secs()
    );
    let shown = samples.iter().enumerate().filter(|(number, _)| {
        number % SHOWN_EVERY == SHOWN_EVERY - 1 || number + 1 == samples.len()
    });
    for (_, (at, held)) in shown {
        let Holding { rss, descriptors, threads, cpu, .. } = held;
        let minutes = at / 60.0;
        // Writing to a string does not fail.
        let _written = writeln!(
            page,
            "| {minutes:.0} min | {rss} KiB | {descriptors} | {threads} | {cpu:.1} s |"
        );
    }
    page
}

fn mean(part: &[(f64, Holding)], of: impl Fn(&Holding) -> f64) -> f64 {
    part.iter().map(|(_, held)| of(held)).sum::<f64>() / part.len().max(1) as f64
}

/// By how much something grows over this part, by the line of least squares.
fn growth(part: &[(f64, Holding)], of: impl Fn(&Holding) -> f64) -> f64 {
    let (Some((first, _)), Some((last, _))) = (part.first(), part.last()) else { return 0.0 };
    let (at, value) =
        (part.iter().map(|(at, _)| at).sum::<f64>() / part.len() as f64, mean(part, &of));
    let covariance: f64 = part.iter().map(|(t, held)| (t - at) * (of(held) - value)).sum();
    let variance: f64 = part.iter().map(|(t, _)| (t - at).powi(2)).sum();
    if variance == 0.0 { 0.0 } else { covariance / variance * (last - first) }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_leak_is_seen_through_noise_and_noise_is_no_leak() {
        let held = |of: &dyn Fn(u64) -> u64| -> Vec<(f64, Holding)> {
            let at = |second| Holding { rss: of(second), ..Holding::default() };
            (0..120).map(|number| (number as f64 * 10.0, at(number))).collect()
        };
        let noise = |number: u64| 50_000 + number * 7919 % 1000;
        let grown = |of: &dyn Fn(u64) -> u64| growth(&held(of), |held| held.rss as f64);
        assert!(grown(&noise).abs() < 200.0, "{}", grown(&noise));
        let leak = grown(&|number| noise(number) + 50 * number);
        assert!((leak - 5950.0).abs() < 200.0, "{leak}");
    }
}
