//! A small HTTP client for tests: one request, one answer, over a connection of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Heard {
    /// Its status.
    pub status: u16,
    /// Its head, line by line.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Heard {
    /// Its body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Opens a connection and sends a request with these further head lines.
#[must_use]
pub fn send(address: &str, line: &str, head: &[String], body: Option<&Value>) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let text = body.map(ToString::to_string).unwrap_or_default();
    let has_host = head.iter().any(|it| it.starts_with("Host:"));
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !has_host {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for line in head {
        request.push_str(&format!("{line}\r\n"));
    }
    if body.is_some() {
        let length = text.len();
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        ));
    }
    request.push_str(&format!("\r\n{text}"));
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Asks and hears the whole answer.
#[must_use]
pub fn ask(address: &str, line: &str, head: &[String], body: Option<&Value>) -> Heard {
    let mut text = String::new();
    send(address, line, head, body)
        .read_to_string(&mut text)
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Heard {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
