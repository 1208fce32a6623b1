//! Who is about to play a stream's newest media. Its publisher's bytes are gathered while nobody does (`ingest::gather`), and are read at
//! once when somebody comes: before a player with low latency has its first playlist, not after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Who asked asks again within this, or waits for what comes next.
const PAID_FOR: Duration = Duration::from_secs(1);

/// Attention to one stream.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// Until when, in milliseconds of the monotonic clock.
    until_ms: AtomicU64,
    /// Tells who reads the publisher's bytes.
    reader: Arc<Notify>,
}

impl Attention {
    /// Somebody asks for what is played with low latency, or without segments.
    pub(super) fn pay(&self, now: Duration) {
        let before = self.until_ms.fetch_max(millis(now.saturating_add(PAID_FOR)), Ordering::Relaxed);
        if before <= millis(now) {
            self.reader.notify_one();
        }
    }

    /// Whether somebody has lately.
    pub(super) fn is_paid(&self, now: Duration) -> bool {
        self.until_ms.load(Ordering::Relaxed) > millis(now)
    }

    /// Resolves when somebody does after nobody did. One waiter is told.
    pub(super) fn paid(&self) -> OwnedNotified {
        Arc::clone(&self.reader).notified_owned()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn the_first_of_many_requests_tells_the_reader() {
        let attention = Attention::default();
        let is_told = |attention: &Attention| {
            pin!(attention.paid()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let at = Duration::from_millis;
        assert!(!attention.is_paid(at(0)) && !is_told(&attention));
        attention.pay(at(10_000));
        assert!(attention.is_paid(at(10_999)) && !attention.is_paid(at(11_000)));
        assert!(is_told(&attention) && !is_told(&attention));
        attention.pay(at(10_500));
        assert!(attention.is_paid(at(11_400)) && !is_told(&attention), "it knows");
        attention.pay(at(20_000));
        assert!(is_told(&attention));
    }
}
