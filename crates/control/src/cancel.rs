//! The user's wish to stop: nothing new is begun, what is under way is brought to its end. And the
//! wish to stand still for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Whether the user wants to stop, or to stand still. Copies share the wish.
#[derive(Clone, Debug)]
pub struct Cancel {
    sender: Arc<watch::Sender<bool>>,
    still: Arc<AtomicBool>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// Nobody wants to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(false)),
            still: Arc::new(AtomicBool::new(false)),
        }
    }

    /// The user wants to stop.
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }

    /// Whether the user wants to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.sender.borrow()
    }

    /// Whether moves are to stand still.
    pub fn stand_still(&self, wish: bool) {
        self.still.store(wish, Ordering::Relaxed);
    }

    /// Whether moves are to stand still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.still.load(Ordering::Relaxed)
    }

    /// Waits until the user wants to stop.
    pub async fn cancelled(&self) {
        let mut receiver = self.sender.subscribe();
        // It ends with an error only where the sender is gone, and we hold it.
        let _ = receiver.wait_for(|wish| *wish).await;
    }
}
