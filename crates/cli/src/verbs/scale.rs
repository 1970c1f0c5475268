//! Verbs that change an instance's shape: scale, rebalance.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use control::command::{FailoverRequest, Handover, Pace, ScaleRequest, Shape};
use control::{Command, Reply};
use model::fault::Fault;
use model::ids::{InstanceName, WorkloadName};
use model::slots::Slot;

use super::{Session, odd};
use crate::args::{
    CancelArguments, ChangeArguments, FailoverArguments, NameArguments, RebalanceArguments,
    ScaleArguments,
};
use crate::read;
use crate::render::{json, text};

pub(super) async fn scale(
    session: &Session,
    arguments: &ScaleArguments,
) -> Result<ExitCode, Fault> {
    let given = read::scale_variables(arguments)?;
    let shape = Shape::Numbers {
        given: given.values,
        in_arguments: given.in_arguments,
    };
    change(session, "scale", &arguments.name, shape, &arguments.change).await
}

pub(super) async fn rebalance(
    session: &Session,
    arguments: &RebalanceArguments,
) -> Result<ExitCode, Fault> {
    if let Some(slot) = arguments.isolate.and_then(Slot::new) {
        let onto = arguments.onto.as_deref().map(read::workload).transpose()?;
        let shape = Shape::Alone { slot, onto };
        return change(
            session,
            "rebalance",
            &arguments.name,
            shape,
            &arguments.change,
        )
        .await;
    }
    let weights: Result<BTreeMap<WorkloadName, u32>, Fault> = arguments
        .weight
        .iter()
        .map(|text| read::weight(text))
        .collect();
    let shape = Shape::Shares {
        by: read::measure(arguments.by),
        weights: weights?,
        threshold_percent: arguments.threshold,
    };
    change(
        session,
        "rebalance",
        &arguments.name,
        shape,
        &arguments.change,
    )
    .await
}

pub(super) async fn failover(
    session: &Session,
    arguments: &FailoverArguments,
) -> Result<ExitCode, Fault> {
    let which = match arguments.node.as_deref() {
        None => Handover::Spread,
        Some(node) if node.contains(':') => Handover::At(read::address(node)?),
        Some(node) => Handover::Of(read::workload(node)?),
    };
    let request = FailoverRequest {
        name: read::instance(&arguments.name)?,
        which,
        dry_run: arguments.dry_run,
        limit: Duration::from_secs(arguments.wait_timeout),
    };
    let what = format!("failover {}", request.name);
    show(session, Command::Failover(request), ("failover", &what)).await
}

pub(super) async fn cancel(
    session: &Session,
    arguments: &CancelArguments,
) -> Result<ExitCode, Fault> {
    let change_arguments = &arguments.change;
    change(
        session,
        "cancel",
        &arguments.name,
        Shape::AsItIs,
        change_arguments,
    )
    .await
}

/// Tells whoever works on an instance to stand still, or to go on.
pub(super) async fn tell(
    session: &Session,
    arguments: &NameArguments,
    command: impl Fn(InstanceName) -> Command,
) -> Result<ExitCode, Fault> {
    match session
        .run(command(read::instance(&arguments.name)?), None)
        .await?
    {
        Reply::Told {
            instance,
            operator,
            word,
        } => session.show(
            || text::told(&instance, &operator, word),
            || json::told(&instance, &operator, word),
        ),
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(
    session: &Session,
    verb: &'static str,
    name: &str,
    shape: Shape,
    arguments: &ChangeArguments,
) -> Result<ExitCode, Fault> {
    let latency_max = arguments.max_latency.as_deref();
    let request = ScaleRequest {
        name: read::instance(name)?,
        verb,
        shape,
        pace: Pace {
            latency_max: latency_max.map(read::duration).transpose()?,
            keys_per_second_max: arguments.max_rate,
        },
        dry_run: arguments.dry_run,
        limit: Duration::from_secs(arguments.wait_timeout),
    };
    let what = format!("{verb} {}", request.name);
    show(session, Command::Scale(request), (verb, &what)).await
}

async fn show(
    session: &Session,
    command: Command,
    (verb, what): (&str, &str),
) -> Result<ExitCode, Fault> {
    match session.run(command, None).await? {
        Reply::Plan(plan) => session.show(|| text::plan(what, &plan, &[]), || json::plan(&plan)),
        Reply::Changed(changed) => {
            session.show(|| text::changed(verb, &changed), || json::changed(&changed));
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
