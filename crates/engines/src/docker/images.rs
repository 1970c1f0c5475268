//! Images: whether the daemon has them, gets them where that is asked for, and finds out which
//! server is inside by starting it once with `--version`, without a network and without rights.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateImageOptionsBuilder};
use futures::StreamExt;
use model::fault::{Class, Code, Explain};
use model::image::{ImageRef, ServerVersion, Software};
use model::port::Fetch;
use model::view::ImageView;
use tokio::time::timeout;

use super::client::{Daemon, DaemonError};
use super::names::{HOME, PART, Part};
use super::storage::remove_by_id;
use crate::process::images::search::parse_version;

/// How long a container may take to say a version: a second on an idle host.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// How long a registry may take to say whether it has an image.
const REGISTRY_LIMIT: Duration = Duration::from_secs(20);

/// The memory of the container that says a version.
const VERSION_MEMORY: i64 = 64 << 20;

/// Why an image cannot be got.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The daemon does not do what it is asked for.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// It cannot be pulled.
    #[error("{image} is not there and cannot be pulled: {message}")]
    Refused {
        /// The image.
        image: ImageRef,
        /// What was said.
        message: String,
    },
}

impl Explain for PullError {
    fn code(&self) -> Code {
        match self {
            Self::Daemon(error) => error.code(),
            Self::Refused { .. } => Code("SY3210"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Daemon(error) => error.class(),
            Self::Refused { .. } => Class::Refused,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Daemon(error) => error.help(),
            Self::Refused { image, .. } => Some(format!(
                "see whether the daemon reaches the registry and may pull it (docker pull {image}), \
                 or load it from a file (docker load)"
            )),
        }
    }
}

/// Finds out about images.
#[derive(Debug)]
pub(crate) struct Images {
    /// Where versions are remembered by the image's id, which stands for its content.
    folder: PathBuf,
    /// Our own id, for the label of what is made.
    home: String,
}

impl Images {
    pub(crate) const fn new(folder: PathBuf, home: String) -> Self {
        Self { folder, home }
    }

    /// Sees to it that the images are there, and gives those that are not but could be.
    pub(crate) async fn fetch(
        &self,
        daemon: &Daemon,
        images: &BTreeSet<ImageRef>,
        (fetch, tell): (Fetch, &mut (dyn FnMut(String) + Send)),
    ) -> Result<BTreeSet<ImageRef>, PullError> {
        let mut to_come = BTreeSet::new();
        for image in images {
            let is_there = id_of(daemon, image).await?.is_some();
            match fetch {
                Fetch::Never => {}
                Fetch::Missing | Fetch::Look if is_there => {}
                Fetch::Look => {
                    if can_be_pulled(daemon, image).await {
                        to_come.insert(image.clone());
                    }
                }
                Fetch::Missing | Fetch::Always => pull(daemon, image, tell).await?,
            }
        }
        Ok(to_come)
    }

    /// What the daemon makes of an image.
    pub(crate) async fn view(
        &self,
        daemon: &Daemon,
        image: &ImageRef,
    ) -> Result<ImageView, DaemonError> {
        let named = image.to_string();
        let question = daemon.docker.inspect_image(&named);
        let Some(found) = daemon.ask_for("inspect an image", question).await? else {
            return Ok(ImageView::Missing {
                reason: format!("the Docker daemon at {} does not have it", daemon.endpoint),
                help: format!("docker pull {image}, or leave --pull never out"),
            });
        };
        let architecture = found.architecture.unwrap_or_default();
        let wanted = &daemon.facts.architecture;
        if !architecture.is_empty() && architecture != *wanted {
            return Ok(ImageView::Missing {
                reason: format!("it is made for {architecture}, and the host is {wanted}"),
                help: format!("docker pull --platform linux/{wanted} {image}"),
            });
        }
        let id = found.id.unwrap_or_default();
        let software = image.software();
        match software {
            Software::Redis | Software::Valkey => {}
            Software::Shardyard | Software::Other => return Ok(ImageView::Program),
        }
        match self.version(daemon, &id, software).await? {
            Ok(version) => Ok(ImageView::Server(version)),
            Err(reason) => Ok(ImageView::Missing {
                reason,
                help: "name an image of Redis or Valkey: redis:7, valkey/valkey:9".to_owned(),
            }),
        }
    }

    /// The version of the server in an image, or why there is none.
    async fn version(
        &self,
        daemon: &Daemon,
        id: &str,
        software: Software,
    ) -> Result<Result<ServerVersion, String>, DaemonError> {
        let name = id.strip_prefix("sha256:").unwrap_or(id);
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        let path = self.folder.join(name);
        let known = std::fs::read_to_string(&path).ok();
        if let Some(version) = known
            .filter(|_| is_plain)
            .as_deref()
            .and_then(parse_version)
        {
            return Ok(Ok(version));
        }
        let said = self.say_version(daemon, id, software).await?;
        let Some(version) = said.as_deref().ok().and_then(parse_version) else {
            let what = said.unwrap_or_else(|why| why);
            let what: String = what.chars().take(200).collect();
            return Ok(Err(format!(
                "there is no {software}-server in it: {}",
                what.trim()
            )));
        };
        if is_plain {
            // What cannot be remembered is found out again the next time.
            let _ = std::fs::create_dir_all(&self.folder);
            let _ = std::fs::write(&path, said.unwrap_or_default());
        }
        Ok(Ok(version))
    }

    /// What its server says of its version; an error is why it does not say anything.
    async fn say_version(
        &self,
        daemon: &Daemon,
        id: &str,
        software: Software,
    ) -> Result<Result<String, String>, DaemonError> {
        let labels = [(HOME, self.home.as_str()), (PART, Part::Probe.as_str())];
        let body = ContainerCreateBody {
            image: Some(id.to_owned()),
            entrypoint: Some(vec![format!("{software}-server")]),
            cmd: Some(vec!["--version".to_owned()]),
            user: Some("999:999".to_owned()),
            labels: Some(HashMap::from(
                labels.map(|(name, value)| (name.to_owned(), value.to_owned())),
            )),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                memory: Some(VERSION_MEMORY),
                // Also where we are killed while it runs.
                auto_remove: Some(true),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let question = daemon.docker.create_container(None, body);
        let container = daemon.ask("look into an image", question).await?.id;
        let said = timeout(VERSION_LIMIT, run(daemon, &container)).await;
        remove_by_id(daemon, &container).await?;
        match said {
            Ok(Ok(text)) => Ok(Ok(text)),
            // The daemon says so when a program is not in an image.
            Ok(Err(error)) if error.status() == Some(400) => Ok(Err(error.said().to_owned())),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Err(format!(
                "it does not say its version within {} s",
                VERSION_LIMIT.as_secs()
            ))),
        }
    }
}

/// Runs it to its end and gives what it wrote. It is listened to from before its start: the daemon
/// removes it the moment it ends, and its log with it.
async fn run(daemon: &Daemon, container: &str) -> Result<String, DaemonError> {
    let options = AttachContainerOptionsBuilder::new()
        .stream(true)
        .stdout(true)
        .stderr(true)
        .build();
    let question = daemon.docker.attach_container(container, Some(options));
    let mut lines = daemon.ask("look into an image", question).await?.output;
    let question = daemon.docker.start_container(container, None);
    daemon.ask("look into an image", question).await?;
    let mut said = String::new();
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| daemon.failure("look into an image", error))?;
        said.push_str(&line.to_string());
    }
    Ok(said)
}

async fn id_of(daemon: &Daemon, image: &ImageRef) -> Result<Option<String>, DaemonError> {
    let named = image.to_string();
    let question = daemon.docker.inspect_image(&named);
    let found = daemon.ask_for("inspect an image", question).await?;
    Ok(found.and_then(|it| it.id))
}

async fn can_be_pulled(daemon: &Daemon, image: &ImageRef) -> bool {
    let named = image.to_string();
    let question = daemon.docker.inspect_registry_image(&named, None);
    matches!(timeout(REGISTRY_LIMIT, question).await, Ok(Ok(_)))
}

async fn pull(
    daemon: &Daemon,
    image: &ImageRef,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<(), PullError> {
    let named = image.to_string();
    // Without a tag the daemon would pull all there are.
    let last = named.rsplit('/').next().unwrap_or(&named);
    let whole = if last.contains([':', '@']) {
        named
    } else {
        format!("{named}:latest")
    };
    let options = CreateImageOptionsBuilder::new().from_image(&whole).build();
    let mut news = Box::pin(daemon.docker.create_image(Some(options), None, None));
    let mut layers: HashMap<String, (i64, i64)> = HashMap::new();
    let refused = |message: String| PullError::Refused {
        image: image.clone(),
        message,
    };
    tell(format!("image {image}: asking for it"));
    while let Some(piece) = news.next().await {
        let piece = piece.map_err(|error| {
            let error = daemon.failure("pull an image", error);
            if matches!(error, DaemonError::Refused { .. } | DaemonError::Odd { .. }) {
                refused(said(&error))
            } else {
                PullError::from(error)
            }
        })?;
        if let Some(message) = piece.error_detail.and_then(|it| it.message) {
            return Err(refused(message));
        }
        if let (Some(layer), Some(detail)) = (piece.id, piece.progress_detail)
            && let (Some(current), Some(total)) = (detail.current, detail.total)
        {
            layers.insert(layer, (current, total));
            tell(progress(image, &layers));
        }
    }
    Ok(())
}

/// What a refusal says, in the daemon's own words where it has some.
fn said(error: &DaemonError) -> String {
    match error.said() {
        "" => {
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
        words => words.to_owned(),
    }
}

/// How far a pull is.
fn progress(image: &ImageRef, layers: &HashMap<String, (i64, i64)>) -> String {
    let sum = |part: fn(&(i64, i64)) -> i64| layers.values().map(part).sum::<i64>() >> 20;
    let (done, all) = (sum(|it| it.0), sum(|it| it.1));
    format!("image {image}: {done} of {all} MiB")
}
