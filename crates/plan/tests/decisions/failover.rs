//! Who follows on a dead primary.

use std::time::Duration;

use model::view::{ClusterView, NodeView, PeerRole, Replication, ReplicationLink};
use plan::failover::{Succession, has_drained, has_voters, succession};

use crate::fixture::{Scene, address, id, silent};

/// A cluster of three shards with two replicas each, whose first primary (redis-1; its replicas
/// are redis-4 and redis-7) has just died.
struct Dead(ClusterView);

impl Dead {
    fn new() -> Self {
        let mut scene = Scene::whole(3, 2);
        scene.view.nodes.insert(address(1), silent(1));
        Self(scene.view.nodes)
    }

    fn replica(mut self, number: u8, link: ReplicationLink, offset: u64) -> Self {
        self.report(number).replication = Replication::Replica {
            of: address(1).to_string(),
            link,
            offset,
        };
        self
    }

    fn report(&mut self, number: u8) -> &mut model::view::NodeReport {
        match self.0.get_mut(&address(number)) {
            Some(NodeView::Answering(report)) => report,
            other => panic!("{number}: {other:?}"),
        }
    }
}

const UP: ReplicationLink = ReplicationLink::Up;
const COPYING: ReplicationLink = ReplicationLink::Copying;

const fn down(seconds: u64) -> ReplicationLink {
    ReplicationLink::Down { seconds }
}

/// The number of the node that follows on redis-1, whose replicas are linked like this.
fn heir(first: (ReplicationLink, u64), second: (ReplicationLink, u64)) -> Option<u8> {
    let view = Dead::new()
        .replica(4, first.0, first.1)
        .replica(7, second.0, second.1);
    match succession(address(1), Duration::ZERO, &view.0) {
        Succession::Promote(promotion) => {
            assert_eq!(promotion.instead_of.id, id(1));
            let number = [4, 7].into_iter().find(|it| promotion.node.id == id(*it));
            assert_eq!(Some(promotion.node.address), number.map(address));
            number
        }
        Succession::Nobody { reason } => {
            assert!(reason.contains("in sync"), "{reason}");
            None
        }
        Succession::NotNeeded => panic!("redis-1 owned slots"),
    }
}

#[test]
fn the_best_replica_that_was_in_sync_follows_on() {
    for (first, second, expected) in [
        ((down(0), 10), (down(0), 9), Some(4)),
        ((down(0), 9), (down(0), 10), Some(7)),
        ((UP, 10), (down(0), 9), Some(4)),
        // Equal ones: the lower id, so that everybody decides the same.
        ((down(1), 10), (down(0), 10), Some(4)),
        // Down for longer than the death: it lacks what was written since.
        ((down(2), 99), (down(1), 1), Some(7)),
        ((down(2), 99), (down(u64::MAX), 99), None),
        // What it had before is of no use.
        ((COPYING, 99), (down(0), 1), Some(7)),
        ((COPYING, 99), (COPYING, 98), None),
    ] {
        assert_eq!(heir(first, second), expected, "{first:?} {second:?}");
    }
}

#[test]
fn nobody_follows_on_one_that_owned_no_slot() {
    let mut view = Dead::new().0;
    assert_eq!(
        succession(address(9), Duration::ZERO, &view),
        Succession::NotNeeded,
        "a replica"
    );
    assert_eq!(
        succession(address(99), Duration::ZERO, &view),
        Succession::NotNeeded,
        "unknown"
    );
    for node in view.values_mut() {
        if let NodeView::Answering(report) = node {
            for peer in &mut report.cluster.as_mut().unwrap().peers {
                peer.slots.retain(|_| peer.id != id(1));
            }
        }
    }
    assert_eq!(
        succession(address(1), Duration::ZERO, &view),
        Succession::NotNeeded,
        "a primary without slots"
    );
}

#[test]
fn the_latest_word_about_the_dead_node_counts() {
    let mut view = Dead::new();
    // Somebody has not heard yet that redis-4 took over from redis-1 with a higher epoch.
    let peers = &mut view.report(2).cluster.as_mut().unwrap().peers;
    let lost = peers.iter_mut().find(|it| it.id == id(1)).unwrap();
    lost.epoch = model::ids::Epoch(9);
    lost.role = PeerRole::Replica(Some(id(4)));
    lost.slots.clear();
    assert_eq!(
        succession(address(1), Duration::ZERO, &view.0),
        Succession::NotNeeded
    );
}

#[test]
fn a_replica_of_another_shard_is_no_heir() {
    let mut view = Dead::new();
    for number in [4, 7] {
        view.0.insert(address(number), silent(number));
    }
    let outcome = succession(address(1), Duration::ZERO, &view.0);
    assert!(matches!(outcome, Succession::Nobody { .. }), "{outcome:?}");
}

#[test]
fn a_link_that_is_down_since_the_death_was_in_sync_however_long_that_is_ago() {
    let seven_seconds = Duration::from_millis(7900);
    for (seconds, expected) in [(0, true), (8, true), (9, false)] {
        let view = Dead::new().replica(4, down(seconds), 9).0;
        let mut view = view;
        view.insert(address(7), silent(7));
        let outcome = succession(address(1), seven_seconds, &view);
        let follows = matches!(outcome, Succession::Promote(_));
        assert_eq!(follows, expected, "{seconds}: {outcome:?}");
    }
}

#[test]
fn a_majority_of_the_primaries_can_vote() {
    let mut view = Dead::new();
    assert!(has_voters(&view.0), "two of three");
    view.0.insert(address(2), silent(2));
    assert!(!has_voters(&view.0), "one of three");
    assert!(!has_voters(&ClusterView::new()), "nobody");
}

#[test]
fn a_link_that_is_still_up_has_not_drained() {
    let dead = |first, second| Dead::new().replica(4, first, 1).replica(7, second, 1).0;
    for (first, second, expected) in [
        (down(0), down(0), true),
        (UP, down(0), false),
        (down(0), UP, false),
        (down(0), COPYING, true),
    ] {
        let view = dead(first, second);
        assert_eq!(
            has_drained(address(1), &view),
            expected,
            "{first:?} {second:?}"
        );
    }
    assert!(
        has_drained(address(99), &dead(UP, UP)),
        "nobody copied an unknown node"
    );
    // A link that is up to another primary by now says nothing about the dead one.
    let mut moved = Dead::new().replica(4, down(0), 1);
    moved.report(7).replication = Replication::Replica {
        of: address(4).to_string(),
        link: UP,
        offset: 1,
    };
    assert!(has_drained(address(1), &moved.0));
}
