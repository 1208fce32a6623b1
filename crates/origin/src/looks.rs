//! Files that are exchanged while the process runs: certificates, keys.
//!
//! Programs and people replace one file after the other, or write one bit by bit. So files are read every [`LOOK_EVERY`], and what they
//! hold counts once two looks have found the same.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

/// Between two looks. Reading some kilobytes costs nothing, and no kind of replacing a file escapes it (a mount's link that moves on
/// leaves the time of the file as it was).
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads every [`LOOK_EVERY`] until `shutdown` turns true, and hands on what has settled, once each time.
pub(crate) async fn follow<T, E>(
    read: impl Fn() -> Result<T, E> + Clone + Send + 'static,
    mut shutdown: watch::Receiver<bool>,
    mut take: impl FnMut(Result<T, E>),
) where
    T: Clone + PartialEq + Send + 'static,
    E: ToString + Send + 'static,
{
    let mut looks = Looks { last: None, given: None };
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
        let Ok(found) = tokio::task::spawn_blocking(read.clone()).await else { return };
        if let Some(settled) = looks.settled(found) {
            take(settled);
        }
    }
}

/// The bytes of a file, `bytes_max` at most.
///
/// # Errors
/// The system's words, or the limit.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > bytes_max {
        return Err(format!("{size} bytes are too many"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

/// What was found, look by look.
struct Looks<T> {
    /// At the last look.
    last: Option<Result<T, String>>,
    /// Given out last: what is known, or was complained about, is not told again.
    given: Option<Result<T, String>>,
}

impl<T: Clone + PartialEq> Looks<T> {
    fn settled<E: ToString>(&mut self, read: Result<T, E>) -> Option<Result<T, E>> {
        let found = match &read {
            Ok(found) => Ok(found.clone()),
            Err(error) => Err(error.to_string()),
        };
        let is_settled = self.last.as_ref() == Some(&found) && self.given.as_ref() != Some(&found);
        if is_settled {
            self.given = Some(found.clone());
        }
        self.last = Some(found);
        is_settled.then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_looks_have_found_is_given_once() {
        let mut looks = Looks { last: None, given: None };
        let mut given = |found: Result<&'static str, &'static str>| looks.settled(found).is_some();
        assert!(!given(Ok("a")), "it could be half of something");
        assert!(given(Ok("a")));
        assert!(!given(Ok("a")), "known");
        assert!(!given(Ok("b")) && !given(Ok("c")), "being written");
        assert!(given(Ok("c")));
        assert!(!given(Err("gone")) && given(Err("gone")) && !given(Err("gone")));
        assert!(!given(Ok("c")) && given(Ok("c")));
    }
}
