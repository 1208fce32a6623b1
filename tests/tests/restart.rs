//! Segment numbers go on over a restart and over a crash: a name never means two bodies. After a restart the last segments are listed again.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_tests::judge;
use headwater_tests::process::wait_for;
use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish};

/// From the last number that was listed to the first one of the next life: the running segment took one, and perhaps another was
/// listed after we looked.
const SKIPPED_MAX: u64 = 3;

/// The numbers of the segments that a playlist lists behind its last discontinuity: those of this life of the server, where there was another.
fn numbers(playlist: &str) -> Vec<u64> {
    let (_, own) = playlist.rsplit_once("#EXT-X-DISCONTINUITY\n").unwrap_or(("", playlist));
    own.lines().filter_map(|line| line.strip_suffix(".ts")?.parse().ok()).collect()
}

/// One life of the server: publishes until two segments are listed, then ends the server. The numbers that were listed.
fn live(scratch: &Scratch, life: &str, end: impl FnOnce(&mut Headwater)) -> (Vec<u64>, String) {
    let state = scratch.join("state");
    let server = Headwater::start_with(scratch, &format!("state_dir = {:?}", state.to_string_lossy()));
    // Players of a stream that was live wait for its publisher; a name that nobody published is unknown.
    let expected = server.streams().as_array().is_some_and(|streams| !streams.is_empty());
    assert_eq!(expected, life != "first", "{}", server.process.log());
    let playlist_url = server.http_url("/live/cam/ts/media.m3u8");
    let early = {
        let url = playlist_url.clone();
        std::thread::spawn(move || fetch(&url).status)
    };
    if !expected {
        assert_eq!(early.join().expect("an answer"), 404);
        return publish_and_end(scratch, life, server, end);
    }
    let outcome = publish_and_end(scratch, life, server, end);
    assert_eq!(early.join().expect("an answer"), 200, "it is there, or it waited for the publisher");
    outcome
}

fn publish_and_end(
    scratch: &Scratch,
    life: &str,
    mut server: Headwater,
    end: impl FnOnce(&mut Headwater),
) -> (Vec<u64>, String) {
    let url = server.publish_url("cam");
    let mut publisher = publish::ffmpeg(scratch, life, &media::plain(), 4, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    let playlist_url = server.http_url("/live/cam/ts/media.m3u8");
    let (numbers, playlist) = wait_for("two segments", Duration::from_secs(30), || {
        let playlist = fetch(&playlist_url).text();
        // What was kept of the life before is no news.
        let is_own = life == "first" || playlist.contains("#EXT-X-DISCONTINUITY\n");
        let numbers = numbers(&playlist);
        (is_own && numbers.len() >= 2).then_some((numbers, playlist))
    });
    end(&mut server);
    publisher.kill();
    (numbers, playlist)
}

/// Publishers are gone at once, and what they sent last is to be had a moment longer, also on new connections.
#[test]
fn players_fetch_what_came_last_before_a_shutdown() {
    let scratch = Scratch::new("last-media");
    let mut server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::plain(), 4, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    // Somebody who watches, and asks nothing just now.
    let watching = std::net::TcpStream::connect(("127.0.0.1", server.http_port())).expect("a connection");
    let playlist_url = server.http_url("/live/cam/video/media.m3u8");
    let before = fetch(&playlist_url).text();
    server.process.signal("TERM");
    let ready = server.admin_url("/readyz");
    wait_for("no more publishers", Duration::from_secs(5), || (fetch(&ready).status == 503).then_some(()));
    let last = wait_for("the end of the media", Duration::from_millis(900), || {
        let playlist = fetch(&playlist_url).text();
        let part = |text: &str| {
            let (_, rest) = text.rsplit_once("#EXT-X-PART:")?;
            Some(rest.split("URI=\"").nth(1)?.split('"').next()?.to_owned())
        };
        // Parts have come since, and none is announced: whoever sent them has gone.
        let is_last = part(&playlist) != part(&before) && !playlist.contains("PRELOAD-HINT");
        is_last.then(|| part(&playlist).expect("parts are listed"))
    });
    let answer = fetch(&server.http_url(&format!("/live/cam/video/{last}")));
    assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{last}");
    drop(watching);
    assert!(server.process.end_within(Duration::from_secs(10)).success(), "{}", server.process.log());
}

/// What a media playlist says of each segment, by its number: the lines in front of its name but for the parts, and the initialization segment.
fn entries(playlist: &str) -> BTreeMap<u64, String> {
    let mut entries = BTreeMap::new();
    let (mut entry, mut map) = (String::new(), "");
    for line in playlist.lines() {
        if line.starts_with("#EXT-X-MAP") {
            map = line;
        } else if line.starts_with("#EXTINF") || line.starts_with("#EXT-X-PROGRAM-DATE-TIME") {
            entry.push_str(line);
        } else if let Some((number, _)) = line.split_once('.').filter(|_| !line.starts_with('#')) {
            entry.push_str(map);
            entries.insert(number.parse().expect("a number"), std::mem::take(&mut entry));
        }
    }
    entries
}

const RENDITIONS: [(&str, &str); 3] = [("ts", "ts"), ("video", "m4s"), ("audio", "m4s")];

/// The rendition's media playlist.
fn playlist(server: &Headwater, rendition: &str) -> String {
    let answer = fetch(&server.http_url(&format!("/live/cam/{rendition}/media.m3u8")));
    assert_eq!(answer.status, 200, "{rendition}");
    answer.text()
}

/// Everything that a rendition lists, by its name; what is gone by then is left out.
fn bodies(server: &Headwater, (rendition, extension): (&str, &str), text: &str) -> BTreeMap<String, Vec<u8>> {
    let inits = text.split("#EXT-X-MAP:URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let names = entries(text).into_keys().map(|number| format!("{number}.{extension}"));
    let names = names.chain(inits.map(str::to_owned));
    let body = |name: String| {
        let answer = fetch(&server.http_url(&format!("/live/cam/{rendition}/{name}")));
        (answer.status == 200).then_some((name, answer.body))
    };
    names.filter_map(body).collect()
}

/// The last segments are there again: under the same names the same bytes, with the same dates; the publisher's return is a discontinuity and
/// a Period behind them.
#[test]
fn the_last_segments_are_listed_again() {
    let scratch = Scratch::new("restart-kept");
    let state = scratch.join("state");
    let mut server = Headwater::start_with(&scratch, &format!("state_dir = {:?}", state.to_string_lossy()));
    let url = server.publish_url("cam");
    let mut publisher = publish::ffmpeg(&scratch, "before", &media::plain(), 4, &url);
    wait_for("six segments", Duration::from_secs(40), || {
        let answer = fetch(&server.http_url("/live/cam/ts/media.m3u8"));
        (entries(&answer.text()).len() >= 6).then_some(())
    });
    // The publisher goes on for a moment: one more segment ends with it, whose bytes are not compared.
    let before = RENDITIONS.map(|(name, extension)| {
        let text = playlist(&server, name);
        let bodies = bodies(&server, (name, extension), &text);
        (text, bodies)
    });
    let periods = |server: &Headwater| {
        let text = fetch(&server.http_url("/live/cam/manifest.mpd")).text();
        let ids = text.split("<Period id=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
        (ids.collect::<Vec<u64>>(), text)
    };
    let (ids_before, _) = periods(&server);
    server.restart(&scratch);
    publisher.kill();

    let kept = state.join("kept");
    assert!(!kept.exists(), "a crash must not list it once more");
    // Nobody publishes yet.
    for ((name, extension), (text_before, bodies_before)) in RENDITIONS.iter().zip(&before) {
        let text = playlist(&server, name);
        let (was, is) = (entries(text_before), entries(&text));
        assert!(is.len() >= 4, "{text}");
        let same: Vec<_> = is.iter().filter(|(number, _)| was.contains_key(number)).collect();
        assert!(same.len() >= 2, "{text_before}\nthen\n{text}");
        same.iter().for_each(|(number, entry)| assert_eq!(was.get(number), Some(*entry), "{name} {number}"));
        let bodies = bodies(&server, (name, extension), &text);
        assert!(bodies.len() >= is.len(), "all that is listed can be fetched: {text}");
        let same: Vec<_> = bodies.iter().filter(|(name, _)| bodies_before.contains_key(*name)).collect();
        assert!(same.len() >= 2 && same.iter().all(|(name, body)| bodies_before.get(*name) == Some(*body)));
        assert!(!text.contains("#EXT-X-DISCONTINUITY\n") && !text.contains("ENDLIST"), "{text}");
    }
    let (ids, mpd) = periods(&server);
    assert_eq!(ids, ids_before, "{mpd}");

    let _publisher = publish::ffmpeg(&scratch, "after", &media::plain(), 4, &url);
    let versions = wait_for("another Period", Duration::from_secs(30), || {
        let (ids, text) = periods(&server);
        (ids.len() == 2).then(|| vec![mpd.clone(), text])
    });
    for (name, _) in RENDITIONS {
        let last = entries(&playlist(&server, name));
        let text = wait_for("its next segment", Duration::from_secs(10), || {
            let text = playlist(&server, name);
            text.contains("#EXT-X-DISCONTINUITY\n").then_some(text)
        });
        assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
        let all: Vec<u64> = entries(&text).into_keys().collect();
        assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{text}");
        assert!(all.first() <= last.keys().next_back(), "{text}");
    }
    judge::valid_mpds(&scratch, &versions);
}

/// Without the kept segments, and with such as are no longer waited for or were damaged, it begins anew.
#[test]
fn what_can_not_be_listed_again_is_left_out() {
    let scratch = Scratch::new("restart-damaged");
    let state = scratch.join("state");
    let mut server = Headwater::start_with(&scratch, &format!("state_dir = {:?}", state.to_string_lossy()));
    let url = server.publish_url("cam");
    let mut publisher = publish::ffmpeg(&scratch, "before", &media::plain(), 4, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    assert!(server.process.stop().success(), "{}", server.process.log());
    publisher.kill();
    let folder =
        std::fs::read_dir(state.join("kept")).expect("it is kept").flatten().next().expect("a boot's");
    let file = folder.path().join("live%2fcam.kept");
    let mut bytes = std::fs::read(&file).expect("the stream's");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("it is damaged");
    server.restart(&scratch);
    let log = server.process.log();
    assert_eq!(log.matches("its last segments can't be listed again").count(), 1, "{log}");
    assert!(!state.join("kept").exists());
    assert_eq!(server.streams()[0]["state"], "starting");
}

#[test]
fn numbers_go_on_over_a_restart_and_a_crash() {
    let scratch = Scratch::new("restart");
    let (first, playlist) = live(&scratch, "first", |server| {
        assert!(server.process.stop().success(), "SIGTERM ends it cleanly: {}", server.process.log());
    });
    assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"), "nothing came before: {playlist}");

    let (second, playlist) = live(&scratch, "second", |server| {
        server.process.kill();
    });
    let (last, next) = (first[first.len() - 1], second[0]);
    assert!((last + 1..=last + SKIPPED_MAX).contains(&next), "{next} after {last}");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "it continues an earlier life: {playlist}");
    assert!(playlist.contains(&format!("\n{last}.ts\n")), "what was kept of that: {playlist}");

    let (third, playlist) = live(&scratch, "third", |server| {
        server.process.stop();
    });
    let (last, next) = (second[second.len() - 1], third[0]);
    assert!((last + 1..=last + SKIPPED_MAX).contains(&next), "{next} after {last}");
    assert!(!playlist.contains(&format!("\n{last}.ts\n")), "a crash keeps nothing: {playlist}");
}
