//! What all viewers know together, so that each version of a playlist is read once and not once per viewer.
//!
//! It is also where they agree: an entity tag stands for the same bytes for everybody, and so does a part's URL.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::Error;
use crate::client::Answer;
use crate::playlist::{Place, Playlist};

/// Versions and bodies remembered; a viewer that is further behind reads its own.
const REMEMBERED_MAX: usize = 256;

/// The versions of one media playlist.
#[derive(Debug, Default)]
pub struct Versions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    playlists: Recent<(Bytes, Arc<Playlist>)>,
    bodies: Recent<Bytes>,
    /// Bodies that differ, of playlists and of parts.
    different: u64,
    /// Every part that any version listed.
    durations: BTreeMap<Place, Duration>,
}

/// A map that forgets what came first.
#[derive(Debug)]
struct Recent<V> {
    values: HashMap<String, V>,
    order: std::collections::VecDeque<String>,
}

impl<V> Default for Recent<V> {
    fn default() -> Recent<V> {
        Recent { values: HashMap::new(), order: std::collections::VecDeque::new() }
    }
}

impl<V> Recent<V> {
    fn insert(&mut self, key: String, value: V) {
        if self.order.len() >= REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.values.insert(key, value);
    }
}

impl Versions {
    /// The version that an answer holds.
    ///
    /// # Errors
    /// [`Error::Status`], [`Error::Playlist`], [`Error::BodiesDiffer`].
    pub fn playlist(&self, answer: &Answer) -> Result<Arc<Playlist>, Error> {
        if let Some(etag) = &answer.etag
            && answer.status == 200
            && let Some((body, playlist)) = self.lock().playlists.values.get(etag)
        {
            return if *body == answer.body { Ok(Arc::clone(playlist)) } else { Err(Error::BodiesDiffer) };
        }
        let playlist = Arc::new(Playlist::parse(&answer.text()?)?);
        let mut known = self.lock();
        known.durations.extend(playlist.parts.iter().map(|part| (part.place, part.duration)));
        if let Some(etag) = &answer.etag
            && !known.playlists.values.contains_key(etag)
        {
            known.different += 1;
            known.playlists.insert(etag.clone(), (answer.body.clone(), Arc::clone(&playlist)));
        }
        Ok(playlist)
    }

    /// Holds the body of what is immutable under `path` against what other viewers got.
    ///
    /// # Errors
    /// [`Error::Status`], [`Error::BodiesDiffer`].
    pub fn body(&self, path: &str, answer: &Answer) -> Result<(), Error> {
        if answer.status != 200 {
            return Err(Error::Status(answer.status));
        }
        let mut known = self.lock();
        match known.bodies.values.get(path) {
            Some(body) if *body != answer.body => Err(Error::BodiesDiffer),
            Some(_) => Ok(()),
            None => {
                known.different += 1;
                known.bodies.insert(path.to_owned(), answer.body.clone());
                Ok(())
            }
        }
    }

    /// Every part seen so far, with its length.
    pub fn durations(&self) -> BTreeMap<Place, Duration> {
        self.lock().durations.clone()
    }

    /// How many different playlists and parts all viewers got; each of them is what a cache asks an origin for once.
    pub fn different(&self) -> u64 {
        self.lock().different
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Whole after any panic: each insertion is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn answer(etag: &str, body: &'static str) -> Answer {
        let body = Bytes::from_static(body.as_bytes());
        Answer { status: 200, etag: Some(etag.to_owned()), is_gzip: false, body, first_byte: Instant::now() }
    }

    #[test]
    fn one_tag_one_body() {
        let versions = Versions::default();
        let one = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PART:DURATION=0.2,URI=\"1.0.m4s\"\n";
        let first = versions.playlist(&answer("\"a\"", one)).unwrap();
        assert!(Arc::ptr_eq(&first, &versions.playlist(&answer("\"a\"", one)).unwrap()), "read once");
        assert!(matches!(versions.playlist(&answer("\"a\"", "#EXTM3U\n")), Err(Error::BodiesDiffer)));
        assert!(versions.playlist(&answer("\"b\"", "#EXTM3U\n")).is_ok());
        assert_eq!(versions.durations().keys().collect::<Vec<_>>(), [&(1, 0)]);

        versions.body("/1.0.m4s", &answer("", "part")).unwrap();
        versions.body("/1.0.m4s", &answer("", "part")).unwrap();
        assert!(matches!(versions.body("/1.0.m4s", &answer("", "trap")), Err(Error::BodiesDiffer)));
        assert!(matches!(
            versions.body("/x", &Answer { status: 404, ..answer("", "") }),
            Err(Error::Status(404))
        ));
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let versions = Versions::default();
        for n in 0..=REMEMBERED_MAX {
            versions.body(&format!("/{n}"), &answer("", "a")).unwrap();
        }
        versions.body("/0", &answer("", "b")).unwrap();
        assert!(versions.body(&format!("/{REMEMBERED_MAX}"), &answer("", "b")).is_err());
    }
}
