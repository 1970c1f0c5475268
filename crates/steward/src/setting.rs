//! Sees to it that nodes run with a setting.

use futures::future::join_all;
use model::command::{NodeAnswer, NodeCommand};
use model::step::Member;

use crate::error::StewardError;
use crate::{Ground, talk};

/// Sets it where it is otherwise. A server that does not know the setting is left alone: what it
/// does not have it cannot do.
pub(crate) async fn ensure_all(
    ground: Ground<'_>,
    nodes: &[Member],
    name: &str,
    value: &str,
) -> Result<(), StewardError> {
    let each = nodes.iter().map(|node| ensure(ground, *node, name, value));
    join_all(each).await.into_iter().collect()
}

async fn ensure(
    ground: Ground<'_>,
    node: Member,
    name: &str,
    value: &str,
) -> Result<(), StewardError> {
    let question = NodeCommand::Setting(name.to_owned());
    let answer = talk::one(ground, node, "CONFIG GET", question).await?;
    let NodeAnswer::Text(has) = answer else {
        return Ok(());
    };
    if has == value {
        return Ok(());
    }
    let order = NodeCommand::SetSetting {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    talk::one(ground, node, "CONFIG SET", order).await.map(drop)
}
