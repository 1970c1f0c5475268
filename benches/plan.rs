//! How long it takes to decide who gives which slots to whom, and how that grows with the number of
//! shards: from 10 to 1000, always with all 16384 slots.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise, and its figures are its output"
)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use benches::Figures;
use model::address::NodeAddress;
use model::ids::NodeId;
use model::migration::SlotMove;
use model::slots::{SLOT_COUNT, Slot, SlotSet, even_split};
use model::step::Member;
use plan::moves::{Loads, Share, balance, isolate, reshard};

const RUNS: usize = 15;

/// What a decision on 1000 shards may take: "well under a second" as a figure.
const LIMIT: Duration = Duration::from_millis(500);

fn member(number: u16) -> Member {
    let [high, low] = number.to_be_bytes();
    Member {
        id: NodeId::from_bytes(std::array::from_fn(
            |it| if it % 2 == 0 { high } else { low },
        )),
        address: NodeAddress::new(Ipv4Addr::new(10, 0, high, low).into(), 6379),
    }
}

/// So many shards with even parts of the slots, and as many again with none.
fn growing(shards: u16) -> Vec<Share> {
    let ranges = even_split(shards);
    (0..shards * 2)
        .map(|number| Share {
            member: member(number),
            slots: ranges
                .get(usize::from(number))
                .map_or_else(SlotSet::empty, |range| SlotSet::of(&[*range])),
            weight: 1,
        })
        .collect()
}

/// The worst case for pieces: neighbouring slots have different owners, and every second one
/// leaves.
fn scattered(shards: u16) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..shards)
        .map(|number| Share {
            member: member(number),
            slots: SlotSet::empty(),
            weight: u32::from(number % 2),
        })
        .collect();
    for number in 0..SLOT_COUNT {
        let slot = Slot::new(number).unwrap();
        shares[usize::from(number % shards)].slots.insert(slot);
    }
    shares
}

fn loads() -> Loads {
    let slots = (0..SLOT_COUNT).map(|number| Slot::new(number).unwrap());
    slots
        .map(|slot| {
            (
                slot,
                u64::from(slot.number()).wrapping_mul(2_654_435_761) % 1000,
            )
        })
        .collect()
}

/// A decision, by the number of shards.
type Case<'a> = (&'a str, &'a dyn Fn(u16) -> Vec<SlotMove>);

fn main() {
    println!("deciding who gives which of 16384 slots to whom; medians of {RUNS}");
    let loads = loads();
    let cases: [Case<'_>; 5] = [
        ("twice the shards", &|shards| {
            balance(&growing(shards / 2), None, 2)
        }),
        ("half of them leave, scattered", &|shards| {
            balance(&scattered(shards), None, 2)
        }),
        ("balanced by load", &|shards| {
            balance(&scattered(shards), Some(&loads), 2)
        }),
        ("reshard to one", &|shards| {
            let shares = scattered(shards);
            reshard(&shares, shares[0].member, SLOT_COUNT / 2)
        }),
        ("a hot slot alone", &|shards| {
            let shares = growing(shards / 2);
            isolate(&shares, Slot::new(7).unwrap(), shares[1].member)
        }),
    ];
    for (name, decide) in cases {
        let mut before: Option<f64> = None;
        for shards in [10, 100, 1000] {
            let mut figures = Figures::default();
            let mut moves = 0;
            for _ in 0..RUNS {
                let began = Instant::now();
                moves = decide(shards).len();
                figures.take(began.elapsed());
            }
            let median = figures.median();
            assert!(median < LIMIT, "{name} with {shards} shards: {median:?}");
            let growth = before.map_or_else(String::new, |before| {
                format!("   {:.1} times as long", median.as_secs_f64() / before)
            });
            let millis = median.as_secs_f64() * 1000.0;
            println!("{name:<31}{shards:>5} shards {moves:>6} moves {millis:>9.3} ms{growth}");
            before = Some(median.as_secs_f64());
        }
    }
}
