//! What the trib verbs print, in the words that people know from redis-trib and
//! `redis-cli --cluster`.

use std::fmt::Write;

use control::command::{Answered, Backup, ClusterInfo, ClusterNode, Imported, Tended};
use model::fault::Code;
use model::finding::Finding;
use model::slots::SLOT_COUNT;

use crate::render::text;

/// The nodes, one block each: `M: id address`, its slots, and whom it copies.
pub(crate) fn nodes(info: &ClusterInfo) -> String {
    let mut out = String::new();
    for node in &info.nodes {
        let id = node.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let letter = if node.is_primary { "M" } else { "S" };
        let _ = writeln!(out, "{letter}: {id} {}", node.address);
        let slots: Vec<String> = node.slots.iter().map(|it| format!("[{it}]")).collect();
        let role = if node.is_primary { "master" } else { "slave" };
        let _ = writeln!(
            out,
            "   slots:{} ({} slots) {role}",
            slots.join(","),
            node.slot_count()
        );
        if let Some(primary) = node.copies {
            let _ = writeln!(out, "   replicates {primary}");
        }
        if !node.answers {
            out.push_str("   does not answer\n");
        }
        match replicas_of(info, node) {
            0 => {}
            count => {
                let _ = writeln!(out, "   {count} additional replica(s)");
            }
        }
    }
    out
}

fn replicas_of(info: &ClusterInfo, node: &ClusterNode) -> usize {
    let copies = info.nodes.iter().filter(|it| it.copies.is_some());
    copies.filter(|it| it.copies == node.id).count()
}

/// A line for each primary, and the sums.
pub(crate) fn summary(info: &ClusterInfo) -> String {
    let mut out = String::new();
    let primaries: Vec<&ClusterNode> = info
        .nodes
        .iter()
        .filter(|node| node.is_primary && node.answers)
        .collect();
    for node in &primaries {
        let id = node.id.map_or_else(|| "?".to_owned(), |id| id.short());
        let _ = writeln!(
            out,
            "{} ({id}...) -> {} keys | {} slots | {} slaves.",
            node.address,
            node.keys,
            node.slot_count(),
            replicas_of(info, node)
        );
    }
    let keys: u64 = primaries.iter().map(|node| node.keys).sum();
    let per_slot = keys / u64::from(SLOT_COUNT);
    let hundredths = (keys % u64::from(SLOT_COUNT)) * 100 / u64::from(SLOT_COUNT);
    let _ = writeln!(out, "[OK] {keys} keys in {} masters.", primaries.len());
    let _ = writeln!(out, "{per_slot}.{hundredths:02} keys per slot on average.");
    out
}

/// The verdicts of a check, in the order in which people know them; then what else was found.
pub(crate) fn verdicts(info: &ClusterInfo, findings: &[Finding]) -> String {
    let has = |codes: &[&'static str]| {
        findings
            .iter()
            .any(|finding| codes.iter().any(|code| finding.code == Code(code)))
    };
    let mut out = format!(">>> Performing Cluster Check (using node {})\n", info.seed);
    out.push_str(&nodes(info));
    out.push_str(if has(&["SY2219", "SY2041"]) {
        "[ERR] Nodes don't agree about configuration!\n"
    } else {
        "[OK] All nodes agree about slots configuration.\n"
    });
    out.push_str(">>> Check for open slots...\n");
    if has(&["SY2208"]) {
        out.push_str("[WARNING] Some slots are open.\n");
    }
    out.push_str(">>> Check slots coverage...\n");
    out.push_str(if has(&["SY2202"]) {
        "[ERR] Not all 16384 slots are covered by nodes.\n"
    } else {
        "[OK] All 16384 slots covered.\n"
    });
    for finding in findings {
        out.push_str(&text::finding(finding));
    }
    out
}

/// A cluster that was settled or changed: what was done, how it is now, what a client noticed.
pub(crate) fn tended(tended: &Tended) -> String {
    let mut out = verdicts(&tended.cluster, &tended.findings);
    let _ = if tended.changed {
        writeln!(
            out,
            "{}: done in {:.2} s",
            tended.verb,
            tended.took.as_secs_f64()
        )
    } else {
        writeln!(out, "{}: nothing to do", tended.verb)
    };
    if let Some(proof) = &tended.proof {
        out.push_str(&text::proof(proof));
    }
    out
}

/// Keys that were brought in: how many, where they are now, and what should be known.
pub(crate) fn imported(imported: &Imported) -> String {
    let verb = if imported.copies { "copied" } else { "moved" };
    let mut out = if imported.changed {
        format!(
            "import: {} of {} keys {verb} from {} in {:.2} s; {} are there now\n",
            imported.keys_moved,
            imported.keys_before,
            imported.source,
            imported.took.as_secs_f64(),
            imported.keys_left
        )
    } else {
        format!(
            "import: nothing to do; {} has {} keys\n",
            imported.source, imported.keys_left
        )
    };
    out.push_str(&summary(&imported.cluster));
    for finding in &imported.findings {
        out.push_str(&text::finding(finding));
    }
    out
}

/// A backup: a line for each file, and what it lacks.
pub(crate) fn backup(backup: &Backup) -> String {
    let mut out = String::new();
    for file in &backup.files {
        let slots = file.part.slots.len();
        let _ = writeln!(
            out,
            "{}  {} from {}, {slots} slots",
            file.name, file.size, file.source
        );
    }
    let _ = writeln!(
        out,
        "backup: {} in {} after {:.2} s",
        text::counted(backup.files.len(), "shard"),
        backup.directory.display(),
        backup.took.as_secs_f64()
    );
    if !backup.missing.is_empty() {
        let _ = writeln!(out, "It lacks slots {}.", backup.missing);
    }
    out
}

/// What each node answered.
pub(crate) fn answers(answers: &[Answered]) -> String {
    let mut out = String::new();
    for answered in answers {
        match &answered.answer {
            Ok(answer) => {
                let _ = writeln!(out, "{}: {answer}", answered.address);
            }
            Err(fault) => {
                let _ = writeln!(out, "{}: (error) {fault}", answered.address);
            }
        }
    }
    out
}
