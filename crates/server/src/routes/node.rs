//! What one node says of itself: INFO, settings, clients, slow commands. Each is a question to it
//! by the port to the servers; nothing is changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use control::command::{NodeStatus, Status};
use model::address::NodeAddress;
use model::fault::Fault;
use model::ids::WorkloadName;
use model::instance::Instance;

use super::instances::{instance_name, workload};
use super::look::{status, stored};
use super::{Answer, Path};
use crate::door::{Operator, Viewer};
use crate::problem::Problem;
use crate::server::Server;
use crate::wire::{ClientList, Node, NodeDetail, SettingList, SlowLog};
use crate::{said, settings};

pub(super) async fn node(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path((name, named)): Path<(String, String)>,
) -> Answer<Json<NodeDetail>> {
    let asked = Asked::find(&server, &name, &named)?;
    let status = status(&server, &name).await?;
    let found = every(&status).find(|it| it.workload == asked.workload);
    let node = found.ok_or_else(|| Problem::unknown("such node"))?;
    let config = asked.ask(&["CONFIG", "GET", "*"]).await.ok();
    Ok(Json(NodeDetail {
        node: Node::from(node),
        info: asked.ask(&["INFO"]).await.ok(),
        config: config.map(|text| settings::open_settings(&text)),
    }))
}

fn every(status: &Status) -> impl Iterator<Item = &NodeStatus> {
    let shards = status.shards.iter();
    shards
        .flat_map(|it| std::iter::once(&it.primary).chain(&it.replicas))
        .chain(&status.others)
}

pub(super) async fn settings(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path((name, named)): Path<(String, String)>,
) -> Answer<Json<SettingList>> {
    let asked = Asked::find(&server, &name, &named)?;
    let answer = asked.ask(&["CONFIG", "GET", "*"]).await?;
    let list = settings::compared(&asked.instance, &asked.workload, &answer)?;
    Ok(Json(list))
}

pub(super) async fn clients(
    State(server): State<Arc<Server>>,
    _: Viewer,
    Path((name, named)): Path<(String, String)>,
) -> Answer<Json<ClientList>> {
    let asked = Asked::find(&server, &name, &named)?;
    Ok(Json(said::clients(&asked.ask(&["CLIENT", "LIST"]).await?)))
}

/// How many slow commands are asked for; a server keeps 128 unless told otherwise.
const SLOW_MAX: &str = "128";

/// The words of slow commands can be keys and values, which a viewer may not read.
pub(super) async fn slow_log(
    State(server): State<Arc<Server>>,
    _: Operator,
    Path((name, named)): Path<(String, String)>,
) -> Answer<Json<SlowLog>> {
    let asked = Asked::find(&server, &name, &named)?;
    let answer = asked.ask(&["SLOWLOG", "GET", SLOW_MAX]).await?;
    let limit = asked
        .ask(&["CONFIG", "GET", "slowlog-log-slower-than"])
        .await;
    let limit = settings::open_settings(&limit.unwrap_or_default());
    Ok(Json(SlowLog {
        commands: said::slow_commands(&answer),
        slower_than_us: limit.values().find_map(|it| it.parse().ok()),
    }))
}

/// A node that is asked.
struct Asked<'a> {
    server: &'a Server,
    instance: Instance,
    workload: WorkloadName,
    address: NodeAddress,
}

impl<'a> Asked<'a> {
    fn find(server: &'a Server, name: &str, named: &str) -> Answer<Self> {
        let workload = workload(named)?;
        let instance = stored(server, &instance_name(name)?)?;
        let seat = instance.layout.seats.get(&workload);
        let address = seat.ok_or_else(|| Problem::unknown("such node"))?.address;
        Ok(Self {
            server,
            instance,
            workload,
            address,
        })
    }

    async fn ask(&self, words: &[&str]) -> Result<String, Fault> {
        let command: Vec<String> = words.iter().map(|&it| it.to_owned()).collect();
        let login = self.instance.spec.operator.as_ref();
        let nodes = &self.server.hands.nodes;
        nodes.call(self.address, &command, login).await
    }
}
