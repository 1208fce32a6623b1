//! One version of a stream as readers get it: the snapshot, and its playlists rendered at most once each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use headwater_packager::Snapshot;
use sha2::{Digest, Sha256};

/// gzip level: above it, playlists of some hundred bytes to some kilobytes get no smaller.
const GZIP_LEVEL: u32 = 6;

/// Bytes of SHA-256 in an ETag: at 96 bits no two bodies of one URL ever meet by chance.
const ETAG_HASH_BYTES: usize = 12;

/// A snapshot with its rendered playlists. Every response of this version shares the same bytes.
#[derive(Debug)]
pub struct Published {
    /// What the packager published.
    pub snapshot: Arc<Snapshot>,
    media: OnceLock<Option<Body>>,
    multivariant: OnceLock<Option<Body>>,
}

/// A body that is rendered once per version: identity and, on first demand, gzip, each with its own strong ETag
/// (RFC 9110 8.8.3: codings differ in their validators).
#[derive(Debug)]
pub struct Body {
    plain: Bytes,
    tag: String,
    gzip: OnceLock<Bytes>,
}

impl Body {
    /// A body of these bytes. The ETag is their hash, so equal bytes have equal tags on every node and after every restart.
    pub fn new(plain: impl Into<Bytes>) -> Body {
        let plain = plain.into();
        let mut tag = String::with_capacity(2 * ETAG_HASH_BYTES);
        for byte in Sha256::digest(&plain).iter().take(ETAG_HASH_BYTES) {
            // Writing to a String does not fail.
            let _ = write!(tag, "{byte:02x}");
        }
        Body { plain, tag, gzip: OnceLock::new() }
    }

    /// The bytes themselves.
    pub fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The bytes in gzip (RFC 1952), compressed on first demand.
    pub fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder =
                GzEncoder::new(Vec::with_capacity(self.plain.len() / 2), Compression::new(GZIP_LEVEL));
            // Writing to a Vec does not fail; should that change, an empty body must not pass for a playlist.
            match encoder.write_all(&self.plain).and_then(|()| encoder.finish()) {
                Ok(bytes) => Bytes::from(bytes),
                Err(error) => unreachable!("compressing into memory failed: {error}"),
            }
        })
    }

    /// The strong ETag of [`Body::plain`], quotes included.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.tag)
    }

    /// The strong ETag of [`Body::gzip`], quotes included.
    pub fn gzip_etag(&self) -> String {
        format!("\"{}-gz\"", self.tag)
    }
}

impl Published {
    /// Wraps a snapshot; nothing is rendered yet.
    pub fn new(snapshot: Arc<Snapshot>) -> Published {
        Published { snapshot, media: OnceLock::new(), multivariant: OnceLock::new() }
    }

    /// The media playlist of the MPEG-TS rendition; `None` while nothing is listed.
    pub fn media_playlist(&self) -> Option<&Body> {
        self.media.get_or_init(|| self.snapshot.media_playlist().map(Body::new)).as_ref()
    }

    /// The multivariant playlist of the MPEG-TS packaging; `None` while nothing is listed.
    pub fn multivariant_playlist(&self) -> Option<&Body> {
        self.multivariant.get_or_init(|| self.snapshot.multivariant_playlist().map(Body::new)).as_ref()
    }
}
