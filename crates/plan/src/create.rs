//! Decides how a cluster begins: with prepared `nodes.conf` files where that is proved safe for the
//! server's version, else by meeting (docs/decisions/0002-creation.md).

use std::collections::BTreeMap;
use std::fmt::Write;

use model::address::{BUS_PORT_OFFSET, NodeAddress};
use model::ids::{NodeId, ShardIndex, WorkloadName};
use model::image::{ServerVersion, Software};
use model::instance::{Instance, Layout, NodeSeat, PlannedRole};
use model::step::{ClusterStep, Member, Promotion, Step};
use model::workload::Fnv;

/// How the nodes of a new cluster get to know each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Method {
    /// Each node starts with a `nodes.conf` that names all nodes, slots and epochs. Where `swap`
    /// is set the roles are exchanged in it, and the primaries are elected: a node that was a
    /// replica when it started has no pause of 2 s before it serves (`CLUSTER_WRITABLE_DELAY`).
    Prepared {
        /// Whether the roles are exchanged at first.
        swap: bool,
    },
    /// Each node starts alone, and they meet.
    Meet,
}

/// Up to this many shards are swapped. Elections come one after the other, at most one tick of
/// 100 ms each, so that more of them take longer than the pause that they avoid.
const SWAP_SHARDS_MAX: u16 = 12;

/// How `nodes.conf` is written by a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NodesConf {
    /// `ip:port@bus` (Redis 7.0).
    Plain,
    /// With `,,tls-port=0,shard-id=…` after it (Redis 7.2 and later, Valkey).
    WithShardId,
}

/// The versions for which prepared files were proved (tests/real_create.rs), and whether their
/// primaries vote at once: since 9.0 a Valkey primary gives no vote in its first two seconds.
fn proved(version: ServerVersion) -> Option<(NodesConf, bool)> {
    match (version.software, version.major, version.minor) {
        (Software::Redis, 7, 0) => Some((NodesConf::Plain, true)),
        (Software::Redis, 8, 0) | (Software::Valkey, 8, 1) => Some((NodesConf::WithShardId, true)),
        (Software::Valkey, 9, 1) => Some((NodesConf::WithShardId, false)),
        _ => None,
    }
}

/// How a cluster of this version and size begins.
#[must_use]
pub fn method(version: Option<ServerVersion>, shards: u16, replicas: u16) -> Method {
    match version.and_then(proved) {
        None => Method::Meet,
        Some((_, votes_at_once)) => Method::Prepared {
            // One or two primaries cannot elect anybody while one of them is the one to go.
            swap: votes_at_once && replicas > 0 && (3..=SWAP_SHARDS_MAX).contains(&shards),
        },
    }
}

/// The `nodes.conf` with which a node of a new cluster starts; `None` for one that meets.
#[must_use]
pub fn prepared(
    instance: &Instance,
    workload: &WorkloadName,
    version: Option<ServerVersion>,
    method: Method,
) -> Option<String> {
    let Method::Prepared { swap } = method else {
        return None;
    };
    let (form, _) = version.and_then(proved)?;
    let owners = owners(&instance.layout, swap);
    let mut text = String::new();
    for (name, seat, node) in instance.layout.nodes() {
        let line = Line {
            node,
            address: seat.address,
            myself: name == workload,
            owner: *owners.get(&node.shard)?,
        };
        line.write(form, instance, &mut text);
    }
    let shards = owners.len();
    // Nobody has voted yet, and the highest epoch is the last shard's.
    let _ = writeln!(text, "vars currentEpoch {shards} lastVoteEpoch 0");
    Some(text)
}

/// The `nodes.conf` of a node that joins a cluster: itself, knowing nobody.
#[must_use]
pub fn joining(layout: &Layout, workload: &WorkloadName) -> Option<String> {
    let seat = layout.seats.get(workload)?;
    let node = seat.node?;
    let address = with_bus(seat.address);
    Some(format!(
        "{} {address} myself,master - 0 0 0 connected\nvars currentEpoch 0 lastVoteEpoch 0\n",
        node.id
    ))
}

/// Who owns the slots of each shard at first.
fn owners(layout: &Layout, swap: bool) -> BTreeMap<ShardIndex, NodeId> {
    let mut owners = BTreeMap::new();
    for shard in layout.shards() {
        let nodes = layout.shard(shard);
        let first = usize::from(swap).min(nodes.len().saturating_sub(1));
        if let Some((_, _, node)) = nodes.get(first) {
            owners.insert(shard, node.id);
        }
    }
    owners
}

/// The elections that put the planned primaries in their place after a start with exchanged roles.
#[must_use]
pub fn promotions(layout: &Layout) -> Option<Step> {
    let before = owners(layout, true);
    let members: BTreeMap<NodeId, Member> = layout
        .nodes()
        .map(|(_, seat, node)| (node.id, member(node.id, seat.address)))
        .collect();
    let promotions: Vec<Promotion> = layout
        .nodes()
        .filter(|(_, _, node)| node.role == PlannedRole::Primary)
        .filter_map(|(_, _, node)| {
            let instead_of = members.get(before.get(&node.shard)?)?;
            let node = members.get(&node.id)?;
            (node != instead_of).then_some(Promotion {
                node: *node,
                instead_of: *instead_of,
            })
        })
        .collect();
    (!promotions.is_empty()).then_some(Step::Cluster(ClusterStep::EnsurePromoted { promotions }))
}

pub(crate) const fn member(id: NodeId, address: NodeAddress) -> Member {
    Member { id, address }
}

fn with_bus(address: NodeAddress) -> String {
    let bus = u32::from(address.port) + u32::from(BUS_PORT_OFFSET);
    format!("{}:{}@{bus}", address.ip, address.port)
}

/// One node, as a line of `nodes.conf` (`clusterGenNodeDescription`, cluster.c of Redis 7.0).
struct Line {
    node: NodeSeat,
    address: NodeAddress,
    myself: bool,
    owner: NodeId,
}

impl Line {
    fn write(&self, form: NodesConf, instance: &Instance, out: &mut String) {
        let node = self.node;
        let owns = node.id == self.owner;
        let address = with_bus(self.address);
        let shard_id = match form {
            NodesConf::Plain => String::new(),
            NodesConf::WithShardId => {
                format!(",,tls-port=0,shard-id={}", shard_id(instance, node.shard))
            }
        };
        let myself = if self.myself { "myself," } else { "" };
        let (role, primary) = if owns {
            ("master", "-".to_owned())
        } else {
            ("slave", self.owner.to_string())
        };
        let epoch = Layout::first_epoch(node.shard);
        let slots = match instance.layout.first_slots(node.shard) {
            Some(range) if owns => format!(" {range}"),
            Some(_) | None => String::new(),
        };
        let _ = writeln!(
            out,
            "{} {address}{shard_id} {myself}{role} {primary} 0 0 {epoch} connected{slots}",
            node.id
        );
    }
}

/// An id for a shard that differs from those of all other shards anywhere: it is made from the id
/// of its planned primary, which does.
fn shard_id(instance: &Instance, shard: ShardIndex) -> NodeId {
    use std::hash::{Hash, Hasher};
    let seed = instance.layout.shard(shard).first().map(|it| it.2.id);
    let mut bytes = [0; 20];
    for (index, part) in bytes.chunks_mut(8).enumerate() {
        let mut hash = Fnv::new();
        (seed, index, "shard").hash(&mut hash);
        part.copy_from_slice(&hash.finish().to_be_bytes()[..part.len()]);
    }
    NodeId::from_bytes(bytes)
}

/// How a cluster of this instance begins, given what its image turned out to be.
#[must_use]
pub fn method_of(instance: &Instance, version: Option<ServerVersion>) -> Method {
    let managed = instance.spec.services.iter().find_map(|it| it.cluster);
    managed.map_or(Method::Meet, |part| {
        method(version, part.shards, part.replicas)
    })
}
