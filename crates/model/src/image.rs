//! Images: which server, in which version, a workload is made from.
//!
//! The names are those of container images. An engine without containers takes from a name what it
//! says: the software and the wanted version.

use std::fmt;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

/// A reference to an image: `redis:7`, `valkey/valkey:9`, `registry:5000/a/b@sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageRef {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// A text that is no reference to an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageError(pub String);

impl fmt::Display for ImageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}` is no image: write it as redis:7 or valkey/valkey:9",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for ImageError {}

/// The longest reference that is taken; registries allow 255 characters for the name alone.
const REFERENCE_LENGTH_MAX: usize = 400;

impl ImageRef {
    /// Reads a reference with Docker's rules.
    ///
    /// # Errors
    /// Where a part is empty or holds a character that none can hold.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let fail = || ImageError(text.chars().take(60).collect());
        if text.len() > REFERENCE_LENGTH_MAX {
            return Err(fail());
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            Some(_) | None => (rest, None),
        };
        let word = |part: &str, extra: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
        };
        let repository_fits = repository.split('/').all(|part| word(part, "._-:"));
        let tag_fits = tag.is_none_or(|tag| word(tag, "._-"));
        let digest_fits = digest.is_none_or(|digest| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && word(hex, ""))
        });
        if !(repository_fits && tag_fits && digest_fits) {
            return Err(fail());
        }
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The software that the name promises. What is really inside is found out by the engine.
    #[must_use]
    pub fn software(&self) -> Software {
        match self.repository.rsplit('/').next() {
            Some("redis") => Software::Redis,
            Some("valkey") => Software::Valkey,
            Some("shardyard") => Software::Shardyard,
            Some(_) | None => Software::Other,
        }
    }

    /// The version that the tag asks for: `7` is any 7, `7.0-alpine` any 7.0, `latest` anything.
    #[must_use]
    pub fn wanted_version(&self) -> Vec<u32> {
        let tag = self.tag.as_deref().unwrap_or("");
        let numbers = tag.split('-').next().unwrap_or("");
        numbers
            .split('.')
            .map_while(|part| part.parse().ok())
            .collect()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

/// What runs in a workload, as far as Shardyard treats it in a way of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub enum Software {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// Shardyard itself, as the program of a job.
    Shardyard,
    /// Anything else.
    Other,
}

impl fmt::Display for Software {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Shardyard => "shardyard",
            Self::Other => "other",
        })
    }
}

/// The software and version of a server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct ServerVersion {
    /// Which server it is.
    pub software: Software,
    /// The first number of its version.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

impl ServerVersion {
    /// Reads the three numbers of `7.0.15`; a missing one is 0, what follows them is left out.
    #[must_use]
    pub fn parse(software: Software, text: &str) -> Option<Self> {
        let mut numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .take(3)
            .map(|part| part.parse().unwrap_or(0));
        let major = numbers.next().filter(|major| *major > 0)?;
        Some(Self {
            software,
            major,
            minor: numbers.next().unwrap_or(0),
            patch: numbers.next().unwrap_or(0),
        })
    }

    /// Whether this is a version that the numbers ask for: `[7]` takes any 7.
    #[must_use]
    pub fn satisfies(&self, wanted: &[u32]) -> bool {
        [self.major, self.minor, self.patch].starts_with(&wanted[..wanted.len().min(3)])
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}.{}.{}",
            self.software, self.major, self.minor, self.patch
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written_as_docker_does() {
        for (text, software, version) in [
            ("redis:7", Software::Redis, vec![7]),
            ("redis", Software::Redis, vec![]),
            ("redis:7.0.15-bookworm", Software::Redis, vec![7, 0, 15]),
            ("valkey/valkey:9", Software::Valkey, vec![9]),
            ("host:5000/team/redis:latest", Software::Redis, vec![]),
            ("shardyard", Software::Shardyard, vec![]),
            ("nginx:1.27", Software::Other, vec![1, 27]),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!(image.to_string(), text);
            assert_eq!(image.software(), software);
            assert_eq!(image.wanted_version(), version, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in ["", ":7", "a b", "redis:", "redis@sha256:12", "a//b", "x\n"] {
            assert!(ImageRef::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_version_satisfies_the_numbers_it_begins_with() {
        let version = ServerVersion::parse(Software::Redis, "7.0.15").unwrap();
        assert_eq!(version.to_string(), "redis 7.0.15");
        assert!(version.satisfies(&[]) && version.satisfies(&[7]) && version.satisfies(&[7, 0]));
        assert!(!version.satisfies(&[7, 2]) && !version.satisfies(&[8]));
        assert_eq!(ServerVersion::parse(Software::Redis, "unknown"), None);
    }
}
