//! A task to probe: it answers at once, well or half of the time badly, and costs next to nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::seeded::Seeded;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
const BAD: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nbad\n";
/// The end of a request's head; no request here has more.
const END: &[u8] = b"\r\n\r\n";
/// The longest head that is read.
const HEAD_MAX: usize = 8192;

/// A task; gone with its handle.
#[derive(Debug)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Target {
    /// A task at a free port of this address; `fails` where it answers half of its requests with 500.
    pub async fn start(at: IpAddr, fails: bool) -> Self {
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let asked = Arc::new(AtomicU64::new(0));
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(serve(stream, fails, Arc::clone(&asked)));
            }
        });
        Self { address, serving }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Until the other side goes away, however it does.
async fn serve(mut stream: TcpStream, fails: bool, asked: Arc<AtomicU64>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut head).await.ok()? == 0 || head.len() > HEAD_MAX {
            return None;
        }
        if head.ends_with(END) {
            head.clear();
            let number = asked.fetch_add(1, Ordering::Relaxed);
            // Not in turns: two runs in step would have all the good ones and all the bad ones.
            let bad = fails && Seeded::new(number).once_in(2);
            let answer = if bad { BAD } else { GOOD };
            stream.write_all(answer).await.ok()?;
        }
    }
}
