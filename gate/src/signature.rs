//! Signatures of hook requests: HMAC-SHA-256 over method, path, time and body.

use aws_lc_rs::hmac;

use crate::config::Key;

/// Header with the time of signing, in seconds since 1970.
pub(crate) const TIMESTAMP: &str = "x-gate-timestamp";
/// Header with the signature: `v1=<hex>`.
pub(crate) const SIGNATURE: &str = "x-gate-signature";
/// A signature is good for this long either way: clocks differ, and a relay may retry.
pub(crate) const VALID_SECONDS: u64 = 300;

/// Why a request is not let in. Told to the log; the sender only learns that it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error("a signature header is missing or malformed")]
    Missing,
    #[error("the timestamp is more than {VALID_SECONDS} s from this machine's clock")]
    Stale,
    #[error("no key made this signature")]
    Wrong,
}

/// The value of the signature header for a request.
pub(crate) fn sign(key: &Key, method: &str, path: &str, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
    let tag = hmac::sign(&key, &message(method, path, timestamp, body));
    format!("v1={}", hex(tag.as_ref()))
}

/// Whether one of the keys signed the request lately: the signature in one spelling, and its time. The comparison
/// takes the same time for all.
pub(crate) fn verify(
    keys: &[Key],
    (method, path): (&str, &str),
    (timestamp, signature): (Option<&str>, Option<&str>),
    body: &[u8],
    now_seconds: u64,
) -> Result<(String, u64), Unsigned> {
    let timestamp: u64 = timestamp.and_then(|text| text.parse().ok()).ok_or(Unsigned::Missing)?;
    let signature = signature.and_then(|text| text.strip_prefix("v1=")).ok_or(Unsigned::Missing)?;
    let signature = unhex(signature).ok_or(Unsigned::Missing)?;
    if timestamp.abs_diff(now_seconds) > VALID_SECONDS {
        return Err(Unsigned::Stale);
    }
    let message = message(method, path, timestamp, body);
    let good = |key: &&Key| {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.bytes()), &message, &signature).is_ok()
    };
    keys.iter().find(good).ok_or(Unsigned::Wrong)?;
    Ok((hex(&signature), timestamp))
}

fn message(method: &str, path: &str, timestamp: u64, body: &[u8]) -> Vec<u8> {
    [format!("{method}\n{path}\n{timestamp}\n").as_bytes(), body].concat()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibbles: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    nibbles?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"DeploymentId":"d-1"}"#;

    fn key(text: &str) -> Key {
        Key::new(text.as_bytes().to_vec()).unwrap()
    }

    fn check(timestamp: &str, signature: &str, now: u64, expected: Result<(), Unsigned>) {
        let keys = [key("an old key of 16 bytes"), key("the key of 16 bytes")];
        let headers = (Some(timestamp), Some(signature));
        let verified = verify(&keys, ("POST", "/hooks/codedeploy"), headers, BODY, now);
        assert_eq!(verified.map(|_tag| ()), expected);
    }

    #[test]
    fn a_request_is_let_in_only_with_a_fresh_signature_of_a_known_key() {
        let other = key("some other key of theirs");
        let key = key("the key of 16 bytes");
        let good = sign(&key, "POST", "/hooks/codedeploy", 1000, BODY);
        check("1000", &good, 1000, Ok(()));
        check("1000", &good, 1300, Ok(()));
        check("1000", &good, 1301, Err(Unsigned::Stale));
        check("1001", &good, 1000, Err(Unsigned::Wrong));
        check("1000", &sign(&key, "POST", "/hooks/ecs", 1000, BODY), 1000, Err(Unsigned::Wrong));
        check(
            "1000",
            &sign(&key, "POST", "/hooks/codedeploy", 1000, b"{}"),
            1000,
            Err(Unsigned::Wrong),
        );
        check(
            "1000",
            &sign(&other, "POST", "/hooks/codedeploy", 1000, BODY),
            1000,
            Err(Unsigned::Wrong),
        );
        let headers = (Some("1000"), Some(good.as_str()));
        let shouted = good.replace("v1=", "").to_uppercase();
        let shouted = format!("v1={shouted}");
        let again = (Some("+1000"), Some(shouted.as_str()));
        let tag = |headers| {
            verify(std::slice::from_ref(&key), ("POST", "/hooks/codedeploy"), headers, BODY, 1000)
        };
        assert_eq!(tag(headers), tag(again), "one signature, however it is spelled");
        check("1000", "v1=zz", 1000, Err(Unsigned::Missing));
        check("1000", "v1=abc", 1000, Err(Unsigned::Missing));
        check("1000", &good.replace("v1=", "v0="), 1000, Err(Unsigned::Missing));
        check("soon", &good, 1000, Err(Unsigned::Missing));
    }
}
