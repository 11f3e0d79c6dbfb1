//! Cookies kept from step to step of one probe.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use cookie_store::{CookieStore, RawCookie};
use url::Url;

/// What prints cookies whole in its debug output.
pub const TALKATIVE: [&str; 1] = ["cookie_store"];

/// Cookies kept; a browser keeps about as many of one site.
const COOKIES_MAX: usize = 64;
/// Bytes of one, as browsers have it.
const COOKIE_MAX_BYTES: usize = 4096;

/// The cookies of one probe. Debug output leaves them out: they are the service's secrets.
#[derive(Default)]
pub(crate) struct Jar {
    store: Mutex<CookieStore>,
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jar")
    }
}

impl Jar {
    /// Keeps what an answer sets; too many or too long ones are left out, as a browser does.
    pub(crate) fn keep<'a>(&self, url: &Url, set: impl Iterator<Item = &'a str>) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        for text in set.filter(|text| text.len() <= COOKIE_MAX_BYTES).take(COOKIES_MAX) {
            let Ok(cookie) = RawCookie::parse(text) else { continue };
            if store.iter_any().count() < COOKIES_MAX
                || store.get_request_values(url).any(|(name, _)| name == cookie.name())
            {
                // A cookie of another host or an unsafe path is not kept, which is what the rules ask for.
                let _refused = store.insert_raw(&cookie, url);
            }
        }
    }

    /// The `cookie` header of a request, if there is anything to send.
    pub(crate) fn header(&self, url: &Url) -> Option<String> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<String> =
            store.get_request_values(url).map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_follow_their_host_path_and_age() {
        let jar = Jar::default();
        let url = |text: &str| Url::parse(text).unwrap();
        jar.keep(
            &url("http://a/login"),
            ["s=1; Path=/; HttpOnly", "p=2; Path=/shop", "x=3; Domain=b"].into_iter(),
        );
        assert_eq!(jar.header(&url("http://a/")).as_deref(), Some("s=1"));
        assert_eq!(jar.header(&url("http://a/shop")).map(|h| h.len()), Some("s=1; p=2".len()));
        assert_eq!(jar.header(&url("http://b/")), None);
        jar.keep(&url("http://a/"), ["s=; Path=/; Max-Age=0"].into_iter());
        assert_eq!(jar.header(&url("http://a/")), None);
        for n in 0..1000 {
            jar.keep(&url("http://a/"), [format!("n{n}=1").as_str()].into_iter());
        }
        assert!(jar.header(&url("http://a/")).unwrap().split("; ").count() <= COOKIES_MAX);
    }
}
