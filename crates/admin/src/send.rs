//! Sends commands that are data, and gives the answers as data. It decides nothing: neither what
//! is sent, nor in which order, nor what an answer means.

mod read;
mod translate;

use std::time::Duration;

use model::address::NodeAddress;
use model::command::{CommandError, NodeAnswer, NodeCommand};
use model::fault::Fault;
use redis::Pipeline;

use crate::Session;
use crate::connection::{Connection, Lane, NodeError, NodeErrorKind, Reply};

/// Sends these commands to a server at once, in this order.
pub(crate) async fn all(
    session: Session<'_>,
    address: NodeAddress,
    commands: &[NodeCommand],
    limit: Duration,
) -> Vec<Result<NodeAnswer, CommandError>> {
    let sent = match session
        .connections
        .on(lane(commands), address, session.credentials)
        .await
    {
        Ok(connection) => send(session, connection.within(limit), commands).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(answers) => answers,
        // One answer that is lost is all that are: they come over one connection.
        Err(error) => {
            let fault = Fault::from(error);
            let lost = |_| Err(CommandError::Lost(fault.clone()));
            commands.iter().map(lost).collect()
        }
    }
}

fn lane(commands: &[NodeCommand]) -> Lane {
    let moves = |command: &NodeCommand| matches!(command, NodeCommand::Migrate { .. });
    if commands.iter().any(moves) {
        Lane::Move
    } else {
        Lane::Talk
    }
}

async fn send(
    session: Session<'_>,
    mut connection: Connection<'_>,
    commands: &[NodeCommand],
) -> Result<Vec<Result<NodeAnswer, CommandError>>, NodeError> {
    let mut pipeline = Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(translate::words(command, session.credentials));
    }
    let name = commands.first().map_or("nothing", translate::name);
    let replies = connection.ask_pipeline(&pipeline, name).await?;
    let answers = commands.iter().zip(replies);
    Ok(answers
        .map(|(command, reply)| answer(&connection, command, reply))
        .collect())
}

fn answer(
    connection: &Connection<'_>,
    command: &NodeCommand,
    reply: Reply,
) -> Result<NodeAnswer, CommandError> {
    let value = reply.map_err(refusal)?;
    read::answer(command, value).map_err(|problem| {
        let name = [translate::name(command)];
        CommandError::Lost(connection.unexpected(&name, problem).into())
    })
}

/// An error that the server sent is its word that nothing was done.
fn refusal(error: NodeError) -> CommandError {
    match error.kind {
        NodeErrorKind::Answered { error, .. } => CommandError::Refused(error),
        NodeErrorKind::NotAllowed(words) => CommandError::Refused(words),
        NodeErrorKind::Loading => CommandError::Refused("LOADING".to_owned()),
        NodeErrorKind::Unreachable(_)
        | NodeErrorKind::TimedOut
        | NodeErrorKind::Unexpected { .. } => CommandError::Lost(error.into()),
    }
}
