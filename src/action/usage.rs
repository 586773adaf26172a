//! What this process has used, as Linux tells (proc(5)).

use crate::report::metrics::Usage;

/// The clock ticks of a second in `/proc`: fixed at 100 for programs, whatever the kernel's own are.
const TICKS: f64 = 100.0;

/// What this process has used so far; none where the system does not tell.
pub(super) fn usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    read(&stat, &status)
}

fn read(stat: &str, status: &str) -> Option<Usage> {
    // The program's name may hold anything, also brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // utime and stime are the fields 14 and 15; the first one here is the field 3.
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(Usage { cpu: ticks / TICKS, memory: kilobytes * 1024 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_read() {
        let stat = "1 (a) (b)) S 0 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        let read = read(stat, "Name:\tx\nVmHWM:\t   1024 kB\n").unwrap();
        assert_eq!(read, Usage { cpu: 2.0, memory: 1 << 20 });
        assert!(usage().is_some_and(|usage| usage.memory > 1 << 20));
    }
}
