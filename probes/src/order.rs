//! A plan made ready to send: requests built, secrets in place, patterns compiled.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use policies::Arm;
use policies::plan::{
    BODY_MAX_BYTES, Body, Call, HeaderValue as Written, Headers, HttpVersion, Plan, Step, Template,
};
use policies::sample::Outcome;

use crate::exchange::Route;
use crate::function::{FunctionProbe, Invoker};
use crate::grpc::GrpcProbe;
use crate::http::{HttpProbe, Path};
use crate::probe::{Lost, Probe, Values};
use crate::sign::{Signer, signer};
use crate::tcp::TcpProbe;
use crate::tls::TlsProbe;
use crate::trust::Trust;
use crate::websocket::WebSocketProbe;

/// Marks every probe, so that a service's own logs can tell it from a customer.
pub(crate) const AGENT: &str = concat!("gate/", env!("CARGO_PKG_VERSION"));
/// Secrets shorter than this are not looked for in what targets answer: they would be found everywhere.
pub(crate) const SECRET_MIN_BYTES: usize = 4;

/// How references of a policy are looked up.
pub trait Lookup {
    /// The text behind `env:NAME` or `file:PATH`. A reason never holds what is in it.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn text(&self, reference: &str) -> Result<String, String>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("`{path}` cannot be read here"))
    }

    /// A signer with the credentials this program runs with.
    ///
    /// # Errors
    /// There are none.
    fn sigv4(&self, service: &str, region: &str) -> Result<Arc<dyn Signer>, String> {
        Err(format!("there are no credentials to sign for {service} in {region} with"))
    }

    /// What invokes functions where the targets are.
    ///
    /// # Errors
    /// There are no credentials for it.
    fn invoker(&self) -> Result<Arc<dyn Invoker>, String> {
        Err("only a deployment of a function says where its versions are".to_owned())
    }
}

impl<F: Fn(&str) -> Result<String, String>> Lookup for F {
    fn text(&self, reference: &str) -> Result<String, String> {
        self(reference)
    }
}

/// How probes follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// When they are due, whatever the target does.
    #[default]
    Open,
    /// When they are due, but at most so many at a time: one that has to wait for another's answer is not
    /// late, the target is slow.
    Bounded {
        /// At a time.
        connections: usize,
    },
    /// One after the other, so many at a time: as fast as the target answers.
    Closed {
        /// At a time.
        connections: usize,
    },
}

/// A plan ready to be sent. Debug output leaves out what may hold secrets.
#[derive(Clone)]
pub struct Order {
    /// What to probe and how often.
    pub plan: Plan,
    /// How probes follow each other.
    pub pace: Pace,
    pub(crate) scenarios: Arc<[Ready]>,
    pub(crate) signals: Arc<[String]>,
    pub(crate) trust: Arc<Trust>,
    secrets: Arc<[String]>,
}

/// A scenario ready to be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Its place among the signals, if it has one.
    pub(crate) signal: Option<usize>,
    pub(crate) steps: Vec<ReadyStep>,
    /// Whether any request has a place for a value.
    pub(crate) has_places: bool,
}

/// A step ready to be sent.
#[derive(Debug)]
pub(crate) struct ReadyStep {
    pub(crate) signal: Option<usize>,
    pub(crate) probe: Arc<dyn Probe>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A plan that cannot be sent. A secret is never part of the message.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// A method that is none.
    #[error("`{0}` is not a method")]
    Method(String),
    /// A path that cannot be asked for.
    #[error("`{0}` is not a path")]
    Path(String),
    /// A header's name is none.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// A header's value has characters no header may have.
    #[error("the value of header `{0}` has characters no header may have")]
    Value(String),
    /// A header's secret could not be read.
    #[error("the secret for header `{header}` could not be read: {reason}")]
    Secret {
        /// Header it is for.
        header: String,
        /// Why, without the secret.
        reason: String,
    },
    /// A body could not be read.
    #[error("the body of a request could not be read: {reason}")]
    Body {
        /// Why.
        reason: String,
    },
    /// `client-tls` is unusable.
    #[error("`{what}` of `client-tls` is unusable: {reason}")]
    Tls {
        /// Which part of it.
        what: &'static str,
        /// Why, without what is in it.
        reason: String,
    },
    /// Functions cannot be invoked.
    #[error("functions cannot be invoked from here: {reason}")]
    Function {
        /// Why.
        reason: String,
    },
    /// Requests cannot be signed.
    #[error("requests cannot be signed: {reason}")]
    Sign {
        /// Why, without the key.
        reason: String,
    },
}

impl Order {
    /// Makes a plan ready.
    ///
    /// # Errors
    /// A reference that cannot be read, or what it holds is unusable.
    pub fn new(plan: Plan, lookup: &impl Lookup) -> Result<Self, OrderError> {
        let script = Arc::clone(&plan.script);
        let trust = Arc::new(Trust::new(&script.tls, lookup)?);
        let signer = script.sign.as_ref().map(|sign| signer(sign, lookup)).transpose()?;
        let signals = script.signals();
        let mut making = Making {
            lookup,
            trust: Arc::clone(&trust),
            signer,
            secrets: Vec::new(),
            steps: 0,
            plan: &plan,
        };
        let place = |name: &str| signals.iter().position(|signal| signal == name);
        let mut scenarios = Vec::with_capacity(script.scenarios.len());
        for scenario in &script.scenarios {
            let mut steps = Vec::with_capacity(scenario.steps.len());
            for step in &scenario.steps {
                let signal = scenario.signal_of(step).and_then(|name| place(&name));
                steps.push(ReadyStep { signal, probe: making.probe(step)? });
            }
            let signal = place(&scenario.name).filter(|_| !scenario.name.is_empty());
            let green = script.green_headers.iter();
            let has_places = scenario.steps.iter().any(|step| has_places(&step.call))
                || green.map(|(_, value)| value).any(header_has_places);
            scenarios.push(Ready { signal, steps, has_places });
        }
        let mut secrets = making.secrets;
        // One may hold another: the longest is looked for first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        let secrets = secrets.into();
        let (scenarios, signals) = (scenarios.into(), signals.into());
        Ok(Self { plan, pace: Pace::Open, scenarios, signals, trust, secrets })
    }

    /// What was seen, with every secret that gate sent left out: a target may echo it.
    pub(crate) fn redacted(&self, mut seen: String) -> String {
        for secret in self.secrets.iter() {
            if seen.contains(secret.as_str()) {
                seen = seen.replace(secret.as_str(), "***");
            }
            // A sentence that was cut may end within one.
            let Some(cut) = seen.strip_suffix('…') else { continue };
            let begins = (SECRET_MIN_BYTES..secret.len()).rev();
            let mut begins = begins.filter_map(|length| secret.get(..length));
            if let Some(kept) = begins.find_map(|begin| cut.strip_suffix(begin)) {
                seen = format!("{kept}***…");
            }
        }
        seen
    }
}

/// Only a value taken from an answer can spoil a path: the policy's own text was checked.
pub(crate) fn no_path() -> Lost {
    Lost {
        outcome: Outcome::Expectation,
        saw: Some("a value taken from an answer cannot stand in the path".to_owned()),
    }
}

fn has_places(call: &Call) -> bool {
    let open = |template: &Template| template.plain().is_none();
    let headers = |headers: &Headers| headers.iter().any(|(_, value)| header_has_places(value));
    match call {
        Call::Http(http) => {
            let body = matches!(&http.body, Some(Body::Text(text)) if open(text));
            open(&http.path) || body || headers(&http.headers)
        }
        Call::WebSocket(socket) => {
            open(&socket.path) || socket.send.as_ref().is_some_and(open) || headers(&socket.headers)
        }
        Call::Grpc(grpc) => headers(&grpc.headers),
        Call::Lambda(lambda) => matches!(&lambda.payload, Body::Text(text) if open(text)),
        Call::Tcp | Call::Tls { .. } => false,
    }
}

fn header_has_places(value: &Written) -> bool {
    matches!(value, Written::Literal(template) if template.plain().is_none())
}

/// What the steps of one order share while they are made ready.
struct Making<'a> {
    lookup: &'a dyn Lookup,
    trust: Arc<Trust>,
    signer: Option<Arc<dyn Signer>>,
    secrets: Vec<String>,
    steps: usize,
    plan: &'a Plan,
}

impl Making<'_> {
    fn probe(&mut self, step: &Step) -> Result<Arc<dyn Probe>, OrderError> {
        self.steps += 1;
        let script = &self.plan.script;
        let mut route = Route {
            trust: Arc::clone(&self.trust),
            host: step.call.host().map(str::to_owned),
            server_name: script.tls.server_name.clone(),
            version: HttpVersion::One,
            step: self.steps,
            idle_max: script.connections.idle_max,
        };
        Ok(match &step.call {
            Call::Http(http) => {
                route.version = http.version;
                let body = http.body.as_ref().map(|body| self.text(body)).transpose()?;
                let body = body.unwrap_or(Text::Fixed(Bytes::new()));
                let expect = &step.expect;
                Arc::new(HttpProbe {
                    route,
                    method: Method::from_bytes(http.method.as_bytes())
                        .map_err(|_refused| OrderError::Method(http.method.clone()))?,
                    path: Path::new(&http.path)?,
                    headers: self.headers(&http.headers)?,
                    body,
                    redirects: http.redirects,
                    compression: http.compression,
                    keep: expect.looks_at_body()
                        || !expect.headers.is_empty()
                        || !step.take.is_empty(),
                    signer: self.signer.clone(),
                })
            }
            Call::Grpc(grpc) => {
                route.version = HttpVersion::Two;
                let headers = self.headers(&grpc.headers)?;
                let (path, message) = (grpc.path.clone(), grpc.message.clone());
                Arc::new(GrpcProbe { route, path, headers, message })
            }
            Call::WebSocket(socket) => {
                let headers = self.headers(&socket.headers)?;
                let (path, send) = (socket.path.clone(), socket.send.clone());
                Arc::new(WebSocketProbe { route, path, headers, send })
            }
            Call::Lambda(lambda) => {
                let event = self.text(&lambda.payload)?;
                let told = |reason| OrderError::Function { reason };
                Arc::new(FunctionProbe { invoker: self.lookup.invoker().map_err(told)?, event })
            }
            Call::Tls { .. } => Arc::new(TlsProbe { route }),
            Call::Tcp => Arc::new(TcpProbe),
        })
    }

    fn text(&self, body: &Body) -> Result<Text, OrderError> {
        Ok(match body {
            Body::Text(template) => match template.plain() {
                Some(text) => Text::Fixed(Bytes::copy_from_slice(text.as_bytes())),
                None => Text::Open(template.clone()),
            },
            Body::File(path) => Text::Fixed(self.file(path)?),
        })
    }

    fn file(&self, path: &str) -> Result<Bytes, OrderError> {
        let told = |reason| OrderError::Body { reason };
        let bytes = self.lookup.file(path).map_err(told)?;
        if bytes.len() > BODY_MAX_BYTES {
            return Err(told(format!("`{path}` is larger than {BODY_MAX_BYTES} bytes")));
        }
        Ok(bytes.into())
    }

    fn headers(&mut self, written: &Headers) -> Result<ReadyHeaders, OrderError> {
        let mut both = self.some(written)?;
        both.fixed.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        let green = self.some(&self.plan.script.green_headers)?;
        Ok(ReadyHeaders { both, green })
    }

    fn some(&mut self, written: &Headers) -> Result<SomeHeaders, OrderError> {
        let mut some = SomeHeaders::default();
        for (name, value) in written {
            let key = HeaderName::try_from(name.as_str())
                .map_err(|_refused| OrderError::Name(name.clone()))?;
            let (text, is_secret) = match value {
                Written::Literal(template) => match template.plain() {
                    Some(text) => (text.to_owned(), false),
                    None => {
                        some.open.push((key, template.clone()));
                        continue;
                    }
                },
                Written::Secret { reference, prefix } => {
                    let told = |reason| OrderError::Secret { header: name.clone(), reason };
                    let secret = self.lookup.text(reference).map_err(told)?;
                    let text = format!("{prefix}{secret}");
                    if secret.len() >= SECRET_MIN_BYTES {
                        // As JSON would echo it, too.
                        let escaped = secret.replace('\\', "\\\\").replace('"', "\\\"");
                        self.secrets.extend((escaped != secret).then_some(escaped));
                        self.secrets.push(secret);
                    }
                    (text, true)
                }
            };
            let mut value =
                HeaderValue::try_from(text).map_err(|_refused| OrderError::Value(name.clone()))?;
            value.set_sensitive(is_secret);
            some.fixed.append(key, value);
        }
        Ok(some)
    }
}

/// Text of a request.
pub(crate) enum Text {
    Fixed(Bytes),
    Open(Template),
}

impl Text {
    pub(crate) fn fill(&self, values: &Values) -> Bytes {
        match self {
            Self::Fixed(bytes) => bytes.clone(),
            Self::Open(template) => template.fill(values).into(),
        }
    }
}

/// Headers of a request.
pub(crate) struct ReadyHeaders {
    both: SomeHeaders,
    green: SomeHeaders,
}

#[derive(Default)]
struct SomeHeaders {
    fixed: HeaderMap,
    /// With places for values.
    open: Vec<(HeaderName, Template)>,
}

impl ReadyHeaders {
    /// The headers for an arm, with values in their places.
    ///
    /// # Errors
    /// A value that cannot stand in a header.
    pub(crate) fn fill(&self, arm: Arm, values: &Values) -> Result<Cow<'_, HeaderMap>, Lost> {
        let green = (arm == Arm::Green).then_some(&self.green);
        let is_plain = |some: &SomeHeaders| some.fixed.is_empty() && some.open.is_empty();
        if self.both.open.is_empty() && green.is_none_or(is_plain) {
            return Ok(Cow::Borrowed(&self.both.fixed));
        }
        let mut headers = self.both.fixed.clone();
        if let Some(green) = green {
            for (name, value) in &green.fixed {
                headers.insert(name, value.clone());
            }
        }
        for (name, template) in self.both.open.iter().chain(green.into_iter().flat_map(|g| &g.open))
        {
            let value = HeaderValue::try_from(template.fill(values)).map_err(|_invalid| Lost {
                outcome: Outcome::Expectation,
                saw: Some(format!("a value taken from an answer cannot stand in header {name}")),
            })?;
            headers.insert(name, value);
        }
        Ok(Cow::Owned(headers))
    }
}
