//! Real players watch CMAF for 20 s, as HLS and as DASH: no fatal error, no stall after the start, nothing to complain about.
//!
//! Two demuxers can't play live DASH with a SegmentTimeline as it is meant: see `live_dash_in_gstreamer` and `live_dash_in_ffmpeg`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_tests::{
    Headwater, Process, Scratch, media, play, publish,
    reference::{Changed, Fault, Files, LATE, Packaging, Reference, start_at},
};

/// Pictures per second of the clip.
const FPS: f64 = 30.0;

/// What the issue asks for.
const SECONDS: u32 = 20;

/// A server with the clip live at `cam`, until the guards go.
fn live(scratch: &Scratch, configuration: &str) -> (Headwater, Process) {
    let server = Headwater::start_with(scratch, configuration);
    // Five minutes: until the test is over.
    let publisher = publish::ffmpeg(scratch, "publisher", &media::clip(), 20, &server.publish_url("cam"));
    // GStreamer 1.22's hlsdemux2 that finds a single segment never goes on to the next one, on ffmpeg's own HLS either.
    headwater_tests::wait_for("three segments", Duration::from_secs(30), || {
        let playlist = headwater_tests::server::fetch(&server.http_url("/live/cam/video/media.m3u8")).text();
        (playlist.matches("#EXTINF").count() >= 3).then_some(())
    });
    (server, publisher)
}

/// Every player on every output that it can play, two at a time. `seconds` of media each.
fn every_player(scratch: &Scratch, server: &Headwater, seconds: u32) {
    let hls = server.http_url("/live/cam/llhls.m3u8");
    let dash = server.http_url("/live/cam/manifest.mpd");
    let (hls, dash) = (hls.as_str(), dash.as_str());
    let asked = f64::from(seconds);
    play::side_by_side([
        &|| play::hls_js_without_worker(scratch, "hls.js", hls, seconds).assert_smooth(asked, FPS),
        &|| play::dash_js(scratch, "dash.js", dash, seconds).assert_smooth(asked, FPS),
    ]);
    play::side_by_side([
        &|| play::shaka(scratch, "shaka-hls", hls, seconds).assert_smooth(asked, FPS),
        &|| play::shaka(scratch, "shaka-dash", dash, seconds).assert_smooth(asked, FPS),
    ]);
    play::side_by_side([
        &|| play::chromium_native(scratch, "chromium", hls, seconds).assert_smooth(asked, FPS),
        &|| play::gstreamer(scratch, "gstreamer", hls, seconds).assert_smooth(asked, FPS),
        &|| play::ffmpeg(scratch, "ffmpeg", hls, seconds).assert_smooth(asked, FPS),
    ]);
    play::vlc(scratch, "vlc-hls", hls, seconds).assert_smooth(asked, FPS);
    play::vlc(scratch, "vlc-dash", dash, seconds).assert_smooth(asked, FPS);
}

#[test]
fn every_player_plays_cmaf() {
    let scratch = Scratch::new("players-cmaf");
    let (server, _publisher) = live(&scratch, "");
    every_player(&scratch, &server, SECONDS);
}

/// tfdt at 30 days is beyond 2^33 at 90 kHz, and beyond 2^31 milliseconds (24.8 days).
#[test]
fn every_player_plays_a_stream_that_is_thirty_days_old() {
    let scratch = Scratch::new("players-thirty-days");
    let (server, _publisher) = live(&scratch, "[packaging]\nmedia_time_offset = \"720h\"");
    let playlist = headwater_tests::server::fetch(&server.http_url("/live/cam/manifest.mpd")).text();
    let first = playlist.split("<S t=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<u64>().ok());
    assert!(first.is_some_and(|t| t >= 30 * 86_400 * 90_000), "not thirty days: {playlist}");
    every_player(&scratch, &server, 8);
}

/// A stream whose MPEG-TS stamps begin anew (2^33 ticks, 26.5 h) 15 s after its start; CMAF's do not. Playing begins with the
/// third segment, about 7 s after the start, at the stream's beginning, and lasts 20 s.
fn wrapping(scratch: &Scratch) -> (Headwater, Process) {
    let (wrap_ms, until_wrap_ms) = (((1_u64 << 33) / 90), 15_000);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    let day_ms = u64::try_from(since_1970.as_millis() % 86_400_000).expect("a day has few milliseconds");
    let offset_ms = wrap_ms - day_ms - until_wrap_ms;
    live(scratch, &format!("[packaging]\nmedia_time_offset = \"{offset_ms}ms\""))
}

/// # Panics
/// Unless the newest segment lies beyond the wrap by more than a player is behind it.
fn assert_wrapped(server: &Headwater) {
    let playlist = headwater_tests::server::fetch(&server.http_url("/live/cam/manifest.mpd")).text();
    let oldest: Option<u64> =
        playlist.split("<S t=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
    let window = 20 * 90_000;
    let behind = 8 * 90_000;
    let passed = oldest.is_some_and(|t| t + window > (1 << 33) + behind);
    assert!(passed, "the wrap is still to come: {playlist}");
}

#[test]
fn players_watch_while_the_transport_stream_s_clock_wraps() {
    let scratch = Scratch::new("players-wrap");
    let asked = f64::from(SECONDS);
    {
        let (server, _publisher) = wrapping(&scratch);
        let (hls, dash) = (server.watch_url("cam"), server.http_url("/live/cam/manifest.mpd"));
        std::thread::scope(|scope| {
            scope.spawn(|| play::hls_js(&scratch, "hls.js", &hls, SECONDS).assert_smooth(asked, FPS));
            scope.spawn(|| play::shaka(&scratch, "shaka", &dash, SECONDS).assert_smooth(asked, FPS));
            scope.spawn(|| play::gstreamer(&scratch, "gstreamer", &hls, SECONDS).assert_smooth(asked, FPS));
            scope.spawn(|| play::ffmpeg(&scratch, "ffmpeg", &hls, SECONDS).assert_smooth(asked, FPS));
        });
        assert_wrapped(&server);
    }
    {
        let (server, _publisher) = wrapping(&scratch);
        let hls = server.watch_url("cam");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                play::chromium_native(&scratch, "chromium", &hls, SECONDS).assert_smooth(asked, FPS);
            });
            scope.spawn(|| play::shaka(&scratch, "shaka-hls", &hls, SECONDS).assert_smooth(asked, FPS));
        });
        assert_wrapped(&server);
    }
    let mut stream = None;
    let begin = || stream.insert(wrapping(&scratch)).0.watch_url("cam");
    play::vlc_when_alone(&scratch, "vlc", begin, SECONDS).assert_smooth(asked, FPS);
    assert_wrapped(&stream.expect("it was watched").0);
}

/// GStreamer 1.22's adaptivedemux2 waits about as long as the stream is old before it asks for a segment (its log: "Download
/// waiting for ..."), on ffmpeg's own DASH as well. So that decides whether anything can be asked of it.
#[test]
fn live_dash_in_gstreamer() {
    let scratch = Scratch::new("players-dash-demuxers");
    let (server, _publisher) = live(&scratch, "");
    let reference = Reference::start_as(&scratch, &media::clip(), Packaging::Dash);
    let ours = server.http_url("/live/cam/manifest.mpd");
    let seconds = 10;
    std::thread::scope(|scope| {
        let mine = scope.spawn(|| play::gstreamer(&scratch, "gstreamer-headwater", &ours, seconds));
        let theirs =
            scope.spawn(|| play::gstreamer(&scratch, "gstreamer-reference", reference.url(), seconds));
        let (mine, theirs) = (mine.join().expect("it reports"), theirs.join().expect("it reports"));
        // A live MPD is loaded again: it was recognized for what it is.
        assert!(reference.lists_asked_for() > 1, "GStreamer did not take the reference for DASH");
        if theirs.frames > 0 {
            mine.assert_smooth(f64::from(seconds), FPS);
        }
    });
}

/// ffmpeg 5.1 takes a segment's place in a reloaded list for the segment's number. While numbers are small, the two are about the
/// same: so ffmpeg plays its own young stream, which counts from 1. A place that is below the first listed number is an "old
/// fragment" to it, and it goes back to the oldest listed segment whenever a new one appears: on Headwater, whose numbers are Unix
/// seconds, and on its own stream as soon as that counts from a million or has moved on.
///
/// So that decides here as well what can be asked.
#[test]
fn live_dash_in_ffmpeg() {
    let scratch = Scratch::new("players-dash-ffmpeg");
    // What is listed when ffmpeg comes it reads at once; only what follows shows the difference. So both streams are young, and more
    // is asked for than the reference ever lists (16 s).
    headwater_tests::server::binary();
    let seconds = 20;
    let (reference, (server, _publisher)) = std::thread::scope(|scope| {
        let reference = scope.spawn(|| Reference::start_as(&scratch, &media::clip(), Packaging::Dash));
        let ours = live(&scratch, "");
        (reference.join().expect("it starts"), ours)
    });
    let ours = server.http_url("/live/cam/manifest.mpd");
    let numbered = reference.changed(Changed::Numbers);
    let play = |name, url| play::ffmpeg(&scratch, name, url, seconds);
    let (plain, numbered, mine) = std::thread::scope(|scope| {
        let plain = scope.spawn(|| play("reference", reference.url()));
        let numbered = scope.spawn(|| play("numbered", &numbered));
        let mine = play("headwater", &ours);
        (plain.join().expect("it reports"), numbered.join().expect("it reports"), mine)
    });
    // A few pictures of its own stream ffmpeg shows again as well.
    let twice = (f64::from(seconds) * FPS * 2.0) as u64;
    // What ffmpeg shows again has stamps of before.
    let complaints = mine.complaints.iter().filter(|line| !line.contains("non monotonically increasing dts"));
    assert!(mine.fatal.is_empty() && complaints.count() == 0, "{mine:#?}");
    assert!(mine.seconds >= f64::from(seconds) - 1.0, "{mine:#?}");
    assert!(mine.frames as f64 >= (f64::from(seconds) - 2.0) * FPS, "pictures are missing: {mine:#?}");
    // Its own young stream it plays as it should, unless the run took so long that this list has moved on as well: then place
    // and number are apart there too, and it repeats everything.
    if plain.frames.max(numbered.frames) < twice {
        // Not the installed version: this one knows numbers of any size.
        assert!(mine.frames < twice, "ffmpeg repeats ours alone: {mine:#?}");
    }
}

/// A viewer who comes with the first segment sees it at once; the player runs dry until the second one is there.
#[test]
fn dash_js_starts_with_a_stream_s_first_segment() {
    let scratch = Scratch::new("players-young");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 4, &server.publish_url("cam"));
    server.wait_until_playable("cam", Duration::from_secs(30));
    let playback = play::dash_js(&scratch, "dash.js", &server.http_url("/live/cam/manifest.mpd"), 8);
    assert!(playback.fatal.is_empty() && playback.complaints.is_empty(), "{playback:#?}");
    // Its window moves on for the first time after 20 s, which once was when it began.
    let start_ms: u64 = playback.details["start_ms"].parse().expect("it began to play");
    assert!(start_ms < 12_000, "{playback:#?}");
    assert!(playback.seconds >= 5.0, "{playback:#?}");
}

/// The end of a presentation: the MPD turns static, and what is still listed plays from its first segment to its last.
#[test]
fn an_ended_presentation_plays_to_its_end() {
    let scratch = Scratch::new("players-ended");
    let server = Headwater::start(&scratch);
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 1, &server.publish_url("cam"));
    assert!(publisher.wait(Duration::from_secs(60)).success(), "ffmpeg: {}", publisher.log());
    let url = server.http_url("/live/cam/manifest.mpd");
    headwater_tests::wait_for("the MPD to be static", Duration::from_secs(30), || {
        headwater_tests::server::fetch(&url).text().contains("type=\"static\"").then_some(())
    });
    // The clip's 16 s, all of them within the window. A second may be missing at the end that the runner looks at.
    let url = url.as_str();
    std::thread::scope(|scope| {
        scope.spawn(|| play::dash_js(&scratch, "dash.js", url, 14).assert_smooth(14.0, FPS));
        scope.spawn(|| play::shaka(&scratch, "shaka", url, 14).assert_smooth(14.0, FPS));
        // GStreamer 1.22 has to wait: see `an_ended_presentation_in_gstreamer`.
        scope.spawn(|| play::ffmpeg(&scratch, "ffmpeg", url, 14).assert_smooth(14.0, FPS));
    });
}

/// GStreamer 1.22 plays a static MPD from the presentation's time 0 and waits until its first segment is due: Period@start, and what
/// S@t is beyond presentationTimeOffset. With ours that is 26 years. A stream that is not ours shows whether it still does.
#[test]
fn an_ended_presentation_in_gstreamer() {
    let scratch = Scratch::new("players-ended-gstreamer");
    let server = Headwater::start(&scratch);
    let mut publisher =
        publish::ffmpeg(&scratch, "publisher", &media::plain(), 1, &server.publish_url("cam"));
    assert!(publisher.wait(Duration::from_secs(60)).success(), "ffmpeg: {}", publisher.log());
    let ours = server.http_url("/live/cam/manifest.mpd");
    let mpd = headwater_tests::wait_for("the MPD to be static", Duration::from_secs(30), || {
        let text = headwater_tests::server::fetch(&ours).text();
        text.contains("type=\"static\"").then_some(text)
    });
    // Headwater's own, but for the start; the segments still come from Headwater.
    let base = format!("<BaseURL>{}</BaseURL><Period ", server.http_url("/live/cam/"));
    let changed = start_at(&mpd, Duration::ZERO).replacen("<Period ", &base, 1);
    std::fs::write(scratch.join("manifest.mpd"), changed).expect("a file in the test's folder");
    let changed = Files::serve(scratch.path(), Fault::None);
    let reference = Reference::ended(&scratch, &media::plain());
    let play = |name, url: &str, seconds| play::gstreamer(&scratch, name, url, seconds);
    let late = std::thread::scope(|scope| {
        let late = scope.spawn(|| play("reference-late", &reference.changed(Changed::Start), 1));
        scope.spawn(|| play("reference", reference.url(), 6).assert_smooth(6.0, 25.0));
        scope.spawn(|| play("headwater", &changed.url("manifest.mpd"), 6).assert_smooth(6.0, 25.0));
        late.join().expect("it reports")
    });
    assert!(late.fatal.is_empty() && late.frames > 0, "{late:#?}");
    if late.start().is_some_and(|start| start < LATE / 2) {
        // Not the installed version: this one begins with the first segment.
        play("headwater-late", &ours, 6).assert_smooth(6.0, 25.0);
    }
}
