//! What happens, for whoever listens: a bounded ring of the last events and a live channel. A
//! listener that is too slow loses events and is told so; it never slows down the work.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::sse::Event;
use futures::stream::{self, Stream};
use tokio::sync::broadcast;

use crate::wire::EventBody;

/// How many events are kept for a listener that comes back: minutes of a busy operation.
const KEPT_MAX: usize = 1024;
/// How far a listener may be behind the live channel.
const BEHIND_MAX: usize = 512;

/// An event with its number and the instance that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    number: u64,
    instance: String,
    body: Arc<EventBody>,
}

/// The last events, and who listens.
#[derive(Debug)]
pub(crate) struct Hub {
    kept: Mutex<(u64, VecDeque<Told>)>,
    live: broadcast::Sender<Told>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::new((0, VecDeque::new())),
            live: broadcast::Sender::new(BEHIND_MAX),
        }
    }

    /// Tells everybody.
    pub(crate) fn tell(&self, instance: &str, body: EventBody) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0 += 1;
        let told = Told {
            number: kept.0,
            instance: instance.to_owned(),
            body: Arc::new(body),
        };
        if kept.1.len() == KEPT_MAX {
            kept.1.pop_front();
        }
        kept.1.push_back(told.clone());
        // Nobody listening is no fault. The lock is held, so that numbers come in order.
        let _ = self.live.send(told);
    }

    /// What happens from now on, or after this number, of one instance or of all.
    pub(crate) fn listen(
        &self,
        after: Option<u64>,
        instance: Option<String>,
    ) -> impl Stream<Item = Result<Event, Infallible>> + Send + use<> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.live.subscribe();
        let mut missed = VecDeque::new();
        if let Some(after) = after {
            let oldest = kept.1.front().map_or(1, |it| it.number);
            // A number from before a restart is above ours; what lies between is unknown.
            if after + 1 < oldest || after > kept.0 {
                missed.push_back(gap(kept.0));
            }
            missed.extend(kept.1.iter().filter(|it| it.number > after).cloned());
        }
        drop(kept);
        let start = (receiver, missed, instance);
        stream::unfold(start, |(mut receiver, mut missed, instance)| async move {
            loop {
                let told = match missed.pop_front() {
                    Some(told) => told,
                    None => match receiver.recv().await {
                        Ok(told) => told,
                        Err(broadcast::error::RecvError::Lagged(_)) => gap(0),
                        Err(broadcast::error::RecvError::Closed) => return None,
                    },
                };
                let is_wanted = told.instance.is_empty()
                    || instance.as_ref().is_none_or(|it| *it == told.instance);
                if is_wanted {
                    return Some((Ok(written(&told)), (receiver, missed, instance)));
                }
            }
        })
    }
}

fn gap(number: u64) -> Told {
    Told {
        number,
        instance: String::new(),
        body: Arc::new(EventBody::Gap {}),
    }
}

fn written(told: &Told) -> Event {
    let kind = match *told.body {
        EventBody::Operation(_) => "operation",
        EventBody::Finding { .. } => "finding",
        EventBody::Sample { .. } => "sample",
        EventBody::JobOutput { .. } => "job_output",
        EventBody::Gap {} => "gap",
    };
    let text = serde_json::to_string(&*told.body).unwrap_or_default();
    let event = Event::default().event(kind).data(text);
    if told.number == 0 {
        return event;
    }
    event.id(told.number.to_string())
}
