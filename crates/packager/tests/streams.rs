//! Whole streams in virtual time: real clips in, playlists and segments out, read back by readers nobody here wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{Demuxer, FlvReader, Tag, TagKind};
use headwater_manifest::dash::check::Checker as MpdChecker;
use headwater_manifest::hls::check::{Checker, Severity};
use headwater_media::{Cause, Event, TrackKind, WallTime};
use headwater_packager::{Clock, CmafSegment, Config, Numbering, Packager, Snapshot, State, TsSegment};
use headwater_testkit::{fidelity, flv, fmp4, ts};

/// 2026-01-31T12:00:00Z.
const START_MS: i64 = 1_769_860_800_000;

fn clip(name: &str) -> Vec<u8> {
    let path = format!("{}/../../sample-media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tags(file: Vec<u8>) -> Vec<Tag> {
    FlvReader::new(Bytes::from(file)).unwrap().map(Result::unwrap).collect()
}

/// A publisher, a packager and a reader that follows every version, in virtual time.
struct World {
    packager: Packager,
    demuxer: Demuxer,
    now: Duration,
    /// Everything that was ever listed, by number.
    segments: BTreeMap<u64, Arc<TsSegment>>,
    /// The same of either CMAF track.
    cmaf: [BTreeMap<u64, Arc<CmafSegment>>; 2],
    snapshot: Option<Arc<Snapshot>>,
    checker: Checker,
    cmaf_checkers: [Checker; 2],
    mpd_checker: MpdChecker,
    findings: Vec<String>,
    /// The publisher was away: that nothing new came is no finding.
    away: bool,
}

const KINDS: [TrackKind; 2] = [TrackKind::Video, TrackKind::Audio];

impl World {
    fn new(config: &Config) -> World {
        World::resumed(
            config,
            Numbering { media_sequence: 1_769_860_800, discontinuity_sequence: 5, resumed: false },
        )
    }

    fn resumed(config: &Config, numbering: Numbering) -> World {
        World {
            packager: Packager::new(config, numbering),
            demuxer: Demuxer::new(),
            now: Duration::ZERO,
            segments: BTreeMap::new(),
            cmaf: Default::default(),
            snapshot: None,
            checker: Checker::new("ts/media.m3u8"),
            cmaf_checkers: KINDS.map(|kind| Checker::new(&format!("{kind}/media.m3u8"))),
            mpd_checker: MpdChecker::new(),
            findings: Vec::new(),
            away: false,
        }
    }

    fn clock(&self) -> Clock {
        let elapsed = i64::try_from(self.now.as_millis()).unwrap();
        Clock { now: self.now, wall: WallTime::from_unix_millis(START_MS + elapsed) }
    }

    fn begin(&mut self) {
        self.demuxer = Demuxer::new();
        self.packager.begin_session(self.clock());
        self.follow();
    }

    /// Publishes tags in real time, their stamps moved by `shift_ms`, from `self.now` on.
    fn publish<'a>(&mut self, tags: impl Iterator<Item = &'a Tag>, shift_ms: u32) {
        let start = self.now;
        let mut events = Vec::new();
        for tag in tags {
            self.now = start + Duration::from_millis(u64::from(tag.timestamp_ms));
            let stamp = tag.timestamp_ms.wrapping_add(shift_ms);
            let body = tag.body.clone();
            match tag.kind {
                TagKind::Audio => self.demuxer.audio(stamp, body, &mut events),
                TagKind::Video => self.demuxer.video(stamp, body, &mut events),
                TagKind::Data => self.demuxer.data(stamp, body, &mut events),
            }
            .unwrap();
            for event in events.drain(..) {
                self.push(event);
            }
        }
    }

    fn push(&mut self, event: Event) {
        self.packager.push(event, self.clock()).unwrap();
        self.packager.check_invariants();
        self.follow();
    }

    fn end(&mut self, cause: Cause) {
        self.packager.end_session(cause, self.clock());
        self.packager.check_invariants();
        self.follow();
    }

    /// What a reader does: every version of the playlist through the checker, every segment kept once.
    fn follow(&mut self) {
        let Some(snapshot) = self.packager.poll_snapshot(self.clock().wall) else { return };
        if let Some(before) = &self.snapshot {
            assert_eq!(snapshot.version, before.version + 1);
        }
        let ts = snapshot.ts.as_ref().unwrap();
        for segment in ts.retained.iter().chain(&ts.listed) {
            let known = self.segments.entry(segment.sequence).or_insert_with(|| Arc::clone(segment));
            assert!(Arc::ptr_eq(known, segment), "segment {} has changed", segment.sequence);
        }
        if let Some(text) = snapshot.media_playlist() {
            let (rest, _) = m3u8_rs::parse_media_playlist(&text).expect("m3u8-rs reads it");
            assert!(rest.is_empty());
            let text = String::from_utf8(text).unwrap();
            let received = i64::try_from(self.now.as_millis()).unwrap();
            for finding in self.checker.observe(&text, received) {
                if finding.severity == Severity::Error
                    && !(self.away && finding.message.starts_with("nothing new"))
                {
                    self.findings.push(format!("at {:?}: {finding:?}\n{text}", self.now));
                }
            }
        }
        self.follow_cmaf(&snapshot);
        self.snapshot = Some(snapshot);
    }

    fn follow_cmaf(&mut self, snapshot: &Snapshot) {
        let Some(cmaf) = &snapshot.cmaf else { return };
        let received = i64::try_from(self.now.as_millis()).unwrap();
        for (index, kind) in KINDS.into_iter().enumerate() {
            let Some(rendition) = cmaf.rendition(kind) else { continue };
            for segment in rendition.retained.iter().chain(&rendition.listed) {
                let known = self.cmaf[index].entry(segment.sequence).or_insert_with(|| Arc::clone(segment));
                assert!(Arc::ptr_eq(known, segment), "{kind} segment {} has changed", segment.sequence);
                assert!(cmaf.inits.iter().any(|init| init.name_hash == segment.init.name_hash));
            }
            let Some(text) = snapshot.cmaf_media_playlist(kind) else { continue };
            m3u8_rs::parse_media_playlist(&text).expect("m3u8-rs reads it");
            let text = String::from_utf8(text).unwrap();
            for finding in self.cmaf_checkers[index].observe(&text, received) {
                if finding.severity == Severity::Error
                    && !(self.away && finding.message.starts_with("nothing new"))
                {
                    self.findings.push(format!("{kind} at {:?}: {finding:?}\n{text}", self.now));
                }
            }
        }
        let Some(text) = snapshot.mpd(Some("http://localhost/time")) else { return };
        let text = String::from_utf8(text).unwrap();
        for finding in self.mpd_checker.observe(&text, Some(self.clock().wall)) {
            if finding.severity == headwater_manifest::dash::check::Severity::Error {
                self.findings.push(format!("MPD at {:?}: {finding:?}\n{text}", self.now));
            }
        }
    }

    /// What a reader nobody here wrote makes of a CMAF track.
    fn cmaf_report(&self, kind: TrackKind) -> Option<fmp4::Fmp4Report> {
        let segments = &self.cmaf[usize::from(kind == TrackKind::Audio)];
        let mut reader = fmp4::Fmp4Reader::new();
        let mut init = String::new();
        for segment in segments.values() {
            if segment.discontinuity {
                reader.discontinuity();
            }
            if segment.init.name_hash != init {
                init.clone_from(&segment.init.name_hash);
                reader.init(&segment.init.bytes);
            }
            reader.segment(&segment.payload());
        }
        (!segments.is_empty()).then(|| reader.finish())
    }

    fn report(&self) -> ts::TsReport {
        let mut reader = ts::TsReader::new();
        for segment in self.segments.values() {
            if segment.discontinuity {
                reader.discontinuity();
            }
            reader.segment(&segment.payload);
        }
        reader.finish()
    }

    fn snapshot(&self) -> &Snapshot {
        self.snapshot.as_ref().unwrap()
    }

    fn assert_clean(&self) {
        assert!(self.findings.is_empty(), "{}", self.findings.join("\n"));
        let report = self.report();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        for kind in KINDS {
            let findings = self.cmaf_report(kind).map_or_else(Vec::new, |report| report.findings);
            assert!(findings.is_empty(), "{kind}: {findings:#?}");
        }
    }

    fn durations_ms(&self) -> Vec<i64> {
        self.segments.values().map(|segment| segment.duration.millis()).collect()
    }
}

#[test]
fn every_access_unit_arrives_once_and_in_sync() {
    for name in ["clip.flv", "plain.flv"] {
        let file = clip(name);
        let sent = flv::read(&file).unwrap();
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(tags(file).iter(), 0);
        world.end(Cause::Clean);
        world.assert_clean();
        let compared = fidelity::compare(&sent, &world.report());
        assert!(compared.is_faithful(), "{name}: {compared:#?}");
        assert_eq!(compared.video_sent, compared.video_received);
        assert!(compared.video_received > 190 && compared.audio_received > 370, "{compared:?}");
        let (video, audio) = (world.cmaf_report(TrackKind::Video), world.cmaf_report(TrackKind::Audio));
        let compared = fidelity::compare_fmp4(&sent, video.as_ref(), audio.as_ref());
        assert!(compared.is_faithful(), "{name} as CMAF: {compared:#?}");
        assert_eq!(compared.video_sent, compared.video_received);
        let durations = world.durations_ms();
        let (last, whole) = durations.split_last().unwrap();
        assert!(whole.iter().all(|ms| *ms == 2_000), "{name}: {durations:?}");
        assert!((1_990..=2_499).contains(last), "{name}: {durations:?}");
        assert_eq!(world.snapshot().ts.as_ref().unwrap().target_duration, 2);
    }
}

#[test]
fn an_hour_of_loops_keeps_every_rule_and_little_memory() {
    let tags = tags(clip("plain.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    let mut size_max = 0;
    for turn in 0..450_u32 {
        world.now = Duration::from_secs(u64::from(turn) * 8);
        // The stamps begin near 2^32 and wrap.
        world.publish(tags.iter(), 4_294_000_000_u32.wrapping_add(turn * 8_000));
        size_max = size_max.max(world.snapshot().size_bytes());
        // The world remembers every segment; an hour of them need not stay.
        while world.segments.len() > 64 {
            world.segments.pop_first();
            world.cmaf.iter_mut().for_each(|segments| drop(segments.pop_first()));
        }
    }
    world.end(Cause::Clean);
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
    let snapshot = world.snapshot();
    let last = snapshot.ts.as_ref().unwrap().last_sequence().unwrap();
    assert_eq!(last, 1_769_860_800 + 1_799);
    let segment_bytes = world.segments.values().map(|segment| segment.payload.len() as u64).max().unwrap();
    // 24 segments of TS, and the same media as CMAF.
    assert!(size_max <= 2 * 24 * segment_bytes, "{size_max} bytes held");
    let counters = world.packager.counters();
    assert_eq!((counters.repairs, counters.forced_cuts, counters.config_changes), Default::default());
    // The last date lies where an hour of media time has brought it.
    let date = world.segments.values().next_back().unwrap().program_date_time.unix_millis();
    assert!((date - (START_MS + 3_598_000)).abs() <= 200, "{}", date - START_MS);
}

#[test]
fn a_publisher_that_returns_goes_on_without_a_seam() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter().filter(|tag| tag.timestamp_ms < 7_300), 0);
    let before = world.segments.len();
    world.end(Cause::Lost);
    assert_eq!(world.snapshot().state, State::Waiting);
    assert_eq!(world.segments.len(), before + 1, "what had arrived is listed");
    world.now += Duration::from_secs(3);
    world.away = true;
    world.begin();
    assert_eq!(world.snapshot().state, State::Live);
    // The encoder counts from another origin.
    world.publish(tags.iter(), 777_000);
    world.end(Cause::Clean);
    world.assert_clean();
    assert!(
        world.segments.values().all(|segment| !segment.discontinuity),
        "same configuration: no discontinuity"
    );
    let dates: Vec<_> =
        world.segments.values().map(|segment| segment.program_date_time.unix_millis()).collect();
    let jumps: Vec<_> = dates
        .windows(2)
        .zip(world.durations_ms())
        .filter(|(pair, duration)| ((pair[1] - pair[0]) - duration).abs() > 5)
        .collect();
    assert_eq!(jumps.len(), 1, "the wall clock jumps once: {jumps:?}");
    assert_eq!(world.packager.counters().sessions, 2);
}

#[test]
fn another_configuration_is_a_discontinuity_and_an_identical_one_is_not() {
    let (first, second) = (tags(clip("clip.flv")), tags(clip("plain.flv")));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(first.iter(), 0);
    // The clip's own sequence headers again: an identical repeated configuration.
    world.now = Duration::from_secs(16);
    world.publish(first.iter(), 16_000);
    assert_eq!(world.packager.counters().config_changes, 0);
    // Another encoder setting within the same publication.
    world.now = Duration::from_secs(32);
    world.publish(second.iter(), 32_000);
    world.end(Cause::Clean);
    world.assert_clean();
    let breaks: Vec<_> = world.segments.values().filter(|segment| segment.discontinuity).collect();
    assert_eq!(breaks.len(), 1);
    assert_eq!(world.packager.counters().config_changes, 1);
    assert!(breaks[0].independent);
    // Frames of 2 x 16 s at 30 and 8 s at 25 per second, none lost.
    assert_eq!(world.report().video().count(), 480 * 2 + 200);
    assert_eq!(world.snapshot().tracks.video.as_ref().unwrap().width, 640);
}

#[test]
fn one_track_alone() {
    for (kind, name) in [(TagKind::Video, "video only"), (TagKind::Audio, "audio only")] {
        let file = clip("clip.flv");
        let tags = tags(file.clone());
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(tags.iter().filter(|tag| tag.kind == kind), 0);
        world.end(Cause::Clean);
        world.assert_clean();
        let snapshot = world.snapshot();
        assert_eq!(snapshot.tracks.video.is_some(), kind == TagKind::Video, "{name}");
        assert_eq!(snapshot.tracks.audio.is_some(), kind == TagKind::Audio, "{name}");
        let report = world.report();
        let (video, audio) = (report.video().count(), report.audio().count());
        assert_eq!((video > 0, audio > 0), (kind == TagKind::Video, kind == TagKind::Audio), "{name}");
        let total: i64 = world.durations_ms().iter().sum();
        assert!((15_900..=16_100).contains(&total), "{name}: {total} ms");
        let multivariant = String::from_utf8(snapshot.multivariant_playlist().unwrap()).unwrap();
        assert_eq!(multivariant.contains("RESOLUTION=854x480"), kind == TagKind::Video, "{multivariant}");
        let findings = Checker::new("index.m3u8").observe(&multivariant, 0);
        assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
    }
}

#[test]
fn tracks_that_start_apart() {
    let tags = tags(clip("clip.flv"));
    // Either track begins 1.5 s late (within the wait for it) or 5 s late (beyond it).
    for (late, delay_ms, breaks) in [
        (TagKind::Audio, 1_500, 0),
        (TagKind::Audio, 5_000, 1),
        (TagKind::Video, 1_500, 0),
        (TagKind::Video, 5_000, 1),
    ] {
        let mut world = World::new(&Config::default());
        world.begin();
        let is_config = |tag: &Tag| tag.timestamp_ms == 0 && tag.body.get(1) == Some(&0);
        world.publish(
            tags.iter().filter(|tag| tag.kind != late || tag.timestamp_ms >= delay_ms || is_config(tag)),
            0,
        );
        world.end(Cause::Clean);
        world.assert_clean();
        let seen = world.segments.values().filter(|segment| segment.discontinuity).count();
        assert_eq!(seen, breaks, "{late:?} {delay_ms} ms late");
        let tracks = &world.snapshot().tracks;
        assert!(tracks.video.is_some() && tracks.audio.is_some(), "{late:?} {delay_ms} ms late");
    }
}

#[test]
fn an_ended_stream_says_so_and_a_new_publication_starts_clean() {
    let tags = tags(clip("plain.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter(), 0);
    world.end(Cause::Clean);
    world.now += Duration::from_secs(3);
    world.packager.finish(world.clock());
    world.follow();
    let text = String::from_utf8(world.snapshot().media_playlist().unwrap()).unwrap();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    world.assert_clean();

    let last = world.snapshot().ts.as_ref().unwrap().last_sequence().unwrap();
    world.now += Duration::from_secs(30);
    // A player that comes now follows another programme; the one before has seen its end.
    world.checker = Checker::new("ts/media.m3u8");
    world.cmaf_checkers = KINDS.map(|kind| Checker::new(&format!("{kind}/media.m3u8")));
    world.mpd_checker = MpdChecker::new();
    world.begin();
    assert_eq!(world.snapshot().state, State::Starting);
    assert!(!world.snapshot().is_playable(), "the pictures of the last publication are not shown again");
    assert!(world.snapshot().ts.as_ref().unwrap().segment(last).is_some(), "but still fetchable");
    world.publish(tags.iter(), 0);
    let listed = &world.snapshot().ts.as_ref().unwrap().listed;
    assert_eq!(listed.first().unwrap().sequence, last + 1);
    world.assert_clean();
}

#[test]
fn resumed_numbers_begin_with_a_discontinuity() {
    let numbering = Numbering { media_sequence: 42, discontinuity_sequence: 3, resumed: true };
    let mut world = World::resumed(&Config::default(), numbering);
    world.begin();
    world.publish(tags(clip("plain.flv")).iter(), 0);
    let ts = world.snapshot().ts.as_ref().unwrap();
    assert_eq!((ts.listed[0].sequence, ts.listed[0].discontinuity, ts.discontinuity_sequence), (42, true, 3));
    assert_eq!(world.packager.numbers(), (42 + ts.listed.len() as u64, 4));
    world.assert_clean();
}

#[test]
fn a_packaging_that_is_off_costs_nothing() {
    let config = Config { hls: false, cmaf: false, ..Config::default() };
    let mut packager =
        Packager::new(&config, Numbering { media_sequence: 1, discontinuity_sequence: 0, resumed: false });
    let clock = Clock { now: Duration::ZERO, wall: WallTime::from_unix_millis(START_MS) };
    packager.begin_session(clock);
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for tag in tags(clip("plain.flv")) {
        demuxer.tag(tag, &mut events).unwrap();
        for event in events.drain(..) {
            packager.push(event, clock).unwrap();
        }
    }
    let snapshot = packager.poll_snapshot(clock.wall).unwrap();
    assert_eq!((snapshot.size_bytes(), snapshot.is_playable()), (0, false));
}

#[test]
fn pacing_knows_how_far_ahead_the_media_is() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter(), 0);
    let real_time = world.packager.ahead(world.now);
    assert!(real_time < Duration::from_millis(200), "{real_time:?}");
    let burst = world.packager.ahead(Duration::from_secs(1));
    assert!((Duration::from_secs(14)..Duration::from_secs(16)).contains(&burst), "{burst:?}");
}
