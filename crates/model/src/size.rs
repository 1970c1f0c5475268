//! Amounts of memory: read as the servers read them, written so that a person can compare them.

use std::fmt;

#[cfg(feature = "wire")]
use serde::{Deserialize, Serialize};

/// An amount of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "wire", derive(Serialize, Deserialize))]
pub struct ByteSize(u64);

/// Why a text is not an amount of bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SizeError {
    /// It does not begin with a whole number.
    NoNumber,
    /// What follows the number is no unit.
    UnknownUnit(String),
    /// More than 2^64 - 1 bytes.
    TooLarge,
}

impl fmt::Display for SizeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => out.write_str("an amount of memory begins with a whole number"),
            Self::UnknownUnit(unit) => write!(out, "`{unit}` is no unit of memory"),
            Self::TooLarge => out.write_str("this is more memory than can be counted"),
        }
    }
}

impl std::error::Error for SizeError {}

/// The units of redis.conf (`memtoll`, util.c), the IEC names, and Docker's short ones, which
/// count in powers of 1024 where redis.conf's `k`, `m` and `g` count in powers of 1000.
const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
    ("tb", 1 << 40),
    ("tib", 1 << 40),
];

impl ByteSize {
    /// This many bytes.
    #[must_use]
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// This many MiB (2^20 bytes); what does not fit is the largest amount there is.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// Reads `256mb`, `256MiB`, `1g` or a plain number of bytes, with redis.conf's units: `mb` is
    /// 2^20 bytes, `m` is a million.
    ///
    /// # Errors
    /// Where there is no number, no such unit, or too large an amount.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::NoNumber);
        }
        let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, factor)| *factor)
            .ok_or(SizeError::UnknownUnit(unit))?;
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or(SizeError::TooLarge)
    }
}

/// `256 MiB`, `1.5 GiB`, `17 B`: one decimal at most, and only where it says something.
impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in [("TiB", 40_u32), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >> shift == 0 {
                continue;
            }
            let whole = self.0 >> shift;
            let tenth = ((self.0 & ((1 << shift) - 1)) * 10) >> shift;
            return if tenth == 0 {
                write!(out, "{whole} {name}")
            } else {
                write!(out, "{whole}.{tenth} {name}")
            };
        }
        write!(out, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_the_units_of_redis_conf() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("1k", 1_000),
            ("1kb", 1_024),
            ("256MiB", 268_435_456),
            ("256 mb", 268_435_456),
            (" 1GB ", 1_073_741_824),
            ("3g", 3_000_000_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_why() {
        assert_eq!(ByteSize::parse(""), Err(SizeError::NoNumber));
        assert_eq!(ByteSize::parse("much"), Err(SizeError::NoNumber));
        assert_eq!(ByteSize::parse("-1"), Err(SizeError::NoNumber));
        assert_eq!(
            ByteSize::parse("1.5gb"),
            Err(SizeError::UnknownUnit(".5gb".to_owned()))
        );
        assert_eq!(
            ByteSize::parse("99999999999999999999"),
            Err(SizeError::TooLarge)
        );
        assert_eq!(ByteSize::parse("18446744073gb"), Err(SizeError::TooLarge));
    }

    #[test]
    fn sizes_are_written_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (268_435_456, "256 MiB"),
            (1_610_612_736, "1.5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
