//! Every key of a policy's probe.

use super::{Form, KeyShape, Needs, Shape, key, must};

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub(in crate::document) static PROBE: Shape = Shape {
    what: "`probe`",
    about: "What to probe, how often, and what to expect.",
    needs: Needs::One(&[
        &["http"],
        &["grpc"],
        &["tcp"],
        &["tls"],
        &["websocket"],
        &["lambda"],
        &["scenarios"],
    ]),
    keys: &[
        key("http", Form::Map(&HTTP), "", "an HTTP request, and the answer that is good"),
        key("grpc", Form::Map(&GRPC), "", "a unary gRPC call; by default the health of the server"),
        key("tcp", Form::Map(&TCP), "", "a TCP connection, opened and closed: `tcp: {}`"),
        key("tls", Form::Map(&TLS), "", "a TLS handshake: `tls: {}`"),
        key(
            "websocket",
            Form::Map(&WEBSOCKET),
            "",
            "a WebSocket, opened; one message and its answer",
        ),
        key("lambda", Form::Map(&LAMBDA), "", "an invocation of the version: `lambda: {}`"),
        key(
            "scenarios",
            Form::List(&Form::Map(&SCENARIO)),
            "",
            "requests in a row, with values taken from one answer into the next request; at most 16",
        ),
        key(
            "headers",
            HEADERS,
            "none",
            "on every request; name: value, or name: `{ secret: \"env:NAME\" }`",
        ),
        key(
            "green-headers",
            HEADERS,
            "none",
            "on green's requests alone: `x-amzn-ecs-blue-green-test` where Service Connect routes by it",
        ),
        key(
            "via",
            Form::Words(&["auto", "tasks", "listener", "both"]),
            "auto",
            "`tasks`: task addresses. `listener`: test listener for green, production listener for blue. `both`. `auto`: tasks where the target group has addresses, else the listener",
        ),
        key(
            "rate",
            Form::Either(&[Form::Rate, Form::List(&Form::Map(&SEGMENT))]),
            "20/s",
            "for each arm, shared by its targets; 1/m to 20000/s. A list makes steps and ramps; its last rate is kept",
        ),
        key("timeout", Form::Duration, "2s", "of one probe with all its steps, 10 ms to 60 s"),
        key(
            "warm-up",
            Form::Duration,
            "0s",
            "probed and counted, not judged; rounded up to whole ticks",
        ),
        key(
            "connections",
            Form::Either(&[Form::Words(&["new", "reuse"]), Form::Map(&CONNECTIONS)]),
            "`new` up to 100/s, else `reuse`",
            "`new` for each probe, as load balancers do; `reuse`; or a share of each, reported apart",
        ),
        key("client-tls", Form::Map(&CLIENT_TLS), "", "how TLS is spoken; it is always verified"),
        key("sign", Form::Map(&SIGN), "nothing", "how requests are signed"),
        key(
            "scrape",
            Form::Map(&SCRAPE),
            "`/metrics`",
            "where green's targets show their own metrics, for `metrics` objectives",
        ),
    ],
};

pub(in crate::document) static SEGMENT: Shape = Shape {
    what: "a step of `rate`",
    about: "A time in which the rate is constant or changes evenly.",
    needs: Needs::One(&[&["rate"], &["ramp-to"]]),
    keys: &[
        key("rate", Form::Rate, "", "kept for this time"),
        key("ramp-to", Form::Rate, "", "reached evenly from the rate before"),
        must("for", Form::Duration, "write `for: 30s`", "how long"),
    ],
};

pub(in crate::document) static SCRAPE: Shape = Shape {
    what: "`scrape`",
    about: "Where targets show their own metrics.",
    needs: Needs::Nothing,
    keys: &[
        key("path", Form::Text, "/metrics", "path and query"),
        key("port", Form::Number, "the target's", "of plain HTTP, beside the service's own"),
    ],
};

pub(in crate::document) static CONNECTIONS: Shape = Shape {
    what: "`connections`",
    about: "Which connections carry the probes.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "reuse",
            Form::Part,
            "write `reuse: 50%`",
            "share of the probes that may use one again",
        ),
        key(
            "max-idle",
            Form::Duration,
            "4s",
            "one idle for longer is not used again, 100 ms to 10 m",
        ),
    ],
};

pub(in crate::document) static CLIENT_TLS: Shape = Shape {
    what: "`client-tls`",
    about: "How TLS is spoken.",
    needs: Needs::Nothing,
    keys: &[
        key(
            "roots",
            Form::Text,
            "the machine's",
            "reference to certificate authorities in PEM, trusted instead of the machine's: `file:/path`, `env:NAME`, `ssm:/name`, `secretsmanager:name`",
        ),
        key(
            "certificate",
            Form::Text,
            "none",
            "reference to the chain shown to targets that ask, in PEM",
        ),
        key("key", Form::Map(&SECRET), "none", "the key of `certificate`, in PEM"),
        key("server-name", Form::Text, "the host", "name asked for and verified"),
    ],
};

pub(in crate::document) static SIGN: Shape = Shape {
    what: "`sign`",
    about: "How requests are signed.",
    needs: Needs::One(&[&["sigv4"], &["hmac"]]),
    keys: &[
        key(
            "sigv4",
            Form::Map(&SIGV4),
            "",
            "AWS Signature Version 4, with the credentials gate runs with",
        ),
        key(
            "hmac",
            Form::Map(&HMAC),
            "",
            "HMAC-SHA-256 over `METHOD\\nPATH\\nTIMESTAMP\\nBODY`, in hex",
        ),
    ],
};

pub(in crate::document) static SIGV4: Shape = Shape {
    what: "`sigv4`",
    about: "AWS Signature Version 4.",
    needs: Needs::Nothing,
    keys: &[
        must("service", Form::Text, "write `service: execute-api`", "signing name of the service"),
        must("region", Form::Text, "write `region: eu-west-1`", "region of the endpoint"),
    ],
};

pub(in crate::document) static HMAC: Shape = Shape {
    what: "`hmac`",
    about: "A keyed hash of each request.",
    needs: Needs::Nothing,
    keys: &[
        key(
            "header",
            Form::Text,
            "x-signature",
            "carries the hash; `HEADER-timestamp` the time in Unix seconds",
        ),
        must("key", Form::Map(&SECRET), "write `key: { secret: \"env:NAME\" }`", "the key"),
    ],
};

/// Name: value, or where to find it.
const HEADERS: Form = Form::MapOf(&Form::Either(&[Form::Text, Form::Map(&SECRET)]));
const HOST: KeyShape =
    key("host", Form::Text, "the target's address", "the `Host` header, and the TLS server name");
const PATH: KeyShape = must(
    "path",
    Form::Text,
    "write `path: /healthz`",
    "path and query, percent-encoded; `${name}` stands for a value",
);

pub(in crate::document) static HTTP: Shape = Shape {
    what: "`http`",
    about: "An HTTP request, and the answer that is good.",
    needs: Needs::Nothing,
    keys: &[
        PATH,
        key("method", Form::Words(METHODS), "GET", "`GET`, `POST`, …"),
        HOST,
        key(
            "version",
            Form::Either(&[Form::Words(&["1.1", "2", "auto"]), Form::Number]),
            "1.1",
            "`1.1`; `2`, without TLS by prior knowledge; `auto`, what the target chooses by ALPN",
        ),
        key("headers", HEADERS, "none", "on this request, beside those of `probe`"),
        key("body", Form::Text, "none", "sent with it; `${name}` stands for a value"),
        key(
            "body-file",
            Form::Text,
            "none",
            "file that is sent with it, at most 1 MiB; read when probing starts",
        ),
        key(
            "redirects",
            Form::Text,
            "0",
            "redirects to the same target that are followed, 0 to 10",
        ),
        key("compression", Form::Bool, "false", "ask for a compressed answer (gzip, deflate)"),
        key("expect", Form::Map(&EXPECT), "2xx", "the answer that is good"),
    ],
};

pub(in crate::document) static GRPC: Shape = Shape {
    what: "`grpc`",
    about: "A unary gRPC call, over HTTP/2.",
    needs: Needs::Nothing,
    keys: &[
        key(
            "service",
            Form::Text,
            "the server",
            "service whose health is asked for; it must be `SERVING`",
        ),
        key("method", Form::Text, "/grpc.health.v1.Health/Check", "`/package.Service/Method`"),
        key("message", Form::Text, "empty", "the encoded message, in base64; with `method`"),
        HOST,
        key("headers", HEADERS, "none", "metadata, beside the headers of `probe`"),
        key("expect", Form::Map(&GRPC_EXPECT), "code `OK`", "the answer that is good"),
    ],
};

pub(in crate::document) static TCP: Shape = Shape {
    what: "`tcp`",
    about: "A TCP connection, opened and closed.",
    needs: Needs::Nothing,
    keys: &[key("expect", Form::Map(&TCP_EXPECT), "a connection", "the connection that is good")],
};

pub(in crate::document) static TLS: Shape = Shape {
    what: "`tls`",
    about: "A TLS handshake, whole each time, with a certificate that is verified.",
    needs: Needs::Nothing,
    keys: &[
        key("host", Form::Text, "the target's address", "name asked for and verified"),
        key("expect", Form::Map(&TLS_EXPECT), "a valid certificate", "the handshake that is good"),
    ],
};

pub(in crate::document) static WEBSOCKET: Shape = Shape {
    what: "`websocket`",
    about: "A WebSocket, opened; one message sent, one awaited.",
    needs: Needs::Nothing,
    keys: &[
        PATH,
        HOST,
        key("headers", HEADERS, "none", "on the opening request, beside those of `probe`"),
        key(
            "send",
            Form::Text,
            "nothing",
            "text sent once it is open; one message is awaited then",
        ),
        key("expect", Form::Map(&MESSAGE_EXPECT), "any message", "the message that is good"),
    ],
};

pub(in crate::document) static LAMBDA: Shape = Shape {
    what: "`lambda`",
    about: "An invocation of a version of a Lambda function, which must not fail.",
    needs: Needs::Nothing,
    keys: &[
        key("payload", Form::Text, "{}", "the event, in JSON; `${name}` stands for a value"),
        key(
            "payload-file",
            Form::Text,
            "none",
            "file that holds the event, at most 1 MiB; read when probing starts",
        ),
        key("expect", Form::Map(&LAMBDA_EXPECT), "no error", "what it must return"),
    ],
};

pub(in crate::document) static SCENARIO: Shape = Shape {
    what: "a scenario",
    about: "Requests in a row: one probe, and a signal of its own.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "name",
            Form::Text,
            "write `name: checkout`",
            "lower-case letters, digits, `-` and `_`, at most 40",
        ),
        key("weight", Form::Number, "1", "how often it is chosen, relative to the others"),
        key("cookies", Form::Bool, "false", "kept from step to step of one probe"),
        must(
            "steps",
            Form::List(&Form::Map(&STEP)),
            "write `steps: [ { name: home, http: { path: / } } ]`",
            "at most 32 in all scenarios",
        ),
    ],
};

pub(in crate::document) static STEP: Shape = Shape {
    what: "a step",
    about: "One request of a scenario, and a signal of its own.",
    needs: Needs::One(&[&["http"], &["grpc"], &["tcp"], &["tls"], &["websocket"], &["lambda"]]),
    keys: &[
        must(
            "name",
            Form::Text,
            "write `name: login`",
            "lower-case letters, digits, `-` and `_`, at most 40",
        ),
        key("http", Form::Map(&HTTP), "", "an HTTP request, and the answer that is good"),
        key("grpc", Form::Map(&GRPC), "", "a unary gRPC call"),
        key("tcp", Form::Map(&TCP), "", "a TCP connection, opened and closed"),
        key("tls", Form::Map(&TLS), "", "a TLS handshake"),
        key(
            "websocket",
            Form::Map(&WEBSOCKET),
            "",
            "a WebSocket, opened; one message and its answer",
        ),
        key("lambda", Form::Map(&LAMBDA), "", "an invocation of the version"),
        key(
            "take",
            Form::MapOf(&Form::Map(&TAKE)),
            "nothing",
            "name: where its value stands in the answer",
        ),
    ],
};

pub(in crate::document) static TAKE: Shape = Shape {
    what: "a value of `take`",
    about: "Where a value stands in an answer.",
    needs: Needs::One(&[&["json"], &["header"], &["regex"]]),
    keys: &[
        key("json", Form::Text, "", "JSON path: `$.token`"),
        key("header", Form::Text, "", "name of a header"),
        key("regex", Form::Text, "", "pattern over the body; its first group, or all of the match"),
    ],
};

pub(in crate::document) static SECRET: Shape = Shape {
    what: "a reference to a secret",
    about: "A reference to a secret, resolved late and never recorded.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "secret",
            Form::Text,
            "write `{ secret: \"env:NAME\" }` or `{ secret: \"file:/run/secrets/name\" }`",
            "`env:NAME`, `file:/path`, `ssm:/name`, `secretsmanager:name` or `secretsmanager:name#json-key`",
        ),
        key("prefix", Form::Text, "none", "stands before the secret: `\"Bearer \"`"),
    ],
};

const SIZE: KeyShape =
    key("size", Form::Map(&BOUNDS), "at most 1MiB", "bytes of the body as they come");
const WITHIN: KeyShape = key(
    "within",
    Form::Map(&PHASES),
    "the time-out",
    "most time of single phases, or of all of them (`total`)",
);
const CERTIFICATE: KeyShape = key(
    "certificate-days",
    Form::Number,
    "still valid",
    "least days to the end of the certificate's validity",
);
const BODY_TEXT: KeyShape =
    key("text", Form::Some(&Form::Text), "any", "what must stand in the body; or a list, each");
const BODY_REGEX: KeyShape =
    key("regex", Form::Some(&Form::Text), "any", "pattern the body must match; or a list, each");
const COMPARED: Form = Form::MapOf(&Form::Either(&[Form::Text, Form::Map(&COMPARISON)]));
const BODY_JSON: KeyShape = key(
    "json",
    COMPARED,
    "not looked at",
    "JSON path (`$.status`, `$.checks[0].state`): the value that must stand there, or a comparison",
);
const BODY_SCHEMA: KeyShape = key(
    "json-schema",
    Form::Text,
    "none",
    "JSON Schema, written in JSON, that the body must satisfy",
);

pub(in crate::document) static EXPECT: Shape = Shape {
    what: "`expect`",
    about: "The answer that is good.",
    needs: Needs::Nothing,
    keys: &[
        key("status", Form::Some(&Form::Text), "2xx", "a status, a class, or a list of them"),
        key("headers", COMPARED, "any", "name: the value it must have, or a comparison"),
        BODY_TEXT,
        BODY_REGEX,
        BODY_JSON,
        BODY_SCHEMA,
        SIZE,
        WITHIN,
        CERTIFICATE,
    ],
};

pub(in crate::document) static MESSAGE_EXPECT: Shape = Shape {
    what: "`expect`",
    about: "The message that is good.",
    needs: Needs::Nothing,
    keys: &[BODY_TEXT, BODY_REGEX, BODY_JSON, BODY_SCHEMA, SIZE, WITHIN, CERTIFICATE],
};

pub(in crate::document) static LAMBDA_EXPECT: Shape = Shape {
    what: "`expect`",
    about: "What the function must return.",
    needs: Needs::Nothing,
    keys: &[
        BODY_TEXT,
        BODY_REGEX,
        BODY_JSON,
        BODY_SCHEMA,
        SIZE,
        key("within", Form::Map(&LAMBDA_WITHIN), "the time-out", "most time, as `total`"),
    ],
};

pub(in crate::document) static LAMBDA_WITHIN: Shape = Shape {
    what: "`within`",
    about: "Most time of an invocation.",
    needs: Needs::Nothing,
    keys: &[key("total", Form::Duration, "", "from the send to the answer, without a cold start")],
};

pub(in crate::document) static GRPC_EXPECT: Shape = Shape {
    what: "`expect`",
    about: "The answer that is good.",
    needs: Needs::Nothing,
    keys: &[
        key("code", Form::Some(&Form::Words(GRPC_CODES)), "OK", "a gRPC code, or a list of them"),
        SIZE,
        WITHIN,
        CERTIFICATE,
    ],
};

pub(in crate::document) static TCP_EXPECT: Shape = Shape {
    what: "`expect`",
    about: "The connection that is good.",
    needs: Needs::Nothing,
    keys: &[WITHIN],
};

pub(in crate::document) static TLS_EXPECT: Shape = Shape {
    what: "`expect`",
    about: "The handshake that is good.",
    needs: Needs::Nothing,
    keys: &[WITHIN, CERTIFICATE],
};

/// The codes of gRPC, by number.
pub(in crate::document) const GRPC_CODES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(in crate::document) static COMPARISON: Shape = Shape {
    what: "a comparison",
    about: "What must hold of a value; all of what is written.",
    needs: Needs::Any(&[
        &["equals"],
        &["not"],
        &["contains"],
        &["matches"],
        &["at-least"],
        &["at-most"],
        &["present"],
    ]),
    keys: &[
        key("equals", Form::Text, "", "it is this"),
        key("not", Form::Text, "", "it is there, and is anything but this"),
        key("contains", Form::Text, "", "this stands in it"),
        key("matches", Form::Text, "", "it matches this pattern"),
        key("at-least", Form::Text, "", "it is a number, and at least this"),
        key("at-most", Form::Text, "", "it is a number, and at most this"),
        key("present", Form::Bool, "", "it is there, or is not"),
    ],
};

pub(in crate::document) static BOUNDS: Shape = Shape {
    what: "`size`",
    about: "Bytes of the body.",
    needs: Needs::Any(&[&["at-least"], &["at-most"]]),
    keys: &[key("at-least", Form::Size, "0B", "least"), key("at-most", Form::Size, "1MiB", "most")],
};

pub(in crate::document) static PHASES: Shape = Shape {
    what: "`within`",
    about: "Most time of each phase.",
    needs: Needs::Nothing,
    keys: &[
        key("resolve", Form::Duration, "", "from a name to addresses"),
        key("connect", Form::Duration, "", "to a TCP connection"),
        key("tls", Form::Duration, "", "the TLS handshake"),
        key("send", Form::Duration, "", "until the request is written"),
        key("wait", Form::Duration, "", "to the first byte of the answer"),
        key("receive", Form::Duration, "", "from the first byte to the last"),
        key("total", Form::Duration, "", "from the send to the last byte"),
    ],
};
