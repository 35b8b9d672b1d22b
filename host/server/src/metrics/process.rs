//! What the kernel says of this process, under the names that every Prometheus client uses. Where the kernel says nothing,
//! the series are absent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::page::Page;

/// Writes the process's families. `uptime` is how long it has been running.
pub(super) fn write(page: &mut Page, uptime: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge(
        "process_start_time_seconds",
        "when the process started, since 1970",
        now.saturating_sub(uptime).as_secs(),
    );
    page.counter("process_cpu_seconds_total", "CPU time of all threads", cpu().as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "memory that the process holds", bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // the folder itself is open while it is read
        page.gauge("process_open_fds", "open files and sockets", files.count().saturating_sub(1));
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}
