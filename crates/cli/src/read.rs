//! Turns what the user typed into what the program needs: names, addresses, templates, variables.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use control::command::{ExposeWish, Measure, TemplateChoice};
use model::address::NodeAddress;
use model::fault::{Class, Fault};
use model::ids::{InstanceName, VariableName, WorkloadName};
use model::instance::{EngineKind, TemplateFiles};
use model::port::Fetch;
use model::secret::Secret;
use model::spec::Credentials;
use plan::tend::Named;
use template::builtin;

use crate::args::{By, FromArguments, Login, Pull, ScaleArguments, UpArguments, VariableArguments};
use crate::ask;

/// The template that is delivered where none is named.
pub(crate) const DEFAULT_TEMPLATE: &str = "redis-cluster";

/// How many files a template's folder may hold, and how deep. More is another kind of folder,
/// named by mistake.
const FILES_MAX: usize = 200;
const DEPTH_MAX: usize = 8;

/// How large a file of a template may be.
const FILE_SIZE_MAX: u64 = 1 << 20;

fn usage(message: impl Into<String>) -> Fault {
    Fault::new("SY5001", Class::Usage, message)
}

/// An instance's name.
pub(crate) fn instance(text: &str) -> Result<InstanceName, Fault> {
    InstanceName::new(text).map_err(|error| usage(error.to_string()))
}

/// A workload's name.
pub(crate) fn workload(text: &str) -> Result<WorkloadName, Fault> {
    WorkloadName::parse(text).ok_or_else(|| {
        usage(format!("`{}` is no workload", text.escape_debug()))
            .with_help("a workload is a service and a number, as redis-1: shardyard status NAME")
    })
}

/// The engine; `auto` is the best that is at hand.
pub(crate) fn engine(text: &str) -> Result<Option<EngineKind>, Fault> {
    if text == "auto" {
        return Ok(None);
    }
    EngineKind::parse(text).map(Some).ok_or_else(|| {
        let known: Vec<&str> = EngineKind::ALL.iter().map(|kind| kind.as_str()).collect();
        usage(format!("there is no engine `{}`", text.escape_debug()))
            .with_help(format!("there are: auto, {}", known.join(", ")))
    })
}

/// Which addresses clients are told.
pub(crate) fn expose(text: Option<&str>) -> Result<Option<ExposeWish>, Fault> {
    let wrong = |text: &str| {
        usage(format!("`{}` is no way to expose", text.escape_debug()))
            .with_help("write network, host, or host=ADDRESS with an address of the host")
    };
    match text {
        None => Ok(None),
        Some("network") => Ok(Some(ExposeWish::Network)),
        Some("host") => Ok(Some(ExposeWish::Host(None))),
        Some(text) => {
            let address = text.strip_prefix("host=").and_then(|it| it.parse().ok());
            let address = address.ok_or_else(|| wrong(text))?;
            Ok(Some(ExposeWish::Host(Some(address))))
        }
    }
}

/// What is done about images.
pub(crate) const fn fetch(pull: Pull) -> Fetch {
    match pull {
        Pull::Never => Fetch::Never,
        Pull::Missing => Fetch::Missing,
        Pull::Always => Fetch::Always,
    }
}

/// A server's address: `HOST:PORT`, where the host may be a name.
pub(crate) fn address(text: &str) -> Result<NodeAddress, Fault> {
    if let Some(address) = NodeAddress::parse(text) {
        return Ok(address);
    }
    let shown = text.escape_debug();
    if !text.contains(':') {
        return Err(usage(format!("`{shown}` has no port"))
            .with_help("write it as HOST:PORT, as in 10.0.0.4:6379"));
    }
    let found = text.to_socket_addrs().map_err(|error| {
        usage(format!("`{shown}` is no address"))
            .with_cause(error)
            .with_help("write it as HOST:PORT, as in 10.0.0.4:6379")
    })?;
    // The servers announce IPv4 addresses unless told otherwise.
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(std::net::SocketAddr::is_ipv6);
    found
        .first()
        .filter(|it| it.port() != 0)
        .map(|it| NodeAddress::new(it.ip(), it.port()))
        .ok_or_else(|| usage(format!("`{shown}` leads nowhere")))
}

/// A node of a cluster: its address, its id, or the beginning of that.
pub(crate) fn node(text: &str) -> Result<Named, Fault> {
    if let Some(named) = Named::id(text) {
        return Ok(named);
    }
    if text.contains(':') {
        return address(text).map(Named::Address);
    }
    Err(usage(format!("`{}` names no node", text.escape_debug())).with_help(
        "a node is named by its id, by four letters or more of the beginning of it, or as HOST:PORT",
    ))
}

/// A node and its weight: `3f2a=2`.
pub(crate) fn node_weight(text: &str) -> Result<(Named, u32), Fault> {
    let parts = text.rsplit_once('=');
    let weight = parts.and_then(|(name, weight)| Some((name, weight.parse().ok()?)));
    let Some((name, weight)) = weight else {
        return Err(usage(format!("`{}` is no weight", text.escape_debug()))
            .with_help("write NODE=WEIGHT with a whole number, as in 3f2a=2"));
    };
    Ok((node(name)?, weight))
}

/// By what a slot is weighed.
pub(crate) const fn measure(by: By) -> Measure {
    match by {
        By::Slots => Measure::Slots,
        By::Keys => Measure::Keys,
        By::Memory => Measure::Memory,
        By::Load => Measure::Load,
    }
}

/// How to log in to a cluster that is no instance.
pub(crate) fn login(login: &Login) -> Result<Option<Credentials>, Fault> {
    let password = match &login.password_file {
        Some(file) => Some(first_line(file)?),
        None => std::env::var("REDISCLI_AUTH").ok(),
    };
    let way_out = "put it into REDISCLI_AUTH, or into a file: --password-file FILE";
    credentials(password, login.user.as_ref(), way_out)
}

/// How to log in to a server whose keys come into a cluster.
pub(crate) fn login_at_source(from: &FromArguments) -> Result<Option<Credentials>, Fault> {
    let way_out = "--from-askpass asks for it, --from-password-file FILE reads it";
    if from.from_pass.is_some() {
        return Err(
            usage("a password among the arguments can be read by every user of this host")
                .with_help(way_out),
        );
    }
    let password = match &from.from_password_file {
        Some(file) => Some(first_line(file)?),
        None if from.from_askpass => Some(ask::password(&from.from)?),
        None => None,
    };
    credentials(password, from.from_user.as_ref(), way_out)
}

fn first_line(file: &Path) -> Result<String, Fault> {
    let text = fs::read_to_string(file)
        .map_err(|error| usage(format!("{} cannot be read", file.display())).with_cause(error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn credentials(
    password: Option<String>,
    user: Option<&String>,
    way_out: &str,
) -> Result<Option<Credentials>, Fault> {
    match (password, user) {
        (Some(password), user) => Ok(Some(Credentials {
            user: user.map_or_else(|| "default".to_owned(), String::clone),
            password: Secret::new(password),
        })),
        (None, None) => Ok(None),
        (None, Some(user)) => {
            Err(usage(format!("user {user} needs a password")).with_help(way_out))
        }
    }
}

/// How to speak TLS to a cluster; `None` where it is not spoken.
pub(crate) fn tls(login: &Login) -> Result<Option<admin::Tls>, Fault> {
    if !login.tls {
        return Ok(None);
    }
    let pem = |file: &Path| {
        let text = fs::read(file)
            .map_err(|error| usage(format!("{} cannot be read", file.display())).with_cause(error));
        text.and_then(
            |text| match text.windows(11).any(|it| it == b"-----BEGIN ") {
                true => Ok(text),
                false => Err(usage(format!("{} holds nothing in PEM", file.display()))
                    .with_help("a file in DER becomes one: openssl x509 -inform der -in FILE")),
            },
        )
    };
    let identity = match (&login.cert, &login.key) {
        (Some(certificate), Some(key)) => Some((pem(certificate)?, pem(key)?)),
        (Some(_) | None, _) => None,
    };
    Ok(Some(admin::Tls {
        authorities: login.cacert.as_deref().map(pem).transpose()?,
        identity,
        trusts_anybody: login.insecure,
    }))
}

/// A template: a built-in's name, or a folder's path.
pub(crate) fn template(named: &str) -> Result<TemplateChoice, Fault> {
    let files = match builtin::files(named) {
        Some(files) => files,
        None if Path::new(named).is_dir() => folder(Path::new(named))?,
        None => return Err(unknown_template(named)),
    };
    Ok(TemplateChoice {
        named: named.to_owned(),
        files,
    })
}

fn unknown_template(named: &str) -> Fault {
    let known: Vec<&str> = builtin::names().collect();
    let fault = Fault::new(
        "SY5005",
        Class::Usage,
        format!("there is no template `{}`", named.escape_debug()),
    );
    if Path::new(named).is_file() {
        return fault.with_help("a template is a folder with a template.yaml: name the folder");
    }
    fault.with_help(format!(
        "built in are: {}; your own is named by its folder's path",
        known.join(", ")
    ))
}

/// The files of a folder, by their path in it.
fn folder(root: &Path) -> Result<TemplateFiles, Fault> {
    let mut files = BTreeMap::new();
    collect(root, root, 0, &mut files)?;
    Ok(TemplateFiles { files })
}

fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), Fault> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        usage(format!("{} cannot be read", path.display())).with_cause(error)
    };
    if depth > DEPTH_MAX {
        return Err(usage(format!(
            "{} is nested too deep for a template",
            folder.display()
        )));
    }
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(&path, &error))?;
        // A link may lead out of the folder, and a template must not bring in what is not its own.
        if hidden || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            collect(root, &path, depth + 1, files)?;
            continue;
        }
        let (name, text) = file(root, &path)?;
        files.insert(name, text);
        if files.len() > FILES_MAX {
            return Err(usage(format!(
                "{} holds more than {FILES_MAX} files; is it a template's folder?",
                root.display()
            )));
        }
    }
    Ok(())
}

fn file(root: &Path, path: &Path) -> Result<(String, String), Fault> {
    let failed = |error: &std::io::Error| {
        usage(format!("{} cannot be read", path.display())).with_cause(error)
    };
    let size = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > FILE_SIZE_MAX {
        return Err(usage(format!(
            "{} has {size} bytes, and a template's file has {FILE_SIZE_MAX} at most",
            path.display()
        )));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    let name = path.strip_prefix(root).unwrap_or(path);
    Ok((name.to_string_lossy().into_owned(), text))
}

/// The variables that a command was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// All of them.
    pub(crate) values: BTreeMap<VariableName, String>,
    /// Those that stood among the arguments.
    pub(crate) in_arguments: BTreeSet<VariableName>,
}

/// The variables that `up` was given: values files first, then `--set`, then the short options.
pub(crate) fn up_variables(arguments: &UpArguments) -> Result<Given, Fault> {
    let mut given = variables(&arguments.variables)?;
    for (name, value) in [
        ("SHARDS", &arguments.shards),
        ("REPLICAS_NUM", &arguments.replicas),
        ("MEMORY", &arguments.memory),
    ] {
        if let Some(value) = value {
            given.values.insert(variable(name)?, value.clone());
        }
    }
    Ok(given)
}

/// The variables that `scale` was given.
pub(crate) fn scale_variables(arguments: &ScaleArguments) -> Result<Given, Fault> {
    let mut given = variables(&arguments.variables)?;
    for (name, value) in [
        ("SHARDS", &arguments.shards),
        ("REPLICAS_NUM", &arguments.replicas),
    ] {
        if let Some(value) = value {
            given.values.insert(variable(name)?, value.clone());
        }
    }
    if given.values.is_empty() {
        return Err(usage("nothing is to be scaled")
            .with_help("say what: --shards N, --replicas N, or --set NAME=VALUE"));
    }
    Ok(given)
}

/// `redis-1=3`: a node and the weight of its shard.
pub(crate) fn weight(text: &str) -> Result<(WorkloadName, u32), Fault> {
    let pair = text.split_once('=');
    let read = pair.and_then(|(name, weight)| Some((name, weight.parse().ok()?)));
    match read {
        Some((name, weight)) => Ok((workload(name)?, weight)),
        None => Err(usage(format!("`{}` is no weight", text.escape_debug()))
            .with_help("write it as NODE=WEIGHT, as in redis-1=2")),
    }
}

/// `5ms`, `1s`, `0`: a time.
pub(crate) fn duration(text: &str) -> Result<Duration, Fault> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &text[digits.len()..];
    let number: Option<u32> = digits.parse().ok();
    let time = match (number, unit) {
        (Some(0), _) => Some(Duration::ZERO),
        (Some(number), "ms") => Some(Duration::from_millis(number.into())),
        (Some(number), "s") => Some(Duration::from_secs(number.into())),
        (Some(_) | None, _) => None,
    };
    time.ok_or_else(|| {
        usage(format!("`{}` is no time", text.escape_debug()))
            .with_help("write it with its unit, as in 5ms or 1s; 0 is no limit")
    })
}

/// The variables of values files and `--set`, the later one counting.
pub(crate) fn variables(arguments: &VariableArguments) -> Result<Given, Fault> {
    let mut given = Given::default();
    for file in &arguments.values {
        given
            .values
            .extend(template::values_file(file, &values_text(file)?)?);
    }
    for pair in &arguments.set {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage(format!("`{}` sets nothing", pair.escape_debug()))
                .with_help("write it as --set NAME=VALUE"));
        };
        let name = variable(name)?;
        given.in_arguments.insert(name.clone());
        given.values.insert(name, value.to_owned());
    }
    Ok(given)
}

fn variable(name: &str) -> Result<VariableName, Fault> {
    VariableName::new(name).map_err(|error| usage(error.to_string()))
}

fn values_text(file: &str) -> Result<String, Fault> {
    let failed = |error: &std::io::Error| {
        usage(format!("the values file {file} cannot be read")).with_cause(error)
    };
    let mut text = String::new();
    if file == "-" {
        let stdin = std::io::stdin();
        let limited = stdin.lock().take(FILE_SIZE_MAX + 1);
        { limited }
            .read_to_string(&mut text)
            .map_err(|error| failed(&error))?;
    } else {
        let path = PathBuf::from(file);
        text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    }
    Ok(text)
}
