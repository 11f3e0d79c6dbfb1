//! The same AWS in other regions and other accounts, each made once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub(crate) use questions::Place;
use tokio::sync::{Mutex, OnceCell};

use super::budget::SHARE_PERCENT;
use super::table::Table;
use super::{Aws, RealAws};
use crate::telemetry::Metrics;

/// Regions and accounts that are kept at once; a daemon serves a handful.
const CLOUDS_MAX: usize = 64;

/// Region and role, each where it is not gate's own: what makes one AWS another.
pub(crate) type CloudKey = (Option<String>, Option<String>);

/// Every AWS that questions come from.
#[derive(Clone)]
pub(crate) struct Clouds {
    home: Arc<dyn Aws>,
    /// Makes the others; absent in tests.
    real: Option<Arc<RealAws>>,
    /// Account → role to take on there.
    roles: Arc<BTreeMap<String, String>>,
    others: Arc<Mutex<BTreeMap<CloudKey, Arc<dyn Aws>>>>,
}

impl fmt::Debug for Clouds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clouds").field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl Clouds {
    /// AWS itself; `roles` are ARNs of roles to take on in other accounts.
    pub(crate) fn real(home: RealAws, roles: &[String]) -> Self {
        let home = Arc::new(home);
        let by_account =
            roles.iter().filter_map(|role| Some((Place::of_arn(role).account?, role.clone())));
        Self {
            home: Arc::<RealAws>::clone(&home),
            real: Some(home),
            roles: Arc::new(by_account.collect()),
            others: Arc::default(),
        }
    }

    /// One AWS for every place.
    #[cfg(test)]
    pub(crate) fn only(home: Arc<dyn Aws>) -> Self {
        Self { home, real: None, roles: Arc::default(), others: Arc::default() }
    }

    /// Where gate itself runs.
    pub(crate) fn home(&self) -> Arc<dyn Aws> {
        Arc::clone(&self.home)
    }

    /// Tables where gate itself runs; absent in tests.
    pub(crate) fn tables(&self) -> Option<Arc<dyn Table>> {
        self.real.clone().map(|real| real as Arc<dyn Table>)
    }

    /// What tells one AWS from another. An account without a role of its own is gate's own.
    pub(crate) fn key(&self, place: &Place) -> CloudKey {
        let Some(real) = &self.real else { return (None, None) };
        let region = place.region.as_deref().filter(|region| real.region() != Some(region));
        let role = place.account.as_ref().and_then(|account| self.roles.get(account));
        (region.map(str::to_owned), role.cloned())
    }

    /// Where a question comes from. An account without a role of its own is asked as gate itself, which
    /// AWS refuses unless it is gate's own.
    pub(crate) async fn at(&self, place: &Place) -> Arc<dyn Aws> {
        let Some(real) = &self.real else { return self.home() };
        let key = self.key(place);
        if key == (None, None) {
            return self.home();
        }
        let mut others = self.others.lock().await;
        if let Some(known) = others.get(&key) {
            return Arc::clone(known);
        }
        if others.len() >= CLOUDS_MAX {
            // The next question of a forgotten one makes it anew.
            others.pop_first();
        }
        let made: Arc<dyn Aws> = Arc::new(real.elsewhere(key.0.as_deref(), key.1.as_deref()).await);
        others.insert(key, Arc::clone(&made));
        made
    }
}

/// AWS, reached when it is first needed: who never asks it for anything stays small.
#[derive(Clone, Debug)]
pub(crate) struct OnDemand {
    endpoint: Option<String>,
    roles: Vec<String>,
    share_percent: u32,
    metrics: Arc<Metrics>,
    made: Arc<OnceCell<Clouds>>,
}

impl OnDemand {
    /// Instead of AWS's own, `endpoint`; `roles` are ARNs of roles to take on in other accounts.
    pub(crate) fn new(endpoint: Option<String>, roles: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self { endpoint, roles, share_percent: SHARE_PERCENT, metrics, made: Arc::default() }
    }

    /// Takes so many percent of the account's quotas.
    pub(crate) fn sharing(self, share_percent: u32) -> Self {
        Self { share_percent, ..self }
    }

    /// What there is already.
    pub(crate) fn made(clouds: Clouds, metrics: Arc<Metrics>) -> Self {
        let made = Arc::new(OnceCell::new_with(Some(clouds)));
        Self { endpoint: None, roles: Vec::new(), share_percent: SHARE_PERCENT, metrics, made }
    }

    /// Reaches AWS, the first time it is called.
    pub(crate) async fn clouds(&self) -> Clouds {
        let make = async || {
            let (endpoint, metrics) = (self.endpoint.clone(), Arc::clone(&self.metrics));
            let real = RealAws::connect(endpoint, self.share_percent, metrics).await;
            Clouds::real(real, &self.roles)
        };
        self.made.get_or_init(make).await.clone()
    }

    /// Whether AWS was ever reached.
    #[cfg(test)]
    pub(crate) fn is_made(&self) -> bool {
        self.made.initialized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_where_it_is() {
        for (arn, region, account) in [
            (
                "arn:aws:ecs:eu-west-1:123456789012:service/prod/web",
                Some("eu-west-1"),
                Some("123456789012"),
            ),
            ("arn:aws:iam::123456789012:role/gate", None, Some("123456789012")),
            ("no arn", None, None),
        ] {
            let place =
                Place { region: region.map(str::to_owned), account: account.map(str::to_owned) };
            assert_eq!(Place::of_arn(arn), place, "{arn}");
        }
    }
}
