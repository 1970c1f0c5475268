//! The terminal: one command of redis-cli, sent to the node that owns its key. What could lose data
//! or change the cluster needs the instance's name; what shows secrets or never ends is not taken.

use axum::http::StatusCode;
use control::hands::Hands;
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::instance::Instance;

use crate::problem::Problem;
use crate::server::unconfirmed;
use crate::wire::ExecAnswer;

/// How many words a command has at most, and how long all of them are.
const WORDS_MAX: usize = 1000;
const BYTES_MAX: usize = 1 << 20;

/// How often a command is redirected at most: more is a cluster that moves.
const REDIRECTS_MAX: usize = 5;

/// Commands that show secrets, change who may what, or turn the connection into a stream.
const NEVER: [&str; 14] = [
    "ACL",
    "AUTH",
    "CONFIG",
    "HELLO",
    "MONITOR",
    "PSUBSCRIBE",
    "PSYNC",
    "QUIT",
    "REPLCONF",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SYNC",
];

/// Commands that can lose data or change the cluster; scripts can hold any of them.
const SEVERE: [&str; 19] = [
    "DEBUG",
    "EVAL",
    "EVALSHA",
    "EVALSHA_RO",
    "EVAL_RO",
    "FAILOVER",
    "FCALL",
    "FCALL_RO",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "MIGRATE",
    "MODULE",
    "REPLICAOF",
    "RESTORE",
    "SCRIPT",
    "SHUTDOWN",
    "SLAVEOF",
    "SWAPDB",
];

/// What of CLUSTER only looks.
const CLUSTER_LOOKS: [&str; 14] = [
    "COUNTKEYSINSLOT",
    "COUNT-FAILURE-REPORTS",
    "GETKEYSINSLOT",
    "GETSLOTMIGRATIONS",
    "HELP",
    "INFO",
    "KEYSLOT",
    "LINKS",
    "MYID",
    "MYSHARDID",
    "NODES",
    "REPLICAS",
    "SHARDS",
    "SLOTS",
];

/// What of CLIENT only looks.
const CLIENT_LOOKS: [&str; 5] = ["GETNAME", "HELP", "ID", "INFO", "LIST"];

/// Whether a command may be sent.
pub(crate) fn must_be_allowed(
    command: &[String],
    confirm: Option<&str>,
    instance: &str,
) -> Result<(), Problem> {
    let word = |at: usize| {
        command
            .get(at)
            .map(|it| it.to_ascii_uppercase())
            .unwrap_or_default()
    };
    let (first, second) = (word(0), word(1));
    let length: usize = command.iter().map(String::len).sum();
    if first.is_empty() || command.len() > WORDS_MAX || length > BYTES_MAX {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            "the command is empty or too long",
        ));
    }
    if NEVER.contains(&first.as_str()) {
        let message = format!("{first} is not for this terminal");
        return Err(refused(StatusCode::UNPROCESSABLE_ENTITY, &message));
    }
    let looks = match first.as_str() {
        "CLUSTER" => CLUSTER_LOOKS.contains(&second.as_str()),
        "CLIENT" => CLIENT_LOOKS.contains(&second.as_str()),
        other => !SEVERE.contains(&other),
    };
    if looks || confirm == Some(instance) {
        return Ok(());
    }
    let lost = vec![format!(
        "{first} {second} can lose data or change the cluster"
    )];
    Err(unconfirmed(instance, lost).into())
}

fn refused(status: StatusCode, message: &str) -> Problem {
    Problem::new(
        status,
        "SY6012",
        message,
        "use the command line where the server runs: shardyard cli NAME",
    )
}

/// Sends it, to the first of these that answers, and on to where a redirect leads.
pub(crate) async fn run(
    hands: &Hands,
    instance: &Instance,
    addresses: &[NodeAddress],
    command: &[String],
    follows: bool,
) -> Result<ExecAnswer, Problem> {
    // What applications may do, a person at the terminal may.
    let spec = &instance.spec;
    let login = spec.application.as_ref().or(spec.operator.as_ref());
    let mut silent = Fault::new(
        "SY4022",
        Class::Unreachable,
        "no server of the instance answers",
    );
    for address in addresses {
        let mut address = *address;
        for _ in 0..=REDIRECTS_MAX {
            let (text, failed) = match hands.nodes.call(address, command, login).await {
                Ok(text) => (text, false),
                Err(fault) if fault.class == Class::Unreachable => {
                    silent = fault;
                    break;
                }
                Err(fault) => (said(&fault), true),
            };
            if let Some(next) = redirect(&text).filter(|_| failed && follows)
                && instance.layout.workload_at(next).is_some()
            {
                address = next;
                continue;
            }
            let workload = instance.layout.workload_at(address);
            return Ok(ExecAnswer {
                address: address.to_string(),
                workload: workload.map(ToString::to_string).unwrap_or_default(),
                text,
                failed,
            });
        }
    }
    Err(silent.into())
}

/// What the server said against it.
fn said(fault: &Fault) -> String {
    let words = fault.message.split_once(" refused ");
    let words = words.and_then(|(_, rest)| rest.split_once(": "));
    format!(
        "(error) {}",
        words.map_or(fault.message.as_str(), |it| it.1)
    )
}

/// Where a server says that the key is.
fn redirect(text: &str) -> Option<NodeAddress> {
    let rest = &text[text.find("MOVED")?..];
    rest.split(|it: char| it.is_whitespace() || it == '`' || it == '\'')
        .find_map(NodeAddress::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(command: &str, confirm: Option<&str>) -> bool {
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        must_be_allowed(&words, confirm, "orders").is_ok()
    }

    #[test]
    fn what_can_lose_data_needs_the_name_and_what_shows_secrets_is_not_taken() {
        for free in ["get a", "info", "set a b", "cluster nodes", "client list"] {
            assert!(may(free, None), "{free}");
        }
        for severe in [
            "flushall",
            "Eval x 0",
            "cluster reset hard",
            "shutdown",
            "client kill x",
        ] {
            assert!(!may(severe, None), "{severe}");
            assert!(!may(severe, Some("other")), "{severe}");
            assert!(may(severe, Some("orders")), "{severe}");
        }
        for never in ["config get *", "ACL LIST", "monitor", ""] {
            assert!(!may(never, Some("orders")), "{never}");
        }
    }

    #[test]
    fn a_redirect_leads_to_its_node() {
        let there = NodeAddress::parse("10.0.0.4:6379");
        assert_eq!(redirect("(error) MOVED 5798 10.0.0.4:6379"), there);
        assert_eq!(redirect("(error) ERR no such thing"), None);
    }
}
