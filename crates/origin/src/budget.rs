//! What a stream holds, as its readers and operators see it, and the word that makes slow readers let go of it.

use std::sync::{Mutex, PoisonError};

use headwater_packager::Memory;
use tokio::sync::watch;

/// Shared by the one who writes a stream and those who read it.
#[derive(Debug)]
pub struct Budget {
    /// As of the newest version, or of the last time that readers held too much.
    memory: Mutex<Memory>,
    /// Readers of segments below this number are to let go.
    kept_from: watch::Sender<u64>,
}

/// What a response that sends a segment waits for, should its client be slow.
#[derive(Debug)]
pub struct Lease {
    sequence: u64,
    kept_from: watch::Receiver<u64>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { memory: Mutex::default(), kept_from: watch::Sender::new(0) }
    }
}

impl Budget {
    /// What is held.
    pub fn memory(&self) -> Memory {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is held.
    pub fn set_memory(&self, memory: Memory) {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
    }

    /// Readers of segments below this number are to let go of them.
    pub fn cut_below(&self, sequence: u64) {
        self.kept_from.send_if_modified(|kept_from| {
            let is_more = *kept_from < sequence;
            *kept_from = sequence.max(*kept_from);
            is_more
        });
    }

    /// For a response that sends segment `sequence`. It keeps nothing of the stream.
    pub fn lease(&self, sequence: u64) -> Lease {
        Lease { sequence, kept_from: self.kept_from.subscribe() }
    }
}

impl Lease {
    /// Resolves when the segment's memory is needed; never once the stream is gone.
    pub async fn ended(mut self) {
        let sequence = self.sequence;
        if self.kept_from.wait_for(|kept_from| sequence < *kept_from).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn only_older_segments_are_let_go() {
        let budget = Budget::default();
        let mut context = Context::from_waker(Waker::noop());
        let (mut old, mut new) = (pin!(budget.lease(5).ended()), pin!(budget.lease(6).ended()));
        assert!(old.as_mut().poll(&mut context).is_pending() && new.as_mut().poll(&mut context).is_pending());
        budget.cut_below(6);
        budget.cut_below(4);
        assert!(old.as_mut().poll(&mut context).is_ready() && new.as_mut().poll(&mut context).is_pending());
        assert!(
            pin!(budget.lease(5).ended()).poll(&mut context).is_ready(),
            "the word holds for whoever comes late"
        );
        drop(budget);
        assert!(new.as_mut().poll(&mut context).is_pending(), "a stream that is gone cuts nobody off");
    }
}
