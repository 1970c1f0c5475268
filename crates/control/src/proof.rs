//! The proof: a small client that writes all the time while slots move, and says in the end what a
//! client of the cluster would have noticed.
//!
//! It keeps a ledger of what was acknowledged and reads it back at the end. Its keys are its own,
//! one in each of the slots that it watches, and it removes them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::{Either, select};
use model::address::NodeAddress;
use model::command::{CommandError, Key, NodeAnswer, NodeCommand};
use model::slots::{Slot, SlotSet};
use model::spec::Credentials;
use model::view::{ClusterView, NodeView};
use serde::{Deserialize, Serialize};

use crate::hands::Hands;

/// How many slots it writes to. One connection writes some thousand times a second, so that each is
/// written to some dozen times a second.
const SLOTS_MAX: usize = 64;

/// How long an answer may take: longer than a gap that a client would wait out.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The pause between two writes. A busy application writes more; this is to be a small part of it.
const WRITE_PAUSE: Duration = Duration::from_millis(1);

/// The pause after a write that failed, as a client's that tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// How often one operation is redirected before it counts as failed.
const REDIRECTS_MAX: u32 = 5;

/// How often a key is looked for at the end before it counts as lost: the cluster may settle still.
const READS_MAX: u32 = 20;

/// The name of the keys, before the tag that puts each into its slot.
const PREFIX: &str = "shardyard:probe:";

/// What a client noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Proof {
    /// The writes that were tried.
    pub operations: u64,
    /// Those that failed, redirects followed.
    pub errors: u64,
    /// The longest time without an acknowledged write.
    pub longest_write_gap: Duration,
    /// The slots whose last acknowledged write is not there any more.
    pub acknowledged_writes_lost: u64,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    hands: &'a Hands,
    credentials: Option<&'a Credentials>,
    keys: Vec<ProbeKey>,
    owners: Mutex<BTreeMap<Slot, NodeAddress>>,
}

#[derive(Debug)]
struct ProbeKey {
    slot: Slot,
    key: Key,
}

impl<'a> Probe<'a> {
    /// A client for these slots, or as many of them as it can watch.
    pub(crate) fn new(
        hands: &'a Hands,
        credentials: Option<&'a Credentials>,
        slots: &SlotSet,
        view: &ClusterView,
    ) -> Self {
        let step = slots.len().div_ceil(SLOTS_MAX).max(1);
        let watched: Vec<Slot> = slots.iter().step_by(step).collect();
        Self {
            hands,
            credentials,
            keys: keys_of(&watched),
            owners: Mutex::new(owners(view)),
        }
    }

    /// Does the work while it writes, and says what it noticed.
    pub(crate) async fn beside<T>(&self, work: impl Future<Output = T>) -> (T, Proof) {
        let ledger = Mutex::new(Ledger::default());
        let done = {
            let writing = Box::pin(self.write_on(&ledger));
            match select(Box::pin(work), writing).await {
                Either::Left((done, _)) => done,
                Either::Right(((), work)) => work.await,
            }
        };
        let ledger = ledger
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut proof = ledger.proof;
        proof.acknowledged_writes_lost = self.lost(&ledger.acknowledged).await;
        self.clean_up().await;
        (done, proof)
    }

    /// Writes until it is dropped.
    async fn write_on(&self, ledger: &Mutex<Ledger>) {
        let clock = &self.hands.clock;
        let mut last = clock.now();
        let mut number = 0_u64;
        for index in (0..self.keys.len()).cycle() {
            let Some(key) = self.keys.get(index) else {
                return;
            };
            number += 1;
            // Noted before: a write whose answer is lost may be there all the same.
            note(ledger, |it| it.begins(key.slot, number));
            let is_written = self.write(key, number).await;
            let now = clock.now();
            note(ledger, |it| {
                it.proof.operations += 1;
                let gap = now.saturating_sub(last);
                it.proof.longest_write_gap = it.proof.longest_write_gap.max(gap);
                if is_written {
                    it.acknowledged.insert(key.slot, (number, number));
                } else {
                    it.proof.errors += 1;
                }
            });
            if is_written {
                last = now;
                clock.sleep(WRITE_PAUSE).await;
            } else {
                clock.sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn write(&self, key: &ProbeKey, number: u64) -> bool {
        let command = NodeCommand::Set {
            key: key.key.clone(),
            value: number.to_string().into_bytes(),
        };
        self.ask(key.slot, command).await.is_some()
    }

    /// The slots whose value is older than the last acknowledged one.
    async fn lost(&self, acknowledged: &BTreeMap<Slot, (u64, u64)>) -> u64 {
        let mut lost = 0;
        for key in &self.keys {
            let Some((least, _)) = acknowledged.get(&key.slot).copied().filter(|it| it.0 > 0)
            else {
                continue;
            };
            if !self.is_there(key, least).await {
                lost += 1;
            }
        }
        lost
    }

    async fn is_there(&self, key: &ProbeKey, least: u64) -> bool {
        for _ in 0..READS_MAX {
            let command = NodeCommand::Get {
                key: key.key.clone(),
            };
            match self.ask(key.slot, command).await {
                Some(NodeAnswer::Bytes(bytes)) => {
                    let value = String::from_utf8_lossy(&bytes).parse::<u64>();
                    return value.is_ok_and(|value| value >= least);
                }
                Some(_) => return false,
                None => self.hands.clock.sleep(RETRY_PAUSE * 20).await,
            }
        }
        false
    }

    async fn clean_up(&self) {
        for key in &self.keys {
            let command = NodeCommand::Del {
                key: key.key.clone(),
            };
            // A key that stays has a name that says whose it is.
            self.ask(key.slot, command).await;
        }
    }

    /// Asks the owner of a slot, and whoever it names; `None` where nobody did it.
    async fn ask(&self, slot: Slot, command: NodeCommand) -> Option<NodeAnswer> {
        let mut address = self.owner(slot)?;
        let mut commands = vec![command];
        for _ in 0..REDIRECTS_MAX {
            let sent = self
                .hands
                .nodes
                .send(address, &commands, self.credentials, ANSWER_LIMIT);
            match sent.await.pop()? {
                Ok(answer) => return Some(answer),
                Err(CommandError::Refused(words)) => {
                    let (asks, other) = redirect(&words)?;
                    commands.retain(|it| *it != NodeCommand::Asking);
                    if asks {
                        commands.insert(0, NodeCommand::Asking);
                    } else {
                        self.learn(slot, other);
                    }
                    address = other;
                }
                Err(CommandError::Lost(_)) => {
                    // Its owner may be gone: another one knows who follows.
                    self.learn(slot, self.another(address)?);
                    return None;
                }
            }
        }
        None
    }

    fn owner(&self, slot: Slot) -> Option<NodeAddress> {
        let owners = self.owners();
        owners
            .get(&slot)
            .or_else(|| owners.values().next())
            .copied()
    }

    fn another(&self, than: NodeAddress) -> Option<NodeAddress> {
        self.owners().values().find(|it| **it != than).copied()
    }

    fn learn(&self, slot: Slot, owner: NodeAddress) {
        self.owners().insert(slot, owner);
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, BTreeMap<Slot, NodeAddress>> {
        self.owners
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What was written: by slot the last acknowledged number, and the last that was tried.
#[derive(Debug, Default)]
struct Ledger {
    proof: Proof,
    acknowledged: BTreeMap<Slot, (u64, u64)>,
}

impl Ledger {
    fn begins(&mut self, slot: Slot, number: u64) {
        self.acknowledged.entry(slot).or_default().1 = number;
    }
}

fn note(ledger: &Mutex<Ledger>, change: impl FnOnce(&mut Ledger)) {
    change(
        &mut ledger
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    );
}

fn owners(view: &ClusterView) -> BTreeMap<Slot, NodeAddress> {
    let mut owners = BTreeMap::new();
    for (address, node) in view {
        let myself = NodeView::cluster(node).and_then(|cluster| cluster.myself());
        for range in myself.iter().flat_map(|myself| &myself.slots) {
            for slot in SlotSet::of(&[*range]).iter() {
                owners.insert(slot, *address);
            }
        }
    }
    owners
}

/// `MOVED 7 10.0.0.1:6379` and `ASK 7 10.0.0.1:6379`: whether it is for once, and where to.
fn redirect(words: &str) -> Option<(bool, NodeAddress)> {
    let mut words = words.split(' ');
    let asks = match words.next()? {
        "ASK" => true,
        "MOVED" => false,
        _ => return None,
    };
    Some((asks, NodeAddress::parse(words.nth(1)?)?))
}

/// A key for each of these slots: tags are tried until each has one.
fn keys_of(slots: &[Slot]) -> Vec<ProbeKey> {
    let mut missing: SlotSet = SlotSet::empty();
    slots.iter().for_each(|slot| missing.insert(*slot));
    let mut keys = Vec::new();
    // On average 16384 tags find a slot; sixteen times as many miss one in ten million.
    for number in 0_u32..16384 * 32 {
        if missing.is_empty() {
            break;
        }
        let key = format!("{PREFIX}{{{number}}}").into_bytes();
        let slot = Slot::of_key(&key);
        if missing.contains(slot) {
            missing.remove(slot);
            keys.push(ProbeKey { slot, key });
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_watched_slot_has_a_key_of_its_own() {
        let slots: Vec<Slot> = (0..16384).step_by(256).filter_map(Slot::new).collect();
        let keys = keys_of(&slots);
        assert_eq!(keys.len(), slots.len());
        for key in keys {
            assert_eq!(Slot::of_key(&key.key), key.slot);
            assert!(key.key.starts_with(PREFIX.as_bytes()));
        }
    }

    #[test]
    fn a_redirect_says_where_to_and_for_how_long() {
        let there = NodeAddress::parse("10.0.0.1:6379").unwrap();
        assert_eq!(redirect("MOVED 7 10.0.0.1:6379"), Some((false, there)));
        assert_eq!(redirect("ASK 7 10.0.0.1:6379"), Some((true, there)));
        assert_eq!(redirect("CLUSTERDOWN The cluster is down"), None);
        assert_eq!(redirect("MOVED"), None);
    }
}
