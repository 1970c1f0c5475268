//! Words that the program itself has, where they come from a client or a server of the same
//! version: only those that are known are taken.

use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// One of the program's own words.
pub(crate) type Known = &'static str;

fn known<'de, D: Deserializer<'de>>(deserializer: D, words: &[Known]) -> Result<Known, D::Error> {
    let text = String::deserialize(deserializer)?;
    let word = words.iter().find(|word| **word == text);
    word.copied()
        .ok_or_else(|| D::Error::custom("it is none of the words that can stand here"))
}

/// A verb that changes an instance's shape.
pub(crate) fn shape_verb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Known, D::Error> {
    known(deserializer, &["scale", "rebalance", "cancel"])
}

/// A verb that tends a cluster.
pub(crate) fn tending_verb<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Known, D::Error> {
    known(deserializer, &crate::tend::VERBS)
}

/// What a server is.
pub(crate) fn role<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Known, D::Error> {
    known(
        deserializer,
        &["primary", "replica", "standalone", "unknown"],
    )
}

/// A user and the file with its password. A path that is no text goes as it would be shown.
pub(crate) fn path_as_shown<S: Serializer>(
    credentials: &Option<(String, PathBuf)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = credentials.as_ref();
    shown
        .map(|(user, file)| (user, file.display().to_string()))
        .serialize(serializer)
}
