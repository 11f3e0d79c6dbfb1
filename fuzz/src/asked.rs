//! What asks, and who is let in: hooks, messages, overrides, signatures, and the agent that says who gate is.

use policies::Override;
use questions::ask::{Ask, Asked};
use questions::envelope::{self, Envelope};
use questions::hooks;
use questions::invoked::{self, Invoked};
use questions::key::Key;
use questions::overriding;
use questions::signature::{self, Unsigned, VALID_SECONDS};
use questions::task;

/// The longest id of an evaluation: what is left of a subject, and sixteen digits.
const EVALUATION_ID_MAX: usize = 64 + 1 + 16;
/// What the relay calls itself.
const RELAY: &str = "arn:aws:lambda:eu-west-1:123456789012:function:CodeDeployHook_gate";

/// Any bytes are a hook or are refused, at gate and at the relay; what the relay passes on, gate reads as the same.
pub fn hook(bytes: &[u8]) {
    let told = [
        hooks::codedeploy(bytes),
        hooks::ecs(bytes).map(|ecs| {
            assert!(ecs.told.is_none_or(|id| id.len() <= 1024));
            ecs.asked
        }),
        hooks::codepipeline(bytes).map(|(asked, job)| {
            assert!((1..=64).contains(&job.len()));
            asked
        }),
    ];
    for asked in told.iter().flatten() {
        sound(asked);
    }
    for reason in told.iter().filter_map(|told| told.as_ref().err()) {
        assert!(!reason.is_empty());
    }
    let Ok(event) = serde_json::from_slice(bytes) else { return };
    match invoked::read(event, RELAY) {
        Ok(Invoked::CodeDeploy(event)) => {
            let passed = hooks::codedeploy(&serde_json::to_vec(&event).expect("strings alone"));
            // At the relay the last of two keys of one name counts; gate itself refuses such a body.
            if let Ok(told) = &told[0] {
                let passed = passed.expect("gate takes what it was told at once");
                assert_eq!(passed.ask, told.ask);
                assert_eq!(passed.place.region.as_deref(), Some("eu-west-1"));
            }
        }
        Ok(Invoked::Job(event)) => {
            let passed = hooks::codepipeline(&serde_json::to_vec(&event).expect("strings alone"));
            if let Ok((asked, _job)) = passed {
                sound(&asked);
            }
        }
        Ok(Invoked::Ecs(_)) => {}
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// Any text is a question, a beginning or nothing, or is refused with a reason.
pub fn message(bytes: &[u8]) {
    match envelope::read(&String::from_utf8_lossy(bytes)) {
        Ok(Envelope::Asked(asked)) => sound(&asked),
        Ok(Envelope::ServiceDeploys { service_arn }) => assert!(service_arn.contains(":service/")),
        Ok(Envelope::Nothing) => {}
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// What is accepted has an id that can stand in a URL, is the same after it was written down, and shows no token.
fn sound(asked: &Asked) {
    let id = asked.ask.evaluation_id();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!((1..=EVALUATION_ID_MAX).contains(&id.len()) && id.bytes().all(plain), "{id}");
    let _until = (asked.limit(0), asked.limit(u64::MAX), asked.ask.subject().policy());
    let written = serde_json::to_string(asked).expect("numbers and strings alone");
    let read: Asked = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(&read, asked, "{written}");
    assert_eq!(read.ask.evaluation_id(), id);
    if let Ask::CodedeployHook { execution_id, .. } | Ask::Approval { token: execution_id, .. } =
        &asked.ask
    {
        assert_eq!(format!("{execution_id:?}"), "Token");
    }
}

/// Any body, from a form or as JSON, is an override that says nothing unseen or is refused with reasons of bounded length.
pub fn overriding(bytes: &[u8]) {
    for read in [overriding::of_form(bytes), overriding::of_json(bytes)] {
        let fields = &read.fields;
        let told: usize = read.faults.iter().map(String::len).sum();
        assert!(told < 8 * 1024, "{told} bytes of faults");
        let unseen = |text: &str| text.chars().any(char::is_control);
        assert!(!read.faults.iter().any(|fault| unseen(fault)), "{:?}", read.faults);
        let said = Override::new(&fields.action, &fields.by, &fields.reason, Some(&fields.lasts));
        match said {
            Ok(said) => {
                assert!(!unseen(&said.sentence()) && said.sentence().len() < 8 * 1024);
                let written = serde_json::to_string(&said).expect("strings and numbers alone");
                let again: Override = serde_json::from_str(&written).expect("it can be read");
                assert_eq!(again, said);
            }
            Err(faults) => assert!(!faults.is_empty() && faults.len() <= 8),
        }
    }
}

/// Any answer of the agent's names a task or nobody, and what it names is shown in full.
pub fn task(bytes: &[u8]) {
    match task::read(bytes) {
        Ok(task) => {
            assert!(!task.task_arn.is_empty() && task.colour.is_none());
            let shown = serde_json::to_value(&task).expect("strings alone");
            assert_eq!(shown["task_arn"], task.task_arn);
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    if let Some(protected) = task::is_protected(bytes) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains(if protected { "true" } else { "false" }), "{text}");
    }
}

/// Lines of time, signature, method and path, and a body: let in only with what one of the keys makes of them, lately.
pub fn signature(bytes: &[u8]) {
    const NOW: u64 = 1_700_000_000;
    let mut parts = bytes.splitn(5, |byte| *byte == b'\n');
    let mut next = || parts.next().map(|part| String::from_utf8_lossy(part).into_owned());
    let (time, signed) = (next(), next());
    let (method, path) = (next().unwrap_or_default(), next().unwrap_or_default());
    let body = parts.next().unwrap_or_default();
    let key = |text: &str| Key::new(text.as_bytes().to_vec()).expect("it is long enough");
    let keys = [key("the old key of 22 bytes"), key("the new key of 22 bytes")];
    // A signature that is right cannot be found by chance: these stand for one.
    let time = match time.as_deref() {
        Some("now") => Some(NOW.to_string()),
        _ => time,
    };
    let seconds = time.as_deref().and_then(|time| time.parse::<u64>().ok());
    let made = |key: &Key| signature::sign(key, &method, &path, seconds.unwrap_or_default(), body);
    let signed = match signed.as_deref() {
        Some("old") => Some(made(&keys[0])),
        Some("new") => Some(made(&keys[1])),
        Some("stranger") => Some(made(&key("the key of somebody else"))),
        _ => signed,
    };
    let told = (time.as_deref(), signed.as_deref());
    let verified = signature::verify(&keys, (&method, &path), told, body, NOW);
    let good = keys.iter().any(|key| {
        signed.as_ref().is_some_and(|signed| {
            signed
                .strip_prefix("v1=")
                .is_some_and(|hex| format!("v1={}", hex.to_lowercase()) == made(key))
        })
    });
    let fresh = seconds.is_some_and(|at| at.abs_diff(NOW) <= VALID_SECONDS);
    assert_eq!(verified.is_ok(), good && fresh, "{verified:?} {told:?}");
    assert!(verified != Err(Unsigned::Stale) || !fresh, "{told:?}");
    // Nothing that was signed is good for anything else, nor without its key.
    let other = signature::verify(&keys, (&method, &format!("{path}/")), told, body, NOW);
    assert!(other.is_err());
    assert!(signature::verify(&[], (&method, &path), told, body, NOW).is_err());
}
