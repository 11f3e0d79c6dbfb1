//! STS by the official SDK, and the clock by the answers of all services.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_sts::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sts::error::BoxError;
use jiff::fmt::rfc2822;

use super::super::identity::{Caller, Identity};
use super::super::{Call, Reply};
use super::{RealAws, absent};

/// Says that nothing was seen yet: no clock is that wrong.
const UNSEEN: i64 = i64::MIN;

/// Reads the time from what AWS answers.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicI64>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNSEEN)))
    }
}

impl Clock {
    fn seen(&self, date: &str, now_unix_seconds: i64) {
        if let Ok(date) = rfc2822::parse(date) {
            self.0.store(date.timestamp().as_second() - now_unix_seconds, Ordering::Relaxed);
        }
    }

    fn ahead_seconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNSEEN)
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "gate's look at the clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(date) = context.response().headers().get("date") {
            self.seen(date, i64::try_from(now).unwrap_or(0));
        }
        Ok(())
    }
}

impl Identity for RealAws {
    fn caller(&self) -> Reply<'_, Caller> {
        const CALL: Call = Call::GetCallerIdentity;
        Box::pin(async move {
            let send = || self.sts.get_caller_identity().send();
            let reply = self.ask(CALL, "gate itself", send).await?;
            Ok(Caller {
                account: reply.account.ok_or_else(|| absent(CALL, "gate itself", "Account"))?,
                arn: reply.arn.unwrap_or_default(),
            })
        })
    }

    fn region(&self) -> Option<String> {
        RealAws::region(self).map(str::to_owned)
    }

    fn clock_ahead_seconds(&self) -> Option<i64> {
        self.clock.ahead_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_compared_with_the_newest_answer() {
        let clock = Clock::default();
        assert_eq!(clock.ahead_seconds(), None);
        clock.seen("no date", 0);
        assert_eq!(clock.ahead_seconds(), None);
        clock.seen("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);
        assert_eq!(clock.ahead_seconds(), Some(0));
        clock.seen("Sun, 06 Nov 1994 08:49:37 GMT", 784_112_077);
        assert_eq!(clock.ahead_seconds(), Some(-300));
    }
}
