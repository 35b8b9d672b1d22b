//! How the machine fares, from Linux's `/proc` and, where the process lives in one, its cgroup (v2). Knows nothing of jobs, disks
//! or who asks; `capabilities/machine.rs` does.
//!
//! Files of `/proc` are answered from memory by the kernel: reading them waits for no disk.

use std::fs::read_to_string;
use std::sync::{Mutex, PoisonError};

/// The fewest ticks of the clock between two looks: fewer say nothing of how busy the processors were.
const LEAST_TICKS: u64 = 20;

/// What is read of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What the machine has, or the cgroup may have.
    pub(crate) total: u64,
    /// What could be had now.
    pub(crate) available: u64,
    /// What this process takes.
    pub(crate) own: u64,
}

/// Ticks of all processors together since the machine began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    total: u64,
    idle: u64,
}

/// What was seen before, so that the next look can say what happened since.
#[derive(Debug)]
pub(crate) struct Machine {
    last: Mutex<(Ticks, Option<f64>)>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new((ticks().unwrap_or_default(), None)) }
    }

    /// How busy the processors were since the look before, or at that look when that was a moment ago: 0 to 100.
    pub(crate) fn cpu_percent(&self) -> Option<f64> {
        let now = ticks()?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, known) = *last;
        let total = now.total.saturating_sub(before.total);
        if total < LEAST_TICKS {
            return known;
        }
        let idle = now.idle.saturating_sub(before.idle).min(total);
        let percent = (total - idle) as f64 / total as f64 * 100.0;
        *last = (now, Some(percent));
        Some(percent)
    }

    /// What there is of memory; none where the system does not say.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let machine = read_to_string("/proc/meminfo").ok()?;
        let (total, available) = (kilobytes(&machine, "MemTotal:")?, kilobytes(&machine, "MemAvailable:")?);
        let own = kilobytes(&read_to_string("/proc/self/status").ok()?, "VmRSS:")?;
        let group = |file: &str| read_to_string(format!("/sys/fs/cgroup/memory.{file}")).ok();
        let group = |file: &str| group(file).and_then(|text| text.trim().parse::<u64>().ok());
        // "max", or no such file, is no limit
        let most = group("max").map_or(total, |most| most.min(total));
        let left = group("current").map_or(available, |taken| most.saturating_sub(taken).min(available));
        Some(Memory { total: most, available: if most < total { left } else { available }, own })
    }
}

fn ticks() -> Option<Ticks> {
    parse_ticks(&read_to_string("/proc/stat").ok()?)
}

/// The line `cpu user nice system idle iowait irq softirq steal …` (proc_stat(5)); what guests of this machine take is in `user`
/// already.
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let numbers: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some(Ticks { total: numbers.iter().sum(), idle })
}

/// The number of a line such as `MemTotal:  2048 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "cpu  100 5 20 300 10 1 2 3 40 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_ticks(stat), Some(Ticks { total: 441, idle: 310 }));
        assert_eq!(parse_ticks("intr 1 2 3"), None);
        assert_eq!(kilobytes("MemFree: 1 kB\nMemTotal:        2048 kB\n", "MemTotal:"), Some(2_097_152));
        assert_eq!(kilobytes("MemTotal: much", "MemTotal:"), None);
    }

    #[test]
    fn this_machine_has_memory_of_which_this_process_takes_some() {
        let memory = Machine::new().memory().expect("these tests run on Linux");
        assert!(memory.own > 0 && memory.available <= memory.total && memory.total > 0, "{memory:?}");
    }

    #[test]
    fn a_second_look_a_moment_later_says_what_the_first_said() {
        let machine = Machine { last: Mutex::new((Ticks::default(), None)) };
        let first = machine.cpu_percent().expect("ticks since the machine began");
        assert!((0.0..=100.0).contains(&first), "{first}");
        assert_eq!(machine.last.lock().unwrap().1, Some(first));
    }
}
