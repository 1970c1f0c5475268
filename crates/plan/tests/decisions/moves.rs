//! Who gives which slots to whom: tables for people, and what must hold whatever the numbers are.

use std::collections::{BTreeMap, BTreeSet};

use model::address::NodeAddress;
use model::ids::NodeId;
use model::migration::SlotMove;
use model::slots::{Slot, SlotRange, SlotSet, even_split};
use model::step::Member;
use plan::moves::{Loads, Share, balance, isolate, reshard};
use proptest::prelude::*;

fn member(number: u16) -> Member {
    let [high, low] = number.to_be_bytes();
    let ip = std::net::Ipv4Addr::new(10, 1, high, low);
    Member {
        id: NodeId::from_bytes(std::array::from_fn(
            |it| if it % 2 == 0 { high } else { low },
        )),
        address: NodeAddress::new(ip.into(), 6379),
    }
}

fn slots(text: &str) -> SlotSet {
    SlotSet::parse(text).unwrap()
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// Primaries 1, 2 and so on with these slots and weights.
fn shares(of: &[(&str, u32)]) -> Vec<Share> {
    (1..)
        .zip(of)
        .map(|(number, (text, weight))| Share {
            member: member(number),
            slots: slots(text),
            weight: *weight,
        })
        .collect()
}

/// `1>4 4096-5460`: the moves as a person reads them.
fn shown(moves: &[SlotMove]) -> String {
    let number = |it: Member| (1..2000).find(|number| member(*number) == it).unwrap();
    let lines: Vec<String> = moves
        .iter()
        .map(|it| format!("{}>{} {}", number(it.source), number(it.target), it.slots))
        .collect();
    lines.join("; ")
}

#[test]
fn slots_are_balanced_with_the_fewest_moves() {
    let three = [("0-5460", 1), ("5461-10922", 1), ("10923-16383", 1)];
    for (name, before, threshold, expected) in [
        ("even already", three.to_vec(), 0, ""),
        (
            "a newcomer takes the ends of all",
            [three.to_vec(), vec![("-", 1)]].concat(),
            2,
            "1>4 4096-5460; 2>4 9557-10922; 3>4 15019-16383",
        ),
        (
            "one that leaves gives everything",
            vec![("0-5460", 1), ("5461-10922", 0), ("10923-16383", 1)],
            2,
            "2>1 8192-10922; 2>3 5461-8191",
        ),
        (
            "twice the weight, twice the slots",
            vec![("0-8191", 1), ("8192-16383", 2)],
            2,
            "1>2 5462-8191",
        ),
        (
            "what is within the threshold is left alone",
            vec![("0-8231", 1), ("8232-16383", 1)],
            2,
            "",
        ),
        ("all weights are 0", vec![("0-16383", 0)], 0, ""),
    ] {
        let moves = balance(&shares(&before), None, threshold);
        assert_eq!(shown(&moves), expected, "{name}");
    }
}

#[test]
fn one_that_is_close_enough_gives_and_takes_only_what_others_need() {
    let given = |before: [(&str, u32); 4]| -> Vec<(Member, Member, usize)> {
        let moves = balance(&shares(&before), None, 2);
        let given = moves
            .iter()
            .map(|it| (it.source, it.target, it.slots.len()));
        given.collect()
    };
    // Off by +200, +40, -200, -40: a hundredth of what the second and the fourth have.
    let apart = given([
        ("0-4295", 1),
        ("4296-8431", 1),
        ("8432-12327", 1),
        ("12328-16383", 1),
    ]);
    assert_eq!(apart, [(member(1), member(3), 200)]);
    // Off by +204 and three times -68: they have to take, though each alone is close enough.
    let needed = given([
        ("0-4299", 1),
        ("4300-8327", 1),
        ("8328-12355", 1),
        ("12356-16383", 1),
    ]);
    let taken: Vec<usize> = needed.iter().map(|(_, _, count)| *count).collect();
    assert_eq!(taken, [68, 68, 68]);
}

#[test]
fn whole_ranges_go_before_one_is_cut() {
    let before = shares(&[("0-99,200-209,400", 1), ("1000-1010", 1)]);
    // 122 in all, 61 each: the two small ranges of the first, and the rest from its large one.
    assert_eq!(shown(&balance(&before, None, 0)), "1>2 61-99,200-209,400");
}

#[test]
fn load_is_balanced_by_what_slots_weigh() {
    let loads = |of: &[(u16, u64)]| -> Loads { of.iter().map(|(it, n)| (slot(*it), *n)).collect() };
    let two = shares(&[("0-99", 1), ("100-199", 1)]);
    for (name, loads, expected) in [
        ("nothing weighs anything: slots count", loads(&[]), ""),
        ("as it should be", loads(&[(0, 5), (100, 5)]), ""),
        (
            "half of it goes",
            loads(&[(0, 5), (1, 5), (2, 5), (3, 5)]),
            "1>2 2-3",
        ),
        (
            "a slot too heavy to help stays",
            loads(&[(0, 90), (1, 5), (2, 5)]),
            "1>2 1-2",
        ),
        ("one slot alone cannot be divided", loads(&[(0, 90)]), ""),
    ] {
        assert_eq!(shown(&balance(&two, Some(&loads), 0)), expected, "{name}");
    }
    let leaving = shares(&[("0-9", 0), ("100-199", 1), ("200-299", 1)]);
    let moves = balance(&leaving, Some(&loads(&[(3, 7), (100, 7), (200, 9)])), 0);
    assert_eq!(
        shown(&moves),
        "1>2 0-3,8-9; 1>3 4-7",
        "also what weighs nothing"
    );
}

#[test]
fn a_reshard_takes_from_each_in_proportion() {
    let sources = shares(&[("0-9999", 1), ("10000-14999", 1), ("15000-16383", 1)]);
    let moves = reshard(&sources[..2], member(3), 300);
    assert_eq!(shown(&moves), "1>3 9800-9999; 2>3 14900-14999");
    // No more than there is, and nothing from the target itself.
    let moves = reshard(&sources, member(3), 16384);
    assert_eq!(shown(&moves), "1>3 0-9999; 2>3 10000-14999");
    assert_eq!(shown(&reshard(&[], member(3), 5)), "");
}

#[test]
fn a_hot_slot_gets_a_shard_of_its_own() {
    let three = shares(&[("0-5460", 1), ("5461-10922", 1), ("10923-16383", 1)]);
    let moves = isolate(&three, slot(7), member(3));
    assert_eq!(shown(&moves), "1>3 7; 3>1 13652-16383; 3>2 10923-13651");
    let own = isolate(&three, slot(11000), member(3));
    assert_eq!(own.len(), 2, "only the others go: {}", shown(&own));
    let mut fourth = three.clone();
    fourth.push(Share {
        member: member(4),
        slots: SlotSet::empty(),
        weight: 1,
    });
    assert_eq!(shown(&isolate(&fourth, slot(7), member(4))), "1>4 7");
}

/// The shares after the moves; every rule that any move has to keep is checked on the way.
fn applied(before: &[Share], moves: &[SlotMove]) -> Vec<Share> {
    let mut after: BTreeMap<Member, Share> =
        before.iter().map(|it| (it.member, it.clone())).collect();
    let mut seen = SlotSet::empty();
    let (mut givers, mut takers) = (BTreeSet::new(), BTreeSet::new());
    for each in moves {
        assert!(!each.slots.is_empty() && each.source != each.target);
        assert!(seen.intersection(&each.slots).is_empty(), "moved twice");
        seen = seen.union(&each.slots);
        givers.insert(each.source);
        takers.insert(each.target);
        let source = after.get_mut(&each.source).unwrap();
        assert!(
            each.slots.difference(&source.slots).is_empty(),
            "not its own"
        );
        source.slots = source.slots.difference(&each.slots);
        let target = after.get_mut(&each.target).unwrap();
        target.slots = target.slots.union(&each.slots);
    }
    assert!(givers.is_disjoint(&takers), "gives and takes");
    before.iter().map(|it| after[&it.member].clone()).collect()
}

fn any_shares() -> impl Strategy<Value = Vec<Share>> {
    let owner = proptest::collection::vec(0_usize..8, 64);
    let weights = proptest::collection::vec(0_u32..4, 1..8);
    (owner, weights, 0_u16..4).prop_map(|(owners, mut weights, offset)| {
        weights[0] = weights[0].max(1);
        let mut shares: Vec<Share> = (1..)
            .zip(&weights)
            .map(|(number, weight)| Share {
                member: member(number),
                slots: SlotSet::empty(),
                weight: *weight,
            })
            .collect();
        // 64 blocks of 256 slots, cut a little beside their borders.
        for (block, owner) in (0_u16..).zip(owners) {
            let (first, last) = (
                block * 256 + offset,
                (block * 256 + 255 + offset).min(16383),
            );
            let range = SlotRange::new(slot(first), slot(last)).unwrap();
            let index = owner % weights.len();
            shares[index].slots.insert_range(range);
        }
        shares
    })
}

fn any_loads() -> impl Strategy<Value = Loads> {
    proptest::collection::btree_map((0_u16..16384).prop_map(slot), 0_u64..1000, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn balanced_slots_differ_from_their_weight_by_less_than_one(before in any_shares()) {
        let moves = balance(&before, None, 0);
        let after = applied(&before, &moves);
        let total: usize = before.iter().map(|it| it.slots.len()).sum();
        let weight: u64 = before.iter().map(|it| u64::from(it.weight)).sum();
        let mut surplus = 0;
        for (was, is) in before.iter().zip(&after) {
            let exact = total as u64 * u64::from(is.weight);
            let has = is.slots.len() as u64 * weight;
            prop_assert!(has.abs_diff(exact) < weight, "{} of {exact}", is.slots.len());
            surplus += was.slots.len().saturating_sub(is.slots.len());
        }
        let moved: usize = moves.iter().map(|it| it.slots.len()).sum();
        prop_assert_eq!(moved, surplus, "what is moved is what was too much");
        prop_assert_eq!(balance(&after, None, 0), vec![], "twice is once");
        prop_assert_eq!(balance(&before, None, 0), moves, "the same input, the same moves");
    }

    #[test]
    fn no_other_rounding_would_have_moved_less(before in any_shares()) {
        // The least is what each has above its part rounded up, or rounded down for as many as the
        // sum needs: the best choice of who is rounded up is those that have more already.
        let total: usize = before.iter().map(|it| it.slots.len()).sum();
        let weight: usize = before.iter().map(|it| it.weight as usize).sum();
        let floor = |it: &Share| total * it.weight as usize / weight;
        let rounded: Vec<&Share> =
            before.iter().filter(|it| !(total * it.weight as usize).is_multiple_of(weight)).collect();
        let left = total - before.iter().map(floor).sum::<usize>();
        let keep = rounded.iter().filter(|it| it.slots.len() > floor(it)).count().min(left);
        let above: usize =
            before.iter().map(|it| it.slots.len().saturating_sub(floor(it))).sum();
        let moved: usize = balance(&before, None, 0).iter().map(|it| it.slots.len()).sum();
        prop_assert_eq!(moved, above - keep);
    }

    #[test]
    fn within_a_threshold_less_is_moved(before in any_shares(), threshold in 0_u32..60) {
        let moved = |moves: &[SlotMove]| -> usize { moves.iter().map(|it| it.slots.len()).sum() };
        let moves = balance(&before, None, threshold);
        let after = applied(&before, &moves);
        prop_assert!(moved(&moves) <= moved(&balance(&before, None, 0)));
        for share in after.iter().filter(|it| it.weight == 0) {
            prop_assert!(share.slots.is_empty(), "weight 0 keeps nothing");
        }
    }

    #[test]
    fn a_load_that_is_balanced_stays_so(before in any_shares(), loads in any_loads()) {
        let moves = balance(&before, Some(&loads), 0);
        let after = applied(&before, &moves);
        for share in after.iter().filter(|it| it.weight == 0) {
            prop_assert!(share.slots.is_empty(), "weight 0 keeps nothing");
        }
        if before.iter().all(|it| it.weight > 0) {
            prop_assert_eq!(shown(&balance(&after, Some(&loads), 0)), "");
            let off = |shares: &[Share]| worst(shares, &loads);
            prop_assert!(off(&after) <= off(&before));
        }
    }

    #[test]
    fn a_reshard_moves_what_was_asked_for(before in any_shares(), count in 0_u16..16384) {
        let target = before[0].member;
        let moves = reshard(&before, target, count);
        let _ = applied(&before, &moves);
        let there: usize = before[1..].iter().map(|it| it.slots.len()).sum();
        let moved: usize = moves.iter().map(|it| it.slots.len()).sum();
        prop_assert_eq!(moved, there.min(usize::from(count)));
    }
}

/// The most that a share is above its part.
fn worst(shares: &[Share], loads: &Loads) -> u64 {
    let load = |it: &Share| -> u64 { it.slots.iter().filter_map(|slot| loads.get(&slot)).sum() };
    let total: u64 = shares.iter().map(load).sum();
    let weight: u64 = shares.iter().map(|it| u64::from(it.weight)).sum();
    let above = |it: &Share| load(it).saturating_sub(total * u64::from(it.weight) / weight);
    shares.iter().map(above).max().unwrap_or(0)
}

#[test]
fn a_thousand_shards_get_a_thousand_more_in_few_pieces() {
    let ranges = even_split(1000);
    let mut before: Vec<Share> = (1..)
        .zip(&ranges)
        .map(|(number, range)| Share {
            member: member(number),
            slots: SlotSet::of(&[*range]),
            weight: 1,
        })
        .collect();
    before.extend((1001..2001).map(|number| Share {
        member: member(number),
        slots: SlotSet::empty(),
        weight: 1,
    }));
    let moves = balance(&before, None, 0);
    let after = applied(&before, &moves);
    assert!(after.iter().all(|it| (8..=9).contains(&it.slots.len())));
    assert!(moves.len() < 2000, "{}", moves.len());
}
