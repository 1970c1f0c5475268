//! The table of `fix`, row by row, on a cluster of three primaries with a replica each. Slot 7 is
//! redis-1's.

use std::sync::LazyLock;

use model::address::NodeAddress;
use model::ids::Epoch;
use model::slots::{Slot, SlotSet};
use model::step::Plan;
use model::view::{OpenDirection, OpenSlot, PeerRole};
use plan::fix::{Consent, Held, fix, slots_in_question};
use plan::policy::USUAL_MANNER;

use crate::fixture::{Scene, address, id, render, silent};

const NOTHING: Consent = Consent {
    unreachable: false,
    manner: USUAL_MANNER,
};

const UNREACHABLE: Consent = Consent {
    unreachable: true,
    manner: USUAL_MANNER,
};

fn replace() -> Consent {
    let mut consent = NOTHING;
    consent.manner.replace = true;
    consent
}

fn slot() -> Slot {
    Slot::new(7).unwrap()
}

/// A cluster in which something is amiss with slot 7.
struct Case {
    scene: Scene,
    held: Held,
}

impl Case {
    fn new() -> Self {
        static WHOLE: LazyLock<Scene> = LazyLock::new(|| Scene::whole(3, 1));
        Self {
            scene: WHOLE.clone(),
            held: Held::new(),
        }
    }

    /// The primary holds keys of it.
    fn keys(mut self, number: u8, keys: u64) -> Self {
        self.held.insert((id(number), slot()), keys);
        self
    }

    fn open(mut self, number: u8, direction: OpenDirection) -> Self {
        let open = OpenSlot {
            slot: slot(),
            direction,
        };
        self.scene.own(id(number)).open_slots.push(open);
        self
    }

    fn to(self, number: u8, other: u8) -> Self {
        self.open(number, OpenDirection::To(id(other)))
    }

    fn from(self, number: u8, other: u8) -> Self {
        self.open(number, OpenDirection::From(id(other)))
    }

    /// Nobody owns it, by anybody's word.
    fn unowned(mut self) -> Self {
        let own = self.scene.own(id(1));
        let mut slots = SlotSet::of(&own.slots);
        slots.remove(slot());
        own.slots = slots.ranges();
        self.scene.gossip();
        self
    }

    /// It owns the slot too, by its own word.
    fn claims(mut self, number: u8, epoch: u64) -> Self {
        let own = self.scene.own(id(number));
        let mut slots = SlotSet::of(&own.slots);
        slots.insert(slot());
        own.slots = slots.ranges();
        own.epoch = Epoch(epoch);
        self
    }

    fn silent(mut self, numbers: &[u8]) -> Self {
        for number in numbers {
            self.scene
                .view
                .nodes
                .insert(address(*number), silent(*number));
        }
        self
    }

    fn plan(&self, consent: Consent) -> Plan {
        let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
        fix(&nodes, &self.scene.view.nodes, &self.held, consent)
    }

    fn shown(&self, consent: Consent) -> String {
        render(&self.plan(consent))
    }

    /// Nothing is done, and the finding says why.
    fn refused(&self, consent: Consent, code: &str) {
        let plan = self.plan(consent);
        let kinds: Vec<&str> = steps(&plan);
        assert!(
            kinds.iter().all(|it| *it == "ensure_heard"),
            "{}",
            render(&plan)
        );
        let found = plan.findings.iter().any(|it| it.code.0 == code);
        assert!(found, "{}", render(&plan));
    }

    /// Once applied, nothing is left to do.
    fn settles(mut self, consent: Consent) {
        for _ in 0..3 {
            let plan = self.plan(consent);
            if plan.is_empty() {
                return;
            }
            self.scene.apply(&plan);
            self.scene.gossip();
            // The keys are where the slot is.
            let owners = self.scene.owned();
            let keys = self.held.values().sum();
            self.held.clear();
            let owner = owners.iter().find(|(_, slots)| slots.contains(slot()));
            self.held.insert((*owner.unwrap().0, slot()), keys);
        }
        panic!("{}", self.shown(consent));
    }
}

fn steps(plan: &Plan) -> Vec<&'static str> {
    let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
    steps.map(model::step::Step::kind).collect()
}

#[test]
fn a_slot_in_order_is_left_alone() {
    assert_eq!(Case::new().shown(NOTHING), "nothing to do\n");
    assert_eq!(Case::new().keys(1, 5).shown(NOTHING), "nothing to do\n");
    assert_eq!(Case::new().keys(1, 5).shown(replace()), "nothing to do\n");
    // What a replica holds its primary does.
    assert_eq!(
        Case::new().keys(1, 5).keys(4, 5).shown(NOTHING),
        "nothing to do\n"
    );
}

#[test]
fn an_open_slot_whose_keys_are_all_at_its_owner_is_closed() {
    let case = Case::new().keys(1, 5).to(1, 2).from(2, 1);
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. no slot is open without a reason
       ensure_stable 01010101 (10.0.0.1:6379): has slots 7 closed
       ensure_stable 02020202 (10.0.0.2:6379): has slots 7 closed
    ");
    case.settles(NOTHING);
    // At either end alone, and without any key.
    for case in [
        Case::new().to(1, 2),
        Case::new().from(2, 1),
        Case::new().keys(1, 3).from(2, 1),
        Case::new().keys(1, 3).from(1, 2),
        Case::new().keys(1, 3).to(3, 2),
    ] {
        assert_eq!(steps(&case.plan(NOTHING))[0], "ensure_stable");
        case.settles(NOTHING);
    }
}

#[test]
fn a_half_moved_slot_goes_on_to_where_keys_are() {
    let case = Case::new().keys(1, 5).keys(2, 3).to(1, 2).from(2, 1);
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. the keys of each slot are at one node
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.2:6379 (7)
    notice[SY2504] cluster: keys of slots 7 are at 01010101 (10.0.0.1:6379), 02020202 (10.0.0.2:6379); they are brought together, and a key that is at two of them stops it
    ");
    case.settles(NOTHING);
    // All of them have arrived, but nobody said so.
    Case::new().keys(2, 3).to(1, 2).from(2, 1).settles(NOTHING);
    // Its old primary died after it had begun: the new one knows nothing of it.
    Case::new()
        .keys(1, 5)
        .keys(2, 3)
        .from(2, 1)
        .settles(NOTHING);
    Case::new().keys(1, 5).keys(2, 3).to(1, 2).settles(NOTHING);
}

#[test]
fn a_slot_that_was_moved_to_two_nodes_goes_to_one_after_the_other() {
    let case = Case::new()
        .keys(1, 5)
        .keys(2, 3)
        .keys(3, 1)
        .to(1, 3)
        .from(2, 1)
        .from(3, 1);
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. the keys of each slot are at one node
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.3:6379 (7)
    2. the keys of each slot are at one node, turn 2
       ensure_moved 1 slot: 1 slots 10.0.0.3:6379 → 10.0.0.2:6379 (7)
    notice[SY2504] cluster: keys of slots 7 are at 01010101 (10.0.0.1:6379), 03030303 (10.0.0.3:6379), 02020202 (10.0.0.2:6379); they are brought together, and a key that is at two of them stops it
    ");
    case.settles(NOTHING);
    // It is given to a node that has nothing of it, and another has.
    let case = Case::new().keys(1, 5).keys(2, 3).to(1, 3).from(2, 1);
    assert_eq!(
        steps(&case.plan(NOTHING)),
        ["ensure_stable", "ensure_moved"]
    );
    case.settles(NOTHING);
}

#[test]
fn keys_may_be_at_the_silent_end_of_an_open_slot() {
    let case = Case::new().keys(1, 5).to(1, 2).silent(&[2]);
    case.refused(NOTHING, "SY2502");
    insta::assert_snapshot!(case.shown(UNREACHABLE), @"
    1. no slot is open without a reason
       ensure_stable 01010101 (10.0.0.1:6379): has slots 7 closed
    critical[SY2203] 10.0.0.2:6379: 10.0.0.2:6379 cannot be reached: refused
    critical[SY2501] cluster: slots 7 are given up at 02020202, which does not answer: what only it has of them is deleted when it comes back (help: bring it back instead, if there is any way)
    critical[SY2502] cluster: slots 5461-10922 belong to 02020202, which does not answer, and 05050505 (10.0.0.5:6379) is its replica and has their keys; nothing is given away (help: have it elected: redis-cli -h 10.0.0.5 -p 6379 CLUSTER FAILOVER FORCE)
    ");
    // Where it came from does not matter: what was there its owner has.
    let case = Case::new().keys(1, 5).keys(2, 3).from(2, 4).silent(&[4]);
    assert!(steps(&case.plan(NOTHING)).contains(&"ensure_moved"));
}

#[test]
fn keys_in_a_slot_of_another_are_not_merged_unasked() {
    let case = Case::new().keys(1, 5).keys(2, 3);
    case.refused(NOTHING, "SY2506");
    case.refused(UNREACHABLE, "SY2506");
    insta::assert_snapshot!(case.shown(replace()), @"
    1. the keys of each slot are at one node
       ensure_moved 1 slot: 1 slots 10.0.0.1:6379 → 10.0.0.2:6379 (7)
    notice[SY2504] cluster: keys of slots 7 are at 01010101 (10.0.0.1:6379), 02020202 (10.0.0.2:6379); they are brought together, and a key that is at two of them stops it
    ");
    case.settles(replace());
}

#[test]
fn a_slot_without_owner_goes_to_where_its_keys_are() {
    let case = Case::new().unowned().keys(3, 9);
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. every slot has one owner
       ensure_owner 03030303 (10.0.0.3:6379): owns slots 7, by everybody's word
    ");
    case.settles(NOTHING);
    let case = Case::new().unowned().keys(2, 1).keys(3, 9);
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. every slot has one owner
       ensure_owner 03030303 (10.0.0.3:6379): owns slots 7, by everybody's word
    2. the keys of each slot are at one node
       ensure_moved 1 slot: 1 slots 10.0.0.3:6379 → 10.0.0.2:6379 (7)
    notice[SY2504] cluster: keys of slots 7 are at 03030303 (10.0.0.3:6379), 02020202 (10.0.0.2:6379); they are brought together, and a key that is at two of them stops it
    ");
    case.settles(NOTHING);
}

#[test]
fn a_slot_without_owner_and_keys_goes_to_the_primary_with_the_fewest_slots() {
    let case = Case::new().unowned();
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. every slot has one owner
       ensure_owner 01010101 (10.0.0.1:6379): owns slots 7, by everybody's word
    notice[SY2505] cluster: nobody owns slots 7 and no node holds a key of them
    ");
    case.settles(NOTHING);
}

#[test]
fn nothing_is_given_away_that_a_silent_owner_may_have() {
    // 300 of 300 keys were lost like this in a trial.
    let case = Case::new().silent(&[1, 4]);
    case.refused(NOTHING, "SY2502");
    case.refused(replace(), "SY2502");
    insta::assert_snapshot!(case.shown(UNREACHABLE), @"
    1. every slot has one owner
       ensure_owner 03030303 (10.0.0.3:6379): owns slots 0-5460, by everybody's word
    critical[SY2203] 10.0.0.1:6379: 10.0.0.1:6379 cannot be reached: refused
    critical[SY2203] 10.0.0.4:6379: 10.0.0.4:6379 cannot be reached: refused
    critical[SY2501] cluster: slots 0-5460 are given up at 01010101, which does not answer: what only it has of them is deleted when it comes back (help: bring it back instead, if there is any way)
    ");
    // Its replica answers and has all of it: that is never given away.
    let case = Case::new().silent(&[1]);
    case.refused(NOTHING, "SY2502");
    case.refused(UNREACHABLE, "SY2502");
}

#[test]
fn while_anybody_is_silent_a_slot_that_nobody_remembers_is_not_given_away() {
    let case = Case::new().unowned().silent(&[6]);
    case.refused(NOTHING, "SY2502");
    let case = Case::new().unowned().keys(3, 9).silent(&[6]);
    case.refused(NOTHING, "SY2502");
    assert_eq!(steps(&case.plan(UNREACHABLE))[0], "ensure_owner");
}

#[test]
fn of_two_owners_the_one_with_keys_has_it() {
    let case = Case::new().keys(1, 5).claims(2, 9);
    assert_eq!(steps(&case.plan(NOTHING))[0], "ensure_owner");
    insta::assert_snapshot!(case.shown(NOTHING).lines().take(2).collect::<Vec<_>>().join("\n"), @"
    1. every slot has one owner
       ensure_owner 01010101 (10.0.0.1:6379): owns slots 7, by everybody's word
    ");
    case.settles(NOTHING);
    Case::new().claims(2, 9).settles(NOTHING);
    Case::new().keys(2, 5).claims(2, 9).settles(NOTHING);
}

#[test]
fn two_owners_with_keys_are_a_persons_matter() {
    let case = Case::new().keys(1, 5).keys(2, 3).claims(2, 9);
    case.refused(NOTHING, "SY2503");
    case.refused(UNREACHABLE, "SY2503");
    case.refused(replace(), "SY2503");
}

#[test]
fn an_owner_that_a_silent_node_has_outvoted_is_not_believed() {
    let mut case = Case::new().keys(1, 5).silent(&[2, 5]);
    for number in [3, 6] {
        let peer = case.scene.peer(&format!("redis-{number}"), 2);
        let mut slots = SlotSet::of(&peer.slots);
        slots.insert(slot());
        peer.slots = slots.ranges();
        peer.epoch = Epoch(9);
    }
    let told = |plan: &Plan| plan.findings.iter().any(|it| it.code.0 == "SY2507");
    let plan = case.plan(UNREACHABLE);
    assert!(told(&plan), "{}", render(&plan));
    let plan = case.claims(3, 8).plan(UNREACHABLE);
    assert!(told(&plan), "{}", render(&plan));
}

#[test]
fn claims_with_the_same_epoch_are_told_apart() {
    let mut case = Case::new();
    case.scene.own(id(3)).epoch = Epoch(1);
    case.scene.gossip();
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. no two claims have the same epoch
       ensure_owner 01010101 (10.0.0.1:6379): owns slots 0-5460, by everybody's word
    ");
    case.settles(NOTHING);
}

#[test]
fn who_has_not_heard_who_owns_what_is_told() {
    let mut case = Case::new();
    case.scene.peer("redis-5", 1).slots.clear();
    insta::assert_snapshot!(case.shown(NOTHING), @"
    1. everybody has heard who owns what
       ensure_heard 05050505 (10.0.0.5:6379): knows what 01010101 (10.0.0.1:6379) is and owns
    ");
    case.settles(NOTHING);
}

#[test]
fn only_slots_in_disorder_have_to_be_counted() {
    let nodes: Vec<NodeAddress> = (1..=6).map(address).collect();
    let question = |case: Case| slots_in_question(&nodes, &case.scene.view.nodes).to_string();
    assert_eq!(question(Case::new()), "-");
    assert_eq!(question(Case::new().from(2, 1)), "7");
    assert_eq!(question(Case::new().unowned()), "7");
    assert_eq!(question(Case::new().claims(3, 9)), "7");
    assert_eq!(question(Case::new().silent(&[1])), "0-5460");
}

/// Whatever is amiss with a slot: nothing is done that could lose a key, and what is done is done
/// with one plan.
#[test]
fn every_combination_is_settled_or_refused_and_never_gives_keys_away() {
    let states: [fn(Case, u8) -> Case; 4] = [
        |case, _| case,
        |case, other| case.from(other, 1),
        |case, other| case.keys(other, 3),
        |case, other| case.keys(other, 3).from(other, 1),
    ];
    for owner_keys in [0, 5] {
        for unowned in [false, true] {
            for way in [0_u8, 2, 3] {
                for second in states {
                    for third in states {
                        for gone in [&[][..], &[2, 5], &[1, 4]] {
                            let mut case = Case::new();
                            if owner_keys > 0 {
                                case = case.keys(1, owner_keys);
                            }
                            if way > 0 {
                                case = case.to(1, way);
                            }
                            case = third(second(case, 2), 3);
                            if unowned {
                                case = case.unowned();
                            }
                            case = case.silent(gone);
                            case.held
                                .retain(|(node, _), _| gone.iter().all(|it| id(*it) != *node));
                            let asked = [UNREACHABLE, replace()][usize::from(gone.is_empty())];
                            must_keep_keys(&case, NOTHING);
                            must_keep_keys(&case, asked);
                        }
                    }
                }
            }
        }
    }
}

/// A node with keys of the slot never loses it without a move that takes them along.
fn must_keep_keys(case: &Case, consent: Consent) {
    let mut scene = case.scene.clone();
    let plan = case.plan(consent);
    let mut holders: Vec<_> = case.held.keys().map(|(id, _)| *id).collect();
    for step in plan.phases.iter().flat_map(|phase| &phase.steps) {
        use model::step::{Step, StewardStep};
        match step {
            Step::Steward(StewardStep::EnsureMoved { moves, .. }) => {
                for each in moves.iter().filter(|it| it.slots.contains(slot())) {
                    holders.retain(|it| *it != each.source.id);
                    holders.push(each.target.id);
                }
            }
            Step::Steward(StewardStep::EnsureStable { node, .. }) => {
                let open = !case.scene.clone().own(node.id).open_slots.is_empty();
                assert!(open, "{}", render(&plan));
            }
            Step::Steward(StewardStep::EnsureOwner { .. }) | Step::Cluster(_) => {}
            Step::Steward(_) | Step::Engine(_) | Step::Wait(_) => panic!("{step:?}"),
        }
        if !matches!(step, Step::Cluster(_)) {
            scene.apply_step(step);
        }
    }
    let is_refusal = |code| ["SY2502", "SY2503", "SY2506", "SY2507"].contains(&code);
    if plan.is_empty() || plan.findings.iter().any(|it| is_refusal(it.code.0)) {
        return;
    }
    holders.sort();
    holders.dedup();
    let owner = scene
        .owned()
        .into_iter()
        .find(|(_, slots)| slots.contains(slot()));
    let owner = owner.map(|(id, _)| id);
    let is_known = steps(&plan).iter().any(|it| *it != "ensure_heard");
    if is_known && owner.is_some() {
        let strays = holders.iter().filter(|it| Some(**it) != owner).count();
        assert_eq!(strays, 0, "{}", render(&plan));
    }
}

#[test]
fn a_replica_of_a_replica_is_no_owner() {
    let mut case = Case::new();
    case.scene.own(id(4)).role = PeerRole::Replica(None);
    assert!(!steps(&case.plan(NOTHING)).contains(&"ensure_owner"));
}
