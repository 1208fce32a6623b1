//! A publisher, a packager and a reader that follows every version, in virtual time.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{Demuxer, FlvReader, Tag, TagKind};
use headwater_manifest::dash::check::Checker as MpdChecker;
use headwater_manifest::hls::check::{Checker, Severity, merge_delta};
use headwater_media::{Cause, Event, TrackKind, WallTime};
use headwater_packager::{Clock, CmafSegment, Config, Numbering, Packager, Snapshot, State, TsSegment};
use headwater_testkit::{fmp4, ts};

/// 2026-01-31T12:00:00Z.
pub(crate) const START_MS: i64 = 1_769_860_800_000;

pub(crate) fn clip(name: &str) -> Vec<u8> {
    let path = format!("{}/../../sample-media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn tags(file: Vec<u8>) -> Vec<Tag> {
    FlvReader::new(Bytes::from(file)).unwrap().map(Result::unwrap).collect()
}

/// A publisher, a packager and a reader that follows every version, in virtual time.
pub(crate) struct World {
    pub(crate) packager: Packager,
    pub(crate) demuxer: Demuxer,
    pub(crate) now: Duration,
    /// Everything that was ever listed, by number.
    pub(crate) segments: BTreeMap<u64, Arc<TsSegment>>,
    /// The same of either CMAF track.
    pub(crate) cmaf: [BTreeMap<u64, Arc<CmafSegment>>; 2],
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) checker: Checker,
    pub(crate) cmaf_checkers: [Checker; 2],
    pub(crate) mpd_checker: MpdChecker,
    /// Of low latency's.
    pub(crate) low_latency_checker: MpdChecker,
    pub(crate) findings: Vec<String>,
    /// The publisher was away: that nothing new came is no finding.
    pub(crate) away: bool,
    /// Pictures stay away or stay on, so parts are as long as they are.
    pub(crate) uneven: bool,
    /// Delta updates that left something out.
    pub(crate) deltas: usize,
    /// The newest version of either CMAF playlist.
    pub(crate) cmaf_playlists: [String; 2],
    /// How far the wall clock has been set since the start.
    pub(crate) wall_set_ms: i64,
}

pub(crate) const KINDS: [TrackKind; 2] = [TrackKind::Video, TrackKind::Audio];

impl World {
    pub(crate) fn new(config: &Config) -> World {
        World::resumed(
            config,
            Numbering { media_sequence: 1_769_860_800, discontinuity_sequence: 5, resumed: false },
        )
    }

    pub(crate) fn resumed(config: &Config, numbering: Numbering) -> World {
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
            low_latency_checker: MpdChecker::new(),
            findings: Vec::new(),
            away: false,
            uneven: false,
            deltas: 0,
            cmaf_playlists: Default::default(),
            wall_set_ms: 0,
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        let elapsed = i64::try_from(self.now.as_millis()).unwrap();
        Clock { now: self.now, wall: WallTime::from_unix_millis(START_MS + elapsed + self.wall_set_ms) }
    }

    pub(crate) fn begin(&mut self) {
        self.demuxer = Demuxer::new();
        self.packager.begin_session(self.clock());
        self.follow();
    }

    /// Publishes tags in real time, their stamps moved by `shift_ms`, from `self.now` on.
    pub(crate) fn publish<'a>(&mut self, tags: impl Iterator<Item = &'a Tag>, shift_ms: u32) {
        let start = self.now;
        let mut events = Vec::new();
        for tag in tags {
            // Tags that are not in the order of their stamps come when the latest of them does.
            self.now = self.now.max(start + Duration::from_millis(u64::from(tag.timestamp_ms)));
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

    pub(crate) fn push(&mut self, event: Event) {
        self.packager.push(event, self.clock()).unwrap();
        self.packager.check_invariants();
        self.follow();
    }

    pub(crate) fn end(&mut self, cause: Cause) {
        self.packager.end_session(cause, self.clock());
        self.packager.check_invariants();
        self.follow();
    }

    /// What a reader does: every version of the playlist through the checker, every segment kept once.
    pub(crate) fn follow(&mut self) {
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

    pub(crate) fn follow_cmaf(&mut self, snapshot: &Snapshot) {
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
            let delta = String::from_utf8(snapshot.cmaf_delta_update(kind).unwrap()).unwrap();
            let before =
                std::mem::replace(&mut self.cmaf_playlists[index], String::from_utf8(text.clone()).unwrap());
            // Who was there at the version before has what is left out.
            let full = &self.cmaf_playlists[index];
            if delta.contains("#EXT-X-SKIP") {
                self.deltas += 1;
                assert_eq!(merge_delta(&before, &delta).as_deref(), Ok(full.as_str()), "{before}\n{delta}");
            } else {
                assert_eq!(&delta, full);
            }
            m3u8_rs::parse_media_playlist(&text).expect("m3u8-rs reads it");
            let text = String::from_utf8(text).unwrap();
            // Only who is away may leave players without a hint.
            if snapshot.state == State::Live && cmaf.part_target.is_some() {
                assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART"), "at {:?}:\n{text}", self.now);
            }
            for finding in self.cmaf_checkers[index].observe(&text, received) {
                if finding.severity == Severity::Error
                    && !(self.away && finding.message.starts_with("nothing new"))
                    && !(self.uneven && finding.rule == "hls 5.2")
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
        // What has ended is told in the other MPD's form: a static MPD is not loaded again, and no later version is held against it.
        if snapshot.state == State::Ended {
            return;
        }
        let Some(text) = snapshot.low_latency_mpd(Some("http://localhost/time")) else { return };
        let text = String::from_utf8(text).unwrap();
        for finding in self.low_latency_checker.observe(&text, Some(self.clock().wall)) {
            if finding.severity == headwater_manifest::dash::check::Severity::Error {
                self.findings.push(format!("low-latency MPD at {:?}: {finding:?}\n{text}", self.now));
            }
        }
    }

    /// Lets go of the segments that can't be fetched any more: those that [`World::report`] and [`World::cmaf_report`] no longer look at.
    pub(crate) fn forget_what_is_gone(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let ts = snapshot.ts.as_ref().unwrap();
        self.segments.retain(|sequence, _| ts.segment(*sequence).is_some());
        for (segments, kind) in self.cmaf.iter_mut().zip(KINDS) {
            let rendition = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(kind));
            segments.retain(|sequence, _| rendition.is_some_and(|r| r.segment(*sequence).is_some()));
        }
    }

    /// What a reader nobody here wrote makes of a CMAF track.
    pub(crate) fn cmaf_report(&self, kind: TrackKind) -> Option<fmp4::Fmp4Report> {
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

    pub(crate) fn report(&self) -> ts::TsReport {
        let mut reader = ts::TsReader::new();
        for segment in self.segments.values() {
            if segment.discontinuity {
                reader.discontinuity();
            }
            reader.segment(&segment.payload);
        }
        reader.finish()
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.snapshot.as_ref().unwrap()
    }

    pub(crate) fn assert_clean(&self) {
        assert!(self.findings.is_empty(), "{}", self.findings.join("\n"));
        let report = self.report();
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        for kind in KINDS {
            let findings = self.cmaf_report(kind).map_or_else(Vec::new, |report| report.findings);
            assert!(findings.is_empty(), "{kind}: {findings:#?}");
        }
    }

    pub(crate) fn durations_ms(&self) -> Vec<i64> {
        self.segments.values().map(|segment| segment.duration.millis()).collect()
    }
}
