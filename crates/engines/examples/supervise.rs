//! A supervisor of its own, for the tests of this crate: the program `PROGRAM supervise --home
//! HOME NAME` that the engine starts, with a guardian that the tests can watch and steer.
//!
//! The guardian writes a line `<nanoseconds since 1970> <workload> <ending>` to `HOME/guardian.log`
//! for each question, and holds for as long as there is a file `HOME/hold`, whose text is the
//! reason. Called in any other way it prints its arguments, as the program of a job.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::future::{Future, ready};
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engines::process::{Guardian, SuperviseSettings, Verdict, supervise};
use model::ids::{InstanceName, WorkloadName};
use model::view::Ending;

struct Steered {
    home: PathBuf,
}

impl Guardian for Steered {
    fn ended<'a>(
        &'a self,
        workload: &'a WorkloadName,
        ending: Ending,
    ) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let line = format!(
            "{} {workload} {ending}\n",
            now.unwrap_or_default().as_nanos()
        );
        let mut options = OpenOptions::new();
        let log = options.append(true).create(true);
        let _ = log
            .open(self.home.join("guardian.log"))
            .and_then(|mut log| log.write_all(line.as_bytes()));
        let verdict = match fs::read_to_string(self.home.join("hold")) {
            Ok(reason) => Verdict::Hold {
                reason,
                ask_again_after: Duration::from_millis(50),
            },
            Err(_) => Verdict::StartAgain,
        };
        Box::pin(ready(verdict))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [verb, _, home, name] = &arguments[..] else {
        return repeat(&arguments);
    };
    if verb != "supervise" {
        return repeat(&arguments);
    }
    let home = PathBuf::from(home);
    let mut settings = SuperviseSettings::new(home.clone());
    if let Ok(size) = fs::read_to_string(home.join("log-bytes-max")) {
        settings.log_bytes_max = size.trim().parse().unwrap_or(settings.log_bytes_max);
        settings.log_interval = Duration::from_millis(20);
    }
    let Ok(name) = InstanceName::new(&name.to_string_lossy()) else {
        return ExitCode::from(2);
    };
    match supervise(&settings, &name, Arc::new(Steered { home })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn repeat(arguments: &[OsString]) -> ExitCode {
    let words: Vec<_> = arguments
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let _ = writeln!(std::io::stdout(), "{}", words.join(" "));
    ExitCode::SUCCESS
}
