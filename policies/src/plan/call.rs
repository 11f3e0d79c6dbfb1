//! What one step sends, by protocol.

use super::template::Template;

/// Headers, names in lower case.
pub type Headers = Vec<(String, HeaderValue)>;

/// What one step sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// An HTTP request.
    Http(Http),
    /// A unary gRPC call.
    Grpc(Grpc),
    /// A TCP connection, opened and closed.
    Tcp,
    /// A TLS handshake.
    Tls {
        /// Name asked for and verified, instead of the target's address.
        host: Option<String>,
    },
    /// A WebSocket, opened; one message sent, one awaited.
    WebSocket(WebSocket),
    /// An invocation of a Lambda function: of the version that is the target.
    Lambda(Lambda),
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: Template,
    /// Overrides the Host header and the TLS server name.
    pub host: Option<String>,
    /// Which HTTP is spoken.
    pub version: HttpVersion,
    /// Further headers.
    pub headers: Headers,
    /// What is sent with it.
    pub body: Option<Body>,
    /// Redirects followed, to the same target alone.
    pub redirects: u8,
    /// Whether a compressed answer is asked for.
    pub compression: bool,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, as load balancers speak to most targets.
    #[default]
    One,
    /// HTTP/2: by ALPN over TLS, by prior knowledge without.
    Two,
    /// What the target chooses by ALPN; HTTP/1.1 without TLS.
    Auto,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Written in the policy.
    Text(Template),
    /// In a file, read when probing starts.
    File(String),
}

/// A header's value, or where to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Written in the policy.
    Literal(Template),
    /// A reference such as `env:PROBE_TOKEN` or `file:/run/secrets/token`: resolved late, never recorded.
    Secret {
        /// The reference.
        reference: String,
        /// What stands before the secret: `Bearer `.
        prefix: String,
    },
}

/// A unary gRPC call.
#[derive(Clone, Debug, PartialEq)]
pub struct Grpc {
    /// `/package.Service/Method`.
    pub path: String,
    /// Overrides the authority and the TLS server name.
    pub host: Option<String>,
    /// Metadata.
    pub headers: Headers,
    /// What is sent.
    pub message: Message,
}

/// The message of a gRPC call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `grpc.health.v1.HealthCheckRequest` of a service; the answer must be `SERVING`.
    Health {
        /// Its name; empty for the server as a whole.
        service: String,
    },
    /// An encoded message.
    Encoded(Vec<u8>),
}

/// A WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocket {
    /// Path and query, starting with `/`.
    pub path: Template,
    /// Overrides the Host header and the TLS server name.
    pub host: Option<String>,
    /// Further headers of the opening request.
    pub headers: Headers,
    /// Text sent once it is open; one message is awaited then.
    pub send: Option<Template>,
}

/// An invocation of a Lambda function, answered when the function has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lambda {
    /// The event: JSON.
    pub payload: Body,
}

impl Call {
    /// The host in place of the target's address.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Http(http) => http.host.as_deref(),
            Self::Grpc(grpc) => grpc.host.as_deref(),
            Self::WebSocket(socket) => socket.host.as_deref(),
            Self::Tls { host } => host.as_deref(),
            Self::Tcp | Self::Lambda(_) => None,
        }
    }

    /// Its protocol, as policies call it.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Grpc(_) => "grpc",
            Self::Tcp => "tcp",
            Self::Tls { .. } => "tls",
            Self::WebSocket(_) => "websocket",
            Self::Lambda(_) => "lambda",
        }
    }
}
