//! Asks over one kept connection, as Prometheus scrapes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection that is kept.
#[derive(Debug)]
pub struct Kept(TcpStream);

impl Kept {
    /// Connects.
    pub fn new(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(stream))
    }

    /// The status line and the body, one below the other.
    pub fn get(&mut self, path: &str) -> io::Result<String> {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            if let Some(whole) = complete(&answer) {
                return Ok(whole);
            }
            match self.0.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// The status line and the body, once it is whole, by its length or its last chunk. A chunk ends anywhere,
/// inside a line too.
fn complete(answer: &[u8]) -> Option<String> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, mut rest) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.lines().next().unwrap_or_default();
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = Vec::new();
    match length.and_then(|length| length.trim().parse().ok()) {
        Some(length) => body.extend_from_slice(rest.get(..length)?),
        None => loop {
            let end = rest.windows(2).position(|window| window == b"\r\n")?;
            let size = usize::from_str_radix(str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
            body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
            rest = rest.get(end + 2 + size + 2..)?;
            if size == 0 {
                break;
            }
        },
    }
    Some(format!("{status}\n{}", String::from_utf8_lossy(&body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_length_or_its_last_chunk() {
        for (answer, whole) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some("HTTP/1.1 200 OK\nok")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\nb\r\nk, cut so: \r\n0\r\n\r\n",
                Some("HTTP/1.1 200 OK\nok, cut so: "),
            ),
        ] {
            assert_eq!(complete(answer.as_bytes()).as_deref(), whole, "{answer:?}");
        }
    }
}
