//! The multivariant playlist: which renditions there are, and what a player must know to choose one.

use std::num::NonZeroU64;

use super::RenderError;
use super::text::{QuotedString, Uri, push, push_frame_rate, push_u64};

/// VIDEO-RANGE: the transfer function of a variant's pictures (8216bis 4.4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoRange {
    /// Standard dynamic range.
    Sdr,
    /// ARIB STD-B67, hybrid log-gamma.
    Hlg,
    /// SMPTE ST 2084, perceptual quantizer.
    Pq,
}

/// EXT-X-STREAM-INF and its URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// BANDWIDTH: peak segment bit rate in bit/s, container and largest audio rendition included; constant for a stream.
    pub bandwidth: NonZeroU64,
    /// AVERAGE-BANDWIDTH in bit/s.
    pub average_bandwidth: Option<NonZeroU64>,
    /// CODECS: RFC 6381 strings of every rendition in it, separated by commas.
    pub codecs: QuotedString,
    /// RESOLUTION: width and height in pixels; `None` for audio only.
    pub resolution: Option<(u32, u32)>,
    /// FRAME-RATE: frames per second as (numerator, denominator); not written when a part is 0.
    pub frame_rate: Option<(u32, u32)>,
    /// VIDEO-RANGE; may be left out while every variant is SDR.
    pub video_range: Option<VideoRange>,
    /// AUDIO: the group of audio renditions that play with it.
    pub audio: Option<QuotedString>,
    /// CLOSED-CAPTIONS=NONE: the pictures carry no captions. Video variants of one playlist must agree on it.
    pub no_closed_captions: bool,
    /// The media playlist, relative to this one.
    pub uri: Uri,
}

/// EXT-X-MEDIA of TYPE=AUDIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioRendition {
    /// GROUP-ID that variants refer to.
    pub group_id: QuotedString,
    /// NAME, unique in the group.
    pub name: QuotedString,
    /// LANGUAGE, an RFC 5646 tag.
    pub language: Option<QuotedString>,
    /// DEFAULT=YES, which implies AUTOSELECT=YES: the one to play when the user has no wish.
    pub default: bool,
    /// AUTOSELECT=YES: may be chosen by the user's language. Written for a default rendition in any case.
    pub autoselect: bool,
    /// CHANNELS: how many.
    pub channels: Option<u8>,
    /// The media playlist; `None` when the variant's own media carries this rendition.
    pub uri: Option<Uri>,
}

/// A multivariant playlist. The first variant is what players start with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultivariantPlaylist {
    /// EXT-X-INDEPENDENT-SEGMENTS: every segment of every variant starts with an IDR.
    pub independent_segments: bool,
    /// The audio groups' members.
    pub audio: Vec<AudioRendition>,
    /// The variants.
    pub variants: Vec<Variant>,
}

/// A line of either kind with its longest numbers, without its strings: an estimate for the one allocation.
const LINE_BYTES: usize = 320;

impl MultivariantPlaylist {
    /// The playlist's text, UTF-8.
    ///
    /// EXT-X-VERSION is left out: no tag written here asks for one (8216bis 8).
    ///
    /// # Errors
    /// [`RenderError::NoVariants`] when there is nothing to play.
    pub fn render(&self) -> Result<Vec<u8>, RenderError> {
        if self.variants.is_empty() {
            return Err(RenderError::NoVariants);
        }
        let mut out = Vec::with_capacity(64 + LINE_BYTES * (self.variants.len() + self.audio.len()));
        push(&mut out, "#EXTM3U\n");
        if self.independent_segments {
            push(&mut out, "#EXT-X-INDEPENDENT-SEGMENTS\n");
        }
        for rendition in &self.audio {
            rendition.push(&mut out);
        }
        for variant in &self.variants {
            variant.push(&mut out);
        }
        Ok(out)
    }
}

impl AudioRendition {
    fn push(&self, out: &mut Vec<u8>) {
        push(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"");
        push(out, self.group_id.as_str());
        push(out, "\",NAME=\"");
        push(out, self.name.as_str());
        out.push(b'"');
        if let Some(language) = &self.language {
            push(out, ",LANGUAGE=\"");
            push(out, language.as_str());
            out.push(b'"');
        }
        if self.default {
            push(out, ",DEFAULT=YES");
        }
        if self.default || self.autoselect {
            push(out, ",AUTOSELECT=YES");
        }
        if let Some(channels) = self.channels {
            push(out, ",CHANNELS=\"");
            push_u64(out, u64::from(channels));
            out.push(b'"');
        }
        if let Some(uri) = &self.uri {
            push(out, ",URI=\"");
            push(out, uri.as_str());
            out.push(b'"');
        }
        out.push(b'\n');
    }
}

impl Variant {
    fn push(&self, out: &mut Vec<u8>) {
        push(out, "#EXT-X-STREAM-INF:BANDWIDTH=");
        push_u64(out, self.bandwidth.get());
        if let Some(average) = self.average_bandwidth {
            push(out, ",AVERAGE-BANDWIDTH=");
            push_u64(out, average.get());
        }
        push(out, ",CODECS=\"");
        push(out, self.codecs.as_str());
        out.push(b'"');
        if let Some((width, height)) = self.resolution {
            push(out, ",RESOLUTION=");
            push_u64(out, u64::from(width));
            out.push(b'x');
            push_u64(out, u64::from(height));
        }
        if let Some((numerator, denominator)) = self.frame_rate.filter(|(n, d)| *n > 0 && *d > 0) {
            push(out, ",FRAME-RATE=");
            push_frame_rate(out, numerator, denominator);
        }
        if let Some(range) = self.video_range {
            push(
                out,
                match range {
                    VideoRange::Sdr => ",VIDEO-RANGE=SDR",
                    VideoRange::Hlg => ",VIDEO-RANGE=HLG",
                    VideoRange::Pq => ",VIDEO-RANGE=PQ",
                },
            );
        }
        if let Some(group) = &self.audio {
            push(out, ",AUDIO=\"");
            push(out, group.as_str());
            out.push(b'"');
        }
        if self.no_closed_captions {
            push(out, ",CLOSED-CAPTIONS=NONE");
        }
        out.push(b'\n');
        push(out, self.uri.as_str());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use m3u8_rs::{AlternativeMediaType, ClosedCaptionGroupId};

    use super::*;
    use crate::hls::check::Checker;

    fn quoted(text: &str) -> QuotedString {
        QuotedString::new(text).unwrap()
    }

    fn uri(text: &str) -> Uri {
        Uri::new(text).unwrap()
    }

    fn full() -> MultivariantPlaylist {
        let rendition = |name: &str, language: &str, default| AudioRendition {
            group_id: quoted("stereo"),
            name: quoted(name),
            language: Some(quoted(language)),
            default,
            autoselect: true,
            channels: Some(2),
            uri: Some(uri(&format!("audio-{language}/index.m3u8"))),
        };
        let variant = |bandwidth, height, rate, path: &str| Variant {
            bandwidth: NonZeroU64::new(bandwidth).unwrap(),
            average_bandwidth: NonZeroU64::new(bandwidth / 2),
            codecs: quoted("avc1.64001f,mp4a.40.2"),
            resolution: Some((height * 16 / 9, height)),
            frame_rate: Some(rate),
            video_range: Some(VideoRange::Sdr),
            audio: Some(quoted("stereo")),
            no_closed_captions: true,
            uri: uri(path),
        };
        MultivariantPlaylist {
            independent_segments: true,
            audio: vec![rendition("English", "en", true), rendition("Fran\u{e7}ais", "fr", false)],
            variants: vec![
                variant(2_000_000, 720, (30_000, 1_001), "720/index.m3u8"),
                variant(6_000_000, 1_080, (50, 1), "1080/index.m3u8"),
            ],
        }
    }

    fn rendered(playlist: &MultivariantPlaylist) -> String {
        String::from_utf8(playlist.render().unwrap()).unwrap()
    }

    #[test]
    fn muxed_byte_for_byte() {
        let playlist = MultivariantPlaylist {
            independent_segments: true,
            audio: Vec::new(),
            variants: vec![Variant { audio: None, video_range: None, ..full().variants.swap_remove(0) }],
        };
        assert_eq!(
            rendered(&playlist),
            "#EXTM3U\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1000000,CODECS=\"avc1.64001f,mp4a.40.2\",\
             RESOLUTION=1280x720,FRAME-RATE=29.970,CLOSED-CAPTIONS=NONE\n\
             720/index.m3u8\n"
        );
    }

    #[test]
    fn audio_groups_byte_for_byte() {
        let text = rendered(&full());
        let expected = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"stereo\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,\
             AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio-en/index.m3u8\"\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"stereo\",NAME=\"Fran\u{e7}ais\",LANGUAGE=\"fr\",AUTOSELECT=YES,\
             CHANNELS=\"2\",URI=\"audio-fr/index.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1000000,CODECS=\"avc1.64001f,mp4a.40.2\",\
             RESOLUTION=1280x720,FRAME-RATE=29.970,VIDEO-RANGE=SDR,AUDIO=\"stereo\",CLOSED-CAPTIONS=NONE\n\
             720/index.m3u8\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn audio_only_has_no_attributes_of_pictures() {
        let playlist = MultivariantPlaylist {
            independent_segments: false,
            audio: Vec::new(),
            variants: vec![Variant {
                bandwidth: NonZeroU64::new(64_000).unwrap(),
                average_bandwidth: None,
                codecs: quoted("mp4a.40.2"),
                resolution: None,
                frame_rate: Some((0, 0)),
                video_range: None,
                audio: None,
                no_closed_captions: false,
                uri: uri("a.m3u8"),
            }],
        };
        assert_eq!(
            rendered(&playlist),
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"\na.m3u8\n"
        );
    }

    #[test]
    fn a_default_rendition_is_selected_automatically() {
        let mut playlist = full();
        for rendition in &mut playlist.audio {
            rendition.autoselect = false;
        }
        let text = rendered(&playlist);
        assert_eq!(text.matches(",DEFAULT=YES,AUTOSELECT=YES,").count(), 1, "{text}");
        assert_eq!(text.matches("AUTOSELECT").count(), 1, "{text}");
    }

    #[test]
    fn nothing_to_play_is_refused() {
        assert_eq!(MultivariantPlaylist::default().render(), Err(RenderError::NoVariants));
    }

    #[test]
    fn the_checker_finds_nothing() {
        let found = Checker::new("index.m3u8").observe(&rendered(&full()), 0);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn m3u8_rs_reads_it_back() {
        let playlist = full();
        let text = rendered(&playlist);
        let (rest, read) = m3u8_rs::parse_master_playlist(text.as_bytes()).expect("m3u8-rs reads it");
        assert!(rest.is_empty());
        assert!(read.independent_segments);
        assert_eq!(read.version, None);
        for (read, wrote) in read.variants.iter().zip(&playlist.variants) {
            assert_eq!(read.uri, wrote.uri.as_str());
            assert_eq!(read.bandwidth, wrote.bandwidth.get());
            assert_eq!(read.average_bandwidth, wrote.average_bandwidth.map(NonZeroU64::get));
            assert_eq!(read.codecs.as_deref(), Some(wrote.codecs.as_str()));
            let resolution = read.resolution.map(|r| (r.width, r.height));
            assert_eq!(resolution, wrote.resolution.map(|(w, h)| (w.into(), h.into())));
            let (numerator, denominator) = wrote.frame_rate.unwrap();
            let rate = f64::from(numerator) / f64::from(denominator);
            assert!((read.frame_rate.unwrap() - rate).abs() < 0.000_5);
            assert_eq!(read.audio.as_deref(), wrote.audio.as_ref().map(QuotedString::as_str));
            assert_eq!(read.closed_captions, Some(ClosedCaptionGroupId::None));
        }
        assert_eq!(read.variants.len(), playlist.variants.len());
        for (read, wrote) in read.alternatives.iter().zip(&playlist.audio) {
            assert_eq!(read.media_type, AlternativeMediaType::Audio);
            assert_eq!(read.group_id, wrote.group_id.as_str());
            assert_eq!(read.name, wrote.name.as_str());
            assert_eq!(read.language.as_deref(), wrote.language.as_ref().map(QuotedString::as_str));
            assert_eq!(read.default, wrote.default);
            assert!(read.autoselect);
            assert_eq!(read.channels.as_deref(), Some("2"));
            assert_eq!(read.uri.as_deref(), wrote.uri.as_ref().map(Uri::as_str));
        }
        assert_eq!(read.alternatives.len(), playlist.audio.len());
    }
}
