//! Shows what happens: a line that moves on a terminal, plain lines elsewhere. Always on stderr.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::event::{Audience, Event};
use model::fault::Fault;
use model::finding::Finding;

use crate::print;

/// How often the moving line moves by itself.
const TICK: Duration = Duration::from_millis(100);

/// Shows events on stderr, and log lines on stdout.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    phase: Mutex<Phase>,
}

/// The phase under way.
#[derive(Default)]
struct Phase {
    title: String,
    steps: usize,
}

impl fmt::Debug for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Progress")
    }
}

impl Progress {
    /// Draws where stderr can be drawn on, and writes lines elsewhere.
    pub(crate) fn new() -> Self {
        let bar = print::can_draw().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            phase: Mutex::new(Phase::default()),
        }
    }

    /// Takes the moving line away, so that what follows stands alone.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print::message(text)),
            None => print::message(text),
        }
    }

    /// What moves: on a terminal only.
    fn moving(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.enable_steady_tick(TICK);
            bar.set_message(text);
        }
    }

    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience for Progress {
    fn tell(&self, event: Event) {
        match event {
            Event::PhaseStarted { number, of, phase } => {
                let title = format!("{number}/{of} {}", phase.title);
                self.moving(title.clone());
                *self.phase() = Phase {
                    title,
                    steps: phase.steps.len(),
                };
            }
            Event::PhaseProgress { done, of } if of > 1 => {
                let title = self.phase().title.clone();
                self.moving(format!("{title}: {done} of {of}"));
            }
            Event::PhaseProgress { .. } => {}
            Event::PhaseFinished { took, .. } => {
                let title = self.phase().title.clone();
                self.line(&format!("{title:<48} {:>7.2} s", took.as_secs_f64()));
            }
            Event::StepFailed { subject, fault } => self.failed(&subject, &fault),
            Event::Waiting { on, since } => {
                let title = self.phase().title.clone();
                let text = format!("{title}: {on} ({} s)", since.as_secs());
                match &self.bar {
                    Some(_) => self.moving(text),
                    // A file of plain lines gets one every ten seconds.
                    None if since.as_secs() % 10 == 0 => self.line(&text),
                    None => {}
                }
            }
            Event::Moving(progress) => {
                let title = self.phase().title.clone();
                let keys = progress.keys_done;
                self.moving(match progress.slots_total {
                    0 => format!("{title}: {keys} of {} keys", progress.keys_total),
                    total => format!(
                        "{title}: {} of {total} slots, {keys} keys",
                        progress.slots_done
                    ),
                });
            }
            Event::Noticed(finding) => self.noticed(&finding),
            Event::LogLine { workload, line } => print::result(&format!("{workload}  {line}")),
            Event::JobOutput { workload, line } => self.line(&format!("{workload}  {line}")),
        }
    }
}

impl Progress {
    /// One step of many: the others go on, and the command's own error follows at the end.
    fn failed(&self, subject: &str, fault: &Fault) {
        if self.phase().steps > 1 {
            self.line(&format!("{subject}: {fault}"));
        }
    }

    fn noticed(&self, finding: &Finding) {
        self.line(&format!(
            "{}[{}]: {}: {}",
            finding.severity, finding.code, finding.subject, finding.message
        ));
    }
}
