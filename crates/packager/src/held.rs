//! Bytes of which can be told, without holding them, whether anybody still does.
//!
//! A segment that has left the window lives on in the responses that are sending it. Nothing is paid for that knowledge where
//! bytes are handed out: a response clones `Bytes` as ever, and only who counts looks at the token beside them.

use std::sync::{Arc, Weak};

use bytes::Bytes;

/// A finished buffer may waste this part of its length before it is given a smaller place: a quarter.
const SPARE_PART: usize = 4;

/// A segment's bytes, and a token that lives as long as any of them is held.
#[derive(Debug)]
struct Tracked {
    bytes: Vec<u8>,
    _token: Arc<()>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Tells whether bytes are held by anybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alive(Weak<()>);

impl Alive {
    /// True while any slice of the bytes exists.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// What the buffers of one segment have in common: whether any of them is held.
#[derive(Debug, Default)]
pub(crate) struct Token(Arc<()>);

impl Token {
    /// One more buffer of the segment as immutable bytes.
    pub(crate) fn track(&self, mut bytes: Vec<u8>) -> Bytes {
        if bytes.capacity() - bytes.len() > bytes.len() / SPARE_PART {
            // The length is what counts against the budget, so it has to be what is held.
            bytes.shrink_to_fit();
        }
        Bytes::from_owner(Tracked { bytes, _token: Arc::clone(&self.0) })
    }

    /// No buffer will follow: from here on the segment is held by who holds its bytes.
    pub(crate) fn alive(self) -> Alive {
        Alive(Arc::downgrade(&self.0))
    }
}

/// The buffer as immutable bytes.
pub(crate) fn tracked(bytes: Vec<u8>) -> (Bytes, Alive) {
    let token = Token::default();
    (token.track(bytes), token.alive())
}

/// What has left a window and may still be held: by the version before, for a moment, or by slow readers.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    segments: Vec<(u64, u64, Alive)>,
    /// At least what is held: readers let go without telling.
    bytes_max: u64,
}

impl Departed {
    /// A segment of that number and size has left.
    pub(crate) fn push(&mut self, sequence: u64, size_bytes: u64, alive: Alive) {
        self.bytes_max = self.bytes_max.saturating_add(size_bytes);
        self.segments.push((sequence, size_bytes, alive));
    }

    /// At least what is held, without looking.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Looks: forgets what nobody holds any more.
    pub(crate) fn sweep(&mut self) {
        self.segments.retain(|(_, _, alive)| alive.is_alive());
        self.bytes_max = self.segments.iter().map(|(_, size_bytes, _)| size_bytes).sum();
    }

    /// Number and size of what was held at the last look.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (u64, u64)> {
        self.segments.iter().map(|(sequence, size_bytes, _)| (*sequence, *size_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_keeps_its_segment_alive_and_the_count_does_not() {
        let (bytes, alive) = tracked(vec![7; 1_000]);
        let slice = bytes.slice(10..20);
        let mut departed = Departed::default();
        departed.push(5, 1_000, alive.clone());
        drop(bytes);
        departed.sweep();
        assert_eq!(departed.segments().collect::<Vec<_>>(), [(5, 1_000)]);
        drop(slice);
        assert!(!alive.is_alive());
        assert_eq!(departed.bytes_max(), 1_000, "nobody looked");
        departed.sweep();
        assert_eq!((departed.bytes_max(), departed.segments().count()), (0, 0));
    }

    #[test]
    fn what_counts_is_what_is_held() {
        let mut buffer = Vec::with_capacity(10_000);
        buffer.extend_from_slice(&[1; 1_000]);
        let (bytes, _) = tracked(buffer);
        assert_eq!(bytes, [1; 1_000][..]);
        // A tenth more than needed is not worth moving the bytes.
        let mut buffer = Vec::with_capacity(1_100);
        buffer.extend_from_slice(&[1; 1_000]);
        let stays = buffer.as_ptr();
        assert_eq!(tracked(buffer).0.as_ptr(), stays);
    }
}
