//! Held requests: viewers of Low-Latency HLS of whom each waits for the next part, all of them for the same one.
//!
//! A part is *released* to a viewer with the first byte of the answer that lists it. The report tells how much later than to the
//! first viewer it was released to the others, and, when the load publishes the stream itself, how long after the picture that
//! closed the part was written to the publisher's socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::address::Address;
use crate::client::{Answer, Client};
use crate::clip::Clip;
use crate::playlist::{Place, Playlist, first_variant};
use crate::publish::{Pictures, publish_pictures, share};
use crate::rtmp::Writer;
use crate::spread::Spread;
use crate::system::{self, Usage};
use crate::versions::Versions;
use crate::{Error, progress};

/// Between the last viewer's start and the first part that counts.
const WARM_UP: Duration = Duration::from_secs(2);

/// Viewers go on for so long after the last part that counts, so that the slowest can still get it.
const TAIL: Duration = Duration::from_secs(2);

/// A viewer that met an error tries again this much later.
const RETRY: Duration = Duration::from_millis(500);

/// A stream that was just published is waited for so long.
const PLAYABLE_WITHIN: Duration = Duration::from_secs(30);

/// Memory that is given back was given back this long after the last connection has gone.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

/// Which parts a viewer fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Parts {
    /// None: playlists only.
    None,
    /// Those that a playlist lists, once it lists them.
    Listed,
    /// The one that a playlist hints at, on a second connection, while the next playlist is waited for; as players do.
    Hinted,
}

/// What the viewers do.
#[derive(Debug, Clone)]
pub struct Options {
    /// A media playlist with parts, or a multivariant playlist that begins with one.
    pub url: String,
    /// Viewers.
    pub viewers: usize,
    /// Parts count for so long.
    pub duration: Duration,
    /// The viewers begin within this time, evenly spread.
    pub ramp: Duration,
    /// Which parts they fetch.
    pub parts: Parts,
    /// They ask for delta updates.
    pub skip: bool,
    /// They come from so many addresses, `127.0.0.2` and up; 0: from whatever address the system chooses.
    pub addresses: usize,
    /// HTTP/2 with so many viewers on a connection; else HTTP/1.1.
    pub http2: Option<usize>,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
    /// A stream to publish, and for how long before the viewers come.
    pub publish: Option<Publication>,
    /// Prints a line now and then.
    pub progress: bool,
}

impl Default for Options {
    /// A hundred viewers of nothing yet, who fetch no parts, for 20 s.
    fn default() -> Options {
        Options {
            url: String::new(),
            viewers: 100,
            duration: Duration::from_secs(20),
            ramp: Duration::from_secs(1),
            parts: Parts::None,
            skip: false,
            addresses: 0,
            http2: None,
            pid: None,
            publish: None,
            progress: false,
        }
    }
}

/// A stream that the load publishes itself.
#[derive(Debug, Clone)]
pub struct Publication {
    /// `rtmp://HOST/APP/STREAM`.
    pub url: String,
    /// What is published.
    pub clip: Arc<Clip>,
    /// The viewers come this long after the stream can be watched.
    pub settle: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Viewers.
    pub viewers: usize,
    /// Seconds counted.
    pub seconds: f64,
    /// Parts released in that time.
    pub parts: usize,
    /// From a part's release to the first viewer until its release to each of the others.
    pub after_first: Option<Spread>,
    /// From the write of the picture that closed the part until its release to each viewer.
    pub after_write: Option<Spread>,
    /// The same until its release to the first of them.
    pub first_after_write: Option<Spread>,
    /// From a part's release to the first viewer until a viewer had all of its bytes.
    pub fetched_after_first: Option<Spread>,
    /// Releases that some viewer did not see, of all parts and viewers. A part counts as missed when the version that lists the
    /// next one does not list it.
    pub missed: u64,
    /// Parts that a viewer did not fetch, or not whole.
    pub not_fetched: u64,
    /// The longest that a viewer had to wait between two releases, ms.
    pub longest_wait_ms: f64,
    /// Requests answered, while parts counted.
    pub requests: u64,
    /// Per second.
    pub requests_per_second: f64,
    /// Bytes of bodies in that time.
    pub bytes: u64,
    /// Different playlists and parts that all requests of the whole time were answered with.
    pub different: u64,
    /// What went wrong in the whole time, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Memory and CPU time of the server's process.
    pub server: Option<Server>,
}

/// What the server's process used.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Server {
    /// Before the first viewer, KiB.
    pub rss_before_kib: u64,
    /// While all were held, KiB.
    pub rss_held_kib: u64,
    /// After the last one had gone, KiB.
    pub rss_after_kib: u64,
    /// The difference per viewer, bytes.
    pub rss_per_viewer_bytes: f64,
    /// CPU time per request, µs.
    pub cpu_us_per_request: f64,
    /// CPU time of this process per request, µs: it had to share the machine.
    pub own_cpu_us_per_request: f64,
}

/// What all viewers share.
#[derive(Debug)]
struct Shared {
    address: Address,
    versions: Versions,
    began: Instant,
    parts: Parts,
    skip: bool,
    counts: Counts,
    errors: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug, Default)]
struct Counts {
    following: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

/// What a viewer saw: times are since the load began.
#[derive(Debug, Default)]
struct Seen {
    released: Vec<(Place, Duration)>,
    fetched: Vec<(Place, Duration)>,
}

/// Runs the load.
///
/// # Errors
/// [`Error::Address`], [`Error::System`], or that the stream can't be watched before the viewers begin. What happens to them later is
/// counted.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let connections = match options.http2 {
        Some(streams) => options.viewers.div_ceil(streams.max(1)),
        None => options.viewers * if options.parts == Parts::Hinted { 2 } else { 1 },
    };
    system::make_room(connections)?;
    let pictures = Arc::new(Pictures::default());
    let mut publisher = JoinSet::new();
    if let Some(publication) = &options.publish {
        let (address, clip, sent) =
            (Address::rtmp(&publication.url)?, Arc::clone(&publication.clip), Arc::clone(&pictures));
        publisher.spawn(async move { publish_pictures(address, Writer::Own, clip, &sent).await });
    }
    let within = if options.publish.is_some() { PLAYABLE_WITHIN } else { Duration::ZERO };
    let address = tokio::select! {
        address = media_playlist(Address::http(&options.url)?, within) => address?,
        Some(ended) = publisher.join_next() => {
            let reason = ended.map_err(|error| Error::Publish(error.to_string()))?;
            return Err(reason.err().unwrap_or_else(|| Error::Publish("it ended".to_owned())));
        }
    };
    if let Some(publication) = &options.publish {
        sleep(publication.settle).await;
    }

    let shared = Arc::new(Shared {
        address,
        versions: Versions::default(),
        began: Instant::now(),
        parts: options.parts,
        skip: options.skip,
        counts: Counts::default(),
        errors: Mutex::default(),
    });
    let counted_from = options.ramp + WARM_UP;
    let end = counted_from + options.duration;
    let mut line = JoinSet::new();
    if options.progress {
        line = progress::every(Duration::from_secs(2), progress_line(Arc::clone(&shared)));
    }
    let usage = || options.pid.and_then(system::usage);
    let before = usage();
    let mut viewers = JoinSet::new();
    spawn_viewers(&mut viewers, options, &shared, shared.began + end + TAIL);

    sleep_until(shared.began + counted_from).await;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (requests_before, bytes_before) = (count(&shared.counts.requests), count(&shared.counts.bytes));
    let (cpu_before, own_before) = (usage(), system::usage(std::process::id()));
    sleep_until(shared.began + end).await;
    let (held, own_after) = (usage(), system::usage(std::process::id()));
    let requests = count(&shared.counts.requests) - requests_before;
    let bytes = count(&shared.counts.bytes) - bytes_before;

    let mut seen = Vec::with_capacity(options.viewers);
    while let Some(viewer) = viewers.join_next().await {
        seen.extend(viewer.ok());
    }
    let after = match options.pid {
        Some(_) => {
            sleep(GIVEN_BACK_WITHIN).await;
            usage()
        }
        None => None,
    };
    line.abort_all();

    let per_request = |before: Option<Usage>, after: Option<Usage>| {
        Some(after?.cpu_us.saturating_sub(before?.cpu_us) as f64 / (requests.max(1)) as f64)
    };
    let server = before.zip(held).zip(after).map(|((before, held), after)| Server {
        rss_before_kib: before.rss_kib,
        rss_held_kib: held.rss_kib,
        rss_after_kib: after.rss_kib,
        rss_per_viewer_bytes: (held.rss_kib as f64 - before.rss_kib as f64) * 1024.0 / options.viewers as f64,
        cpu_us_per_request: per_request(cpu_before, Some(held)).unwrap_or(0.0),
        own_cpu_us_per_request: per_request(own_before, own_after).unwrap_or(0.0),
    });
    let pictures: Vec<Duration> =
        pictures.sent().iter().map(|at| at.saturating_duration_since(shared.began)).collect();
    let frame = options.publish.as_ref().and_then(|publication| publication.clip.frame_duration());
    let released = Releases::of(&seen, &shared.versions.durations(), counted_from..end, options.parts);
    let closed = frame.map(|frame| released.closed_at(&pictures, frame)).unwrap_or_default();
    Ok(Report {
        viewers: options.viewers,
        seconds: options.duration.as_secs_f64(),
        parts: released.first.len(),
        after_first: Spread::of(released.after(&released.first)),
        after_write: Spread::of(released.after(&closed)),
        first_after_write: Spread::of(
            released
                .first
                .iter()
                .filter_map(|(place, first)| first.checked_sub(*closed.get(place)?))
                .collect(),
        ),
        fetched_after_first: Spread::of(released.fetched.clone()),
        missed: released.missed,
        not_fetched: released.not_fetched,
        longest_wait_ms: released.longest_wait.as_secs_f64() * 1_000.0,
        requests,
        requests_per_second: requests as f64 / options.duration.as_secs_f64(),
        bytes,
        different: shared.versions.different(),
        errors: shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        server,
    })
}

/// The media playlist at an address, or the first one of the multivariant playlist there.
async fn media_playlist(address: Address, within: Duration) -> Result<Address, Error> {
    let began = Instant::now();
    loop {
        let found = async {
            let text = Client::connect(&address, None).await?.get(&address.path).await?.text()?;
            let Some(variant) = first_variant(&text) else {
                let playlist = Playlist::parse(&text)?;
                let has_parts = playlist.hint.is_some() || !playlist.parts.is_empty();
                return if has_parts { Ok(None) } else { Err(Error::Playlist("it has no parts".to_owned())) };
            };
            let path = address.resolve(variant);
            path.map(Some).ok_or_else(|| Error::Playlist(format!("{variant} is on another host")))
        };
        match found.await {
            Ok(None) => return Ok(address),
            Ok(Some(path)) => return Ok(address.with_path(path)),
            Err(error) if began.elapsed() >= within => return Err(error),
            Err(_) => sleep(RETRY).await,
        }
    }
}

fn progress_line(shared: Arc<Shared>) -> impl FnMut(Duration) -> String + Send + 'static {
    let mut before = (Duration::ZERO, 0);
    move |elapsed| {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let requests = count(&shared.counts.requests);
        let rate = (requests - before.1) as f64 / (elapsed - before.0).as_secs_f64();
        before = (elapsed, requests);
        let (following, errors) = (count(&shared.counts.following), count(&shared.counts.errors));
        format!("{:.0} s: {following} viewers, {rate:.0} requests/s, {errors} errors", elapsed.as_secs_f64())
    }
}

fn spawn_viewers(viewers: &mut JoinSet<Seen>, options: &Options, shared: &Arc<Shared>, end: Instant) {
    let group = options.http2.unwrap_or(1).max(1);
    for first in (0..options.viewers).step_by(group) {
        let source = source(first, options.viewers, options.addresses);
        let start = shared.began + share(options.ramp, first, options.viewers);
        let count = group.min(options.viewers - first);
        if options.http2.is_none() {
            let shared = Arc::clone(shared);
            viewers.spawn(async move {
                sleep_until(start).await;
                Viewer { shared: &shared, source, spare: None }.follow_until(end).await
            });
            continue;
        }
        // The first of a connection opens it for all.
        let (hand_over, clients) = tokio::sync::watch::channel(None);
        let opener = Arc::clone(shared);
        viewers.spawn(async move {
            sleep_until(start).await;
            // Each viewer may have two requests under way.
            match Client::connect_http2(&opener.address, source, 2 * count).await {
                Ok(clients) => drop(hand_over.send(Some(Arc::new(Mutex::new(clients))))),
                Err(error) => opener.note(&error),
            }
            Seen::default()
        });
        for _ in 0..count {
            let (shared, mut clients) = (Arc::clone(shared), clients.clone());
            viewers.spawn(async move {
                let client = clients.wait_for(Option::is_some).await.ok().and_then(|clients| {
                    let mut clients = clients.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
                    Some((clients.pop()?, clients.pop()?))
                });
                match client {
                    Some(spare) => {
                        Viewer { shared: &shared, source, spare: Some(spare) }.follow_until(end).await
                    }
                    None => Seen::default(),
                }
            });
        }
    }
}

/// The address that viewer `n` of `all` comes from.
pub(crate) fn source(n: usize, all: usize, addresses: usize) -> Option<IpAddr> {
    let index = n.checked_mul(addresses)?.checked_div(all)?;
    let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
    (addresses > 0)
        .then(|| Some(IpAddr::V4(Ipv4Addr::from(first.checked_add(u32::try_from(index).ok()?)?))))?
}

impl Shared {
    fn note(&self, error: &Error) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(error.kind()).or_default() += 1;
    }
}

struct Viewer<'a> {
    shared: &'a Shared,
    source: Option<IpAddr>,
    /// Streams of a connection that exists already.
    spare: Option<(Client, Client)>,
}

impl Viewer<'_> {
    async fn follow_until(mut self, end: Instant) -> Seen {
        let mut seen = Seen::default();
        loop {
            self.shared.counts.following.fetch_add(1, Ordering::Relaxed);
            let result = tokio::select! {
                result = self.follow(&mut seen) => result,
                () = sleep_until(end) => return seen,
            };
            self.shared.counts.following.fetch_sub(1, Ordering::Relaxed);
            match result {
                Ok(()) => return seen,
                Err(error) => self.shared.note(&error),
            }
            sleep_until(end.min(Instant::now() + RETRY)).await;
        }
    }

    /// Until the stream ends, or something goes wrong.
    async fn follow(&mut self, seen: &mut Seen) -> Result<(), Error> {
        let shared = self.shared;
        let path = &shared.address.path;
        let (mut client, mut second) = match self.spare.take() {
            Some((client, second)) => (client, Some(second)),
            None => {
                let client = Client::connect(&shared.address, self.source).await?;
                let is_needed = shared.parts == Parts::Hinted;
                let second =
                    if is_needed { Some(Client::connect(&shared.address, self.source).await?) } else { None };
                (client, second)
            }
        };
        let mut playlist = shared.versions.playlist(&self.counted(client.get(path).await)?)?;
        let mut known = playlist.parts.last().map(|part| part.place);
        while !playlist.is_ended {
            let (sequence, part) = playlist.next;
            let separator = if path.contains('?') { '&' } else { '?' };
            let skip = if shared.skip { "&_HLS_skip=YES" } else { "" };
            let next = format!("{path}{separator}_HLS_msn={sequence}&_HLS_part={part}{skip}");
            let hinted = match (&mut second, &playlist.hint) {
                (Some(second), Some(hint)) if shared.parts == Parts::Hinted => Some((second, hint)),
                _ => None,
            };
            let (answer, fetched) = tokio::join!(client.get(&next), async {
                let (second, hint) = hinted?;
                Some(self.fetch(second, hint).await.map(|at| (hint.clone(), at)))
            });
            let answer = self.counted(answer)?;
            let at = answer.first_byte.saturating_duration_since(shared.began);
            let newer = shared.versions.playlist(&answer)?;
            let fetched = fetched.transpose()?;
            for part in newer.after(known) {
                seen.released.push((part.place, at));
                let at = match &fetched {
                    _ if shared.parts == Parts::None => continue,
                    Some((hint, at)) if *hint == part.uri => *at,
                    _ => self.fetch(second.as_mut().unwrap_or(&mut client), &part.uri).await?,
                };
                seen.fetched.push((part.place, at));
            }
            known = newer.parts.last().map(|part| part.place).max(known);
            playlist = newer;
        }
        Ok(())
    }

    /// Fetches a part and returns when all of it was there.
    async fn fetch(&self, client: &mut Client, uri: &str) -> Result<Duration, Error> {
        let shared = self.shared;
        let path = shared
            .address
            .resolve(uri)
            .ok_or_else(|| Error::Playlist(format!("{uri} is on another host")))?;
        let answer = self.counted(client.get(&path).await)?;
        let at = shared.began.elapsed();
        shared.versions.body(&path, &answer)?;
        Ok(at)
    }

    fn counted(&self, answer: Result<Answer, Error>) -> Result<Answer, Error> {
        let answer = answer?;
        self.shared.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.bytes.fetch_add(answer.body.len() as u64, Ordering::Relaxed);
        Ok(answer)
    }
}

/// What all viewers saw of the parts that count.
#[derive(Debug, Default)]
struct Releases {
    /// When each part was released to the first viewer.
    first: BTreeMap<Place, Duration>,
    /// Every release.
    all: Vec<(Place, Duration)>,
    /// From the first release to the last byte, of each part and viewer.
    fetched: Vec<Duration>,
    missed: u64,
    not_fetched: u64,
    longest_wait: Duration,
    /// The media time at which each part ends, from the first known part on.
    ends: BTreeMap<Place, Duration>,
}

impl Releases {
    fn of(
        seen: &[Seen],
        durations: &BTreeMap<Place, Duration>,
        counted: std::ops::Range<Duration>,
        parts: Parts,
    ) -> Releases {
        let mut first = BTreeMap::<Place, Duration>::new();
        for (place, at) in seen.iter().flat_map(|seen| &seen.released) {
            let earliest = first.entry(*place).or_insert(*at);
            *earliest = (*earliest).min(*at);
        }
        first.retain(|_, at| counted.contains(at));
        let of_those = |(place, at): &(Place, Duration)| Some((*place, *at, *first.get(place)?));
        let all: Vec<(Place, Duration)> = seen
            .iter()
            .flat_map(|seen| &seen.released)
            .filter_map(|release| of_those(release).map(|(place, at, _)| (place, at)))
            .collect();
        let fetched: Vec<Duration> = seen
            .iter()
            .flat_map(|seen| &seen.fetched)
            .filter_map(|fetch| of_those(fetch).map(|(_, at, first)| at.saturating_sub(first)))
            .collect();
        // Openers of connections see nothing, and are no viewers.
        let viewers = seen.iter().filter(|seen| !seen.released.is_empty()).count();
        let expected = (first.len() * viewers) as u64;
        let longest_wait = seen
            .iter()
            .flat_map(|seen| seen.released.iter().zip(seen.released.iter().skip(1)))
            .filter(|(_, (place, _))| first.contains_key(place))
            .map(|((_, before), (_, at))| at.saturating_sub(*before))
            .max();
        let mut end = Duration::ZERO;
        let ends = durations.iter().map(|(place, duration)| {
            end += *duration;
            (*place, end)
        });
        Releases {
            missed: expected.saturating_sub(all.len() as u64),
            not_fetched: if parts == Parts::None { 0 } else { expected.saturating_sub(fetched.len() as u64) },
            longest_wait: longest_wait.unwrap_or_default(),
            ends: ends.collect(),
            first,
            all,
            fetched,
        }
    }

    /// From a moment of each part to its release, for each viewer.
    fn after(&self, moments: &BTreeMap<Place, Duration>) -> Vec<Duration> {
        self.all.iter().filter_map(|(place, at)| Some(at.saturating_sub(*moments.get(place)?))).collect()
    }

    /// When the picture was sent that closed each part: the one after its last.
    ///
    /// Parts are counted in pictures by their durations. Which picture of the publication the first one begins with is unknown; it is
    /// the latest that would let no part be released before it was closed. So the figure is exact as soon as one part was
    /// released within the time of a picture, and else too small by less than the fastest release took.
    fn closed_at(&self, pictures: &[Duration], frame: Duration) -> BTreeMap<Place, Duration> {
        let frame = frame.as_nanos().max(1);
        let count =
            |end: Duration| usize::try_from((end.as_nanos() + frame / 2) / frame).unwrap_or(usize::MAX);
        let ends: Vec<(Place, Duration, usize)> = self
            .first
            .iter()
            .filter_map(|(place, first)| Some((*place, *first, count(*self.ends.get(place)?))))
            .collect();
        let base = ends
            .iter()
            .filter_map(|(_, first, end)| {
                let sent_before = pictures.partition_point(|sent| sent <= first);
                sent_before.checked_sub(1)?.checked_sub(*end)
            })
            .min();
        let Some(base) = base else { return BTreeMap::new() };
        ends.iter().filter_map(|(place, _, end)| Some((*place, *pictures.get(base + end)?))).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "viewers               {}", self.viewers)?;
        writeln!(f, "parts                 {} in {:.0} s", self.parts, self.seconds)?;
        for (name, spread) in [
            ("after the first      ", self.after_first),
            ("first after the write", self.first_after_write),
            ("all after the write  ", self.after_write),
            ("fetched              ", self.fetched_after_first),
        ] {
            if let Some(spread) = spread {
                writeln!(f, "{name} {spread}")?;
            }
        }
        writeln!(f, "missed, not fetched   {}, {}", self.missed, self.not_fetched)?;
        writeln!(f, "longest wait          {:.0} ms", self.longest_wait_ms)?;
        let megabytes = self.bytes as f64 / 1e6 / self.seconds;
        writeln!(f, "requests              {:.0}/s, {megabytes:.1} MB/s", self.requests_per_second)?;
        writeln!(f, "different bodies      {}", self.different)?;
        if let Some(server) = &self.server {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let (before, held, after) =
                (mib(server.rss_before_kib), mib(server.rss_held_kib), mib(server.rss_after_kib));
            writeln!(f, "memory of the server  {before:.1} MiB before, {held:.1} held, {after:.1} after")?;
            writeln!(f, "per viewer            {:.1} KiB", server.rss_per_viewer_bytes / 1024.0)?;
            let (cpu, own) = (server.cpu_us_per_request, server.own_cpu_us_per_request);
            writeln!(f, "CPU per request       {cpu:.1} µs, of the load {own:.1} µs")?;
        }
        for (error, count) in &self.errors {
            writeln!(f, "error                 {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn viewers_are_spread_over_addresses() {
        let address = |last| Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        for (n, all, addresses, expected) in [
            (0, 1_000, 0, None),
            (0, 1_000, 10, address(2)),
            (99, 1_000, 10, address(2)),
            (100, 1_000, 10, address(3)),
            (999, 1_000, 10, address(11)),
        ] {
            assert_eq!(source(n, all, addresses), expected, "{n}");
        }
        assert_eq!(source(999, 1_000, 1_000), Some(IpAddr::V4(Ipv4Addr::new(127, 0, 3, 233))));
    }

    /// Two viewers of three parts that count; the second one misses the middle part.
    fn releases() -> Releases {
        let one = Seen {
            released: vec![((1, 0), MS(100)), ((1, 1), MS(1_205)), ((2, 0), MS(1_405)), ((2, 1), MS(1_606))],
            fetched: vec![((1, 1), MS(1_210)), ((2, 0), MS(1_420)), ((2, 1), MS(1_607))],
        };
        let two = Seen {
            released: vec![((1, 1), MS(1_215)), ((2, 1), MS(1_604)), ((2, 2), MS(2_000))],
            fetched: vec![((1, 1), MS(1_216))],
        };
        let durations =
            [((1, 0), MS(200)), ((1, 1), MS(200)), ((2, 0), MS(200)), ((2, 1), MS(200)), ((2, 2), MS(200))];
        let parts = Parts::Listed;
        Releases::of(
            &[one, two, Seen::default()],
            &durations.into_iter().collect(),
            MS(1_000)..MS(2_000),
            parts,
        )
    }

    #[test]
    fn what_was_released_when() {
        let releases = releases();
        let first: Vec<_> = releases.first.iter().map(|(place, at)| (*place, *at)).collect();
        assert_eq!(first, [((1, 1), MS(1_205)), ((2, 0), MS(1_405)), ((2, 1), MS(1_604))]);
        assert_eq!((releases.missed, releases.not_fetched), (1, 2));
        assert_eq!(releases.longest_wait, MS(1_105));
        let mut after = releases.after(&releases.first);
        after.sort();
        assert_eq!(after, [MS(0), MS(0), MS(0), MS(2), MS(10)]);
    }

    #[test]
    fn the_picture_that_closed_a_part() {
        // Pictures each 40 ms, one of them at 1,200; the one after part (1, 1) is number 10 of the known ones.
        let pictures: Vec<Duration> = (0..100).map(|n| MS(n * 40)).collect();
        let closed: Vec<_> = releases().closed_at(&pictures, MS(40)).into_iter().collect();
        assert_eq!(closed, [((1, 1), MS(1_200)), ((2, 0), MS(1_400)), ((2, 1), MS(1_600))]);
        assert!(releases().closed_at(&[], MS(40)).is_empty());
    }
}
