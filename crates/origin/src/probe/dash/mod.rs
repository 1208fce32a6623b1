//! A DASH presentation probed: its MPD reloaded as a player would, and every Representation in a thread of its own.

mod announced;
mod clock;
mod representation;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use headwater_manifest::dash::check::{Checker, MpdText, PeriodText};
use headwater_media::WallTime;

use super::fmp4::seconds;
use super::http::{Answer, Fetcher, Kind, check_head, check_not_found, check_revalidation};
use super::report::{Log, Report, Subject, counted};
use super::{RENDITIONS_MAX, alignment};
use announced::{Segment, Span};
use clock::Clock;
use representation::{Followed, Follower};

/// dash.js asks at most once a second, whatever @minimumUpdatePeriod says.
const RELOAD_MIN: Duration = Duration::from_secs(1);
/// A change is still seen within a minute when @minimumUpdatePeriod is an hour.
const RELOAD_MAX: Duration = Duration::from_secs(60);
/// Requests of the MPD that may fail in a row before it is given up.
const FAILURES_MAX: u32 = 5;
/// A Representation looks for segments that came by the clock alone (@duration) so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A timeline that stands still for so many of its longest segments has stalled; one is the usual rhythm.
const STALL_SEGMENTS: i64 = 3;

/// Follows what `first` is the first version of until `deadline`. Returns whether there was anything to examine.
pub(super) fn probe(fetcher: &Fetcher, first: &Answer, deadline: Instant, report: &mut Report) -> bool {
    let mut log = Log::default();
    let mut first_look = Checker::new();
    first_look.observe(&String::from_utf8_lossy(&first.body), None);
    let received_us = clock::here_us()
        .saturating_sub(i64::try_from(first.received_at.elapsed().as_micros()).unwrap_or(i64::MAX));
    let clock = match first_look.mpd().filter(|mpd| mpd.dynamic) {
        Some(mpd) => Clock::ask(fetcher, mpd, &first.url, received_us, &mut log),
        None => Clock::default(),
    };
    let board = Board::default();
    let mut reloader = Reloader {
        fetcher,
        url: report.url.clone(),
        clock,
        checker: Checker::new(),
        log,
        versions: 0,
        latency_us: None,
        moved: None,
        stall_reported: false,
    };
    let followed = std::thread::scope(|scope| {
        let mut threads: Vec<(String, ScopedJoinHandle<'_, Followed>)> = Vec::new();
        reloader.run(first, deadline, &mut |mpd: &Arc<MpdText>, base: &str, log: &mut Log| {
            board.publish(mpd, base);
            for id in new_ids(mpd, &threads, log) {
                let mut follower = Follower::new(fetcher, &id, clock, deadline);
                let board = &board;
                let thread = scope.spawn(move || {
                    board.follow(&mut follower, deadline);
                    follower.finish()
                });
                threads.push((id, thread));
            }
        });
        board.end();
        threads.into_iter().filter_map(|(_, thread)| thread.join().ok()).collect::<Vec<_>>()
    });
    reloader.report(followed, report)
}

/// Ids of Representations that no thread follows yet.
fn new_ids<T>(mpd: &MpdText, threads: &[(String, T)], log: &mut Log) -> Vec<String> {
    let mut new: Vec<String> = Vec::new();
    let representations = mpd.periods.iter().flat_map(PeriodText::representations);
    for representation in representations.filter(|representation| representation.template.is_some()) {
        let id = &representation.id;
        if new.contains(id) || threads.iter().any(|(have, _)| have == id) {
            continue;
        }
        if threads.len().saturating_add(new.len()) >= RENDITIONS_MAX {
            log.notice("dash 5", format!("only {RENDITIONS_MAX} Representations are followed"));
            break;
        }
        new.push(id.clone());
    }
    new
}

/// Where the last version of the MPD is left for the Representations.
#[derive(Default)]
struct Board {
    posted: Mutex<Posted>,
    changed: Condvar,
}

#[derive(Default)]
struct Posted {
    version: u64,
    mpd: Option<(Arc<MpdText>, String)>,
    /// No further version comes.
    ended: bool,
}

impl Board {
    fn publish(&self, mpd: &Arc<MpdText>, base: &str) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.version += 1;
        posted.mpd = Some((Arc::clone(mpd), base.to_owned()));
        self.changed.notify_all();
    }

    fn end(&self) {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }

    /// Hands every version to `follower` until the last one was seen or `deadline`.
    fn follow(&self, follower: &mut Follower<'_>, deadline: Instant) {
        let mut seen = 0;
        loop {
            let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |posted: &mut Posted| posted.version == seen && !posted.ended;
            let (posted, _) = self
                .changed
                .wait_timeout_while(posted, LOOK_INTERVAL, waits)
                .unwrap_or_else(PoisonError::into_inner);
            let over = posted.ended && posted.version == seen;
            seen = posted.version;
            let mpd = posted.mpd.clone();
            drop(posted);
            if over || Instant::now() >= deadline {
                return;
            }
            if let Some((mpd, base)) = mpd {
                follower.version(&mpd, &base);
            }
        }
    }
}

/// Asks for the MPD again and again.
struct Reloader<'a> {
    fetcher: &'a Fetcher,
    url: String,
    clock: Clock,
    checker: Checker,
    log: Log,
    versions: u64,
    latency_us: Option<i64>,
    /// The live edge of the last version that moved it, and when that came.
    moved: Option<(i64, Instant)>,
    stall_reported: bool,
}

impl Reloader<'_> {
    fn run(
        &mut self,
        first: &Answer,
        deadline: Instant,
        publish: &mut dyn FnMut(&Arc<MpdText>, &str, &mut Log),
    ) {
        self.version(first, publish);
        if let Some(mpd) = self.checker.mpd() {
            let longest_us = mpd.max_segment_duration_us.max(mpd.minimum_update_period_us).unwrap_or(0);
            let limit = u64::try_from(longest_us / 1_000_000).unwrap_or(0).max(1);
            let kind = if mpd.dynamic { Kind::LiveMpd(limit) } else { Kind::StaticMpd };
            check_head(first, kind, &mut self.log);
            check_revalidation(self.fetcher, first, kind, &mut self.log);
            check_not_found(self.fetcher, &first.url, "m4s", &mut self.log);
        }
        let mut failures = 0;
        let mut asked_at = first.received_at;
        while let Some(next) = self.next_at(asked_at).filter(|_| failures < FAILURES_MAX) {
            if next >= deadline {
                break;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            asked_at = Instant::now();
            match self.fetcher.playlist(&self.url) {
                Ok(answer) if answer.status == 200 => {
                    failures = 0;
                    self.version(&answer, publish);
                }
                Ok(answer) => {
                    failures += 1;
                    self.log.error("http 7", format!("the MPD was answered with {}", answer.status));
                }
                Err(error) => {
                    failures += 1;
                    self.log.error("http 7", format!("the MPD could not be fetched: {error}"));
                }
            }
        }
        if self.checker.mpd().is_some_and(|mpd| mpd.dynamic) && failures < FAILURES_MAX {
            // Segments that come by the clock alone go on to come.
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// When to ask next; `None` for an MPD that is final.
    fn next_at(&self, asked_at: Instant) -> Option<Instant> {
        let mpd = self.checker.mpd()?;
        let period_us = mpd.minimum_update_period_us.filter(|_| mpd.dynamic)?;
        let period = Duration::from_micros(u64::try_from(period_us).unwrap_or(0));
        asked_at.checked_add(period.clamp(RELOAD_MIN, RELOAD_MAX))
    }

    fn version(&mut self, answer: &Answer, publish: &mut dyn FnMut(&Arc<MpdText>, &str, &mut Log)) {
        self.versions += 1;
        let text = match std::str::from_utf8(&answer.body) {
            Ok(text) => text.into(),
            Err(error) => {
                self.log.error("dash 8.1", format!("the MPD is no UTF-8 at byte {}", error.valid_up_to()));
                String::from_utf8_lossy(&answer.body)
            }
        };
        let since_us = i64::try_from(answer.received_at.elapsed().as_micros()).unwrap_or(i64::MAX);
        let received_us = self.clock.now_us().saturating_sub(since_us);
        let received_at = WallTime::from_unix_millis(received_us / 1_000);
        self.log.extend(self.checker.observe(&text, Some(received_at)));
        let Some(mpd) = self.checker.mpd().cloned() else { return };
        self.edge(&mpd, received_us, answer.received_at);
        publish(&Arc::new(mpd), &answer.url, &mut self.log);
    }

    /// How far the timeline's end is behind the clock, and whether it moves.
    fn edge(&mut self, mpd: &MpdText, received_us: i64, received_at: Instant) {
        let Some((index, period)) = mpd.periods.iter().enumerate().next_back().filter(|_| mpd.dynamic) else {
            return;
        };
        let span = Span::of(mpd, index, period);
        let edges = period.representations().filter_map(|representation| {
            let template = representation.template.as_deref()?;
            let (number, t, d) = template.newest_segments(1).next()?;
            span.edge_us(template, Segment { number, t, d })
        });
        // Of several Representations the one that is most behind.
        let Some(edge_us) = edges.min() else { return };
        self.latency_us = Some(received_us.saturating_sub(edge_us).max(0));
        let Some((_, since)) = self.moved.filter(|(before, _)| *before == edge_us) else {
            self.moved = Some((edge_us, received_at));
            self.stall_reported = false;
            return;
        };
        let stood = received_at.saturating_duration_since(since);
        let limit_us = mpd.max_segment_duration_us.unwrap_or(2_000_000).saturating_mul(STALL_SEGMENTS);
        let limit = Duration::from_micros(u64::try_from(limit_us).unwrap_or(0)).max(RELOAD_MIN * 3);
        if stood > limit && !self.stall_reported {
            self.stall_reported = true;
            let stood = stood.as_secs_f64();
            self.log.error("dash 5", format!("no timeline got a new segment for {stood:.1} s"));
        }
    }

    /// The subjects, the MPD first. Returns whether there was an MPD at all.
    fn report(mut self, followed: Vec<Followed>, report: &mut Report) -> bool {
        let mpd = self.checker.mpd();
        let summary = match mpd {
            None => "no MPD could be read".to_owned(),
            Some(mpd) => {
                let kind = if mpd.dynamic { "live" } else { "static" };
                let clock = self.clock.offset_us.map(|offset_us| {
                    let offset = seconds(i128::from(offset_us));
                    format!(", its clock {offset:+.3} s from the one here")
                });
                let listed = match mpd.segment_count() {
                    0 => "no segment listed".to_owned(),
                    count => format!("{} listed", counted(count, "segment")),
                };
                format!(
                    "{kind} MPD of {}, {listed}, {} examined{}",
                    counted(mpd.periods.len() as u64, "Period"),
                    counted(self.versions, "version"),
                    clock.unwrap_or_default(),
                )
            }
        };
        // Audio and video need not be cut alike in DASH, Representations of one kind should be.
        for is_video in [true, false] {
            let of_kind =
                |one: &&Followed| one.starts.first().is_some_and(|start| start.standing.is_video == is_video);
            let starts: Vec<_> =
                followed.iter().filter(of_kind).map(|one| (one.id.as_str(), one.starts.as_slice())).collect();
            alignment::compare(&starts, &mut self.log);
        }
        let something = mpd.is_some();
        report.examined = format!("1 MPD and {}", counted(followed.len() as u64, "Representation"));
        report.latency_seconds = self.latency_us.map(|us| seconds(i128::from(us)));
        report.subjects.push(Subject::new(&self.url, summary, self.log));
        for one in followed {
            report.segments += one.segments;
            report.bytes += one.bytes;
            let summary = one.summary();
            let url = if one.url.is_empty() { &self.url } else { &one.url };
            report.subjects.push(Subject::new(url, summary, one.log));
        }
        something
    }
}
