//! An FLV file's tags, to be repeated for ever.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{FlvReader, Tag, TagKind};

use crate::Error;

/// A clip in memory.
#[derive(Debug, Clone)]
pub struct Clip {
    /// In the order of the file; times begin with 0.
    pub tags: Vec<Tag>,
    /// From its first picture to the first picture of the next turn.
    pub length_ms: u64,
    /// Coded pictures.
    pub frames: usize,
}

impl Clip {
    /// Reads an FLV file.
    ///
    /// # Errors
    /// [`Error::Clip`] when it can't be read, or holds no media.
    pub fn open(path: &Path) -> Result<Clip, Error> {
        let failed = |reason: String| Error::Clip { file: path.display().to_string(), reason };
        let file = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        Clip::parse(Bytes::from(file)).map_err(failed)
    }

    fn parse(file: Bytes) -> Result<Clip, String> {
        let reader = FlvReader::new(file).map_err(|error| error.to_string())?;
        let mut tags = reader.collect::<Result<Vec<Tag>, _>>().map_err(|error| error.to_string())?;
        // The file's metadata says nothing that its media doesn't.
        tags.retain(|tag| tag.kind != TagKind::Data);
        let first_ms = tags.iter().map(|tag| tag.timestamp_ms).min().ok_or("no media in it")?;
        tags.iter_mut().for_each(|tag| tag.timestamp_ms -= first_ms);
        let frames = tags.iter().filter(|tag| is_picture(tag)).count();
        let mut stamps: Vec<u32> = if frames > 1 {
            tags.iter().filter(|tag| is_picture(tag)).map(|tag| tag.timestamp_ms).collect()
        } else {
            tags.iter().map(|tag| tag.timestamp_ms).collect()
        };
        stamps.dedup();
        let (Some(first), Some(last)) = (stamps.first(), stamps.last()) else {
            return Err("no media in it".to_owned());
        };
        // The last one lasts as long as the others do on average.
        let intervals = u64::try_from(stamps.len()).unwrap_or(2).saturating_sub(1).max(1);
        let span = u64::from(last.saturating_sub(*first));
        let length_ms = span + (span + intervals / 2) / intervals;
        if length_ms == 0 {
            Err("it has no duration".to_owned())
        } else {
            Ok(Clip { tags, length_ms, frames })
        }
    }

    /// Its tags, over and over, with the time of each since the first.
    pub fn for_ever(&self) -> impl Iterator<Item = (&Tag, u64)> {
        (0..).flat_map(move |turn: u64| {
            self.tags.iter().map(move |tag| (tag, turn * self.length_ms + u64::from(tag.timestamp_ms)))
        })
    }

    /// How long a picture lasts on average; `None` without pictures.
    pub fn frame_duration(&self) -> Option<Duration> {
        let frames = u32::try_from(self.frames).ok().filter(|frames| *frames > 1)?;
        Some(Duration::from_millis(self.length_ms) / frames)
    }
}

/// Whether a tag is a coded picture, and no configuration.
pub fn is_picture(tag: &Tag) -> bool {
    let (first, second) = (tag.body.first().copied().unwrap_or(0), tag.body.get(1).copied().unwrap_or(0));
    tag.kind == TagKind::Video
        && if first & 0x80 == 0 {
            // Of AVC, packet type 1 is NAL units (FLV E.4.3.1).
            first & 0x0F != 7 || second == 1
        } else {
            // Enhanced RTMP: CodedFrames and CodedFramesX.
            matches!(first & 0x0F, 1 | 3)
        }
}

/// Whether a tag is a picture that can be decoded alone.
pub fn is_keyframe(tag: &Tag) -> bool {
    // The frame type is in the same bits whether the tag is enhanced or not (FLV E.4.3.1).
    is_picture(tag) && tag.body.first().is_some_and(|first| first >> 4 & 7 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_clips() {
        for (name, length_ms, frames, frame_us) in
            [("clip", 16_000, 480, 33_333), ("plain", 8_000, 200, 40_000)]
        {
            let path = format!("{}/../../sample-media/{name}.flv", env!("CARGO_MANIFEST_DIR"));
            let clip = Clip::open(Path::new(&path)).unwrap();
            let found =
                (clip.length_ms, clip.frames, clip.frame_duration().map(|duration| duration.as_micros()));
            assert_eq!(found, (length_ms, frames, Some(frame_us)), "{name}");
            assert_eq!(clip.tags.first().unwrap().timestamp_ms, 0);
            let keyframes: Vec<u32> =
                clip.tags.iter().filter(|tag| is_keyframe(tag)).map(|tag| tag.timestamp_ms).collect();
            assert_eq!(keyframes.get(..3), Some(&[0, 2_000, 4_000][..]), "{name}");
        }
    }

    #[test]
    fn what_is_no_clip() {
        for path in ["Cargo.toml", "no-such-file"] {
            let error = Clip::open(Path::new(path)).unwrap_err().to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }
}
