//! Reads from a server's config files and arguments what decides how its container must be: how
//! it keeps its data, whether it is in a cluster, and what it says of protected mode.

/// How a server keeps its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Persistence {
    /// Each write is logged.
    Log,
    /// From time to time all is saved.
    Snapshots,
    /// It forgets everything when it ends.
    Off,
}

/// What a server is told by its files and arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerSettings {
    pub(crate) persistence: Persistence,
    pub(crate) in_cluster: bool,
    pub(crate) names_protected_mode: bool,
}

impl ServerSettings {
    /// Reads them. The last word counts, and arguments come after all files.
    pub(crate) fn of(config_files: &[&str], arguments: &[String]) -> Self {
        let mut append_only = false;
        // The servers' own default is to save from time to time; the first `save` replaces it.
        let mut saves = true;
        let mut in_cluster = false;
        let mut names_protected_mode = false;
        let lines = config_files.iter().flat_map(|text| text.lines());
        let own: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
        for setting in own.into_iter().chain(spoken(arguments)) {
            let (name, value) = setting
                .split_once(char::is_whitespace)
                .unwrap_or((&setting, ""));
            let value = value.trim().trim_matches(['"', '\'']);
            match name.to_ascii_lowercase().as_str() {
                "appendonly" => append_only = value.eq_ignore_ascii_case("yes"),
                "save" => saves = !value.is_empty(),
                "cluster-enabled" => in_cluster = value.eq_ignore_ascii_case("yes"),
                "protected-mode" => names_protected_mode = true,
                _ => {}
            }
        }
        Self {
            persistence: match (append_only, saves) {
                (true, _) => Persistence::Log,
                (false, true) => Persistence::Snapshots,
                (false, false) => Persistence::Off,
            },
            in_cluster,
            names_protected_mode,
        }
    }
}

/// Arguments as lines of a config file: `--save 60 1` is `save 60 1`.
fn spoken(arguments: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in arguments {
        match (word.strip_prefix("--"), lines.last_mut()) {
            (Some(name), _) => lines.push(name.to_owned()),
            (None, Some(line)) => {
                line.push(' ');
                line.push_str(word);
            }
            (None, None) => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], arguments: &[&str], persistence: Persistence, in_cluster: bool) {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let found = ServerSettings::of(files, &arguments);
        assert_eq!(
            (found.persistence, found.in_cluster),
            (persistence, in_cluster),
            "{files:?} {arguments:?}"
        );
    }

    #[test]
    fn how_data_is_kept_follows_from_the_last_word() {
        use Persistence::{Log, Off, Snapshots};
        check(&[], &[], Snapshots, false);
        check(&["appendonly yes\nsave \"\""], &[], Log, false);
        check(&["save ''"], &[], Off, false);
        check(&["save \"\"\nsave 60 1"], &[], Snapshots, false);
        check(
            &["save 60 1\n  SAVE \"\" \r\nAppendOnly no"],
            &[],
            Off,
            false,
        );
        check(
            &["appendonly yes"],
            &["--appendonly", "no"],
            Snapshots,
            false,
        );
        check(
            &["appendonly yes"],
            &["x.conf", "--appendonly", "no", "--save", ""],
            Off,
            false,
        );
        check(&["#save \"\"\ncluster-enabled yes"], &[], Snapshots, true);
    }

    #[test]
    fn protected_mode_is_left_alone_where_it_is_named() {
        assert!(ServerSettings::of(&["protected-mode yes"], &[]).names_protected_mode);
        let arguments = ["--protected-mode".to_owned(), "no".to_owned()];
        assert!(ServerSettings::of(&[], &arguments).names_protected_mode);
        assert!(!ServerSettings::of(&["# protected-mode yes"], &[]).names_protected_mode);
    }
}
