//! Status, headers and bodies of answers against the rules, one thing wrong at a time.

use headwater_manifest::hls::check::Severity::{self, Error, Notice, Warning};

use super::site::{Site, Tweak, probe};
use super::{ended, playlist};

#[test]
fn heads_are_held_against_the_rules() {
    let rows: Vec<(&str, Tweak, Severity, &str, &str)> = vec![
        (
            "x-mpegURL",
            |p, _, r| {
                if p.ends_with("m3u8") {
                    r.set("Content-Type", "application/x-mpegURL");
                }
            },
            Warning,
            "hls 1.5",
            "x-mpegurl",
        ),
        (
            "text/html",
            |p, _, r| {
                if p.ends_with("m3u8") {
                    r.set("Content-Type", "text/html; charset=x");
                }
            },
            Error,
            "hls 1.5",
            "text/html",
        ),
        ("no type", |_, _, r| r.unset("Content-Type"), Error, "http 8", "no Content-Type"),
        (
            "a segment's type",
            |p, _, r| {
                if p.ends_with("ts") {
                    r.set("Content-Type", "application/octet-stream");
                }
            },
            Warning,
            "http 8",
            "not video/mp2t",
        ),
        (
            "no CORS",
            |_, _, r| r.unset("Access-Control-Allow-Origin"),
            Warning,
            "http 10.1",
            "a segment has no",
        ),
        (
            "no CORS on 404",
            |_, _, r| {
                if r.status == 404 {
                    r.unset("Access-Control-Allow-Origin");
                }
            },
            Warning,
            "http 10.1",
            "404 has no",
        ),
        (
            "no CORS on 304",
            |_, _, r| {
                if r.status == 304 {
                    r.unset("Access-Control-Allow-Origin");
                }
            },
            Warning,
            "http 10.1",
            "304 of a segment",
        ),
        ("Age hidden", |_, _, r| r.unset("Access-Control-Expose-Headers"), Notice, "http 10.3", "Age"),
        ("a cookie", |_, _, r| r.set("Set-Cookie", "a=b"), Warning, "http 1.5", "cookie"),
        ("no Cache-Control", |_, _, r| r.unset("Cache-Control"), Warning, "http 2.1", "the playlist has no"),
        (
            "a live playlist for an hour",
            |p, _, r| {
                if p.ends_with("m3u8") {
                    r.set("Cache-Control", "max-age=3600");
                }
            },
            Error,
            "http 2",
            "3600 s",
        ),
        (
            "an immutable live playlist",
            |p, _, r| {
                if p.ends_with("m3u8") {
                    r.set("Cache-Control", "max-age=1, immutable");
                }
            },
            Error,
            "http 2",
            "immutable",
        ),
        (
            "segments not to be stored",
            |p, _, r| {
                if p.ends_with("ts") {
                    r.set("Cache-Control", "no-store");
                }
            },
            Warning,
            "http 2",
            "not cacheable",
        ),
        (
            "segments for a moment",
            |p, _, r| {
                if p.ends_with("ts") && r.status == 200 {
                    r.set("Cache-Control", "max-age=5");
                }
            },
            Notice,
            "http 2",
            "5 s only",
        ),
        (
            "404 for an hour",
            |_, _, r| {
                if r.status == 404 {
                    r.set("Cache-Control", "max-age=3600");
                }
            },
            Warning,
            "http 6.9",
            "3600 s",
        ),
        (
            "404 without a word",
            |_, _, r| {
                if r.status == 404 {
                    r.unset("Cache-Control");
                }
            },
            Warning,
            "http 6.9",
            "no max-age",
        ),
        (
            "200 for anything",
            |_, _, r| {
                if r.status == 404 {
                    r.status = 200;
                }
            },
            Error,
            "http 7",
            "answered with 200",
        ),
        (
            "403 for anything",
            |_, _, r| {
                if r.status == 404 {
                    r.status = 403;
                }
            },
            Notice,
            "http 7",
            "403",
        ),
        ("no ETag", |_, _, r| r.unset("ETag"), Notice, "http 3.1", "the playlist has no ETag"),
        (
            "an ETag for nothing",
            |p, q, r| {
                if p.ends_with("0.ts") && q.contains_key("if-none-match") {
                    r.status = 200;
                    r.body = vec![0; 10];
                }
            },
            Warning,
            "http 3.2",
            "a segment is sent again",
        ),
        (
            "no gzip",
            |p, _, r| {
                if p.ends_with("m3u8") && r.status == 200 {
                    let mut plain = Vec::new();
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&r.body[..]), &mut plain)
                        .unwrap();
                    r.body = plain;
                    r.unset("Content-Encoding");
                }
            },
            Warning,
            "http 11.1",
            "the playlist is not compressed",
        ),
        ("gzip without Vary", |_, _, r| r.unset("Vary"), Warning, "http 11.1", "without Vary"),
        (
            "segments in chunks",
            |p, _, r| r.chunked = p.ends_with("ts"),
            Warning,
            "http 5.1",
            "without Content-Length",
        ),
    ];
    for (name, tweak, severity, rule, words) in rows {
        // A live playlist costs half a target duration of waiting: only where the rule is about one.
        let live = name.contains("live").then(|| playlist(0, 3).into_bytes());
        let versions = live.into_iter().chain([ended(0, 3).into_bytes()]).collect();
        let probed = probe(Site::new(tweak).with_segments().file("/index.m3u8", versions), "/index.m3u8");
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
    }
}
