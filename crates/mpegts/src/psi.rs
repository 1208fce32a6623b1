//! Program association and program map tables: one section each, one packet each, made once per configuration.

use headwater_codec::crc32;

use crate::packet::{BODY_SIZE, Pid};

/// One program per transport stream (RFC 8216 3.2); its number and the stream's are arbitrary and constant.
const PROGRAM_NUMBER: u16 = 1;
const TRANSPORT_STREAM_ID: u16 = 1;

/// Where the program map is; the same PIDs as ffmpeg's muxer, which every player has seen.
const PID_PROGRAM_MAP: u16 = 0x1000;

/// What the program map says of one elementary stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) stream_type: u8,
    pub(crate) pid: u16,
    /// Descriptors of the stream (H.222.0 2.6), and those that it asks of its program.
    pub(crate) descriptors: &'static [u8],
    pub(crate) program_descriptors: &'static [u8],
}

impl Stream {
    /// One that needs no descriptor, as those of pictures and sound.
    pub(crate) const fn plain(stream_type: u8, pid: u16) -> Stream {
        Stream { stream_type, pid, descriptors: &[], program_descriptors: &[] }
    }
}

/// Both tables, ready to be written, with their counters and the map's version.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    association_pid: Pid,
    map_pid: Pid,
    association: [u8; BODY_SIZE],
    map: [u8; BODY_SIZE],
    map_version: u8,
}

impl Tables {
    /// Tables of version 0 for these streams; the first one carries the clock.
    pub(crate) fn new(streams: &[Stream]) -> Tables {
        Tables {
            association_pid: Pid::new(0),
            map_pid: Pid::new(PID_PROGRAM_MAP),
            association: packet_body(&association_section()),
            map: packet_body(&map_section(streams, 0)),
            map_version: 0,
        }
    }

    /// Another set of streams: the map's version moves on modulo 32 (H.222.0 2.4.4.9).
    pub(crate) fn replace(&mut self, streams: &[Stream]) {
        self.map_version = (self.map_version + 1) & 0x1f;
        self.map = packet_body(&map_section(streams, self.map_version));
    }

    /// As [`Pid::go_on_behind`].
    pub(crate) fn go_on_behind(&mut self, packet: &[u8]) {
        self.association_pid.go_on_behind(packet);
        self.map_pid.go_on_behind(packet);
    }

    /// Two packets: PAT, PMT.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        self.association_pid.write_section(out, &self.association);
        self.map_pid.write_section(out, &self.map);
    }
}

/// H.222.0 2.4.4.3.
fn association_section() -> Vec<u8> {
    let mut body = Vec::with_capacity(12);
    body.extend_from_slice(&PROGRAM_NUMBER.to_be_bytes());
    body.extend_from_slice(&(0xe000 | PID_PROGRAM_MAP).to_be_bytes());
    section(0x00, TRANSPORT_STREAM_ID, 0, &body)
}

/// H.222.0 2.4.4.8.
fn map_section(streams: &[Stream], version: u8) -> Vec<u8> {
    // PCR_PID: the first stream listed, which is video where there is any. 0x1fff, "no clock", is never right here.
    let pcr_pid = streams.first().map_or(0x1fff, |stream| stream.pid);
    let mut body = Vec::with_capacity(4 + 5 * streams.len());
    body.extend_from_slice(&(0xe000 | pcr_pid).to_be_bytes());
    push_descriptors(&mut body, streams.iter().map(|stream| stream.program_descriptors));
    for stream in streams {
        body.push(stream.stream_type);
        body.extend_from_slice(&(0xe000 | stream.pid).to_be_bytes());
        push_descriptors(&mut body, std::iter::once(stream.descriptors));
    }
    section(0x02, PROGRAM_NUMBER, version, &body)
}

/// A loop of descriptors behind its length in 12 bits.
fn push_descriptors<'a>(body: &mut Vec<u8>, descriptors: impl Iterator<Item = &'a [u8]> + Clone) {
    let length = descriptors.clone().map(<[u8]>::len).sum::<usize>();
    body.extend_from_slice(&(0xf000 | u16::try_from(length).unwrap_or(0)).to_be_bytes());
    descriptors.for_each(|descriptor| body.extend_from_slice(descriptor));
}

/// A section of the long form: header, one of one, body, CRC.
fn section(table_id: u8, table_id_extension: u16, version: u8, body: &[u8]) -> Vec<u8> {
    // section_length counts from after itself to the CRC inclusive.
    let length = u16::try_from(body.len() + 9).unwrap_or(0);
    let mut section = Vec::with_capacity(body.len() + 12);
    section.push(table_id);
    section.extend_from_slice(&(0xb000 | length).to_be_bytes());
    section.extend_from_slice(&table_id_extension.to_be_bytes());
    section.extend_from_slice(&[0xc1 | version << 1, 0, 0]);
    section.extend_from_slice(body);
    let crc = crc32::mpeg2(&section);
    section.extend_from_slice(&crc.to_be_bytes());
    section
}

/// pointer_field 0, the section, and 0xff to the packet's end: sections may be stuffed after the payload.
fn packet_body(section: &[u8]) -> [u8; BODY_SIZE] {
    let mut body = [0xff; BODY_SIZE];
    let bytes = std::iter::once(&0).chain(section);
    debug_assert!(section.len() < BODY_SIZE, "four streams fill 78 bytes");
    for (place, byte) in body.iter_mut().zip(bytes) {
        *place = *byte;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn association_is_the_reference_one() {
        // As ffmpeg's muxer writes it for the same program and PID.
        assert_eq!(
            association_section(),
            [0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0, 0, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2]
        );
    }

    #[test]
    fn map_byte_by_byte() {
        let streams = [Stream::plain(0x1b, 0x100), Stream::plain(0x0f, 0x101)];
        let section = map_section(&streams, 3);
        let (content, _crc) = section.split_at(section.len() - 4);
        assert_eq!(
            content,
            [
                0x02, 0xb0, 0x17, 0x00, 0x01, 0xc7, 0, 0, 0xe1, 0x00, 0xf0, 0x00, 0x1b, 0xe1, 0x00, 0xf0,
                0x00, 0x0f, 0xe1, 0x01, 0xf0, 0x00
            ]
        );
        // The CRC over a section with its CRC is 0.
        assert_eq!(crc32::mpeg2(&section), 0);
    }

    #[test]
    fn version_counts_modulo_32() {
        let streams = [Stream::plain(0x0f, 0x101)];
        let mut tables = Tables::new(&streams);
        let mut versions = Vec::new();
        for _ in 0..33 {
            versions.push(tables.map.get(6).copied().unwrap_or(0) >> 1 & 0x1f);
            tables.replace(&streams);
        }
        let expected: Vec<u8> = (0..32).chain([0]).collect();
        assert_eq!(versions, expected);
    }
}
