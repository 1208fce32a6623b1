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
