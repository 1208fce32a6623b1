//! The ring with a packager in front and readers that share no code with the writers behind it, without a clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_codec::scte35::SpliceInfo;
use headwater_flv::{Demuxer, FlvReader, Tag};
use headwater_media::{Cause, MediaTime, Timescale, WallTime};
use headwater_packager::{Clock, Config, Cue, Numbering, Packager, SCHEME_ID3, SCHEME_SPLICE};
use headwater_testkit::{fidelity, flv, fmp4::Fmp4Reader, ts::TsReader};

use super::*;

const BUDGET: u64 = 512 << 20;

/// A publisher, its packager and the ring.
struct World {
    packager: Packager,
    ring: Arc<Ring>,
    demuxer: Demuxer,
    clock: Clock,
}

impl World {
    fn new(bytes_max: u64) -> World {
        World::with_marks(bytes_max, false)
    }

    fn with_marks(bytes_max: u64, timed_metadata: bool) -> World {
        let config = Config { timed_metadata, ..Config::default() };
        let numbering = Numbering { media_sequence: 1, discontinuity_sequence: 0, resumed: false };
        let clock = Clock { now: Duration::ZERO, wall: WallTime::from_unix_millis(1_769_860_800_000) };
        let mut packager = Packager::new(&config, numbering);
        let ring = Ring::new(bytes_max, timed_metadata);
        let fed = Arc::clone(&ring);
        packager.hand_placed_to(move |placed| fed.push(placed));
        World { packager, ring, demuxer: Demuxer::new(), clock }
    }

    fn begin(&mut self) {
        self.demuxer = Demuxer::new();
        self.packager.begin_session(self.clock);
        self.ring.begin_session();
    }

    fn push(&mut self, tag: &Tag) {
        let mut events = Vec::new();
        self.ring.heard(tag.body.len());
        self.demuxer.tag(tag.clone(), &mut events).unwrap();
        for event in events {
            self.packager.push(event, self.clock).unwrap();
        }
    }

    fn publish(&mut self, tags: &[Tag]) {
        tags.iter().for_each(|tag| self.push(tag));
    }

    fn end(&mut self, cause: Cause) {
        self.packager.end_session(cause, self.clock);
        self.ring.end_session();
    }
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/../../sample-media/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tags(file: Vec<u8>) -> Vec<Tag> {
    FlvReader::new(file.into()).unwrap().map(Result::unwrap).collect()
}

fn cx() -> std::task::Context<'static> {
    std::task::Context::from_waker(Waker::noop())
}

/// All there is now, and whether the end was told.
fn take(viewer: &mut Viewer) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    loop {
        match viewer.poll_bytes(&mut cx()) {
            std::task::Poll::Ready(Some(bytes)) => all.extend_from_slice(&bytes),
            std::task::Poll::Ready(None) => return (all, true),
            std::task::Poll::Pending => return (all, false),
        }
    }
}

/// Joins once there is something to begin with.
fn joined(ring: &Arc<Ring>, output: Output) -> Viewer {
    let mut viewer = ring.attach(output);
    assert_eq!(viewer.poll_joined(&mut cx()), std::task::Poll::Ready(Joined::Begins));
    viewer
}

const HTTP: [Output; 3] = [Output::Flv, Output::Ts, Output::Mp4];

/// What differs between a file that was sent and what a viewer got of it.
fn judge(sent: &[u8], output: Output, got: &[u8]) -> Vec<String> {
    let sent = flv::read(sent).unwrap();
    let fidelity = match output {
        Output::Ts => {
            let mut reader = TsReader::new();
            reader.segment(got);
            let report = reader.finish();
            assert_eq!(report.findings, Vec::<String>::new());
            fidelity::compare(&sent, &report)
        }
        Output::Mp4 => {
            let [video, audio] = [1, 2].map(|track_id| Fmp4Reader::read_movie(got, track_id));
            assert_eq!([&video.findings, &audio.findings], [&Vec::<String>::new(); 2]);
            fidelity::compare_fmp4(&sent, Some(&video), Some(&audio))
        }
        _ => fidelity::compare_flv(&sent, &flv::read(got).unwrap()),
    };
    fidelity.findings
}

#[test]
fn every_form_is_what_was_sent_whenever_it_is_taken() {
    for name in ["clip.flv", "plain.flv"] {
        let sent = file(name);
        let tags = tags(sent.clone());
        // Taken after every tag, or after each hundred: the same bytes.
        let bodies = [1, 100].map(|together| {
            let mut world = World::new(BUDGET);
            world.begin();
            let mut viewers = HTTP.map(|output| (world.ring.attach(output), Vec::new()));
            for tags in tags.chunks(together) {
                world.publish(tags);
                for (viewer, got) in &mut viewers {
                    let (bytes, is_over) = take(viewer);
                    got.extend(bytes);
                    assert!(!is_over);
                }
            }
            world.end(Cause::Clean);
            world.ring.end();
            assert_eq!(world.ring.viewers().skips, 0);
            viewers.map(|(mut viewer, mut got)| {
                let (bytes, is_over) = take(&mut viewer);
                got.extend(bytes);
                assert!(is_over);
                got
            })
        });
        assert_eq!(bodies[0], bodies[1], "{name}");
        for (output, got) in HTTP.into_iter().zip(&bodies[0]) {
            assert_eq!(judge(&sent, output, got), Vec::<String>::new(), "{name} as {output:?}");
        }
    }
}

#[test]
fn nothing_is_made_before_somebody_watches() {
    let mut world = World::new(BUDGET);
    world.begin();
    world.publish(&tags(file("clip.flv")));
    assert_eq!(world.ring.made.load(Ordering::Relaxed), 0);
    let before = world.ring.bytes();
    let mut viewer = joined(&world.ring, Output::Flv);
    let mut second = joined(&world.ring, Output::Flv);
    let (got, _) = take(&mut viewer);
    let made = world.ring.made.load(Ordering::Relaxed);
    assert!(made > 0 && made < got.len() as u64 && world.ring.bytes() == before + made);
    assert_eq!(take(&mut second).0, got, "the same bytes");
    assert_eq!(world.ring.made.load(Ordering::Relaxed), made, "made once");
}

#[test]
fn a_viewer_begins_at_the_newest_keyframe() {
    let sent = file("clip.flv");
    let tags = tags(sent.clone());
    let whole = flv::read(&sent).unwrap();
    for output in HTTP {
        let mut world = World::new(BUDGET);
        world.begin();
        // 5.9 s: keyframes each two seconds, so the newest is at 4 s.
        let early = tags.iter().position(|tag| tag.timestamp_ms > 5_900).unwrap();
        world.publish(&tags[..early]);
        let mut viewer = joined(&world.ring, output);
        let mut got = take(&mut viewer).0;
        for tag in &tags[early..] {
            world.push(tag);
            got.extend(take(&mut viewer).0);
        }
        let keyframes: Vec<usize> =
            whole.video.iter().enumerate().filter(|(_, unit)| unit.idr).map(|(index, _)| index).collect();
        let expected = whole.video.len() - keyframes[2];
        let pictures = match output {
            Output::Ts => {
                let mut reader = TsReader::new();
                reader.segment(&got);
                let report = reader.finish();
                assert_eq!(report.findings, Vec::<String>::new());
                report.video().count()
            }
            Output::Mp4 => Fmp4Reader::read_movie(&got, 1).samples.len(),
            _ => flv::read(&got).unwrap().video.len(),
        };
        assert_eq!(pictures, expected, "{output:?}");
    }
}

#[test]
fn a_slow_viewer_skips_to_the_newest_keyframe_and_holds_nothing() {
    let tags = tags(file("clip.flv"));
    let mut world = World::new(BUDGET);
    world.begin();
    let (early, late) = tags.split_at(tags.len() / 8);
    world.publish(early);
    let mut viewers = HTTP.map(|output| joined(&world.ring, output));
    let mut healthy = joined(&world.ring, Output::Flv);
    viewers.iter_mut().for_each(|viewer| drop(viewer.poll_bytes(&mut cx())));
    let mut bytes_max = 0;
    let mut whole = take(&mut healthy).0;
    for tag in late {
        world.push(tag);
        bytes_max = bytes_max.max(world.ring.bytes());
        whole.extend(take(&mut healthy).0);
    }
    // Two keyframe intervals, twice for what the healthy one had made, and a read buffer.
    let rate = tags.iter().map(|tag| tag.body.len() as u64).sum::<u64>() / 16;
    assert!(bytes_max < rate * 4 * 2 + (128 << 10), "{bytes_max} at {rate} bytes a second");
    assert_eq!(world.ring.viewers().skips, 0, "nobody has asked");
    for (output, viewer) in HTTP.into_iter().zip(&mut viewers) {
        let got = take(viewer).0;
        if output == Output::Flv {
            // What it was given before it slept is the front with the configurations.
            let mut file = Vec::new();
            headwater_flv::write_header(&mut file, true, true);
            file.extend_from_slice(&got);
            let whole = flv::read(&self::file("clip.flv")).unwrap();
            let newest = whole.video.iter().rev().find(|unit| unit.idr).unwrap();
            let first = FlvReader::new(file.into()).unwrap().map(Result::unwrap).next().unwrap();
            assert_eq!(
                i64::from(first.timestamp_ms),
                newest.dts_ms - whole.video[0].dts_ms,
                "the newest keyframe"
            );
        }
        if output == Output::Ts {
            let mut reader = TsReader::new();
            reader.discontinuity();
            reader.segment(&got);
            assert_eq!(reader.finish().findings, Vec::<String>::new(), "the clock says that it has jumped");
        }
    }
    assert_eq!(world.ring.viewers().skips, 3);
    assert_eq!(judge(&file("clip.flv"), Output::Flv, &whole), Vec::<String>::new(), "nobody else noticed");
    assert_eq!(world.ring.viewers().dropped, 0);
    // One that leaves while it is behind was too slow, not one that is in time.
    let slow = joined(&world.ring, Output::Ts);
    world.publish(&tags[..0]);
    drop(viewers);
    assert_eq!(world.ring.viewers().dropped, 0);
    drop(slow);
}

#[test]
fn a_muxer_that_has_rested_begins_anew() {
    let tags = tags(file("clip.flv"));
    let mut world = World::new(BUDGET);
    world.begin();
    for tags in tags.chunks(tags.len() / 3) {
        world.publish(tags);
        // Whoever comes now has seen no other clock, whatever those before saw.
        for _ in 0..2 {
            let mut reader = TsReader::new();
            reader.segment(&take(&mut joined(&world.ring, Output::Ts)).0);
            assert_eq!(reader.finish().findings, Vec::<String>::new());
        }
    }
}

#[test]
fn limits_of_bytes_and_time() {
    let tags = tags(file("clip.flv"));
    // An eighth of what a keyframe interval takes.
    let mut world = World::new(RING_SHARE_OF_BUDGET * (128 << 10));
    world.begin();
    let mut viewer = world.ring.attach(Output::Flv);
    let mut got = Vec::new();
    for tag in &tags {
        world.push(tag);
        {
            let shared = world.ring.lock();
            let bytes = shared.bytes(world.ring.made.load(Ordering::Relaxed));
            assert!(bytes <= 128 << 10 || shared.slots.len() == 1, "{bytes}");
        }
        got.extend(take(&mut viewer).0);
    }
    assert_eq!(judge(&file("clip.flv"), Output::Flv, &got), Vec::<String>::new(), "in time, and so unharmed");
    assert_eq!(
        world.ring.attach(Output::Flv).poll_joined(&mut cx()),
        std::task::Poll::Pending,
        "no keyframe"
    );

    // One keyframe and a minute of pictures.
    let mut world = World::new(BUDGET);
    world.begin();
    let is_picture = |tag: &&Tag| tag.body.first() == Some(&0x27);
    let picture = tags.iter().find(is_picture).unwrap();
    world.publish(&tags[..8]);
    for n in 1..1_800 {
        world.push(&Tag { timestamp_ms: 1_000 + n * 33, ..picture.clone() });
    }
    let shared = world.ring.lock();
    let [first, last] =
        [shared.slots.front(), shared.slots.back()].map(|slot| slot.unwrap().timed.times.stamp_ms);
    assert!(last - first <= RING_MS_MAX, "{first} to {last}");
}

#[test]
fn a_viewer_stays_over_a_reconnect_and_leaves_at_the_end() {
    let sent = file("clip.flv");
    let tags = tags(sent);
    for output in HTTP {
        let mut world = World::new(BUDGET);
        world.begin();
        world.publish(&tags);
        let mut viewer = joined(&world.ring, output);
        let mut got = take(&mut viewer).0;
        world.end(Cause::Lost);
        assert_eq!(
            world.ring.attach(Output::Flv).poll_joined(&mut cx()),
            std::task::Poll::Pending,
            "not live"
        );
        assert_eq!(take(&mut viewer), (Vec::new(), false), "{output:?} waits");
        world.begin();
        for tag in &tags {
            world.push(tag);
            let (bytes, is_over) = take(&mut viewer);
            got.extend(bytes);
            assert!(!is_over, "{output:?}");
        }
        // Times rise over the border, tables and configurations are told once.
        match output {
            Output::Ts => {
                let mut reader = TsReader::new();
                reader.segment(&got);
                assert_eq!(reader.finish().findings, Vec::<String>::new());
            }
            Output::Mp4 => {
                let video = Fmp4Reader::read_movie(&got, 1);
                assert_eq!(video.findings, Vec::<String>::new());
            }
            _ => {
                let read = flv::read(&got).unwrap();
                assert!(read.video.windows(2).all(|pair| pair[0].dts_ms < pair[1].dts_ms));
                assert!(read.audio.windows(2).all(|pair| pair[0].ms < pair[1].ms));
            }
        }
        world.end(Cause::Clean);
        world.ring.end();
        assert!(take(&mut viewer).1, "{output:?}");
        assert_eq!(
            world.ring.attach(output).poll_joined(&mut cx()),
            std::task::Poll::Ready(Joined::Ended),
            "{output:?}"
        );
        drop(viewer);
        assert_eq!(world.ring.bytes(), 0, "nobody is left who could ask for it");

        // A new life counts from zero.
        world.begin();
        world.publish(&tags[..tags.len() / 4]);
        let again = take(&mut joined(&world.ring, Output::Flv)).0;
        let first = flv::read(&again).unwrap().video[0].dts_ms;
        assert!(first < 4_000, "{first}");
    }
}

#[test]
fn other_tracks_are_told_or_end_what_can_t_be_told() {
    let (clip, plain) = (tags(file("clip.flv")), tags(file("plain.flv")));
    for output in [Output::Flv, Output::WebSocketFlv, Output::Ts, Output::Rtmp { stream_id: 1 }, Output::Mp4]
    {
        let mut world = World::new(BUDGET);
        world.begin();
        world.publish(&clip);
        let mut viewer = joined(&world.ring, output);
        take(&mut viewer);
        world.end(Cause::Lost);
        world.begin();
        world.publish(&plain[..plain.len() / 8]);
        let (got, is_over) = take(&mut viewer);
        assert_eq!(is_over, output == Output::Mp4, "{output:?}");
        assert_eq!(got.is_empty(), output == Output::Mp4, "{output:?}");
        match output {
            Output::Flv => {
                let mut file = Vec::new();
                headwater_flv::write_header(&mut file, true, true);
                file.extend(got);
                let read = flv::read(&file).unwrap();
                assert_eq!(read.parameter_sets, flv::read(&self::file("plain.flv")).unwrap().parameter_sets);
                assert!(read.video.first().is_some_and(|unit| unit.idr));
            }
            Output::Ts => {
                let mut reader = TsReader::new();
                reader.discontinuity();
                reader.segment(&got);
                assert_eq!(reader.finish().findings, Vec::<String>::new());
            }
            _ => {}
        }
        let fresh = take(&mut joined(&world.ring, Output::Mp4)).0;
        assert_eq!(Fmp4Reader::read_movie(&fresh, 1).findings, Vec::<String>::new());
    }
}

#[test]
fn sound_alone_has_places_to_begin() {
    let sent = file("clip.flv");
    let tags: Vec<Tag> =
        tags(sent).into_iter().filter(|tag| tag.kind == headwater_flv::TagKind::Audio).collect();
    let mut world = World::new(BUDGET);
    world.begin();
    world.publish(&tags);
    {
        let shared = world.ring.lock();
        let [first, last] =
            [shared.slots.front(), shared.slots.back()].map(|slot| slot.unwrap().timed.times.stamp_ms);
        assert!((RING_MS_MIN..RING_MS_MIN + 1_100).contains(&(last - first)), "{first} to {last}");
    }
    for output in HTTP {
        let got = take(&mut joined(&world.ring, output)).0;
        match output {
            Output::Ts => {
                let mut reader = TsReader::new();
                reader.segment(&got);
                let report = reader.finish();
                assert_eq!(report.findings, Vec::<String>::new());
                assert!(report.audio().count() > 2);
            }
            Output::Mp4 => {
                let report = Fmp4Reader::read_movie(&got, 2);
                assert_eq!(report.findings, Vec::<String>::new());
            }
            _ => assert!(flv::read(&got).unwrap().audio.len() > 2),
        }
    }
}

#[test]
fn rtmp_messages_are_tags_on_the_stream_that_plays() {
    let mut world = World::new(BUDGET);
    world.begin();
    world.publish(&tags(file("clip.flv")));
    let bodies = [1, 9].map(|stream_id| {
        let mut wire = bytes::BytesMut::new();
        headwater_rtmp::ChunkWriter::new().set_chunk_size(60_000, &mut wire);
        wire.extend_from_slice(&take(&mut joined(&world.ring, Output::Rtmp { stream_id })).0);
        let mut reader = headwater_rtmp::ChunkReader::new(headwater_rtmp::Limits::default());
        let mut file = Vec::new();
        headwater_flv::write_header(&mut file, true, true);
        while let Some(message) = reader.read(&mut wire).unwrap() {
            let kind = match message.type_id {
                8 => headwater_flv::TagKind::Audio,
                9 => headwater_flv::TagKind::Video,
                18 => headwater_flv::TagKind::Data,
                _ => continue,
            };
            assert_eq!(message.stream_id, stream_id);
            headwater_flv::write_tag(&mut file, kind, message.timestamp, &message.payload).unwrap();
        }
        file
    });
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], take(&mut joined(&world.ring, Output::Flv)).0);
}

/// What is inserted reaches every viewer, in front of the same sample and of one moment, and goes when that does.
#[test]
fn what_is_said_is_in_every_form() {
    let mut world = World::with_marks(BUDGET, true);
    let tags = tags(file("clip.flv"));
    let (before, after) = tags.split_at(tags.len() / 2);
    world.begin();
    world.publish(before);
    let tag = Bytes::from(headwater_codec::id3::text("score", "goal").unwrap());
    let splice = SpliceInfo::insert(77, true, Some(2_700_000));
    let insert = |world: &mut World, cue, ahead| {
        let place = world.packager.insert(cue, Duration::from_secs(ahead)).unwrap();
        place.media_time.ticks()
    };
    let first = {
        let shared = world.ring.lock();
        let timed = &shared.slots.back().unwrap().timed;
        timed.sample.dts.rescale(Timescale::MPEG).ticks()
            - MediaTime::new(timed.times.dts, timed.sample.dts.scale()).rescale(Timescale::MPEG).ticks()
    };
    let said_at = insert(&mut world, Cue::Id3(tag.clone()), 0) - first;
    let away_at = insert(&mut world, Cue::Splice(splice.clone()), 4) - first;
    assert_eq!(away_at - said_at, 4 * 90_000);
    let held = world.ring.bytes();
    // Before the next keyframe comes, for they begin at the newest one.
    let mut viewers = HTTP.map(|output| joined(&world.ring, output)).map(|mut viewer| {
        let got = take(&mut viewer).0;
        (viewer, got)
    });
    let mut players = [1, 5].map(|stream_id| joined(&world.ring, Output::Rtmp { stream_id }));
    players.iter_mut().for_each(|player| drop(take(player)));
    world.publish(&after[..20]);
    let [flv, ts, mp4] = viewers.each_mut().map(|(viewer, got)| [&got[..], &take(viewer).0].concat());

    // FLV: messages that an encoder may send as well.
    let messages: Vec<_> = FlvReader::new(flv.into())
        .unwrap()
        .map(Result::unwrap)
        .filter(|tag| tag.kind == headwater_flv::TagKind::Data)
        .skip(1)
        .map(|tag| {
            let values = headwater_rtmp::amf0::decode(&tag.body).unwrap();
            let name = values[0].as_str().unwrap().to_owned();
            let time = MediaTime::new(i64::from(tag.timestamp_ms), Timescale::MILLIS);
            let cue = crate::cues::of_message(&headwater_media::Metadata { time, name, amf0: tag.body });
            let time = values[1].property("time").and_then(headwater_rtmp::amf0::Value::as_number).unwrap();
            (cue.unwrap().0, (time * 90_000.0).round() as i64)
        })
        .collect();
    let expected = [(Cue::Id3(tag.clone()), said_at), (Cue::Splice(splice.clone()), away_at)];
    assert_eq!(messages, expected);

    // MPEG-TS: on PIDs of their own, the section with this clock's time.
    let start = 1_400 * 90;
    let on = |pid: u16| {
        let packets = ts
            .as_chunks::<188>()
            .0
            .iter()
            .filter(move |packet| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) == pid);
        packets.map(|packet| packet.to_vec()).collect::<Vec<_>>().concat()
    };
    let holds = |bytes: &[u8], piece: &[u8]| bytes.windows(piece.len()).any(|window| window == piece);
    assert!(holds(&on(0x102), &tag) && holds(&on(0x103), &splice.timed_at(away_at + start)));

    // Fragmented MP4: event messages.
    for (scheme, data) in [(SCHEME_ID3, tag.to_vec()), (SCHEME_SPLICE, splice.timed_at(away_at))] {
        assert!(holds(&mp4, &[scheme.as_bytes(), b"\0"].concat()) && holds(&mp4, &data), "{scheme}");
    }

    // RTMP, whatever the message stream: as many messages, and the sample behind them.
    for player in &mut players {
        let rtmp = take(player).0;
        assert!(holds(&rtmp, b"onAdCue") && holds(&rtmp, b"onCuePoint"));
    }

    // They are on the stream's account while they are there.
    assert!(world.ring.bytes() > held);
    drop((viewers, players));
    world.end(Cause::Clean);
    world.ring.end();
    assert_eq!(world.ring.made.load(Ordering::Relaxed), 0);
}
