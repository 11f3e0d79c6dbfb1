//! Orders are made anew once a secret has changed, and never in the way of the one under way.

use std::sync::Arc;
use std::time::Duration;

use policies::PolicyFile;

use super::*;
use crate::aws::fake::FakeAws;
use crate::shell::SECRET_LIFETIME;
use crate::shell::vault::tests::{advance, vault_of};

const SECRET: &str = r#"
gate: v1
probe: { http: { path: / }, headers: { authorization: { secret: "ssm:/token" } } }
objectives: [ { errors: { at-most: 1% } } ]
"#;

const PLAIN: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
";

fn plan(text: &str) -> Plan {
    let policy = PolicyFile::parse("a.policy.yaml", text).policy.unwrap();
    policy.plan(0, 0, Vec::new(), Vec::new())
}

fn orders(token: &str) -> (Orders, Arc<FakeAws>) {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/token", token);
    (Orders::new(vault_of(Arc::clone(&aws))), aws)
}

/// Whether there is a new order: AWS from memory answers within a few turns of the runtime.
async fn is_ready(orders: &mut Orders) -> bool {
    let turns = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        order = orders.ready() => {
            assert!(!format!("{order:?}").contains("token-"), "{order:?}");
            true
        }
        () = turns => false,
    }
}

#[tokio::test]
async fn a_rotated_secret_makes_a_new_order_and_one_that_is_the_same_does_not() {
    let (mut orders, aws) = orders("token-1");
    orders.make(plan(SECRET));
    assert!(is_ready(&mut orders).await);
    for (put, after, expected) in [
        ("token-1", SECRET_LIFETIME, false),
        ("token-2", Duration::ZERO, false),
        ("token-2", SECRET_LIFETIME, true),
        ("token-2", SECRET_LIFETIME, false),
        // Gone: what is under way goes on with what it has.
        ("", SECRET_LIFETIME, false),
        ("", SECRET_LIFETIME * 20, false),
        ("token-3", SECRET_LIFETIME, true),
    ] {
        aws.put_secret("/token", put);
        advance(after);
        orders.look_again();
        assert_eq!(is_ready(&mut orders).await, expected, "`{put}` after {after:?}");
    }
}

#[tokio::test]
async fn a_plan_whose_secret_is_not_there_is_made_ready_once_it_is() {
    let (mut orders, aws) = orders("");
    orders.make(plan(SECRET));
    assert!(!is_ready(&mut orders).await);
    aws.put_secret("/token", "token-1");
    advance(SECRET_LIFETIME);
    orders.look_again();
    assert!(is_ready(&mut orders).await);
}

#[tokio::test]
async fn a_plan_without_secrets_is_made_ready_once_and_the_newest_counts() {
    let (mut orders, aws) = orders("token-1");
    orders.make(plan(SECRET));
    orders.make(plan(PLAIN));
    assert!(is_ready(&mut orders).await);
    assert!(!orders.has_secrets());
    orders.look_again();
    assert!(!is_ready(&mut orders).await);
    orders.make(plan(SECRET));
    orders.stop();
    orders.look_again();
    assert!(!is_ready(&mut orders).await);
    assert_eq!(aws.count(crate::aws::Call::GetParameter), 0);
}
