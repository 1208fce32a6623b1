//! What survives a restart in `state_dir`: every stream's numbers, its last segments after a normal end, and the generated publish key.
//!
//! Numbers are written ahead: the file names a number that no segment has reached yet, so that a crash can never lead to a
//! name that was used before (DESIGN 5, "Immutable names"). A normal end writes the exact ones. Beside that file, which reaches
//! the disk, every segment notes its number in one that need not: unless the system itself went down, a successor goes on where
//! the process stopped. Players bear that better: hls.js 1.7 takes every number that was skipped for a target duration of
//! media, looks for it that far ahead, and stands still there. The note also says which Period players of DASH play, so that the successor
//! can list it as over.
//!
//! A disk that takes nothing any more must not leave a file behind that names a number which is used in the meantime. A note that
//! can't be written is taken away, so that the numbers written ahead count; where nothing of that works, neither file is believed
//! beyond what its age says: a note for [`NOTE_BELIEVED`], reserved numbers with a further one for each second.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use headwater_packager::{Kept, NotedPeriod};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::config::Secret;
use crate::names;

/// The numbers from which a stream goes on after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The first media sequence number that was never used.
    pub media_sequence: u64,
    /// The discontinuity sequence reached.
    pub discontinuity_sequence: u64,
    /// The programme had not ended: its publisher is expected back.
    #[serde(default)]
    pub open: bool,
    /// These are ahead of use, and a [`Progress`] knows the exact ones.
    #[serde(default)]
    pub ahead: bool,
    /// When these were reserved, in Unix seconds: the number in use was [`NUMBERS_AHEAD`] less. `None` for exact ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_at: Option<u64>,
}

impl Numbers {
    /// Whether these were reserved or are exact, a number that had surely not been used by `now` (Unix seconds): whoever reserved them may
    /// have found no disk for the next ones. Segments last a second or more on average.
    fn unused_at(self, now: u64) -> Numbers {
        let Some(reserved_at) = self.reserved_at else { return self };
        let in_use = self.media_sequence.saturating_sub(NUMBERS_AHEAD);
        let media_sequence = self.media_sequence.max(in_use.saturating_add(now.saturating_sub(reserved_at)));
        Numbers { media_sequence, ..self }
    }
}

/// Numbers are stored this far ahead of use, so that the file is written once per so many segments.
pub const NUMBERS_AHEAD: u64 = 64;

/// A note that is older is not believed, in seconds: a process that could neither write a note nor take the last one away may
/// have gone on. Notes come with each segment, so only a stream that waited for its publisher (`publish.grace`, a minute) leaves an older one,
/// and then a successor skips numbers. Nobody gets a disk to work again, and crashes, within less.
pub const NOTE_BELIEVED: u64 = 300;

/// What a [`Progress`] file says.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    /// When, in Unix seconds.
    #[serde(default)]
    at: u64,
    /// Of the running system when it was written: only as long as that runs is what was written surely what is read.
    boot: String,
    media_sequence: u64,
    discontinuity_sequence: u64,
    /// Absent in notes of earlier versions, and where nothing is listed. What is of another form costs nothing but itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "period_if_any")]
    period: Option<NotedPeriod>,
}

fn period_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NotedPeriod>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).ok())
}

/// Bytes of a [`Progress`] file, filled up with spaces: each note covers the one before. Some 550 are usual with a Period.
const NOTE_BYTES: usize = 1_024;

/// A longer name of a boot is none: Linux gives a UUID.
const BOOT_BYTES_MAX: usize = 64;

/// Where a stream notes its numbers with every segment, at the cost of one small write into the system's cache.
#[derive(Debug)]
pub struct Progress {
    path: PathBuf,
    /// `None` after a failure; the next note opens it anew.
    file: Option<fs::File>,
    boot: String,
    /// The numbers of the last try, and whether they are written.
    tried: Option<((u64, u64), bool)>,
}

impl Progress {
    /// Notes that the numbers below these are used, `now` in Unix seconds, and the Period that players play. False when that can't be
    /// written, which the log tells once; then what was noted before is taken away, for it is no longer true. Tried again with the
    /// next numbers.
    pub fn note(
        &mut self,
        media_sequence: u64,
        discontinuity_sequence: u64,
        now: u64,
        period: impl FnOnce() -> Option<NotedPeriod>,
    ) -> bool {
        let numbers = (media_sequence, discontinuity_sequence);
        let before = self.tried;
        if let Some((_, is_written)) = before.filter(|(tried, _)| *tried == numbers) {
            return is_written;
        }
        let boot = self.boot.clone();
        let noted = Noted { at: now, boot, media_sequence, discontinuity_sequence, period: period() };
        let written = self.write(noted);
        self.tried = Some((numbers, written.is_ok()));
        let Err(error) = written else { return true };
        let abandoned = self.abandon();
        if before.is_none_or(|(_, was_written)| was_written) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "numbers can't be noted in state_dir; a crash will skip some");
            if let Err(error) = abandoned {
                tracing::warn!(%path, %error, "nor can the last note be taken away");
            }
        }
        false
    }

    fn write(&mut self, noted: Noted) -> io::Result<()> {
        let mut text = serde_json::to_vec(&noted).map_err(io::Error::other)?;
        if text.len() > NOTE_BYTES {
            // The numbers are what matters.
            text = serde_json::to_vec(&Noted { period: None, ..noted }).map_err(io::Error::other)?;
        }
        text.resize(NOTE_BYTES.max(text.len()), b' ');
        if self.file.is_none() {
            self.file = Some(open_note(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.seek(io::SeekFrom::Start(0))?;
        file.write_all(&text)
    }

    /// The last note goes, or at least what it says.
    fn abandon(&mut self) -> io::Result<()> {
        let file = self.file.take();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                file.map_or(Err(error), |file| file.set_len(0))
            }
            _ => Ok(()),
        }
    }

    /// One that can't write where it should, and whose last note, at `path`, stays where it is when `path` can't be removed.
    #[cfg(test)]
    pub(crate) fn broken(path: &Path, unwritable: &Path) -> Progress {
        let file = fs::File::open(unwritable).ok();
        Progress { path: path.to_owned(), file, boot: "of a test".to_owned(), tried: None }
    }
}

/// Opens a note without touching what it says.
fn open_note(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What tells one run of the system from the next; `None` where the system does not say.
fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty() && id.len() <= BOOT_BYTES_MAX).then(|| id.to_owned())
}

/// A folder for state.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the folder, makes it when it is missing, and proves that it can be written.
    ///
    /// # Errors
    /// [`Error::StateDir`] with the system's answer.
    pub fn open(path: &Path) -> Result<StateDir, Error> {
        let state = StateDir { path: path.to_owned() };
        let prove = || {
            fs::create_dir_all(path.join("streams"))?;
            // It need not reach the disk: a busy one takes longer for that than GStreamer bears a port that nobody listens on, 0.3 s.
            drop(create_private(&path.join("writable"))?);
            fs::remove_file(path.join("writable"))
        };
        prove().map_err(|source| Error::StateDir { path: path.to_owned(), source })?;
        Ok(state)
    }

    /// The numbers from which a stream may go on at `now` (Unix seconds); `None` when none are stored or they can't be read, which the
    /// log tells.
    pub fn numbers(&self, app: &str, name: &str, now: u64) -> Option<Numbers> {
        let path = self.stream_path(app, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "numbers can't be read; they start from the clock");
                return None;
            }
        };
        match serde_json::from_slice::<Numbers>(&text) {
            Ok(numbers) => match self.noted(app, name, now).filter(|_| numbers.ahead) {
                Some(noted) => Some(Numbers {
                    media_sequence: noted.media_sequence,
                    discontinuity_sequence: noted.discontinuity_sequence,
                    ..numbers
                }),
                None => Some(numbers.unused_at(now)),
            },
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "numbers are damaged; they start from the clock");
                None
            }
        }
    }

    /// The Period that players played, where the process that noted it did not end as it should.
    pub fn noted_period(&self, app: &str, name: &str, now: u64) -> Option<NotedPeriod> {
        let stored = fs::read(self.stream_path(app, name)).ok()?;
        let numbers: Numbers = serde_json::from_slice(&stored).ok()?;
        self.noted(app, name, now).filter(|_| numbers.ahead)?.period
    }

    /// What a stream noted last, if the same system still runs and the note is not too old.
    fn noted(&self, app: &str, name: &str, now: u64) -> Option<Noted> {
        let text = fs::read(self.progress_path(app, name)).ok()?;
        let noted: Noted = serde_json::from_slice(&text).ok()?;
        (boot()? == noted.boot && now.saturating_sub(noted.at) <= NOTE_BELIEVED).then_some(noted)
    }

    /// Where a stream can note its numbers; `None` where the system can't say later whether it is still the same.
    pub fn progress(&self, app: &str, name: &str) -> Option<Progress> {
        Some(Progress { path: self.progress_path(app, name), file: None, boot: boot()?, tried: None })
    }

    /// App and name of every stream whose programme had not ended, `max` at most.
    pub fn open_streams(&self, max: usize) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(self.path.join("streams")) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| stream_of_file(entry.file_name().to_str()?))
            .filter(|(app, name)| self.numbers(app, name, 0).is_some_and(|numbers| numbers.open))
            .take(max)
            .collect()
    }

    /// Stores the numbers of a stream, whole or not at all.
    ///
    /// # Errors
    /// The system's answer.
    pub fn store_numbers(&self, app: &str, name: &str, numbers: Numbers) -> io::Result<()> {
        let text = serde_json::to_vec(&numbers).map_err(io::Error::other)?;
        self.replace(&self.stream_path(app, name), &text)
    }

    /// The publish key made at an earlier start, else the one that `make` gives, stored for the next start.
    ///
    /// # Errors
    /// [`Error::StateDir`] with the system's answer.
    pub fn publish_key(&self, make: impl FnOnce() -> Secret) -> Result<Secret, Error> {
        let path = self.path.join("publish.key");
        let failed = |source| Error::StateDir { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let key = make();
        self.replace(&path, key.expose().as_bytes()).map_err(failed)?;
        Ok(key)
    }

    /// Where the last segments of streams lie; `None` where the system can't say later whether it is still the same.
    pub fn kept(&self) -> Option<KeptDir> {
        Some(KeptDir { path: self.path.join("kept").join(boot()?) })
    }

    fn stream_path(&self, app: &str, name: &str) -> PathBuf {
        self.path.join("streams").join(format!("{}.json", stream_file(app, name)))
    }

    fn progress_path(&self, app: &str, name: &str) -> PathBuf {
        self.stream_path(app, name).with_extension("progress")
    }

    /// Writes a file beside its place and moves it there, readable by its owner alone: one of them is a secret.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let mut file = create_private(Path::new(&draft))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

/// The last segments of streams, from one process to the next. They lie below the running system's name: what another run of it left may be
/// torn, and nobody waits for it any more.
#[derive(Debug)]
pub struct KeptDir {
    path: PathBuf,
}

impl KeptDir {
    /// Writes the last segments of a stream. Nothing waits for the disk: while the system runs, what was written is what is read.
    ///
    /// # Errors
    /// The system's answer; nothing of it is left then.
    pub fn store(&self, app: &str, name: &str, kept: &Kept) -> io::Result<()> {
        make_private_folder(&self.path)?;
        let path = self.path.join(format!("{}.kept", stream_file(app, name)));
        let draft = path.with_added_extension("new");
        let write = || {
            let mut file = create_private(&draft)?;
            file.write_all(&kept.head().map_err(io::Error::other)?)?;
            write_all(&mut file, kept.bodies())?;
            fs::rename(&draft, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    /// Takes what was stored of a stream: whatever comes of it, it is not there any more afterwards. `None` where nothing was, or
    /// where it can't be read, which the log tells.
    pub fn take(&self, app: &str, name: &str, bytes_max: u64) -> Option<Kept> {
        let path = self.path.join(format!("{}.kept", stream_file(app, name)));
        let file = match read_within(&path, bytes_max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            file => file,
        };
        // Before anybody sees any of it: a crash must not make a third process list it beside what the second one had.
        let removed = fs::remove_file(&path);
        let read = file.and_then(|file| {
            removed?;
            Kept::read(&Bytes::from(file)).map_err(io::Error::other)
        });
        match read {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(app, stream = name, %error, "its last segments can't be listed again");
                None
            }
        }
    }

    /// Takes away what is left, of this run of the system and of any other.
    pub fn clear(&self) {
        let Some(all) = self.path.parent() else { return };
        match fs::remove_dir_all(all) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %all.display(), %error, "can't be removed");
            }
            _ => {}
        }
    }
}

/// Writes buffers one behind the other.
fn write_all(file: &mut fs::File, buffers: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<io::IoSlice<'_>> = buffers.iter().map(|buffer| io::IoSlice::new(buffer)).collect();
    let mut slices = slices.as_mut_slice();
    io::IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => io::IoSlice::advance_slices(&mut slices, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a file of no more than so many bytes.
fn read_within(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > bytes_max {
        return Err(io::Error::other(format!("{length} bytes are more than there may be")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A folder that its owner alone can look into: media may be for those alone who have a token.
fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// An empty file that its owner alone can read.
fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// `/` is the one character of an app that a file's name can't hold; `%` is in no name.
fn stream_file(app: &str, name: &str) -> String {
    format!("{}%2f{name}", app.replace('/', "%2f"))
}

/// App and name from a file's name as [`StateDir::stream_path`] makes it; `None` for anything else that lies there.
fn stream_of_file(file: &str) -> Option<(String, String)> {
    let (app, name) = file.strip_suffix(".json")?.rsplit_once("%2f")?;
    let app = app.replace("%2f", "/");
    (names::is_app(&app) && names::is_stream(name)).then(|| (app, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("headwater-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn numbers_survive_and_names_do_not_meet() {
        let path = folder("numbers");
        let state = StateDir::open(&path).unwrap();
        let one = Numbers {
            media_sequence: 1_790_000_123,
            discontinuity_sequence: 4,
            open: false,
            ahead: false,
            reserved_at: None,
        };
        let two = Numbers { media_sequence: 7, open: true, ..one };
        state.store_numbers("live", "cam", one).unwrap();
        state.store_numbers("live/eu", "cam", two).unwrap();
        let again = StateDir::open(&path).unwrap();
        assert_eq!(again.numbers("live", "cam", NOW), Some(one));
        assert_eq!(again.numbers("live/eu", "cam", NOW), Some(two));
        assert_eq!(again.numbers("live", "other", NOW), None);
        for stranger in [
            "README",
            "cam.json",
            "%2fcam.json",
            "live%2f...json",
            "live%2f%2fcam.json",
            "live%2fcam.json.new",
            "live%2fcam.progress",
        ] {
            fs::write(path.join("streams").join(stranger), serde_json::to_vec(&two).unwrap()).unwrap();
        }
        assert_eq!(again.open_streams(10), [("live/eu".to_owned(), "cam".to_owned())]);
        assert!(again.open_streams(0).is_empty());
        fs::write(path.join("streams/live%2fcam.json"), r#"{"media_sequence":7,"discontinuity_sequence":1}"#)
            .unwrap();
        let earlier = Numbers {
            media_sequence: 7,
            discontinuity_sequence: 1,
            open: false,
            ahead: false,
            reserved_at: None,
        };
        assert_eq!(again.numbers("live", "cam", NOW), Some(earlier), "as an earlier version wrote it");
        fs::write(path.join("streams/live%2fcam.json"), "{").unwrap();
        assert_eq!(again.numbers("live", "cam", NOW), None);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn last_segments_are_taken_once() {
        let path = folder("kept");
        let kept = StateDir::open(&path).unwrap().kept().unwrap();
        let stream = headwater_packager::fuzzing::kept_stream();
        assert!(kept.take("live/eu", "cam", 1 << 20).is_none());
        kept.store("live/eu", "cam", &stream).unwrap();
        assert!(kept.take("live", "cam", 1 << 20).is_none());
        let taken = kept.take("live/eu", "cam", 1 << 20).unwrap();
        assert_eq!((taken.head(), taken.bodies()), (stream.head(), stream.bodies()));
        assert!(kept.take("live/eu", "cam", 1 << 20).is_none(), "it is gone");
        kept.store("live", "cam", &stream).unwrap();
        assert!(kept.take("live", "cam", 1_000).is_none(), "too long");
        assert!(kept.take("live", "cam", 1 << 20).is_none(), "and gone");
        let file = kept.path.join("live%2fcam.kept");
        kept.store("live", "cam", &stream).unwrap();
        let whole = fs::read(&file).unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", b"HWKEPT\x00\x02"] {
            fs::write(&file, damaged).unwrap();
            assert!(kept.take("live", "cam", 1 << 20).is_none());
            assert!(!file.exists());
        }
        // Of another run of the system.
        fs::create_dir(path.join("kept/another")).unwrap();
        fs::write(path.join("kept/another/live%2fcam.kept"), &whole).unwrap();
        assert!(kept.take("live", "cam", 1 << 20).is_none());
        kept.clear();
        assert!(!path.join("kept").exists());
        kept.clear();
        // A disk that takes nothing leaves nothing.
        fs::create_dir_all(kept.path.join("live%2fcam.kept")).unwrap();
        assert!(kept.store("live", "cam", &stream).is_err());
        assert_eq!(fs::read_dir(&kept.path).unwrap().count(), 1, "no draft");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_was_noted_counts_while_the_system_runs_and_the_numbers_are_ahead() {
        let path = folder("progress");
        let state = StateDir::open(&path).unwrap();
        let mut progress = state.progress("live", "cam.1").expect("Linux tells its boot");
        let ahead = Numbers {
            media_sequence: 164,
            discontinuity_sequence: 4,
            open: true,
            ahead: true,
            reserved_at: Some(NOW),
        };
        state.store_numbers("live", "cam.1", ahead).unwrap();
        assert_eq!(state.numbers("live", "cam.1", NOW), Some(ahead), "nothing was noted");
        for (media_sequence, discontinuity_sequence) in [(u64::MAX, u64::MAX), (101, 5), (101, 5)] {
            assert!(progress.note(media_sequence, discontinuity_sequence, NOW, || None));
            let noted = Numbers { media_sequence, discontinuity_sequence, ..ahead };
            assert_eq!(StateDir::open(&path).unwrap().numbers("live", "cam.1", NOW), Some(noted));
        }
        // The next life's first note replaces the last one's.
        assert!(state.progress("live", "cam.1").unwrap().note(7, 7, NOW, || None));
        assert_eq!(state.numbers("live", "cam.1", NOW).unwrap().media_sequence, 7);
        assert_eq!(state.numbers("live", "cam", NOW), None, "another stream");

        let exact = Numbers { ahead: false, reserved_at: None, media_sequence: 103, ..ahead };
        state.store_numbers("live", "cam.1", exact).unwrap();
        assert_eq!(state.numbers("live", "cam.1", NOW), Some(exact), "a normal end");

        state.store_numbers("live", "cam.1", ahead).unwrap();
        let file = state.progress_path("live", "cam.1");
        let text = fs::read_to_string(&file).unwrap();
        for other in [text.replace(&boot().unwrap(), "another"), text[..20].to_owned(), String::new()] {
            fs::write(&file, other).unwrap();
            assert_eq!(state.numbers("live", "cam.1", NOW), Some(ahead), "another system, or damage");
        }
        assert_eq!(state.open_streams(9), [("live".to_owned(), "cam.1".to_owned())], "no stream by itself");
        fs::remove_dir_all(&path).unwrap();
    }

    /// The Period comes with the numbers, and is worth less than they are.
    #[test]
    fn the_period_is_noted_with_the_numbers() {
        let path = folder("period");
        let state = StateDir::open(&path).unwrap();
        let ahead = Numbers {
            media_sequence: 1_164,
            discontinuity_sequence: 4,
            open: true,
            ahead: true,
            reserved_at: Some(NOW),
        };
        state.store_numbers("live", "cam", ahead).unwrap();
        let period = headwater_packager::fuzzing::noted_period();
        let mut progress = state.progress("live", "cam").unwrap();
        assert!(progress.note(1_101, 4, NOW, || Some(period.clone())));
        let file = state.progress_path("live", "cam");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!((text.len(), text.trim_end().len() < 700), (NOTE_BYTES, true), "{text}");
        let at = |now| (state.numbers("live", "cam", now).unwrap(), state.noted_period("live", "cam", now));
        let noted = Numbers { media_sequence: 1_101, ..ahead };
        assert_eq!(at(NOW), (noted, Some(period.clone())));
        assert_eq!(at(NOW + NOTE_BELIEVED + 1).1, None, "too old");
        state.store_numbers("live", "cam", Numbers { ahead: false, reserved_at: None, ..ahead }).unwrap();
        assert_eq!(at(NOW).1, None, "a normal end");
        state.store_numbers("live", "cam", ahead).unwrap();

        // Torn, or changed: what can be read of it is believed, and nothing else.
        let whole = text.trim_end();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(at(NOW), (ahead, None), "{length}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.as_bytes().to_vec();
            changed[place] ^= 0x10;
            fs::write(&file, changed).unwrap();
            let _ = at(NOW);
        }
        let earlier = whole.split_once(",\"period\"").unwrap().0.to_owned() + "}";
        let period_of = |period: &str| format!("{},\"period\":{period}}}", earlier.trim_end_matches('}'));
        for text in [earlier.clone(), period_of("null"), period_of("7"), period_of("{\"id\":-1}")] {
            fs::write(&file, &text).unwrap();
            assert_eq!(at(NOW), (noted, None), "an earlier version, or another: {text}");
        }
        fs::write(&file, whole.replace(&boot().unwrap(), "another")).unwrap();
        assert_eq!(at(NOW), (ahead, None), "another run of the system");

        // Each note covers the whole of the one before.
        assert!(progress.note(1_102, 4, NOW, || Some(period)));
        assert!(progress.note(1_103, 4, NOW, || None));
        assert_eq!(at(NOW), (Numbers { media_sequence: 1_103, ..ahead }, None));
        fs::remove_dir_all(&path).unwrap();
    }

    /// The file of a note that can't be written goes; what counts then is reserved.
    #[test]
    fn a_note_that_can_not_be_written_is_taken_away() {
        let path = folder("stale");
        let state = StateDir::open(&path).unwrap();
        let ahead = Numbers {
            media_sequence: 164,
            discontinuity_sequence: 4,
            open: true,
            ahead: true,
            reserved_at: Some(NOW),
        };
        state.store_numbers("live", "cam", ahead).unwrap();
        let file = state.progress_path("live", "cam");
        let mut progress = state.progress("live", "cam").unwrap();
        assert!(progress.note(101, 4, NOW, || None));
        progress.file = fs::File::open(&file).ok();
        assert!(!progress.note(102, 4, NOW, || None), "a file that is open for reading alone");
        assert!(!progress.note(102, 4, NOW, || None), "said again, not tried again");
        assert!(!file.exists());
        assert_eq!(state.numbers("live", "cam", NOW), Some(ahead));
        // The disk takes notes again.
        assert!(progress.note(103, 4, NOW, || None));
        assert_eq!(state.numbers("live", "cam", NOW).unwrap().media_sequence, 103);

        // It can't be taken away by its name (a folder is there now), but it can be emptied.
        let moved = path.join("moved");
        fs::rename(&file, &moved).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(fs::metadata(&moved).unwrap().len(), NOTE_BYTES as u64);
        progress.abandon().unwrap();
        assert_eq!(fs::metadata(&moved).unwrap().len(), 0);
        assert!(!progress.note(104, 4, NOW, || None), "a folder");
        assert!(progress.abandon().is_err());
        fs::remove_dir_all(&path).unwrap();
    }

    /// Nothing could be written any more, and what is there tells the numbers of long ago.
    #[test]
    fn what_is_too_old_to_be_true_is_not_believed() {
        let path = folder("old");
        let state = StateDir::open(&path).unwrap();
        let ahead = Numbers {
            media_sequence: 164,
            discontinuity_sequence: 4,
            open: true,
            ahead: true,
            reserved_at: Some(NOW),
        };
        state.store_numbers("live", "cam", ahead).unwrap();
        assert!(state.progress("live", "cam").unwrap().note(101, 4, NOW, || None));
        let at = |now| state.numbers("live", "cam", now).unwrap().media_sequence;
        // 100 is in use at NOW, and at most 100 + n after n seconds.
        for (after, expected) in
            [(0, 101), (NOTE_BELIEVED, 101), (NOTE_BELIEVED + 1, 100 + NOTE_BELIEVED + 1), (86_400, 86_500)]
        {
            assert_eq!(at(NOW + after), expected, "{after} s");
        }
        assert_eq!(at(NOW - 60), 101, "the clock was set back");
        fs::remove_file(state.progress_path("live", "cam")).unwrap();
        for (after, expected) in [(0, 164), (64, 164), (65, 165), (3_600, 3_700)] {
            assert_eq!(at(NOW + after), expected, "{after} s");
        }
        let exact = Numbers { ahead: false, reserved_at: None, ..ahead };
        state.store_numbers("live", "cam", exact).unwrap();
        assert_eq!(at(NOW + 86_400), 164, "exact numbers do not age");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_alone() {
        let path = folder("key");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.publish_key(|| Secret::new("first-secret")).unwrap().expose(), "first-secret");
        assert_eq!(state.publish_key(|| Secret::new("other")).unwrap().expose(), "first-secret");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path.join("publish.key")).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_folder_that_can_not_be_used_is_told() {
        let path = folder("file");
        fs::write(&path, "a file").unwrap();
        let error = StateDir::open(&path).unwrap_err();
        assert!(matches!(error, Error::StateDir { .. }), "{error}");
        fs::remove_file(&path).unwrap();
    }
}
