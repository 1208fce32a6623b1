//! What goes from one process to the next: numbers, last segments, and who is expected back.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::Cause;
use headwater_packager::{Kept, Packager, State};

use super::{Registry, Stream, lock};
use crate::state::StateDir;

/// A file of a stream's last segments is no longer: 8 s at 1 Gbit/s in two packagings.
const KEPT_FILE_BYTES_MAX: u64 = 2 << 30;

/// Media that ended so far ahead of the clock was dated by another clock: a publisher is paced at 10 s.
const KEPT_AHEAD_MS_MAX: i64 = 30_000;

impl Registry {
    /// Before the process ends: stores the exact numbers of every stream.
    pub fn store_all(&self) {
        for stream in self.streams() {
            let mut seat = lock(&stream.seat);
            if let Some(ending) = seat.ending.take() {
                ending.abort();
            }
            let numbers = seat.packager.as_ref().map(Packager::numbers);
            let open = stream.current().snapshot.state != State::Ended;
            if let Some(numbers) = numbers {
                self.store_exact(&stream, numbers, open);
            }
        }
    }

    /// Beside that: leaves the last segments of every stream that is live to the next process, as far as `limits.max_kept_bytes` goes. It
    /// writes files; players are served meanwhile.
    pub fn keep_all(&self) {
        let Some(folder) = self.state.as_ref().and_then(StateDir::kept) else { return };
        let began = self.clocks.now();
        let keep = |stream: Arc<Stream>| {
            let kept = lock(&stream.seat).packager.as_ref().and_then(Packager::keep)?;
            Some((kept.size_bytes(), stream, kept))
        };
        let mut all: Vec<_> = self.streams().into_iter().filter_map(keep).collect();
        // The more streams the better.
        all.sort_by_key(|(size_bytes, ..)| *size_bytes);
        let streams = all.len();
        if streams == 0 {
            return;
        }
        let mut left = self.config.now().limits.max_kept_bytes;
        let (mut stored, mut bytes) = (0_usize, 0_u64);
        for (size_bytes, stream, kept) in all {
            let Some(rest) = left.checked_sub(size_bytes) else { break };
            if let Err(error) = folder.store(&stream.app, &stream.name, &kept) {
                tracing::warn!(app = stream.app, stream = stream.name, %error, "last segments can't be kept in state_dir");
                // The next ones would meet the same.
                break;
            }
            (left, stored, bytes) = (rest, stored.saturating_add(1), bytes.saturating_add(size_bytes));
        }
        let took = self.clocks.now().saturating_sub(began);
        tracing::info!(
            stored,
            streams,
            bytes,
            ?took,
            "the last segments of streams are kept for the next process"
        );
    }

    /// After a start with `state_dir`: players of a stream that was live when the process ended wait for its publisher as they do
    /// after any loss, instead of meeting 404. What was kept of it is listed again.
    pub fn expect_publishers_back(self: &Arc<Registry>) {
        let Some(state) = &self.state else { return };
        let config = self.config.now();
        let folder = state.kept();
        for (app, name) in state.open_streams(config.limits.max_streams as usize) {
            let kept = folder.as_ref().and_then(|folder| folder.take(&app, &name, KEPT_FILE_BYTES_MAX));
            let kept = kept.filter(|kept| self.is_timely(kept, config.publish.grace, (&app, &name)));
            let Ok(stream) = self.find_or_restore(&app, &name, kept) else { break };
            tracing::info!(app, stream = name, "its publisher is expected back");
            let mut seat = lock(&stream.seat);
            seat.ending = self.schedule_end(&stream, seat.session, Cause::Lost);
        }
        if let Some(folder) = folder {
            folder.clear();
        }
    }

    /// Whether a publisher that left then would still be waited for.
    fn is_timely(&self, kept: &Kept, grace: Duration, (app, name): (&str, &str)) -> bool {
        let age_ms = self.clocks.wall().unix_millis().saturating_sub(kept.ended_at().unix_millis());
        let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let is_timely = (-KEPT_AHEAD_MS_MAX..=grace_ms).contains(&age_ms);
        if !is_timely {
            tracing::info!(
                app,
                stream = name,
                age_ms,
                "its last segments are not listed again: out of publish.grace"
            );
        }
        is_timely
    }
}
