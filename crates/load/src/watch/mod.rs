//! Viewers as players are: of HLS, Low-Latency HLS, DASH and FLV, spread over streams.
//!
//! What an address is, its document tells: a media playlist with parts that can be waited for is Low-Latency HLS, another one HLS. Each
//! viewer keeps a buffer as a player would, in which time passes, so the report knows how often the picture would have stood still and
//! how far behind the clock it was.

mod dash;
mod flv;
mod hls;
mod playback;
mod viewer;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::address::Address;
use crate::client::{Answer, Client};
use crate::clip::Clip;
use crate::hold::source;
use crate::playlist::Playlist;
use crate::publish::{Pictures, publish_pictures, share, stream_url};
use crate::rtmp::Writer;
use crate::spread::Spread;
use crate::{Error, progress, system};
use viewer::{Seen, Viewer};

/// A stream that was just published is waited for so long.
const PLAYABLE_WITHIN: Duration = Duration::from_secs(30);

/// The viewers of such a stream come this much later: a player that finds fewer segments than it wants to begin with stands still more
/// often, and that is no load's doing.
const SETTLE: Duration = Duration::from_secs(8);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Connections that one viewer may have: two for each of two renditions, and one for the first playlist.
const CONNECTIONS_PER_VIEWER: usize = 5;

/// What the viewers do.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Addresses, `http://HOST/PATH`: a playlist (.m3u8), an MPD (.mpd) or FLV (.flv). `{n}` stands for the stream's number.
    pub urls: Vec<String>,
    /// Streams, numbered from 0.
    pub streams: usize,
    /// Viewers, spread evenly over addresses and streams.
    pub viewers: usize,
    /// They watch for so long, after all have begun.
    pub duration: Duration,
    /// They begin within this time, evenly spread.
    pub ramp: Duration,
    /// They come from so many addresses, `127.0.0.2` and up; 0: from whatever address the system chooses.
    pub addresses: usize,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
    /// The streams are published as well, to `rtmp://HOST/APP/STREAM` with `{n}` as in `urls`.
    pub publish: Option<(String, Arc<Clip>)>,
    /// Prints a line now and then.
    pub progress: bool,
}

/// A kind of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// HLS in whole segments.
    Hls,
    /// HLS in parts.
    LowLatencyHls,
    /// MPEG-DASH.
    Dash,
    /// FLV without an end.
    Flv,
}

impl Kind {
    /// What a path promises; a playlist shows later what it is.
    fn of_path(path: &str) -> Kind {
        match path.rsplit_once('.') {
            Some((_, "mpd")) => Kind::Dash,
            Some((_, "flv")) => Kind::Flv,
            _ => Kind::Hls,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Hls => "HLS",
            Kind::LowLatencyHls => "LL-HLS",
            Kind::Dash => "DASH",
            Kind::Flv => "FLV",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Seconds, the viewers' beginning included.
    pub seconds: f64,
    /// Each kind that was watched.
    pub kinds: Vec<KindReport>,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
    /// What the server's process used, after all viewers had begun.
    pub server: Option<Server>,
}

/// What the viewers of one kind saw.
#[derive(Debug, Clone, Serialize)]
pub struct KindReport {
    /// Which.
    pub kind: Kind,
    /// How many they were.
    pub viewers: usize,
    /// Requests answered.
    pub requests: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// What went wrong, in all.
    pub errors: u64,
    /// How long playlists and MPDs took, held ones aside.
    pub documents: Option<Spread>,
    /// How long segments took, and parts; a hinted part is waited for until it is whole.
    pub media: Option<Spread>,
    /// From a viewer's first request to its first media; of FLV to its first picture.
    pub first_media: Option<Spread>,
    /// How far what it showed was behind the clock. Of FLV only where the load publishes.
    pub behind: Option<Spread>,
    /// From the write of a frame until it was there; of FLV where the load publishes.
    pub frames: Option<Spread>,
    /// Segments that were gone before they were asked for.
    pub missed: u64,
    /// How often a picture stood still.
    pub stalls: u64,
    /// For how long in all, s.
    pub stalled_seconds: f64,
}

/// What the server's processes used.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Server {
    /// CPU time per second, ms.
    pub cpu_ms_per_second: f64,
    /// Memory at the end, KiB.
    pub rss_kib: u64,
}

/// What all viewers share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    segments: Newest<hls::Segments>,
    parts: Newest<Playlist>,
    manifests: Newest<dash::Manifest>,
    counts: Counts,
}

/// The newest version of each document, so that it is read once and not once per viewer.
#[derive(Debug)]
struct Newest<T>(Mutex<HashMap<String, (Bytes, Arc<T>)>>);

impl<T> Default for Newest<T> {
    fn default() -> Newest<T> {
        Newest(Mutex::default())
    }
}

impl<T> Newest<T> {
    fn read(
        &self,
        path: &str,
        answer: &Answer,
        parse: impl FnOnce(&str) -> Result<T, Error>,
    ) -> Result<Arc<T>, Error> {
        if answer.status != 200 {
            return Err(Error::Status(answer.status));
        }
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((body, document)) = lock().get(path)
            && *body == answer.body
        {
            return Ok(Arc::clone(document));
        }
        let document = Arc::new(parse(&answer.text()?)?);
        lock().insert(path.to_owned(), (answer.body.clone(), Arc::clone(&document)));
        Ok(document)
    }
}

#[derive(Debug, Default)]
struct Counts {
    watching: AtomicI64,
    requests: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    fn watching(&self, more: i64) {
        self.watching.fetch_add(more, Ordering::Relaxed);
    }

    fn request(&self, body: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes(body);
    }

    fn bytes(&self, length: usize) {
        self.bytes.fetch_add(length as u64, Ordering::Relaxed);
    }

    fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs the load.
///
/// # Errors
/// [`Error::Address`], [`Error::Option`], [`Error::System`], or that a stream of the load's own can't be watched. What happens to
/// viewers is counted.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let addresses = addresses(options)?;
    system::make_room(options.viewers * CONNECTIONS_PER_VIEWER + options.streams)?;
    let mut publishers = JoinSet::new();
    let mut pictures = Vec::new();
    if let Some((url, clip)) = &options.publish {
        for n in 0..options.streams {
            let address = Address::rtmp(&stream_url(url, n, options.streams))?;
            let (clip, sent) = (Arc::clone(clip), Arc::<Pictures>::default());
            pictures.push(Arc::clone(&sent));
            publishers.spawn(async move { publish_pictures(address, Writer::Own, clip, &sent).await });
        }
        tokio::select! {
            playable = all_playable(&addresses) => playable?,
            Some(ended) = publishers.join_next() => {
                let reason = ended.map_err(|error| Error::Publish(error.to_string()))?;
                return Err(reason.err().unwrap_or_else(|| Error::Publish("it ended".to_owned())));
            }
        }
        sleep(SETTLE).await;
    }

    let shared = Arc::new(Shared::default());
    let began = Instant::now();
    let end = began + options.ramp + options.duration;
    let mut viewers = JoinSet::new();
    for n in 0..options.viewers {
        let Some((stream, address)) = addresses.get(n % addresses.len()).cloned() else { continue };
        let (shared, pictures) = (Arc::clone(&shared), pictures.get(stream).cloned());
        let (start, source) =
            (began + share(options.ramp, n, options.viewers), source(n, options.viewers, options.addresses));
        viewers.spawn(async move {
            sleep_until(start).await;
            Viewer::new(&shared, address, source, pictures.as_deref()).watch_until(end).await
        });
    }
    let mut line = JoinSet::new();
    if options.progress {
        line = progress::every(Duration::from_secs(2), progress_line(Arc::clone(&shared)));
    }
    let usage = || options.pid.and_then(system::usage);
    sleep_until(began + options.ramp).await;
    let before = usage();
    sleep_until(end).await;
    let server = before.zip(usage()).map(|(before, after)| Server {
        cpu_ms_per_second: after.cpu_us.saturating_sub(before.cpu_us) as f64
            / 1_000.0
            / options.duration.as_secs_f64().max(f64::MIN_POSITIVE),
        rss_kib: after.rss_kib,
    });
    let mut seen = Vec::with_capacity(options.viewers);
    while let Some(viewer) = viewers.join_next().await {
        seen.extend(viewer.ok());
    }
    line.abort_all();
    Ok(report(seen, began.elapsed(), server))
}

/// Every address of every stream, with the stream's number.
fn addresses(options: &Options) -> Result<Vec<(usize, Address)>, Error> {
    let is_numbered = options.urls.iter().all(|url| url.contains("{n}"));
    if options.streams > 1 && !is_numbered {
        return Err(Error::Option("with several streams each address needs {n}".to_owned()));
    }
    let streams = 0..options.streams.max(1);
    let pairs = streams.flat_map(|n| options.urls.iter().map(move |url| (n, url)));
    let found: Result<Vec<_>, Error> =
        pairs.map(|(n, url)| Ok((n, Address::http(&stream_url(url, n, 1))?))).collect();
    match found {
        Ok(found) if found.is_empty() => Err(Error::Option("no address".to_owned())),
        found => found,
    }
}

/// Waits until every address can be watched.
async fn all_playable(addresses: &[(usize, Address)]) -> Result<(), Error> {
    let end = Instant::now() + PLAYABLE_WITHIN;
    for (_, address) in addresses {
        let playable = async {
            loop {
                let is_playable = async {
                    let mut client = Client::connect(address, None).await?;
                    if Kind::of_path(address.path_alone()) == Kind::Flv {
                        return client.open(&address.path).await.map(|_| true);
                    }
                    Ok::<bool, Error>(client.get(&address.path).await?.status == 200)
                };
                if is_playable.await.unwrap_or(false) {
                    return;
                }
                sleep(LOOK).await;
            }
        };
        let waited = timeout_at(end, playable).await;
        waited.map_err(|_| Error::Publish(format!("{} can't be watched", address.path)))?;
    }
    Ok(())
}

fn progress_line(shared: Arc<Shared>) -> impl FnMut(Duration) -> String + Send + 'static {
    let mut before = (Duration::ZERO, 0, 0);
    move |elapsed| {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (requests, bytes) = (count(&shared.counts.requests), count(&shared.counts.bytes));
        let seconds = (elapsed - before.0).as_secs_f64();
        let (rate, megabits) =
            ((requests - before.1) as f64 / seconds, (bytes - before.2) as f64 * 8.0 / 1e6 / seconds);
        before = (elapsed, requests, bytes);
        let (watching, errors) =
            (shared.counts.watching.load(Ordering::Relaxed), count(&shared.counts.errors));
        format!(
            "{:.0} s: {watching} viewers, {rate:.0} requests/s, {megabits:.1} Mbit/s, {errors} errors",
            elapsed.as_secs_f64()
        )
    }
}

fn report(seen: Vec<Seen>, took: Duration, server: Option<Server>) -> Report {
    let mut errors = BTreeMap::<String, u64>::new();
    let mut kinds = BTreeMap::<Kind, Vec<Seen>>::new();
    for seen in seen {
        for (error, count) in &seen.errors {
            *errors.entry(error.clone()).or_default() += count;
        }
        kinds.entry(seen.kind).or_default().push(seen);
    }
    let kinds = kinds.into_iter().map(|(kind, seen)| {
        let times = |of: fn(&Seen) -> &Vec<Duration>| Spread::of(seen.iter().flat_map(of).copied().collect());
        let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum();
        KindReport {
            kind,
            viewers: seen.len(),
            requests: sum(|seen| seen.requests),
            bytes: sum(|seen| seen.bytes),
            errors: sum(|seen| seen.errors.values().sum()),
            documents: times(|seen| &seen.documents),
            media: times(|seen| &seen.media),
            first_media: Spread::of(seen.iter().filter_map(|seen| seen.first_media).collect()),
            behind: times(|seen| &seen.behind),
            frames: times(|seen| &seen.frames),
            missed: sum(|seen| seen.missed),
            stalls: sum(|seen| seen.stalls),
            stalled_seconds: seen.iter().map(|seen| seen.stalled).sum::<Duration>().as_secs_f64(),
        }
    });
    Report { seconds: took.as_secs_f64(), kinds: kinds.collect(), errors, server }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<8}{:>8}{:>10}{:>10}{:>8}{:>8}{:>8}{:>11}",
            "", "viewers", "requests", "MB", "errors", "missed", "stalls", "stalled"
        )?;
        for kind in &self.kinds {
            writeln!(
                f,
                "{:<8}{:>8}{:>10}{:>10.1}{:>8}{:>8}{:>8}{:>9.1} s",
                kind.kind.name(),
                kind.viewers,
                kind.requests,
                kind.bytes as f64 / 1e6,
                kind.errors,
                kind.missed,
                kind.stalls,
                kind.stalled_seconds
            )?;
        }
        for kind in &self.kinds {
            for (name, spread) in [
                ("playlists", kind.documents),
                ("media", kind.media),
                ("first media", kind.first_media),
                ("frames", kind.frames),
                ("behind live", kind.behind),
            ] {
                if let Some(spread) = spread {
                    writeln!(f, "{:<8}{name:<13}{spread}", kind.kind.name())?;
                }
            }
        }
        if let Some(server) = &self.server {
            let (cpu, mib) = (server.cpu_ms_per_second, server.rss_kib as f64 / 1024.0);
            writeln!(f, "server  {cpu:.1} ms of CPU time per second, {mib:.1} MiB")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "error   {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(urls: &[&str], streams: usize) -> Options {
        Options { urls: urls.iter().map(|url| (*url).to_owned()).collect(), streams, ..Options::default() }
    }

    #[test]
    fn viewers_are_spread_over_streams_and_addresses() {
        let urls = ["http://127.0.0.1/live/cam{n}/index.m3u8", "http://127.0.0.1/live/cam{n}.flv"];
        let found = addresses(&options(&urls, 2)).unwrap();
        let paths: Vec<_> = found.iter().map(|(n, address)| (*n, address.path.as_str())).collect();
        assert_eq!(
            paths,
            [
                (0, "/live/cam0/index.m3u8"),
                (0, "/live/cam0.flv"),
                (1, "/live/cam1/index.m3u8"),
                (1, "/live/cam1.flv")
            ]
        );
        assert!(addresses(&options(&["http://127.0.0.1/live/cam.flv"], 2)).is_err());
        assert!(addresses(&options(&["http://127.0.0.1/live/cam.flv"], 1)).is_ok());
        assert!(addresses(&options(&[], 1)).is_err());
    }

    #[test]
    fn what_a_path_promises() {
        for (path, expected) in [
            ("/live/cam.flv", Kind::Flv),
            ("/live/cam/manifest.mpd", Kind::Dash),
            ("/live/cam/index.m3u8", Kind::Hls),
            ("/live/cam", Kind::Hls),
        ] {
            assert_eq!(Kind::of_path(path), expected, "{path}");
        }
    }

    #[test]
    fn a_document_is_read_once() {
        let newest = Newest::<String>::default();
        let answer = |body: &'static str| Answer {
            status: 200,
            etag: None,
            is_gzip: false,
            body: Bytes::from_static(body.as_bytes()),
            first_byte: Instant::now(),
        };
        let first = newest.read("/x", &answer("a"), |text| Ok(text.to_owned())).unwrap();
        let again = newest.read("/x", &answer("a"), |_| panic!("read twice")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*newest.read("/x", &answer("b"), |text| Ok(text.to_owned())).unwrap(), "b");
        let busy = Answer { status: 503, ..answer("a") };
        assert!(matches!(newest.read("/x", &busy, |text| Ok(text.to_owned())), Err(Error::Status(503))));
    }
}
