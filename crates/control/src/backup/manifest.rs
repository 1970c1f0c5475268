//! What `nodes.json` says of a backup. Its fields are part of the contract of `docs/json.md`.

use model::slots::SlotSet;
use serde_json::{Value, json};

use super::{Backup, BackupFile};
use crate::trib::ClusterNode;

/// The manifest of a backup.
pub(super) fn manifest(backup: &Backup) -> Value {
    let files: Vec<Value> = backup.files.iter().map(file).collect();
    let nodes: Vec<Value> = backup.cluster.nodes.iter().map(node).collect();
    json!({
        "apiVersion": "shardyard/v1",
        "taken_at": backup.taken_at,
        "slots_missing": slots(&backup.missing),
        "files": files,
        "nodes": nodes,
    })
}

fn file(file: &BackupFile) -> Value {
    let part = &file.part;
    json!({
        "file": file.name,
        "bytes": file.size.as_bytes(),
        "sha256": file.sha256,
        "crc64": file.crc64.map(|it| format!("{it:016x}")),
        "rdb_version": file.rdb_version,
        "server": part.version.to_string(),
        "slots": slots(&part.slots),
        "epoch": part.epoch.0,
        "primary": {
            "id": part.primary.id.to_string(),
            "address": part.primary.address.to_string(),
        },
        "taken_from": file.source.to_string(),
    })
}

fn node(node: &ClusterNode) -> Value {
    let slots: Vec<String> = node.slots.iter().map(ToString::to_string).collect();
    json!({
        "id": node.id.map(|id| id.to_string()),
        "address": node.address.to_string(),
        "answers": node.answers,
        "role": if node.is_primary { "primary" } else { "replica" },
        "copies": node.copies.map(|id| id.to_string()),
        "slots": slots.join(","),
        "epoch": node.epoch.0,
        "keys": node.keys,
    })
}

fn slots(slots: &SlotSet) -> String {
    let ranges: Vec<String> = slots.ranges().iter().map(ToString::to_string).collect();
    ranges.join(",")
}
