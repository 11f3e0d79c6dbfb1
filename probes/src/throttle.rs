//! For how long the quota of gate's own container kept it from its CPU: cgroup v2 or v1.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// `cpu.stat` is a few hundred bytes.
const STAT_MAX_BYTES: u64 = 4096;

/// The container's own `cpu.stat`, where there is one.
#[derive(Debug)]
pub(crate) struct Throttle {
    stat: Option<File>,
    seen_micros: u64,
}

impl Throttle {
    /// Finds it: in a container at the root of what it sees, elsewhere below it.
    pub(crate) fn new() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let stat = candidates(&own).into_iter().find_map(|path| File::open(path).ok());
        let mut throttle = Self { stat, seen_micros: 0 };
        throttle.seen_micros = throttle.total_micros();
        throttle
    }

    /// Milliseconds since this was asked last; 0 where it cannot be known.
    pub(crate) fn take_millis(&mut self) -> u32 {
        let total = self.total_micros();
        let since = total.saturating_sub(self.seen_micros);
        self.seen_micros = total;
        u32::try_from(since / 1000).unwrap_or(u32::MAX)
    }

    fn total_micros(&mut self) -> u64 {
        let Some(file) = &mut self.stat else { return 0 };
        let mut text = String::new();
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.take(STAT_MAX_BYTES).read_to_string(&mut text));
        if read.is_err() { 0 } else { throttled_micros(&text) }
    }
}

/// Where `cpu.stat` may be, by the lines of `/proc/self/cgroup`.
fn candidates(own: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.is_empty() {
            paths.push(PathBuf::from("/sys/fs/cgroup").join(path).join("cpu.stat"));
            paths.push(PathBuf::from("/sys/fs/cgroup/cpu.stat"));
        } else if controllers.split(',').any(|controller| controller == "cpu") {
            let root = PathBuf::from("/sys/fs/cgroup").join(controllers);
            paths.push(root.join(path).join("cpu.stat"));
            paths.push(root.join("cpu.stat"));
            paths.push(PathBuf::from("/sys/fs/cgroup/cpu/cpu.stat"));
        }
    }
    paths
}

/// `throttled_usec` of cgroup v2, `throttled_time` (nanoseconds) of v1.
fn throttled_micros(stat: &str) -> u64 {
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    field("throttled_usec")
        .or_else(|| field("throttled_time").map(|nanos| nanos / 1000))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_cgroup_are_read() {
        let v2 = "usage_usec 77\nnr_periods 100\nnr_throttled 13\nthrottled_usec 650000\n";
        let v1 = "nr_periods 100\nnr_throttled 13\nthrottled_time 650000000\n";
        assert_eq!(
            [v2, v1, "", "throttled_usec x"].map(throttled_micros),
            [650_000, 650_000, 0, 0]
        );
    }

    #[test]
    fn the_containers_own_file_comes_first() {
        let first = |own: &str| candidates(own).first().map(|path| path.display().to_string());
        assert_eq!(first("0::/a/b\n").as_deref(), Some("/sys/fs/cgroup/a/b/cpu.stat"));
        let v1 = "3:memory:/x\n2:cpu,cpuacct:/x\n";
        assert_eq!(first(v1).as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/x/cpu.stat"));
        assert_eq!(first("garbage"), None);
    }
}
