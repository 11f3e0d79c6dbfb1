//! Probes signed by AWS Signature Version 4, with the credentials gate runs with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use probes::{Signer, Signing, Unsigned};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Credentials are asked for again this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Credentials without an end, as from the environment, are asked for again after this.
const RENEW_AFTER: Duration = Duration::from_secs(900);
/// Before they are asked for once more, where that failed or gave the old ones.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// How long asking may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(5);
/// VPC Lattice signs no payloads.
//= https://docs.aws.amazon.com/vpc-lattice/latest/ug/sigv4-authenticated-requests.html
const UNSIGNED_PAYLOAD: &str = "vpc-lattice-svcs";

/// A signer for a service in a region.
pub(crate) fn signer(service: &str, region: &str) -> Arc<dyn Signer> {
    Arc::new(SigV4 {
        service: service.to_owned(),
        region: region.to_owned(),
        provider: OnceCell::new(),
        known: Mutex::new(None),
        asking: tokio::sync::Mutex::new(()),
    })
}

#[derive(Debug)]
struct SigV4 {
    service: String,
    region: String,
    provider: OnceCell<Option<SharedCredentialsProvider>>,
    /// The credentials and until when they are used.
    known: Mutex<Option<(Credentials, SystemTime)>>,
    asking: tokio::sync::Mutex<()>,
}

impl Signer for SigV4 {
    fn sign<'a>(&'a self, request: Unsigned<'a>) -> Signing<'a> {
        Box::pin(async move {
            let credentials = self.credentials().await?;
            self.headers(&request, credentials, SystemTime::now())
        })
    }
}

impl SigV4 {
    async fn credentials(&self) -> Result<Credentials, String> {
        let now = SystemTime::now();
        if let Some(credentials) = self.known(now) {
            return Ok(credentials);
        }
        // One asks, the others wait for what comes of it.
        let _asking = self.asking.lock().await;
        if let Some(credentials) = self.known(now) {
            return Ok(credentials);
        }
        let renewed = timeout(RENEW_TIMEOUT, self.renew(now)).await;
        let renewed =
            renewed.unwrap_or_else(|_elapsed| Err("they did not come in time".to_owned()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (renewed, &mut *known) {
            (Ok((credentials, until)), known) => {
                *known = Some((credentials.clone(), until));
                Ok(credentials)
            }
            // Those there are last a while yet, and who gives them must not be asked by every probe.
            (Err(_), Some((credentials, until)))
                if credentials.expiry().is_none_or(|end| now < end) =>
            {
                *until = now + RENEW_AGAIN;
                Ok(credentials.clone())
            }
            (Err(error), _) => Err(format!("AWS credentials to sign with: {error}")),
        }
    }

    /// Those that need not be renewed yet.
    fn known(&self, now: SystemTime) -> Option<Credentials> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(_, until)| now < *until).map(|(credentials, _)| credentials.clone())
    }

    async fn renew(&self, now: SystemTime) -> Result<(Credentials, SystemTime), String> {
        let load = async || aws_config::from_env().load().await.credentials_provider();
        let provider = self.provider.get_or_init(load).await;
        let provider = provider.as_ref().ok_or("there are none")?;
        let found = provider.provide_credentials().await.map_err(|error| error.to_string())?;
        let until = match found.expiry() {
            Some(end) => end.checked_sub(RENEW_BEFORE).unwrap_or(now).max(now + RENEW_AGAIN),
            None => now + RENEW_AFTER,
        };
        Ok((found, until))
    }

    fn headers(
        &self,
        request: &Unsigned<'_>,
        credentials: Credentials,
        now: SystemTime,
    ) -> Result<Vec<(String, String)>, String> {
        let told = |error: &dyn std::fmt::Display| format!("the request cannot be signed: {error}");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        let body = if self.service == UNSIGNED_PAYLOAD {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            SignableBody::UnsignedPayload
        } else {
            SignableBody::Bytes(request.body)
        };
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| told(&error))?
            .into();
        let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(request.method, request.url, headers, body)
            .map_err(|error| told(&error))?;
        let (signed, _) = sign(signable, &params).map_err(|error| told(&error))?.into_parts();
        let pairs = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(pairs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::error::CredentialsError;

    #[test]
    fn a_signature_is_that_of_signature_version_4() {
        let signer = SigV4 {
            service: "service".to_owned(),
            region: "us-east-1".to_owned(),
            provider: OnceCell::new(),
            known: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
        };
        // The example of AWS's own test suite: get-vanilla, 2015-08-30T12:36:00Z.
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let request = Unsigned {
            method: "GET",
            url: "https://example.amazonaws.com/",
            headers: &[],
            body: b"",
        };
        let headers = signer.headers(&request, credentials, now).unwrap();
        let found = |name: &str| headers.iter().find(|(key, _)| key == name).unwrap().1.as_str();
        assert_eq!(found("x-amz-date"), "20150830T123600Z");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(found("authorization"), expected);
    }

    /// Gives nothing any more.
    #[derive(Debug)]
    struct Failing;

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(
            &'a self,
        ) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = CredentialsError::provider_error("the endpoint is down");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }

    /// Credentials that ought to be renewed and end in `left`, from one who gives none any more.
    async fn renewed(left: Duration) -> Result<Credentials, String> {
        let now = SystemTime::now();
        let known = Credentials::new("id", "secret", None, Some(now + left), "test");
        let signer = SigV4 {
            service: "service".to_owned(),
            region: "us-east-1".to_owned(),
            provider: OnceCell::new_with(Some(Some(SharedCredentialsProvider::new(Failing)))),
            known: Mutex::new(Some((known, now))),
            asking: tokio::sync::Mutex::new(()),
        };
        let found = signer.credentials().await;
        let asked_again = signer.known(SystemTime::now()).is_none();
        assert_eq!(asked_again, left.is_zero(), "who fails is not asked for each probe");
        found
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_renewed_are_used_to_their_end() {
        renewed(Duration::from_secs(200)).await.unwrap();
        let refused = renewed(Duration::ZERO).await.unwrap_err();
        assert!(refused.contains("AWS credentials to sign with"), "{refused}");
    }
}
