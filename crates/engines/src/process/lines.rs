//! One end of a conversation in lines of JSON, for engine and supervisor alike.
//!
//! A line that is too long or is no JSON ends the conversation; nothing waits here without a limit
//! that its caller names.

use std::io::{self, ErrorKind};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::wire::LINE_BYTES_MAX;

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Lines {
    /// The end that this socket is.
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            // Most lines have some hundred bytes, and a hundred conversations may be open.
            reader: BufReader::with_capacity(512, reader),
            writer,
        }
    }

    /// Says something.
    pub(crate) async fn send<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.writer.write_all(&line).await
    }

    /// The next line; `None` where the other end has closed.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64);
        limited.read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            None => Ok(None),
            // Too long, or the other end was cut off in mid-line.
            Some(_) => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// What the other end says next; `None` where it has closed.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let line = self.next().await?;
        line.map(|line| Ok(serde_json::from_slice(&line)?))
            .transpose()
    }
}
