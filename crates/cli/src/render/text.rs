//! Text for people: plain columns, no boxes, `-` for what is not there.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use control::command::{Changed, Delivery, Proof, Row, ShardStatus, Status};
use control::lock::Operator;
use control::oversee::Word;
use model::fault::Fault;
use model::finding::{Finding, Severity};
use model::ids::InstanceName;
use model::outline::Outline;
use plan::check::State;

use crate::print;

/// How many endpoints are listed; the others are a command away.
const ENDPOINTS_SHOWN: usize = 3;

/// How many steps of a phase are listed in a plan.
const STEPS_SHOWN: usize = 8;

/// An error: its code and message, what brought it about, what it shows, the way out.
pub(crate) fn fault(fault: &Fault) -> String {
    let mut text = format!(
        "{}: {}",
        paint("1;31", &format!("error[{}]", fault.code)),
        fault.message
    );
    for cause in &fault.causes {
        let _ = write!(text, "\n  caused by: {cause}");
    }
    for line in &fault.detail {
        let _ = write!(text, "\n  | {line}");
    }
    if let Some(help) = &fault.help {
        let _ = write!(text, "\n  {}: {help}", paint("1", "help"));
    }
    text
}

/// A plan, and what should be known before it is carried out.
pub(crate) fn plan(what: &str, plan: &Outline, findings: &[Finding]) -> String {
    let mut text = format!("Plan: {what}\n");
    for (index, phase) in plan.phases.iter().enumerate() {
        let _ = writeln!(text, "  {}. {}", index + 1, phase.title);
        for step in phase.steps.iter().take(STEPS_SHOWN) {
            let _ = writeln!(text, "     {:<24} {}", step.subject, step.detail);
        }
        match phase.steps.len().saturating_sub(STEPS_SHOWN) {
            0 => {}
            more => {
                let _ = writeln!(text, "     … and {more} more");
            }
        }
    }
    if plan.is_empty() {
        text.push_str("  nothing to do\n");
    }
    for finding in findings.iter().chain(&plan.findings) {
        text.push_str(&self::finding(finding));
    }
    text
}

/// A finding and its way out.
pub(crate) fn finding(finding: &Finding) -> String {
    let colour = match finding.severity {
        Severity::Notice => "36",
        Severity::Warning => "33",
        Severity::Critical => "1;31",
    };
    let head = format!("{}[{}]", finding.severity, finding.code);
    let mut text = format!(
        "{}: {}: {}\n",
        paint(colour, &head),
        finding.subject,
        finding.message
    );
    if let Some(help) = &finding.help {
        let _ = writeln!(text, "  {}: {help}", paint("1", "help"));
    }
    text
}

/// What is lost for good.
pub(crate) fn loss(name: &str, lost: &[String]) -> String {
    let mut text = format!("This is lost for good with {name}:\n");
    for line in lost {
        let _ = writeln!(text, "  - {line}");
    }
    text
}

/// A delivered instance: what it is, how it was made, how to connect, what next.
pub(crate) fn delivery(delivery: &Delivery) -> String {
    let status = &delivery.status;
    let name = &status.name;
    let mut text = String::new();
    let nodes: usize = status.shards.iter().map(|it| 1 + it.replicas.len()).sum();
    let version = status.shards.first().and_then(|it| it.primary.version);
    let version = version.map_or_else(String::new, |it| format!(", {it}"));
    let made = match (delivery.created, delivery.changed) {
        (true, _) => format!("delivered in {:.2} s", delivery.took.as_secs_f64()),
        (false, true) => format!("matches again after {:.2} s", delivery.took.as_secs_f64()),
        (false, false) => "is delivered already; there is nothing to do".to_owned(),
    };
    let _ = writeln!(
        text,
        "{name} {made}: {}, {}{version}, engine {}\n",
        counted(status.shards.len(), "shard"),
        counted(nodes, "node"),
        status.engine
    );
    text.push_str(&topology(status));
    text.push_str(&connect(status));
    text.push_str("\nNext\n");
    for (command, purpose) in [
        (
            format!("shardyard status {name} --watch"),
            "how it is, all the time",
        ),
        (format!("shardyard cli {name}"), "redis-cli, logged in"),
        (format!("shardyard down {name}"), "stop it; the data stays"),
    ] {
        let _ = writeln!(text, "  {command:<36} {purpose}");
    }
    text
}

/// What was said to whoever works on an instance.
pub(crate) fn told(instance: &InstanceName, operator: &Operator, word: Option<Word>) -> String {
    let does = match word {
        Some(Word::Pause) => format!(
            "stands still once the slots that are open have arrived; \
             shardyard resume {instance}   has it go on"
        ),
        Some(Word::End) => "ends once the slots that are open have arrived".to_owned(),
        None => "goes on".to_owned(),
    };
    let Operator { verb, pid, .. } = operator;
    format!("{verb} {instance} (pid {pid}) {does}\n")
}

/// An instance whose shape was changed: how it is now, and what a client noticed meanwhile.
pub(crate) fn changed(verb: &str, changed: &Changed) -> String {
    let status = &changed.status;
    let name = &status.name;
    let nodes: usize = status.shards.iter().map(|it| 1 + it.replicas.len()).sum();
    let done = if changed.changed {
        format!("done in {:.2} s", changed.took.as_secs_f64())
    } else {
        "nothing to do".to_owned()
    };
    let mut text = format!(
        "{verb} {name}: {done}; {}, {}\n\n",
        counted(status.shards.len(), "shard"),
        counted(nodes, "node"),
    );
    text.push_str(&topology(status));
    if let Some(seen) = &changed.proof {
        text.push('\n');
        text.push_str(&proof(seen));
    }
    text
}

/// What a client noticed meanwhile.
pub(crate) fn proof(proof: &Proof) -> String {
    format!(
        "Proof: {} writes meanwhile, {} failed, longest gap {} ms, {} acknowledged writes lost\n",
        proof.operations,
        proof.errors,
        proof.longest_write_gap.as_millis(),
        proof.acknowledged_writes_lost
    )
}

/// How an instance is.
pub(crate) fn status(status: &Status) -> String {
    let colour = match status.state {
        State::Ready => "32",
        State::Converging | State::Degraded => "33",
        State::Unavailable => "1;31",
        State::Stopped => "2",
    };
    let mut text = format!(
        "{}: {} ({}, engine {})\n\n",
        status.name,
        paint(colour, status.state.as_str()),
        status.template,
        status.engine
    );
    if let Some(operator) = &status.operator {
        let _ = writeln!(
            text,
            "{} (pid {}) has been doing `{}` since {}\n",
            operator.user, operator.pid, operator.verb, operator.since
        );
    }
    text.push_str(&topology(status));
    let odd: Vec<_> = status
        .workloads
        .iter()
        .filter(|it| it.phase != "running" || it.restarts > 0)
        .collect();
    if !odd.is_empty() {
        let mut table = columns(&["WORKLOAD", "PHASE", "RESTARTS"]);
        for workload in odd {
            table.add_row([
                workload.name.to_string(),
                workload.phase.clone(),
                workload.restarts.to_string(),
            ]);
        }
        let _ = writeln!(text, "\n{}", lines(&table));
    }
    if status.state != State::Stopped {
        text.push_str(&connect(status));
    }
    if !status.findings.is_empty() {
        text.push('\n');
    }
    for it in &status.findings {
        text.push_str(&finding(it));
    }
    text
}

fn topology(status: &Status) -> String {
    if status.shards.is_empty() && status.others.is_empty() {
        return String::new();
    }
    let mut table = columns(&[
        "SHARD", "SLOTS", "ROLE", "NODE", "ADDRESS", "MEMORY", "KEYS", "LAG",
    ]);
    for (index, shard) in status.shards.iter().enumerate() {
        add_shard(&mut table, index + 1, shard);
    }
    for node in &status.others {
        add_node(&mut table, ["-".to_owned(), "-".to_owned()], node);
    }
    lines(&table) + "\n"
}

fn add_shard(table: &mut Table, number: usize, shard: &ShardStatus) {
    let slots: Vec<String> = shard.slots.iter().map(ToString::to_string).collect();
    add_node(table, [number.to_string(), slots.join(",")], &shard.primary);
    for replica in &shard.replicas {
        add_node(table, [String::new(), String::new()], replica);
    }
}

fn add_node(table: &mut Table, head: [String; 2], node: &control::command::NodeStatus) {
    let dash = || "-".to_owned();
    let lag = match (node.role, node.linked, node.lag) {
        ("replica", false, _) => "link down".to_owned(),
        (_, _, Some(lag)) => lag.to_string(),
        (_, _, None) => dash(),
    };
    let [shard, slots] = head;
    table.add_row([
        shard,
        slots,
        node.role.to_owned(),
        node.workload.to_string(),
        node.address.to_string(),
        node.memory.map_or_else(dash, |it| it.to_string()),
        node.keys.map_or_else(dash, |it| it.to_string()),
        lag,
    ]);
}

fn connect(status: &Status) -> String {
    let mut text = "\nConnect\n".to_owned();
    for endpoint in status.endpoints.iter().take(ENDPOINTS_SHOWN) {
        let _ = writeln!(text, "  redis://{endpoint}");
    }
    match status.endpoints.len().saturating_sub(ENDPOINTS_SHOWN) {
        0 => {}
        more => {
            let _ = writeln!(
                text,
                "  … and {more} more: shardyard status {} -o json",
                status.name
            );
        }
    }
    match &status.credentials {
        Some((user, file)) => {
            let _ = writeln!(text, "  user {user}, password in {}", file.display());
        }
        None => text.push_str("  no password\n"),
    }
    if !status.tried.is_empty() {
        let good = status.tried.iter().filter(|it| it.problem.is_none());
        let _ = writeln!(
            text,
            "  tried from here as a client: {} of {} announced addresses answer",
            good.count(),
            status.tried.len()
        );
    }
    text
}

/// The instances.
pub(crate) fn list(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "There is no instance yet: shardyard up\n".to_owned();
    }
    let mut table = columns(&[
        "NAME",
        "STATE",
        "TEMPLATE",
        "ENGINE",
        "SHARDS",
        "WORKLOADS",
        "CREATED",
    ]);
    for row in rows {
        table.add_row([
            row.name.clone(),
            row.state.map_or("unknown", State::as_str).to_owned(),
            row.template.clone(),
            row.engine.to_string(),
            row.shards.to_string(),
            row.workloads.to_string(),
            row.created_at.clone(),
        ]);
    }
    let mut text = lines(&table) + "\n";
    for row in rows {
        if let Some(problem) = &row.problem {
            let _ = writeln!(text, "{}: {problem}", row.name);
        }
    }
    text
}

/// A table of plain columns under upper-case heads.
pub(crate) fn columns(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        heads
            .iter()
            .map(|head| Cell::new(head).set_alignment(CellAlignment::Left)),
    );
    table
}

/// The lines of a table without the padding at their ends.
pub(crate) fn lines(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| {
            line.strip_prefix(' ')
                .unwrap_or(&line)
                .trim_end()
                .to_owned()
        })
        .collect();
    lines.join("\n")
}

/// "1 shard", "3 shards".
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Colour never carries meaning alone: the word stands there too.
fn paint(colour: &str, text: &str) -> String {
    if print::coloured() {
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
