//! Judges an RDB file as it comes: it begins and ends as one does, and its checksum is right. Pure.
//!
//! It does not read what is between: whether each key can be loaded is the server's to say.

use crc::{CRC_64_REDIS, Crc, Digest, Table};
use sha2::{Digest as _, Sha256};

/// What a file begins with, by software; the four digits of a version follow, three in Valkey's.
const MAGICS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];

/// The bytes that are looked at in the beginning: a magic and a version.
const HEAD_BYTES: usize = 9;

/// The end of a file: the opcode, and a checksum of everything before, in little-endian order
/// (`rdbSaveRio`, rdb.c of Redis 7.0).
const END_OPCODE: u8 = 0xFF;
const FOOT_BYTES: usize = 9;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// What a whole file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sums {
    pub(super) bytes: u64,
    /// The version of the format.
    pub(super) version: String,
    pub(super) sha256: String,
    /// The file's own checksum; `None` where the server writes none (`rdbchecksum no`).
    pub(super) crc64: Option<u64>,
}

/// Takes a file piece by piece.
pub(super) struct Judge {
    bytes: u64,
    head: Vec<u8>,
    /// The last bytes so far, which are not in the checksum yet.
    foot: Vec<u8>,
    crc: Digest<'static, u64, Table<16>>,
    sha256: Sha256,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self {
            bytes: 0,
            head: Vec::new(),
            foot: Vec::new(),
            crc: CHECKSUM.digest(),
            sha256: Sha256::new(),
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head
            .extend_from_slice(&bytes[..missing.min(bytes.len())]);
        // The foot is what came last; what it pushes out is known not to be in it.
        if bytes.len() >= FOOT_BYTES {
            let (body, foot) = bytes.split_at(bytes.len() - FOOT_BYTES);
            self.crc.update(&self.foot);
            self.crc.update(body);
            self.foot = foot.to_vec();
        } else {
            self.foot.extend_from_slice(bytes);
            let known = self.foot.len().saturating_sub(FOOT_BYTES);
            self.crc.update(&self.foot[..known]);
            self.foot.drain(..known);
        }
    }

    /// What it was.
    ///
    /// # Errors
    /// With what is wrong with it, in words.
    pub(super) fn end(mut self) -> Result<Sums, String> {
        let magic = MAGICS.iter().find(|it| self.head.starts_with(it));
        let magic = magic.ok_or("it does not begin as an RDB file does")?;
        let version = self.head.get(magic.len()..).unwrap_or_default();
        let version = String::from_utf8_lossy(version).into_owned();
        let (Some(&[opcode]), Some(stored)) = (
            self.foot.first_chunk::<1>(),
            self.foot
                .last_chunk::<8>()
                .filter(|_| self.foot.len() == FOOT_BYTES),
        ) else {
            return Err("it is too short for an RDB file".to_owned());
        };
        if opcode != END_OPCODE {
            return Err("it does not end as an RDB file does".to_owned());
        }
        self.crc.update(&[opcode]);
        let stored = u64::from_le_bytes(*stored);
        let reckoned = self.crc.finalize();
        if stored != 0 && stored != reckoned {
            return Err(format!(
                "its checksum is {stored:016x}, and its bytes have {reckoned:016x}"
            ));
        }
        Ok(Sums {
            bytes: self.bytes,
            version,
            sha256: self
                .sha256
                .finalize()
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect(),
            crc64: (stored != 0).then_some(stored),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(body: &[u8]) -> Vec<u8> {
        let mut file = [b"REDIS0010".as_slice(), body, &[END_OPCODE]].concat();
        let sum = CHECKSUM.checksum(&file);
        file.extend(sum.to_le_bytes());
        file
    }

    fn judged(file: &[u8], piece: usize) -> Result<Sums, String> {
        let mut judge = Judge::new();
        for piece in file.chunks(piece) {
            judge.take(piece);
        }
        judge.end()
    }

    #[test]
    fn the_polynomial_is_the_one_of_redis() {
        // crc64Test, crc64.c of Redis 7.0.
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_file_is_the_same_in_pieces_of_any_size() {
        let file = file(&[7; 100]);
        let whole = judged(&file, file.len()).unwrap();
        assert_eq!((whole.bytes, whole.version.as_str()), (118, "0010"));
        for piece in 1..40 {
            assert_eq!(judged(&file, piece).as_ref(), Ok(&whole), "{piece}");
        }
    }

    #[test]
    fn one_wrong_bit_anywhere_is_found() {
        let file = file(b"some keys");
        for at in 0..file.len() {
            let mut wrong = file.clone();
            wrong[at] ^= 1;
            assert!(judged(&wrong, 5).is_err(), "{at}");
        }
        for length in 0..file.len() {
            assert!(judged(&file[..length], 5).is_err(), "{length}");
        }
    }

    #[test]
    fn a_server_may_write_no_checksum() {
        let mut file = file(b"some keys");
        let end = file.len() - 8;
        file[end..].fill(0);
        assert_eq!(judged(&file, 5).unwrap().crc64, None);
    }
}
