//! HTTP requests: built from a policy, followed through redirects, with cookies and compression.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, COOKIE, HOST, HeaderMap, HeaderName,
    HeaderValue, LOCATION, SET_COOKIE,
};
use hyper::{Method, Request, Uri};
use policies::plan::{BODY_MAX_BYTES, Template};
use policies::reply::Reply;
use policies::sample::Outcome;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::compress;
use crate::exchange::{Incame, Outgoing, Route, exchange};
use crate::order::{OrderError, ReadyHeaders, Text, no_path};
use crate::probe::{Asked, Attempt, Lost, Probe, Values};
use crate::sign::{Signer, Unsigned};

/// An HTTP request, ready to be sent.
pub(crate) struct HttpProbe {
    pub(crate) route: Route,
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) headers: ReadyHeaders,
    pub(crate) body: Text,
    pub(crate) redirects: u8,
    pub(crate) compression: bool,
    pub(crate) keep: bool,
    pub(crate) signer: Option<Arc<dyn Signer>>,
}

impl fmt::Debug for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProbe").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Methods that may be sent twice (RFC 9110 §9.2.2).
const IDEMPOTENT: [Method; 5] =
    [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS];

/// Path and query.
pub(crate) enum Path {
    Fixed(Uri),
    /// With places for values.
    Open(Template),
}

impl Path {
    /// # Errors
    /// No path that can be asked for.
    pub(crate) fn new(template: &Template) -> Result<Self, OrderError> {
        let Some(path) = template.plain() else { return Ok(Self::Open(template.clone())) };
        let uri = path.parse().map_err(|_invalid| OrderError::Path(path.to_owned()))?;
        Ok(Self::Fixed(uri))
    }

    fn fill(&self, values: &Values) -> Result<Uri, Lost> {
        match self {
            Self::Fixed(path) => Ok(path.clone()),
            Self::Open(template) => template.fill(values).parse().map_err(|_invalid| no_path()),
        }
    }
}

impl Probe for HttpProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let mut asked = Asked::new();
            asked.result = self.follow(&attempt, &mut asked).await;
            asked
        })
    }
}

/// One request on the way through redirects.
#[derive(Clone)]
struct Hop {
    method: Method,
    path: Uri,
    body: Bytes,
}

impl HttpProbe {
    async fn follow(&self, attempt: &Attempt<'_>, asked: &mut Asked) -> Result<Reply, Lost> {
        let mut hop = Hop {
            method: self.method.clone(),
            path: self.path.fill(attempt.values)?,
            body: self.body.fill(attempt.values),
        };
        let authority = self.route.authority(attempt);
        let scheme = if attempt.target.tls { "https" } else { "http" };
        for left in (0..=self.redirects).rev() {
            let incame = self.send(attempt, &hop, (scheme, &authority), asked).await?;
            let next = (left > 0).then(|| redirected(&incame, &hop, scheme, &authority)).flatten();
            match next {
                Some(next) => hop = next,
                None => return self.reply(incame),
            }
        }
        // The last one through the loop returns.
        Err(Outcome::Protocol.into())
    }

    async fn send(
        &self,
        attempt: &Attempt<'_>,
        hop: &Hop,
        (scheme, authority): (&str, &str),
        asked: &mut Asked,
    ) -> Result<Incame, Lost> {
        let url = || Url::parse(&format!("{scheme}://{authority}{}", hop.path)).ok();
        let mut headers = self.headers.fill(attempt.arm, attempt.values)?;
        if self.compression {
            headers.to_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(compress::ACCEPTED));
        }
        let jar = attempt.jar.zip(attempt.jar.and_then(|_| url()));
        if let Some(cookies) = jar.as_ref().and_then(|(jar, url)| jar.header(url)) {
            headers.to_mut().insert(COOKIE, value(&cookies)?);
        }
        let first = asked.phases == policies::sample::Phases::default();
        let signing = Instant::now();
        if let Some(signer) = &self.signer {
            let signed = self.sign(signer.as_ref(), hop, (scheme, authority), headers.to_mut());
            timeout_at(attempt.deadline, signed).await.map_err(|_elapsed| Lost {
                outcome: Outcome::NotSent,
                saw: Some("credentials to sign with did not come in time".to_owned()),
            })??;
        }
        if first {
            // What came before, signing above all, was gate's own time.
            asked.began = Instant::now();
        } else {
            asked.own += signing.elapsed();
        }
        let make = |two: bool| build(hop, &headers, (scheme, authority), two, attempt.may_reuse);
        let is_safe = IDEMPOTENT.contains(&hop.method);
        let outgoing =
            Outgoing { make: &make, is_safe, keep: self.keep, most_bytes: BODY_MAX_BYTES };
        let reused = asked.reused;
        let incame = exchange(&self.route, attempt, &outgoing, asked).await?;
        if !first {
            // A redirect follows over the connection of the request before, which was new or was not.
            asked.reused = reused;
        }
        if let Some((jar, url)) = &jar {
            let set = incame.headers.get_all(SET_COOKIE).iter();
            jar.keep(url, set.filter_map(|value| value.to_str().ok()));
        }
        Ok(incame)
    }

    async fn sign(
        &self,
        signer: &dyn Signer,
        hop: &Hop,
        (scheme, authority): (&str, &str),
        headers: &mut HeaderMap,
    ) -> Result<(), Lost> {
        let url = format!("{scheme}://{authority}{}", hop.path);
        let pairs: Vec<(String, String)> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let unsigned =
            Unsigned { method: hop.method.as_str(), url: &url, headers: &pairs, body: &hop.body };
        // Without its credentials gate cannot ask: that says nothing about the target.
        let lost = |reason| Lost { outcome: Outcome::NotSent, saw: Some(reason) };
        for (name, text) in signer.sign(unsigned).await.map_err(lost)? {
            let name = HeaderName::try_from(name).map_err(|_invalid| Outcome::NotSent)?;
            let mut value = value(&text)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }

    fn reply(&self, incame: Incame) -> Result<Reply, Lost> {
        let encoding = incame.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let body = match encoding {
            Some(encoding) if self.keep => compress::inflated(encoding, incame.body)?,
            _ => incame.body,
        };
        let mut reply = Reply::new(Some(incame.status), body);
        reply.size_bytes = incame.size_bytes;
        if self.keep {
            let named = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            reply.headers = incame.headers.iter().map(named).collect();
        }
        Ok(reply)
    }
}

fn value(text: &str) -> Result<HeaderValue, Lost> {
    // A value taken from an answer may hold what no header may: the target's doing.
    HeaderValue::try_from(text).map_err(|_invalid| Lost {
        outcome: Outcome::Expectation,
        saw: Some("a value taken from an answer cannot stand in a header".to_owned()),
    })
}

fn build(
    hop: &Hop,
    headers: &HeaderMap,
    (scheme, authority): (&str, &str),
    two: bool,
    may_reuse: bool,
) -> Result<Request<Full<Bytes>>, Outcome> {
    let mut request = Request::new(Full::new(hop.body.clone()));
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = if two {
        let whole = format!("{scheme}://{authority}{}", hop.path);
        whole.try_into().map_err(|_invalid| Outcome::NotSent)?
    } else {
        hop.path.clone()
    };
    *request.headers_mut() = headers.clone();
    if !two {
        let host = HeaderValue::try_from(authority).map_err(|_invalid| Outcome::NotSent)?;
        request.headers_mut().insert(HOST, host);
        if !may_reuse {
            // Each probe has a connection of its own, as a load balancer's health check does.
            request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    Ok(request)
}

/// Where a redirect leads, if it stays at the target.
fn redirected(incame: &Incame, hop: &Hop, scheme: &str, authority: &str) -> Option<Hop> {
    let keeps_method = match incame.status {
        307 | 308 => true,
        301..=303 => false,
        _ => return None,
    };
    let location = incame.headers.get(LOCATION)?.to_str().ok()?;
    let here = Url::parse(&format!("{scheme}://{authority}{}", hop.path)).ok()?;
    let there = here.join(location).ok()?;
    // Another host, port or scheme is another service; credentials must not follow it there.
    if there.origin() != here.origin() {
        return None;
    }
    let query = there.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", there.path());
    let path = path.parse().ok()?;
    // A POST becomes a GET, as browsers have it (RFC 9110 §15.4).
    if keeps_method || hop.method == Method::GET || hop.method == Method::HEAD {
        return Some(Hop { path, ..hop.clone() });
    }
    Some(Hop { method: Method::GET, path, body: Bytes::new() })
}
