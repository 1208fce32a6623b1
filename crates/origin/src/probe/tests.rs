//! Whole probes against a server of this file's own: an HLS stream that ffmpeg made, served well and then spoilt in one
//! respect at a time.
//!
//! The segments in `fixtures` come from `ffmpeg -f lavfi -i testsrc2=s=64x36:r=25 -f lavfi -i sine=r=48000 -t 4
//! -c:v libx264 -preset veryfast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -b:v 20k -x264-params info=0 -c:a aac
//! -b:a 16k -f hls -hls_time 1 -hls_list_size 0 index.m3u8` (ffmpeg 5.1).

mod cmaf;
mod dash;
mod heads;
mod low_latency;
mod site;
mod times;

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_manifest::hls::check::Severity::{self, Error, Notice, Warning};
use headwater_media::WallTime;

use super::report::Log;
use super::ts::{SegmentInfo, TsExaminer};
use super::{ProbeOutcome, run};
use site::{Site, Tweak, args, nothing, probe};

const SEGMENTS: [&[u8]; 4] = [
    include_bytes!("fixtures/index0.ts"),
    include_bytes!("fixtures/index1.ts"),
    include_bytes!("fixtures/index2.ts"),
    include_bytes!("fixtures/index3.ts"),
];

const VIDEO_PID: u16 = 0x100;

impl Site {
    /// The fixtures as `/0.ts` and so on.
    fn with_segments(self) -> Site {
        (0..)
            .zip(SEGMENTS)
            .fold(self, |site, (n, bytes)| site.file(&format!("/{n}.ts"), vec![bytes.to_vec()]))
    }
}

/// One-second segments `first..end`, dated so that the last one ends now.
fn playlist(first: u64, end: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = WallTime::from_unix_millis(i64::try_from(now).unwrap());
    // The same date for a segment in every version: seconds of the clock, cut to the test's start.
    let zero = *ZERO.lock().unwrap().get_or_insert(now);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"
    );
    for n in first..end {
        let date = zero.offset_by(i64::try_from(n).unwrap() * 1_000 - 10_000);
        text += &format!("#EXT-X-PROGRAM-DATE-TIME:{date}\n#EXTINF:1.000000,\n{n}.ts\n");
    }
    text
}

static ZERO: Mutex<Option<WallTime>> = Mutex::new(None);

fn ended(first: u64, end: u64) -> String {
    playlist(first, end) + "#EXT-X-ENDLIST\n"
}

/// An ended playlist of the fixtures, `spoil`ed.
fn with_segments(spoil: impl Fn(usize, Vec<u8>) -> Vec<u8>) -> Site {
    let site = Site::new(nothing).text("/index.m3u8", &ended(0, 4));
    SEGMENTS
        .iter()
        .enumerate()
        .fold(site, |site, (n, bytes)| site.file(&format!("/{n}.ts"), vec![spoil(n, bytes.to_vec())]))
}

#[test]
fn a_good_live_stream_is_clean() {
    let versions = vec![playlist(0, 1), playlist(0, 2), playlist(0, 3), ended(0, 4)];
    let site = Site::new(nothing)
        .with_segments()
        .file("/index.m3u8", versions.into_iter().map(String::into_bytes).collect());
    let probed = probe(site, "/index.m3u8");
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.outcome, ProbeOutcome::Clean);
    assert_eq!(probed.report["segments"], 4);
    assert_eq!(probed.report["bytes"], SEGMENTS.iter().map(|s| s.len()).sum::<usize>());
    let latency = probed.report["latency_seconds"].as_f64().unwrap();
    // Segment 2, the last of a live version, was dated to end 7 s before the test began.
    assert!((7.0..30.0).contains(&latency), "{latency}");
}

#[test]
fn a_good_multivariant_stream_is_clean() {
    let line = "#EXT-X-STREAM-INF:BANDWIDTH=90000,AVERAGE-BANDWIDTH=80000,CODECS=\"avc1.64000a,mp4a.40.2\",RESOLUTION=64x36,FRAME-RATE=25.000,CLOSED-CAPTIONS=NONE";
    let multivariant = format!("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n{line}\nav/index.m3u8\n");
    let site =
        Site::new(nothing).text("/live/index.m3u8", &multivariant).text("/live/av/index.m3u8", &ended(0, 4));
    let site = (0..)
        .zip(SEGMENTS)
        .fold(site, |site, (n, bytes)| site.file(&format!("/live/av/{n}.ts"), vec![bytes.to_vec()]));
    let probed = probe(site, "/live/index.m3u8");
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.report["subjects"].as_array().map(Vec::len), Some(2));
}

#[test]
fn spoilt_segments_are_found() {
    type Spoil = fn(usize, Vec<u8>) -> Vec<u8>;
    let rows: Vec<(&str, Spoil, Severity, &str, &str)> = vec![
        (
            "a counter flips",
            |n, b| {
                on_packets(b, n == 1, |i, p| {
                    if i == 20 {
                        p[3] ^= 0x04;
                    }
                })
            },
            Error,
            "ts 2.1",
            "at packet 20",
        ),
        (
            "counters restart",
            |n, b| {
                on_packets(b, n == 2, |_, p| {
                    if pid(p) == VIDEO_PID {
                        p[3] = p[3] & 0xf0 | (p[3] + 5) & 0x0f;
                    }
                })
            },
            Error,
            "ts 1.4",
            "segment 2: PID 0x0100 counts from",
        ),
        (
            "cut short",
            |n, mut b| {
                if n == 3 {
                    b.truncate(b.len() - 10);
                }
                b
            },
            Error,
            "ts 1.2",
            "no multiple of 188",
        ),
        (
            "sync lost",
            |n, b| {
                on_packets(b, n == 3, |i, p| {
                    if i == 7 {
                        p[0] = 0;
                    }
                })
            },
            Error,
            "ts 1.2",
            "1 packets",
        ),
        (
            "no PAT and PMT",
            |n, b| {
                if n == 1 {
                    packets(&b).filter(|p| ![0, 0x1000].contains(&pid(p))).flatten().copied().collect()
                } else {
                    b
                }
            },
            Error,
            "ts 1.1",
            "segment 1",
        ),
        ("no IDR", |n, b| in_first_picture(b, n == 2, 0x65, 0x41), Error, "ts 1.3", "segment 2"),
        ("no delimiter", |n, b| in_first_picture(b, n == 2, 0x09, 0x0c), Warning, "ts 7.2", "segment 2"),
        ("no PPS", |n, b| in_first_picture(b, n == 2, 0x68, 0x0c), Error, "ts 7.3", "segment 2"),
        (
            "no random_access_indicator",
            |n, b| {
                on_packets(b, n == 2, |_, p| {
                    if pid(p) == VIDEO_PID && p[3] & 0x20 != 0 && p[4] > 0 {
                        p[5] &= !0x40;
                    }
                })
            },
            Warning,
            "ts 2.6",
            "segment 2",
        ),
        (
            "no PCR",
            |n, b| {
                on_packets(b, n == 2, |_, p| {
                    if pid(p) == VIDEO_PID && p[3] & 0x20 != 0 && p[4] > 0 {
                        p[5] &= !0x10;
                        let end = 12.min(5 + usize::from(p[4]));
                        for x in &mut p[6..end] {
                            *x = 0xff;
                        }
                    }
                })
            },
            Error,
            "ts 6.7",
            "segment 2 has no PCR",
        ),
        (
            "a hole",
            |n, b| if n == 2 { SEGMENTS[3].to_vec() } else { b },
            Error,
            "ts 1.4",
            "a hole of 1000 ms in front of segment 2",
        ),
        (
            "a repetition",
            |n, b| if n == 2 { SEGMENTS[1].to_vec() } else { b },
            Error,
            "ts 1.4",
            "an overlap of 1000 ms in front of segment 2",
        ),
        ("nothing", |n, b| if n == 3 { Vec::new() } else { b }, Error, "ts 1.1", "segment 3"),
        (
            "null packets",
            |n, mut b| {
                if n == 3 {
                    b.extend([0x47, 0x1f, 0xff, 0x10]);
                    b.extend([0xff; 184]);
                }
                b
            },
            Notice,
            "ts 1.5",
            "1 null",
        ),
        (
            "a PMT that runs past its end",
            |n, mut b| {
                if n == 3 {
                    b.extend(hostile_pmt());
                }
                b
            },
            Warning,
            "ts 2",
            "a PMT longer than its section",
        ),
        ("lost audio", |n, b| if n == 2 { drop_one_audio_pes(&b) } else { b }, Warning, "ts 6.2", "a gap of"),
        (
            "CMAF without EXT-X-MAP",
            |_, _| b"\0\0\0\x10styp....1234".to_vec(),
            Error,
            "hls 3.15",
            "segment 0 is fMP4 and no #EXT-X-MAP applies",
        ),
        ("packed audio", |_, _| b"ID3......".to_vec(), Notice, "ts 9.1", "not examined"),
    ];
    for (name, spoil, severity, rule, words) in rows {
        let probed = probe(with_segments(spoil), "/index.m3u8");
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
        let expected = if probed.found.iter().any(|(s, ..)| s == "error") {
            ProbeOutcome::Errors
        } else {
            ProbeOutcome::Clean
        };
        assert_eq!(probed.outcome, expected, "{name}");
    }
    let clean = probe(with_segments(|_, bytes| bytes), "/index.m3u8");
    assert_eq!(clean.found, []);
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn packets(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(188)
}

fn on_packets(mut bytes: Vec<u8>, wanted: bool, change: impl Fn(usize, &mut [u8])) -> Vec<u8> {
    if wanted {
        bytes.chunks_exact_mut(188).enumerate().for_each(|(index, packet)| change(index, packet));
    }
    bytes
}

/// Replaces the first NAL unit header `from` of the segment's first packets by `to`.
fn in_first_picture(mut bytes: Vec<u8>, wanted: bool, from: u8, to: u8) -> Vec<u8> {
    if wanted {
        let at = bytes.windows(4).position(|w| w == [0, 0, 1, from]).expect("the fixture has that NAL unit");
        bytes[at + 3] = to;
    }
    bytes
}

/// Without one whole PES packet in the middle of the audio, the counters closed up.
fn drop_one_audio_pes(bytes: &[u8]) -> Vec<u8> {
    let mut starts = 0;
    let mut dropped = 0;
    let mut out = Vec::new();
    for packet in packets(bytes) {
        let mut packet = packet.to_vec();
        if pid(&packet) == 0x101 {
            starts += u8::from(packet[1] & 0x40 != 0);
            if starts == 2 {
                dropped += 1;
                continue;
            }
            packet[3] = packet[3] & 0xf0 | (packet[3].wrapping_sub(dropped)) & 0x0f;
        }
        out.extend(packet);
    }
    assert!(dropped > 0 && starts > 2, "the fixture has three audio PES packets per segment");
    out
}

/// A PMT packet with a good CRC and a program_info_length of 1,023: mpeg2ts 0.6.1 panics at it.
fn hostile_pmt() -> Vec<u8> {
    let mut section = vec![0x02, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0x00, 0x00, 0xe1, 0x00, 0xf3, 0xff];
    section.extend(crc_32(&section).to_be_bytes());
    let mut packet = vec![0x47, 0x50, 0x00, 0x10, 0x00];
    packet.extend(section);
    packet.resize(188, 0xff);
    packet
}

/// CRC-32/MPEG-2.
fn crc_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xffff_ffff_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[test]
fn that_pmt_is_a_panic_without_the_guard() {
    use mpeg2ts::ts::{ReadTsPacket, TsPacketReader};
    let pat = packets(SEGMENTS[0]).find(|packet| pid(packet) == 0).expect("a PAT").to_vec();
    let bytes = [pat, hostile_pmt()].concat();
    let read = std::panic::catch_unwind(|| {
        let mut reader = TsPacketReader::new(&bytes[..]);
        reader.read_ts_packet().map(drop)?;
        reader.read_ts_packet().map(drop)
    });
    assert!(read.is_err(), "mpeg2ts was repaired: the guard can go");
}

#[test]
fn spoilt_playlists_are_found() {
    let segment = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from));
        Site::new(nothing).with_segments().text("/index.m3u8", &text.replacen(from, to, 1))
    };
    let live = |versions: Vec<String>| {
        Site::new(nothing)
            .with_segments()
            .file("/index.m3u8", versions.into_iter().map(String::into_bytes).collect())
    };
    for (name, site, severity, rule, words) in [
        (
            "EXTINF above the target",
            segment(&ended(0, 4), "1.000000", "1.600000"),
            Error,
            "hls 3.1",
            "segment 0",
        ),
        (
            "EXTINF wrong",
            segment(&ended(0, 4), "1.000000", "1.400000"),
            Warning,
            "hls 3.2",
            "segment 0 lasts 1.000 s and #EXTINF says 1.400",
        ),
        (
            "EXTINF wrong, last",
            segment(&ended(0, 1), "1.000000", "1.400000"),
            Warning,
            "hls 3.2",
            "segment 0 lasts 1.000 s",
        ),
        (
            "a segment is missing",
            segment(&ended(0, 4), "2.ts", "5.ts"),
            Error,
            "hls 3.7",
            "segment 2 is listed and answered with 404",
        ),
        (
            "a URI that is none",
            segment(&ended(0, 4), "2.ts", "file:///2.ts"),
            Error,
            "hls 1.4",
            "file:///2.ts",
        ),
        (
            "no UTF-8",
            Site::new(nothing)
                .with_segments()
                .file("/index.m3u8", vec![[ended(0, 4).into_bytes(), b"#\xff\n".to_vec()].concat()]),
            Error,
            "hls 1.1",
            "no UTF-8",
        ),
        (
            "the target duration changes",
            live(vec![playlist(0, 2), ended(0, 3).replace("DURATION:1", "DURATION:2")]),
            Error,
            "hls 3.1",
            "changed from 1 to 2",
        ),
        ("numbers restart", live(vec![playlist(1, 3), ended(0, 2)]), Error, "hls 3.3", "went back"),
        (
            "the playlist goes",
            live(vec![playlist(0, 3), String::new(), ended(0, 4)]),
            Error,
            "hls 1.1",
            "first line",
        ),
        (
            "a future date",
            live(vec![
                playlist(0, 3).replace("DATE-TIME:2", "DATE-TIME:3"),
                ended(0, 4).replace("DATE-TIME:2", "DATE-TIME:3"),
            ]),
            Warning,
            "hls 3.12",
            "future",
        ),
    ] {
        let probed = probe(site, "/index.m3u8");
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
    }
}

#[test]
fn a_removed_segment_must_stay() {
    let gone: Tweak = |path, _, reply| {
        if path == "/0.ts" {
            reply.status = 404;
            reply.set("Cache-Control", "max-age=1");
        }
    };
    for (tweak, found) in [(nothing as Tweak, false), (gone, true)] {
        // Joined three segments from the end: segment 0 is fetched only because it left.
        let versions = vec![playlist(0, 4).into_bytes(), ended(1, 4).into_bytes()];
        let site = Site::new(tweak).with_segments().file("/index.m3u8", versions);
        let probed = probe(site, "/index.m3u8");
        assert_eq!(probed.has(Error, "hls 3.6", "answered with 404"), found, "{:#?}", probed.found);
    }
}

#[test]
fn bandwidth_is_measured() {
    for (bandwidth, expected) in [(90_000, None), (70_000, Some(Warning)), (30_000, Some(Error))] {
        let line = format!(
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH=20000,CODECS=\"avc1.64000a,mp4a.40.2\",RESOLUTION=64x36,FRAME-RATE=25.000\nav.m3u8\n"
        );
        let site =
            Site::new(nothing).with_segments().text("/index.m3u8", &line).text("/av.m3u8", &ended(0, 4));
        let probed = probe(site, "/index.m3u8");
        let found =
            probed.found.iter().find(|(_, rule, _)| rule == "hls 4.2").map(|(severity, ..)| severity.clone());
        assert_eq!(found, expected.map(|severity| severity.to_string()), "{:#?}", probed.found);
    }
}

#[test]
fn what_cannot_be_probed_fails() {
    let redirect: Tweak = |path, _, reply| {
        if path != "/index.m3u8" {
            reply.status = 302;
            let next = path.strip_prefix("/loop").and_then(|n| n.parse::<u32>().ok()).unwrap_or(0) + 1;
            reply.set("Location", &format!("/loop{next}"));
        }
    };
    for (name, site, path, words) in [
        ("404", Site::new(nothing), "/index.m3u8", "answered with 404"),
        (
            "a page",
            Site::new(nothing).text("/index.m3u8", "<html>"),
            "/index.m3u8",
            "no HLS playlist and no MPD",
        ),
        ("a redirect without end", Site::new(redirect), "/loop0", "redirect"),
    ] {
        let probed = probe(site, path);
        assert_eq!(probed.outcome, ProbeOutcome::Failed, "{name}");
        let why = probed.report["failed"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(words), "{name}: {why}");
    }
    for url in ["http://127.0.0.1:1/index.m3u8", "no url", "ftp://127.0.0.1/index.m3u8"] {
        let mut out = Vec::new();
        let outcome = run(&args(url.to_owned(), false), &mut out).unwrap();
        assert_eq!(outcome, ProbeOutcome::Failed, "{url}");
        assert!(String::from_utf8(out).unwrap().starts_with(url));
    }
    assert_eq!(
        [0, 1, 2],
        [ProbeOutcome::Clean, ProbeOutcome::Errors, ProbeOutcome::Failed].map(ProbeOutcome::exit_code)
    );
}

#[test]
fn a_multivariant_playlist_whose_media_playlists_are_gone_fails() {
    let site = Site::new(nothing).text(
        "/index.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nav.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\nftp://x/\n",
    );
    let mut probe_args = args(site.serve() + "/index.m3u8", true);
    probe_args.duration = Duration::from_millis(1);
    let mut out = Vec::new();
    assert_eq!(run(&probe_args, &mut out).unwrap(), ProbeOutcome::Failed);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("the playlist was answered with 404") && text.contains("ftp://x/ is no URI"),
        "{text}"
    );
}

#[test]
fn a_redirected_playlist_resolves_against_where_it_came_from() {
    let moved: Tweak = |path, _, reply| {
        if path == "/index.m3u8" {
            reply.status = 302;
            reply.set("Location", "/there/index.m3u8");
        }
    };
    let site = Site::new(moved)
        .text("/there/index.m3u8", &ended(0, 1))
        .file("/there/0.ts", vec![SEGMENTS[0].to_vec()]);
    let probed = probe(site, "/index.m3u8");
    assert_eq!(probed.report["segments"], 1, "{:#?}", probed.report);
    assert!(probed.has(Notice, "http 1.5", "redirect"), "{:#?}", probed.found);
}

#[test]
fn the_text_names_rule_and_remedy() {
    let site = with_segments(|n, b| {
        on_packets(b, n == 1, |i, p| {
            if i == 20 {
                p[3] ^= 0x04;
            }
        })
    });
    let mut out = Vec::new();
    let outcome = run(&args(site.serve() + "/index.m3u8", false), &mut out).unwrap();
    assert_eq!(outcome, ProbeOutcome::Errors);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("  error   [ts 2.1] segment 1: PID "), "{text}");
    assert!(text.contains("; count every packet with payload by one, per PID\n"), "{text}");
    assert!(text.contains("1 error, 0 warnings, 0 notices in 1 playlist; 4 segments, 0.0 MB, "), "{text}");
}

#[test]
fn any_bytes_are_examined_without_panic() {
    // A linear congruential generator: the same bytes in every run.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut examiner = TsExaminer::default();
    let mut log = Log::default();
    for round in 0..400_u64 {
        let mut bytes = SEGMENTS[usize::try_from(round % 4).unwrap()].to_vec();
        for _ in 0..=round {
            let at = usize::from(next()) << 8 | usize::from(next());
            let len = bytes.len();
            // The sync byte stays: damage must reach the fields behind it.
            if !(at % len).is_multiple_of(188) {
                bytes[at % len] = next();
            }
        }
        bytes.truncate(bytes.len() - usize::from(next()) * usize::from(next()) / 16);
        let info = SegmentInfo {
            sequence: round,
            duration_us: 1_000_000,
            discontinuity: next() > 200,
            independent: true,
        };
        examiner.segment(&info, &bytes, &mut log);
    }
    examiner.finish(&mut log);
    assert!(!log.findings.is_empty());
}

#[test]
fn other_tracks_need_a_discontinuity() {
    let video_only = |n: usize, bytes: Vec<u8>| {
        if n < 2 {
            return bytes;
        }
        // The PMT is cut behind its first stream; its length and CRC are made anew.
        let mut out = Vec::new();
        for packet in packets(&bytes).filter(|packet| pid(packet) != 0x101) {
            let mut packet = packet.to_vec();
            if pid(&packet) == 0x1000 {
                let mut section = packet[5..5 + 12 + 5].to_vec();
                section[2] = 18;
                section.extend(crc_32(&section).to_be_bytes());
                packet.truncate(5);
                packet.extend(section);
                packet.resize(188, 0xff);
            }
            out.extend(packet);
        }
        out
    };
    let probed = probe(with_segments(video_only), "/index.m3u8");
    assert!(probed.has(Error, "hls 3.9", "segment 2 has other tracks"), "{:#?}", probed.found);
}
