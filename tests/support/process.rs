//! Processes and waiting.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that is gone already is as the caller wants it.
    let _ = kill_process(pid, signal);
}

/// Waits until something is true.
///
/// # Panics
/// Where it is not within the limit; `what` says what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut is_true: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(
            began.elapsed() < limit,
            "{what}: not within {} s",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
