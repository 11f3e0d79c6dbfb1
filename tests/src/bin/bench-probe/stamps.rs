//! When a request arrived, by the kernel's own stamp: a busy server cannot make a client look late.

use std::io::{self, IoSliceMut, Read};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;

/// Nanoseconds of the clock that the kernel stamps with.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// Asks for stamps. Sockets accepted by a listener inherit this.
pub fn enable(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, ReceiveTimestampns, &true)?)
}

/// Bytes that were read, and when.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    pub bytes: usize,
    pub at: u64,
    /// False: the kernel gave no stamp, and this is the time of the read.
    pub by_kernel: bool,
}

/// Reads with stamps, into one buffer.
#[derive(Debug)]
pub struct Reader {
    control: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { control: nix::cmsg_space!(TimeSpec) }
    }
}

impl Reader {
    /// Reads once.
    pub fn read(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
        let mut slices = [IoSliceMut::new(buffer)];
        let control = Some(self.control.as_mut_slice());
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, control, MsgFlags::empty());
        let (bytes, stamp) = match message {
            Ok(message) => {
                let stamp = message.cmsgs().ok().and_then(|mut messages| {
                    messages.find_map(|message| match message {
                        ControlMessageOwned::ScmTimestampns(stamp) => Some(nanoseconds(stamp)),
                        _ => None,
                    })
                });
                (message.bytes, stamp)
            }
            // A kernel without control messages on streams still reads.
            Err(nix::errno::Errno::EOPNOTSUPP) => (stream.read(buffer)?, None),
            Err(error) => return Err(error.into()),
        };
        Ok(Received { bytes, at: stamp.unwrap_or_else(now), by_kernel: stamp.is_some() })
    }
}

fn nanoseconds(stamp: TimeSpec) -> u64 {
    stamp.tv_sec() as u64 * 1_000_000_000 + stamp.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn a_late_reader_learns_when_the_request_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        enable(&listener).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = now();
        client.write_all(b"now").unwrap();
        let after = now();
        std::thread::sleep(Duration::from_millis(20));
        let mut buffer = [0; 16];
        let received = Reader::default().read(&mut server, &mut buffer).unwrap();
        assert_eq!(&buffer[..received.bytes], b"now");
        if received.by_kernel {
            assert!((before..=after).contains(&received.at), "{before} {received:?} {after}");
        }
    }
}
