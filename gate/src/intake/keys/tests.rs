//! Hook keys are rotated without a restart and without a refused hook.

use super::*;
use crate::aws::fake::FakeAws;
use crate::shell::vault::tests::{advance, vault_of};
use crate::signature::{sign, verify};

const PATH: &str = "/hooks/codedeploy";

fn key(text: &str) -> Key {
    Key::new(text.as_bytes().to_vec()).unwrap()
}

async fn keys(aws: &Arc<FakeAws>, references: &[&str]) -> Keys {
    let mut faults = Vec::new();
    let references = references.iter().map(|reference| (*reference).to_owned()).collect();
    let keys = Keys::read("hooks.keys", vault_of(Arc::clone(aws)), references, &mut faults).await;
    assert_eq!(faults, [""; 0]);
    keys
}

/// A hook signed by this key is taken, or refused.
async fn check(keys: &Keys, by: &str, expected: Result<(), Unsigned>) {
    let signature = sign(&key(by), "POST", PATH, 1000, b"hook");
    let signed = (Some("1000"), Some(signature.as_str()));
    let admitted = keys.admit(|keys| verify(keys, ("POST", PATH), signed, b"hook", 1000)).await;
    let admitted = admitted.map(|_tag| ());
    assert_eq!(admitted, expected, "signed by `{by}`");
}

const OLD: &str = "the old key of more than 16 bytes";
const NEW: &str = "the new key of more than 16 bytes";
const OTHER: &str = "some other key of their own";

#[tokio::test]
async fn a_rotated_key_is_good_at_once_and_the_one_before_it_for_a_while() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("hook", OLD);
    let keys = keys(&aws, &["secretsmanager:hook"]).await;
    check(&keys, OLD, Ok(())).await;
    check(&keys, OTHER, Err(Unsigned::Wrong)).await;
    advance(FORCED_EVERY);
    aws.put_secret("hook", NEW);
    check(&keys, NEW, Ok(())).await;
    check(&keys, OLD, Ok(())).await;
    advance(KEY_OVERLAP);
    check(&keys, OLD, Err(Unsigned::Wrong)).await;
    check(&keys, NEW, Ok(())).await;
}

#[tokio::test]
async fn a_rotated_key_is_found_in_the_background_too() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("hook", OLD);
    let keys = keys(&aws, &["secretsmanager:hook"]).await;
    aws.put_secret("hook", NEW);
    advance(SECRET_LIFETIME);
    assert_eq!(keys.reread(SECRET_LIFETIME).await, []);
    assert!(keys.known() == [key(NEW), key(OLD)], "the new one, and the one before it");
}

#[tokio::test]
async fn any_of_several_keys_is_good() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/hook/a", OLD);
    aws.put_secret("/hook/b", NEW);
    let keys = keys(&aws, &["ssm:/hook/a", "ssm:/hook/b"]).await;
    check(&keys, OLD, Ok(())).await;
    check(&keys, NEW, Ok(())).await;
    check(&keys, OTHER, Err(Unsigned::Wrong)).await;
}

#[tokio::test]
async fn wrong_signatures_make_gate_ask_aws_no_more_often_than_every_ten_seconds() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/hook", OLD);
    let keys = keys(&aws, &["ssm:/hook"]).await;
    advance(FORCED_EVERY);
    for _ in 0..100 {
        check(&keys, OTHER, Err(Unsigned::Wrong)).await;
    }
    assert_eq!(aws.count(crate::aws::Call::GetParameter), 2);
}

#[tokio::test]
async fn a_key_put_there_by_mistake_leaves_the_one_before_in_force() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/hook", OLD);
    let keys = keys(&aws, &["ssm:/hook"]).await;
    aws.put_secret("/hook", "short");
    advance(SECRET_LIFETIME);
    let unread = keys.reread(SECRET_LIFETIME).await;
    assert!(
        matches!(unread.as_slice(), [(_, why)] if why.contains("shorter than 16")),
        "{unread:?}"
    );
    check(&keys, OLD, Ok(())).await;
}

#[tokio::test]
async fn while_no_key_can_be_read_every_hook_is_refused() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/hook", OLD);
    let keys = keys(&aws, &["ssm:/hook"]).await;
    aws.put_secret("/hook", "");
    advance(Duration::from_secs(3600));
    assert_eq!(keys.reread(SECRET_LIFETIME).await.len(), 1);
    assert!(keys.are_required());
    check(&keys, OLD, Err(Unsigned::Wrong)).await;
}
