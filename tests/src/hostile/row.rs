//! One row of the table of hostile publishers, from its connection to its verdict.

use std::time::{Duration, Instant};

use super::Server;
use super::cases::{Case, Clip, Outcome};
use crate::rtmp_client::{RtmpClient, Stage};
use crate::server::try_fetch;

/// A connection that is to end has ended within this: the handshake's timeout, a second of lingering, and a slow machine.
pub const CLOSED: Duration = Duration::from_secs(12);

/// Bytes that a connection may get to hear before it is closed: 50 answers and the handshake are 9 KB.
const ANSWERS_BYTES_MAX: u64 = 64 << 10;

/// From the end of a clip sent at once to its playlist.
const LISTED: Duration = Duration::from_secs(20);

/// Does what the row says, as a stream that is called like the row and `suffix`, and compares what comes of it with what is
/// expected.
///
/// # Errors
/// With the difference.
pub fn run(server: &Server, case: &Case, clip: &Clip, suffix: &str) -> Result<(), String> {
    let letters = case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = letters.chain(suffix.chars()).collect();
    let mark = server.log_mark();
    let mut client = RtmpClient::open(server.rtmp, &name);
    let port = client.local_port();
    (case.attack)(&mut client, clip)?;
    let (warnings, expected) = match case.outcome {
        Outcome::Tolerated { passes } => {
            client.reach(Stage::Publishing)?;
            client.send_media(&clip.tags);
            listed(server, &name)?;
            client.leave();
            packaged(server, &name, clip.pictures * passes)?;
            return match server.warnings(mark, port, 0).as_slice() {
                [] => Ok(()),
                warnings => Err(format!("tolerated, but warned of: {warnings:?}")),
            };
        }
        Outcome::Refused { code, says } => {
            let heard = client.status()?;
            if heard.level != "error" || heard.code != code || !heard.description.contains(says) {
                return Err(format!("expected {code} with {says:?}, heard {heard:?}"));
            }
            ends(&mut client)?;
            (server.warnings(mark, port, 1), says)
        }
        Outcome::Closed { says } => {
            ends(&mut client)?;
            (server.warnings(mark, port, 1), says)
        }
    };
    match warnings.as_slice() {
        [line] if line.contains(expected) => Ok(()),
        _ => Err(format!("expected one log line with {expected:?}, found {warnings:#?}")),
    }
}

/// The server closes, and has not said much.
///
/// # Errors
/// When it does not, or has.
pub fn ends(client: &mut RtmpClient) -> Result<(), String> {
    if !client.closes_within(CLOSED) {
        return Err("the server does not close".to_owned());
    }
    if client.received > ANSWERS_BYTES_MAX {
        return Err(format!("{} bytes of answers", client.received));
    }
    Ok(())
}

/// The clip's segments are listed and can be fetched.
fn listed(server: &Server, name: &str) -> Result<(), String> {
    let deadline = Instant::now() + LISTED;
    let media_url = loop {
        let answer = try_fetch(&server.watch_url(name)).filter(|answer| answer.status == 200);
        let text = answer.map(|answer| answer.text()).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains(".m3u8") && !line.starts_with('#')) {
            break server.http_url(&format!("/live/{name}/{line}"));
        }
        if Instant::now() > deadline {
            return Err(format!("no playlist: {:?}", server.stream(name)));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let playlist = try_fetch(&media_url).ok_or("no media playlist")?.text();
    let segment = playlist.lines().find(|line| line.contains(".ts")).ok_or("no segment is listed")?;
    let folder = media_url.rsplit_once('/').map_or("", |(folder, _)| folder);
    let body = try_fetch(&format!("{folder}/{segment}")).ok_or("no segment")?.body;
    if body.first() != Some(&0x47) || !body.len().is_multiple_of(188) {
        return Err(format!("a segment of {} bytes is no transport stream", body.len()));
    }
    Ok(())
}

/// As many pictures were packaged once the publisher is gone.
fn packaged(server: &Server, name: &str, pictures: u64) -> Result<(), String> {
    let deadline = Instant::now() + CLOSED;
    loop {
        let stream = server.stream(name).ok_or("the stream is gone")?;
        let counted = stream["counters"]["video_samples"].as_u64().unwrap_or(0);
        if counted >= pictures {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{counted} of {pictures} pictures were packaged: {stream}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
