//! What the simulated platform has: hosts and images.

use std::collections::BTreeMap;

use model::ids::HostName;
use model::image::{ImageRef, ServerVersion, Software};
use model::size::ByteSize;
use model::view::{HostView, ImageView};

/// What a simulated platform has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its machines.
    pub hosts: Vec<HostView>,
    /// The version of every server image of Redis or Valkey.
    pub version: ServerVersion,
    /// What single images are, where that differs.
    pub images: BTreeMap<ImageRef, ImageView>,
    /// With which exit code jobs end, by the name of their service; 0 for others.
    pub exit_codes: BTreeMap<String, i32>,
}

impl Site {
    /// One host, and servers of this version.
    #[must_use]
    pub fn new(version: ServerVersion) -> Self {
        Self {
            hosts: hosts(1),
            version,
            images: BTreeMap::new(),
            exit_codes: BTreeMap::new(),
        }
    }

    /// The same with this many hosts.
    #[must_use]
    pub fn with_hosts(self, count: u8) -> Self {
        Self {
            hosts: hosts(count),
            ..self
        }
    }

    /// What an image is here.
    pub(crate) fn image(&self, image: &ImageRef) -> ImageView {
        if let Some(view) = self.images.get(image) {
            return view.clone();
        }
        match image.software() {
            Software::Redis | Software::Valkey => ImageView::Server(self.version),
            Software::Shardyard | Software::Other => ImageView::Program,
        }
    }
}

/// Hosts `host-1`, `host-2` and so on, each with 64 GiB of which half is free.
fn hosts(count: u8) -> Vec<HostView> {
    (1..=count)
        .map(|number| HostView {
            name: HostName::new(format!("host-{number}")),
            memory_total: ByteSize::mib(64 << 10),
            memory_available: ByteSize::mib(32 << 10),
        })
        .collect()
}
