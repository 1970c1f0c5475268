//! What each slot holds or costs, asked of the slot's owner: keys of every server, memory and load
//! of those that count them by slot. It only asks, and guesses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use control::command::ShardStatus;
use control::hands::Hands;
use futures::stream::{self, StreamExt};
use model::command::{NodeAnswer, NodeCommand};
use model::fault::Class;
use model::image::Software;
use model::instance::Instance;
use model::slots::{SLOT_COUNT, Slot, SlotSet};
use model::spec::Credentials;

use crate::reply::Part;
use crate::wire::{SlotFigures, Withheld};

/// By what slots are measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// Keys.
    Keys,
    /// The memory of its keys.
    Memory,
    /// The time that commands on it took.
    Load,
}

impl Measure {
    const ALL: [Self; 3] = [Self::Keys, Self::Memory, Self::Load];

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Memory => "memory",
            Self::Load => "load",
        }
    }

    /// Its name in CLUSTER SLOT-STATS.
    const fn field(self) -> &'static str {
        match self {
            Self::Keys => "key-count",
            Self::Memory => "memory-bytes",
            Self::Load => "cpu-usec",
        }
    }
}

/// How many primaries are asked at once.
const ASKED_MAX: usize = 16;

/// Counting is a look at one number for each slot.
const COUNT_LIMIT: Duration = Duration::from_secs(10);

/// How many slots a cluster has.
const SLOTS: usize = SLOT_COUNT as usize;

/// The figures of all slots of these shards.
pub(crate) async fn figures(
    hands: &Hands,
    instance: &Instance,
    shards: &[ShardStatus],
    by: Measure,
) -> SlotFigures {
    let login = instance.spec.operator.as_ref();
    let asked = shards.iter().map(|shard| told(hands, login, shard, by));
    let all: Vec<Told> = stream::iter(asked.collect::<Vec<_>>())
        .buffered(ASKED_MAX)
        .collect()
        .await;
    let mut values: Vec<Option<u64>> = vec![None; SLOTS];
    for told in &all {
        for (slot, figures) in &told.figures {
            if let Some(place) = values.get_mut(usize::from(*slot)) {
                *place = figures.get(by.field()).copied();
            }
        }
    }
    let software = shards.first().and_then(|it| {
        let service = instance.spec.service(it.primary.workload.service())?;
        Some(service.image.software())
    });
    let reason = |it: Measure| Some((it, why_withheld(&all, software, it)?));
    let withheld: Vec<(Measure, &str)> = Measure::ALL.into_iter().filter_map(reason).collect();
    SlotFigures {
        by: by.as_str().to_owned(),
        values,
        withheld: withheld
            .into_iter()
            .map(|(it, why)| Withheld {
                by: it.as_str().to_owned(),
                why: why.to_owned(),
            })
            .collect(),
    }
}

/// What one primary told of its slots.
#[derive(Debug, Default)]
struct Told {
    answered: bool,
    /// Whether it knows CLUSTER SLOT-STATS.
    counts: bool,
    figures: Figures,
}

/// The figures of each slot by their names.
type Figures = BTreeMap<u16, BTreeMap<String, u64>>;

async fn told(
    hands: &Hands,
    login: Option<&Credentials>,
    shard: &ShardStatus,
    by: Measure,
) -> Told {
    let address = shard.primary.address;
    let words = ["CLUSTER", "SLOT-STATS", "SLOTSRANGE", "0", "16383"].map(str::to_owned);
    match hands.nodes.call(address, &words, login).await {
        Ok(text) => Told {
            answered: true,
            counts: true,
            figures: read(&text),
        },
        Err(fault) if fault.class == Class::Unreachable => Told::default(),
        Err(_) if by != Measure::Keys => Told {
            answered: true,
            ..Told::default()
        },
        Err(_) => counted(hands, login, shard).await,
    }
}

/// The keys of each slot, one by one: every version can tell them.
async fn counted(hands: &Hands, login: Option<&Credentials>, shard: &ShardStatus) -> Told {
    let slots: Vec<Slot> = SlotSet::of(&shard.slots).iter().collect();
    let questions: Vec<NodeCommand> = slots.iter().map(|it| NodeCommand::CountKeys(*it)).collect();
    let address = shard.primary.address;
    let answers = hands
        .nodes
        .send(address, &questions, login, COUNT_LIMIT)
        .await;
    let mut figures = Figures::new();
    for (slot, answer) in slots.into_iter().zip(answers) {
        if let Ok(NodeAnswer::Number(count)) = answer {
            let name = Measure::Keys.field().to_owned();
            figures.insert(slot.number(), BTreeMap::from([(name, count)]));
        }
    }
    Told {
        answered: true,
        counts: false,
        figures,
    }
}

/// The answer to CLUSTER SLOT-STATS.
fn read(answer: &str) -> Figures {
    let answer = Part::read(answer);
    let slots = answer.items().iter().filter_map(|entry| {
        let slot = u16::try_from(entry.items().first()?.number()?).ok()?;
        let pairs = entry.items().get(1)?.items().chunks_exact(2);
        let figures = pairs.filter_map(|pair| {
            let value = u64::try_from(pair[1].number()?).ok()?;
            Some((pair[0].text()?.to_owned(), value))
        });
        Some((slot, figures.collect()))
    });
    slots.collect()
}

/// Why a figure is not told: `version` (no counting by slot before Valkey 8.0 and Redis 8.2),
/// `server` (it counts, but not this), `setting` (`cluster-slot-stats-enabled` is off).
fn why_withheld(all: &[Told], software: Option<Software>, by: Measure) -> Option<&'static str> {
    let mut answers = all.iter().filter(|it| it.answered);
    if by == Measure::Keys {
        return None;
    }
    if answers.clone().any(|it| !it.counts) {
        return Some("version");
    }
    let has = |it: &Told| it.figures.values().any(|it| it.contains_key(by.field()));
    if answers.all(|it| it.figures.is_empty() || has(it)) {
        return None;
    }
    // Valkey 8.0 to 9.1 count keys, time and traffic of a slot, and not its memory.
    let never = by == Measure::Memory && software == Some(Software::Valkey);
    Some(if never { "server" } else { "setting" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(counts: bool, answer: &str) -> Told {
        Told {
            answered: true,
            counts,
            figures: read(answer),
        }
    }

    /// As Valkey 9.1 answers with the setting off and on, and Redis 8.6 with it on.
    const KEYS: &str = "1) 1) (integer) 7\n   2) 1) \"key-count\"\n      2) (integer) 3";
    const TIMES: &str = "1) 1) (integer) 7\n   2) 1) \"key-count\"\n      2) (integer) 3\n      \
                         3) \"cpu-usec\"\n      4) (integer) 90";
    const BYTES: &str = "1) 1) (integer) 7\n   2) 1) \"key-count\"\n      2) (integer) 3\n      \
                         3) \"cpu-usec\"\n      4) (integer) 90\n      5) \"memory-bytes\"\n      \
                         6) (integer) 512";

    #[test]
    fn the_figures_of_slots_are_read() {
        let figures = read(BYTES);
        assert_eq!(figures[&7]["key-count"], 3);
        assert_eq!(figures[&7]["memory-bytes"], 512);
        assert!(read("OK").is_empty());
    }

    #[test]
    fn what_is_not_told_has_its_reason() {
        let check = |all: &[Told], software: Software, expected: [Option<&str>; 3]| {
            let why = Measure::ALL.map(|it| why_withheld(all, Some(software), it));
            assert_eq!(why, expected, "{all:?}");
        };
        let (old, redis, valkey) = (Some("version"), Software::Redis, Software::Valkey);
        check(&[told(false, KEYS)], redis, [None, old, old]);
        let setting = Some("setting");
        check(&[told(true, KEYS)], redis, [None, setting, setting]);
        check(&[told(true, KEYS)], valkey, [None, Some("server"), setting]);
        check(&[told(true, TIMES)], valkey, [None, Some("server"), None]);
        check(&[told(true, BYTES)], redis, [None, None, None]);
        // One that is silent, or owns nothing, says nothing of the others.
        let mixed = [
            told(true, BYTES),
            Told::default(),
            told(true, "(empty array)"),
        ];
        check(&mixed, redis, [None, None, None]);
        check(
            &[told(true, BYTES), told(true, KEYS)],
            redis,
            [None, setting, setting],
        );
    }
}
