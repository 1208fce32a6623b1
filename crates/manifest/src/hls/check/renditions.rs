//! The media playlists of one presentation against one another (8216bis 6.2.4, 4.4.5.4).

use super::Finding;
use super::excerpt;
use super::low_latency::ReportText;
use super::media::MediaText;
use crate::findings::Findings;

/// Reports where renditions differ that must not: target duration, server control, and whether dates are given; and which
/// low-latency rendition reports nothing of another. Each is given with the URI it is known by, relative to one and the
/// same place or absolute, and all that the multivariant playlist names are given.
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
    for (uri, other, report) in reports(renditions) {
        if report.is_none() {
            // H B.1
            findings.warning(
                "hls 5.10",
                format!("{} has no #EXT-X-RENDITION-REPORT of {}", excerpt(uri), excerpt(other)),
            );
        }
    }
    findings.into_list()
}

/// Reports where a rendition report tells more than the other rendition lists, or a segment less. Given as for
/// [`compare_renditions`], and all as they stood at one instant: playlists fetched one after another differ rightly.
pub fn compare_reports(renditions: &[(&str, &MediaText)]) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (uri, other_uri, report) in reports(renditions) {
        let Some(report) = report else { continue };
        let find = |wanted: &str| renditions.iter().find(|(uri, _)| *uri == wanted).map(|(_, media)| *media);
        let (Some(own), Some(other)) = (find(uri), find(other_uri)) else { continue };
        let (own_msn, own_part) = own.last_position();
        let (msn, part) = other.last_position();
        // H 4.4.5.4: what is left out is as in the playlist that it stands in.
        let reported_msn = report.last_msn.unwrap_or(own_msn);
        let reported_part = report.last_part.or(own_part.filter(|_| part.is_some()));
        let told = |msn: u64, part: Option<u64>| match part {
            Some(part) => format!("part {part} of segment {msn}"),
            None => format!("segment {msn}"),
        };
        let ahead = reported_msn > msn
            || (reported_msn == msn
                && part.is_some_and(|part| reported_part.is_some_and(|told| told > part)));
        if ahead || reported_msn.saturating_add(1) < msn {
            let which = if ahead { "ahead of" } else { "far behind" };
            let message = format!(
                "{} reports {} of {}, {which} {} that is there",
                excerpt(uri),
                told(reported_msn, reported_part),
                excerpt(other_uri),
                told(msn, part)
            );
            if ahead {
                findings.error("hls 5.10", message);
            } else {
                findings.warning("hls 5.10", message);
            }
        }
    }
    findings.into_list()
}

/// Every ordered pair of low-latency renditions that still run, with the first one's report of the second.
fn reports<'r>(
    renditions: &'r [(&'r str, &'r MediaText)],
) -> impl Iterator<Item = (&'r str, &'r str, Option<&'r ReportText>)> {
    let running = |media: &MediaText| media.is_low_latency() && !media.ended;
    let running: Vec<_> = renditions.iter().filter(|(_, media)| running(media)).collect();
    let names: Vec<_> = running.iter().map(|(uri, _)| absolute("", uri)).collect();
    let mut pairs = Vec::new();
    for (index, (uri, media)) in running.iter().enumerate() {
        let told: Vec<_> = media.reports.iter().map(|report| (absolute(uri, &report.uri), report)).collect();
        for ((_, (other, _)), name) in
            running.iter().enumerate().zip(&names).filter(|((other, _), _)| *other != index)
        {
            let report = told.iter().find(|(about, _)| about == name).map(|(_, report)| *report);
            pairs.push((*uri, *other, report));
        }
    }
    pairs.into_iter()
}

/// `uri` as it is understood at `base`, without query and fragment and without `.` and `..`: hls.js, too, compares
/// reports by the beginning of their resolved URLs.
fn absolute(base: &str, uri: &str) -> String {
    let path = |uri: &str| uri.split(['?', '#']).next().unwrap_or_default().to_owned();
    let (base, uri) = (path(base), path(uri));
    let split = |uri: &str| match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{host}"), path.to_owned())
        }
        None => (String::new(), uri.to_owned()),
    };
    let (origin, joined) = if uri.contains("://") {
        split(&uri)
    } else {
        let (origin, base_path) = split(&base);
        let folder = base_path.rsplit_once('/').map_or("", |(folder, _)| folder);
        (origin, if uri.starts_with('/') { uri } else { format!("{folder}/{uri}") })
    };
    let mut segments = Vec::new();
    for segment in joined.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("{origin}/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn uris_are_resolved() {
        for (base, uri, expected) in [
            ("", "video/media.m3u8", "/video/media.m3u8"),
            ("video/media.m3u8", "../audio/media.m3u8?token=1", "/audio/media.m3u8"),
            ("http://a.example/live/v/m.m3u8?x=/y", "../a/m.m3u8", "http://a.example/live/a/m.m3u8"),
            ("http://a.example/live/v/m.m3u8", "/a/./m.m3u8#f", "http://a.example/a/m.m3u8"),
            ("http://a.example/m.m3u8", "http://b.example/../m.m3u8", "http://b.example/m.m3u8"),
            ("http://a.example", "m.m3u8", "http://a.example/m.m3u8"),
            ("m.m3u8", "../../m.m3u8", "/m.m3u8"),
        ] {
            assert_eq!(absolute(base, uri), expected, "{uri} at {base}");
        }
    }
}
