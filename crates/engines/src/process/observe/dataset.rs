//! Tells a data set from the empty files that a server makes of its own accord.
//!
//! A server with `appendonly yes` writes a base file before its first command, and one that is
//! stopped writes a dump of nothing: files of some 90 bytes that hold no key. To take those for
//! data would let a primary start that has lost everything. What cannot be read counts as data.

/// How much of a file's beginning is enough: whatever comes before the first key, which is some
/// hundred bytes, with room for the scripts that old versions keep there.
pub(crate) const HEAD_BYTES: usize = 16 << 10;

/// What a server with a certain configuration loads when it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loads {
    /// The append-only files and nothing else, also where they are empty and a dump is not.
    AppendOnlyFiles,
    /// The dump and nothing else.
    Dump,
    /// It is not known.
    Either,
}

impl Loads {
    /// What a server loads by its config files and arguments. The last word counts, and an
    /// argument comes after all files; the servers' own default is the dump.
    pub(crate) fn of(config_files: &[String], arguments: &[String]) -> Self {
        let lines = config_files.iter().flat_map(|text| text.lines());
        let settings = lines.filter_map(|line| {
            let (name, value) = line.trim().split_once(char::is_whitespace)?;
            name.eq_ignore_ascii_case("appendonly")
                .then(|| value.trim().trim_matches(['"', '\'']))
        });
        let options = arguments
            .windows(2)
            .filter(|pair| pair[0].eq_ignore_ascii_case("--appendonly"))
            .map(|pair| pair[1].as_str());
        match settings.chain(options).last() {
            Some(value) if value.eq_ignore_ascii_case("yes") => Self::AppendOnlyFiles,
            Some(_) | None => Self::Dump,
        }
    }

    /// Whether a file of this name is one that is loaded.
    pub(crate) fn takes(self, name: &str, in_folder: bool) -> bool {
        // What was being written when a server ended, and is never read again.
        if name.starts_with("temp-") {
            return false;
        }
        // The base file of the append-only files is a dump by its form, not by its place.
        let append_only = name.ends_with(".aof") || (in_folder && name.contains(".aof."));
        let append_only = append_only && !name.ends_with(".manifest");
        let dump = name.ends_with(".rdb") && !append_only;
        match self {
            Self::AppendOnlyFiles => append_only,
            Self::Dump => dump,
            Self::Either => append_only || dump,
        }
    }
}

/// Whether a file holds anything, by its beginning and its length.
pub(crate) fn holds_data(head: &[u8], length: u64) -> bool {
    if length == 0 {
        return false;
    }
    match end_of_empty_dump(head) {
        // A checksum of 8 bytes may follow the end; commands may too, in an append-only file.
        Some(end) => length > end as u64 + 8,
        None => true,
    }
}

/// Where a dump ends that holds no key: after its fields, which tell about the server. `None` for
/// any other file. The form is that of rdb.h: magic, then `FA` for each field, `FF` for the end.
fn end_of_empty_dump(head: &[u8]) -> Option<usize> {
    const FIELD: u8 = 0xfa;
    const END: u8 = 0xff;
    // `REDIS0010`, and `VALKEY080` since Valkey 9.
    if !(head.starts_with(b"REDIS") || head.starts_with(b"VALKEY")) {
        return None;
    }
    let mut at = 9;
    // Each turn reads past a field, so it ends with the head.
    loop {
        match *head.get(at)? {
            FIELD => at = after_text(head, after_text(head, at + 1)?)?,
            END => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Where a text of a dump ends that begins there (rdb.c, `rdbLoadLenByRef` and
/// `rdbGenericLoadStringObject`).
fn after_text(head: &[u8], at: usize) -> Option<usize> {
    let first = *head.get(at)?;
    match first >> 6 {
        0b00..=0b10 => {
            let (length, at) = length(head, at)?;
            at.checked_add(length)
        }
        // A number of 1, 2 or 4 bytes, or a compressed text.
        _ => match first & 0x3f {
            0 => Some(at + 2),
            1 => Some(at + 3),
            2 => Some(at + 5),
            3 => {
                let (compressed, at) = length(head, at + 1)?;
                let (_, at) = length(head, at)?;
                at.checked_add(compressed)
            }
            _ => None,
        },
    }
}

/// A length that begins there, and where it ends.
fn length(head: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *head.get(at)?;
    let number = |from: usize, count: usize| {
        let bytes = head.get(from..from.checked_add(count)?)?;
        let value = bytes
            .iter()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    match (first >> 6, first) {
        (0b00, _) => Some((usize::from(first & 0x3f), at + 1)),
        (0b01, _) => Some((number(at, 2)? & 0x3fff, at + 2)),
        (_, 0x80) => Some((number(at + 1, 4)?, at + 5)),
        (_, 0x81) => Some((number(at + 1, 8)?, at + 9)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Redis 7.0.15 writes it.
    const FIELDS: &[u8] = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40\
        \xfa\x05ctime\xc2\x65\x86\x05\x6b\xfa\x08aof-base\xc0\x01";

    fn dump(rest: &[u8]) -> Vec<u8> {
        [FIELDS, rest].concat()
    }

    fn check(bytes: &[u8], expected: bool) {
        assert_eq!(holds_data(bytes, bytes.len() as u64), expected, "{bytes:?}");
    }

    #[test]
    fn the_files_of_an_empty_server_are_no_data_set() {
        check(b"", false);
        check(&dump(b"\xff12345678"), false);
        check(b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xff12345678", false);
        check(b"REDIS0011\xfa\x40\x03abc\xc1\x01\x02\xff12345678", false);
        check(
            b"REDIS0011\xfa\xc3\x02\x04xy\x80\0\0\0\x01z\xff12345678",
            false,
        );
    }

    #[test]
    fn keys_functions_commands_and_what_is_not_understood_are_data() {
        check(
            &dump(b"\xfe\x00\xfb\x01\x00\x00\x01a\xc0\x01\xff12345678"),
            true,
        );
        check(&dump(b"\xf5\x05#!lua\xff12345678"), true);
        check(&dump(b"\xff12345678*1\r\n$4\r\nPING\r\n"), true);
        check(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", true);
        check(b"garbage", true);
        check(b"REDIS", true);
        check(FIELDS, true);
        check(b"REDIS0011\xfa\x81\xff\xff\xff\xff\xff\xff\xff\xff", true);
        // The end lies beyond what was read.
        assert!(holds_data(&dump(b""), 1 << 30));
    }

    #[test]
    fn a_server_loads_what_its_configuration_says() {
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        for (files, arguments, expected) in [
            (
                &["port 6379\nappendonly yes\n"][..],
                &[][..],
                Loads::AppendOnlyFiles,
            ),
            (&["  AppendOnly \"YES\""], &[], Loads::AppendOnlyFiles),
            (&["appendonly yes", "appendonly no"], &[], Loads::Dump),
            (&["appendonly yes"], &["--appendonly", "no"], Loads::Dump),
            (&["#appendonly yes\nappendonlyx yes"], &[], Loads::Dump),
            (&[], &["--appendonly", "yes"], Loads::AppendOnlyFiles),
            (&[], &["--appendonly"], Loads::Dump),
        ] {
            assert_eq!(
                Loads::of(&own(files), &own(arguments)),
                expected,
                "{files:?} {arguments:?}"
            );
        }
    }

    #[test]
    fn a_dump_is_not_what_a_server_with_append_only_files_loads() {
        for (name, in_folder, append_only, dump) in [
            ("dump.rdb", false, false, true),
            ("appendonly.aof.1.base.rdb", true, true, false),
            ("appendonly.aof.1.incr.aof", true, true, false),
            ("appendonly.aof", false, true, false),
            ("appendonly.aof.manifest", true, false, false),
            ("temp-123.rdb", false, false, false),
            ("temp-rewriteaof-1.aof", false, false, false),
            ("nodes.conf", false, false, false),
        ] {
            assert_eq!(
                Loads::AppendOnlyFiles.takes(name, in_folder),
                append_only,
                "{name}"
            );
            assert_eq!(Loads::Dump.takes(name, in_folder), dump, "{name}");
            assert_eq!(
                Loads::Either.takes(name, in_folder),
                append_only || dump,
                "{name}"
            );
        }
    }
}
