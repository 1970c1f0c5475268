//! Shows what a workload printed: its last lines, and the new ones as they come.
//!
//! What a program prints is not trusted. A line is made of plain characters when it leaves this
//! file: nothing in it can move the cursor, and a password that a server quotes from its config
//! file is left out. The log itself is never changed here.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use super::folders::WorkloadFolder;

/// The longest line that is shown as one; a longer one is cut into several. It bounds the memory
/// that a program without line breaks can make us use.
const LINE_BYTES_MAX: usize = 64 << 10;

/// How many bytes are read at once.
const READ_BYTES: usize = 64 << 10;

/// How far back the last lines are looked for. A log is cut before it is larger.
const TAIL_BYTES_MAX: u64 = 32 << 20;

/// How often a log is looked at for new lines: often enough to feel immediate, and a look costs
/// one question to the file system.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Settings of Redis and Valkey whose value is a secret. A server that does not like a line of
/// its config file prints the whole line.
const SECRET_SETTINGS: [&str; 8] = [
    "requirepass",
    "masterauth",
    "primaryauth",
    "user",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
    "sentinel auth-pass",
    "sentinel sentinel-pass",
];

/// One line as it may be shown: text that cannot be read is marked, control characters and those
/// that turn the direction of text are written out, and secrets are left out.
pub(crate) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = without_secret(text.strip_suffix('\r').unwrap_or(&text));
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character moves the cursor or turns the direction of text.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && c != '\t')
}

/// A server quotes a bad line of its config file as `>>> 'requirepass x y'`.
fn without_secret(line: &str) -> String {
    let quoted = line.strip_prefix(">>> '").map(|rest| {
        let lower = rest.trim_start().to_ascii_lowercase();
        SECRET_SETTINGS
            .into_iter()
            .find(|setting| lower.starts_with(setting))
    });
    match quoted.flatten() {
        Some(setting) => format!(">>> '{setting} …'"),
        None => line.to_owned(),
    }
}

/// At most this many last lines of what a workload printed from a place in its log on.
pub(crate) fn last_lines(folder: &WorkloadFolder, from: u64, count: usize) -> Vec<String> {
    last_lines_of(&folder.log(), from, count)
}

/// The same of any log.
pub(crate) fn last_lines_of(log: &Path, from: u64, count: usize) -> Vec<String> {
    let Ok(mut file) = File::open(log) else {
        return Vec::new();
    };
    let length = file.metadata().map_or(0, |log| log.len());
    // A log that is shorter than the place was cut since; all that it holds came later.
    let from = if from > length { 0 } else { from };
    let (bytes, _) = read_back(&mut file, from, count).unwrap_or_default();
    lines_of(&bytes, count)
}

/// The last lines of a text, as they may be shown.
fn lines_of(bytes: &[u8], count: usize) -> Vec<String> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut pieces: Vec<&[u8]> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        match line.is_empty() {
            true => pieces.push(line),
            false => pieces.extend(line.chunks(LINE_BYTES_MAX)),
        }
    }
    let skipped = pieces.len().saturating_sub(count);
    pieces.into_iter().skip(skipped).map(shown).collect()
}

/// Reads the end of a file, back to where more than `count` lines are in hand, and says where
/// that end is.
fn read_back(file: &mut File, from: u64, count: usize) -> io::Result<(Vec<u8>, u64)> {
    let end = file.metadata()?.len();
    let floor = from.max(end.saturating_sub(TAIL_BYTES_MAX));
    let mut start = end;
    let mut bytes = Vec::new();
    let mut breaks = 0;
    // Each turn reads a step further back, until the floor is reached.
    while start > floor && breaks <= count {
        let step = (start - floor).min(READ_BYTES as u64);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        Read::by_ref(file).take(step).read_to_end(&mut piece)?;
        breaks += piece.iter().filter(|byte| **byte == b'\n').count();
        piece.append(&mut bytes);
        bytes = piece;
    }
    Ok((bytes, end))
}

/// A reader of a log that goes on where it stopped, also when the log is cut meanwhile.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: WorkloadFolder,
    position: u64,
    /// The beginning of a line whose end is still to come.
    rest: Vec<u8>,
}

impl Reader {
    /// Hands on the last lines, and begins after them.
    pub(crate) fn begin(
        folder: WorkloadFolder,
        tail: usize,
        line: &mut (dyn FnMut(&str) + Send),
    ) -> io::Result<Self> {
        // A workload that never started has printed nothing.
        let (bytes, position) = match File::open(folder.log()) {
            Ok(mut file) => read_back(&mut file, 0, tail)?,
            Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), 0),
            Err(error) => return Err(error),
        };
        let mut lines = lines_of(&bytes, tail);
        if lines.len() < tail {
            let missing = tail - lines.len();
            let mut older = old_lines(&folder.old_log(), missing);
            older.append(&mut lines);
            lines = older;
        }
        for text in &lines {
            line(text);
        }
        Ok(Self {
            position,
            folder,
            rest: Vec::new(),
        })
    }

    /// Hands on new lines for as long as there is such a workload.
    pub(crate) async fn follow(&mut self, line: &mut (dyn FnMut(&str) + Send)) -> io::Result<()> {
        while self.folder.path().is_dir() {
            self.read_new(line)?;
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    fn read_new(&mut self, line: &mut (dyn FnMut(&str) + Send)) -> io::Result<()> {
        let mut file = match File::open(self.folder.log()) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.position {
            // It was cut. What came before that and was not yet read is in the old log.
            if let Ok(mut old) = File::open(self.folder.old_log()) {
                self.read_from(&mut old, line)?;
            }
            self.position = 0;
        }
        self.read_from(&mut file, line)
    }

    fn read_from(
        &mut self,
        file: &mut File,
        line: &mut (dyn FnMut(&str) + Send),
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.position))?;
        let mut piece = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            self.position += read as u64;
            self.take(&piece[..read], line);
        }
    }

    fn take(&mut self, bytes: &[u8], line: &mut (dyn FnMut(&str) + Send)) {
        for byte in bytes {
            if *byte != b'\n' {
                self.rest.push(*byte);
            }
            if *byte == b'\n' || self.rest.len() >= LINE_BYTES_MAX {
                line(&shown(&self.rest));
                self.rest.clear();
            }
        }
    }
}

fn old_lines(path: &Path, count: usize) -> Vec<String> {
    let read = File::open(path).and_then(|mut file| read_back(&mut file, 0, count));
    lines_of(&read.unwrap_or_default().0, count)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use model::ids::{InstanceName, WorkloadName};

    use super::super::folders::InstanceFolder;
    use super::*;

    #[test]
    fn a_line_cannot_steer_the_terminal_or_show_a_password() {
        for (line, expected) in [
            (&b"plain \xe2\x82\xac\ttext"[..], "plain \u{20ac}\ttext"),
            (b"\x1b[2Jgone", "\\u{1b}[2Jgone"),
            (b"a\rb\r", "a\\rb"),
            (b"\xc2\x9b31m", "\\u{9b}31m"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt"),
            (b">>> 'requirepass hunter2 x'", ">>> 'requirepass \u{2026}'"),
            (b">>> 'USER app on >hunter2'", ">>> 'user \u{2026}'"),
            (b">>> 'maxmemory lots'", ">>> 'maxmemory lots'"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    fn folder(home: &Path) -> WorkloadFolder {
        let instance = InstanceFolder::of(home, &InstanceName::new("demo").unwrap());
        let folder = instance.workload(&WorkloadName::parse("redis-1").unwrap());
        fs::create_dir_all(folder.path()).unwrap();
        folder
    }

    fn append(folder: &WorkloadFolder, text: &str) {
        let mut options = OpenOptions::new();
        let mut log = options
            .append(true)
            .create(true)
            .open(folder.log())
            .unwrap();
        log.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_lines_are_found_across_a_cut() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder(home.path());
        fs::write(folder.old_log(), "1\n2\n3\n").unwrap();
        append(&folder, "4\n5\n\nlast");
        for (tail, expected) in [
            (0, &[][..]),
            (2, &["", "last"]),
            (5, &["3", "4", "5", "", "last"]),
            (99, &["1", "2", "3", "4", "5", "", "last"]),
        ] {
            let mut lines = Vec::new();
            Reader::begin(folder.clone(), tail, &mut |line| {
                lines.push(line.to_owned())
            })
            .unwrap();
            assert_eq!(lines, expected, "{tail}");
        }
        assert_eq!(last_lines(&folder, 4, 9), ["", "last"]);
        assert_eq!(last_lines(&folder, 400, 1), ["last"]);
    }

    #[test]
    fn new_lines_are_read_when_the_log_is_cut_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder(home.path());
        append(&folder, "old\n");
        let mut lines = Vec::new();
        let mut keep = |line: &str| lines.push(line.to_owned());
        let mut reader = Reader::begin(folder.clone(), 0, &mut keep).unwrap();
        append(&folder, "one\ntw");
        reader.read_new(&mut keep).unwrap();
        append(&folder, "o\nunseen\n");
        fs::copy(folder.log(), folder.old_log()).unwrap();
        fs::write(folder.log(), "new\n").unwrap();
        reader.read_new(&mut keep).unwrap();
        assert_eq!(lines, ["one", "two", "unseen", "new"]);
    }

    #[test]
    fn a_log_without_line_breaks_is_cut_into_pieces() {
        let home = tempfile::tempdir().unwrap();
        let folder = folder(home.path());
        append(&folder, &"x".repeat(LINE_BYTES_MAX * 3 + 1));
        assert_eq!(last_lines(&folder, 0, 9).len(), 4);
        assert_eq!(last_lines(&folder, 0, 1), ["x"]);
    }
}
