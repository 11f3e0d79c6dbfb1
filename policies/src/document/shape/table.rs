//! Every key of a policy but those of its probe.

use super::probe::PROBE;
use super::{Form, KeyShape, Needs, Shape, key, must};

const ANSWERS: Form = Form::Words(&["continue", "rollback"]);

/// The whole document.
pub(in crate::document) static POLICY: Shape = Shape {
    what: "a policy",
    about: "What must hold before a release takes traffic, and how to find out.",
    needs: Needs::Nothing,
    keys: &[
        must("gate", Form::Words(&["v1"]), "write `gate: v1` first", "version of the document"),
        key(
            "mode",
            Form::Words(&["decide", "observe"]),
            "decide",
            "`observe` judges and records, and always answers Continue (`gate verify` then exits 0)",
        ),
        key("applies-to", Form::Map(&APPLIES_TO), "everything", "deployments it is for"),
        must(
            "probe",
            Form::Map(&PROBE),
            "write `probe: { http: { path: /healthz } }`",
            "what to probe, how often, what to expect",
        ),
        key(
            "targets",
            Form::Map(&TARGETS),
            "the deployment's own",
            "what is probed where a deployment names no address itself: CodePipeline, CodeDeploy on EC2",
        ),
        must(
            "objectives",
            Form::List(&Form::Map(&OBJECTIVE)),
            "write `objectives: [ { errors: { at-most: 0.5% } } ]`",
            "what must hold, 1 to 64",
        ),
        key(
            "decide",
            Form::Map(&DECIDE),
            "",
            "how sure to be, how long to take, what to say when unsure",
        ),
        key(
            "watch",
            Form::Map(&WATCH),
            "no watch",
            "judging on after Continue, while traffic shifts",
        ),
        key(
            "notify",
            Form::Some(&Form::Map(&NOTIFY)),
            "nobody",
            "who is told of a decision, at most 8",
        ),
    ],
};

pub(in crate::document) static APPLIES_TO: Shape = Shape {
    what: "`applies-to`",
    about: "Globs (`*`, `?`) over what a deployment is called. The very name counts more than a glob.",
    needs: Needs::Nothing,
    keys: &[
        key("application", Form::Text, "any", "CodeDeploy application"),
        key("group", Form::Text, "any", "CodeDeploy deployment group"),
        key("service", Form::Text, "any", "ECS service: `cluster:service`, or the service alone"),
        key("function", Form::Text, "any", "Lambda function"),
        key("pipeline", Form::Text, "any", "CodePipeline pipeline"),
        key(
            "stages",
            Form::Some(&Form::Words(&[
                "BeforeInstall",
                "AfterInstall",
                "AfterAllowTestTraffic",
                "BeforeAllowTraffic",
                "AfterAllowTraffic",
                "RECONCILE_SERVICE",
                "PRE_SCALE_UP",
                "POST_SCALE_UP",
                "TEST_TRAFFIC_SHIFT",
                "POST_TEST_TRAFFIC_SHIFT",
                "PRE_PRODUCTION_TRAFFIC_SHIFT",
                "PRODUCTION_TRAFFIC_SHIFT",
                "POST_PRODUCTION_TRAFFIC_SHIFT",
                "ValidateService",
                "READY",
                "Approval",
                "Invoke",
                "Shell",
            ])),
            "all",
            "stages of CodeDeploy (`AfterAllowTestTraffic`), of ECS (`POST_TEST_TRAFFIC_SHIFT`) and of CodePipeline (`Approval`)",
        ),
    ],
};

pub(in crate::document) static TARGETS: Shape = Shape {
    what: "`targets`",
    about: "What is probed where a deployment names no address itself; the path is the probe's.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "green",
            Form::Some(&Form::Text),
            "write `green: [ \"http://host:port\" ]`",
            "scheme, host and port of the candidate: one, or a list of at most 50",
        ),
        key("blue", Form::Some(&Form::Text), "none", "the same of the baseline"),
    ],
};

/// One objective: exactly one kind.
pub(in crate::document) static OBJECTIVE: Shape = Shape {
    what: "an objective",
    about: "One sentence about a signal that must hold.",
    needs: Needs::OneKey,
    keys: &[
        key(
            "errors",
            Form::Map(&ERRORS),
            "",
            "share of green's probes that may fail, or no more than blue's",
        ),
        key(
            "latency",
            Form::Map(&LATENCY),
            "",
            "a quantile of green's latency, absolute or beside blue's",
        ),
        key("slo", Form::Map(&SLO), "", "availability, and how fast its budget may burn"),
        key(
            "each-target",
            Form::Map(&EACH_TARGET),
            "",
            "`errors` or `latency` of every target on its own; can only veto",
        ),
        key(
            "cloudwatch",
            Form::Map(&CLOUDWATCH),
            "",
            "a CloudWatch metric: as a share of another, or as a series beside its baseline (which can only veto)",
        ),
        key(
            "metrics",
            Form::Map(&METRICS),
            "",
            "the service's own Prometheus counters, or a histogram",
        ),
        key(
            "healthy-targets",
            Form::Map(&HEALTHY_TARGETS),
            "",
            "condition: what the load balancer says of green's targets",
        ),
        key("alarms", Form::Map(&ALARMS), "", "condition: CloudWatch alarms"),
        key(
            "stopped-tasks",
            Form::Map(&STOPPED_TASKS),
            "",
            "condition: green's tasks that stopped by themselves",
        ),
    ],
};

const STEP: KeyShape = key(
    "step",
    Form::Text,
    "the whole probe",
    "a scenario (`buy`) or a step of it (`buy/login`) instead of all probes",
);
const WEIGHT: KeyShape = key(
    "weight",
    Form::Number,
    "1",
    "share of the false-rollback rate, relative to the other objectives",
);
const OBSERVE: KeyShape = key("observe", Form::Bool, "false", "judged and shown, never decides");
const NO_DATA: KeyShape =
    key("no-data", ANSWERS, "`decide.no-data`", "what to say when it has no data");
const DURING: KeyShape = key(
    "during",
    Form::Words(&["question", "watch", "both"]),
    "both",
    "judged before the answer, after it, or both",
);
const UNACCEPTABLE: KeyShape = key(
    "unacceptable",
    Form::Share,
    "2, 3, 5 or 10 times the allowed share",
    "the share that must not pass; see statistics.md",
);
const LASTING: KeyShape = key("for", Form::Duration, "30s", "broken once it failed for this long");

pub(in crate::document) static ERRORS: Shape = Shape {
    what: "`errors`",
    about: "Probes that were not answered as expected.",
    needs: Needs::Any(&[&["at-most"], &["versus"]]),
    keys: &[
        key(
            "at-most",
            Form::Beside("versus", &Form::More, &Form::Share),
            "required; `+0%` versus blue",
            "`0.5%`: share of probes that may fail. Versus blue `+50%`: how much the odds of a failure may grow",
        ),
        key(
            "versus",
            Form::Words(&["blue"]),
            "absolute",
            "`blue`: green beside blue, probed in the same seconds",
        ),
        key(
            "floor",
            Form::Share,
            "0.5% versus blue",
            "versus blue: green's own share of failures below which no difference matters",
        ),
        STEP,
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static LATENCY: Shape = Shape {
    what: "`latency`",
    about: "From the moment a probe was due to the last byte of its answer.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "quantile",
            Form::Quantile,
            "write `quantile: p99`",
            "`p99`: 1 % of the probes may be slower",
        ),
        must(
            "at-most",
            Form::Beside("versus", &Form::More, &Form::Duration),
            "write `at-most: 250ms`, or `at-most: +20%` versus blue",
            "`250ms`, or versus blue `+20%` above what blue's quantile was so far",
        ),
        key(
            "versus",
            Form::Words(&["blue"]),
            "absolute",
            "`blue`: green beside blue, probed in the same seconds",
        ),
        STEP,
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static SLO: Shape = Shape {
    what: "`slo`",
    about: "Availability by probes, as a multiple of the error budget it leaves.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "availability",
            Form::Share,
            "write `availability: 99.9%`",
            "target, above 0 and below 100 %",
        ),
        must(
            "burn-rate",
            Form::Number,
            "write `burn-rate: 10`",
            "multiple of the budget that may be spent: 99.9 % at 10 allows 1 % errors",
        ),
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static EACH_TARGET: Shape = Shape {
    what: "`each-target`",
    about: "The same objective for every target of green on its own. Can only veto.",
    needs: Needs::One(&[&["errors"], &["latency"]]),
    keys: &[
        key("errors", Form::Map(&EACH_ERRORS), "", "share of one target's probes that may fail"),
        key("latency", Form::Map(&EACH_LATENCY), "", "a quantile of one target's latency"),
        STEP,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static EACH_ERRORS: Shape = Shape {
    what: "`errors`",
    about: "Probes of one target that were not answered as expected.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "at-most",
            Form::Share,
            "write `at-most: 5%`",
            "share of one target's probes that may fail",
        ),
        UNACCEPTABLE,
    ],
};

pub(in crate::document) static EACH_LATENCY: Shape = Shape {
    what: "`latency`",
    about: "Latency of one target.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "quantile",
            Form::Quantile,
            "write `quantile: p95`",
            "`p95`: 5 % of the probes may be slower",
        ),
        must("at-most", Form::Duration, "write `at-most: 250ms`", "how slow"),
        UNACCEPTABLE,
    ],
};

pub(in crate::document) static CLOUDWATCH: Shape = Shape {
    what: "`cloudwatch`",
    about: "Real traffic as CloudWatch sees it.",
    needs: Needs::One(&[&["at-most"], &["at-least"]]),
    keys: &[
        must(
            "metric",
            Form::Text,
            "write `metric: HTTPCode_Target_5XX_Count`",
            "name of the metric",
        ),
        key(
            "of",
            Form::Text,
            "none: a series",
            "metric of all events, of which `metric` counts the bad ones",
        ),
        key("namespace", Form::Text, "AWS/ApplicationELB", "namespace of the metric"),
        key(
            "statistic",
            Form::Text,
            "`Sum`, of a series `Average`",
            "`Sum`, `Average`, `Maximum`, `p99`, …",
        ),
        key("dimensions", Form::MapOf(&Form::Text), "those of green", "name: value"),
        key(
            "at-most",
            Form::Beside("of", &Form::Share, &Form::More),
            "required, or `at-least`",
            "with `of` `1%`; of a series `+20%` above its baseline",
        ),
        key("at-least", Form::Less, "", "of a series `-20%` below its baseline"),
        key("period", Form::Duration, "60s", "of one point, in whole minutes"),
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static METRICS: Shape = Shape {
    what: "`metrics`",
    about: "The service's own Prometheus metrics, as differences from second to second.",
    needs: Needs::One(&[&["bad", "of"], &["histogram", "quantile"]]),
    keys: &[
        key("bad", Form::Text, "", "counter of bad events: `http_requests_total{code=\"500\"}`"),
        key("of", Form::Text, "", "counter of all events"),
        key("histogram", Form::Text, "", "histogram, in seconds"),
        key("quantile", Form::Quantile, "", "of the histogram"),
        must(
            "at-most",
            Form::Beside("histogram", &Form::Duration, &Form::Share),
            "write `at-most: 0.5%`, or `at-most: 250ms` of a histogram",
            "share of bad events, or how slow a quantile may be",
        ),
        UNACCEPTABLE,
        WEIGHT,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static HEALTHY_TARGETS: Shape = Shape {
    what: "`healthy-targets`",
    about: "What the load balancer's own health checks say of green.",
    needs: Needs::Nothing,
    keys: &[
        must(
            "at-least",
            Form::Part,
            "write `at-least: 100%`",
            "share of green's targets that must be healthy",
        ),
        LASTING,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static ALARMS: Shape = Shape {
    what: "`alarms`",
    about: "CloudWatch alarms. One that was red before the deployment began says nothing about it.",
    needs: Needs::Nothing,
    keys: &[
        must("names", Form::Some(&Form::Text), "write `names: [checkout-5xx]`", "1 to 100 names"),
        LASTING,
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static STOPPED_TASKS: Shape = Shape {
    what: "`stopped-tasks`",
    about: "Green's tasks on ECS that stopped by themselves since the question was accepted.",
    needs: Needs::Nothing,
    keys: &[
        must("at-most", Form::Whole, "write `at-most: 0`", "how many may, 0 to 1000000"),
        key("for", Form::Duration, "0s", "broken once it failed for this long"),
        OBSERVE,
        NO_DATA,
        DURING,
    ],
};

pub(in crate::document) static DECIDE: Shape = Shape {
    what: "`decide`",
    about: "How sure to be, how long to take, what to say when unsure.",
    needs: Needs::Nothing,
    keys: &[
        key("false-rollback", Form::Share, "1%", "α, over the whole policy, for each question"),
        key("false-continue", Form::Share, "1%", "β"),
        key("at-least", Form::Duration, "60s", "judged time before Continue"),
        key(
            "deadline",
            Form::Duration,
            "10m",
            "from acceptance; capped by the platform's own less 120 s",
        ),
        key(
            "stall",
            Form::Duration,
            "400ms",
            "mean stall a healthy instance may show; a tick is five times this",
        ),
        key(
            "strict",
            Form::Bool,
            "false",
            "a tick is ten times the stall, and Continue is safe against badness in bursts; takes about ten times as long",
        ),
        key(
            "no-data",
            ANSWERS,
            "rollback",
            "when no probe of green that was due finishes for 10 s, or green has no target for 20 s",
        ),
        key(
            "undecided",
            ANSWERS,
            "rollback",
            "when nothing is proven by the deadline, or gate itself could not measure",
        ),
    ],
};

pub(in crate::document) static WATCH: Shape = Shape {
    what: "`watch`",
    about: "Judging on after Continue, with evidence and an error rate of its own; ends in silence or in a veto.",
    needs: Needs::Nothing,
    keys: &[
        key("until", Form::Words(&["end-of-deployment"]), "end-of-deployment", "when it ends"),
        key(
            "false-rollback",
            Form::Share,
            "`decide.false-rollback`",
            "α of the whole watch, apart from the question's",
        ),
        key(
            "window",
            Form::Duration,
            "`decide.deadline`",
            "length of one window of evidence where the end of the deployment is not known",
        ),
    ],
};

pub(in crate::document) static NOTIFY: Shape = Shape {
    what: "a `notify` entry",
    about: "Who is told of a decision.",
    needs: Needs::Nothing,
    keys: &[must(
        "sns",
        Form::Text,
        "write `sns: \"arn:aws:sns:…\"`",
        "ARN of a standard SNS topic, `arn:aws:sns:REGION:ACCOUNT:NAME`",
    )],
};
