//! What was asked, and what came of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::tests::cloud::{Answer, Cloud, Deployment};

/// What a question is about, and so what the answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A release that is to go on.
    Healthy,
    /// One that is to be failed.
    Failing,
    /// One whose deployment somebody else ends: no answer is needed, and none but what is due is right.
    EndedByOthers { fails: bool },
}

/// A question.
#[derive(Clone, Debug)]
pub struct Question {
    pub deployment: String,
    pub kind: Kind,
    pub by_queue: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Ledger {
    questions: Mutex<Vec<Question>>,
    enough: AtomicBool,
    forgotten: AtomicU32,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, question: Question) {
        self.lock().push(question);
    }

    pub fn questions(&self) -> Vec<Question> {
        self.lock().clone()
    }

    /// No further question is asked.
    pub fn enough(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    pub fn is_enough(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    /// Gate did not know a question that it had acknowledged.
    pub fn forgotten(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    /// Sums up, by what AWS has.
    pub fn count(&self, cloud: &Cloud) -> Counts {
        let mut counts =
            Counts { forgotten: self.forgotten.load(Ordering::Relaxed), ..Counts::default() };
        for question in self.questions() {
            let deployment = cloud.deployment(&question.deployment);
            counts.add(&question, &deployment);
        }
        counts
    }
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    asked: u32,
    answered: u32,
    lost: u32,
    twice: u32,
    late: u32,
    wrong: u32,
    forgotten: u32,
    ended_by_others: u32,
    by_queue: u32,
    sent_again: usize,
    slowest: f64,
}

impl Counts {
    fn add(&mut self, question: &Question, deployment: &Deployment) {
        let accepted: Vec<_> = deployment.accepted().collect();
        self.by_queue += u32::from(question.by_queue);
        if is_twice(&deployment.answers) {
            self.twice += 1;
            eprintln!("answered twice: {} {:?}", question.deployment, deployment.answers);
        }
        let expected = match question.kind {
            Kind::Healthy => "Succeeded",
            Kind::Failing => "Failed",
            Kind::EndedByOthers { fails } => {
                self.ended_by_others += 1;
                let due = if fails { "Failed" } else { "Succeeded" };
                if accepted.iter().any(|answer| answer.status != due) {
                    self.wrong += 1;
                    eprintln!("wrong: {} {:?}", question.deployment, question.kind);
                }
                return;
            }
        };
        self.asked += 1;
        self.sent_again += deployment.answers.len().saturating_sub(1);
        match (accepted.as_slice(), deployment.answers.first()) {
            ([answer, ..], _) => {
                self.answered += 1;
                self.slowest = self.slowest.max(answer.after.as_secs_f64());
                if answer.status != expected {
                    self.wrong += 1;
                    eprintln!("wrong: {} {:?}", question.deployment, question.kind);
                }
            }
            ([], Some(late)) => {
                self.late += 1;
                eprintln!("late: {} {late:?}", question.deployment);
            }
            ([], None) => {
                self.lost += 1;
                eprintln!("lost: {question:?}");
            }
        }
    }

    /// The line that others read.
    pub fn line(&self) -> String {
        let Self { asked, answered, lost, twice, late, .. } = self;
        format!("asked {asked} answered {answered} lost {lost} twice {twice} late {late}")
    }

    pub fn is_good(&self) -> bool {
        let bad = self.lost + self.twice + self.late + self.wrong + self.forgotten;
        bad == 0 && self.asked == self.answered && self.asked > 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "by the queue {}; besides, ended by other hands {}; wrong {}; acknowledged and forgotten {}; sent again after a kill {}, refused by AWS as over; slowest answer {:.1} s",
            self.by_queue,
            self.ended_by_others,
            self.wrong,
            self.forgotten,
            self.sent_again,
            self.slowest
        )
    }
}

/// Accepted twice, or said otherwise, or sent again by a gate that had read the reply and was not killed since.
fn is_twice(answers: &[Answer]) -> bool {
    let mut before = answers.iter().zip(answers.iter().skip(1));
    let again = before.any(|(before, answer)| {
        before.status != answer.status
            || (before.replied && (&before.by, before.life) == (&answer.by, answer.life))
    });
    again || answers.iter().filter(|answer| answer.accepted).count() > 1
}

#[cfg(test)]
mod test {
    use std::time::Duration;

    use super::*;

    fn answer(status: &str, accepted: bool, replied: bool, life: u64) -> Answer {
        let (status, by) = (status.to_owned(), "gate".to_owned());
        Answer { status, after: Duration::from_secs(1), accepted, replied, by, life }
    }

    #[test]
    fn what_is_sent_again_is_twice_unless_its_reply_was_lost_or_its_sender_killed() {
        let first = || answer("Failed", true, true, 1);
        for (answers, twice) in [
            (vec![first()], false),
            (vec![first(), answer("Failed", false, true, 2)], false),
            (vec![answer("Failed", true, false, 1), answer("Failed", false, true, 1)], false),
            (vec![first(), answer("Failed", false, true, 1)], true),
            (vec![first(), answer("Succeeded", false, true, 2)], true),
            (vec![first(), answer("Failed", true, true, 2)], true),
        ] {
            assert_eq!(is_twice(&answers), twice, "{answers:?}");
        }
    }
}
