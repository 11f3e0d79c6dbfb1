//! What a reader must know of the machine, without its name.

use std::fs::read_to_string;

/// Facts that figures depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// GiB.
    pub memory: f64,
    /// Major and minor version.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let processor =
            value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
        let kib = value(&read("/proc/meminfo"), "MemTotal");
        let kib = kib.and_then(|kib| kib.split(' ').next()?.parse::<f64>().ok());
        let release = read("/proc/sys/kernel/osrelease");
        let mut numbers = release.trim().split(['.', '-']);
        let (major, minor) = (numbers.next().unwrap_or("?"), numbers.next().unwrap_or("?"));
        // `available_parallelism` would count the cores that this process was left with.
        let cores = read("/proc/cpuinfo").matches("processor\t").count();
        Self {
            processor,
            cores,
            memory: kib.unwrap_or_default() / 1024.0 / 1024.0,
            kernel: format!("{major}.{minor}"),
        }
    }
}

fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The mean count of tasks that wanted a processor in the last minute.
pub fn load_average() -> String {
    let loads = read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or("?").to_owned()
}
