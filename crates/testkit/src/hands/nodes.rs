//! The simulated servers as the tool reaches them: each step is made of the commands that `admin`
//! sends, with the same looks, pauses, limits and refusals.

mod meet;
mod probe;
mod promote;
mod replicas;
mod send;
mod serving;
mod setting;
mod slots;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand};
use model::fault::{Class, Fault};
use model::port::{Answer, Nodes};
use model::slots::SlotSet;
use model::spec::Credentials;
use model::step::{ClusterStep, Member};
use model::view::{ClusterView, NodeView};
use tokio::time::sleep;

use super::{ROUND_TRIP, suffer};
use crate::dice::Dice;
use crate::realm::Realm;
use crate::server::{Refused, Server};
use crate::unit::Life;
use crate::world::World;

/// The servers of a simulated world.
#[derive(Clone, Debug)]
pub struct SimNodes {
    world: World,
}

impl SimNodes {
    pub(crate) const fn new(world: World) -> Self {
        Self { world }
    }

    async fn make_true(&self, step: &ClusterStep) -> Result<(), Fault> {
        match step {
            ClusterStep::EnsureSlots { node, slots, epoch } => {
                slots::ensure(self, *node, slots, *epoch).await
            }
            ClusterStep::EnsureMet { members } => meet::ensure_all(self, members).await,
            ClusterStep::EnsureReplicas { primary, replicas } => {
                replicas::ensure(self, *primary, replicas).await
            }
            ClusterStep::EnsurePromoted { promotions } => {
                promote::ensure_all(self, promotions).await
            }
            ClusterStep::EnsureServing { node } => serving::ensure(self, *node).await,
            ClusterStep::EnsureHeard { speaker, listener } => {
                meet::introduce(self, *speaker, *listener).await
            }
        }
    }

    /// Asks a server something that changes nothing.
    async fn ask<T>(
        &self,
        address: NodeAddress,
        question: impl FnOnce(&Server, Duration) -> T,
    ) -> Result<T, Fault> {
        sleep(ROUND_TRIP).await;
        self.world.look(|realm| {
            let now = realm.now;
            match realm.server_at(address) {
                Some(server) => Ok(question(server, now)),
                None => Err(unreachable(realm, address)),
            }
        })
    }

    /// Sends a server a command that changes something. The outer error is that it was not
    /// reached, the inner one is its refusal.
    async fn order(
        &self,
        address: NodeAddress,
        command: impl FnOnce(&mut Server, Duration, &mut Dice) -> Result<(), Refused>,
    ) -> Result<Result<(), Refused>, Fault> {
        sleep(ROUND_TRIP).await;
        let how = self.world.look(|realm| realm.mishaps.command());
        let deed = async {
            self.world.look(|realm| {
                let process = realm.process_at(address);
                let answer = process.and_then(|it| realm.touch(it, None, command));
                answer.ok_or_else(|| unreachable(realm, address))
            })
        };
        let what = format!("{address} cannot be reached");
        suffer(&self.world, how, deed, (&what, Ok(()))).await
    }
}

/// The fault of a server that does not answer.
fn unreachable(realm: &Realm, address: NodeAddress) -> Fault {
    if is_loading(realm, address) {
        let message = format!("{address} is still loading its data");
        return Fault::new("SY2003", Class::Unreachable, message);
    }
    let message = format!("{address} cannot be reached: connection refused");
    Fault::new("SY2001", Class::Unreachable, message)
}

fn is_loading(realm: &Realm, address: NodeAddress) -> bool {
    let unit = realm.unit_at(address);
    unit.is_some_and(|unit| matches!(unit.life, Life::Loading))
}

/// The fault of a server that refuses a command.
fn refused(address: NodeAddress, command: &str, refusal: &Refused) -> Fault {
    let message = format!("{address} refused {command}: {}", refusal.0);
    Fault::new("SY2004", Class::Failed, message)
}

impl Nodes for SimNodes {
    /// Each server is asked at a moment of its own, so that what they say need not fit together.
    fn observe<'a>(
        &'a self,
        addresses: &'a [NodeAddress],
        _: Option<&'a Credentials>,
    ) -> Pin<Box<dyn Future<Output = ClusterView> + Send + 'a>> {
        Box::pin(async move {
            sleep(ROUND_TRIP).await;
            let mut view = ClusterView::new();
            for address in addresses {
                let is_slow = self.world.look(|realm| {
                    view.insert(*address, seen(realm, *address));
                    realm.dice.percent(20)
                });
                if is_slow {
                    sleep(ROUND_TRIP).await;
                }
            }
            view
        })
    }

    fn apply<'a>(&'a self, step: &'a ClusterStep, _: Option<&'a Credentials>) -> Answer<'a, ()> {
        Box::pin(async move {
            let how = self.world.look(|realm| realm.mishaps.call());
            suffer(&self.world, how, self.make_true(step), ("a node", ())).await
        })
    }

    fn probe<'a>(
        &'a self,
        primaries: &'a [(Member, SlotSet)],
        _: Option<&'a Credentials>,
    ) -> Answer<'a, ()> {
        Box::pin(probe::all(self, primaries))
    }

    fn send<'a>(
        &'a self,
        address: NodeAddress,
        commands: &'a [NodeCommand],
        _: Option<&'a Credentials>,
        limit: Duration,
    ) -> Pin<Box<dyn Future<Output = Vec<Result<NodeAnswer, CommandError>>> + Send + 'a>> {
        Box::pin(send::all(self, address, commands, limit))
    }

    /// The simulated servers know PING.
    fn call<'a>(
        &'a self,
        address: NodeAddress,
        command: &'a [String],
        _: Option<&'a Credentials>,
    ) -> Answer<'a, String> {
        Box::pin(async move {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let timeout = self.ask(address, |server, _| server.settings.node_timeout);
            let timeout = timeout.await?.as_millis();
            match words[..] {
                ["PING"] => return Ok("PONG".to_owned()),
                ["CONFIG", "GET", name @ "cluster-node-timeout"] => {
                    return Ok(format!("1) \"{name}\"\n2) \"{timeout}\""));
                }
                _ => {}
            }
            let refusal = Refused("ERR unknown command");
            Err(refused(address, "the command", &refusal))
        })
    }
}

/// What is seen of a server that is asked.
fn seen(realm: &Realm, address: NodeAddress) -> NodeView {
    match realm.server_at(address) {
        Some(server) => NodeView::Answering(Box::new(server.report(realm.now))),
        None if is_loading(realm, address) => NodeView::Loading,
        None => NodeView::Silent {
            reason: unreachable(realm, address).message,
        },
    }
}
