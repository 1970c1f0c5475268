//! A server elsewhere that runs the commands: what was typed becomes a command here, as ever, and
//! its events, questions and reply come back over HTTP. Nothing is decided or rendered here.

mod http;
mod lines;
mod token;
mod url;

use control::approve::Approver;
use control::cancel::Cancel;
use control::{Command, Reply};
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN, SET_COOKIE};
use hyper::{Method, Response, body::Incoming};
use model::event::Audience;
use model::fault::{Class, Fault};
use model::secret::Secret;
use serde::Serialize;
use serde_json::{Value, json};
use server::wire::{Answer, AnswerBody, Asked, CommandBody, Line, VERSION};

use self::http::Client;
use self::lines::Lines;
use self::url::Url;
use crate::args::General;
use crate::settings::Settings;

/// What a token of ours is called at the server.
const TOKEN_NAME: &str = "command-line";

/// A server elsewhere.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    token: Option<Secret>,
}

/// Who hears what happens, who answers, and whether the user wants to stop.
pub(crate) struct Listener<'a> {
    pub(crate) audience: &'a dyn Audience,
    pub(crate) approver: &'a dyn Approver,
    pub(crate) cancel: &'a Cancel,
}

/// Who logs in: by name and password, or by the one-time token.
pub(crate) enum Person {
    /// The user and the password.
    Named(String, Secret),
    /// The one-time token.
    First(Secret),
}

impl Remote {
    /// The server that the options name; `None` where they name none.
    pub(crate) fn new(general: &General, settings: &Settings) -> Result<Option<Self>, Fault> {
        let Some(text) = &general.server else {
            return Ok(None);
        };
        let url = Url::parse(text)?;
        let token = token::find(&url, general.token_file.as_deref(), settings)?;
        let client = Client::new(url, general.ca.as_deref())?;
        Ok(Some(Self { client, token }))
    }

    /// Has a command run to its end.
    pub(crate) async fn run(
        &self,
        command: &Command,
        listener: Listener<'_>,
    ) -> Result<Reply, Fault> {
        let command = serde_json::to_value(command).map_err(|error| unwritable(&error))?;
        let body = CommandBody {
            version: VERSION.to_owned(),
            command,
        };
        let mut lines = Lines::of(self.post("/api/v1/commands", &body).await?);
        let (mut id, mut told_to_stop) = (String::new(), false);
        loop {
            let wants_to_stop = !told_to_stop && !id.is_empty();
            let line = tokio::select! {
                line = lines.next() => line?,
                () = listener.cancel.cancelled(), if wants_to_stop => {
                    told_to_stop = true;
                    // Where it has ended meanwhile, its end is the next line.
                    let cancel = format!("/api/v1/commands/{id}/cancel");
                    let _ = self.post(&cancel, &json!({})).await;
                    continue;
                }
            };
            match line {
                Line::Begun(new) => id = new,
                Line::Event(event) => listener.audience.tell(event),
                Line::Alive => {}
                Line::Question { number, question } => {
                    let answer = answer(&question, listener.approver);
                    self.answer(&id, number, answer).await?;
                }
                Line::Reply(reply) => return Ok(*reply),
                Line::Fault(fault) => return Err(fault),
            }
        }
    }

    async fn answer(&self, id: &str, question: u64, answer: Answer) -> Result<(), Fault> {
        let body = AnswerBody { question, answer };
        let path = format!("/api/v1/commands/{id}/answer");
        self.post(&path, &body).await.map(drop)
    }

    /// Asks one of the API's own routes.
    pub(crate) async fn ask(&self, path: &str, body: &impl Serialize) -> Result<Value, Fault> {
        http::json(self.post(path, body).await?).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Response<Incoming>, Fault> {
        let mut head: Vec<(HeaderName, String)> = Vec::new();
        if let Some(token) = &self.token {
            head.push((AUTHORIZATION, format!("Bearer {}", token.expose())));
        }
        let text = serde_json::to_string(body).map_err(|error| unwritable(&error))?;
        let answer = self.client.send((Method::POST, path), &head, text).await;
        answer.map_err(|fault| self.with_way_in(fault))
    }

    /// Who is not let in is told how to be.
    fn with_way_in(&self, fault: Fault) -> Fault {
        if fault.code.0 != "SY6001" {
            return fault;
        }
        let help = match self.token {
            None => "log in once: shardyard login, or put a token into SHARDYARD_TOKEN",
            Some(_) => "the token is not known there; log in anew: shardyard login",
        };
        fault.with_help(help)
    }

    /// Logs in, has a token made, and keeps it. Gives its file.
    pub(crate) async fn log_in(
        &self,
        person: Person,
        settings: &Settings,
    ) -> Result<String, Fault> {
        let body = match &person {
            Person::Named(user, password) => {
                json!({ "user": user, "password": password.expose() })
            }
            Person::First(token) => json!({ "token": token.expose() }),
        };
        let send = |path, head: Vec<(HeaderName, String)>, body: Value| async move {
            let text = body.to_string();
            self.client.send((Method::POST, path), &head, text).await
        };
        let begun = send("/api/v1/login", Vec::new(), body).await?;
        let cookie = begun.headers().get(SET_COOKIE);
        let cookie = cookie.and_then(|it| it.to_str().ok()?.split(';').next());
        let cookie = cookie.ok_or_else(|| http::strange("it began no session"))?;
        let head = vec![
            (COOKIE, cookie.to_owned()),
            (ORIGIN, self.client.url().origin()),
        ];
        // The server gives a token no more than its owner may.
        let wish = json!({ "name": TOKEN_NAME, "role": "admin" });
        let made = http::json(send("/api/v1/tokens", head.clone(), wish).await?).await?;
        let token = made["token"].as_str();
        let token = token.ok_or_else(|| http::strange("it made no token"))?;
        // The session ends by itself where this does not reach the server.
        let _ = send("/api/v1/logout", head, json!({})).await;
        token::keep(self.client.url(), &Secret::new(token), settings)
    }
}

/// Asks the user, on this thread: nothing else is to be drawn meanwhile.
fn answer(question: &Asked, approver: &dyn Approver) -> Answer {
    let said = tokio::task::block_in_place(|| approver.approve(question.question()));
    match (said, question) {
        (Err(fault), _) => Answer::No(fault),
        (Ok(()), Asked::Plan { .. }) => Answer::Yes,
        (Ok(()), Asked::Loss { name, .. }) => Answer::Typed(name.clone()),
    }
}

fn unwritable(error: &serde_json::Error) -> Fault {
    Fault::new(
        "SY5013",
        Class::Usage,
        "the command holds what cannot be sent to a server",
    )
    .with_cause(error)
    .with_help("run it where the server runs, without --server")
}
