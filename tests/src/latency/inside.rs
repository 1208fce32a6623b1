//! Latency inside the server: from the last byte of the picture that closes a part being written, to the first byte of the answers
//! that wait for it, a blocked playlist and the hinted part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater_flv::{Tag, TagKind};

use crate::latency::numbered::{FPS, GOP};
use crate::media;
use crate::process::{Scratch, wait_for};
use crate::rtmp_client::{RtmpClient, Stage};
use crate::server::{Headwater, try_fetch};

/// From the publisher's start to the first playlist: two keyframes and a busy machine.
const PLAYABLE: Duration = Duration::from_secs(30);

/// A blocked request takes no longer while media flows, nor does a publisher that was told to stop.
const ANSWER: Duration = Duration::from_secs(10);

/// Latencies in ms, in order of size.
#[derive(Debug, Clone, Default)]
pub struct Inside {
    /// To the first byte of the blocked playlist.
    pub playlist_ms: Vec<f64>,
    /// To the first byte of the hinted part.
    pub part_ms: Vec<f64>,
}

/// Publishes as `live/{stream}` by an own, paced connection and waits for parts of its video for `seconds`.
///
/// # Panics
/// When the server does not do what it is asked.
pub fn measure(scratch: &Scratch, server: &Headwater, stream: &str, seconds: u32) -> Inside {
    let tags = crate::hostile::tags(&file(scratch, seconds + 10));
    let mut client = RtmpClient::open(server.rtmp_port(), stream);
    client.reach(Stage::Publishing).expect("it may publish");
    client.set_chunk_size(4_096);
    let stop = Arc::new(AtomicBool::new(false));
    // When each picture was about to be written.
    let written: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let publisher = {
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        std::thread::spawn(move || publish(client, &tags, &stop, &written))
    };
    let path = format!("/live/{stream}/video/media.m3u8");
    let list = wait_for("the first playlist", PLAYABLE, || {
        try_fetch(&server.http_url(&path)).filter(|answer| answer.status == 200).map(|answer| answer.text())
    });
    let first_sequence: u64 = value_of(&list, "#EXT-X-MEDIA-SEQUENCE:")
        .and_then(|number| number.parse().ok())
        .expect("a media sequence number");

    let mut playlists = Wire::connect(server.http_port());
    let mut parts = Wire::connect(server.http_port());
    let mut answers = Vec::new();
    let mut ends = BTreeMap::new();
    let mut list = list;
    let until = Instant::now() + Duration::from_secs(u64::from(seconds));
    while Instant::now() < until {
        let (hint, sequence, part) = hinted(&list).expect("a live playlist has a hint");
        let playlist = format!("{path}?_HLS_msn={sequence}&_HLS_part={part}");
        let (answered, hinted) = std::thread::scope(|scope| {
            let hinted = scope.spawn(|| parts.get(&format!("/live/{stream}/video/{hint}")).0);
            let answered = playlists.get(&playlist);
            (answered, hinted.join().expect("a hinted part comes"))
        });
        let (at, body) = answered;
        list = body;
        ends.extend(ends_of_parts(&list).into_iter().map(|(place, frames)| {
            // Each segment is one GOP of this publisher.
            let (sequence, _) = place;
            (place, (sequence - first_sequence) * u64::from(GOP) + frames)
        }));
        answers.push(((sequence, part), at, hinted));
    }
    stop.store(true, Ordering::Relaxed);
    publisher.join().expect("the publisher ends");

    let written = written.lock().unwrap_or_else(PoisonError::into_inner);
    let mut inside = Inside::default();
    for (place, list_at, part_at) in answers {
        // The picture behind a part's last one closes it.
        let closing = ends.get(&place).and_then(|end| written.get(usize::try_from(*end).ok()?));
        let closing = closing.unwrap_or_else(|| panic!("no picture closed part {place:?}"));
        inside.playlist_ms.push(ms_between(*closing, list_at));
        inside.part_ms.push(ms_between(*closing, part_at));
    }
    for values in [&mut inside.playlist_ms, &mut inside.part_ms] {
        values.sort_by(f64::total_cmp);
    }
    inside
}

/// The same picture rate and GOP as [`super::numbered`], made beforehand.
fn file(scratch: &Scratch, seconds: u32) -> std::path::PathBuf {
    let mut arguments = media::picture(&FPS.to_string(), seconds);
    arguments.extend(media::tone(48_000, "stereo", seconds));
    arguments.extend(media::x264(GOP, 0));
    arguments.extend(["-c:a", "aac"].map(str::to_owned));
    let path: &Path = &media::make(scratch, "inside", &arguments);
    path.to_path_buf()
}

fn publish(mut client: RtmpClient, tags: &[Tag], stop: &AtomicBool, written: &Mutex<Vec<Instant>>) {
    let started = Instant::now();
    let mut configured = false;
    for tag in tags.iter().filter(|tag| tag.kind != TagKind::Data) {
        let due = started + Duration::from_millis(u64::from(tag.timestamp_ms));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        client.clock_ms = 0;
        // Noted before: the server may answer before this thread runs again.
        let now = Instant::now();
        client.send_media(std::slice::from_ref(tag));
        if tag.kind == TagKind::Video {
            // The first one is the decoder's configuration.
            if std::mem::replace(&mut configured, true) {
                written.lock().unwrap_or_else(PoisonError::into_inner).push(now);
            }
        }
    }
    client.leave();
}

fn ms_between(from: Instant, to: Instant) -> f64 {
    // Negative when something is attributed wrongly: better seen than hidden.
    to.saturating_duration_since(from).as_secs_f64() * 1e3
        - from.saturating_duration_since(to).as_secs_f64() * 1e3
}

fn value_of<'a>(list: &'a str, tag: &str) -> Option<&'a str> {
    list.lines().find_map(|line| line.strip_prefix(tag))
}

/// The hinted part's URI, segment and index: `1700000000.3.m4s`.
fn hinted(list: &str) -> Option<(String, u64, u64)> {
    let attributes = value_of(list, "#EXT-X-PRELOAD-HINT:TYPE=PART,")?;
    let uri = attributes.split('"').nth(1)?;
    let (sequence, part) = place(uri)?;
    Some((uri.to_owned(), sequence, part))
}

fn place(uri: &str) -> Option<(u64, u64)> {
    let mut numbers = uri.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// How many pictures of its segment have passed at the end of each listed part, by segment and index.
fn ends_of_parts(list: &str) -> BTreeMap<(u64, u64), u64> {
    let mut ends = BTreeMap::new();
    let mut seconds = 0.0;
    for attributes in list.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:")) {
        let duration =
            attributes.split("DURATION=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<f64>().ok());
        let uri = attributes.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next());
        let (Some(duration), Some((sequence, part))) = (duration, uri.and_then(place)) else { continue };
        seconds = if part == 0 { duration } else { seconds + duration };
        ends.insert((sequence, part), (seconds * f64::from(FPS)).round() as u64);
    }
    ends
}

/// One HTTP/1.1 connection that is kept.
struct Wire {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Wire {
    fn connect(port: u16) -> Wire {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the HTTP port accepts");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        socket.set_read_timeout(Some(ANSWER)).expect("a read timeout");
        Wire { reader: BufReader::new(socket), host: format!("127.0.0.1:{port}") }
    }

    /// When the answer's first byte came, and its body as text; a 200 is expected.
    fn get(&mut self, target: &str) -> (Instant, String) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.reader.get_mut().write_all(request.as_bytes()).expect("a request can be sent");
        self.reader.fill_buf().expect("an answer comes");
        let at = Instant::now();
        let mut length = 0;
        let mut status = String::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a header field");
            if status.is_empty() {
                status = line.clone();
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        assert!(status.starts_with("HTTP/1.1 200"), "{target}: {status}");
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("the whole body");
        (at, String::from_utf8_lossy(&body).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_playlist() {
        let list = "#EXT-X-PART:DURATION=0.20000,URI=\"7.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.16667,URI=\"7.1.m4s\"\n\
                    #EXTINF:0.36667,\n7.m4s\n#EXT-X-PART:DURATION=0.20000,URI=\"8.0.m4s\",INDEPENDENT=YES\n\
                    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"8.1.m4s\"\n";
        let ends: Vec<_> = ends_of_parts(list).into_iter().collect();
        assert_eq!(ends, [((7, 0), 6), ((7, 1), 11), ((8, 0), 6)]);
        assert_eq!(hinted(list), Some(("8.1.m4s".to_owned(), 8, 1)));
    }
}
