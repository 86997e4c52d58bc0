//! What the process takes of the machine, under the names that dashboards know.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use trunkline_service::meter::Page;

/// Clock ticks in one second, as Linux shows them to every program.
const TICKS: f64 = 100.0;

/// When the process was first asked to note its start; [`started`] asks at once.
static STARTED: LazyLock<f64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));

/// Notes that the process starts now.
pub(super) fn started() {
    LazyLock::force(&STARTED);
}

/// Writes what is known; what the system does not tell is left out.
pub(super) fn read(page: &mut Page) {
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ];
    page.gauge("trunkline_build_info", "Which program this is; always 1.", &labels, 1.0);
    let help = "When the process started, in seconds since 1970.";
    page.gauge("process_start_time_seconds", help, &[], *STARTED);
    if let Some(stat) = text("/proc/self/stat").as_deref().and_then(Stat::parse) {
        page.seconds("process_cpu_seconds_total", "Processor time, user and system.", &[], stat.cpu);
        page.gauge("process_threads", "Threads.", &[], stat.threads);
        page.gauge("process_virtual_memory_bytes", "Address space.", &[], stat.virtual_bytes);
    }
    let status = text("/proc/self/status");
    if let Some(resident) = status.as_deref().and_then(resident) {
        page.gauge("process_resident_memory_bytes", "Memory in use.", &[], resident);
    }
    if let Some(open) = open_files() {
        page.gauge("process_open_fds", "Open files and sockets.", &[], open);
    }
    if let Some(most) = text("/proc/self/limits").as_deref().and_then(most_files) {
        page.gauge("process_max_fds", "Most files and sockets that may be open.", &[], most);
    }
}

fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    threads: f64,
    virtual_bytes: f64,
}

impl Stat {
    /// Reads the line; the name of the program stands in parentheses and may hold anything. Source: proc(5).
    fn parse(line: &str) -> Option<Self> {
        let (_, behind) = line.rsplit_once(')')?;
        // The third field of the line comes first here.
        let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<f64>().ok();
        Some(Self {
            cpu: (number(14)? + number(15)?) / TICKS,
            threads: number(20)?,
            virtual_bytes: number(23)?,
        })
    }
}

/// Reads `VmRSS`, which is in KiB.
fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

fn most_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

/// Counts what is open, less the look itself.
fn open_files() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_whatever_the_program_is_called() {
        let line = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 7 0 1000 1048576 300 18446744073709551615";
        assert_eq!(Stat::parse(line), Some(Stat { cpu: 2.0, threads: 7.0, virtual_bytes: 1_048_576.0 }));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(most_files(limits), Some(1024.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_what_it_takes() {
        let mut page = Page::new();
        read(&mut page);
        let text = page.into_text();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name} in {text}");
        }
    }
}
