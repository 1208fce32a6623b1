//! The media playlists of one presentation against one another (8216bis 6.2.4).

use super::media::MediaText;
use super::syntax::excerpt;
use super::{Finding, Findings};

/// Reports where renditions differ that must not: target duration, server control, and whether dates are given.
/// Each is given with the URI it is known by.
pub fn compare_renditions(renditions: &[(&str, &MediaText)]) -> Vec<Finding> {
    let mut findings = Findings::default();
    let Some(((first_uri, first), others)) = renditions.split_first() else { return Vec::new() };
    let dated = |playlist: &MediaText| playlist.segments.iter().any(|s| s.program_date_time_us.is_some());
    for (uri, other) in others {
        let pair = || format!("{} and {}", excerpt(first_uri), excerpt(uri));
        if first.target_duration != other.target_duration && !first.i_frames_only && !other.i_frames_only {
            let text = |target: Option<u64>| target.map_or("none".to_owned(), |target| format!("{target} s"));
            findings.error(
                "hls 3.1",
                format!(
                    "{} have different target durations, {} and {}",
                    pair(),
                    text(first.target_duration),
                    text(other.target_duration)
                ),
            );
        }
        if first.server_control != other.server_control {
            findings.error("hls 5.1", format!("{} have different #EXT-X-SERVER-CONTROL", pair()));
        }
        if dated(first) != dated(other) {
            findings.warning(
                "hls 3.12",
                format!(
                    "of {}, only one has #EXT-X-PROGRAM-DATE-TIME: players can't align them by it",
                    pair()
                ),
            );
        }
    }
    findings.list
}
