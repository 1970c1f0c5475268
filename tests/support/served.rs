//! `shardyard serve` under test, and its admin.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{Heard, ask};
use crate::{Shardyard, kill, wait_until};

/// How long an operation may take.
const LIMIT: Duration = Duration::from_secs(90);

/// A server, and who asks it.
#[derive(Debug)]
pub struct Served {
    child: Child,
    /// Where it listens: `127.0.0.1:40001`.
    pub address: String,
    /// The head lines of a browser in which the admin is logged in.
    pub login: Vec<String>,
}

impl Drop for Served {
    fn drop(&mut self) {
        kill(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Served {
    /// Ends it at once, as when its machine is cut off.
    pub fn die(&mut self) {
        kill(self.child.id(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Starts one, and logs in by the one-time token.
    ///
    /// # Panics
    /// Where the token counts twice.
    #[must_use]
    pub fn start(shardyard: &Shardyard) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "-o", "json"];
        let mut child = shardyard.start(&arguments);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let mut served = Self {
            child,
            address: address.to_owned(),
            login: Vec::new(),
        };
        let token = json!({ "token": said["token"] });
        let heard = served.ask("POST /api/v1/login", Some(&token));
        assert_eq!(heard.status, 200, "{}", heard.body);
        served.login = served.session(&heard);
        let again = ask(&served.address, "POST /api/v1/login", &[], Some(&token));
        assert_eq!(again.status, 401, "the token counts once");
        served
    }

    /// The head lines of a browser with the session that this answer began.
    ///
    /// # Panics
    /// Where the cookie can be read by a page.
    #[must_use]
    pub fn session(&self, heard: &Heard) -> Vec<String> {
        let mut lines = heard.head.lines();
        let cookie = lines
            .find_map(|it| it.strip_prefix("set-cookie: "))
            .unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        vec![
            format!("Cookie: {pair}"),
            format!("Origin: http://{}", self.address),
        ]
    }

    /// Asks as the admin.
    #[must_use]
    pub fn ask(&self, line: &str, body: Option<&Value>) -> Heard {
        ask(&self.address, line, &self.login, body)
    }

    /// Asks as the admin, and gives a good answer.
    ///
    /// # Panics
    /// Where the answer is none.
    pub fn ok(&self, line: &str, body: Option<&Value>) -> Value {
        let heard = self.ask(line, body);
        assert!((200..300).contains(&heard.status), "{line}: {heard:?}");
        heard.json()
    }

    /// Begins an operation and waits for its good end.
    ///
    /// # Panics
    /// Where it comes to another one.
    pub fn done(&self, line: &str, body: &Value) -> Value {
        let begun = self.ok(line, Some(body));
        let id = begun["id"].as_str().unwrap().to_owned();
        let get = format!("GET /api/v1/operations/{id}");
        wait_until(line, LIMIT, || self.ok(&get, None)["state"] != "running");
        let ended = self.ok(&get, None);
        assert_eq!(ended["state"], "done", "{ended}");
        ended
    }

    /// The head lines of a token of this role.
    #[must_use]
    pub fn token(&self, role: &str) -> Vec<String> {
        let body = json!({ "name": "script", "role": role });
        let made = self.ok("POST /api/v1/tokens", Some(&body));
        vec![format!(
            "Authorization: Bearer {}",
            made["token"].as_str().unwrap()
        )]
    }
}
