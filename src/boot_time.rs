//! The clock of the snapshot's age, which goes on while the machine is suspended.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Linux stops `CLOCK_MONOTONIC` meanwhile, macOS does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// The time since the machine was started. Never goes back.
#[must_use]
pub fn since_boot() -> Duration {
    // Every supported kernel has the clock.
    clock_gettime(CLOCK).map(Duration::from).unwrap_or_default()
}
