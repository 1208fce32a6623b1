//! An HLS presentation probed: its multivariant playlist, if there is one, and every media playlist in a thread of its own.

use std::time::Instant;

use headwater_manifest::hls::check::{Checker, Kind, compare_renditions, excerpt};
use m3u8_rs::{AlternativeMedia, VariantStream};

use super::fmp4::Declared;
use super::follow::{self, Followed, Rendition};
use super::http::{self, Answer, Fetcher, check_head, check_revalidation};
use super::report::{Log, Report, Subject, counted};
use super::{RENDITIONS_MAX, alignment, url};

/// Codecs that one rendition is held against; a variant names two or three.
const CODECS_MAX: usize = 16;

/// Follows what `answer` is the first playlist of until `deadline`. Returns whether there was anything to examine.
pub(super) fn probe(fetcher: &Fetcher, answer: Answer, deadline: Instant, report: &mut Report) -> bool {
    let mut checker = Checker::new(&answer.url);
    let findings = checker.observe(&String::from_utf8_lossy(&answer.body), 0);
    let alone = checker.kind() != Some(Kind::Multivariant);
    let mut presentation = Log::default();
    let renditions = if alone {
        vec![(Rendition { url: report.url.clone(), ..Rendition::default() }, Some(answer))]
    } else {
        presentation.extend(findings);
        multivariant(fetcher, &answer, &mut presentation)
    };
    let followed = follow_all(fetcher, renditions, deadline);
    let playlists: Vec<_> =
        followed.iter().filter_map(|one| Some((one.url.as_str(), one.media.as_ref()?))).collect();
    presentation.extend(compare_renditions(&playlists));
    let starts: Vec<_> = followed
        .iter()
        .filter(|one| !one.starts.is_empty())
        .map(|one| (one.url.as_str(), one.starts.as_slice()))
        .collect();
    alignment::compare(&starts, &mut presentation);
    if !alone {
        let summary =
            format!("multivariant playlist of {}", counted(followed.len() as u64, "media playlist"));
        report.subjects.push(Subject::new(&report.url, summary, presentation));
    }
    let something = followed.iter().any(|one| one.media.is_some());
    for one in followed {
        report.segments += one.segments;
        report.bytes += one.bytes;
        report.latency_seconds = match (report.latency_seconds, one.latency_seconds) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let summary = one.summary();
        report.subjects.push(Subject::new(&one.url, summary, one.log));
    }
    report.examined = counted(report.subjects.len() as u64, "playlist");
    something
}

/// The media playlists that a multivariant playlist names, each once.
fn multivariant(fetcher: &Fetcher, answer: &Answer, log: &mut Log) -> Vec<(Rendition, Option<Answer>)> {
    check_head(answer, http::Kind::Multivariant, log);
    check_revalidation(fetcher, answer, http::Kind::Multivariant, log);
    let body = &answer.body;
    let Some(Ok((_, playlist))) = follow::second_reader(|| m3u8_rs::parse_master_playlist(body)) else {
        log.error(
            "hls 1.2",
            "m3u8-rs can't read the multivariant playlist; its media playlists are not followed",
        );
        return Vec::new();
    };
    let variants: Vec<&VariantStream> =
        playlist.variants.iter().filter(|variant| !variant.is_i_frame).collect();
    let direct = variants.iter().map(|variant| {
        let of_same = variants.iter().copied().filter(|other| other.uri == variant.uri);
        let resolution = variant.resolution.map(|size| (size.width, size.height));
        (Some(variant.uri.as_str()), Some(variant.bandwidth), declared(of_same, resolution))
    });
    let alternatives = playlist.alternatives.iter().map(|rendition| {
        let of_group = variants.iter().copied().filter(|variant| uses(variant, rendition));
        (rendition.uri.as_deref(), None, declared(of_group, None))
    });
    let mut renditions: Vec<(Rendition, Option<Answer>)> = Vec::new();
    for (uri, bandwidth, declared) in direct.chain(alternatives) {
        let Some(uri) = uri else { continue };
        let Some(url) = url::resolve(&answer.url, uri) else {
            log.error("hls 1.4", format!("{} is no URI that can be followed", excerpt(uri)));
            continue;
        };
        if renditions.iter().any(|(have, _)| have.url == url) {
            continue;
        }
        if renditions.len() >= RENDITIONS_MAX {
            log.notice("hls 4", format!("only {RENDITIONS_MAX} media playlists are followed"));
            break;
        }
        renditions.push((Rendition { url, bandwidth, declared }, None));
    }
    renditions
}

/// What the variants that a file is part of say about it.
fn declared<'v>(
    variants: impl Iterator<Item = &'v VariantStream>,
    resolution: Option<(u64, u64)>,
) -> Declared {
    let lists: Option<Vec<&str>> = variants.map(|variant| variant.codecs.as_deref()).collect();
    // A variant without CODECS allows everything.
    let codecs = lists.unwrap_or_default().into_iter().flat_map(|list| list.split(','));
    let codecs = codecs.map(|codec| codec.trim().to_owned()).take(CODECS_MAX).collect();
    Declared {
        codecs,
        exactly: false,
        resolution,
        attribute: "CODECS",
        codecs_rule: "hls 4.10",
        resolution_rule: "hls 4.1",
    }
}

/// A variant's group is that of the rendition.
fn uses(variant: &VariantStream, rendition: &AlternativeMedia) -> bool {
    [&variant.audio, &variant.video].into_iter().flatten().any(|group| *group == rendition.group_id)
}

/// Follows every rendition in a thread of its own; in order.
fn follow_all(
    fetcher: &Fetcher,
    renditions: Vec<(Rendition, Option<Answer>)>,
    deadline: Instant,
) -> Vec<Followed> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = renditions
            .into_iter()
            .map(|(rendition, first)| {
                scope.spawn(move || follow::follow(fetcher, &rendition, first, deadline))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}
