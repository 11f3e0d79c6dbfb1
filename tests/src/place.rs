//! Where things are: the checkout, its binaries, and addresses that nobody else uses.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout").to_owned()
}

/// A binary of the workspace. Cargo puts a test's executable in `deps/` beside them.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a running test has an executable");
    let folder = here.ancestors().skip(1).find(|folder| folder.join(name).is_file());
    let folder = folder
        .unwrap_or_else(|| panic!("no `{name}` beside {here:?}; run `cargo build --workspace`"));
    folder.join(name)
}

/// Python, with what the emulated AWS needs.
pub(crate) fn python() -> Command {
    let mut command = Command::new(root().join(".venv/bin/python"));
    command.env("PYTHONPATH", root().join("tests/aws"));
    command
}

/// Lets this process, and those that it starts from now on, have so many files open.
pub fn open_files(wanted: u64) {
    const RAISE: &str = "
import resource, sys
pid, wanted = int(sys.argv[1]), int(sys.argv[2])
soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
if resource.RLIM_INFINITY != soft < wanted:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
";
    let of = [std::process::id().to_string(), wanted.to_string()];
    let raised = python().args(["-c", RAISE]).args(of).status().expect("python runs");
    assert!(raised.success(), "this test needs {wanted} open files: raise `ulimit -Hn`");
}

/// A binary of the workspace that may let no file grow beyond so many bytes.
pub(crate) fn confined(file_bytes: u64, name: &str) -> Command {
    const RUN: &str = "
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), hard))
os.execv(sys.argv[2], sys.argv[2:])
";
    let mut command = python();
    command.args(["-c", RUN, &file_bytes.to_string()]).arg(binary(name));
    command
}

/// A fresh address of the loopback network, so that a fixed port never clashes: not with another test,
/// and not with the emulator's tasks and balancers, which live below 127.100.
pub fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number =
        std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, high, middle, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 100 + high % 100, middle, 1 + low % 250)
}

/// An empty folder for one test, removed with the handle.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder in the build directory.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{number}", std::process::id());
        let path = root().join("target").join("e2e").join(name);
        std::fs::create_dir_all(&path).expect("the build directory is writable");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A failed test leaves its logs to be read.
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
