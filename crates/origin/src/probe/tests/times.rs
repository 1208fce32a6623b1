//! The examiner of TS segments over the fixtures with their times changed.

use std::collections::HashMap;

use headwater_manifest::hls::check::Severity::{self, Error, Notice, Warning};

use super::{SEGMENTS, VIDEO_PID, pid};
use crate::probe::report::Log;
use crate::probe::ts::{SegmentInfo, TsExaminer};

/// What the examiner says about the fixtures with their times changed, each segment as `SegmentInfo` says.
fn examined(change: impl Fn(usize, u16, Stamp, usize, u64) -> u64, cut: Option<usize>) -> Log {
    let mut examiner = TsExaminer::default();
    let mut log = Log::default();
    for (sequence, bytes) in SEGMENTS.iter().enumerate() {
        let bytes = restamped(bytes, |pid, stamp, index, time| change(sequence, pid, stamp, index, time));
        let info = SegmentInfo {
            sequence: sequence as u64,
            duration_us: 1_000_000,
            discontinuity: cut == Some(sequence),
            independent: true,
        };
        examiner.segment(&info, &bytes, &mut log);
    }
    examiner.finish(&mut log);
    log
}

#[test]
fn spoilt_times_are_found() {
    const AUDIO: u16 = 0x101;
    type Change = fn(usize, u16, Stamp, usize, u64) -> u64;
    let rows: Vec<(&str, Change, Severity, &str, &str)> = vec![
        (
            "DTS stands still",
            |n, pid, s, i, t| {
                if n == 1 && pid == VIDEO_PID && s == Stamp::Dts && i == 9 { t - 7_200 } else { t }
            },
            Error,
            "ts 6.6",
            "segment 1: DTS does not increase",
        ),
        (
            "PTS below DTS",
            |n, pid, s, i, t| {
                if n == 1 && pid == VIDEO_PID && s == Stamp::Pts && i == 5 { t - 90_000 } else { t }
            },
            Error,
            "ts 6.6",
            "segment 1: PTS is below DTS",
        ),
        (
            "a hole within",
            |n, pid, s, i, t| {
                if pid == VIDEO_PID && s != Stamp::Pcr && (n > 1 || n == 1 && i >= 12) {
                    t + 72_000
                } else {
                    t
                }
            },
            Warning,
            "ts 6.8",
            "segment 1: 1 hole",
        ),
        (
            "a small hole",
            |n, _, _, _, t| if n >= 2 { t + 9_000 } else { t },
            Warning,
            "ts 1.4",
            "a hole of 100 ms in front of segment 2",
        ),
        (
            "a hole of a second",
            |n, _, _, _, t| if n >= 2 { t + 90_000 } else { t },
            Error,
            "ts 1.4",
            "a hole of 1000 ms",
        ),
        (
            "PCR ahead",
            |n, _, s, _, t| if n == 1 && s == Stamp::Pcr { t + 180_000 } else { t },
            Error,
            "ts 6.7",
            "ahead of its unit's DTS",
        ),
        (
            "PCR goes back",
            |n, _, s, i, t| if n == 1 && s == Stamp::Pcr && i == 3 { t - 45_000 } else { t },
            Warning,
            "ts 6.7",
            "segment 1: -",
        ),
        (
            "audio behind",
            |_, pid, _, _, t| if pid == AUDIO { t + 45_000 } else { t },
            Warning,
            "ts 1.6",
            "ms behind video",
        ),
        (
            "audio ahead",
            |_, pid, _, _, t| if pid == AUDIO { t - 45_000 } else { t },
            Warning,
            "ts 1.6",
            "ahead of video",
        ),
        (
            "audio in milliseconds",
            |_, pid, _, i, t| if pid == AUDIO && i % 2 == 1 { t + 90 } else { t },
            Notice,
            "ts 6.2",
            "audio is 1.0 ms off",
        ),
        (
            "an audio overlap",
            |n, pid, _, _, t| if pid == AUDIO && n > 1 { t - 4_500 } else { t },
            Warning,
            "ts 6.2",
            "an overlap of 50.0 ms",
        ),
    ];
    for (name, change, severity, rule, words) in rows {
        let log = examined(change, None);
        let found = log
            .findings
            .iter()
            .any(|f| f.severity == severity && f.rule == rule && f.message.contains(words));
        assert!(found, "{name}: {:#?}", log.findings);
    }
    assert_eq!(examined(|_, _, _, _, time| time, None).findings, []);
}

#[test]
fn a_discontinuity_allows_another_time() {
    let later = |n: usize, _: u16, _: Stamp, _: usize, time: u64| if n >= 2 { time + 900_000 } else { time };
    assert_eq!(examined(later, Some(2)).findings, []);
    let earlier = |n: usize, _: u16, _: Stamp, _: usize, time: u64| if n >= 2 { time - 90_000 } else { time };
    assert_eq!(examined(earlier, Some(2)).findings, []);
}

#[test]
fn times_wrap_at_33_bits() {
    let shift = (1_u64 << 33) - 126_000 - 150_000;
    let mut examiner = TsExaminer::default();
    let mut log = Log::default();
    for (sequence, bytes) in (0..).zip(SEGMENTS) {
        let bytes = restamped(bytes, |_, _, _, time| time + shift);
        let info = SegmentInfo { sequence, duration_us: 1_000_000, discontinuity: false, independent: true };
        examiner.segment(&info, &bytes, &mut log);
    }
    examiner.finish(&mut log);
    assert_eq!(log.findings, []);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Pcr,
    Pts,
    Dts,
}

/// All times changed by `change` of PID, kind, number within PID and kind, and 90 kHz ticks; then taken modulo 2^33.
fn restamped(bytes: &[u8], change: impl Fn(u16, Stamp, usize, u64) -> u64) -> Vec<u8> {
    const TURN: u64 = 1 << 33;
    let mut bytes = bytes.to_vec();
    let mut counts = HashMap::new();
    for packet in bytes.chunks_exact_mut(188) {
        let pid = pid(packet);
        let mut index = |stamp: u8| {
            let count = counts.entry((pid, stamp)).or_insert(0_usize);
            *count += 1;
            *count - 1
        };
        let field = packet[3] & 0x20 != 0;
        if field && packet[4] > 0 && packet[5] & 0x10 != 0 {
            let old = packet[6..12].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let base = change(pid, Stamp::Pcr, index(0), old >> 15) % TURN;
            packet[6..12].copy_from_slice(&(base << 15 | old & 0x7fff).to_be_bytes()[2..]);
        }
        let payload = if field { 5 + usize::from(packet[4]) } else { 4 };
        if packet[1] & 0x40 == 0 || payload + 19 > 188 || packet[payload..payload + 3] != [0, 0, 1] {
            continue;
        }
        let stamps = usize::from(packet[payload + 7] >> 7) + usize::from(packet[payload + 7] >> 6 & 1);
        let number = index(1);
        for (nth, stamp) in packet[payload + 9..payload + 9 + stamps * 5].chunks_exact_mut(5).enumerate() {
            let kind = if nth == 0 { Stamp::Pts } else { Stamp::Dts };
            let old = stamp.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let time = (old >> 3 & 0x1_c000_0000) | (old >> 2 & 0x3fff_8000) | (old >> 1 & 0x7fff);
            let time = change(pid, kind, number, time) % TURN;
            let new = old & 0xf0_0001_0001
                | 1 << 32
                | (time & 0x1_c000_0000) << 3
                | (time & 0x3fff_8000) << 2
                | (time & 0x7fff) << 1;
            stamp.copy_from_slice(&new.to_be_bytes()[3..]);
        }
    }
    bytes
}
