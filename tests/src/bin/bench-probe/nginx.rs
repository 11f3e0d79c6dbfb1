//! nginx as the server for full speed: faster than any tool here, so that the tool is what is measured.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
pub const START_LIMIT: Duration = Duration::from_secs(10);

/// A running nginx of one process. It ends with its handle.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    pub address: String,
}

impl Nginx {
    /// Starts one on the core of this process.
    pub fn start(program: &Path, folder: &Path) -> Result<Self, String> {
        let error = |error: std::io::Error| format!("nginx does not start: {error}");
        let address = free().map_err(error)?.to_string();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|of| format!("{of}_temp_path {};", folder.join("nginx").display()));
        let settings = format!(
            "daemon off; master_process off; pid {}; error_log stderr;\n\
            events {{ worker_connections 1024; }}\n\
            http {{ access_log off; keepalive_requests 1000000000; {}\n\
            server {{ listen {address}; location / {{ return 200 \"ok\"; }} }} }}\n",
            folder.join("nginx.pid").display(),
            paths.join(" "),
        );
        let path = folder.join("nginx.conf");
        std::fs::write(&path, settings).map_err(error)?;
        let process = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(error)?;
        let nginx = Self { process, address };
        if listens(&nginx.address) { Ok(nginx) } else { Err("nginx does not listen".to_owned()) }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An address that nobody uses now.
pub fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Waits until something accepts connections.
pub fn listens(address: &str) -> bool {
    let start = Instant::now();
    while start.elapsed() < START_LIMIT {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
