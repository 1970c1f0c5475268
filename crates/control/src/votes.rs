//! Waits until a handover can be voted for.
//!
//! A primary votes in one shard only once in two node time-outs. A replica that was elected itself
//! within two node time-outs takes those votes for new ones and is a primary before the old one has
//! stopped (seen on Redis 7.0: two primaries for 50 ms), and within four it does not ask for any,
//! so that the shard's writes stop for five seconds for nothing (`clusterHandleSlaveFailover`,
//! `auth_timeout` and `auth_retry_time`). What may have had an election is given that time first.

use std::time::Duration;

use model::address::NodeAddress;
use model::command::{NodeAnswer, NodeCommand};
use model::event::Event;
use model::fault::Fault;
use model::instance::Instance;
use model::step::{Plan, Step, StewardStep};

use crate::command::Control;
use crate::store::Store;
use crate::wait::interrupted;

/// How long a setting may take to be asked for.
const SETTING_LIMIT: Duration = Duration::from_secs(5);

/// The node time-out of Redis and Valkey where it cannot be asked for.
const USUAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The shortest time that an election is valid for (`auth_timeout`).
const ELECTION_MIN: Duration = Duration::from_secs(2);

/// How often the audience hears what is waited for.
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// Waits where the plan hands over and the last operation on the instance ended a moment ago: each
/// operation may have had an election.
pub(crate) async fn wait(
    control: &Control,
    store: &Store,
    instance: &Instance,
    plan: &Plan,
) -> Result<(), Fault> {
    let hands = &control.hands;
    let (Some(node), Some(since)) = (heir(plan), store.since_last(&instance.name)?) else {
        return Ok(());
    };
    let timeout = node_timeout(control, instance, node).await;
    let pause = ((timeout * 2).max(ELECTION_MIN) * 2).saturating_sub(since);
    let began = hands.clock.now();
    loop {
        let waited = hands.clock.now().saturating_sub(began);
        if waited >= pause {
            return Ok(());
        }
        if hands.cancel.is_cancelled() {
            return Err(interrupted());
        }
        hands.tell(Event::Waiting {
            on: "there may have been an election a moment ago, and the next takes its time"
                .to_owned(),
            since: waited,
        });
        hands.clock.sleep((pause - waited).min(TELL_PAUSE)).await;
    }
}

/// The first that is to take over.
fn heir(plan: &Plan) -> Option<NodeAddress> {
    let mut steps = plan.phases.iter().flat_map(|it| &it.steps);
    steps.find_map(|step| match step {
        Step::Steward(StewardStep::EnsureHandedOver { promotions }) => {
            promotions.first().map(|it| it.node.address)
        }
        Step::Steward(_) | Step::Engine(_) | Step::Cluster(_) | Step::Wait(_) => None,
    })
}

async fn node_timeout(control: &Control, instance: &Instance, node: NodeAddress) -> Duration {
    let question = [NodeCommand::Setting("cluster-node-timeout".to_owned())];
    let login = instance.spec.operator.as_ref();
    let nodes = &control.hands.nodes;
    let answers = nodes.send(node, &question, login, SETTING_LIMIT).await;
    let answered = match answers.into_iter().next() {
        Some(Ok(NodeAnswer::Text(text))) => text.parse().ok().map(Duration::from_millis),
        Some(_) | None => None,
    };
    answered.unwrap_or(USUAL_TIMEOUT)
}
