//! Puts this host's paths in place of the container's in a server's config file.
//!
//! Only settings that are known to take a path are touched, and only where the path is one of the
//! workload's own files or volumes. Any other line stays as it is, byte for byte.

use std::fmt::Write;

use super::super::launch::Places;
use super::TranslateError;
use super::place;

/// The settings of Redis and Valkey that take a path, which may be a container's. A server reads
/// `dir` and `include` while it reads the file, so an argument that comes later does not mend them.
const PATH_SETTINGS: [&str; 14] = [
    "aclfile",
    "dir",
    "include",
    "loadmodule",
    "logfile",
    "pidfile",
    "tls-ca-cert-dir",
    "tls-ca-cert-file",
    "tls-cert-file",
    "tls-client-cert-file",
    "tls-client-key-file",
    "tls-dh-params-file",
    "tls-key-file",
    "unixsocket",
];

/// The text with the paths of this host.
pub(super) fn with_own_paths(text: &str, places: &Places) -> Result<String, TranslateError> {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match own_line(line, places)? {
            Some(own) => out.push_str(&own),
            None => out.push_str(line),
        }
    }
    Ok(out)
}

/// The line for this host; `None` where it is right as it is.
fn own_line(line: &str, places: &Places) -> Result<Option<String>, TranslateError> {
    let content = line.trim_end_matches(['\n', '\r']);
    let end = &line[content.len()..];
    let trimmed = content.trim();
    let Some((setting, value)) = trimmed.split_once(char::is_whitespace) else {
        return Ok(None);
    };
    if !PATH_SETTINGS.contains(&setting.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    // `loadmodule` has arguments after its path; every other setting has the path alone.
    let (path, rest) = first_word(value.trim_start());
    let Some(own) = place::find(places, path) else {
        return Ok(None);
    };
    let own = quoted(&place::text(&own)?);
    Ok(Some(format!("{setting} {own}{rest}{end}")))
}

/// The first word of a value, without quotes, and what follows it. A path with an escape in it is
/// none of ours, and what is not closed is left for the server to complain about.
fn first_word(value: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some((word, rest)) = value
            .strip_prefix(quote)
            .and_then(|inner| inner.split_once(quote))
        {
            return (word, rest);
        }
    }
    let end = value.find(char::is_whitespace).unwrap_or(value.len());
    value.split_at(end)
}

/// A word as the servers' config files write it (sds.c, `sdssplitargs`).
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let places = Places {
            volumes: vec![("/data".to_owned(), "/home/a b/\"q\"/data".into())],
            files: vec![
                (
                    "/etc/redis/users.acl".to_owned(),
                    "/h/files/users.acl".into(),
                ),
                ("/data/more.conf".to_owned(), "/h/data/more.conf".into()),
            ],
        };
        assert_eq!(with_own_paths(line, &places).unwrap(), expected, "{line}");
    }

    #[test]
    fn own_paths_take_the_place_of_the_containers() {
        check(
            "aclfile /etc/redis/users.acl\n",
            "aclfile /h/files/users.acl\n",
        );
        check("  Include \"/data/more.conf\"", "Include /h/data/more.conf");
        check("dir /data\r\n", "dir \"/home/a b/\\\"q\\\"/data\"\r\n");
        check(
            "dir '/data/sub'\n",
            "dir \"/home/a b/\\\"q\\\"/data/sub\"\n",
        );
        check(
            "loadmodule /data/m.so x /data\n",
            "loadmodule \"/home/a b/\\\"q\\\"/data/m.so\" x /data\n",
        );
    }

    #[test]
    fn every_other_line_stays_as_it_is() {
        for line in [
            "port 6379\ncluster-enabled yes\n\n\tcluster-config-file   nodes.conf\nappendonly yes",
            "requirepass /data\n",
            "# dir /data\n",
            "dir /database\n",
            "dir ./\ndir\ndir \n",
            "dir /data/../etc\n",
            "masterauth \"/data\"",
        ] {
            check(line, line);
        }
    }
}
