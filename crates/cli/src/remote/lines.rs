//! The lines that come back while a command runs. A server that says nothing at all for a while is
//! not waited for.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use model::fault::{Class, Fault};
use server::wire::{ALIVE_SECONDS, Line};

/// How long a server may say nothing: it says that it lives much more often.
const SILENCE_LIMIT: Duration = Duration::from_secs(6 * ALIVE_SECONDS);

/// The longest line that is taken: a reply about thousands of nodes has some MiB.
const LINE_MAX: usize = 256 << 20;

/// The lines of an answer.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    /// What has come, from `begins` on not handed on yet.
    heard: Vec<u8>,
    begins: usize,
    /// Up to where there is no end of a line.
    looked: usize,
}

impl Lines {
    pub(super) fn of(answer: Response<Incoming>) -> Self {
        Self {
            body: answer.into_body(),
            heard: Vec::new(),
            begins: 0,
            looked: 0,
        }
    }

    /// The next line. Where it is dropped before it comes, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Line, Fault> {
        loop {
            if let Some(line) = self.whole_line() {
                return line;
            }
            let frame = tokio::time::timeout(SILENCE_LIMIT, self.body.frame());
            let frame = match frame.await {
                Err(_) => {
                    let seconds = SILENCE_LIMIT.as_secs();
                    return Err(gone(&format!("has said nothing for {seconds} s")));
                }
                Ok(None) => return Err(gone("has broken off")),
                Ok(Some(Err(error))) => return Err(gone("has broken off").with_cause(error)),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Some(bytes) = frame.data_ref() {
                self.heard.extend_from_slice(bytes);
            }
            if self.heard.len() - self.begins > LINE_MAX {
                return Err(gone("says more than can be taken"));
            }
        }
    }

    fn whole_line(&mut self) -> Option<Result<Line, Fault>> {
        let end = self.heard[self.looked..].iter().position(|it| *it == b'\n');
        let Some(end) = end.map(|it| self.looked + it) else {
            self.heard.drain(..self.begins);
            self.begins = 0;
            self.looked = self.heard.len();
            return None;
        };
        let line = serde_json::from_slice(&self.heard[self.begins..end]);
        self.begins = end + 1;
        self.looked = self.begins;
        Some(
            line.map_err(|error| super::http::strange("its line cannot be read").with_cause(error)),
        )
    }
}

/// The server does not say any more how it goes on.
fn gone(how: &str) -> Fault {
    Fault::new(
        "SY5014",
        Class::Unreachable,
        format!("the server {how}; the command may go on there"),
    )
    .with_help("see how far it is: shardyard ls, and shardyard status NAME")
}
