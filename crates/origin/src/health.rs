//! A publication's health, in words that an operator can act on: what a window of its media was measured to be, and the rules that
//! judge it. The rules are pure; who measures is [`Observer`].

mod observer;

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

pub use observer::Observer;

/// Keyframes that come later than a segment should end by more than this part of it make segments longer than was asked for.
const GOP_TOLERANCE_ONE_IN: u64 = 4;

/// Pictures that are held back for less than so many frames are what a single B-frame costs.
const REORDER_FRAMES: u64 = 2;

/// Stamps are whole milliseconds: two frames of 33.3 ms are 66 or 67.
const STAMP_ROUNDING_MS: u64 = 1;

/// More than one in so many pictures that come unevenly can be seen.
const UNEVEN_ONE_IN: u64 = 20;

/// A second of more than this many times the average needs a line that has it to spare.
const SPIKE_TIMES: u64 = 2;

/// Players of low latency keep about half a second: media that is late by more makes them stand still.
const STALL_MS: u64 = 500;

/// Sound that stays away for so long is heard.
const SILENCE_MS: u64 = 2_000;

/// Encoders' clocks are off by 100 millionths at most where nothing is wrong; this much more is an audio device's clock that differs
/// from the system's, as a rule.
const DRIFT_PPM: u64 = 1_000;

/// What a window of a publication's media was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// Pictures.
    pub pictures: u64,
    /// Those whose interval to the one before differs from the average by more than half of it.
    pub uneven: u64,
    /// Average interval of pictures.
    pub interval_us: u64,
    /// Longest interval of two keyframes, the one that is running included.
    pub gop_ms: u64,
    /// How long pictures wait for others that are shown later.
    pub reorder_ms: u64,
    /// Frames of sound.
    pub sounds: u64,
    /// How far sound was behind the picture at most.
    pub silence_ms: u64,
    /// Bits of the window's fullest second.
    pub peak_bits: u64,
    /// Bits per second.
    pub average_bits: u64,
    /// How much later than the promptest sample of the window the latest one came.
    pub late_ms: u64,
    /// How much faster than ours the encoder's clock runs, in millionths; 0 until that can be told.
    pub drift_ppm: i64,
}

/// How the server cuts what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `packaging.segment_duration`.
    pub segment: Duration,
    /// The longest that a part lasts (EXT-X-PART-INF:PART-TARGET); `packaging.part_duration` until that is settled.
    pub part: Duration,
}

/// A rule's name; it is the same in API, events and page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Keyframes come too rarely for the segments that are wanted.
    GopTooLong,
    /// B-frames hold pictures back.
    BFrames,
    /// Pictures don't come evenly.
    UnevenFrames,
    /// The bit rate has peaks.
    BitrateSpikes,
    /// No sound comes.
    AudioMissing,
    /// The encoder's clock is fast or slow.
    ClockDrift,
    /// Media comes late.
    UplinkStalls,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It costs something that may not matter here.
    Note,
    /// Viewers can notice.
    Warning,
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// How much it matters.
    pub weight: Weight,
    /// What is so, with its figures, and what to do.
    pub text: String,
}

/// What is known of a publication, in the API and on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Of the newest whole window.
    pub measured: Measured,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// Why the latency is what it is.
    pub latency: String,
}

impl Health {
    /// By all rules.
    pub fn new(measured: Measured, wanted: &Wanted) -> Health {
        Health { measured, findings: judge(&measured, wanted), latency: latency(&measured, wanted) }
    }

    /// Rules that found something here and nothing in `other`.
    pub fn beyond<'a>(&'a self, other: Option<&'a Health>) -> impl Iterator<Item = &'a Finding> {
        let has =
            move |rule| other.is_some_and(|other| other.findings.iter().any(|found| found.rule == rule));
        self.findings.iter().filter(move |found| !has(found.rule))
    }
}

/// Everything that can be said of a window.
pub fn judge(measured: &Measured, wanted: &Wanted) -> Vec<Finding> {
    let rules = [
        gop_too_long(measured, wanted),
        b_frames(measured),
        uneven_frames(measured),
        bitrate_spikes(measured),
        audio_missing(measured),
        clock_drift(measured),
        uplink_stalls(measured),
    ];
    rules.into_iter().flatten().collect()
}

/// Why a stream's latency is what it is: each share with its cause.
pub fn latency(measured: &Measured, wanted: &Wanted) -> String {
    let segment_ms = (millis(wanted.segment)).max(measured.gop_ms);
    // HLS players stay three target durations behind (8216bis 6.3.3), low-latency ones three parts and what theirs add.
    let mut text = format!(
        "HLS and DASH: about {} behind, three segments of {}; low latency: about {}, three parts of {} and the players' own share",
        seconds(3 * segment_ms),
        seconds(segment_ms),
        seconds(3 * millis(wanted.part) + measured.reorder_ms + measured.late_ms),
        seconds(millis(wanted.part)),
    );
    let causes = [
        (measured.reorder_ms, "B-frames add"),
        (measured.late_ms.saturating_sub(measured.interval_us / 1_000), "the uplink's unevenness adds up to"),
        (
            measured.gop_ms.saturating_sub(millis(wanted.segment)),
            "late keyframes make each segment longer by",
        ),
    ];
    for (ms, words) in causes.iter().filter(|(ms, _)| *ms >= 20) {
        // Writing to a String does not fail.
        let _ = write!(text, "; {words} {}", seconds(*ms));
    }
    text
}

fn gop_too_long(measured: &Measured, wanted: &Wanted) -> Option<Finding> {
    let segment_ms = millis(wanted.segment);
    if measured.gop_ms <= segment_ms + segment_ms / GOP_TOLERANCE_ONE_IN {
        return None;
    }
    let (gop, segment) = (seconds(measured.gop_ms), seconds(segment_ms));
    warning(
        Rule::GopTooLong,
        format!(
            "a keyframe comes each {gop} only, segments are meant to last {segment}: they last as long, start and latency with them. \
             Set the encoder's keyframe interval to {segment} (OBS: not 0, which is \"auto\")"
        ),
    )
}

fn b_frames(measured: &Measured) -> Option<Finding> {
    if measured.interval_us == 0
        || (measured.reorder_ms + STAMP_ROUNDING_MS) * 1_000 < REORDER_FRAMES * measured.interval_us
    {
        return None;
    }
    let text = format!(
        "B-frames hold every picture back by {}. Where latency matters, turn them off (OBS: Max B-frames 0; x264: tune zerolatency)",
        seconds(measured.reorder_ms)
    );
    Some(Finding { rule: Rule::BFrames, weight: Weight::Note, text })
}

fn uneven_frames(measured: &Measured) -> Option<Finding> {
    if measured.uneven * UNEVEN_ONE_IN <= measured.pictures {
        return None;
    }
    warning(
        Rule::UnevenFrames,
        format!(
            "{} of {} pictures come unevenly: the encoder is overloaded and drops some, or its frame rate varies. Look at its CPU, \
             and set a constant frame rate",
            measured.uneven, measured.pictures
        ),
    )
}

fn bitrate_spikes(measured: &Measured) -> Option<Finding> {
    if measured.average_bits == 0 || measured.peak_bits <= SPIKE_TIMES * measured.average_bits {
        return None;
    }
    let (peak, average) = (bit_rate(measured.peak_bits), bit_rate(measured.average_bits));
    warning(
        Rule::BitrateSpikes,
        format!(
            "a second takes {peak}, {average} on average: viewers whose line has no room for it stand still. Set the encoder's rate \
             control to CBR, or a buffer of one second"
        ),
    )
}

fn audio_missing(measured: &Measured) -> Option<Finding> {
    if measured.pictures == 0 || measured.silence_ms < SILENCE_MS {
        return None;
    }
    let text = if measured.sounds == 0 {
        "no sound comes. If there should be some, look at the encoder's audio source and track".to_owned()
    } else {
        let missing = seconds(measured.silence_ms);
        format!("sound stayed away for {missing} while pictures came: look at the encoder's audio device")
    };
    warning(Rule::AudioMissing, text)
}

fn clock_drift(measured: &Measured) -> Option<Finding> {
    if measured.drift_ppm.unsigned_abs() < DRIFT_PPM {
        return None;
    }
    let (direction, ppm) = (if measured.drift_ppm > 0 { "fast" } else { "slow" }, measured.drift_ppm.abs());
    // A thousandth is 3.6 s per hour.
    let per_hour = seconds(measured.drift_ppm.unsigned_abs() * 36 / 10);
    warning(
        Rule::ClockDrift,
        format!(
            "the encoder's clock runs {direction} by {ppm} millionths, {per_hour} per hour: players run out of media, or fall behind. \
             Take the system's clock for its audio device (OBS: same sample rate in system and settings)"
        ),
    )
}

fn uplink_stalls(measured: &Measured) -> Option<Finding> {
    if measured.late_ms < STALL_MS {
        return None;
    }
    warning(
        Rule::UplinkStalls,
        format!(
            "media came up to {} late: the encoder's uplink stalls. Lower its bit rate below {}, or take another line",
            seconds(measured.late_ms),
            bit_rate(measured.average_bits)
        ),
    )
}

fn warning(rule: Rule, text: String) -> Option<Finding> {
    Some(Finding { rule, weight: Weight::Warning, text })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `2 s`, `2.5 s`, `100 ms`.
fn seconds(ms: u64) -> String {
    match (ms / 1_000, ms % 1_000 / 100) {
        (0, _) => format!("{ms} ms"),
        (whole, 0) => format!("{whole} s"),
        (whole, tenths) => format!("{whole}.{tenths} s"),
    }
}

/// `2.5 Mbit/s`, `128 kbit/s`.
fn bit_rate(bits: u64) -> String {
    match bits / 1_000_000 {
        0 => format!("{} kbit/s", bits / 1_000),
        whole => format!("{whole}.{} Mbit/s", bits % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { segment: Duration::from_secs(2), part: Duration::from_millis(200) };

    /// 30 pictures a second, a keyframe each 2 s, sound beside them, 2 Mbit/s.
    const HEALTHY: Measured = Measured {
        pictures: 300,
        uneven: 0,
        interval_us: 33_333,
        gop_ms: 2_000,
        reorder_ms: 33,
        sounds: 430,
        silence_ms: 60,
        peak_bits: 2_800_000,
        average_bits: 2_000_000,
        late_ms: 40,
        drift_ppm: 80,
    };

    #[test]
    fn each_rule_at_its_limit() {
        for (name, measured, expected) in [
            ("healthy", HEALTHY, None),
            ("nothing at all", Measured::default(), None),
            ("a keyframe a little late", Measured { gop_ms: 2_500, ..HEALTHY }, None),
            (
                "a keyframe too late",
                Measured { gop_ms: 2_501, ..HEALTHY },
                Some((Rule::GopTooLong, "each 2.5 s only")),
            ),
            (
                "OBS on auto",
                Measured { gop_ms: 8_333, ..HEALTHY },
                Some((Rule::GopTooLong, "interval to 2 s")),
            ),
            ("two B-frames", Measured { reorder_ms: 66, ..HEALTHY }, Some((Rule::BFrames, "back by 66 ms"))),
            ("some uneven", Measured { uneven: 15, ..HEALTHY }, None),
            (
                "many uneven",
                Measured { uneven: 16, ..HEALTHY },
                Some((Rule::UnevenFrames, "16 of 300 pictures")),
            ),
            ("a large picture", Measured { peak_bits: 4_000_000, ..HEALTHY }, None),
            (
                "a spike",
                Measured { peak_bits: 4_000_001, ..HEALTHY },
                Some((Rule::BitrateSpikes, "4.0 Mbit/s, 2.0 Mbit/s on")),
            ),
            (
                "a hole in sound",
                Measured { silence_ms: 2_000, ..HEALTHY },
                Some((Rule::AudioMissing, "away for 2 s")),
            ),
            (
                "no sound",
                Measured { sounds: 0, silence_ms: 10_000, ..HEALTHY },
                Some((Rule::AudioMissing, "no sound comes")),
            ),
            ("sound alone", Measured { sounds: 430, silence_ms: 0, ..Measured::default() }, None),
            (
                "a slow clock",
                Measured { drift_ppm: -1_000, ..HEALTHY },
                Some((Rule::ClockDrift, "slow by 1000 millionths, 3.6 s per")),
            ),
            ("a fast clock", Measured { drift_ppm: 1_000, ..HEALTHY }, Some((Rule::ClockDrift, "fast by"))),
            ("nearly late", Measured { late_ms: 499, ..HEALTHY }, None),
            ("late", Measured { late_ms: 1_250, ..HEALTHY }, Some((Rule::UplinkStalls, "up to 1.2 s late"))),
        ] {
            let findings = judge(&measured, &WANTED);
            match (findings.as_slice(), expected) {
                ([], None) => {}
                ([found], Some((rule, words))) => {
                    assert_eq!(found.rule, rule, "{name}");
                    assert!(found.text.contains(words), "{name}: {}", found.text);
                }
                _ => panic!("{name}: {findings:?}"),
            }
        }
    }

    #[test]
    fn latency_is_told_with_its_causes() {
        assert_eq!(
            latency(&Measured { late_ms: 33, reorder_ms: 0, ..HEALTHY }, &WANTED),
            "HLS and DASH: about 6 s behind, three segments of 2 s; low latency: about 633 ms, three parts of 200 ms and the players' \
             own share"
        );
        let slow = latency(&Measured { gop_ms: 8_000, reorder_ms: 100, late_ms: 733, ..HEALTHY }, &WANTED);
        assert!(slow.contains("about 24 s behind"), "{slow}");
        assert!(
            slow.contains("B-frames add 100 ms; the uplink's unevenness adds up to 700 ms; late"),
            "{slow}"
        );
        assert!(slow.ends_with("longer by 6 s"), "{slow}");
    }
}
