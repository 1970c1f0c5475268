//! A workload: what an engine runs, with nothing left to decide.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;
use crate::ids::WorkloadName;
use crate::image::ImageRef;
use crate::instance::Expose;
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::spec::{Container, HealthCheck, RestartPolicy, ServiceKind};

/// Something to run, ready to be handed to an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Its name within the instance.
    pub name: WorkloadName,
    /// Whether it stays or runs to its end.
    pub kind: ServiceKind,
    /// What it is made from.
    pub image: ImageRef,
    /// The address at which it answers.
    pub address: NodeAddress,
    /// What kind of address that is.
    pub expose: Expose,
    /// The container's parameters.
    pub container: Container,
    /// Files that it finds when it starts.
    pub files: Vec<PlacedFile>,
    /// How to tell that it is up.
    pub health: Option<HealthCheck>,
    /// What happens when it ends.
    pub restart: RestartPolicy,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Duration,
}

/// A file of a workload, as rendered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedFile {
    /// Where the workload sees it: an absolute path.
    pub target: String,
    /// Its text, which may hold passwords.
    pub text: Secret,
    /// What happens to a file that is there already.
    pub existing: Existing,
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// It is replaced: a config file is ours.
    Replace,
    /// It is kept: `nodes.conf` is the server's own from its first start on.
    Keep,
}

impl Workload {
    /// The memory that it may use.
    #[must_use]
    pub const fn memory(&self) -> Option<ByteSize> {
        self.container.memory
    }

    /// The environment of its process.
    #[must_use]
    pub const fn environment(&self) -> &BTreeMap<String, String> {
        &self.container.environment
    }

    /// A number that changes with anything that only a new start brings into force. Files that
    /// are kept do not count: they belong to the server.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fnv::new();
        let container = &self.container;
        (self.image.to_string(), self.address).hash(&mut hash);
        // Nothing is added for what is usual, so that numbers of older versions stay right.
        if let Expose::Host(address) = self.expose {
            address.hash(&mut hash);
        }
        (&container.command, &container.environment).hash(&mut hash);
        (container.memory, container.cpu_millis).hash(&mut hash);
        (&container.ulimits, &container.sysctls).hash(&mut hash);
        (&container.user, container.read_only_root).hash(&mut hash);
        for volume in &container.volumes {
            (&volume.name, &volume.target).hash(&mut hash);
            if let Some(folder) = &volume.host_folder {
                folder.hash(&mut hash);
            }
        }
        for file in &self.files {
            if file.existing == Existing::Replace {
                (&file.target, file.text.expose()).hash(&mut hash);
            }
        }
        Fingerprint(hash.finish())
    }
}

/// A number that stands for a state: equal states have equal ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Fingerprint(pub u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl Fingerprint {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// FNV-1a with 64 bits: the same number on every machine and in every version, which the standard
/// library does not promise of its own hasher. It guards against change, not against malice.
#[derive(Debug)]
pub struct Fnv(u64);

impl Fnv {
    /// Begins a number.
    #[must_use]
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
