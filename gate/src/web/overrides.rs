//! `POST /evaluations/{id}/override`: a person holds a question, lets it go on or takes it back. Signed as hooks are,
//! or with a person's token; as JSON, or from the form of a page.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use policies::{Override, Report};
use questions::overriding::{Fields, Read, of_form, of_json};
use serde_json::json;
use tracing::error;

use super::{busy, in_turn, internal, pages, unknown};
use crate::app::{Gate, Overridden, replayed};
use crate::intake::{self, Shown, Shut};

/// Somebody who was refused for too many wrong tokens may try again after so long.
const RETRY_AFTER_SECONDS: &str = "60";
/// What a form is sent as.
const FORM: &str = "application/x-www-form-urlencoded";

/// Why an override was not taken.
struct NotTaken {
    outcome: &'static str,
    status: StatusCode,
    why: String,
}

impl NotTaken {
    fn new(outcome: &'static str, status: StatusCode, why: impl Into<String>) -> Self {
        Self { outcome, status, why: why.into() }
    }
}

/// The form, on a page that does not refresh itself while somebody writes.
pub(super) async fn form(State(gate): State<Arc<Gate>>, Path(id): Path<String>) -> Response {
    if !gate.tokens.are_there() {
        let off = Some("this form is off: set `overrides.tokens`");
        return shown(&gate, &id, StatusCode::FORBIDDEN, &Fields::default(), off).await;
    }
    shown(&gate, &id, StatusCode::OK, &Fields::default(), None).await
}

pub(super) async fn take(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // What `curl -d` sends says that it is a form, too.
    let is_form =
        content.is_some_and(|content| content.starts_with(FORM)) && !body.starts_with(b"{");
    let Read { fields, token, faults, .. } = if is_form { of_form(&body) } else { of_json(&body) };
    let taken = async {
        let name = admitted(&gate, &id, &headers, token, &body).await?;
        let said = read(&fields, name, faults, |name| gate.tokens.has_own(name))?;
        match gate.overridden(&id, said).await {
            Overridden::Taken(report) => Ok((StatusCode::OK, report)),
            Overridden::Kept(report) => Ok((StatusCode::ACCEPTED, report)),
            Overridden::Refused(refusal) => {
                Err(NotTaken::new("refused", StatusCode::CONFLICT, refusal))
            }
            Overridden::Unknown => Err(NotTaken::new(
                "unknown",
                StatusCode::NOT_FOUND,
                "no such evaluation in this journal",
            )),
            Overridden::Unwritten => Err(NotTaken::new(
                "unwritten",
                StatusCode::SERVICE_UNAVAILABLE,
                "gate cannot write to its journal, so it does not count",
            )),
            Overridden::Stopping => Err(NotTaken::new(
                "stopping",
                StatusCode::SERVICE_UNAVAILABLE,
                "gate is stopping, or has just begun and has not taken it up yet: ask again",
            )),
            Overridden::Unanswered => Err(NotTaken::new(
                "unanswered",
                StatusCode::SERVICE_UNAVAILABLE,
                "not taken: the gate that judges does not answer; others take over within 25 s: ask again",
            )),
            Overridden::Unsure => Err(NotTaken::new(
                "unsure",
                StatusCode::SERVICE_UNAVAILABLE,
                "not known whether it was taken: look at its page",
            )),
            Overridden::Unread(error) => {
                error!(error = &error as &dyn std::error::Error, "the journal cannot be read");
                let why = "gate cannot read its journal";
                Err(NotTaken::new("unread", StatusCode::SERVICE_UNAVAILABLE, why))
            }
        }
    };
    let taken: Result<(StatusCode, Box<Report>), NotTaken> = taken.await;
    let action = match fields.action.as_str() {
        known @ ("hold" | "continue" | "rollback" | "release") => known,
        _ => "unknown",
    };
    match taken {
        Ok((status, mut report)) => {
            // What was measured is on its page, and would be most of the answer.
            report.series.clear();
            if let Some(watch) = &mut report.watch {
                watch.series.clear();
            }
            gate.metrics.overridden(action, "taken");
            if is_form {
                return Redirect::to(&format!("/evaluations/{}", report.id)).into_response();
            }
            (status, Json(report)).into_response()
        }
        Err(NotTaken { outcome, status, why }) => {
            gate.metrics.overridden(action, outcome);
            let mut response = if is_form {
                shown(&gate, &id, status, &fields, Some(&why)).await
            } else {
                (status, Json(json!({ "error": why }))).into_response()
            };
            let headers = response.headers_mut();
            if status == StatusCode::UNAUTHORIZED {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                let after = HeaderValue::from_static(RETRY_AFTER_SECONDS);
                headers.insert(header::RETRY_AFTER, after);
            }
            response
        }
    }
}

/// Lets somebody in who signs as hooks do, or shows a token; whose it is, where it is one person's.
async fn admitted(
    gate: &Gate,
    id: &str,
    headers: &HeaderMap,
    in_form: Option<String>,
    body: &[u8],
) -> Result<Option<String>, NotTaken> {
    let (signs, shows) = (gate.keys.are_required(), gate.tokens.are_there());
    if !signs && !shows {
        let why = "overrides are off: set `overrides.tokens`, or `hooks.keys` to sign them";
        return Err(NotTaken::new("off", StatusCode::FORBIDDEN, why));
    }
    if signs && intake::is_signed(headers) {
        let path = format!("/evaluations/{id}/override");
        return intake::admit(gate, &path, headers, body).await.map(|()| None).map_err(|shut| {
            let (status, why) = match shut {
                Shut::Unsigned => (StatusCode::UNAUTHORIZED, "its signature is not good"),
                Shut::Replayed => {
                    (StatusCode::CONFLICT, "replayed: sign it afresh, with another time")
                }
                Shut::Unwritten => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "gate cannot write to its journal, so it does not count",
                ),
            };
            NotTaken::new(shut.outcome(), status, why)
        });
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let bearer = bearer.map(|(_, token)| token.trim().to_owned());
    let Some(token) = bearer.or(in_form).filter(|token| !token.is_empty()) else {
        let why = "an override needs a signature or a token; see docs/operations.md";
        return Err(NotTaken::new("unsigned", StatusCode::UNAUTHORIZED, why));
    };
    if !shows {
        let why = "tokens are off: set `overrides.tokens`, or sign it";
        return Err(NotTaken::new("off", StatusCode::FORBIDDEN, why));
    }
    match gate.tokens.look_at(token.trim()).await {
        Shown::Known(name) => Ok(name),
        Shown::Wrong => {
            Err(NotTaken::new("unsigned", StatusCode::UNAUTHORIZED, "this token is not known"))
        }
        Shown::Limited => Err(NotTaken::new(
            "limited",
            StatusCode::TOO_MANY_REQUESTS,
            "too many wrong tokens lately; try again in a minute, or sign it",
        )),
    }
}

/// What is said, once everything that is wrong with it is known.
fn read(
    fields: &Fields,
    name: Option<String>,
    mut faults: Vec<String>,
    has_own: impl Fn(&str) -> bool,
) -> Result<Override, NotTaken> {
    let by = match &name {
        Some(name) if fields.by.trim().is_empty() => name,
        _ => &fields.by,
    };
    let said = Override::new(&fields.action, by, &fields.reason, Some(&fields.lasts));
    let said = said.map_err(|told| faults.extend(told));
    match (said, name) {
        (Ok(said), _) if !faults.is_empty() || said.by.is_empty() => Err(()),
        (Ok(said), Some(name)) if said.by != name => {
            let why = format!("this token is {name}'s: it does not speak for {}", said.by);
            return Err(NotTaken::new("forbidden", StatusCode::FORBIDDEN, why));
        }
        // What is said by her name is to have been said by her.
        (Ok(said), None) if has_own(&said.by) => {
            let why = format!("`{}` has a token of her own: show it", said.by);
            return Err(NotTaken::new("forbidden", StatusCode::FORBIDDEN, why));
        }
        (said, _) => said,
    }
    .map_err(|()| NotTaken::new("malformed", StatusCode::BAD_REQUEST, faults.join("; ")))
}

async fn shown(
    gate: &Arc<Gate>,
    id: &str,
    status: StatusCode,
    fields: &Fields,
    fault: Option<&str>,
) -> Response {
    let (fields, fault) = (fields.clone(), fault.map(str::to_owned));
    if let Some((report, _)) = gate.report(id) {
        return form_page(status, &report, &fields, fault.as_deref());
    }
    let Some(turn) = gate.readers.turn().await else {
        // What became of it is told all the same.
        return fault.map_or_else(|| busy(gate), |fault| (status, fault).into_response());
    };
    let (gate, id) = (Arc::clone(gate), id.to_owned());
    let loading = async move { gate.stored(&id).await };
    in_turn(turn, loading, move |stored| match stored {
        Ok(Some(stored)) => form_page(status, &replayed(stored).0, &fields, fault.as_deref()),
        Ok(None) => unknown(),
        Err(error) => internal(&error),
    })
    .await
}

fn form_page(
    status: StatusCode,
    report: &Report,
    fields: &Fields,
    fault: Option<&str>,
) -> Response {
    (status, super::page(pages::overriding(report, fields, fault))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(Read { fields, faults, .. }: Read, name: Option<&str>, expected: &str) {
        let has_own = |name: &str| name.eq_ignore_ascii_case("carol");
        let told = match read(&fields, name.map(str::to_owned), faults, has_own) {
            Ok(said) => said.sentence(),
            Err(NotTaken { outcome, status, why }) => {
                format!("{outcome} {}: {why}", status.as_u16())
            }
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn a_body_is_read_whole_and_everything_wrong_with_it_said_at_once() {
        let good = br#"{"action": "hold", "by": "bob", "reason": "a look", "for": "5m"}"#;
        check(of_json(good), None, "bob holds it for 5 min: a look");
        check(
            of_json(good),
            Some("alice"),
            "forbidden 403: this token is alice's: it does not speak for bob",
        );
        let nameless = br#"{"action": "continue", "reason": "it is fine"}"#;
        check(of_json(nameless), Some("alice"), "alice continues it: it is fine");
        check(
            of_json(br#"{"action": 3, "url": "http://x/", "token": "t"}"#),
            None,
            "malformed 400: `action` is no text; `url` is unknown; there are `action`, `by`, `reason`, `for`, `token`; `token` belongs into the header `Authorization: Bearer`; `action` is one of `hold`, `continue`, `rollback`, `release`; `by` is missing; `reason` is missing",
        );
        check(
            of_form(b"action=rollback&by=bob&by=eve&reason=it+%3E+5+%25&for=&token=t"),
            None,
            "malformed 400: `by` is said twice",
        );
        check(
            of_form(b"action=rollback&by=bob&reason=it+%3E+5+%25&for=&token=t"),
            None,
            "bob rolls it back: it > 5 %",
        );
        check(
            of_form(b"for=30m&action=rollback&by=bob&reason=errors&token=t"),
            None,
            "bob rolls it back: errors",
        );
        check(
            of_form(b"action=hold&by=bob&reason=a+look&for=5m&token=t"),
            None,
            "bob holds it for 5 min: a look",
        );
        check(
            of_json(br#"{"action": "continue", "by": " Carol ", "reason": "it is fine"}"#),
            None,
            "forbidden 403: `Carol` has a token of her own: show it",
        );
        check(
            of_json(br#"{"action": "continue", "by": "carol", "reason": "it is fine"}"#),
            Some("carol"),
            "carol continues it: it is fine",
        );
    }
}
