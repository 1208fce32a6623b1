//! FLV without an end: tag by tag, from the newest keyframe on.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use headwater_flv::{Tag, TagKind};

use super::viewer::Viewer;
use crate::Error;
use crate::client::Client;
use crate::clip::is_picture;

/// The file's header and the size of no tag before the first (FLV E.2, E.3).
const FILE_HEADER_BYTES: usize = 9 + 4;

/// A tag's header, and its size once more behind it (FLV E.4.1).
const TAG_HEADER_BYTES: usize = 11;
const TAG_TRAILER_BYTES: usize = 4;

/// Players keep at least so much before they show anything; mpegts.js with its buffer for live streams off.
const START_LEVEL: Duration = Duration::from_millis(200);

/// Takes the file's header; false if it is not there yet.
fn take_header(input: &mut BytesMut) -> Result<bool, Error> {
    let Some(header) = input.get(..FILE_HEADER_BYTES) else { return Ok(false) };
    if !header.starts_with(b"FLV\x01") {
        return Err(Error::Playlist("it is no FLV".to_owned()));
    }
    input.advance(FILE_HEADER_BYTES);
    Ok(true)
}

/// Takes the next whole tag.
fn take_tag(input: &mut BytesMut) -> Option<Tag> {
    let header = input.first_chunk::<TAG_HEADER_BYTES>()?;
    let [kind, s2, s1, s0, t2, t1, t0, t3, ..] = *header;
    let size = usize::try_from(u32::from_be_bytes([0, s2, s1, s0])).ok()?;
    if input.len() < TAG_HEADER_BYTES + size + TAG_TRAILER_BYTES {
        return None;
    }
    input.advance(TAG_HEADER_BYTES);
    let body: Bytes = input.split_to(size).freeze();
    input.advance(TAG_TRAILER_BYTES);
    let kind = match kind {
        8 => TagKind::Audio,
        9 => TagKind::Video,
        _ => TagKind::Data,
    };
    Some(Tag { kind, timestamp_ms: u32::from_be_bytes([t3, t2, t1, t0]), body })
}

/// Reads until the stream ends.
pub(crate) async fn follow(viewer: &Viewer<'_>) -> Result<(), Error> {
    viewer.begin(1, START_LEVEL);
    let began = tokio::time::Instant::now();
    let client = Client::connect(&viewer.address, viewer.source).await?;
    let mut live = client.open(&viewer.address.path).await?;
    viewer.note_request();
    let (mut input, mut has_header, mut last_ms) = (BytesMut::new(), false, None::<u32>);
    loop {
        let before = input.len();
        if !live.read(&mut input).await? {
            return Ok(());
        }
        viewer.note_bytes(input.len().saturating_sub(before));
        has_header = has_header || take_header(&mut input)?;
        while has_header && let Some(tag) = take_tag(&mut input) {
            if !is_picture(&tag) {
                continue;
            }
            match last_ms {
                None => viewer.note_first_frame(began.elapsed()),
                // A picture lasts until the next one.
                Some(last_ms) => viewer
                    .arrived(0, Duration::from_millis(u64::from(tag.timestamp_ms.saturating_sub(last_ms)))),
            }
            // What was there before the viewer came is as late as the viewer.
            if last_ms.is_some() {
                viewer.note_frame(tag.timestamp_ms, began);
            }
            last_ms = Some(tag.timestamp_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_byte_by_byte() {
        let mut file = Vec::new();
        headwater_flv::write_header(&mut file, true, true);
        let tags = [
            (TagKind::Video, 0, &[0x17, 1, 0, 0, 0, 9][..]),
            (TagKind::Audio, 3, &[0xAF, 1, 2]),
            (TagKind::Video, 0x0102_0304, &[0x27, 1, 0, 0, 0]),
        ];
        for (kind, timestamp_ms, body) in tags {
            headwater_flv::write_tag(&mut file, kind, timestamp_ms, body).unwrap();
        }
        let (mut input, mut has_header, mut found) = (BytesMut::new(), false, Vec::new());
        for byte in file {
            input.extend_from_slice(&[byte]);
            has_header = has_header || take_header(&mut input).unwrap();
            while has_header && let Some(tag) = take_tag(&mut input) {
                found.push(tag);
            }
        }
        assert!(input.is_empty());
        let found: Vec<_> = found.iter().map(|tag| (tag.kind, tag.timestamp_ms, tag.body.as_ref())).collect();
        assert_eq!(found, tags);
    }

    #[test]
    fn what_is_no_flv() {
        let mut input = BytesMut::from(&b"<!doctype html>"[..]);
        assert!(take_header(&mut input).is_err());
    }
}
