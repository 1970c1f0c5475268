//! Reads how much memory this host has, and how much of it may be used.
//!
//! In a container or a slice the kernel's own figures are those of the whole machine; the limit of
//! the control group is what counts there.

use std::path::{Path, PathBuf};

/// The memory of a host, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total: u64,
    /// What new processes could have now.
    pub(crate) available: u64,
}

/// What a control group says of its memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    /// The most that it may use.
    pub(crate) limit: u64,
    /// What it uses, without what it could give back at once.
    pub(crate) used: u64,
}

impl Memory {
    /// Reads `/proc/meminfo`.
    pub(crate) fn parse(meminfo: &str) -> Self {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
            kib.and_then(|kib| kib.parse::<u64>().ok())
                .map_or(0, |kib| kib.saturating_mul(1024))
        };
        Self {
            total: field("MemTotal"),
            available: field("MemAvailable"),
        }
    }

    /// The same within a control group.
    pub(crate) fn within(self, group: Group) -> Self {
        Self {
            total: self.total.min(group.limit),
            available: self.available.min(group.limit.saturating_sub(group.used)),
        }
    }
}

/// The names that the two versions of control groups give their files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// The limit.
    pub(crate) limit: &'static str,
    /// What is used.
    pub(crate) used: &'static str,
    /// The field of `memory.stat` with what could be given back at once.
    pub(crate) idle: &'static str,
}

const VERSION_1: Names = Names {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    idle: "total_inactive_file ",
};

const VERSION_2: Names = Names {
    limit: "memory.max",
    used: "memory.current",
    idle: "inactive_file ",
};

/// The folders whose limits hold for us, the nearest first, by `/proc/self/cgroup` and
/// `/proc/self/mountinfo`. Version 1 is looked at first: where both are mounted, it has the
/// memory controller.
pub(crate) fn group_folders(cgroup: &str, mountinfo: &str) -> (Names, Vec<PathBuf>) {
    for (names, kind) in [(VERSION_1, "cgroup"), (VERSION_2, "cgroup2")] {
        let group = cgroup.lines().find_map(|line| own_group(line, kind));
        let mount = mountinfo.lines().find_map(|line| mount(line, kind));
        if let (Some(group), Some((root, point))) = (group, mount) {
            let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(""));
            let folder = Path::new(point).join(below);
            let all = folder
                .ancestors()
                .take_while(|path| path.starts_with(point));
            return (names, all.map(Path::to_owned).collect());
        }
    }
    (VERSION_2, Vec::new())
}

/// The group of a line `4:memory:/a/b`, or `0::/a/b` in version 2.
fn own_group<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let fits = match kind {
        "cgroup" => controllers.split(',').any(|name| name == "memory"),
        _ => controllers.is_empty(),
    };
    fits.then_some(group)
}

/// Root and mount point of a line `36 35 0:30 ROOT POINT OPTIONS … - KIND SOURCE OPTIONS`.
fn mount<'a>(line: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let (left, right) = line.split_once(" - ")?;
    let right: Vec<&str> = right.split(' ').collect();
    let options = right.get(2)?;
    let fits = *right.first()? == kind
        && (kind == "cgroup2" || options.split(',').any(|name| name == "memory"));
    let mut left = left.split(' ').skip(3);
    fits.then_some((left.next()?, left.next()?))
}

/// A group by the texts of its files; `None` where it has no limit.
pub(crate) fn group(names: Names, limit: &str, used: &str, stat: &str) -> Option<Group> {
    let limit = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().unwrap_or(0);
    let idle = stat.lines().find_map(|line| line.strip_prefix(names.idle));
    let idle: u64 = idle.and_then(|idle| idle.parse().ok()).unwrap_or(0);
    Some(Group {
        limit,
        used: used.saturating_sub(idle),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_capped_by_the_group() {
        let text = "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n";
        let memory = Memory::parse(text);
        assert_eq!((memory.total, memory.available), (1_024_000, 614_400));
        let stat = "total_cache 9\ntotal_inactive_file 24000\n";
        let group = group(VERSION_1, "524000\n", "124000\n", stat).unwrap();
        let capped = memory.within(group);
        assert_eq!((capped.total, capped.available), (524_000, 424_000));
        let wide = Group {
            limit: u64::MAX,
            used: 0,
        };
        assert_eq!(memory.within(wide), memory);
        assert_eq!(Memory::parse("nonsense"), Memory::default());
    }

    #[test]
    fn the_limits_of_both_versions_are_found() {
        let v1 = "36 25 0:32 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
                  37 25 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                  38 25 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let (names, folders) = group_folders("4:memory:/a/b\n1:cpu:/\n0::/\n", v1);
        assert_eq!(names, VERSION_1);
        let expected = ["memory/a/b", "memory/a", "memory"];
        assert_eq!(
            folders,
            expected.map(|path| Path::new("/sys/fs/cgroup").join(path))
        );
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let (names, folders) = group_folders("0::/user.slice\n", v2);
        assert_eq!(names, VERSION_2);
        assert_eq!(folders.len(), 2);
        assert_eq!(folders[0], Path::new("/sys/fs/cgroup/user.slice"));
        // In a container the mount shows the group itself as its root.
        let inner = "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup ro\n";
        let (_, folders) = group_folders("0::/docker/x\n", inner);
        assert_eq!(folders, [Path::new("/sys/fs/cgroup")]);
        assert_eq!(group_folders("", "").1, Vec::<PathBuf>::new());
    }

    #[test]
    fn a_group_without_a_limit_is_none() {
        assert_eq!(group(VERSION_2, "max\n", "1", ""), None);
        assert_eq!(group(VERSION_2, "", "", ""), None);
    }
}
