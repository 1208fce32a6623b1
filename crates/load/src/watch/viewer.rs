//! One viewer: its requests, its playback, and what is noted of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use super::playback::Playback;
use super::{Kind, Shared, dash, flv, hls};
use crate::Error;
use crate::address::Address;
use crate::client::{Answer, Client};
use crate::publish::Pictures;

/// A player of segments begins with the newest three (8216bis 6.3.3).
pub(crate) const START_SEGMENTS: usize = 3;

/// A viewer that met an error comes again this much later.
const RETRY: Duration = Duration::from_millis(500);

/// One viewer of one address.
#[derive(Debug)]
pub(crate) struct Viewer<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) address: Address,
    pub(crate) source: Option<IpAddr>,
    /// Those of the stream, if the load publishes it.
    pictures: Option<&'a Pictures>,
    seen: Mutex<Seen>,
}

/// What a viewer saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// How long playlists and MPDs took that nobody holds back.
    pub(crate) documents: Vec<Duration>,
    /// How long segments and parts took.
    pub(crate) media: Vec<Duration>,
    /// From the first request to the first media.
    pub(crate) first_media: Option<Duration>,
    /// How far what is shown is behind the clock.
    pub(crate) behind: Vec<Duration>,
    /// From a frame's write by the publisher until it was all here.
    pub(crate) frames: Vec<Duration>,
    /// Segments that were gone before they were asked for.
    pub(crate) missed: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled: Duration,
    pub(crate) errors: BTreeMap<String, u64>,
    began: Instant,
    playback: Option<Playback>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        address: Address,
        source: Option<IpAddr>,
        pictures: Option<&'a Pictures>,
    ) -> Viewer<'a> {
        let seen = Seen {
            kind: Kind::of_path(address.path_alone()),
            requests: 0,
            bytes: 0,
            documents: Vec::new(),
            media: Vec::new(),
            first_media: None,
            behind: Vec::new(),
            frames: Vec::new(),
            missed: 0,
            stalls: 0,
            stalled: Duration::ZERO,
            errors: BTreeMap::new(),
            began: Instant::now(),
            playback: None,
        };
        Viewer { shared, address, source, pictures, seen: Mutex::new(seen) }
    }

    /// Watches, and comes again after an error.
    pub(crate) async fn watch_until(self, end: Instant) -> Seen {
        self.seen().began = Instant::now();
        while Instant::now() < end {
            let kind = self.seen().kind;
            let follow = async {
                match kind {
                    Kind::Hls | Kind::LowLatencyHls => hls::follow(&self).await,
                    Kind::Dash => dash::follow(&self).await,
                    Kind::Flv => flv::follow(&self).await,
                }
            };
            self.shared.counts.watching(1);
            let result = tokio::select! {
                result = follow => result,
                () = sleep_until(end) => Ok(()),
            };
            self.shared.counts.watching(-1);
            self.end_playback();
            match result {
                // The stream has ended, or the time.
                Ok(()) => break,
                Err(error) => {
                    self.shared.counts.error();
                    *self.seen().errors.entry(error.kind()).or_default() += 1;
                }
            }
            sleep_until(end.min(Instant::now() + RETRY)).await;
        }
        self.seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is watched turned out to be this.
    pub(crate) fn note_kind(&self, kind: Kind) {
        self.seen().kind = kind;
    }

    /// Playback of so many tracks begins, as soon as so much of each is there.
    pub(crate) fn begin(&self, tracks: usize, start_level: Duration) {
        self.seen().playback = Some(Playback::new(tracks, start_level, Instant::now()));
    }

    /// So much more of a track is there.
    pub(crate) fn arrived(&self, track: usize, duration: Duration) {
        if let Some(playback) = &mut self.seen().playback {
            playback.arrived(track, duration, Instant::now());
        }
    }

    /// The newest that is there ends at this time of day: what is shown is behind by that and by what waits to be shown.
    pub(crate) fn note_behind(&self, ends_at: Duration) {
        let mut seen = self.seen();
        if let (Some(now), Some(playback)) =
            (SystemTime::now().duration_since(UNIX_EPOCH).ok(), &seen.playback)
        {
            let behind = now.saturating_sub(ends_at) + playback.buffered();
            seen.behind.push(behind);
        }
    }

    /// Media was gone before it was asked for.
    pub(crate) fn note_missed(&self, segments: u64) {
        self.seen().missed += segments;
    }

    /// A playlist or an MPD that is answered at once.
    pub(crate) async fn document(&self, client: &mut Client, path: &str) -> Result<Answer, Error> {
        let began = Instant::now();
        let answer = self.counted(client.get(path).await)?;
        self.seen().documents.push(began.elapsed());
        Ok(answer)
    }

    /// A playlist that the server holds until it has what is asked for.
    pub(crate) async fn held(&self, client: &mut Client, path: &str) -> Result<Answer, Error> {
        self.counted(client.get(path).await)
    }

    /// A segment, a part, or an initialization segment, by its reference in the document at `base`.
    pub(crate) async fn media(
        &self,
        client: &mut Client,
        base: &Address,
        reference: &str,
    ) -> Result<(), Error> {
        let path = base.resolve(reference);
        let path = path.ok_or_else(|| Error::Playlist(format!("{reference} is on another host")))?;
        let began = Instant::now();
        let answer = self.counted(client.get(&path).await)?;
        if answer.status != 200 {
            return Err(Error::Status(answer.status));
        }
        let mut seen = self.seen();
        seen.media.push(began.elapsed());
        let since_first = seen.began.elapsed();
        seen.first_media.get_or_insert(since_first);
        Ok(())
    }

    /// An answer without an end has begun.
    pub(crate) fn note_request(&self) {
        self.seen().requests += 1;
        self.shared.counts.request(0);
    }

    /// More of it has come.
    pub(crate) fn note_bytes(&self, length: usize) {
        self.seen().bytes += length as u64;
        self.shared.counts.bytes(length);
    }

    /// The first picture of an answer without an end.
    pub(crate) fn note_first_frame(&self, took: Duration) {
        self.seen().first_media.get_or_insert(took);
    }

    /// A picture has come whole; those that were sent before the viewer came don't count.
    pub(crate) fn note_frame(&self, timestamp_ms: u32, began: Instant) {
        let sent = self.pictures.and_then(|pictures| pictures.sent_at(u64::from(timestamp_ms)));
        if let Some(sent) = sent.filter(|sent| *sent >= began) {
            let mut seen = self.seen();
            let (late, buffered) =
                (sent.elapsed(), seen.playback.as_ref().map(Playback::buffered).unwrap_or_default());
            seen.frames.push(late);
            seen.behind.push(late + buffered);
        }
    }

    fn counted(&self, answer: Result<Answer, Error>) -> Result<Answer, Error> {
        let answer = answer?;
        let mut seen = self.seen();
        seen.requests += 1;
        seen.bytes += answer.body.len() as u64;
        self.shared.counts.request(answer.body.len());
        Ok(answer)
    }

    fn end_playback(&self) {
        let mut seen = self.seen();
        if let Some(mut playback) = seen.playback.take() {
            let (stalls, stalled) = playback.stalls(Instant::now());
            seen.stalls += stalls;
            seen.stalled += stalled;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Only figures: none is of less use after a panic elsewhere.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
