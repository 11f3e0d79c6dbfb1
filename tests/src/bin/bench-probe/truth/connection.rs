//! One connection of the truth server: requests without bodies, the same answer to each.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::stamps::Reader;

const END: &[u8] = b"\r\n\r\n";
const CLOSE: &[u8] = b"connection: close";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
/// No prober sends longer heads.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Whole requests that one read completed.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    pub count: usize,
    pub at: u64,
    pub by_kernel: bool,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    last: bool,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, head: Vec::new(), last: false }
    }

    /// Reads once; an error also where the client has closed.
    pub fn receive(&mut self, reader: &mut Reader) -> io::Result<Requests> {
        let mut buffer = [0; 4096];
        let received = match reader.read(&mut self.stream, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Requests { count: 0, at: 0, by_kernel: false });
            }
            received => received?,
        };
        if received.bytes == 0 || self.head.len() > HEAD_MAX_BYTES {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.head.extend_from_slice(&buffer[..received.bytes]);
        let count = self.complete();
        Ok(Requests { count, at: received.at, by_kernel: received.by_kernel })
    }

    /// Takes whole requests off, leaving the start of another.
    fn complete(&mut self) -> usize {
        let mut count = 0;
        while let Some(end) = self.head.windows(END.len()).position(|window| window == END) {
            let head = &self.head[..end];
            self.last |= head.windows(CLOSE.len()).any(|window| window.eq_ignore_ascii_case(CLOSE));
            self.head.drain(..end + END.len());
            count += 1;
        }
        count
    }

    /// Answers one request; false after the last that the client asked for.
    pub fn answer(&mut self) -> io::Result<bool> {
        self.stream.write_all(ANSWER)?;
        Ok(!self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn requests_are_counted_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut connection = Connection::new(stream);
        for (bytes, count, last) in [
            ("GET / HTTP/1.1\r\n", 0, false),
            ("Host: a\r\n\r", 0, false),
            ("\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 3, false),
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", 1, true),
        ] {
            connection.head.extend_from_slice(bytes.as_bytes());
            assert_eq!((connection.complete(), connection.last), (count, last), "{bytes:?}");
        }
        assert!(connection.head.is_empty());
    }
}
