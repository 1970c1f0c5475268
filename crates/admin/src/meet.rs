//! Makes nodes know each other: each pair meets once, and whoever is still unknown after a while
//! meets again, because a MEET can end with one side knowing the other only (valkey #1251).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join_all;
use model::fault::{Class, Code, Explain, Fault};
use model::ids::NodeId;
use model::step::Member;

use crate::Session;
use crate::connection::NodeError;
use crate::{cluster_nodes, observe};

/// How long nodes may take to know each other, beside what their number needs.
const LIMIT: Duration = Duration::from_secs(30);

/// What each further node may take: a hundred nodes on two cores need three seconds.
const LIMIT_PER_NODE: Duration = Duration::from_millis(200);

/// The pause before a pair meets again. A handshake needs two ticks of 100 ms on each side
/// (`clusterCron`); a sooner MEET would only begin a second one.
const MEET_AGAIN: Duration = Duration::from_millis(250);

/// The shortest pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How many pairs a message names.
const PAIRS_SHOWN: usize = 3;

/// A node that does not know, or does not reach, another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    observer: Member,
    unknown: Member,
}

/// Nodes that cannot get to know each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NotMet {
    gaps: Vec<Gap>,
    limit: Duration,
}

impl fmt::Display for NotMet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self
            .gaps
            .iter()
            .take(PAIRS_SHOWN)
            .map(|gap| {
                let bus = gap.unknown.address.bus_port();
                let bus = bus.map_or_else(|| "none".to_owned(), |port| port.to_string());
                format!(
                    "{} does not reach {} (bus port {bus})",
                    gap.observer.address, gap.unknown.address
                )
            })
            .collect();
        let seconds = self.limit.as_secs();
        write!(out, "after {seconds} s {}", pairs.join(", "))?;
        match self.gaps.len().saturating_sub(PAIRS_SHOWN) {
            0 => Ok(()),
            more => write!(out, ", and {more} more pairs"),
        }
    }
}

impl std::error::Error for NotMet {}

impl Explain for NotMet {
    fn code(&self) -> Code {
        Code("SY2014")
    }

    fn class(&self) -> Class {
        Class::NotConverged
    }

    fn help(&self) -> Option<String> {
        Some(
            "nodes talk to each other at their client port + 10000: open it between all hosts, \
             and see that each node announces an address that the others reach"
                .to_owned(),
        )
    }
}

/// Pairs of positions in the list of members: an observer and another one.
type Pairs = BTreeSet<(usize, usize)>;

/// What still lacks between the members.
struct Gaps {
    /// Who does not know whom: they must meet.
    unknown: Pairs,
    /// Who knows whom and has no link: the servers make it with their next tick, and a meeting
    /// would only cut it again.
    unlinked: Pairs,
}

/// Makes each of the nodes know and reach each other one.
pub(crate) async fn ensure_all(session: Session<'_>, members: &[Member]) -> Result<(), Fault> {
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let limit = LIMIT + LIMIT_PER_NODE.saturating_mul(count);
    let begun = Instant::now();
    let mut met: Option<Instant> = None;
    loop {
        let looked = Instant::now();
        let gaps = gaps(session, members).await?;
        let mut all = gaps.unknown.union(&gaps.unlinked).peekable();
        if all.peek().is_none() {
            return Ok(());
        }
        if begun.elapsed() > limit {
            let gaps = all.map(|&(observer, unknown)| Gap {
                observer: members[observer],
                unknown: members[unknown],
            });
            return Err(NotMet {
                gaps: gaps.collect(),
                limit,
            }
            .into());
        }
        if met.is_none_or(|at| at.elapsed() >= MEET_AGAIN) && !gaps.unknown.is_empty() {
            let again = met.is_some();
            let pairs = if again {
                gaps.unknown
            } else {
                one_way(&gaps.unknown)
            };
            introduce_all(session, members, &pairs).await?;
            met = Some(Instant::now());
        }
        // Looking costs the servers more than it costs us: never more than a quarter of the time.
        tokio::time::sleep((looked.elapsed() * 3).max(LOOK_AGAIN)).await;
    }
}

/// What lacks, as each node says itself.
async fn gaps(session: Session<'_>, members: &[Member]) -> Result<Gaps, NodeError> {
    let views = join_all(members.iter().map(|member| known_by(session, *member))).await;
    let mut gaps = Gaps {
        unknown: Pairs::new(),
        unlinked: Pairs::new(),
    };
    for (observer, known) in views.into_iter().enumerate() {
        let known = known?;
        for (other, member) in members.iter().enumerate().filter(|it| it.0 != observer) {
            match known.get(&member.id) {
                None => gaps.unknown.insert((observer, other)),
                Some(false) => gaps.unlinked.insert((observer, other)),
                Some(true) => continue,
            };
        }
    }
    Ok(gaps)
}

/// The nodes that a node knows for certain, and whether it has a link to each.
async fn known_by(
    session: Session<'_>,
    member: Member,
) -> Result<BTreeMap<NodeId, bool>, NodeError> {
    let mut connection = session.to(member.address).await?;
    let question = ["CLUSTER", "NODES"];
    let answer = connection.ask(&question).await?;
    let text = observe::text(&connection, &question, answer)?;
    let (_, peers) =
        cluster_nodes::read(&text).map_err(|problem| connection.unexpected(&question, &problem))?;
    Ok(peers
        .into_iter()
        .filter(|peer| !peer.in_handshake)
        .map(|peer| (peer.id, peer.linked))
        .collect())
}

/// Of two nodes that miss each other, one meets the other; which of them alternates, so that no
/// node begins all handshakes.
fn one_way(gaps: &Pairs) -> Pairs {
    let begins = |observer: usize, unknown: usize| {
        (observer < unknown) == (observer + unknown).is_multiple_of(2)
    };
    gaps.iter()
        .filter(|(observer, unknown)| {
            begins(*observer, *unknown) || !gaps.contains(&(*unknown, *observer))
        })
        .copied()
        .collect()
}

async fn introduce_all(
    session: Session<'_>,
    members: &[Member],
    pairs: &Pairs,
) -> Result<(), NodeError> {
    let mut by_speaker: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for (speaker, listener) in pairs {
        let listeners = by_speaker.entry(*speaker).or_default();
        listeners.push(members[*listener]);
    }
    let meetings = by_speaker.iter().map(|(speaker, listeners)| async move {
        let mut pipeline = redis::Pipeline::new();
        for listener in listeners {
            pipeline.add_command(meet(*listener));
        }
        let mut connection = session.to(members[*speaker].address).await?;
        let replies = connection.ask_pipeline(&pipeline, "CLUSTER MEET").await?;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    });
    join_all(meetings).await.into_iter().collect()
}

fn meet(listener: Member) -> redis::Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("MEET").arg(listener.address.ip.to_string());
    command.arg(listener.address.port);
    command
}

/// Has the speaker tell the listener at once what it is and owns: a node that is met again by one
/// that it knows takes the whole header of the message (`clusterProcessPacket`, Redis 7.0).
pub(crate) async fn introduce(
    session: Session<'_>,
    speaker: Member,
    listener: Member,
) -> Result<(), Fault> {
    let mut connection = session.to(speaker.address).await?;
    let mut pipeline = redis::Pipeline::new();
    pipeline.add_command(meet(listener));
    let replies = connection.ask_pipeline(&pipeline, "CLUSTER MEET").await?;
    replies.into_iter().try_for_each(|reply| reply.map(drop))?;
    Ok(())
}

/// Has the speaker tell everybody that it knows what it is and owns.
pub(crate) async fn introduce_to_all(
    session: Session<'_>,
    speaker: Member,
) -> Result<(), NodeError> {
    let mut connection = session.to(speaker.address).await?;
    let (_, peers) = observe::peers(&mut connection).await?;
    let mut pipeline = redis::Pipeline::new();
    for peer in peers.iter().filter(|peer| peer.id != speaker.id) {
        if let Some(address) = peer.address {
            let id = peer.id;
            pipeline.add_command(meet(Member { id, address }));
        }
    }
    let replies = connection.ask_pipeline(&pipeline, "CLUSTER MEET").await?;
    replies.into_iter().try_for_each(|reply| reply.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_meets_once_and_no_node_begins_all() {
        let all: Pairs = (0..6)
            .flat_map(|observer| (0..6).map(move |other| (observer, other)))
            .filter(|(observer, other)| observer != other)
            .collect();
        let chosen = one_way(&all);
        assert_eq!(chosen.len(), 15);
        for (observer, other) in &chosen {
            assert!(!chosen.contains(&(*other, *observer)));
        }
        let most = (0..6).map(|node| {
            chosen
                .iter()
                .filter(|(speaker, _)| *speaker == node)
                .count()
        });
        assert!(most.max().unwrap() <= 3);
    }

    #[test]
    fn a_node_that_is_known_by_one_side_only_is_met_by_the_other() {
        let gaps = Pairs::from([(0, 1), (3, 2), (2, 3)]);
        let chosen = one_way(&gaps);
        assert!(chosen.contains(&(0, 1)));
        assert_eq!(chosen.len(), 2);
    }
}
