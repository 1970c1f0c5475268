//! A server's setting that is changed for a moment and put back.

use std::time::Duration;

use model::address::NodeAddress;

use crate::Session;
use crate::connection::NodeError;
use crate::observe::text;

/// How often putting back is tried. The server answered a moment ago, so that a second refusal
/// means that it is gone, and with it the setting.
const RESTORE_TRIES: u32 = 3;

/// A setting's value before it was changed.
#[derive(Debug)]
pub(crate) struct Changed {
    address: NodeAddress,
    name: &'static str,
    before: String,
}

/// Sets a setting and gives what it was; `None` where it had this value already.
pub(crate) async fn change(
    session: Session<'_>,
    address: NodeAddress,
    name: &'static str,
    value: &str,
) -> Result<Option<Changed>, NodeError> {
    let mut connection = session.to(address).await?;
    let question = ["CONFIG", "GET", name];
    let answer = connection.ask(&question).await?;
    let redis::Value::Array(words) = answer else {
        return Err(connection.unexpected(&question, "it is no list"));
    };
    let before = match words.into_iter().nth(1) {
        Some(value) => text(&connection, &question, value)?,
        None => return Err(connection.unexpected(&question, "the setting is unknown")),
    };
    if before == value {
        return Ok(None);
    }
    connection.ask(&["CONFIG", "SET", name, value]).await?;
    Ok(Some(Changed {
        address,
        name,
        before,
    }))
}

/// Puts a setting back.
pub(crate) async fn restore(session: Session<'_>, changed: Changed) -> Result<(), NodeError> {
    let mut tries = 0;
    loop {
        let words = ["CONFIG", "SET", changed.name, &changed.before];
        let answer = match session.to(changed.address).await {
            Ok(mut connection) => connection.ask(&words).await.map(drop),
            Err(error) => Err(error),
        };
        tries += 1;
        if answer.is_ok() || tries == RESTORE_TRIES {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
