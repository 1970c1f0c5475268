//! Makes nodes know each other, as `admin::meet` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use model::fault::{Class, Fault};
use model::ids::NodeId;
use model::step::Member;
use tokio::time::sleep;

use super::SimNodes;

/// How long nodes may take, beside what their number needs.
const LIMIT: Duration = Duration::from_secs(30);

/// What each further node may take.
const LIMIT_PER_NODE: Duration = Duration::from_millis(200);

/// The pause before a pair meets again.
const MEET_AGAIN: Duration = Duration::from_millis(250);

/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Pairs of positions: an observer and another one.
type Pairs = BTreeSet<(usize, usize)>;

/// What still lacks between the members.
#[derive(Default)]
struct Gaps {
    /// Who does not know whom: they must meet.
    unknown: Pairs,
    /// Who knows whom and has no link: the servers make it with their next tick.
    unlinked: Pairs,
}

pub(super) async fn ensure_all(nodes: &SimNodes, members: &[Member]) -> Result<(), Fault> {
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let limit = LIMIT + LIMIT_PER_NODE * count;
    let began = nodes.world.now();
    let mut met: Option<Duration> = None;
    loop {
        let gaps = gaps(nodes, members).await?;
        let now = nodes.world.now();
        let Some((observer, unknown)) = gaps.unknown.union(&gaps.unlinked).next() else {
            return Ok(());
        };
        if now.saturating_sub(began) > limit {
            let (observer, unknown) = (members[*observer].address, members[*unknown].address);
            let message = format!("{observer} does not reach {unknown}");
            return Err(Fault::new("SY2014", Class::NotConverged, message));
        }
        let is_due = met.is_none_or(|at| now.saturating_sub(at) >= MEET_AGAIN);
        if is_due && !gaps.unknown.is_empty() {
            let pairs = if met.is_some() {
                gaps.unknown
            } else {
                one_way(&gaps.unknown)
            };
            let words = pairs
                .iter()
                .map(|(speaker, listener)| introduce(nodes, members[*speaker], members[*listener]));
            let met_all = join_all(words).await;
            met_all.into_iter().collect::<Result<(), _>>()?;
            met = Some(nodes.world.now());
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn gaps(nodes: &SimNodes, members: &[Member]) -> Result<Gaps, Fault> {
    let looks = members.iter().map(|member| {
        nodes.ask(member.address, |server, _| {
            server.known().collect::<BTreeMap<NodeId, bool>>()
        })
    });
    let mut gaps = Gaps::default();
    for (observer, known) in join_all(looks).await.into_iter().enumerate() {
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

/// Of two nodes that miss each other one meets the other; which of them alternates.
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

pub(super) async fn introduce(
    nodes: &SimNodes,
    speaker: Member,
    listener: Member,
) -> Result<(), Fault> {
    let met = nodes.order(speaker.address, |server, now, dice| {
        server.meet(listener.address, now, dice);
        Ok(())
    });
    // A server never refuses to meet an address.
    met.await.map(drop)
}

/// Has a node tell everybody that it knows what it is and owns.
pub(super) async fn introduce_to_all(nodes: &SimNodes, speaker: Member) -> Result<(), Fault> {
    let address = speaker.address;
    let known = nodes.ask(address, |server, _| server.known_addresses());
    let meetings = known.await?.into_iter().map(|listener| {
        nodes.order(address, move |server, now, dice| {
            server.meet(listener, now, dice);
            Ok(())
        })
    });
    join_all(meetings)
        .await
        .into_iter()
        .try_for_each(|it| it.map(drop))
}
