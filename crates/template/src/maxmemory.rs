//! How much of a workload's memory limit its server may use for data (`maxmemory`).
//!
//! A server that is given its whole limit is killed the first time it forks: it counts its data,
//! but not everything that it uses. What is set aside, in shares of the limit:
//!
//! - **Fork, 8/32.** A snapshot, a rewrite of the append-only file and the copy for a new replica
//!   share the data with a child process, and each page written meanwhile exists twice. A quarter
//!   covers a write-heavy minute; a load that rewrites half of its data during one snapshot needs a
//!   larger limit.
//! - **Replicas, 2/32.** What their output buffers hold beyond the backlog is not counted by the
//!   server (`freeMemoryGetNotCountedMemory`, evict.c), nor is the buffer of the append-only file.
//! - **Backlog, 1/32, from 1 MiB to 1 GiB.** The built-in template sizes the backlog so. It is
//!   counted within maxmemory; set aside once more, because a replica that lags holds about as much
//!   again.
//! - **Margin, 8 MiB.** The program itself, its cluster bus and the allocator's own books. An empty
//!   cluster node has 12 to 15 MiB resident, 3 to 4 of them its own and the rest pages of the
//!   program that the kernel can drop (measured with Redis 7.0 and 8.0, Valkey 8.1 and 9.1).
//!
//! At 256 MiB that leaves 160, at 4 GiB 2680 MiB.

use model::size::ByteSize;

/// The smallest limit under which a server can be run: below it the parts that are set aside leave
/// nothing worth the name.
pub const LIMIT_MIN: ByteSize = ByteSize::mib(32);

const SHARES: u64 = 32;
const FORK_SHARES: u64 = 8;
const REPLICA_SHARES: u64 = 2;
const BACKLOG_MIN: u64 = 1 << 20;
const BACKLOG_MAX: u64 = 1 << 30;
const MARGIN: u64 = 8 << 20;

/// The bytes that a server under this limit may use for data. Never zero, which a server takes for
/// "no limit"; it never falls while the limit grows. `None` below `LIMIT_MIN`.
#[must_use]
pub fn usable(limit: ByteSize) -> Option<ByteSize> {
    if limit < LIMIT_MIN {
        return None;
    }
    // All parts are counted in the same whole shares: rounded one by one they would step at
    // different limits, and a larger limit could leave less.
    let share = limit.as_bytes() / SHARES;
    let left = (SHARES - FORK_SHARES - REPLICA_SHARES) * share;
    let usable = left - share.clamp(BACKLOG_MIN, BACKLOG_MAX) - MARGIN;
    Some(ByteSize::bytes(usable))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_limits_leave_known_amounts() {
        for (limit, expected) in [(32, 13), (64, 34), (256, 160), (1_024, 664), (4_096, 2_680)] {
            assert_eq!(
                usable(ByteSize::mib(limit)),
                Some(ByteSize::mib(expected)),
                "{limit} MiB"
            );
        }
        assert_eq!(usable(ByteSize::bytes((32 << 20) - 1)), None);
        assert_eq!(usable(ByteSize::bytes(0)), None);
    }

    #[test]
    fn no_byte_more_ever_leaves_less() {
        for start in [32_u64 << 20, 33 << 20, 1 << 30, 32 << 30] {
            for limit in start - 70..start + 70 {
                let (less, more) = (ByteSize::bytes(limit), ByteSize::bytes(limit + 1));
                assert!(usable(less) <= usable(more), "{limit}");
            }
        }
    }

    proptest! {
        #[test]
        fn there_is_always_room_left_for_a_fork(limit in LIMIT_MIN.as_bytes()..=u64::MAX) {
            let usable = usable(ByteSize::bytes(limit)).unwrap().as_bytes();
            prop_assert!(usable > 0);
            prop_assert!(usable <= limit - limit / 4);
        }

        #[test]
        fn more_memory_never_leaves_less(limit in 0..u64::MAX, more in 0..u64::MAX) {
            let larger = limit.saturating_add(more);
            prop_assert!(usable(ByteSize::bytes(limit)) <= usable(ByteSize::bytes(larger)));
        }
    }
}
