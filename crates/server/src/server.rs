//! The server's own state, and how it asks the driver: each command on a thread of its own. It
//! holds no platform and no connection of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use control::approve::{Approver, Question};
use control::cancel::Cancel;
use control::hands::Hands;
use control::home::Home;
use control::lock;
use control::{Command, Control, Reply};
use model::event::{Audience, Nobody};
use model::fault::{Class, Fault};
use model::ids::InstanceName;

use crate::accounts::{Accounts, proof, secret};
use crate::attempts::Attempts;
use crate::commands::Commands;
use crate::hub::Hub;
use crate::operations::{Operations, Recorder, now};
use crate::samples::Samples;
use crate::tls::Tls;
use crate::wire::{AuditEntry, OperationBody, ProofBody};

/// What a server is started with.
#[derive(Debug)]
pub struct Settings {
    /// The state.
    pub home: Home,
    /// What the driver works with; each command gets an audience and a wish to stop of its own.
    pub hands: Hands,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Further names by which it may be asked, as behind a proxy: `name` or `name:port`.
    pub allowed_hosts: Vec<String>,
    /// The certificate by which it speaks TLS; `None` for in clear.
    pub tls: Option<Tls>,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    pub(crate) home: Home,
    pub(crate) hands: Hands,
    hosts: Vec<String>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) attempts: Attempts,
    pub(crate) hub: Arc<Hub>,
    pub(crate) operations: Arc<Operations>,
    /// Held while it is looked whether an instance is free, up to the operation that takes it.
    beginning: Mutex<()>,
    pub(crate) commands: Commands,
    pub(crate) samples: Samples,
    /// What the one-time token is proved by; gone once it was used.
    pub(crate) first: Mutex<Option<String>>,
}

impl Server {
    /// Opens a server's state. Where nobody has a password yet, there is a one-time token too,
    /// which makes its holder the admin.
    ///
    /// # Errors
    /// Where the state cannot be used.
    pub fn open(settings: Settings) -> Result<(Arc<Self>, Option<String>), Fault> {
        let accounts = Arc::new(Accounts::open(&settings.home)?);
        let hub = Arc::new(Hub::new());
        let token = if accounts.has_users()? {
            None
        } else {
            Some(secret()?)
        };
        let server = Self {
            operations: Arc::new(Operations::open(hub.clone(), accounts.clone())?),
            beginning: Mutex::default(),
            hosts: hosts(settings.listen, settings.allowed_hosts),
            first: Mutex::new(token.as_deref().map(proof)),
            tls: settings.tls.map(Arc::new),
            home: settings.home,
            hands: settings.hands,
            attempts: Attempts::default(),
            commands: Commands::default(),
            samples: Samples::default(),
            accounts,
            hub,
        };
        Ok((Arc::new(server), token))
    }

    /// Whether a request for this host is for us: by one of our names, or by one that our
    /// certificate is for. A name that an attacker's DNS leads to us is none of them.
    pub(crate) fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|it| it.eq_ignore_ascii_case(host))
            || self.tls.as_ref().is_some_and(|tls| tls.is_for(host))
    }

    /// Notes what came of a certificate that has changed.
    pub(crate) fn note_certificate(&self, came: Result<(), Fault>) {
        let outcome = match came {
            Ok(()) => "taken up".to_owned(),
            Err(fault) => format!("{}: {fault}", fault.code),
        };
        // Without room for the note the certificate is in use all the same.
        let _ = self.accounts.note(&AuditEntry {
            at: now(),
            user: "server".to_owned(),
            instance: None,
            what: "the certificate's files have changed".to_owned(),
            outcome,
        });
    }

    /// Whether this is the one-time token; it counts once.
    pub(crate) fn takes_first(&self, token: &str) -> bool {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        // Proofs are compared, so that the time of a comparison tells nothing of the token.
        let fits = first.as_deref() == Some(proof(token).as_str());
        if fits {
            *first = None;
        }
        fits
    }

    /// Runs a command that ends soon, and gives its reply.
    pub(crate) async fn ask(&self, command: Command) -> Result<Reply, Fault> {
        let approver = Typed {
            name: None,
            by_itself: false,
        };
        self.run(command, Arc::new(Nobody), Cancel::new(), Arc::new(approver))
            .await
    }

    /// Runs a command with somebody who listens.
    pub(crate) async fn run(
        &self,
        command: Command,
        audience: Arc<dyn Audience>,
        cancel: Cancel,
        approver: Arc<dyn Approver>,
    ) -> Result<Reply, Fault> {
        let hands = Hands {
            audience,
            cancel,
            ..self.hands.clone()
        };
        let control = Control::new(self.home.clone(), hands, approver);
        let runtime = tokio::runtime::Handle::current();
        // The driver's state is one thread's own, so each command has a thread.
        tokio::task::spawn_blocking(move || runtime.block_on(control.run(command)))
            .await
            .map_err(|error| {
                Fault::new(
                    "SY6013",
                    Class::Failed,
                    "the command broke off; this is a bug",
                )
                .with_cause(error)
            })?
    }

    /// Begins a command that takes its time.
    pub(crate) fn begin(
        self: &Arc<Self>,
        task: Task<'_>,
        command: Command,
        approver: Typed,
    ) -> Result<OperationBody, Fault> {
        let Task {
            name,
            verb,
            user,
            is_alone,
        } = task;
        let alone = Some(name).filter(|_| is_alone);
        let (body, cancel) = self.begin_operation(alone, (name.as_str(), verb, user))?;
        let recorder = Recorder {
            operations: self.operations.clone(),
            hub: self.hub.clone(),
            instance: name.to_string(),
            id: body.id.clone(),
        };
        let server = self.clone();
        let id = body.id.clone();
        tokio::spawn(async move {
            let ended = server
                .run(command, Arc::new(recorder), cancel, Arc::new(approver))
                .await;
            let ended = ended.as_ref().map(proof_of);
            server.operations.end(&id, ended);
        });
        Ok(body)
    }

    /// Begins an operation: of many who want one of an instance that is to be worked on alone, one
    /// gets it.
    pub(crate) fn begin_operation(
        &self,
        alone: Option<&InstanceName>,
        (about, verb, user): (&str, &str, &str),
    ) -> Result<(OperationBody, Cancel), Fault> {
        let _one_by_one = self
            .beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = alone {
            self.must_be_free(name)?;
        }
        self.operations.begin(about, verb, user)
    }

    /// One operator at a time: a second one is told who works on it since when.
    fn must_be_free(&self, name: &InstanceName) -> Result<(), Fault> {
        let busy = |who: &str, verb: &str, since: &str| {
            Fault::new(
                "SY4004",
                Class::Busy,
                format!(
                    "{who} has been doing `{verb}` since {since} on instance {name}, \
                     and one at a time may"
                ),
            )
            .with_help(format!("watch it: shardyard status {name} --watch"))
        };
        if let Some(running) = self.operations.running(name.as_str()) {
            return Err(busy(&running.user, &running.verb, &running.began_at));
        }
        match lock::holder(&self.home, name) {
            None => Ok(()),
            Some(it) => {
                let who = format!("{} (pid {})", it.user, it.pid);
                Err(busy(&who, &it.verb, &it.since))
            }
        }
    }
}

/// What a client noticed, where slots have moved.
pub(crate) fn proof_of(reply: &Reply) -> Option<ProofBody> {
    match reply {
        Reply::Changed(changed) => changed.proof.as_ref().map(ProofBody::from),
        Reply::Plan(_)
        | Reply::Delivered(_)
        | Reply::Down { .. }
        | Reply::Told { .. }
        | Reply::List(_)
        | Reply::Status(_)
        | Reply::Findings(_)
        | Reply::Done
        | Reply::Exit(_)
        | Reply::Created(_)
        | Reply::Checked(..)
        | Reply::Info(_)
        | Reply::Tended(_)
        | Reply::Answers(_)
        | Reply::Imported(_)
        | Reply::BackedUp(_) => None,
    }
}

/// The names by which a server that listens here may be asked.
fn hosts(listen: SocketAddr, further: Vec<String>) -> Vec<String> {
    let port = listen.port();
    let mut hosts = vec![
        listen.to_string(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
    ];
    for name in further {
        hosts.push(format!("{name}:{port}"));
        hosts.push(name);
    }
    hosts
}

/// What is begun: on which instance, what, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) name: &'a InstanceName,
    pub(crate) verb: &'a str,
    pub(crate) user: &'a str,
    /// Whether nobody else may be at work; to end whoever is is what `cancel` is for.
    pub(crate) is_alone: bool,
}

/// Answers the driver's questions for whoever asked over HTTP: to ask for it is to agree to the
/// plan, and what may be lost needs the instance's name.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// The name that was typed.
    pub(crate) name: Option<String>,
    /// Whether nobody asked: the server itself never agrees to a loss.
    pub(crate) by_itself: bool,
}

impl Approver for Typed {
    fn approve(&self, question: Question<'_>) -> Result<(), Fault> {
        let Question::Loss { name, lost } = question else {
            return Ok(());
        };
        if !self.by_itself && self.name.as_deref() == Some(name) {
            return Ok(());
        }
        Err(unconfirmed(name, lost.to_vec()))
    }
}

/// What may be lost was not agreed to.
pub(crate) fn unconfirmed(instance: &str, lost: Vec<String>) -> Fault {
    Fault::new(
        "SY6007",
        Class::Refused,
        format!("something of {instance} may be lost, and its name was not typed"),
    )
    .with_detail(lost)
    .with_help(format!("agree by its name: \"confirm\": \"{instance}\""))
}
