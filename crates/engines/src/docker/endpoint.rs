//! Where the daemon is: `DOCKER_HOST`, a context, or the socket that is there, by the rules of
//! Docker's own client. It reads files of the user's configuration and connects to nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use model::fault::{Class, Code, Explain};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What the environment says about the daemon, in the variables of Docker's own client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DockerSettings {
    /// Our own state folder.
    pub home: PathBuf,
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_CONFIG`, or `.docker` in the user's home.
    pub config_folder: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` is set.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`.
    pub certificates: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where a daemon without root has its socket.
    pub runtime_folder: Option<PathBuf>,
}

/// Where a daemon is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    /// A socket of this host.
    Socket(PathBuf),
    /// A port, with certificates where it is an encrypted one.
    Tcp {
        /// Host and port.
        address: String,
        /// The certificates.
        certificates: Option<Certificates>,
    },
    /// Through ssh: `ssh://user@host`.
    Ssh(String),
}

/// The files of an encrypted connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Why it cannot be said where the daemon is.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address has another form than those that are known.
    #[error("`{0}` is no address of a Docker daemon")]
    Address(String),
    /// A context is not there.
    #[error("there is no Docker context `{0}`")]
    NoContext(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A context does not want to know whom it speaks to.
    #[error("the Docker context `{0}` does not check the daemon's certificate")]
    Unchecked(String),
}

impl Explain for EndpointError {
    fn code(&self) -> Code {
        Code("SY3204")
    }

    fn class(&self) -> Class {
        Class::Usage
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Address(_) => {
                "write unix:///var/run/docker.sock, tcp://HOST:2376 or ssh://USER@HOST".to_owned()
            }
            Self::NoContext(_) => "docker context ls   lists those that are there".to_owned(),
            Self::Unreadable { .. } => {
                "mend the file, or name the daemon by DOCKER_HOST".to_owned()
            }
            Self::Unchecked(_) => {
                "whoever sits between could read every password: give the context a certificate \
                 authority"
                    .to_owned()
            }
        })
    }
}

impl Endpoint {
    /// Where the daemon is by these settings.
    pub(crate) fn find(settings: &DockerSettings) -> Result<Self, EndpointError> {
        if let Some(host) = &settings.host {
            let folder = settings
                .certificates
                .clone()
                .or_else(|| settings.config_folder.clone());
            let wanted = settings.tls_verify || settings.certificates.is_some();
            return Self::parse(host, folder.filter(|_| wanted).as_deref());
        }
        let context = match &settings.context {
            Some(name) => Some(name.clone()),
            None => current_context(settings)?,
        };
        match context.filter(|name| name != "default") {
            Some(name) => Self::of_context(settings, &name),
            None => Ok(Self::Socket(usual_socket(settings))),
        }
    }

    fn parse(text: &str, certificates: Option<&Path>) -> Result<Self, EndpointError> {
        if let Some(path) = text
            .strip_prefix("unix://")
            .filter(|it| it.starts_with('/'))
        {
            return Ok(Self::Socket(path.into()));
        }
        if text.strip_prefix("ssh://").is_some_and(|it| !it.is_empty()) {
            return Ok(Self::Ssh(text.to_owned()));
        }
        let address = ["tcp://", "https://", "http://"]
            .into_iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .map(|it| it.trim_end_matches('/'))
            .filter(|it| !it.is_empty() && !it.contains('/'));
        match address {
            Some(address) => Ok(Self::Tcp {
                address: address.to_owned(),
                certificates: certificates.map(Certificates::in_folder),
            }),
            None => Err(EndpointError::Address(text.to_owned())),
        }
    }

    fn of_context(settings: &DockerSettings, name: &str) -> Result<Self, EndpointError> {
        let missing = || EndpointError::NoContext(name.to_owned());
        let contexts = settings.config_folder.as_ref().ok_or_else(missing)?;
        let contexts = contexts.join("contexts");
        // The folder of a context is called after the digest of its name.
        let digest: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = contexts.join("meta").join(&digest).join("meta.json");
        if !path.exists() {
            return Err(missing());
        }
        let context: Context = read(&path)?;
        let docker = context.endpoints.docker.ok_or_else(missing)?;
        let host = docker
            .host
            .filter(|it| !it.is_empty())
            .ok_or_else(missing)?;
        if docker.skip_tls_verify {
            return Err(EndpointError::Unchecked(name.to_owned()));
        }
        let folder = contexts.join("tls").join(&digest).join("docker");
        Self::parse(&host, folder.is_dir().then_some(folder.as_path()))
    }

    /// The host that it names, where it is not this one.
    pub(crate) fn remote_host(&self) -> Option<&str> {
        match self {
            Self::Socket(_) => None,
            Self::Tcp { address, .. } => Some(host_of(address)),
            Self::Ssh(url) => {
                let rest = url.strip_prefix("ssh://").unwrap_or(url);
                let rest = rest.split('/').next().unwrap_or(rest);
                Some(host_of(rest.rsplit('@').next().unwrap_or(rest)))
            }
        }
    }
}

/// The host of `HOST:PORT`; an IPv6 address stands in brackets.
fn host_of(address: &str) -> &str {
    if let Some((inner, _)) = address.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return inner;
    }
    address.split(':').next().unwrap_or(address)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(out, "tcp://{address}"),
            Self::Ssh(url) => out.write_str(url),
        }
    }
}

impl Certificates {
    fn in_folder(folder: &Path) -> Self {
        Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

fn current_context(settings: &DockerSettings) -> Result<Option<String>, EndpointError> {
    let Some(folder) = &settings.config_folder else {
        return Ok(None);
    };
    let path = folder.join("config.json");
    if !path.exists() {
        return Ok(None);
    }
    let config: Config = read(&path)?;
    Ok(config.current_context.filter(|name| !name.is_empty()))
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, EndpointError> {
    let fail = |source| EndpointError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(|error| fail(error.into()))?;
    serde_json::from_str(&text).map_err(|error| fail(error.into()))
}

/// The usual socket, or that of a daemon which runs without root where only that is there.
fn usual_socket(settings: &DockerSettings) -> PathBuf {
    let usual = PathBuf::from("/var/run/docker.sock");
    let own = settings
        .runtime_folder
        .as_ref()
        .map(|folder| folder.join("docker.sock"));
    match own {
        Some(own) if !usual.exists() && own.exists() => own,
        Some(_) | None => usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> DockerSettings {
        DockerSettings {
            config_folder: Some(folder.to_owned()),
            ..DockerSettings::default()
        }
    }

    fn write_context(folder: &Path, name: &str, host: &str, skip: bool) -> PathBuf {
        let digest: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let meta = folder.join("contexts/meta").join(&digest);
        fs::create_dir_all(&meta).unwrap();
        let text = format!(
            r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":{skip}}}}}}}"#
        );
        fs::write(meta.join("meta.json"), text).unwrap();
        folder.join("contexts/tls").join(digest).join("docker")
    }

    #[test]
    fn a_host_is_read_in_the_forms_that_docker_takes() {
        for (text, shown, remote) in [
            ("unix:///run/x.sock", Some("unix:///run/x.sock"), None),
            (
                "tcp://10.0.0.1:2375",
                Some("tcp://10.0.0.1:2375"),
                Some("10.0.0.1"),
            ),
            ("https://h:2376/", Some("tcp://h:2376"), Some("h")),
            (
                "tcp://[fd00::1]:2376",
                Some("tcp://[fd00::1]:2376"),
                Some("fd00::1"),
            ),
            ("ssh://me@h:22", Some("ssh://me@h:22"), Some("h")),
            (
                "ssh://h/run/docker.sock",
                Some("ssh://h/run/docker.sock"),
                Some("h"),
            ),
            ("npipe:////./pipe/docker", None, None),
            ("unix://relative", None, None),
            ("tcp://", None, None),
            ("10.0.0.1:2375", None, None),
        ] {
            let found = Endpoint::parse(text, None).ok();
            let named = found.as_ref().map(ToString::to_string);
            assert_eq!(named.as_deref(), shown, "{text}");
            assert_eq!(
                found.as_ref().and_then(Endpoint::remote_host),
                remote,
                "{text}"
            );
        }
    }

    #[test]
    fn the_environment_comes_before_a_context_and_a_context_before_the_usual_socket() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        let usual = Endpoint::find(&settings).unwrap();
        assert_eq!(usual, Endpoint::Socket("/var/run/docker.sock".into()));
        let tls = write_context(folder.path(), "far", "tcp://10.0.0.9:2376", false);
        fs::create_dir_all(&tls).unwrap();
        fs::write(
            folder.path().join("config.json"),
            r#"{"currentContext":"far"}"#,
        )
        .unwrap();
        let expected = Endpoint::Tcp {
            address: "10.0.0.9:2376".to_owned(),
            certificates: Some(Certificates::in_folder(&tls)),
        };
        assert_eq!(Endpoint::find(&settings).unwrap(), expected);
        settings.context = Some("default".to_owned());
        assert_eq!(Endpoint::find(&settings).unwrap(), usual);
        settings.host = Some("ssh://h".to_owned());
        assert_eq!(
            Endpoint::find(&settings).unwrap(),
            Endpoint::Ssh("ssh://h".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_with_a_context_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        settings.context = Some("none".to_owned());
        let error = Endpoint::find(&settings).unwrap_err();
        assert!(matches!(error, EndpointError::NoContext(_)), "{error}");
        write_context(folder.path(), "none", "tcp://h:2376", true);
        let error = Endpoint::find(&settings).unwrap_err();
        assert!(matches!(error, EndpointError::Unchecked(_)), "{error}");
        settings.context = None;
        fs::write(folder.path().join("config.json"), "{").unwrap();
        let error = Endpoint::find(&settings).unwrap_err();
        assert!(matches!(error, EndpointError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn certificates_are_used_where_they_are_asked_for() {
        let settings = DockerSettings {
            host: Some("tcp://h:2376".to_owned()),
            tls_verify: true,
            config_folder: Some("/c".into()),
            ..DockerSettings::default()
        };
        let Endpoint::Tcp { certificates, .. } = Endpoint::find(&settings).unwrap() else {
            panic!("it is a port");
        };
        assert_eq!(certificates.unwrap().authority, Path::new("/c/ca.pem"));
        let plain = DockerSettings {
            tls_verify: false,
            ..settings
        };
        let found = Endpoint::find(&plain).unwrap();
        assert!(matches!(
            found,
            Endpoint::Tcp {
                certificates: None,
                ..
            }
        ));
    }
}
