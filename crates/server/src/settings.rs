//! A node's settings: those of its config file, as the instance has it, beside those that run. What
//! holds a secret is named, and neither of its values is shown.

use std::collections::{BTreeMap, BTreeSet};

use model::fault::Fault;
use model::ids::WorkloadName;
use model::instance::{EngineKind, Instance};
use model::secret::Secret;
use model::spec::{FileTemplate, Value};
use template::Discovery;

use crate::reply::Part;
use crate::wire::{SettingBody, SettingList};

/// Words in a setting's name that stand for something secret, or for who logs in.
const SECRET_WORDS: [&str; 4] = ["pass", "auth", "secret", "key-file"];
const SECRET_NAMES: [&str; 3] = ["user", "masteruser", "primaryuser"];

/// Whether a setting holds something that must not be seen.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|it| name.contains(it)) || SECRET_NAMES.contains(&name.as_str())
}

/// The settings of an answer to CONFIG GET, without those that hold a secret.
pub(crate) fn open_settings(answer: &str) -> BTreeMap<String, String> {
    let mut all = all_settings(answer);
    all.retain(|name, _| !is_secret(name));
    all
}

fn all_settings(answer: &str) -> BTreeMap<String, String> {
    let answer = Part::read(answer);
    let pairs = answer.items().chunks_exact(2);
    pairs
        .filter_map(|pair| Some((pair[0].text()?.to_owned(), pair[1].text()?.to_owned())))
        .collect()
}

/// A workload's settings, wanted and running. `answer` is what it said to CONFIG GET.
///
/// # Errors
/// Where its config file cannot be rendered.
pub(crate) fn compared(
    instance: &Instance,
    workload: &WorkloadName,
    answer: &str,
) -> Result<SettingList, Fault> {
    let file = config_file(instance, workload);
    let wanted = match file {
        Some(file) => {
            let mut found = directives(&masked(instance, workload, file)?);
            found.extend(arguments(instance, workload));
            found
        }
        None => BTreeMap::new(),
    };
    let running = all_settings(answer);
    let names: BTreeSet<&String> = wanted.keys().chain(running.keys()).collect();
    let settings = names.into_iter().map(|name| {
        let (wanted, running) = (wanted.get(name), running.get(name));
        setting(instance.engine, name, wanted, running)
    });
    Ok(SettingList {
        file: file.map(|it| it.target.clone()),
        settings: settings.collect(),
    })
}

fn setting(
    engine: EngineKind,
    name: &str,
    wanted: Option<&String>,
    running: Option<&String>,
) -> SettingBody {
    let verdict = match (wanted, running) {
        _ if is_secret(name) => "secret",
        (None, _) => "unset",
        (Some(_), None) => "untold",
        (Some(wanted), Some(running)) if is_same(name, wanted, running) => "same",
        (Some(wanted), Some(running)) if is_engines(engine, name, wanted, running) => "engine",
        (Some(_), Some(_)) => "differs",
    };
    let shown = |value: Option<&String>| value.filter(|_| verdict != "secret").cloned();
    SettingBody {
        name: name.to_owned(),
        wanted: shown(wanted),
        running: shown(running),
        verdict: verdict.to_owned(),
    }
}

/// What a plain process is told at its start, whatever its file says: its own address on a host
/// that it shares, and that it stays in sight.
const PROCESS_SETS: [&str; 5] = [
    "bind",
    "bind-source-addr",
    "cluster-announce-ip",
    "daemonize",
    "protected-mode",
];

/// Whether the engine has its own value for a setting. A plain process has no root folder of its
/// own: its files lie elsewhere on the host.
fn is_engines(engine: EngineKind, name: &str, wanted: &str, running: &str) -> bool {
    match engine {
        EngineKind::Docker => false,
        EngineKind::Process => {
            let are_paths = wanted.starts_with('/') && running.starts_with('/');
            are_paths || PROCESS_SETS.contains(&name)
        }
    }
}

/// The file that a server is started with.
fn config_file<'a>(instance: &'a Instance, workload: &WorkloadName) -> Option<&'a FileTemplate> {
    let service = instance.spec.service(workload.service())?;
    let is_named = |file: &&FileTemplate| service.container.command.contains(&file.target);
    service.files.iter().find(is_named)
}

/// What stands for a secret.
const MASK: &str = "********";

/// A config file's text with a mask for each secret.
fn masked(
    instance: &Instance,
    workload: &WorkloadName,
    file: &FileTemplate,
) -> Result<String, Fault> {
    let mut values = instance.values.clone();
    for value in values.values_mut() {
        if matches!(value, Value::Secret(_)) {
            *value = Value::Secret(Secret::new(MASK));
        }
    }
    let discovery = Discovery::of(&instance.spec, &instance.layout, &BTreeMap::new());
    Ok(template::render(file, &values, &discovery, workload)?)
}

/// Settings that may stand in several lines, all of which count.
const GATHERED: [&str; 5] = [
    "client-output-buffer-limit",
    "loadmodule",
    "rename-command",
    "save",
    "user",
];

/// The settings of a config file's text.
fn directives(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = words(line).into_iter();
        let Some(name) = words.next().map(|it| it.to_ascii_lowercase()) else {
            continue;
        };
        let value = words.collect::<Vec<String>>().join(" ");
        match found.get_mut(&name) {
            // `save ""` takes back the lines before it.
            Some(known) if GATHERED.contains(&name.as_str()) && !value.is_empty() => {
                *known = format!("{known} {value}").trim().to_owned();
            }
            _ => {
                found.insert(name, value);
            }
        }
    }
    found
}

/// The settings among the arguments of a server: they count more than its file.
fn arguments(instance: &Instance, workload: &WorkloadName) -> BTreeMap<String, String> {
    let service = instance.spec.service(workload.service());
    let command = service.map_or(&[][..], |it| &it.container.command);
    let lines = command.join(" ");
    let lines = lines.split(" --").skip(1).collect::<Vec<&str>>().join("\n");
    directives(&lines)
}

/// A line's words; what is in quotes is one word, and within `"` a backslash keeps the next sign.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = line.chars();
    while let Some(sign) = rest.next() {
        match (quote, sign) {
            (Some('"'), '\\') => word.get_or_insert_default().extend(rest.next()),
            (Some(open), sign) if sign == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(sign);
                word.get_or_insert_default();
            }
            (None, sign) if sign.is_whitespace() => words.extend(word.take()),
            (_, sign) => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

/// Whether two values of a setting mean the same: a server writes `256mb` as bytes, and a class of
/// clients with all the others.
fn is_same(name: &str, wanted: &str, running: &str) -> bool {
    if name == "client-output-buffer-limit" {
        let (wanted, running) = (limits(wanted), limits(running));
        return wanted.iter().all(|it| running.contains(it));
    }
    if name == "notify-keyspace-events" {
        let signs = |text: &str| text.chars().collect::<BTreeSet<char>>();
        return signs(wanted) == signs(running);
    }
    let value = |text: &str| bytes(text).unwrap_or_else(|| text.to_ascii_lowercase());
    let values = |text: &str| -> Vec<String> { text.split_whitespace().map(value).collect() };
    values(wanted) == values(running)
}

/// A limit for each class of clients, whose name was another one once.
fn limits(text: &str) -> Vec<Vec<String>> {
    let class = |word: &str| match word {
        "slave" => "replica".to_owned(),
        word => bytes(word).unwrap_or_else(|| word.to_owned()),
    };
    let words: Vec<String> = text.split_whitespace().map(class).collect();
    words.chunks(4).map(<[String]>::to_vec).collect()
}

/// An amount as the servers read it, in bytes.
fn bytes(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|it: char| !it.is_ascii_digit());
    let (number, unit) = lower.split_at(end.unwrap_or(lower.len()));
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(number.checked_mul(factor)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_hold_a_secret_are_left_out() {
        let answer = "1) \"maxmemory\"\n2) \"100\"\n3) \"masterauth\"\n4) \"x\"\n\
                      5) \"masteruser\"\n6) \"y\"";
        let settings = open_settings(answer);
        assert_eq!(settings.len(), 1);
        assert_eq!(settings["maxmemory"], "100");
    }

    #[test]
    fn a_secret_is_named_and_neither_of_its_values_is_shown() {
        let value = "hunter2".to_owned();
        for name in [
            "requirepass",
            "masterauth",
            "masteruser",
            "tls-key-file-pass",
            "user",
        ] {
            let body = setting(EngineKind::Docker, name, Some(&value), Some(&value));
            assert_eq!((body.wanted, body.running), (None, None), "{name}");
            assert_eq!(body.verdict, "secret");
        }
    }

    #[test]
    fn a_config_file_is_read_as_the_servers_read_it() {
        let text = "# a comment\nPORT 6379\n\nsave 3600 1\nsave 300 100\n  dir \"/a b\"\n\
                    maxmemory 1mb\nmaxmemory 2mb\nuser x on \">p\\\"q\" ~*\n";
        let found = directives(text);
        let expected = [
            ("dir", "/a b"),
            ("maxmemory", "2mb"),
            ("port", "6379"),
            ("save", "3600 1 300 100"),
            ("user", "x on >p\"q ~*"),
        ];
        let found: Vec<(&str, &str)> = found.iter().map(|it| (&**it.0, &**it.1)).collect();
        assert_eq!(found, expected);
        assert_eq!(directives("save 1 1\nsave \"\"")["save"], "");
    }

    #[test]
    fn values_that_mean_the_same_are_the_same() {
        let check = |name: &str, wanted: &str, running: &str, expected: bool| {
            assert_eq!(is_same(name, wanted, running), expected, "{name} {wanted}");
        };
        check("maxmemory", "256mb", "268435456", true);
        check("maxmemory", "256mb", "268435455", false);
        check("appendonly", "Yes", "yes", true);
        check("maxmemory-clients", "5%", "5%", true);
        check("bind", "127.0.0.1  ::1", "127.0.0.1 ::1", true);
        check("notify-keyspace-events", "KEA", "AKE", true);
        let running = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let limit = "client-output-buffer-limit";
        check(limit, "replica 256mb 64mb 60", running, true);
        check(limit, "replica 256mb 64mb 61", running, false);
    }

    #[test]
    fn a_verdict_says_what_is_wrong() {
        let check = |wanted: Option<&str>, running: Option<&str>, expected: &str| {
            let (wanted, running) = (wanted.map(str::to_owned), running.map(str::to_owned));
            let engine = EngineKind::Process;
            let body = setting(engine, "dir", wanted.as_ref(), running.as_ref());
            assert_eq!(body.verdict, expected);
        };
        check(Some("x"), Some("y"), "differs");
        check(Some("x"), None, "untold");
        check(None, Some("y"), "unset");
        check(Some("/data"), Some("/home/data"), "engine");
    }
}
