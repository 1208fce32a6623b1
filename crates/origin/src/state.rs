//! What survives a restart in `state_dir`: every stream's numbers and the generated publish key.
//!
//! Numbers are written ahead: the file names a number that no segment has reached yet, so that a crash can never lead to a
//! name that was used before (DESIGN 5, "Immutable names"). A normal end writes the exact ones.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::Secret;

/// The numbers from which a stream goes on after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// The first media sequence number that was never used.
    pub media_sequence: u64,
    /// The discontinuity sequence reached.
    pub discontinuity_sequence: u64,
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
            state.replace(&path.join("writable"), b"")?;
            fs::remove_file(path.join("writable"))
        };
        prove().map_err(|source| Error::StateDir { path: path.to_owned(), source })?;
        Ok(state)
    }

    /// The numbers stored for a stream; `None` when there are none or they can't be read, which the log tells.
    pub fn numbers(&self, app: &str, name: &str) -> Option<Numbers> {
        let path = self.stream_path(app, name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "numbers can't be read; they start from the clock");
                return None;
            }
        };
        match serde_json::from_slice(&text) {
            Ok(numbers) => Some(numbers),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "numbers are damaged; they start from the clock");
                None
            }
        }
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

    /// `/` is the one character of an app that a file's name can't hold; `%` is in no name.
    fn stream_path(&self, app: &str, name: &str) -> PathBuf {
        self.path.join("streams").join(format!("{}%2f{name}.json", app.replace('/', "%2f")))
    }

    /// Writes a file beside its place and moves it there, readable by its owner alone: one of them is a secret.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("headwater-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn numbers_survive_and_names_do_not_meet() {
        let path = folder("numbers");
        let state = StateDir::open(&path).unwrap();
        let one = Numbers { media_sequence: 1_790_000_123, discontinuity_sequence: 4 };
        let two = Numbers { media_sequence: 7, ..one };
        state.store_numbers("live", "cam", one).unwrap();
        state.store_numbers("live/eu", "cam", two).unwrap();
        let again = StateDir::open(&path).unwrap();
        assert_eq!(again.numbers("live", "cam"), Some(one));
        assert_eq!(again.numbers("live/eu", "cam"), Some(two));
        assert_eq!(again.numbers("live", "other"), None);
        fs::write(path.join("streams/live%2fcam.json"), "{").unwrap();
        assert_eq!(again.numbers("live", "cam"), None);
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
