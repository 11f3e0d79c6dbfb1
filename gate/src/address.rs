//! Addresses that people write: `http://host:port`.

use policies::Target;
use policies::deployment::Route;

/// `http://host:port` or `https://host`; the path is the policy's.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn target(url: &str) -> Result<Target, String> {
    let shape = || format!("`{url}` is no address to probe; write `http://host:port`");
    let uri: hyper::Uri = url.parse().map_err(|_invalid| shape())?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(shape()),
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // Not shown again: it may hold a password.
        return Err(
            "an address to probe holds no user or password; write them as `probe.headers: { authorization: { secret: env:NAME } }`"
                .to_owned(),
        );
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(format!(
            "`{url}` has a path; the policy names the path, so write only scheme, host and port"
        ));
    }
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(shape)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    Ok(Target {
        id: url.trim_end_matches('/').to_owned(),
        host,
        port,
        tls,
        route: Route::Url,
        health: None,
    })
}
