//! How late segments are listed: from the write of the keyframe that closes one until a playlist lists it, which is asked for over and over.
//!
//! The load publishes the stream itself, so it knows when a keyframe is due and when it was written. Only around that time is the playlist
//! asked for, on one connection and for no more than what it is now: nothing waits in the server, which has no more to do than for a few
//! players of HLS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Error;
use crate::address::Address;
use crate::client::{Answer, Client};
use crate::clip::{Clip, is_keyframe};
use crate::playlist::{Playlist, first_variant};
use crate::publish::{Pictures, publish_pictures};
use crate::rtmp::Writer;
use crate::spread::Spread;

/// A stream that was just published is waited for so long.
const PLAYABLE_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks at it, and after an error.
const RETRY: Duration = Duration::from_millis(200);

/// From an answer to the next request: what is found is this much too late at most, and a request's time.
const SPACING: Duration = Duration::from_micros(200);

/// The playlist is asked for from so long before a keyframe is due, so that a request is under way when it is written.
const LEAD: Duration = Duration::from_millis(10);

/// And until so long after, unless it lists another segment before. Not every keyframe closes one.
const WINDOW: Duration = Duration::from_millis(500);

/// What is published and looked at.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http://HOST/PATH`: a media playlist in segments, or a multivariant playlist that begins with one.
    pub url: String,
    /// `rtmp://HOST/APP/STREAM`.
    pub publish: String,
    /// What is published.
    pub clip: Arc<Clip>,
    /// Keyframes count from so long after the playlist is there.
    pub settle: Duration,
    /// Keyframes count for so long.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seconds counted.
    pub seconds: f64,
    /// Keyframes written in that time.
    pub keyframes: usize,
    /// From a keyframe's write to the first byte of the first answer that lists the segment it closed.
    pub listed: Option<Spread>,
    /// Keyframes after which no other segment was listed.
    pub unlisted: usize,
    /// Requests answered.
    pub requests: u64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Of each keyframe.
    listed_after: Vec<Option<Duration>>,
    requests: u64,
    errors: BTreeMap<String, u64>,
}

/// Publishes, looks, and reports.
///
/// # Errors
/// [`Error::Address`], [`Error::System`], or that the stream can't be watched. What happens later is counted.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let pictures = Arc::new(Pictures::default());
    let mut publisher = JoinSet::new();
    let (address, clip, sent) =
        (Address::rtmp(&options.publish)?, Arc::clone(&options.clip), Arc::clone(&pictures));
    publisher.spawn(async move { publish_pictures(address, Writer::Own, clip, &sent).await });
    let ended = |ended: Result<Result<(), Error>, tokio::task::JoinError>| {
        let reason = ended.map_err(|error| Error::Publish(error.to_string()));
        reason.and_then(|reason| reason).err().unwrap_or_else(|| Error::Publish("it ended".to_owned()))
    };
    let address = tokio::select! {
        address = playable(Address::http(&options.url)?) => address?,
        Some(result) = publisher.join_next() => return Err(ended(result)),
    };
    let from = Instant::now() + options.settle;
    let (clip, duration) = (Arc::clone(&options.clip), options.duration);
    // On a thread of its own: the runtime's clock has milliseconds.
    let looking =
        spawn_blocking(move || crate::block_on_one(look(&address, &clip, &pictures, from, from + duration)));
    let seen = tokio::select! {
        seen = looking => seen.map_err(|error| Error::Publish(error.to_string()))??,
        Some(result) = publisher.join_next() => return Err(ended(result)),
    };
    Ok(report(seen, duration))
}

/// The media playlist at an address, or the first one of the multivariant playlist there, once it lists a segment.
async fn playable(mut address: Address) -> Result<Address, Error> {
    let end = Instant::now() + PLAYABLE_WITHIN;
    loop {
        let found = async {
            let text = Client::connect(&address, None).await?.get(&address.path).await?.text()?;
            let Some(variant) = first_variant(&text) else {
                return Playlist::parse(&text).map(|_| None);
            };
            let path = address.resolve(variant);
            path.map(Some).ok_or_else(|| Error::Playlist(format!("{variant} is on another host")))
        };
        match found.await {
            Ok(None) => return Ok(address),
            Ok(Some(path)) => address = address.with_path(path),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Looks at the playlist around each keyframe that is due in this time.
async fn look(address: &Address, clip: &Clip, pictures: &Pictures, from: Instant, to: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut looker = None;
    let Some(began) = pictures.began() else { return seen };
    let keyframes = clip.for_ever().filter(|(tag, _)| is_keyframe(tag)).map(|(_, at_ms)| at_ms);
    let due = |at_ms| began + Duration::from_millis(at_ms);
    for at_ms in keyframes.skip_while(|at_ms| due(*at_ms) < from).take_while(|at_ms| due(*at_ms) < to) {
        sleep_until(due(at_ms) - LEAD).await;
        let end = due(at_ms) + WINDOW;
        let result = async {
            let looker = match &mut looker {
                Some(looker) => looker,
                None => looker.insert(Looker::new(address).await?),
            };
            let listed_at = looker.listed_at(|| pictures.sent_with(at_ms), end).await;
            seen.requests += std::mem::take(&mut looker.requests);
            listed_at
        };
        match result.await {
            Ok(listed_after) => seen.listed_after.push(listed_after),
            Err(error) => {
                *seen.errors.entry(error.kind()).or_default() += 1;
                looker = None;
            }
        }
    }
    seen
}

/// Asks for a media playlist on one connection.
struct Looker {
    client: Client,
    path: String,
    /// The newest version, and the number of the segment that is to be listed next.
    newest: (Bytes, u64),
    requests: u64,
}

impl Looker {
    async fn new(address: &Address) -> Result<Looker, Error> {
        let client = Client::connect(address, None).await?;
        Ok(Looker { client, path: address.path.clone(), newest: (Bytes::new(), 0), requests: 0 })
    }

    /// Asks until another segment is listed after what is `written` at some time, and says how long after; `None` when that takes
    /// until `end`.
    async fn listed_at(
        &mut self,
        written: impl Fn() -> Option<Instant>,
        end: Instant,
    ) -> Result<Option<Duration>, Error> {
        self.ask().await?;
        loop {
            // Nothing else is to be done on this thread.
            std::thread::sleep(SPACING);
            let before = self.newest.1;
            let at = self.ask().await?;
            if self.newest.1 > before
                && let Some(after) = written().and_then(|written| at.checked_duration_since(written))
            {
                return Ok(Some(after));
            }
            if at >= end {
                return Ok(None);
            }
        }
    }

    /// When the first byte of the answer came.
    async fn ask(&mut self) -> Result<Instant, Error> {
        let answer = self.client.get(&self.path).await?;
        self.requests += 1;
        self.note(&answer)?;
        Ok(answer.first_byte)
    }

    fn note(&mut self, answer: &Answer) -> Result<(), Error> {
        if answer.status != 200 || answer.body != self.newest.0 {
            let playlist = Playlist::parse(&answer.text()?)?;
            self.newest = (answer.body.clone(), playlist.next.0);
        }
        Ok(())
    }
}

fn report(seen: Seen, duration: Duration) -> Report {
    let listed: Vec<Duration> = seen.listed_after.iter().copied().flatten().collect();
    Report {
        seconds: duration.as_secs_f64(),
        keyframes: seen.listed_after.len(),
        unlisted: seen.listed_after.len() - listed.len(),
        listed: Spread::of(listed),
        requests: seen.requests,
        errors: seen.errors,
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "keyframes             {} in {:.0} s", self.keyframes, self.seconds)?;
        if let Some(listed) = &self.listed {
            writeln!(f, "listed after          {listed}")?;
        }
        writeln!(f, "nothing listed after  {}", self.unlisted)?;
        writeln!(f, "requests              {}", self.requests)?;
        for (error, count) in &self.errors {
            writeln!(f, "error                 {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn what_is_reported() {
        let listed_after = (1..=99).map(|ms| Some(MS(ms))).chain([None, Some(MS(400))]).collect();
        let report = report(Seen { listed_after, requests: 7, ..Seen::default() }, MS(202_000));
        assert_eq!((report.keyframes, report.unlisted, report.requests), (101, 1, 7));
        let listed = report.listed.unwrap();
        assert_eq!((listed.count, listed.p50_ms, listed.p99_ms, listed.max_ms), (100, 50.0, 99.0, 400.0));
    }

    /// A server whose playlist lists `counts` segments, answer by answer, and the last number for ever.
    async fn server(listener: TcpListener, counts: &[usize]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4_096];
        let last = counts.last().unwrap();
        for count in counts.iter().chain(std::iter::repeat(last)) {
            if stream.read(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
            let segments: String = (0..*count).map(|n| format!("#EXTINF:2.0,\n{n}.ts\n")).collect();
            let body = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n{segments}");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    }

    async fn looked(counts: &[usize], is_written: bool) -> (Result<Option<Duration>, Error>, u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::http(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
        let looker = async {
            let mut looker = Looker::new(&address).await.unwrap();
            let written = Instant::now();
            let listed = looker.listed_at(|| is_written.then_some(written), Instant::now() + MS(300)).await;
            (listed, looker.requests)
        };
        tokio::select! {
            looked = looker => looked,
            () = server(listener, counts) => panic!("the looker went away"),
        }
    }

    #[tokio::test]
    async fn until_another_segment_is_listed() {
        // The first answer is what there was before.
        let (listed, requests) = looked(&[3, 3, 3, 4], true).await;
        assert!(listed.unwrap().is_some_and(|after| after > 3 * SPACING));
        assert_eq!(requests, 4);
        // Another segment, before the keyframe is written, is another keyframe's.
        for (counts, is_written) in [(&[3, 4][..], false), (&[3], true)] {
            let (listed, requests) = looked(counts, is_written).await;
            assert_eq!(listed.unwrap(), None);
            assert!(requests > 4, "{requests}");
        }
    }
}
