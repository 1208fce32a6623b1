//! The delivery directives of Low-Latency HLS: what a request's query asks of a media playlist (8216bis 6.2.5).

use std::time::Duration;

use headwater_packager::CmafRendition;

/// Numbers beyond this are nobody's: JavaScript counts no further.
const NUMBER_MAX: u64 = 1 << 53;

/// A request may be so much ahead of the newest part, in seconds, before it is refused (8216bis 6.2.5.2: the "advance part
/// limit").
const ADVANCE: Duration = Duration::from_secs(3);

/// The directives of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// What the playlist must contain before it is sent.
    pub wanted: Option<Wanted>,
    /// `_HLS_skip`: a delta update will do.
    pub skip: bool,
}

/// `_HLS_msn` and `_HLS_part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Media sequence number.
    pub sequence: u64,
    /// A part of it; without, the whole segment is wanted.
    pub part: Option<u64>,
}

/// Why directives can't be followed: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectiveError {
    /// No decimal number up to 2^53.
    #[error("_HLS_msn and _HLS_part are decimal numbers")]
    NotANumber,
    /// One of them stands there twice.
    #[error("a directive is there more than once")]
    Repeated,
    /// `_HLS_part` without `_HLS_msn`.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
}

/// Reads a query; what is no directive is somebody else's.
///
/// # Errors
/// [`DirectiveError`].
pub(super) fn directives(query: Option<&str>) -> Result<Directives, DirectiveError> {
    let (mut sequence, mut part, mut skip) = (None, None, None);
    for parameter in query.unwrap_or_default().split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let slot = match name {
            "_HLS_msn" => &mut sequence,
            "_HLS_part" => &mut part,
            "_HLS_skip" => &mut skip,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(DirectiveError::Repeated);
        }
    }
    let (sequence, part) = (sequence.map(number).transpose()?, part.map(number).transpose()?);
    let wanted = match (sequence, part) {
        (Some(sequence), part) => Some(Wanted { sequence, part }),
        (None, None) => None,
        (None, Some(_)) => return Err(DirectiveError::PartAlone),
    };
    // With `v2`, date ranges may be left out as well; none are listed. Other values mean nothing (8216bis 6.2.5.1).
    Ok(Directives { wanted, skip: matches!(skip, Some("YES" | "v2")) })
}

fn number(text: &str) -> Result<u64, DirectiveError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_decimal.then(|| text.parse().ok()).flatten();
    number.filter(|number| *number <= NUMBER_MAX).ok_or(DirectiveError::NotANumber)
}

impl Wanted {
    /// Whether a rendition has it, or something after it.
    pub(super) fn is_in(self, rendition: &CmafRendition) -> bool {
        let last = rendition.last_sequence();
        let Some(part) = self.part else { return last.is_some_and(|last| last >= self.sequence) };
        let parts_of = |sequence| rendition.parts(sequence).map_or(0, |parts| parts.len() as u64);
        let under_construction = rendition.edge.as_ref().map(|edge| (edge.sequence, parts_of(edge.sequence)));
        match last {
            Some(last) if self.sequence < last => true,
            // Past the last part of a finished segment is the first of the next one.
            Some(last) if self.sequence == last && part >= parts_of(last) => {
                under_construction.is_some_and(|(sequence, parts)| sequence > last && parts > 0)
            }
            Some(last) if self.sequence == last => true,
            _ => under_construction.is_some_and(|(sequence, parts)| {
                sequence > self.sequence || (sequence == self.sequence && parts > part)
            }),
        }
    }

    /// Whether it is so far ahead that no honest client asks for it (8216bis 6.2.5.2).
    pub(super) fn is_too_far(self, rendition: &CmafRendition, part_target: Duration) -> bool {
        let Some((next, parts)) = rendition.next_part() else { return false };
        // The segment under construction is the newest complete one's successor.
        let last = next.saturating_sub(1);
        if self.sequence > last.saturating_add(2) {
            return true;
        }
        let Some(part) = self.part else { return false };
        let target_ms = part_target.as_millis().max(1);
        let limit = u64::try_from(ADVANCE.as_millis().div_ceil(target_ms)).unwrap_or(u64::MAX).max(3);
        let ahead = if self.sequence == next {
            part.saturating_add(1).saturating_sub(u64::from(parts))
        } else if self.sequence > next {
            part.saturating_add(1)
        } else {
            0
        };
        ahead > limit
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use headwater_media::{MediaTime, Timescale, WallTime};
    use headwater_packager::{CmafSegment, Edge, InitSegment, Part, Rendition};

    use super::*;

    #[test]
    fn queries() {
        use DirectiveError::{NotANumber, PartAlone, Repeated};
        let wanted = |sequence, part, skip| Ok(Directives { wanted: Some(Wanted { sequence, part }), skip });
        for (query, expected) in [
            ("", Ok(Directives::default())),
            ("token=x&_HLS_other=1", Ok(Directives::default())),
            ("_HLS_msn=7", wanted(7, None, false)),
            ("_HLS_msn=7&_HLS_part=0", wanted(7, Some(0), false)),
            ("_HLS_part=3&token=x&_HLS_skip=YES&_HLS_msn=7", wanted(7, Some(3), true)),
            ("_HLS_skip=v2", Ok(Directives { wanted: None, skip: true })),
            ("_HLS_skip=NO", Ok(Directives::default())),
            ("_HLS_skip", Ok(Directives::default())),
            ("_HLS_part=0", Err(PartAlone)),
            ("_HLS_msn=7&_HLS_msn=7", Err(Repeated)),
            ("_HLS_msn=", Err(NotANumber)),
            ("_HLS_msn", Err(NotANumber)),
            ("_HLS_msn=-1", Err(NotANumber)),
            ("_HLS_msn=+1", Err(NotANumber)),
            ("_HLS_msn=1.5", Err(NotANumber)),
            ("_HLS_msn=0x10", Err(NotANumber)),
            ("_HLS_msn=9007199254740992", wanted(1 << 53, None, false)),
            ("_HLS_msn=9007199254740993", Err(NotANumber)),
            ("_HLS_msn=99999999999999999999", Err(NotANumber)),
            ("_HLS_msn=1&_HLS_part=x", Err(NotANumber)),
        ] {
            assert_eq!(directives(Some(query)), expected, "{query}");
        }
        assert_eq!(directives(None), Ok(Directives::default()));
    }

    fn parts(count: usize) -> Vec<Part> {
        let duration = MediaTime::new(18_000, Timescale::MPEG);
        vec![Part { duration, independent: true, payload: Bytes::from_static(b"part") }; count]
    }

    /// Segments 10 to 19 of ten parts each, and 20 with `edge` parts.
    fn rendition(edge: Option<usize>) -> CmafRendition {
        let init = Arc::new(InitSegment { bytes: Bytes::new(), name_hash: String::new() });
        let time = MediaTime::new(0, Timescale::MPEG);
        let segment = |sequence| {
            Arc::new(CmafSegment {
                sequence,
                start: time,
                duration: MediaTime::new(180_000, Timescale::MPEG),
                program_date_time: WallTime::from_unix_millis(0),
                discontinuity: false,
                independent: true,
                init: Arc::clone(&init),
                period: 10,
                parts: parts(10),
            })
        };
        let window = Rendition {
            target_duration: 2,
            discontinuity_sequence: 0,
            listed: (10..20).map(segment).collect(),
            ..Rendition::default()
        };
        let edge = edge.map(|count| Edge {
            sequence: 20,
            start: Some(time),
            program_date_time: WallTime::from_unix_millis(0),
            discontinuity: false,
            init: Arc::clone(&init),
            period: 10,
            parts: parts(count),
        });
        CmafRendition { window: Arc::new(window), edge: edge.map(Arc::new), revision: 0 }
    }

    #[test]
    fn what_a_rendition_has() {
        let wanted = |sequence, part| Wanted { sequence, part };
        for (sequence, part, edge, expected) in [
            (5, None, Some(0), true),
            (5, Some(99), Some(0), true),
            (19, None, Some(0), true),
            (20, None, Some(9), false),
            (19, Some(9), Some(0), true),
            // Past the last part of a finished segment.
            (19, Some(10), Some(0), false),
            (19, Some(10), Some(1), true),
            (19, Some(10), None, false),
            (20, Some(0), Some(0), false),
            (20, Some(0), Some(1), true),
            (20, Some(3), Some(3), false),
            (20, Some(3), Some(4), true),
            (21, Some(0), Some(9), false),
            (20, Some(0), None, false),
        ] {
            let rendition = rendition(edge);
            assert_eq!(
                wanted(sequence, part).is_in(&rendition),
                expected,
                "{sequence} {part:?}, edge {edge:?}"
            );
        }
    }

    #[test]
    fn what_is_too_far_ahead() {
        let target = Duration::from_millis(214);
        let wanted = |sequence, part| Wanted { sequence, part };
        for (sequence, part, edge, expected) in [
            (5, Some(1_000), Some(3), false),
            (21, None, Some(3), false),
            (22, None, Some(3), true),
            (21, Some(0), Some(3), false),
            (22, Some(0), Some(3), true),
            // 3 s are 15 parts of at most 214 ms.
            (20, Some(17), Some(3), false),
            (20, Some(18), Some(3), true),
            (21, Some(14), Some(3), false),
            (21, Some(15), Some(3), true),
        ] {
            let rendition = rendition(edge);
            let is_too_far = wanted(sequence, part).is_too_far(&rendition, target);
            assert_eq!(is_too_far, expected, "{sequence} {part:?}, edge {edge:?}");
        }
    }
}
