//! Deadlines of the whole loop: what holds it up, and that the fallback is there in time all the same.

use std::time::Duration;

use policies::Answer;
use policies::run::{HOOK_LIMIT, MARGIN};

use super::world::{Climate, Green, Kind, SimQuestion, Trial};
use super::{Policies, STORMY, life, live};

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// One question that nothing but its deadline ends, in a world where one thing is wrong.
fn question(trial: Trial, (kind, green): (Kind, Green), policies: &Policies) -> SimQuestion {
    let climate = Climate {
        questions: 1,
        within: Duration::ZERO,
        storms: false,
        only: Some((kind, green)),
        trial: Some(trial),
    };
    let (world, _) = life::live(1, climate, &policies.0);
    let held = world.lock();
    held.questions[0].clone()
}

/// The fallback comes within the margin and the minute before it, whatever is wrong.
fn check(trial: Trial) {
    let policies = Policies::new(&format!("deadline-{trial:?}").replace([' ', '(', ')', ','], "-"));
    for kind in [Kind::Hook, Kind::Pause, Kind::Approval] {
        let question = question(trial, (kind, Green::Starved), &policies);
        let [(at, answer)] = question.accepted[..] else { panic!("{trial:?}: {question:#?}") };
        assert_eq!(answer, Answer::Rollback, "{trial:?}: {question:#?}");
        assert!(at < HOOK_LIMIT, "{trial:?}: {question:#?}");
        // A clock that is wrong by an hour may cost what is left of the judging, never the answer.
        let may_be_early = matches!(trial, Trial::Restart(_, true, 3600));
        assert!(may_be_early || at >= HOOK_LIMIT - MARGIN - minutes(1), "{trial:?}: {question:#?}");
    }
}

#[test]
fn the_fallback_is_there_in_time_whatever_is_wrong() {
    check(Trial::SlowAws(Duration::from_millis(4900)));
    check(Trial::SlowAws(Duration::from_secs(15)));
    check(Trial::DiskStalls(minutes(10)));
    for hour in [3600, -3600] {
        check(Trial::ClockSteps(minutes(10), hour));
        check(Trial::Restart(minutes(10), false, hour));
        check(Trial::Restart(minutes(10), true, hour));
    }
    check(Trial::StandsStill(minutes(30), minutes(28)));
    check(Trial::StandsStill(minutes(50), minutes(9)));
}

#[test]
fn a_target_that_hangs_is_answered_in_time() {
    let policies = Policies::new("deadline-hangs");
    let slow = Trial::SlowAws(Duration::from_secs(5));
    let question = question(slow, (Kind::Hook, Green::Hangs), &policies);
    assert!(matches!(question.accepted[..], [(at, Answer::Rollback)] if at < minutes(5)));
}

#[test]
fn a_decision_that_a_restart_comes_to_is_on_disk_before_anybody_is_told() {
    let policies = Policies::new("undecided");
    for kind in [Kind::Hook, Kind::Pause, Kind::EcsHook] {
        let climate = Climate {
            questions: 1,
            within: Duration::ZERO,
            storms: false,
            only: Some((kind, Green::Faulty)),
            trial: Some(Trial::Undecided),
        };
        let (world, counted) = life::live(1, climate, &policies.0);
        assert_eq!((counted.answered, counted.processes), (1, 2), "{kind:?}");
        assert!(world.lock().disk.is_decided_first(), "{kind:?}: {}", life::worst(&world));
    }
}

#[test]
fn who_stands_still_past_the_deadline_answers_nobody_late() {
    let policies = Policies::new("deadline-late");
    let late = Trial::StandsStill(minutes(50), minutes(11));
    for kind in [Kind::Hook, Kind::Pause] {
        let question = question(late, (kind, Green::Starved), &policies);
        assert!(question.accepted.is_empty(), "{question:#?}");
        assert!(question.tries.is_empty(), "nothing was sent: {question:#?}");
    }
}

#[test]
fn five_hundred_questions_at_once_are_all_answered_in_time() {
    let policies = Policies::new("burst");
    let (questions, within) = (500, Duration::from_secs(1));
    let slow = Some(Trial::SlowAws(Duration::from_secs(10)));
    let burst = Climate { questions, within, storms: false, trial: slow, ..STORMY };
    let counted = live(std::iter::once(7), burst, &policies);
    assert_eq!((counted.asked, counted.answered), (500, 500));
}
