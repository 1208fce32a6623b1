//! One version of a stream as readers get it: the snapshot, and its playlists rendered at most once each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use headwater_media::TrackKind;
use headwater_packager::Snapshot;
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

/// gzip level: above it, playlists of some hundred bytes to some kilobytes get no smaller.
const GZIP_LEVEL: u32 = 6;

/// Bytes of SHA-256 in an ETag: at 96 bits no two bodies of one URL ever meet by chance.
const ETAG_HASH_BYTES: usize = 12;

/// What is rendered of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The multivariant playlist of the MPEG-TS packaging.
    TsMultivariant,
    /// The media playlist of the MPEG-TS packaging.
    TsMedia,
    /// The multivariant playlist of the CMAF packaging.
    CmafMultivariant,
    /// The media playlist of a CMAF track.
    CmafMedia(TrackKind),
    /// The same as a delta update.
    CmafDelta(TrackKind),
    /// The MPD.
    Mpd,
    /// The MPD of low latency.
    LowLatencyMpd,
}

/// An MPD names a clock by an absolute URL, so it is rendered per host; a version keeps so many of both kinds together.
const MPDS_MAX: usize = 8;

/// An MPD as rendered for one clock's address; no body while nothing is listed.
#[derive(Debug)]
struct RenderedMpd {
    is_low_latency: bool,
    clock_url: Option<String>,
    body: Option<Arc<Body>>,
}

/// A snapshot with its rendered documents. Every response of this version shares the same bytes.
#[derive(Debug)]
pub struct Published {
    /// What the packager published.
    pub snapshot: Arc<Snapshot>,
    playlists: [OnceLock<Option<Arc<Body>>>; 7],
    mpds: Mutex<Vec<RenderedMpd>>,
    poster: OnceLock<Option<Arc<Body>>>,
}

/// A body that is rendered once per version: identity and, on first demand, gzip, each with its own strong ETag
/// (RFC 9110 8.8.3: codings differ in their validators).
#[derive(Debug)]
pub struct Body {
    plain: Bytes,
    etag: HeaderValue,
    gzip_etag: HeaderValue,
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
        let quoted =
            |text| HeaderValue::try_from(text).expect("hexadecimal digits in quotes are a header's value");
        let (etag, gzip_etag) = (quoted(format!("\"{tag}\"")), quoted(format!("\"{tag}-gz\"")));
        Body { plain, etag, gzip_etag, gzip: OnceLock::new() }
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
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// The strong ETag of [`Body::gzip`], quotes included.
    pub fn gzip_etag(&self) -> &HeaderValue {
        &self.gzip_etag
    }
}

impl Published {
    /// Wraps a snapshot; nothing is rendered yet.
    pub fn new(snapshot: Arc<Snapshot>) -> Published {
        Published { snapshot, playlists: Default::default(), mpds: Mutex::default(), poster: OnceLock::new() }
    }

    /// A document of this version; `None` while nothing is listed. `clock_url` is for the MPD alone.
    pub fn document(&self, document: Document, clock_url: Option<&str>) -> Option<Arc<Body>> {
        let snapshot = &self.snapshot;
        let (index, render): (usize, &dyn Fn() -> Option<Vec<u8>>) = match document {
            Document::TsMultivariant => (0, &|| snapshot.multivariant_playlist()),
            Document::TsMedia => (1, &|| snapshot.media_playlist()),
            Document::CmafMultivariant => (2, &|| snapshot.cmaf_multivariant_playlist()),
            Document::CmafMedia(TrackKind::Video) => (3, &|| snapshot.cmaf_media_playlist(TrackKind::Video)),
            Document::CmafMedia(TrackKind::Audio) => (4, &|| snapshot.cmaf_media_playlist(TrackKind::Audio)),
            Document::CmafDelta(TrackKind::Video) => (5, &|| snapshot.cmaf_delta_update(TrackKind::Video)),
            Document::CmafDelta(TrackKind::Audio) => (6, &|| snapshot.cmaf_delta_update(TrackKind::Audio)),
            Document::Mpd => return self.mpd(false, clock_url),
            Document::LowLatencyMpd => return self.mpd(true, clock_url),
        };
        self.playlists.get(index)?.get_or_init(|| render().map(|text| Arc::new(Body::new(text)))).clone()
    }

    /// The newest keyframe of this version as a file; `None` where it has no picture.
    pub fn poster(&self) -> Option<Arc<Body>> {
        self.poster.get_or_init(|| self.snapshot.poster().map(|file| Arc::new(Body::new(file)))).clone()
    }

    fn mpd(&self, is_low_latency: bool, clock_url: Option<&str>) -> Option<Arc<Body>> {
        let mut mpds = self.mpds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |rendered: &&RenderedMpd| {
            rendered.is_low_latency == is_low_latency && rendered.clock_url.as_deref() == clock_url
        };
        if let Some(rendered) = mpds.iter().find(is_it) {
            return rendered.body.clone();
        }
        let text = match is_low_latency {
            false => self.snapshot.mpd(clock_url),
            true => self.snapshot.low_latency_mpd(clock_url),
        };
        let body = text.map(|text| Arc::new(Body::new(text)));
        if mpds.len() < MPDS_MAX {
            let clock_url = clock_url.map(str::to_owned);
            mpds.push(RenderedMpd { is_low_latency, clock_url, body: body.clone() });
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use headwater_media::{AudioCodec, AudioConfig, MediaTime, Timescale, WallTime};
    use headwater_packager::{Bandwidth, State, Tracks, TsRendition, TsSegment};

    use super::*;

    fn segment(sequence: u64, discontinuity: bool, independent: bool) -> Arc<TsSegment> {
        let nth = i64::try_from(sequence).unwrap();
        Arc::new(TsSegment {
            sequence,
            start: MediaTime::new(nth * 96_000, Timescale::new(48_000).unwrap()),
            duration: MediaTime::new(96_256, Timescale::new(48_000).unwrap()),
            program_date_time: WallTime::from_unix_millis(nth * 2_000),
            discontinuity,
            independent,
            payload: Bytes::from_static(&[0x47; 188]),
        })
    }

    /// Sound only, a changed configuration in the middle.
    fn audio_only(state: State) -> Snapshot {
        let audio = AudioConfig {
            codec: AudioCodec::Mp3,
            record: Bytes::new(),
            codec_string: "mp4a.40.34".to_owned(),
            sample_rate: Timescale::new(48_000).unwrap(),
            output_sample_rate: 48_000,
            channels: 2,
            samples_per_frame: 1_152,
        };
        Snapshot {
            version: 9,
            state,
            tracks: Tracks { video: None, audio: Some(Arc::new(audio)) },
            // A number without a picture means nothing, and is not to be written.
            frame_rate_millihertz: Some(25_000),
            bandwidth: Some(Bandwidth { peak: 160_000, average: 140_000 }),
            published_at: WallTime::from_unix_millis(0),
            cmaf: None,
            date_ranges: Arc::default(),
            ts: Some(Arc::new(TsRendition {
                target_duration: 2,
                discontinuity_sequence: 5,
                listed: vec![segment(7, false, true), segment(8, true, true)],
                retained: vec![segment(6, false, true)],
                ..TsRendition::default()
            })),
        }
    }

    #[test]
    fn sound_only_with_a_discontinuity_and_an_end() {
        let published = Published::new(Arc::new(audio_only(State::Ended)));
        let text = |body: Option<&Body>| String::from_utf8(body.unwrap().plain().to_vec()).unwrap();
        assert_eq!(
            text(published.document(Document::TsMultivariant, None).as_deref()),
            "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=160000,AVERAGE-BANDWIDTH=140000,\
             CODECS=\"mp4a.40.34\"\nts/media.m3u8\n"
        );
        assert_eq!(
            text(published.document(Document::TsMedia, None).as_deref()),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:5\n\
             #EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:14.000Z\n#EXTINF:2.005333,\n7.ts\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:16.000Z\n#EXTINF:2.005333,\n8.ts\n\
             #EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn a_segment_cut_between_keyframes_takes_the_promise_away() {
        let mut snapshot = audio_only(State::Live);
        if let Some(ts) = &mut snapshot.ts {
            Arc::make_mut(ts).listed = vec![segment(7, false, true), segment(8, false, false)];
        }
        let published = Published::new(Arc::new(snapshot));
        for body in [
            published.document(Document::TsMedia, None).as_deref(),
            published.document(Document::TsMultivariant, None).as_deref(),
        ] {
            let text = String::from_utf8(body.unwrap().plain().to_vec()).unwrap();
            assert!(!text.contains("INDEPENDENT") && !text.contains("ENDLIST"), "{text}");
        }
    }

    #[test]
    fn nothing_to_list() {
        for ts in [None, Some(Arc::new(TsRendition::default()))] {
            let published = Published::new(Arc::new(Snapshot { ts, ..audio_only(State::Live) }));
            assert!(
                published.document(Document::TsMedia, None).as_deref().is_none()
                    && published.document(Document::TsMultivariant, None).as_deref().is_none()
            );
        }
    }

    #[test]
    fn a_body_s_tags_follow_from_its_bytes() {
        let (a, again, b) = (Body::new("a"), Body::new("a"), Body::new("b"));
        // The first 12 bytes of SHA-256 of "a".
        assert_eq!(a.etag(), "\"ca978112ca1bbdcafac231b3\"");
        assert_eq!(a.gzip_etag(), "\"ca978112ca1bbdcafac231b3-gz\"");
        assert_eq!((a.etag(), a.gzip()), (again.etag(), again.gzip()));
        assert_ne!(a.etag(), b.etag());
        let mut plain = String::new();
        GzDecoder::new(a.gzip().as_ref()).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, "a");
    }
}
