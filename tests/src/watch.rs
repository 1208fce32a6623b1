//! Real players that stay open while something fails: when each one's picture moved and when it stood still. How smoothly they
//! play is for [`crate::play`] to judge.

use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::play::{self, lines_of};
use crate::process::{Process, Scratch};

/// Pictures further apart than this stand still in between (ms).
const STAND_MS: u64 = 700;

/// The same for VLC, whose count moves in steps, and stands for nearly a second at times on ffmpeg's own streams too.
const VLC_STAND_MS: u64 = 1_500;

/// The same for ffmpeg, which has no buffer: once it has waited for a segment it decodes each one as it comes.
const FFMPEG_STAND_MS: u64 = 3_500;

/// A picture that has moved for so long is moving again. hls.js 1.7.4 stands still for seconds at any time when an `updateend` of its
/// buffer comes late, which two cores and ten players see to: that is no failure to recover.
const MOVES_MS: u64 = 2_000;

/// And one that has stood for longer than such a stand-still when it is looked at has not recovered, however it moved before.
const STANDS_MS_MAX: u64 = 5_000;

/// Between two looks at VLC's and ffmpeg's counts.
const LOOK: Duration = Duration::from_millis(200);

/// What is noted of a player that was not there any more when it was to be ended.
const ENDED_BY_ITSELF: &str = "it had ended by itself";

/// A browser with half a dozen players takes a moment to end on a busy machine.
const END: Duration = Duration::from_secs(45);

/// A picture that stood still. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stand {
    /// The last picture before.
    pub from: u64,
    /// The first picture after.
    pub to: u64,
}

/// What a player said, and when.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Milliseconds since 1970.
    pub at: u64,
    /// `fatal: ...` when the player gave up by its own account.
    pub text: String,
}

/// What one player did until it was ended. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Watched {
    /// The name it was given.
    pub name: String,
    /// Its first picture.
    pub first: Option<u64>,
    /// Its last picture.
    pub last: Option<u64>,
    /// When the picture stood still, in order.
    pub stands: Vec<Stand>,
    /// What it complained about.
    pub said: Vec<Said>,
    /// Pictures further apart than this (ms) stand still in between.
    #[serde(default = "browser_stand_ms")]
    stand_ms: u64,
}

fn browser_stand_ms() -> u64 {
    STAND_MS
}

impl Watched {
    fn new(name: &str, stand_ms: u64) -> Watched {
        Watched { name: name.to_owned(), stand_ms, ..Watched::default() }
    }

    /// It ended by itself, had asked while nothing listened, and showed nothing from `flowing` on, when media flowed again. ffmpeg's HLS ends where
    /// it was a playlist that it asked for ("Failed to reload playlist").
    pub fn gave_up_unanswered(&self, flowing: u64) -> bool {
        let has_said = |what: &str| self.said.iter().any(|said| said.text.contains(what));
        let has_shown = self.last.is_some_and(|last| last >= flowing);
        !has_shown && has_said(ENDED_BY_ITSELF) && has_said("Connection refused")
    }

    /// A new picture at `at`.
    fn moved(&mut self, at: u64) {
        self.first.get_or_insert(at);
        if let Some(from) = self.last.filter(|last| at.saturating_sub(*last) > self.stand_ms) {
            self.stands.push(Stand { from, to: at });
        }
        self.last = Some(at);
    }

    /// From `flowing`, when media flows again after a fault, until the picture began to move for two seconds on end: zero when it did
    /// not stand still. A stand-still after that is another matter, and for [`crate::play`] to judge.
    ///
    /// # Errors
    /// Since when it stands still, if it did not move for so long before `until`.
    pub fn recovered(&self, flowing: u64, until: u64) -> Result<Duration, String> {
        let mut moving_since = flowing;
        for stand in self.stands.iter().filter(|stand| stand.to > flowing) {
            if stand.from >= moving_since + MOVES_MS {
                break;
            }
            moving_since = moving_since.max(stand.to);
        }
        let last = self.last.unwrap_or(0);
        // It may stand still again, for a while.
        let moved_last = match self.stands.iter().find(|stand| stand.from < until && stand.to > until) {
            Some(stand) => stand.from,
            None => last.min(until),
        };
        let has_moved = moving_since + MOVES_MS <= until && last >= moving_since + MOVES_MS;
        if !has_moved || moved_last + STANDS_MS_MAX < until {
            let standing = self.stands.iter().rev().find(|stand| stand.from < until);
            let since = if last < until { self.last } else { standing.map(|stand| stand.from) };
            return Err(format!("stands still since {since:?}, fault over at {flowing}, looked at {until}"));
        }
        Ok(Duration::from_millis(moving_since - flowing))
    }
}

/// The system's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    u64::try_from(since.as_millis()).expect("milliseconds fit")
}

/// Players in one browser: name, `hls.js`, `shaka`, `dash.js` or `native`, and URL of each. Leaves `browsers.png`.
pub fn browsers(scratch: &Scratch, players: &[(&str, &str, String)]) -> Browsers {
    let list: Vec<_> = players
        .iter()
        .map(|(name, mode, url)| serde_json::json!({ "name": name, "mode": mode, "url": url }))
        .collect();
    let mut node = Command::new("node");
    node.arg(crate::root().join("tests/players/faults.mjs"));
    node.arg(serde_json::Value::Array(list).to_string()).arg(scratch.join("browsers.png"));
    Browsers(Process::start_piped("browsers", node, scratch, Stdio::piped()))
}

/// Several players in one browser.
pub struct Browsers(Process);

impl Browsers {
    /// Ends them.
    ///
    /// # Panics
    /// When the browser does not report.
    pub fn end(mut self) -> Vec<Watched> {
        drop(self.0.take_input());
        let lines = lines_of(&mut self.0);
        let Ok((_, line)) = lines.recv_timeout(END) else { panic!("no report: {}", self.0.log()) };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// A player that a thread looks after.
pub struct Player {
    watched: Arc<Mutex<Watched>>,
    process: Arc<Mutex<Process>>,
    thread: JoinHandle<()>,
}

impl Player {
    /// Watches `process`. `picture` tells from a line of its output whether it has shown a new picture; it is written `ask` every
    /// [`LOOK`].
    fn start(
        name: &str,
        stand_ms: u64,
        mut process: Process,
        ask: Option<&'static str>,
        mut picture: impl FnMut(&str) -> bool + Send + 'static,
    ) -> Player {
        let mut input = process.take_input();
        let lines = lines_of(&mut process);
        let watched = Arc::new(Mutex::new(Watched::new(name, stand_ms)));
        let process = Arc::new(Mutex::new(process));
        let noted = Arc::clone(&watched);
        let thread = std::thread::spawn(move || {
            let mut asked = Instant::now();
            loop {
                match lines.recv_timeout(LOOK) {
                    Ok((_, line)) if picture(&line) => {
                        noted.lock().unwrap_or_else(PoisonError::into_inner).moved(now_ms());
                    }
                    // GStreamer's way to give up; the lines behind it say why.
                    Ok((_, text)) if text.starts_with("ERROR") => {
                        let said = Said { at: now_ms(), text: format!("fatal: {text}") };
                        noted.lock().unwrap_or_else(PoisonError::into_inner).said.push(said);
                    }
                    Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if let (Some(ask), Some(input)) = (ask, &mut input)
                    && asked.elapsed() >= LOOK
                {
                    asked = Instant::now();
                    // A player that has ended is seen by the end of its output.
                    let _ = std::io::Write::write_all(input, ask.as_bytes());
                }
            }
        });
        Player { watched, process, thread }
    }

    /// Ends it.
    pub fn end(self) -> Watched {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = process.status();
        process.stop();
        let _ = self.thread.join();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(status) = ended {
            watched.said.push(Said { at: now_ms(), text: format!("fatal: {ENDED_BY_ITSELF}, {status}") });
        }
        let log = process.log();
        watched.said.extend(log.lines().rev().take(40).map(|line| Said { at: 0, text: line.to_owned() }));
        watched
    }
}

/// A player that counts its pictures: whether a line of its output tells of more than the line before.
fn counts(number: impl Fn(&str) -> Option<u64>) -> impl FnMut(&str) -> bool {
    let mut before = 0;
    move |line| {
        let Some(now) = number(line) else { return false };
        let more = now > before;
        before = now;
        more
    }
}

/// VLC without a window.
pub fn vlc(scratch: &Scratch, name: &str, url: &str) -> Player {
    let pictures = |line: &str| match play::statistic(line) {
        Some((field, value)) if field == "frames displayed" => Some(value),
        _ => None,
    };
    Player::start(name, VLC_STAND_MS, play::start_vlc(scratch, name, url), Some("stats\n"), counts(pictures))
}

/// GStreamer's playbin3.
pub fn gstreamer(scratch: &Scratch, name: &str, url: &str) -> Player {
    let picture = |line: &str| play::rendered(line).is_some_and(|(sink, _)| sink == "picture");
    Player::start(name, STAND_MS, play::start_gstreamer(scratch, name, url), None, picture)
}

/// ffmpeg, which decodes in real time.
pub fn ffmpeg(scratch: &Scratch, name: &str, url: &str) -> Player {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-re", "-i", url]);
    ffmpeg.args(["-progress", "pipe:1", "-stats_period", "0.2", "-f", "null", "-"]);
    let process = Process::start_piped(name, ffmpeg, scratch, Stdio::piped());
    let pictures = |line: &str| line.strip_prefix("frame=")?.trim().parse().ok();
    Player::start(name, FFMPEG_STAND_MS, process, None, counts(pictures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player(pictures: &[u64]) -> Watched {
        let mut watched = Watched::new("x", STAND_MS);
        pictures.iter().for_each(|at| watched.moved(*at));
        watched
    }

    #[test]
    fn recovery_counts_from_when_media_flows_to_where_the_picture_begins_to_move() {
        let mut pictures: Vec<u64> = (0..100).map(|n| n * 100).collect();
        pictures.extend((0..100).map(|n| 15_000 + n * 100));
        let watched = player(&pictures);
        assert_eq!(watched.stands, [Stand { from: 9_900, to: 15_000 }]);
        assert_eq!(watched.recovered(12_000, 20_000), Ok(Duration::from_secs(3)));
        assert_eq!(watched.recovered(16_000, 20_000), Ok(Duration::ZERO), "that was another fault");
        assert_eq!(watched.recovered(7_000, 9_500), Ok(Duration::ZERO), "it moved for long enough");
        assert!(watched.recovered(9_000, 14_000).is_err(), "it had not moved for long enough");
        assert!(watched.recovered(12_000, 14_000).is_err(), "it stood still then");
        assert!(watched.recovered(12_000, 16_000).is_err(), "it had just begun");
        assert!(watched.recovered(24_000, 30_000).is_err(), "it ended before");
        assert!(player(&[]).recovered(0, 10_000).is_err(), "it never began");
    }

    #[test]
    fn one_picture_is_no_movement() {
        // A picture, a stand-still, and again.
        let watched = player(&(0..10).map(|n| n * 2_000).collect::<Vec<_>>());
        assert!(watched.recovered(4_000, 16_000).is_err());
        // Moves, and stands still once more much later.
        let mut pictures: Vec<u64> = (0..100).map(|n| n * 100).collect();
        pictures.extend((0..100).map(|n| 15_000 + n * 100));
        assert_eq!(player(&pictures).recovered(1_000, 14_000), Ok(Duration::ZERO));
        // Moves, and stands still for good.
        assert!(player(&pictures).recovered(16_000, 30_000).is_err());
        assert!(player(&pictures).recovered(1_000, 14_950).is_err(), "for longer than a moment");
    }

    #[test]
    fn a_count_that_grows_is_a_picture() {
        let mut more = counts(|line| line.strip_prefix("frame=")?.trim().parse().ok());
        let seen: Vec<bool> =
            ["frame=1", "fps=30", "frame=1", "frame= 4"].into_iter().map(&mut more).collect();
        assert_eq!(seen, [true, false, false, true]);
    }
}
