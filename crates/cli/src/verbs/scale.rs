//! Verbs that change an instance's shape: scale, rebalance.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use control::command::{Measure, Pace, ScaleRequest, Shape};
use control::{Command, Reply};
use model::fault::Fault;
use model::ids::WorkloadName;

use super::{Session, odd};
use crate::args::{By, ChangeArguments, RebalanceArguments, ScaleArguments};
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
    let weights: Result<BTreeMap<WorkloadName, u32>, Fault> = arguments
        .weight
        .iter()
        .map(|text| read::weight(text))
        .collect();
    let shape = Shape::Shares {
        by: match arguments.by {
            By::Slots => Measure::Slots,
            By::Keys => Measure::Keys,
        },
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
    match session.run(Command::Scale(request), None).await? {
        Reply::Plan(plan) => session.show(|| text::plan(&what, &plan, &[]), || json::plan(&plan)),
        Reply::Changed(changed) => {
            session.show(|| text::changed(verb, &changed), || json::changed(&changed));
        }
        other => return Err(odd(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
