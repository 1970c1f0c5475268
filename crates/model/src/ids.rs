//! Names and ids, each a type of its own, so that one cannot be passed for another.

use std::fmt;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameError {
    /// What the name is for: `instance`, `service`.
    pub what: &'static str,
    /// The text that was given, cut to a length that can be shown.
    pub given: String,
    /// The rule it breaks.
    pub rule: String,
}

impl fmt::Display for NameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}` is no {} name: {}",
            self.given, self.what, self.rule
        )
    }
}

impl std::error::Error for NameError {}

/// The longest name of an instance, a service or a template. A workload's name adds a number to
/// it, and a container engine's name (63 characters) both together.
pub const NAME_LENGTH_MAX: usize = 40;

fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    let fail = |rule: String| {
        // A name of a megabyte, or one with a line break, must not spoil the message about it.
        let given: String = text.chars().take(60).flat_map(char::escape_debug).collect();
        Err(NameError { what, given, rule })
    };
    if text.is_empty() {
        return fail("it is empty".to_owned());
    }
    let count = text.chars().count();
    if count > NAME_LENGTH_MAX {
        return fail(format!(
            "it has {count} characters, and {NAME_LENGTH_MAX} is the most"
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
    {
        return fail(format!(
            "it holds `{}`, and only a-z, 0-9 and - are allowed",
            bad.escape_debug()
        ));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return fail("it begins or ends with -".to_owned());
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name: 1 to 40 of a-z, 0-9 and -, no - at either end.
            ///
            /// # Errors
            /// With the rule that the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of an instance: one delivered template.
    InstanceName,
    "instance"
);
name_type!(
    /// The name of a service: a template's group of equal workloads.
    ServiceName,
    "service"
);
name_type!(
    /// The name of a template.
    TemplateName,
    "template"
);

/// The name of a workload: its service and its number from 1, as in `redis-1`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WorkloadName {
    service: ServiceName,
    number: u32,
}

impl WorkloadName {
    /// The workload of a service with this number, counted from 1.
    #[must_use]
    pub const fn new(service: ServiceName, number: u32) -> Self {
        Self { service, number }
    }

    /// Reads `redis-1`; `None` where there is no service name or no number from 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (service, number) = text.rsplit_once('-')?;
        let service = ServiceName::new(service).ok()?;
        // `redis-01` and `redis-+1` would name a workload in two ways.
        let number: u32 = number.parse().ok().filter(|value| *value > 0)?;
        let name = Self { service, number };
        (name.to_string() == text).then_some(name)
    }

    /// The service that the workload belongs to.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Its number within the service, from 1.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.service, self.number)
    }
}

/// By service, then by number, so that `redis-2` comes before `redis-10`.
impl Ord for WorkloadName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&self.service, self.number).cmp(&(&other.service, other.number))
    }
}

impl PartialOrd for WorkloadName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The name of a template's variable: letters, digits and `_`, as `REPLICAS_NUM`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VariableName(String);

impl VariableName {
    /// Checks and takes a name: a letter or `_`, then letters, digits and `_`, 60 at most.
    ///
    /// # Errors
    /// With the rule that the text breaks.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut chars = text.chars();
        let first = chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let rest = chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if first && rest && text.len() <= 60 {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "variable",
            given: text.chars().take(60).flat_map(char::escape_debug).collect(),
            rule: "it is a letter or _, then letters, digits and _, 60 at most".to_owned(),
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The name of a host: a machine that runs workloads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostName(String);

impl HostName {
    /// Takes the name that the engine gave.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The id of a node in a cluster: 40 lower-case hexadecimal digits, for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 20]);

impl NodeId {
    /// The id of these 20 bytes, which must come from a source that never repeats itself: two
    /// nodes of one id destroy a cluster.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Reads 40 hexadecimal digits in lower case; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The first eight digits: enough for a person to tell the nodes of a cluster apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeId({})", self.short())
    }
}

/// The version number of a claim on slots; the higher one wins (Redis Cluster specification,
/// "Cluster current epoch").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// The number of a shard of an instance, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardIndex(pub u16);

/// Shown from 1, as people count.
impl fmt::Display for ShardIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "shard {}", u32::from(self.0) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_climb_out_or_confuse_are_refused() {
        for (text, part) in [
            ("", "empty"),
            ("a/b", "holds `/`"),
            ("..", "holds `.`"),
            ("a b", "holds ` `"),
            ("a\nb", "holds `\\n`"),
            ("Demo", "holds `D`"),
            ("pr\u{43e}d", "holds `\u{43e}`"),
            ("-rf", "begins or ends with -"),
            (&"x".repeat(200), "200 characters"),
        ] {
            let error = InstanceName::new(text).unwrap_err();
            assert!(error.rule.contains(part), "{text:?}: {error}");
            assert!(error.to_string().lines().count() == 1, "{error}");
        }
        assert_eq!(
            InstanceName::new("orders-2").unwrap().to_string(),
            "orders-2"
        );
    }

    #[test]
    fn a_workload_has_one_name_only() {
        let name = WorkloadName::parse("redis-trib-1").unwrap();
        assert_eq!(name.service().as_str(), "redis-trib");
        assert_eq!(name.number(), 1);
        for text in ["redis", "redis-0", "redis-01", "redis-+1", "-1", "redis-"] {
            assert_eq!(WorkloadName::parse(text), None, "{text}");
        }
        let two = WorkloadName::parse("redis-2").unwrap();
        assert!(two < WorkloadName::parse("redis-10").unwrap());
    }

    #[test]
    fn a_node_id_is_forty_digits() {
        let text = "07c37dfeb235213a872192d90877d0cd55635b91";
        assert_eq!(NodeId::parse(text).unwrap().to_string(), text);
        assert_eq!(NodeId::parse(text).unwrap().short(), "07c37dfe");
        assert_eq!(NodeId::parse(&text.to_uppercase()), None);
        assert_eq!(NodeId::parse(&text[1..]), None);
    }
}
