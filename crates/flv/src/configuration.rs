//! The configurations of one track over time: the one last announced, and how many in a row could not be read.

use std::sync::Arc;

use headwater_codec as codec;
use headwater_media::{Event, TrackConfig, TrackId, TrackKind};

use crate::{Counters, Error};

/// Unusable configurations in a row after which the publication is rejected: one may be a glitch and one its echo.
pub const BAD_CONFIGS_MAX: u32 = 3;

/// What has come of a track's configurations so far.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    announced: Option<Arc<TrackConfig>>,
    bad_in_row: u32,
}

impl Configuration {
    /// The configuration last announced.
    pub(crate) fn announced(&self) -> Option<&TrackConfig> {
        self.announced.as_deref()
    }

    /// One could be read: bad ones before it are forgotten.
    pub(crate) fn accepted(&mut self) {
        self.bad_in_row = 0;
    }

    /// One could not be read. Returns what to tell: from the [`BAD_CONFIGS_MAX`]th in a row on, that the publication is
    /// rejected.
    pub(crate) fn rejected(
        &mut self,
        kind: TrackKind,
        source: codec::Error,
        counters: &mut Counters,
    ) -> Error {
        counters.bad_configs += 1;
        self.bad_in_row = self.bad_in_row.saturating_add(1);
        let attempts = self.bad_in_row;
        if attempts >= BAD_CONFIGS_MAX {
            Error::ConfigRejected { kind, attempts, source }
        } else {
            Error::BadConfig { kind, source }
        }
    }

    /// Yields `config` unless it was the last one. False when nothing changed.
    pub(crate) fn announce(&mut self, track: TrackId, config: TrackConfig, out: &mut Vec<Event>) -> bool {
        if self.announced() == Some(&config) {
            return false;
        }
        let config = Arc::new(config);
        out.push(Event::Config(track, Arc::clone(&config)));
        self.announced = Some(config);
        true
    }
}
