//! A cluster that was delivered long ago, a client that writes to it, and what somebody wants it to
//! become.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use model::address::NodeAddress;
use model::ids::{NodeId, ShardIndex};
use model::image::ServerVersion;
use model::instance::Instance;
use model::slots::{Slot, SlotSet, even_split};
use model::view::View;
use plan::scale::{ScaleSite, newcomers, rescale};
use testkit::{Complaint, Dice, Owed, Site, World};
use tokio::time::sleep;

use crate::operator::{Operator, workloads};
use crate::stage::{Size, design, spec_of};

/// How many keys the client writes to: several in each slot that has any.
const KEYS: u32 = 160;

/// Until nodes that have just started take writes.
const WARM_UP: Duration = Duration::from_millis(2600);

/// The address of the first newcomer.
const NEWCOMERS: u32 = 0x0a00_0100;

/// What somebody wants of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Some slots go to other shards.
    Rebalance,
    /// One shard more, which gets some slots.
    OneShardMore,
    /// One shard less: the last, which owns some slots only.
    OneShardLess,
    /// Another number of replicas.
    Replicas(u16),
    /// One shard more, and one replica less for each.
    WiderAndThinner,
}

/// A delivered cluster.
pub(crate) struct Field {
    pub(crate) world: World,
    pub(crate) instance: Instance,
    size: Size,
    dice: Dice,
}

impl Field {
    /// A cluster in which everything follows from the seed. Where a shard is to leave, it owns few
    /// slots, so that a schedule is short.
    pub(crate) async fn new(seed: u64, version: ServerVersion, size: Size, wish: Wish) -> Self {
        let world = World::new(seed, Site::new(version));
        let mut instance = design(seed, size);
        instance.delivered = true;
        let owners = owners(size, wish, seed);
        let unseen = View::default();
        world.form(&instance, &workloads(&instance, &unseen), &owners);
        world.write_all_the_time(Duration::from_millis(9), KEYS, usize::from(size.replicas));
        sleep(WARM_UP).await;
        Self {
            world,
            instance,
            size,
            dice: Dice::new(seed ^ 0x5eed),
        }
    }

    /// Writes down what is wanted, as `scale` and `rebalance` do before they begin.
    pub(crate) async fn want(&mut self, wish: Wish) {
        let operator = Operator::new(&self.world);
        let view = operator.observe(&self.instance).await.unwrap();
        let size = match wish {
            Wish::Rebalance => return self.exchange_slots(&view),
            Wish::OneShardMore => Size {
                shards: self.size.shards + 1,
                ..self.size
            },
            Wish::OneShardLess => Size {
                shards: self.size.shards - 1,
                ..self.size
            },
            Wish::Replicas(replicas) => Size {
                replicas,
                ..self.size
            },
            Wish::WiderAndThinner => Size {
                shards: self.size.shards + 1,
                replicas: self.size.replicas - 1,
            },
        };
        let spec = spec_of(size);
        let joins = newcomers(&self.instance, &spec, &view);
        let addresses: BTreeMap<_, _> = joins
            .into_iter()
            .zip(NEWCOMERS..)
            .map(|((name, port), ip)| {
                (name, NodeAddress::new(Ipv4Addr::from_bits(ip).into(), port))
            })
            .collect();
        let ids: Vec<NodeId> = addresses.keys().map(|_| self.dice.node_id()).collect();
        let hosts = &view.engine.hosts;
        let site = ScaleSite {
            hosts,
            addresses: &addresses,
            ids: &ids,
        };
        let scaled = rescale(&self.instance, spec, &view, site);
        let mut scaled = scaled.unwrap_or_else(|refusals| panic!("{wish:?}: {refusals:?}"));
        if size.shards > self.size.shards {
            self.give_few(&mut scaled, &view);
        }
        self.instance = scaled;
    }

    /// The new shard gets a few slots instead of its full share: a schedule is about how slots
    /// move, not about how many.
    fn give_few(&mut self, scaled: &mut Instance, view: &View) {
        let owned = self.owned(view);
        let new = scaled.layout.shards().into_iter().max().unwrap();
        let mut given = SlotSet::empty();
        for slot in self.some_slots(2, 10) {
            given.insert(slot);
        }
        scaled.layout.owners = owned
            .into_iter()
            .map(|(shard, slots)| (shard, slots.difference(&given)))
            .collect();
        scaled.layout.owners.insert(new, given);
    }

    /// Some slots go from each shard to the next.
    fn exchange_slots(&mut self, view: &View) {
        let mut owners = self.owned(view);
        let shards: Vec<ShardIndex> = owners.keys().copied().collect();
        for slot in self.some_slots(2, 12) {
            let to = *self.dice.pick(&shards).unwrap();
            for (shard, slots) in &mut owners {
                if *shard == to {
                    slots.insert(slot);
                } else {
                    slots.remove(slot);
                }
            }
        }
        self.instance.layout.owners = owners;
    }

    /// Slots of which most have keys.
    pub(crate) fn some_slots(&mut self, least: u64, most: u64) -> Vec<Slot> {
        let with_keys: Vec<Slot> = World::slots_with_keys().iter().collect();
        let count = self.dice.between(least, most);
        (0..count)
            .map(|_| {
                if self.dice.percent(85) {
                    *self.dice.pick(&with_keys).unwrap()
                } else {
                    let number = u16::try_from(self.dice.between(0, 16383)).unwrap();
                    Slot::new(number).unwrap()
                }
            })
            .collect()
    }

    fn owned(&self, view: &View) -> BTreeMap<ShardIndex, SlotSet> {
        let layout = &self.instance.layout;
        let mut owned: BTreeMap<ShardIndex, SlotSet> = BTreeMap::new();
        for (_, seat, node) in layout.nodes() {
            let cluster = view.nodes.get(&seat.address).and_then(|it| it.cluster());
            let slots = cluster
                .and_then(|it| it.myself())
                .map(|it| SlotSet::of(&it.slots));
            let all = owned.entry(node.shard).or_insert_with(SlotSet::empty);
            *all = all.union(&slots.unwrap_or_else(SlotSet::empty));
        }
        owned
    }

    /// What is wrong in the end, once all has settled.
    pub(crate) async fn complaints(&self, owed: Owed) -> Vec<Complaint> {
        self.world.pause_writes(true);
        sleep(Duration::from_secs(3)).await;
        let mut complaints = self.world.complaints(owed);
        complaints.extend(self.world.changed_settings());
        complaints.extend(self.world.open_slots());
        complaints.extend(self.world.disagreements());
        let operator = Operator::new(&self.world);
        match operator.plan(&self.instance).await {
            Ok((plan, _)) if plan.is_empty() => {}
            Ok((plan, _)) => {
                let titles = plan.phases.iter().map(|phase| &phase.title);
                complaints.extend(titles.map(|title| format!("still to do: {title}")));
            }
            Err(fault) => complaints.push(format!("cannot plan: {fault}")),
        }
        complaints
    }
}

/// Of the slots with keys every so-manieth is the last shard's where one is to leave. It is the one
/// with the fewest keys then, and the one that leaves.
const FEW: usize = 13;

/// So many that another shard may have fewer keys by chance; then thousands of slots move.
const MORE: usize = 7;

/// In one of so many schedules it has more.
const MORE_IN: u64 = 8;

/// Who owns what in the beginning.
fn owners(size: Size, wish: Wish, seed: u64) -> BTreeMap<ShardIndex, SlotSet> {
    let leaves = wish == Wish::OneShardLess;
    let full = size.shards - u16::from(leaves);
    let mut owners: BTreeMap<ShardIndex, SlotSet> = (0..)
        .map(ShardIndex)
        .zip(even_split(full))
        .map(|(shard, range)| (shard, SlotSet::of(&[range])))
        .collect();
    if leaves {
        let mut last = SlotSet::empty();
        let step = if seed.is_multiple_of(MORE_IN) {
            MORE
        } else {
            FEW
        };
        for slot in World::slots_with_keys().iter().step_by(step) {
            last.insert(slot);
        }
        for slots in owners.values_mut() {
            *slots = slots.difference(&last);
        }
        owners.insert(ShardIndex(full), last);
    }
    owners
}
