//! One row of the table of hostile requests, from its connection to its verdict.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::cases::{Case, Targets};
use super::{End, Peer, answers};
use crate::hostile::Server;
use crate::hostile::mutants::Random;
use crate::server::try_fetch;

/// A connection that is to end has ended within this: no figure of speed, only the end of a test that hangs.
pub const CLOSED: Duration = Duration::from_secs(20);

/// The stream's addresses, once it has a segment.
pub fn targets(server: &Server, name: &str) -> Option<Targets> {
    let media = format!("/live/{name}/ts/media.m3u8");
    let playlist = try_fetch(&server.http_url(&media)).filter(|answer| answer.status == 200)?.text();
    let last = playlist.lines().rfind(|line| line.ends_with(".ts"))?.to_owned();
    let segment = format!("/live/{name}/ts/{last}");
    let segment_bytes =
        try_fetch(&server.http_url(&segment)).filter(|answer| answer.status == 200)?.body.len();
    Some(Targets { index: format!("/live/{name}/index.m3u8"), media, segment, segment_bytes })
}

/// The same bytes in pieces of any length.
pub fn pieces<'a>(sent: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let longest = if sent.len() < 1 << 10 { 3 } else { 40 << 10 };
    let mut pieces = Vec::new();
    let mut rest = sent;
    while !rest.is_empty() {
        let length = (random.next() % longest) as usize + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Sends what the row says, and [`super::cases::PROBE`] behind it, piece by piece, and compares what comes back with what is expected.
///
/// # Errors
/// With the difference.
pub fn run(from: Ipv4Addr, port: u16, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let peer = Peer::open(from, port)?;
    for piece in pieces {
        peer.send(piece)?;
    }
    let (bytes, end) = peer.read_to_end(CLOSED)?;
    let mut answers = answers(&bytes, case.sent.starts_with(b"HEAD "))?;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let probe = case.goes_on.then(|| answers.pop()).flatten();
    if case.goes_on {
        let is_answered = probe.as_ref().is_some_and(|probe| {
            probe.status == 200 && probe.header("content-type") == Some("text/plain; charset=utf-8")
        });
        if !is_answered {
            return Err(format!("not in step afterwards: {statuses:?}, then {probe:?}"));
        }
    }
    let own: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    if own != case.statuses {
        return Err(format!("{:?} was expected, {own:?} came", case.statuses));
    }
    for answer in &answers {
        answer.has_the_common_headers()?;
    }
    let last = answers.last().ok_or("no answer")?;
    if !case.goes_on && !last.is_old && last.header("connection") != Some("close") {
        return Err("closed without saying so".to_owned());
    }
    if case.cache_control.is_some_and(|expected| last.header("cache-control") != Some(expected)) {
        return Err(format!("Cache-Control: {:?}", last.header("cache-control")));
    }
    if case.length.is_some_and(|expected| last.body.len() != expected) {
        return Err(format!("{} bytes, {:?} were expected", last.body.len(), case.length));
    }
    // Nothing that was sent is as much as the server reads and throws away.
    if end != End::Closed {
        return Err("reset: another peer might not have read the answer".to_owned());
    }
    Ok(())
}
