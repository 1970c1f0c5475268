//! A client of few lines: one connection, commands in, replies out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A server's reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A status, a number or a text.
    Text(String),
    /// An error.
    Error(String),
    /// Nothing.
    Nil,
    /// Several replies.
    List(Vec<Self>),
}

impl Reply {
    /// The text of a text.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Error(_) | Self::Nil | Self::List(_) => "",
        }
    }
}

impl Client {
    /// Connects; an error where nobody listens.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a command and takes its reply.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<Reply> {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(text.as_bytes())?;
        self.reply()
    }

    /// Sends commands at once, written as the protocol has them, and counts the errors among so
    /// many replies.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub fn flood(&mut self, commands: &[u8], replies: usize) -> std::io::Result<usize> {
        let mut writing = self.stream.get_ref().try_clone()?;
        std::thread::scope(|scope| {
            let written = scope.spawn(move || writing.write_all(commands));
            let mut errors = 0;
            for _ in 0..replies {
                errors += usize::from(matches!(self.reply()?, Reply::Error(_)));
            }
            written.join().unwrap()?;
            Ok(errors)
        })
    }

    fn reply(&mut self) -> std::io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        Ok(match kind {
            "-" => Reply::Error(rest.to_owned()),
            "$" => match rest.parse::<usize>() {
                Err(_) => Reply::Nil,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
                }
            },
            "*" => {
                let count = rest.parse::<usize>().unwrap_or(0);
                let items: std::io::Result<Vec<Reply>> = (0..count).map(|_| self.reply()).collect();
                Reply::List(items?)
            }
            _ => Reply::Text(rest.to_owned()),
        })
    }

    /// Whether this node says that the cluster serves all slots, and that its own link is up where
    /// it is a replica.
    fn is_ready(&mut self, nodes: usize) -> bool {
        let Ok(info) = self.ask(&["CLUSTER", "INFO"]) else {
            return false;
        };
        let has = |line: &str| info.text().lines().any(|it| it.trim_end() == line);
        if !(has("cluster_state:ok")
            && has("cluster_slots_ok:16384")
            && has(&format!("cluster_known_nodes:{nodes}")))
        {
            return false;
        }
        match self.ask(&["ROLE"]) {
            Ok(Reply::List(words)) if words.first().map(Reply::text) == Some("slave") => {
                words.get(3).map(Reply::text) == Some("connected")
            }
            Ok(Reply::List(_)) => true,
            Ok(_) | Err(_) => false,
        }
    }
}

/// Waits until every node says `cluster_state:ok`, 16384 slots, all nodes known, and its replica
/// link up; `None` where they do not within the limit. With `replicas` only a cluster that has so
/// many replicas in all counts.
pub fn all_ready(addresses: &[SocketAddr], replicas: usize, limit: Duration) -> Option<Duration> {
    let began = Instant::now();
    let mut waiting: Vec<Client> = Vec::new();
    for address in addresses {
        waiting.push(Client::connect(*address).ok()?);
    }
    loop {
        let mut linked = 0;
        let mut ready = true;
        for client in &mut waiting {
            ready = ready && client.is_ready(addresses.len());
            if !ready {
                break;
            }
            if let Ok(Reply::List(words)) = client.ask(&["ROLE"]) {
                linked += usize::from(words.first().map(Reply::text) == Some("slave"));
            }
        }
        if ready && linked == replicas {
            return Some(began.elapsed());
        }
        if began.elapsed() > limit {
            return None;
        }
        // Light enough not to be part of what is measured.
        std::thread::sleep(Duration::from_millis(10));
    }
}
