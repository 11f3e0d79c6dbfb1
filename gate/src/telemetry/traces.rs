//! Logs to standard error, and one trace for each question to an OTLP endpoint where one is configured.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The variables of the OpenTelemetry specification that name an endpoint for traces.
//= https://opentelemetry.io/docs/specs/otel/protocol/exporter/
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// Further dependencies whose debug output holds what must not be printed, whatever `GATE_LOG` says.
const TALKATIVE: [&str; 4] =
    ["hyper", "lambda_runtime", "lambda_runtime_api_client", "opentelemetry"];
/// A collector that is down must not hold up a stop.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the exporter; [`Telemetry::flush`] sends what is left.
#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what has not been sent, and stops. Blocking: call it off the runtime.
    pub(crate) fn flush(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown_with_timeout(EXPORT_TIMEOUT)
        {
            tracing::warn!(%error, "traces may be missing");
        }
    }
}

/// Installs logs and traces. Call inside the runtime that exports. `quiet` keeps a terminal for the
/// command's own output.
pub(crate) fn init(quiet: bool) -> Telemetry {
    let default = if quiet { "error" } else { "info" };
    let filter =
        EnvFilter::try_from_env("GATE_LOG").unwrap_or_else(|_unset| EnvFilter::new(default));
    // Below INFO these print requests whole, and with them the tokens of hooks.
    let filter = TALKATIVE.iter().chain(&crate::aws::TALKATIVE).chain(&probes::TALKATIVE).fold(
        filter,
        |filter, target| match format!("{target}=info").parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_invalid) => filter,
        },
    );
    // A log that cannot be written would be told on standard error, which panics where that is the log.
    let logs = tracing_subscriber::fmt::layer().with_writer(stderr).log_internal_errors(false);
    let logs =
        if stderr().is_terminal() { logs.boxed() } else { logs.json().flatten_event(true).boxed() };
    let endpoint = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok());
    let endpoint = endpoint.filter(|endpoint| !endpoint.is_empty());
    let exporter = endpoint.map(|endpoint| {
        opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
    });
    let (traces, failure) = match exporter.transpose() {
        Ok(exporter) => (exporter.map(provider), None),
        Err(error) => (None, Some(error)),
    };
    let layer = traces.as_ref().map(|traces| {
        // Spans of gate itself only: the SDK's and hyper's would be a trace for each AWS call.
        let ours =
            tracing_subscriber::filter::Targets::new().with_target("gate", tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(traces.tracer("gate")).with_filter(ours)
    });
    tracing_subscriber::registry().with(logs.with_filter(filter)).with(layer).init();
    if let Some(error) = failure {
        tracing::warn!(%error, "no traces: the OTLP endpoint is unusable");
    }
    Telemetry { traces }
}

fn provider(exporter: opentelemetry_otlp::SpanExporter) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("gate").build())
        .build()
}
