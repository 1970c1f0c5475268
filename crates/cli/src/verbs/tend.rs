//! The verbs of `trib` that change a cluster.

use std::process::ExitCode;
use std::time::Duration;

use control::command::{Manner, Pace, TendRequest, Wish};
use control::{Command, Reply};
use model::fault::{Class, Fault};
use model::finding::Severity;
use plan::tend::{Join, Rebalance, Reshard};

use super::trib::cluster;
use super::{Session, odd};
use crate::args::{MoveArguments, RunArguments, TribVerb};
use crate::read;
use crate::render::{json, text, trib};

pub(super) async fn run(session: &Session, verb: TribVerb) -> Result<ExitCode, Fault> {
    let (node, wish, confirm) = wish(&verb)?;
    let request = TendRequest {
        cluster: cluster(node, verb.login())?,
        wish,
        manner: match moves(&verb) {
            Some(moves) => manner(moves)?,
            None => Manner::default(),
        },
        dry_run: how(&verb).is_some_and(|it| it.dry_run),
        limit: Duration::from_secs(how(&verb).map_or(LIMIT_SECONDS, |it| it.wait_timeout)),
    };
    let what = format!(
        "{} the cluster of {}",
        request.wish.verb(),
        request.cluster.seed
    );
    match session.run(Command::Tend(request), confirm).await? {
        Reply::Plan(plan) => {
            session.show(|| text::plan(&what, &plan, &[]), || json::plan(&plan));
            Ok(ExitCode::SUCCESS)
        }
        Reply::Tended(tended) => {
            session.show(|| trib::tended(&tended), || json::tended(&tended));
            // What was asked for is done; only what keeps the cluster from being whole is worth
            // an exit code of its own.
            let is_whole = tended
                .findings
                .iter()
                .all(|it| it.severity < Severity::Critical);
            Ok(match is_whole {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(Class::Unhealthy.exit_code()),
            })
        }
        other => Err(odd(&other)),
    }
}

/// Stands for a limit that no verb without one reaches.
const LIMIT_SECONDS: u64 = 120;

/// Of which cluster, what, and the word by which a loss is agreed to.
fn wish(verb: &TribVerb) -> Result<(&str, Wish, Option<String>), Fault> {
    let (node, wish) = match verb {
        TribVerb::Fix {
            node,
            fix_with_unreachable_masters,
            confirm,
            ..
        } => {
            let unreachable = *fix_with_unreachable_masters;
            return Ok((node, Wish::Fix { unreachable }, confirm.clone()));
        }
        TribVerb::Reshard {
            node,
            from,
            to,
            slots,
            ..
        } => (node, reshard(from, to, *slots)?),
        TribVerb::Rebalance {
            node,
            weight,
            use_empty_masters,
            threshold,
            by,
            ..
        } => {
            let weights = weight.iter().map(|it| read::node_weight(it));
            let shares = Rebalance {
                weights: weights.collect::<Result<_, Fault>>()?,
                use_empty: *use_empty_masters,
                threshold_percent: *threshold,
            };
            let by = read::measure(*by);
            (node, Wish::Rebalance { shares, by })
        }
        TribVerb::AddNode {
            new,
            node,
            replica,
            master_id,
            ..
        } => {
            let wish = Join {
                node: read::address(new)?,
                as_replica: *replica,
                primary: master_id.as_deref().map(read::node).transpose()?,
            };
            (node, Wish::Join(wish))
        }
        TribVerb::DelNode { node, gone, .. } => (node, Wish::Leave(read::node(gone)?)),
        TribVerb::SetTimeout {
            node, milliseconds, ..
        } => (node, Wish::SetTimeout(Duration::from_millis(*milliseconds))),
        TribVerb::Create { .. }
        | TribVerb::Check { .. }
        | TribVerb::Info { .. }
        | TribVerb::Import(_)
        | TribVerb::Backup(_)
        | TribVerb::Call { .. } => {
            return Err(Fault::new(
                "SY5099",
                Class::Failed,
                "a verb that changes nothing was taken for one that does; this is a bug",
            ));
        }
    };
    Ok((node, wish, None))
}

fn reshard(from: &[String], to: &str, slots: u16) -> Result<Wish, Fault> {
    // `all` is redis-cli's word for every other primary.
    let all = from.iter().any(|it| it == "all");
    let from = from.iter().filter(|_| !all).map(|it| read::node(it));
    Ok(Wish::Reshard(Reshard {
        from: from.collect::<Result<_, Fault>>()?,
        to: read::node(to)?,
        slots,
    }))
}

const fn moves(verb: &TribVerb) -> Option<&MoveArguments> {
    match verb {
        TribVerb::Fix { moves, .. }
        | TribVerb::Reshard { moves, .. }
        | TribVerb::Rebalance { moves, .. } => Some(moves),
        TribVerb::AddNode { .. }
        | TribVerb::DelNode { .. }
        | TribVerb::SetTimeout { .. }
        | TribVerb::Create { .. }
        | TribVerb::Check { .. }
        | TribVerb::Info { .. }
        | TribVerb::Import(_)
        | TribVerb::Backup(_)
        | TribVerb::Call { .. } => None,
    }
}

fn how(verb: &TribVerb) -> Option<&RunArguments> {
    match verb {
        TribVerb::AddNode { run, .. }
        | TribVerb::DelNode { run, .. }
        | TribVerb::SetTimeout { run, .. } => Some(run),
        TribVerb::Fix { .. }
        | TribVerb::Reshard { .. }
        | TribVerb::Rebalance { .. }
        | TribVerb::Create { .. }
        | TribVerb::Check { .. }
        | TribVerb::Info { .. }
        | TribVerb::Import(_)
        | TribVerb::Backup(_)
        | TribVerb::Call { .. } => moves(verb).map(|it| &it.run),
    }
}

pub(super) fn manner(moves: &MoveArguments) -> Result<Manner, Fault> {
    let latency_max = moves.max_latency.as_deref();
    Ok(Manner {
        pace: Pace {
            latency_max: latency_max.map(read::duration).transpose()?,
            keys_per_second_max: moves.max_rate,
        },
        batch_keys_max: moves.pipeline,
        migrate_timeout: moves.timeout.map(Duration::from_millis),
        replace: moves.replace,
    })
}
