//! Hands on the lines of a container's log, and goes on across its restarts.

use std::time::Duration;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use tokio::time::sleep;

use super::client::{Daemon, DaemonError};

/// The pause before a log that ended is looked at again: its container may be started again.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// Reads a log. With `follow` it ends only when it is dropped, or when the container is gone.
pub(crate) async fn read(
    daemon: &Daemon,
    container: &str,
    (tail, follow): (usize, bool),
    line: &mut (dyn FnMut(&str) + Send),
) -> Result<(), DaemonError> {
    let mut place = Place::default();
    let mut first = true;
    // It ends with the log where it is not followed, and otherwise when the caller has enough.
    loop {
        let builder = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .timestamps(true);
        let options = if first {
            builder.tail(&tail.to_string())
        } else {
            builder.since(place.since())
        };
        let mut pieces = Box::pin(daemon.docker.logs(container, Some(options.build())));
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => place.take(&String::from_utf8_lossy(&piece.into_bytes()), line),
                Err(error) => {
                    let error = daemon.failure("read a log", error);
                    if follow && error.is_passing() {
                        break;
                    }
                    return Err(error);
                }
            }
        }
        if !follow {
            return Ok(());
        }
        first = false;
        place.open_again();
        sleep(AGAIN_PAUSE).await;
    }
}

/// The last lines of a log; none where it cannot be read.
pub(crate) async fn last_lines(daemon: &Daemon, container: &str, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut take = |line: &str| lines.push(line.to_owned());
    let _ = read(daemon, container, (count, false), &mut take).await;
    lines
}

/// How far a log was read, so that nothing is handed on twice.
#[derive(Debug, Default)]
struct Place {
    /// The time of the last line, as the daemon writes it: in UTC and with nine digits after the
    /// second, so that texts can be compared.
    last: String,
    /// The time up to which lines were handed on before the log was opened again.
    known: String,
}

impl Place {
    /// Takes a line with its time before it.
    fn take(&mut self, piece: &str, line: &mut (dyn FnMut(&str) + Send)) {
        let piece = piece.trim_end_matches(['\n', '\r']);
        let (time, text) = piece.split_once(' ').unwrap_or((piece, ""));
        if time > self.known.as_str() {
            time.clone_into(&mut self.last);
            line(text);
        }
    }

    /// From here on what was handed on before comes once more.
    fn open_again(&mut self) {
        self.known.clone_from(&self.last);
    }

    /// From which second on there may be more.
    fn since(&self) -> i32 {
        let time: Option<jiff::Timestamp> = self.last.parse().ok();
        let second = time.map_or(0, jiff::Timestamp::as_second);
        i32::try_from(second).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_handed_on_once_though_it_is_read_twice() {
        let mut place = Place::default();
        let mut lines = Vec::new();
        let mut take = |line: &str| lines.push(line.to_owned());
        let (one, two) = (
            "2026-11-26T21:00:00.000000001Z one\n",
            "2026-11-26T21:00:00.000000002Z",
        );
        place.take(one, &mut take);
        place.take(&format!("{two} two words\r\n"), &mut take);
        place.take(&format!("{two} at the same time\n"), &mut take);
        place.open_again();
        place.take(one, &mut take);
        place.take(&format!("{two} two words\n"), &mut take);
        place.take("2026-11-26T21:00:00.000000003Z \n", &mut take);
        assert_eq!(lines, ["one", "two words", "at the same time", ""]);
        assert_eq!(place.since(), 1_795_726_800);
    }
}
