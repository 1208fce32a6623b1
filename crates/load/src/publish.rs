//! Publishers: one clip from memory, over and over, on as many connections as are asked for, in real time or as fast as they are read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::address::Address;
use crate::clip::{Clip, is_picture};
use crate::rtmp::{Session, Writer};
use crate::spread::Spread;
use crate::system::{self, Usage};
use crate::{Error, progress};

/// What is written at a time where the server's reading is all that is waited for: the writing should cost little beside it.
const UNPACED_WRITE_BYTES: usize = 256 << 10;

/// What is to be published, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// `rtmp://HOST/APP/STREAM`; with more than one publisher, `{n}` in it stands for its number, or the number is put behind it.
    pub url: String,
    /// So many.
    pub publishers: usize,
    /// What counts takes so long.
    pub duration: Duration,
    /// The publishers begin within this time, evenly spread.
    pub ramp: Duration,
    /// After that, so much time passes before anything counts.
    pub settle: Duration,
    /// Who speaks RTMP.
    pub writer: Writer,
    /// In real time; else as fast as the server reads.
    pub is_paced: bool,
    /// The server's process, if it is on this machine.
    pub pid: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Publishers that were let in.
    pub publishers: usize,
    /// Those that ended early, and why the first one did.
    pub failed: usize,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
    /// Seconds counted.
    pub seconds: f64,
    /// Bytes of media sent in that time.
    pub bytes: u64,
    /// 10^6 of them per second.
    pub megabytes_per_second: f64,
    /// How late tags were sent: a server or a machine that can't keep up shows here.
    pub lateness: Option<Spread>,
    /// What the server's process used per stream and second, ms of CPU time.
    pub server_cpu_ms_per_stream_second: Option<f64>,
    /// The same of this process.
    pub own_cpu_ms_per_stream_second: Option<f64>,
    /// The server's memory at the end, KiB.
    pub server_rss_kib: Option<u64>,
}

/// What all publishers count into.
#[derive(Debug, Default)]
struct Counts {
    publishing: AtomicU64,
    bytes: AtomicU64,
    /// The latest lateness of each kind, for the progress line, µs.
    late_us: AtomicU64,
}

/// Publishes, and reports.
///
/// # Errors
/// [`Error::Address`], or what kept the first publisher out.
pub async fn run(options: &Options, clip: Arc<Clip>) -> Result<Report, Error> {
    system::make_room(options.publishers)?;
    let counts = Arc::new(Counts::default());
    let mut publishers = JoinSet::new();
    let began = Instant::now();
    let end = began + options.ramp + options.settle + options.duration;
    for n in 0..options.publishers {
        let address = Address::rtmp(&stream_url(&options.url, n, options.publishers))?;
        let (clip, counts) = (Arc::clone(&clip), Arc::clone(&counts));
        let (writer, is_paced) = (options.writer, options.is_paced);
        let start = began + share(options.ramp, n, options.publishers);
        publishers.spawn(async move {
            sleep_until(start).await;
            let mut lateness = Vec::new();
            let result = tokio::select! {
                result = publish(&address, writer, is_paced, &clip, &counts, &mut lateness) => result,
                () = sleep_until(end) => Ok(()),
            };
            (result, lateness)
        });
    }
    let watched = Arc::clone(&counts);
    let mut line = progress::every(Duration::from_secs(5), move |elapsed| {
        let (publishing, late) =
            (watched.publishing.load(Ordering::Relaxed), watched.late_us.load(Ordering::Relaxed));
        format!(
            "{:.0} s: {publishing} publish, the last tag {:.1} ms late",
            elapsed.as_secs_f64(),
            late as f64 / 1_000.0
        )
    });
    sleep_until(began + options.ramp + options.settle).await;
    let counted_from = Instant::now();
    let usages = || (options.pid.and_then(system::usage), system::usage(std::process::id()));
    let (before, bytes_before) = (usages(), counts.bytes.load(Ordering::Relaxed));
    sleep_until(end).await;
    let (after, seconds) = (usages(), counted_from.elapsed().as_secs_f64());
    let bytes = counts.bytes.load(Ordering::Relaxed) - bytes_before;
    line.abort_all();

    let (mut failed, mut first_failure, mut lateness) = (0, None, Vec::new());
    while let Some(joined) = publishers.join_next().await {
        let Ok((result, late)) = joined else { continue };
        lateness.extend(late.into_iter().filter(|(at, _)| *at >= counted_from).map(|(_, late)| late));
        if let Err(error) = result {
            failed += 1;
            first_failure.get_or_insert(error.to_string());
        }
    }
    let per_stream_second = |before: Option<Usage>, after: Option<Usage>| {
        let spent = after?.cpu_us.saturating_sub(before?.cpu_us);
        Some(spent as f64 / 1_000.0 / (options.publishers as f64 * seconds))
    };
    Ok(Report {
        publishers: usize::try_from(counts.publishing.load(Ordering::Relaxed)).unwrap_or(usize::MAX),
        failed,
        first_failure,
        seconds,
        bytes,
        megabytes_per_second: bytes as f64 / 1e6 / seconds,
        lateness: Spread::of(lateness),
        server_cpu_ms_per_stream_second: per_stream_second(before.0, after.0),
        own_cpu_ms_per_stream_second: per_stream_second(before.1, after.1),
        server_rss_kib: after.0.map(|usage| usage.rss_kib),
    })
}

/// When each picture of a publication was handed to the socket, in the order of the stream, with its time stamp.
#[derive(Debug, Default)]
pub struct Pictures(Mutex<Vec<(u64, Instant)>>);

impl Pictures {
    /// All so far.
    pub fn sent(&self) -> Vec<Instant> {
        self.lock().iter().map(|(_, at)| *at).collect()
    }

    /// When the picture was sent whose stamp is nearest to `at_ms`: a server may begin to count a few ms earlier or later.
    pub fn sent_at(&self, at_ms: u64) -> Option<Instant> {
        let sent = self.lock();
        let next = sent.partition_point(|(stamp, _)| *stamp < at_ms);
        let candidates = [next.checked_sub(1).and_then(|before| sent.get(before)), sent.get(next)];
        let nearest = candidates.into_iter().flatten().min_by_key(|(stamp, _)| stamp.abs_diff(at_ms));
        nearest.map(|(_, at)| *at)
    }

    /// When the picture was sent that has this stamp, if it was.
    pub fn sent_with(&self, at_ms: u64) -> Option<Instant> {
        let sent = self.lock();
        let index = sent.binary_search_by_key(&at_ms, |(stamp, _)| *stamp).ok()?;
        sent.get(index).map(|(_, at)| *at)
    }

    /// When the stream began, as its first picture tells: each is due its stamp later.
    pub fn began(&self) -> Option<Instant> {
        self.lock().first().and_then(|(stamp, at)| at.checked_sub(Duration::from_millis(*stamp)))
    }

    fn note(&self, at_ms: u64) {
        self.lock().push((at_ms, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Instant)>> {
        // Whole after any panic: each push is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One publisher until it fails; notes when each picture is handed to the socket.
///
/// # Errors
/// [`Error::Connection`], [`Error::Publish`].
pub async fn publish_pictures(
    address: Address,
    writer: Writer,
    clip: Arc<Clip>,
    pictures: &Pictures,
) -> Result<(), Error> {
    let mut session = Session::open(&address, writer).await?;
    let start = Instant::now();
    for (tag, at_ms) in clip.for_ever() {
        sleep_until(start + Duration::from_millis(at_ms)).await;
        if is_picture(tag) {
            pictures.note(at_ms);
        }
        session.queue(tag, at_ms)?;
        session.flush().await?;
    }
    Ok(())
}

async fn publish(
    address: &Address,
    writer: Writer,
    is_paced: bool,
    clip: &Clip,
    counts: &Counts,
    lateness: &mut Vec<(Instant, Duration)>,
) -> Result<(), Error> {
    let mut session = Session::open(address, writer).await?;
    counts.publishing.fetch_add(1, Ordering::Relaxed);
    let start = Instant::now();
    for (tag, at_ms) in clip.for_ever() {
        let due = start + Duration::from_millis(at_ms);
        if is_paced {
            sleep_until(due).await;
        }
        session.queue(tag, at_ms)?;
        if is_paced || session.queued() >= UNPACED_WRITE_BYTES {
            session.flush().await?;
        }
        counts.bytes.fetch_add(tag.body.len() as u64, Ordering::Relaxed);
        if is_paced {
            let late = due.elapsed();
            counts.late_us.store(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            lateness.push((Instant::now(), late));
        }
    }
    Ok(())
}

/// The address of publisher `n` of `all`.
pub(crate) fn stream_url(url: &str, n: usize, all: usize) -> String {
    if url.contains("{n}") {
        url.replace("{n}", &n.to_string())
    } else if all == 1 {
        url.to_owned()
    } else {
        format!("{url}{n}")
    }
}

/// When number `n` of `all` begins.
pub(crate) fn share(ramp: Duration, n: usize, all: usize) -> Duration {
    ramp.mul_f64(n as f64 / all.max(1) as f64)
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabits = self.bytes as f64 * 8.0 / self.seconds / 1e6;
        writeln!(f, "publishers            {} ({} failed)", self.publishers, self.failed)?;
        if let Some(failure) = &self.first_failure {
            writeln!(f, "first failure         {failure}")?;
        }
        let megabytes = self.megabytes_per_second;
        writeln!(
            f,
            "sent                  {megabits:.1} Mbit/s, {megabytes:.1} MB/s in {:.0} s",
            self.seconds
        )?;
        if let Some(lateness) = &self.lateness {
            writeln!(f, "tags sent late by     {lateness}")?;
        }
        for (who, cpu) in
            [("server", self.server_cpu_ms_per_stream_second), ("load  ", self.own_cpu_ms_per_stream_second)]
        {
            if let Some(cpu) = cpu {
                writeln!(f, "CPU of the {who}     {cpu:.2} ms per stream and second")?;
            }
        }
        if let Some(rss) = self.server_rss_kib {
            writeln!(f, "memory of the server  {:.1} MiB", rss as f64 / 1024.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_of_a_stamp() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let pictures = Pictures(Mutex::new(vec![(0, at(0)), (33, at(34)), (67, at(69))]));
        for (stamp, expected) in [(0, 0), (3, 0), (30, 34), (36, 34), (67, 69), (1_000, 69)] {
            assert_eq!(pictures.sent_at(stamp), Some(at(expected)), "{stamp}");
        }
        assert_eq!(Pictures::default().sent_at(0), None);
        assert_eq!((pictures.sent_with(67), pictures.sent_with(36)), (Some(at(69)), None));
        assert_eq!(pictures.began(), Some(began));
        let later = Pictures(Mutex::new(vec![(20, at(21))]));
        assert_eq!((later.began(), Pictures::default().began()), (Some(at(1)), None));
    }

    #[test]
    fn every_publisher_has_its_own_address() {
        for (url, n, all, expected) in [
            ("rtmp://h/live/cam", 0, 1, "rtmp://h/live/cam"),
            ("rtmp://h/live/cam", 7, 20, "rtmp://h/live/cam7"),
            ("rtmp://h/a{n}/cam?key=x", 7, 20, "rtmp://h/a7/cam?key=x"),
        ] {
            assert_eq!(stream_url(url, n, all), expected);
        }
        assert_eq!(share(Duration::from_secs(10), 3, 4), Duration::from_millis(7_500));
    }
}
