//! Addresses that people write: `http://host:port`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::deployment::{Route, Target};

/// The longest host name.
//= https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const HOST_MAX: usize = 253;

/// `http://host:port` or `https://host`; the path is the policy's.
///
/// # Errors
/// What is wrong with it, and behind the last `; ` what to write.
pub fn target(url: &str) -> Result<Target, String> {
    let shape = || format!("`{url}` is no address to probe; write `http://host:port`");
    let (scheme, rest) = url.split_once("://").ok_or_else(shape)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err(shape()),
    };
    let (authority, path) =
        match rest.find(['/', '?', '#']).and_then(|at| rest.split_at_checked(at)) {
            Some(both) => both,
            None => (rest, ""),
        };
    if authority.contains('@') {
        // Not shown again: it may hold a password.
        return Err(
            "an address to probe holds no user or password; write them as `probe.headers: { authorization: { secret: env:NAME } }`"
                .to_owned(),
        );
    }
    let (host, port) = split(authority).ok_or_else(shape)?;
    if let Some(why) = refused(host) {
        return Err(format!("`{host}` {why}; write the address of the service itself"));
    }
    if !matches!(path, "" | "/") {
        return Err(format!(
            "`{url}` has a path; the policy names the path, so write only scheme, host and port"
        ));
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(shape)?,
        None if tls => 443,
        None => 80,
    };
    Ok(Target {
        id: url.trim_end_matches('/').to_owned(),
        host: host.to_owned(),
        port,
        tls,
        route: Route::Url,
        health: None,
        name: None,
    })
}

/// Host and port of an authority; an IPv6 address without its brackets.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(sound)).then_some((host, port))
}

/// Why nobody may have this host probed, if they may not: what answers there are the machine's own credentials, or
/// nobody that a release is about. A name is not looked up; [`is_forbidden`] is for what it stands for.
pub fn refused(host: &str) -> Option<&'static str> {
    const METADATA: &str = "is a link-local address, where metadata and credentials are served";
    if let Ok(address) = host.parse::<IpAddr>() {
        return why_forbidden(address);
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Some("ends in a number and is no address of four numbers");
    }
    // What EC2's own resolver calls its metadata.
    (name.split('.').next() == Some("instance-data")).then_some(METADATA)
}

/// Whether an address is never probed, whoever names it and whatever name stands for it: where metadata and
/// credentials are served, and what is no address of one machine.
pub fn is_forbidden(address: IpAddr) -> bool {
    why_forbidden(address).is_some()
}

fn why_forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_forbidden_v4(address),
        IpAddr::V6(address) => why_forbidden_v6(address),
    }
}

fn why_forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_link_local() {
        return Some("is a link-local address, where metadata and credentials are served");
    }
    // 0.0.0.0/8 is "this network": on Linux, this machine.
    let [first, ..] = address.octets();
    let nobodys = first == 0 || address.is_multicast() || address.is_broadcast();
    nobodys.then_some("is no address of one machine")
}

fn why_forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address == Ipv6Addr::LOCALHOST {
        return None;
    }
    let [first, second, ..] = address.segments();
    // fd00:ec2::/32 is Amazon's for what fe80::/10 and 169.254.0.0/16 are elsewhere.
    let amazons = first == 0xfd00 && second == 0x0ec2;
    if amazons || address.is_unicast_link_local() {
        return Some("is a link-local address, where metadata and credentials are served");
    }
    if address.is_multicast() {
        return Some("is no address of one machine");
    }
    // The last 32 bits of a mapped, a compatible, a translated (::ffff:0:0:0/96) and a NAT64 address (64:ff9b::/96,
    // 64:ff9b:1::/48) are one of version 4, as are those after 2002 of 6to4; those of the unspecified address are
    // 0.0.0.0.
    let octets @ [.., a, b, c, d] = address.octets();
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x0064, 0xff9b, 0, 0, 0, 0, _, _]
        | [0x0064, 0xff9b, 1, ..] => Ipv4Addr::new(a, b, c, d),
        [0x2002, ..] => {
            let [_, _, a, b, c, d, ..] = octets;
            Ipv4Addr::new(a, b, c, d)
        }
        _ => return None,
    };
    why_forbidden_v4(embedded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<(&str, u16, bool), &str>) {
        let found = target(url);
        let found = found.as_ref().map(|t| (t.host.as_str(), t.port, t.tls));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{url}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{url}: {found}"),
            (found, expected) => panic!("{url}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn an_address_is_scheme_host_and_port() {
        check("http://shop.example.com:8080", Ok(("shop.example.com", 8080, false)));
        check("https://shop.example.com/", Ok(("shop.example.com", 443, true)));
        check("HTTP://10.0.0.1", Ok(("10.0.0.1", 80, false)));
        check("http://[::1]:3000", Ok(("::1", 3000, false)));
        check("https://[2001:db8::1]", Ok(("2001:db8::1", 443, true)));
        check("http://web_1:80", Ok(("web_1", 80, false)));
        for url in [
            "",
            "shop",
            "shop:80",
            "ftp://h",
            "://h",
            "http://",
            "http://:80",
            "http://h:",
            "http://h:0",
            "http://h:65536",
            "http://h:80:80",
            "http://[::1",
            "http://[::1]80",
            "http://[h]:80",
            "http://a b",
            "http://h\u{e4}",
            "http:///path",
        ] {
            check(url, Err("is no address to probe"));
        }
        check("http://me:word@h", Err("holds no user or password"));
        check("http://h/healthz", Err("has a path"));
        check("http://h?deep=1", Err("has a path"));
        check("http://169.254.170.2", Err("metadata and credentials"));
        check("https://[::ffff:169.254.169.254]:443", Err("metadata and credentials"));
        let long = format!("http://{}", "h".repeat(HOST_MAX + 1));
        check(&long, Err("is no address to probe"));
    }

    #[test]
    fn what_serves_credentials_is_refused_however_it_is_written() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:2:3:4:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2002:e000:1::",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "ff02::1",
            "2852039166",
            "0xa9fea9fe",
            "169.254.43518",
            "0251.0376.0251.0376",
            "169.254.169.254.",
            "instance-data",
            "instance-data.ec2.internal",
            "Instance-Data.ec2.internal.",
        ] {
            assert!(refused(host).is_some(), "{host}");
        }
        for host in [
            "10.0.0.1",
            "127.0.0.1",
            "169.253.255.255",
            "192.168.169.254",
            "::1",
            "fd00:ec3::254",
            "2001:db8::a9fe:a9fe",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "2002:a00:1::a9fe:a9fe",
            "64:ff9b:2::a9fe:a9fe",
            "localhost",
            "shop.example.com",
            "web-1",
            "h2",
        ] {
            assert_eq!(refused(host), None, "{host}");
        }
    }
}
