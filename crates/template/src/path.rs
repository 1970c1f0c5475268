//! Paths: of files in the template's folder, and of places in a workload.

use model::instance::TemplateFiles;

use crate::character;
use crate::code;
use crate::problem::Problem;
use crate::source::shown;
use crate::suggestion::did_you_mean;

/// The longest path that is taken; every platform takes more.
const PATH_LENGTH_MAX: usize = 512;

/// Checks that a path names a file of the template's folder and nothing outside of it.
pub(crate) fn check_template_path(path: &str, files: &TemplateFiles) -> Result<(), Problem> {
    let climbs = path.starts_with('/')
        || path.contains(['\\', ':'])
        || path.split('/').any(|part| matches!(part, "" | "." | ".."))
        || character::first_unsafe(path).is_some()
        || path.len() > PATH_LENGTH_MAX;
    if climbs {
        let message = format!("`{}` is no path within the template's folder", shown(path));
        return Err(Problem::new(code::PATH_CLIMBS_OUT, message).with_help(
            "write it as seen from template.yaml, with /, and without .. or a leading /",
        ));
    }
    if files.files.contains_key(path) {
        return Ok(());
    }
    let message = format!("the template's folder has no file `{}`", shown(path));
    let known = files.files.keys().map(String::as_str);
    let known = known.filter(|known| *known != crate::document::FILE_NAME);
    Err(Problem::new(code::FILE_MISSING, message).with_help_if(did_you_mean(path, known)))
}

/// Checks that a path is a plain place in a workload: absolute, and each part as it stands.
pub(crate) fn check_target(path: &str) -> Result<(), Problem> {
    let reason = if !path.starts_with('/') {
        "it does not begin with /"
    } else if path == "/" {
        "it is the root"
    } else if path[1..]
        .split('/')
        .any(|part| matches!(part, "" | "." | ".."))
    {
        "it has an empty part, `.` or `..`"
    } else if path.contains(['\\', ':', ',']) || character::first_unsafe(path).is_some() {
        "it holds a character that platforms read in different ways"
    } else if path.len() > PATH_LENGTH_MAX {
        "it is too long"
    } else if ["/proc", "/sys", "/dev"]
        .iter()
        .any(|own| is_within(path, own))
    {
        "it belongs to the platform"
    } else {
        return Ok(());
    };
    let message = format!("`{}` is no place in a workload: {reason}", shown(path));
    Err(Problem::new(code::BAD_TARGET, message).with_help("write it in full, as in /data"))
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_path_stays_within_the_folder() {
        let files = TemplateFiles {
            files: ["template.yaml", "redis.conf", "etc/users.acl"]
                .map(|path| (path.to_owned(), String::new()))
                .into(),
        };
        for path in ["redis.conf", "etc/users.acl"] {
            assert_eq!(check_template_path(path, &files), Ok(()), "{path}");
        }
        let long = "x".repeat(5_000);
        for path in [
            "",
            ".",
            "..",
            "../redis.conf",
            "etc/../redis.conf",
            "/etc/passwd",
            "etc//users.acl",
            "./redis.conf",
            "C:\\x",
            "etc\\users.acl",
            "redis.conf\n",
            "redis.conf/",
            &long,
        ] {
            let problem = check_template_path(path, &files).unwrap_err();
            assert_eq!(problem.code, code::PATH_CLIMBS_OUT, "{path:.40}");
        }
        let problem = check_template_path("redis.cnf", &files).unwrap_err();
        assert_eq!(problem.code, code::FILE_MISSING);
        assert_eq!(problem.help.as_deref(), Some("did you mean `redis.conf`?"));
    }

    #[test]
    fn a_target_is_a_plain_absolute_path() {
        for path in [
            "/data",
            "/usr/local/etc/redis/redis.conf",
            "/device",
            "/..data",
        ] {
            assert_eq!(check_target(path), Ok(()), "{path}");
        }
        for path in [
            "",
            "data",
            "/",
            "//data",
            "/data/",
            "/data/../etc",
            "/./x",
            "/a:b",
            "/a\\b",
            "/a\nb",
            "/proc/1",
            "/dev",
            "/sys/fs",
        ] {
            let problem = check_target(path).unwrap_err();
            assert_eq!(problem.code, code::BAD_TARGET, "{path:?}");
        }
    }
}
