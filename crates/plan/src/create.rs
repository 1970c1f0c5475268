//! Decides how a cluster begins: with prepared `nodes.conf` files where that is proved safe for the
//! server's version, else by meeting (docs/decisions/0002-creation.md).

use std::collections::BTreeMap;
use std::fmt::Write;

use model::address::{BUS_PORT_OFFSET, NodeAddress};
use model::ids::{NodeId, ShardIndex, WorkloadName};
use model::image::{ServerVersion, Software};
use model::instance::{Instance, Layout, NodeSeat, PlannedRole};
use model::slots::{SlotRange, even_split};
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
    let beginnings = beginnings(&instance.layout, swap);
    let mut text = String::new();
    for (name, seat, node) in instance.layout.nodes() {
        let line = Line {
            node,
            address: seat.address,
            myself: name == workload,
            shard: beginnings.get(&node.shard)?,
        };
        line.write(form, &mut text);
    }
    let shards = beginnings.len();
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

/// How a shard begins.
struct Beginning {
    owner: NodeId,
    slots: SlotRange,
    /// Differs from those of all other shards anywhere: it is made from the id of the planned
    /// primary, which does.
    id: NodeId,
}

/// How each shard begins. The layout is read once, because this is asked for every node of it.
fn beginnings(layout: &Layout, swap: bool) -> BTreeMap<ShardIndex, Beginning> {
    let mut shards: BTreeMap<ShardIndex, Vec<NodeSeat>> = BTreeMap::new();
    for (_, _, node) in layout.nodes() {
        shards.entry(node.shard).or_default().push(node);
    }
    let ranges = even_split(u16::try_from(shards.len()).unwrap_or(0));
    let begin = |(slots, (shard, mut nodes)): (SlotRange, (ShardIndex, Vec<NodeSeat>))| {
        nodes.sort_by_key(|node| node.role);
        let (first, second) = (nodes.first()?, nodes.get(1));
        let beginning = Beginning {
            owner: second.filter(|_| swap).unwrap_or(first).id,
            slots,
            id: shard_id(first.id),
        };
        Some((shard, beginning))
    };
    ranges.into_iter().zip(shards).filter_map(begin).collect()
}

/// The elections that put the planned primaries in their place after a start with exchanged roles.
#[must_use]
pub fn promotions(layout: &Layout) -> Option<Step> {
    let before = beginnings(layout, true);
    let members: BTreeMap<NodeId, Member> = layout
        .nodes()
        .map(|(_, seat, node)| (node.id, member(node.id, seat.address)))
        .collect();
    let promotions: Vec<Promotion> = layout
        .nodes()
        .filter(|(_, _, node)| node.role == PlannedRole::Primary)
        .filter_map(|(_, _, node)| {
            let instead_of = members.get(&before.get(&node.shard)?.owner)?;
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
struct Line<'a> {
    node: NodeSeat,
    address: NodeAddress,
    myself: bool,
    shard: &'a Beginning,
}

impl Line<'_> {
    fn write(&self, form: NodesConf, out: &mut String) {
        let Beginning { owner, slots, id } = self.shard;
        let node = self.node;
        let address = with_bus(self.address);
        let shard_id = match form {
            NodesConf::Plain => String::new(),
            NodesConf::WithShardId => format!(",,tls-port=0,shard-id={id}"),
        };
        let myself = if self.myself { "myself," } else { "" };
        let (role, primary, slots) = if node.id == *owner {
            ("master", "-".to_owned(), format!(" {slots}"))
        } else {
            ("slave", owner.to_string(), String::new())
        };
        let epoch = Layout::first_epoch(node.shard);
        let _ = writeln!(
            out,
            "{} {address}{shard_id} {myself}{role} {primary} 0 0 {epoch} connected{slots}",
            node.id
        );
    }
}

fn shard_id(primary: NodeId) -> NodeId {
    use std::hash::{Hash, Hasher};
    let mut bytes = [0; 20];
    for (index, part) in bytes.chunks_mut(8).enumerate() {
        let mut hash = Fnv::new();
        (primary, index, "shard").hash(&mut hash);
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
