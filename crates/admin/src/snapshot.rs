//! Fetches what a server gives a new replica first: its data as one RDB file. It hands the bytes on
//! as they come, and keeps none.
//!
//! A replica asks with `SYNC`. The server forks, and answers with the length of the file and the
//! file (`$1234`), or, where it writes to the socket as it goes, with a mark of 40 bytes that no
//! file contains, the file, and the mark again (`$EOF:…`). Meanwhile it sends line ends.

use std::io;
use std::time::Duration;

use model::address::NodeAddress;
use model::fault::Fault;
use model::spec::Credentials;
use redis::Cmd;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::{Connections, NodeError, NodeErrorKind};

/// How long an answer to a login or a setting may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a server may be silent. While it prepares the file it sends a line end every second
/// (`replicationCron`), but not while it forks or its disk is slow.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// How long a line may be. The longest that a server sends here is an error.
const LINE_BYTES_MAX: u64 = 4096;

/// How many line ends may come before the file: one a second, for as long as a server may need.
const LINE_ENDS_MAX: u32 = 24 * 3600;

/// The length of the mark at the end.
const MARK_BYTES: usize = 40;

/// Where a file's bytes go.
pub(crate) type Take<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), Fault> + Send);

/// A connection of its own, in plain text or over TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Hands on the whole file.
pub(crate) async fn fetch(
    connections: &Connections,
    address: NodeAddress,
    credentials: Option<&Credentials>,
    take: Take<'_>,
) -> Result<(), Fault> {
    let stream = connect(connections, address).await?;
    let mut talk = Talk {
        address,
        reader: BufReader::with_capacity(CHUNK_BYTES, stream),
    };
    if let Some(login) = credentials {
        talk.log_in(login).await?;
    }
    // A server that knows one of these not says so, and does without.
    for (name, value) in [("capa", "eof"), ("rdb-only", "1")] {
        let mut words = redis::cmd("REPLCONF");
        words.arg(name).arg(value);
        let _ = talk.ask(&words).await?;
    }
    talk.send(&redis::cmd("SYNC")).await?;
    match talk.head().await? {
        Head::Length(length) => talk.by_length(length, take).await,
        Head::Mark(mark) => talk.by_mark(&mark, take).await,
    }
}

async fn connect(
    connections: &Connections,
    address: NodeAddress,
) -> Result<Box<dyn Stream>, NodeError> {
    let (tls, limit) = connections.manner();
    let to = (address.ip, address.port);
    let unreachable =
        |error: io::Error| fault(address, NodeErrorKind::Unreachable(error.to_string()));
    let made = async {
        let plain = TcpStream::connect(to).await.map_err(unreachable)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(plain),
            Some(tls) => {
                let problem = |error: String| fault(address, NodeErrorKind::Unreachable(error));
                let connector = tls.connector().map_err(problem)?;
                let connected = connector.connect(address.ip.into(), plain);
                Box::new(connected.await.map_err(unreachable)?)
            }
        };
        Ok(stream)
    };
    timeout(limit, made)
        .await
        .unwrap_or(Err(fault(address, NodeErrorKind::TimedOut)))
}

fn fault(address: NodeAddress, kind: NodeErrorKind) -> NodeError {
    NodeError { address, kind }
}

/// How the file comes.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Head {
    /// So many bytes.
    Length(u64),
    /// Until this comes.
    Mark(Vec<u8>),
}

/// Reads `$1234` or `$EOF:` and the mark; anything else is `None`.
fn read_head(line: &[u8]) -> Option<Head> {
    let rest = line.strip_prefix(b"$")?;
    if let Some(mark) = rest.strip_prefix(b"EOF:") {
        return (mark.len() == MARK_BYTES).then(|| Head::Mark(mark.to_vec()));
    }
    let digits = std::str::from_utf8(rest).ok()?;
    digits.parse().ok().map(Head::Length)
}

struct Talk {
    address: NodeAddress,
    reader: BufReader<Box<dyn Stream>>,
}

impl Talk {
    fn error(&self, kind: NodeErrorKind) -> NodeError {
        fault(self.address, kind)
    }

    fn lost(&self, error: &io::Error) -> NodeError {
        self.error(NodeErrorKind::Unreachable(error.to_string()))
    }

    fn odd(&self, problem: &str) -> NodeError {
        self.error(NodeErrorKind::Unexpected {
            command: "SYNC".to_owned(),
            problem: problem.to_owned(),
        })
    }

    async fn log_in(&mut self, login: &Credentials) -> Result<(), NodeError> {
        let mut words = redis::cmd("AUTH");
        // Servers before 6 know no users and take the password alone.
        if login.user != "default" {
            words.arg(&login.user);
        }
        words.arg(login.password.expose());
        let answer = self.ask(&words).await?;
        match answer.strip_prefix('-') {
            None => Ok(()),
            Some(words) => Err(self.error(NodeErrorKind::NotAllowed(words.to_owned()))),
        }
    }

    async fn send(&mut self, words: &Cmd) -> Result<(), NodeError> {
        let bytes = words.get_packed_command();
        let stream = self.reader.get_mut();
        let sent = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        match timeout(ANSWER_LIMIT, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(self.error(NodeErrorKind::TimedOut)),
        }
    }

    /// Sends a command whose answer is one line.
    async fn ask(&mut self, words: &Cmd) -> Result<String, NodeError> {
        self.send(words).await?;
        let line = self.line(ANSWER_LIMIT).await?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// A line without its end.
    async fn line(&mut self, limit: Duration) -> Result<Vec<u8>, NodeError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        match timeout(limit, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(_)) if line.ends_with(b"\n") => {
                line.truncate(line.trim_ascii_end().len());
                Ok(line)
            }
            Ok(Ok(_)) if (line.len() as u64) < LINE_BYTES_MAX => {
                let ended = "the connection ended before the file".to_owned();
                Err(self.error(NodeErrorKind::Unreachable(ended)))
            }
            Ok(Ok(_)) => Err(self.odd("a line does not end")),
            Ok(Err(error)) => Err(self.lost(&error)),
            Err(_) => Err(self.error(NodeErrorKind::TimedOut)),
        }
    }

    async fn head(&mut self) -> Result<Head, NodeError> {
        for _ in 0..LINE_ENDS_MAX {
            let line = self.line(SILENCE_LIMIT).await?;
            if line.is_empty() {
                continue;
            }
            if let Some(words) = line.strip_prefix(b"-") {
                let error = String::from_utf8_lossy(words).into_owned();
                return Err(
                    self.error(if error.starts_with("NO") && error.contains("AUTH") {
                        NodeErrorKind::NotAllowed(error)
                    } else {
                        NodeErrorKind::Answered {
                            command: "SYNC".to_owned(),
                            error,
                        }
                    }),
                );
            }
            return read_head(&line).ok_or_else(|| self.odd("it announces no file"));
        }
        Err(self.error(NodeErrorKind::TimedOut))
    }

    /// The next bytes; never none.
    async fn bytes(&mut self) -> Result<&[u8], NodeError> {
        let address = self.address;
        match timeout(SILENCE_LIMIT, self.reader.fill_buf()).await {
            Ok(Ok([])) => Err(fault(
                address,
                NodeErrorKind::Unreachable("the connection ended within the file".to_owned()),
            )),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(fault(
                address,
                NodeErrorKind::Unreachable(error.to_string()),
            )),
            Err(_) => Err(fault(address, NodeErrorKind::TimedOut)),
        }
    }

    async fn by_length(&mut self, length: u64, take: Take<'_>) -> Result<(), Fault> {
        let mut left = length;
        while left > 0 {
            let bytes = self.bytes().await?;
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            take(&bytes[..most])?;
            self.reader.consume(most);
            left -= most as u64;
        }
        Ok(())
    }

    async fn by_mark(&mut self, mark: &[u8], take: Take<'_>) -> Result<(), Fault> {
        let mut tail: Vec<u8> = Vec::new();
        while tail != mark {
            let bytes = self.bytes().await?;
            let count = bytes.len();
            tail.extend_from_slice(bytes);
            self.reader.consume(count);
            // What may be the mark is held back.
            let known = tail.len().saturating_sub(MARK_BYTES);
            take(&tail[..known])?;
            tail.drain(..known);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const MARK: [u8; MARK_BYTES] = [b'm'; MARK_BYTES];

    #[test]
    fn a_file_is_announced_by_its_length_or_its_mark() {
        assert_eq!(read_head(b"$1234"), Some(Head::Length(1234)));
        let line = [b"$EOF:".as_slice(), &MARK].concat();
        assert_eq!(read_head(&line), Some(Head::Mark(MARK.to_vec())));
        for odd in ["", "$", "$-1", "+OK", "$EOF:short", "$12x"] {
            assert_eq!(read_head(odd.as_bytes()), None, "{odd}");
        }
    }

    /// What is handed on where these pieces come, one after the other.
    async fn handed_on(pieces: Vec<Vec<u8>>) -> Result<Vec<u8>, Fault> {
        let (near, mut far) = tokio::io::duplex(8);
        let sending = tokio::spawn(async move {
            for piece in pieces {
                if far.write_all(&piece).await.is_err() {
                    return;
                }
            }
        });
        let mut talk = Talk {
            address: NodeAddress::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1),
            reader: BufReader::with_capacity(64, Box::new(near)),
        };
        let mut got = Vec::new();
        let mut take = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        let done = match talk.head().await? {
            Head::Length(length) => talk.by_length(length, &mut take).await,
            Head::Mark(mark) => talk.by_mark(&mark, &mut take).await,
        };
        sending.abort();
        done.map(|()| got)
    }

    #[tokio::test]
    async fn the_file_is_handed_on_without_its_mark_and_an_end_within_it_is_an_error() {
        let file = [b"REDIS".as_slice(), &[b'm'; 39], b"end"].concat();
        let head = [b"\n\n$EOF:".as_slice(), &MARK, b"\r\n"].concat();
        let whole = vec![head.clone(), file.clone(), MARK.to_vec()];
        assert_eq!(handed_on(whole).await.unwrap(), file);
        let cut = handed_on(vec![head, file.clone(), MARK[1..].to_vec()]).await;
        assert_eq!(cut.unwrap_err().code.0, "SY2001");
        let length = |more: usize| format!("\n${}\r\n", file.len() + more).into_bytes();
        assert_eq!(
            handed_on(vec![length(0), file.clone()]).await.unwrap(),
            file
        );
        assert!(handed_on(vec![length(1), file.clone()]).await.is_err());
        let refused = handed_on(vec![b"-NOMASTERLINK Can't SYNC\r\n".to_vec()]).await;
        assert_eq!(refused.unwrap_err().code.0, "SY2004");
    }
}
