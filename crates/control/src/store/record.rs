//! The stored form of an instance, version 1. Its types are copies on purpose: the model may
//! change, a record that was written may not.
//!
//! The spec is not stored. It follows from the template's files and the values.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{HostName, InstanceName, NodeId, ShardIndex, VariableName, WorkloadName};
use model::instance::{
    Change, EngineKind, Expose, Instance, Layout, NodeSeat, PlannedRole, Seat, TemplateFiles,
};
use model::size::ByteSize;
use model::slots::SlotSet;
use model::spec::Value;
use serde::{Deserialize, Serialize};

use super::secrets;
use crate::home::Home;

#[derive(Serialize, Deserialize)]
struct Record {
    engine: String,
    /// The address of the host that clients are told; absent for the instance's own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exposed_at: Option<IpAddr>,
    files: BTreeMap<String, String>,
    values: BTreeMap<String, StoredValue>,
    seats: BTreeMap<String, StoredSeat>,
    /// The slots that each shard is to own, by its number from 0; none while nothing is moved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    owners: BTreeMap<u16, String>,
    /// The change in which a hook's job has its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<StoredChange>,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    /// As text: readers of JSON lose digits of large numbers.
    number: String,
    joined: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredValue {
    Int(i64),
    Bytes(u64),
    Bool(bool),
    Text(String),
    /// The value is in a file of its own.
    Secret,
}

#[derive(Serialize, Deserialize)]
struct StoredSeat {
    host: String,
    ip: IpAddr,
    port: u16,
    node: Option<StoredNode>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaves: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredNode {
    id: String,
    shard: u16,
    is_primary: bool,
}

/// An instance as a record.
pub(super) fn write(instance: &Instance) -> String {
    let values = instance.values.iter().map(|(name, value)| {
        let value = match value {
            Value::Int(number) => StoredValue::Int(*number),
            Value::Size(size) => StoredValue::Bytes(size.as_bytes()),
            Value::Bool(answer) => StoredValue::Bool(*answer),
            Value::Text(text) => StoredValue::Text(text.clone()),
            Value::Secret(_) => StoredValue::Secret,
        };
        (name.to_string(), value)
    });
    let seats = instance.layout.seats.iter().map(|(name, seat)| {
        let stored = StoredSeat {
            host: seat.host.to_string(),
            ip: seat.address.ip,
            port: seat.address.port,
            node: seat.node.map(|node| StoredNode {
                id: node.id.to_string(),
                shard: node.shard.0,
                is_primary: node.role == PlannedRole::Primary,
            }),
            leaves: seat.leaves,
        };
        (name.to_string(), stored)
    });
    let record = Record {
        engine: instance.engine.to_string(),
        exposed_at: match instance.expose {
            Expose::Network => None,
            Expose::Host(address) => Some(address),
        },
        files: instance.files.files.clone(),
        values: values.collect(),
        seats: seats.collect(),
        owners: instance
            .layout
            .owners
            .iter()
            .map(|(shard, slots)| (shard.0, slots.to_string()))
            .collect(),
        change: instance.change.as_ref().map(|change| StoredChange {
            number: change.number.to_string(),
            joined: change.joined.iter().map(ToString::to_string).collect(),
        }),
    };
    // Maps with text keys and plain values: there is nothing in it that JSON cannot hold.
    serde_json::to_string(&record).unwrap_or_default()
}

/// The instance of a record.
pub(super) fn read(
    home: &Home,
    name: &InstanceName,
    text: &str,
    delivered: bool,
) -> Result<Instance, Fault> {
    let record: Record =
        serde_json::from_str(text).map_err(|error| unreadable(name, &error.to_string()))?;
    let engine = EngineKind::parse(&record.engine)
        .ok_or_else(|| unreadable(name, &format!("unknown engine {}", record.engine)))?;
    let files = TemplateFiles {
        files: record.files,
    };
    let mut values = BTreeMap::new();
    for (variable, value) in record.values {
        let variable =
            VariableName::new(&variable).map_err(|error| unreadable(name, &error.to_string()))?;
        let value = match value {
            StoredValue::Int(number) => Value::Int(number),
            StoredValue::Bytes(count) => Value::Size(ByteSize::bytes(count)),
            StoredValue::Bool(answer) => Value::Bool(answer),
            StoredValue::Text(text) => Value::Text(text),
            StoredValue::Secret => Value::Secret(secrets::read(home, name, &variable)?),
        };
        values.insert(variable, value);
    }
    let mut seats = BTreeMap::new();
    for (workload, seat) in record.seats {
        let workload = WorkloadName::parse(&workload)
            .ok_or_else(|| unreadable(name, &format!("no workload name: {workload}")))?;
        seats.insert(
            workload,
            read_seat(seat).map_err(|it| unreadable(name, &it))?,
        );
    }
    let mut owners = BTreeMap::new();
    for (shard, slots) in record.owners {
        let slots = SlotSet::parse(&slots)
            .ok_or_else(|| unreadable(name, &format!("no slots: {slots}")))?;
        owners.insert(ShardIndex(shard), slots);
    }
    let change = record.change.map(read_change).transpose();
    let change = change.map_err(|it| unreadable(name, &it))?;
    let spec = template::Document::read(&files)?.spec(&values)?;
    Ok(Instance {
        name: name.clone(),
        engine,
        expose: record.exposed_at.map_or(Expose::Network, Expose::Host),
        files,
        values,
        spec,
        layout: Layout { seats, owners },
        delivered,
        change,
    })
}

fn read_change(change: StoredChange) -> Result<Change, String> {
    let number = change.number.parse();
    let joined = change
        .joined
        .iter()
        .map(|name| WorkloadName::parse(name).ok_or_else(|| format!("no workload name: {name}")));
    Ok(Change {
        number: number.map_err(|_| format!("no number: {}", change.number))?,
        joined: joined.collect::<Result<_, String>>()?,
    })
}

fn read_seat(seat: StoredSeat) -> Result<Seat, String> {
    let node = match seat.node {
        None => None,
        Some(node) => Some(NodeSeat {
            id: NodeId::parse(&node.id).ok_or_else(|| format!("no node id: {}", node.id))?,
            shard: ShardIndex(node.shard),
            role: if node.is_primary {
                PlannedRole::Primary
            } else {
                PlannedRole::Replica
            },
        }),
    };
    Ok(Seat {
        host: HostName::new(seat.host),
        address: NodeAddress::new(seat.ip, seat.port),
        node,
        leaves: seat.leaves,
    })
}

fn unreadable(name: &InstanceName, problem: &str) -> Fault {
    Fault::new(
        "SY4014",
        Class::Failed,
        format!("the stored record of instance {name} cannot be read"),
    )
    .with_cause(problem)
    .with_help("use the shardyard that wrote it, or a later one; nothing was changed")
}
