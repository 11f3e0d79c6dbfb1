//! The least a prober can be: one thread and one connection, asleep until the next request is due. It
//! shows what the machine's timer and loopback allow, and where a tool's figures end and the machine's begin.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::quantile;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: truth\r\n\r\n";

/// Sends at a rate, and writes what `gate probe --output json` would. Latency counts from when a request was due.
pub fn run(address: SocketAddr, rate: u32, duration: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let period = Duration::from_secs(1) / rate;
    let start = Instant::now();
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    let mut answer = [0; 1024];
    for due in (0..).map(|place| start + period * place).take_while(|due| *due < start + duration) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        errors.push(due.elapsed().as_secs_f64());
        stream.write_all(REQUEST)?;
        // The truth server's answers come in one piece.
        if stream.read(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        latencies.push(due.elapsed().as_secs_f64());
    }
    let count = latencies.len();
    let achieved = count as f64 / start.elapsed().as_secs_f64();
    for list in [&mut latencies, &mut errors] {
        list.sort_by(f64::total_cmp);
    }
    let latency = |asked| quantile(&latencies, asked);
    let error = |asked| quantile(&errors, asked);
    let said = json!({
        "sent": count,
        "ok": count,
        "achieved_rate": achieved,
        "latency_seconds": {
            "p50": latency(0.5), "p90": latency(0.9), "p95": latency(0.95), "p99": latency(0.99),
            "p99_9": latency(0.999), "max": latency(1.0),
        },
        "schedule_error_seconds": { "p50": error(0.5), "p99": error(0.99) },
        "outcomes": { "ok": count },
    });
    println!("{said}");
    Ok(())
}
