//! Secrets are read from where they are, known for a while, kept while they cannot be read, and never shown.

use std::cell::Cell;
use std::io::Write;

use super::*;
use crate::aws::fake::FakeAws;
use crate::aws::{Call, Clouds, Failure};

thread_local! {
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time as this test moved it.
pub(crate) fn now() -> Instant {
    Instant::now() + AHEAD.get()
}

/// Moves the time of this test on.
pub(crate) fn advance(time: Duration) {
    AHEAD.set(AHEAD.get() + time);
}

/// A vault over an AWS from memory.
pub(crate) fn vault(aws: FakeAws) -> Vault {
    vault_of(Arc::new(aws))
}

/// The same over one that the test keeps hold of.
pub(crate) fn vault_of(aws: Arc<FakeAws>) -> Vault {
    let metrics = Arc::new(Metrics::new().unwrap());
    Vault::new(OnDemand::made(Clouds::only(aws), Arc::clone(&metrics)), metrics)
}

/// Nobody learns this secret meanwhile, as while AWS hangs.
pub(crate) async fn occupied(vault: &Vault, reference: &str) -> impl Sized + use<> {
    vault.entry(reference).lock_owned().await
}

/// What a reference comes to.
async fn read(vault: &Vault, reference: &str) -> String {
    match vault.read(reference).await {
        Ok(secret) => secret.text().to_owned(),
        Err(trouble) => {
            let lasting = if trouble.lasting { "lasting" } else { "passing" };
            format!("{lasting}, {:?}: {trouble}", trouble.blame)
        }
    }
}

async fn check(change: impl FnOnce(&mut FakeAws), reference: &str, expected: &str) {
    let mut aws = FakeAws::new();
    aws.put_secret("/checkout/token", "parameter\n");
    aws.put_secret("checkout", r#"{ "token": "of-json", "port": 8080, "list": [] }"#);
    aws.put_secret("plain", "whole");
    aws.put_secret("arn:aws:ssm:eu-west-1:123456789012:parameter/shared", "shared");
    change(&mut aws);
    let read = read(&vault(aws), reference).await;
    assert!(read.starts_with(expected), "{reference}: {read}");
}

#[tokio::test]
async fn a_secret_is_read_from_where_its_reference_says() {
    let file = std::env::temp_dir().join(format!("gate-secret-{}", std::process::id()));
    std::fs::write(&file, "in a file\r\n").unwrap();
    check(|_| (), &format!("file:{}", file.display()), "in a file").await;
    std::fs::remove_file(&file).unwrap();
    check(|_| (), "env:CARGO_PKG_NAME", "gate").await;
    check(|_| (), "ssm:/checkout/token", "parameter").await;
    check(|_| (), "ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/shared", "shared").await;
    check(|_| (), "secretsmanager:plain", "whole").await;
    check(|_| (), "secretsmanager:checkout#token", "of-json").await;
    check(|_| (), "secretsmanager:checkout#port", "8080").await;
}

#[tokio::test]
async fn what_cannot_be_read_says_why_and_which_permission_is_missing_and_never_what_it_holds() {
    let failing = |call: Call, failure: Failure| {
        move |aws: &mut FakeAws| {
            aws.failures.insert(call, failure);
        }
    };
    let denied = |call| failing(call, Failure::Denied);
    let passing = |call| failing(call, Failure::Passing);
    let large = |aws: &mut FakeAws| aws.put_secret("large", &"x".repeat(16 * 1024 + 1));
    check(|_| (), "env:NO_SUCH_VARIABLE", "lasting, User: environment variable `NO_SUCH_VARIABLE`")
        .await;
    check(|_| (), "file:/no/such/file", "lasting, User: `/no/such/file` cannot be read").await;
    check(|_| (), "vault:token", "lasting, User: `vault:` is no kind of reference; write").await;
    check(
        |_| (),
        "secretsmanager:checkout#",
        "lasting, User: what follows `secretsmanager:` is not whole",
    )
    .await;
    check(
        |_| (),
        "a password itself",
        "lasting, User: what stands there is no reference (not shown",
    )
    .await;
    check(|_| (), "ssm:/absent", "lasting, User: GetParameter of /absent failed").await;
    check(
        denied(Call::GetParameter),
        "ssm:/checkout/token",
        "lasting, User: GetParameter of /checkout/token failed: Told (to fail); allow `ssm:GetParameter`",
    )
    .await;
    check(
        denied(Call::GetSecretValue),
        "secretsmanager:checkout#token",
        "lasting, User: GetSecretValue of checkout failed: Told (to fail); allow `secretsmanager:GetSecretValue`",
    )
    .await;
    check(
        passing(Call::GetSecretValue),
        "secretsmanager:checkout",
        "passing, Aws: GetSecretValue of checkout failed",
    )
    .await;
    let taken = "lasting, User: `secretsmanager:plain#token` cannot be taken from the secret: it is no JSON object";
    check(|_| (), "secretsmanager:plain#token", taken).await;
    let absent = "lasting, User: `secretsmanager:checkout#key` cannot be taken from the secret: it has no such key";
    check(|_| (), "secretsmanager:checkout#key", absent).await;
    let list = "lasting, User: `secretsmanager:checkout#list` cannot be taken from the secret: what stands";
    check(|_| (), "secretsmanager:checkout#list", list).await;
    check(large, "ssm:large", "lasting, User: `ssm:large` is larger than 16384 bytes").await;
}

#[tokio::test]
async fn what_aws_keeps_is_read_once_in_its_lifetime_and_a_rotated_one_is_found_after_it() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/token", "first");
    let vault = vault_of(Arc::clone(&aws));
    let many = (0..10).map(|_| {
        let vault = vault.clone();
        tokio::spawn(async move { read(&vault, "ssm:/token").await })
    });
    for reading in many.collect::<Vec<_>>() {
        assert_eq!(reading.await.unwrap(), "first");
    }
    assert_eq!(aws.count(Call::GetParameter), 1, "read once for all who need it");
    aws.put_secret("/token", "second");
    advance(SECRET_LIFETIME - Duration::from_secs(1));
    assert_eq!(read(&vault, "ssm:/token").await, "first");
    advance(Duration::from_secs(1));
    assert_eq!(read(&vault, "ssm:/token").await, "second");
    assert_eq!(aws.count(Call::GetParameter), 2);
}

#[tokio::test]
async fn what_is_on_this_machine_is_read_each_time() {
    let path = std::env::temp_dir().join(format!("gate-rotated-{}", std::process::id()));
    let reference = format!("file:{}", path.display());
    let vault = vault(FakeAws::new());
    for text in ["first", "second"] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&vault, &reference).await, text);
    }
    std::fs::write(&path, "").unwrap();
    assert_eq!(read(&vault, &reference).await, "second", "half-written: the last value is kept");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn one_that_cannot_be_read_again_keeps_its_last_value_for_an_hour_and_is_counted() {
    let aws = Arc::new(FakeAws::new());
    aws.put_secret("/token", "the last");
    let vault = vault_of(Arc::clone(&aws));
    assert_eq!(read(&vault, "ssm:/token").await, "the last");
    aws.put_secret("/token", "");
    advance(SECRET_LIFETIME);
    assert_eq!(read(&vault, "ssm:/token").await, "the last");
    assert_eq!(read(&vault, "ssm:/token").await, "the last");
    assert_eq!(aws.count(Call::GetParameter), 2, "AWS is not asked again at once");
    advance(SECRET_KEPT_FOR - SECRET_LIFETIME);
    assert!(read(&vault, "ssm:/token").await.starts_with("lasting, User: GetParameter of /token"));
    let metrics = vault.metrics.text().unwrap();
    for (outcome, count) in [("read", 1), ("kept", 1), ("failed", 1)] {
        let line =
            format!("gate_secret_reads_total{{outcome=\"{outcome}\",source=\"ssm\"}} {count}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    aws.put_secret("/token", "back");
    advance(RETRY_AFTER);
    assert_eq!(read(&vault, "ssm:/token").await, "back");
}

#[tokio::test]
async fn aws_is_reached_only_where_a_reference_leads_there() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let aws = OnDemand::new(None, Vec::new(), Arc::clone(&metrics));
    let vault = Vault::new(aws.clone(), metrics);
    assert_eq!(read(&vault, "env:CARGO_PKG_NAME").await, "gate");
    assert!(!aws.is_made());
}

#[tokio::test]
async fn only_so_many_are_known_at_a_time() {
    let vault = vault(FakeAws::new());
    for number in 0..=SECRETS_MAX {
        read(&vault, &format!("env:NO_SUCH_{number}")).await;
    }
    assert_eq!(vault.known.lock().unwrap().len(), SECRETS_MAX);
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_in_no_debug_output_no_error_and_no_log() {
    const SECRETS: [&str; 2] = ["the-first-secret-of-all", "the-second-secret-of-all"];
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    // While there is but one listener, a line that another test's thread meets first asks that thread's listener
    // alone, which is none, and is silent from then on. With two, all that live are asked.
    let second = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    let _second = tracing::Dispatch::new(second.with_writer(std::io::sink).finish());
    let aws = Arc::new(FakeAws::new());
    let [first, second] = SECRETS;
    aws.put_secret("/token", first);
    let vault = vault_of(Arc::clone(&aws));
    let mut seen = format!("{:?}", vault.read("ssm:/token").await);
    aws.put_secret("/token", second);
    advance(SECRET_LIFETIME);
    seen.push_str(&format!("{:?}{vault:?}", vault.read("ssm:/token").await));
    seen.push_str(&format!("{:?}", vault.read("secretsmanager:/token#x").await));
    aws.put_secret("/token", "");
    advance(SECRET_LIFETIME);
    seen.push_str(&format!("{:?}", vault.read("ssm:/token").await));
    seen.push_str(&vault.metrics.text().unwrap());
    seen.push_str(&String::from_utf8(logged.0.lock().unwrap().clone()).unwrap());
    assert!(
        seen.contains("a secret has changed") && seen.contains("keeping its last value"),
        "{seen}"
    );
    for secret in SECRETS {
        assert!(!seen.contains(secret), "{seen}");
    }
}
