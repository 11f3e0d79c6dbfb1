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

/// Credentials are asked for again this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Credentials without an end, as from the environment, are asked for again after this.
const RENEW_AFTER: Duration = Duration::from_secs(900);
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
    })
}

#[derive(Debug)]
struct SigV4 {
    service: String,
    region: String,
    provider: OnceCell<Option<SharedCredentialsProvider>>,
    /// The credentials and until when they are used.
    known: Mutex<Option<(Credentials, SystemTime)>>,
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
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((credentials, until)) = known
            && now < until
        {
            return Ok(credentials);
        }
        let load = async || aws_config::from_env().load().await.credentials_provider();
        let provider = self.provider.get_or_init(load).await;
        let provider = provider.as_ref().ok_or("there are no AWS credentials to sign with")?;
        let found = provider.provide_credentials().await;
        let found = found.map_err(|error| format!("AWS credentials to sign with: {error}"))?;
        let until = match found.expiry() {
            Some(end) => end.checked_sub(RENEW_BEFORE).unwrap_or(now),
            None => now + RENEW_AFTER,
        };
        let keep = Some((found.clone(), until));
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = keep;
        Ok(found)
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

    #[test]
    fn a_signature_is_that_of_signature_version_4() {
        let signer = SigV4 {
            service: "service".to_owned(),
            region: "us-east-1".to_owned(),
            provider: OnceCell::new(),
            known: Mutex::new(None),
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
}
