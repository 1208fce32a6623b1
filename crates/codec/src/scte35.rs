//! Splice information (ANSI/SCTE 35): where a programme may be left for an advertisement, and where it is come back to.
//!
//! A section is carried on as it came. What is read of it is what playlists say about it; what is written anew is its
//! pts_adjustment, which exists so that whoever gives a stream other times need not understand the rest (9.6.1).

use crate::bits::BitReader;
use crate::{Error, crc32};

/// Longest section: section_length has 12 bits, of which 9.6 allows 4,093 as a value.
pub const SECTION_SIZE_MAX: usize = 4_096;

/// Times count modulo 2^33 at 90 kHz.
const PTS_MASK: u64 = (1 << 33) - 1;

const TABLE_ID: u8 = 0xfc;
/// From table_id up to section_length.
const LENGTH_END: usize = 3;
/// Where the last bit of the byte is the highest of pts_adjustment, and 32 bits follow.
const ADJUSTMENT: usize = 4;
const CRC_SIZE: usize = 4;

const SPLICE_INSERT: u8 = 0x05;
const TIME_SIGNAL: u8 = 0x06;
/// splice_command_length of senders that do not say (9.6.1).
const LENGTH_UNSTATED: u16 = 0xfff;
const SEGMENTATION_DESCRIPTOR: u8 = 0x02;
/// "CUEI".
const IDENTIFIER: u32 = 0x4355_4549;
const DESCRIPTORS_MAX: usize = 64;

/// What a section means to who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// The programme can be left.
    Out,
    /// The programme is come back to.
    In,
    /// Anything else.
    Other,
}

/// A splice_info_section (9.6) and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpliceInfo {
    section: Vec<u8>,
    splice: Splice,
    event_id: Option<u32>,
    pts_time: Option<u64>,
    duration: Option<u64>,
}

/// What a command or a descriptor contributes.
#[derive(Debug, Default)]
struct Said {
    splice: Option<Splice>,
    event_id: Option<u32>,
    pts_time: Option<u64>,
    duration: Option<u64>,
}

impl SpliceInfo {
    /// Reads a section, its CRC included.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`], [`Error::Limit`]; [`Error::Unsupported`] for an encrypted one, whose times nobody
    /// but its receiver can set.
    pub fn parse(section: &[u8]) -> Result<SpliceInfo, Error> {
        if section.len() > SECTION_SIZE_MAX {
            let count = section.len();
            return Err(Error::Limit { what: "splice_info_section bytes", count, max: SECTION_SIZE_MAX });
        }
        let mut reader = BitReader::new(section);
        let table_id = reader.bits_u8(8, "table_id")?;
        if table_id != TABLE_ID {
            return Err(Error::Invalid { field: "table_id", value: u64::from(table_id) });
        }
        reader.bits_u8(4, "section_syntax_indicator")?;
        let length = reader.bits_u16(12, "section_length")?;
        if usize::from(length).saturating_add(LENGTH_END) != section.len() {
            return Err(Error::Invalid { field: "section_length", value: u64::from(length) });
        }
        let crc = crc32::mpeg2(section);
        if crc != 0 {
            return Err(Error::Invalid { field: "CRC_32", value: u64::from(crc) });
        }
        let version = reader.bits_u8(8, "protocol_version")?;
        if version != 0 {
            return Err(Error::Unsupported { what: "splice protocol_version", value: u64::from(version) });
        }
        if reader.flag("encrypted_packet")? {
            return Err(Error::Unsupported { what: "encrypted_packet", value: 1 });
        }
        reader.bits_u8(6, "encryption_algorithm")?;
        reader.flag("pts_adjustment")?;
        reader.bits(32, "pts_adjustment")?;
        reader.bits_u8(8, "cw_index")?;
        reader.bits_u16(12, "tier")?;
        let command_length = reader.bits_u16(12, "splice_command_length")?;
        let command_type = reader.bits_u8(8, "splice_command_type")?;
        let begins = reader.position();
        let mut said = match command_type {
            SPLICE_INSERT => splice_insert(&mut reader)?,
            TIME_SIGNAL => Said { pts_time: splice_time(&mut reader)?, ..Said::default() },
            _ => Said::default(),
        };
        let is_known = matches!(command_type, SPLICE_INSERT | TIME_SIGNAL);
        let read = reader.position().saturating_sub(begins);
        let stated = u64::from(command_length).saturating_mul(8);
        if command_length != LENGTH_UNSTATED {
            let rest = stated
                .checked_sub(read)
                .ok_or(Error::Invalid { field: "splice_command_length", value: u64::from(command_length) })?;
            skip(&mut reader, rest, "splice_command")?;
        }
        // Of an unknown command of unstated length the descriptors can't be found.
        if is_known || command_length != LENGTH_UNSTATED {
            descriptors(&mut reader, &mut said)?;
        }
        Ok(SpliceInfo {
            section: section.to_vec(),
            splice: said.splice.unwrap_or(Splice::Other),
            event_id: said.event_id,
            pts_time: said.pts_time,
            duration: said.duration,
        })
    }

    /// A splice_insert (9.7.3) of the whole programme, with a splice time of 0 that [`SpliceInfo::timed_at`] sets. `out`: the programme
    /// can be left, for `duration` 90 kHz ticks where that is known, after which it is come back to without being told; else it is
    /// come back to.
    pub fn insert(event_id: u32, out: bool, duration: Option<u64>) -> SpliceInfo {
        let duration = duration.filter(|_| out).map(|ticks| ticks & PTS_MASK);
        let mut command = event_id.to_be_bytes().to_vec();
        // Not cancelled. Of the whole programme, not at once, and a compliant event_id.
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        command.extend_from_slice(&[0x7f, 0x4f | flag(out, 0x80) | flag(duration.is_some(), 0x20)]);
        // time_specified, or auto_return.
        let time = |ticks: u64| {
            let [_, _, _, bytes @ ..] = (0xfe << 32 | ticks).to_be_bytes();
            bytes
        };
        command.extend_from_slice(&time(0));
        if let Some(ticks) = duration {
            command.extend_from_slice(&time(ticks));
        }
        // unique_program_id, avail_num and avails_expected: one of one that nobody numbers.
        command.extend_from_slice(&[0, 1, 0, 0]);
        // Up to 20 bytes of command, and what is around it.
        let command_length = u16::try_from(command.len()).unwrap_or(0);
        let length = command_length + 17;
        let mut section = vec![TABLE_ID];
        section.extend_from_slice(&(0x3000 | length).to_be_bytes());
        section.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0xff]);
        let [_, tier_and_length @ ..] = (0xff_f000 | u32::from(command_length)).to_be_bytes();
        section.extend_from_slice(&tier_and_length);
        section.push(SPLICE_INSERT);
        section.extend_from_slice(&command);
        section.extend_from_slice(&[0, 0]);
        section.extend_from_slice(&crc32::mpeg2(&section).to_be_bytes());
        SpliceInfo {
            section,
            splice: if out { Splice::Out } else { Splice::In },
            event_id: Some(event_id),
            pts_time: Some(0),
            duration,
        }
    }

    /// The section as it came.
    pub fn section(&self) -> &[u8] {
        &self.section
    }

    /// What it means.
    pub fn splice(&self) -> Splice {
        self.splice
    }

    /// splice_event_id, or segmentation_event_id where the command has none.
    pub fn event_id(&self) -> Option<u32> {
        self.event_id
    }

    /// How long the break lasts, 90 kHz ticks; `None` where it does not say.
    pub fn duration(&self) -> Option<u64> {
        self.duration
    }

    /// The section with the pts_adjustment that moves its splice time to `ticks` (90 kHz, taken modulo 2^33). One that is to be obeyed at
    /// once has no time, and stays as it is.
    pub fn timed_at(&self, ticks: i64) -> Vec<u8> {
        let mut section = self.section.clone();
        let Some(pts_time) = self.pts_time else { return section };
        let adjustment = ticks.cast_unsigned().wrapping_sub(pts_time) & PTS_MASK;
        let [_, _, _, high, low @ ..] = adjustment.to_be_bytes();
        if let Some([first, rest @ ..]) = section.get_mut(ADJUSTMENT..ADJUSTMENT + 5) {
            *first = (*first & 0xfe) | high;
            rest.copy_from_slice(&low);
        }
        let body = section.len().saturating_sub(CRC_SIZE);
        let crc = crc32::mpeg2(section.get(..body).unwrap_or_default());
        if let Some(place) = section.get_mut(body..) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        section
    }
}

/// 9.7.3.
fn splice_insert(reader: &mut BitReader<'_>) -> Result<Said, Error> {
    let mut said = Said { event_id: Some(reader.bits(32, "splice_event_id")?), ..Said::default() };
    let cancel = reader.flag("splice_event_cancel_indicator")?;
    reader.bits_u8(7, "reserved")?;
    if cancel {
        return Ok(said);
    }
    let out = reader.flag("out_of_network_indicator")?;
    let program = reader.flag("program_splice_flag")?;
    let has_duration = reader.flag("duration_flag")?;
    let immediate = reader.flag("splice_immediate_flag")?;
    reader.bits_u8(4, "reserved")?;
    said.splice = Some(if out { Splice::Out } else { Splice::In });
    if program && !immediate {
        said.pts_time = splice_time(reader)?;
    }
    if !program {
        for _ in 0..reader.bits_u8(8, "component_count")? {
            reader.bits_u8(8, "component_tag")?;
            if !immediate {
                let time = splice_time(reader)?;
                said.pts_time = said.pts_time.or(time);
            }
        }
    }
    if has_duration {
        reader.bits_u8(7, "auto_return")?;
        said.duration = Some(ticks33(reader, "duration")?);
    }
    reader.bits_u16(16, "unique_program_id")?;
    reader.bits_u16(16, "avail_num")?;
    Ok(said)
}

/// 9.8.1.
fn splice_time(reader: &mut BitReader<'_>) -> Result<Option<u64>, Error> {
    if reader.flag("time_specified_flag")? {
        reader.bits_u8(6, "reserved")?;
        return ticks33(reader, "pts_time").map(Some);
    }
    reader.bits_u8(7, "reserved")?;
    Ok(None)
}

fn ticks33(reader: &mut BitReader<'_>, field: &'static str) -> Result<u64, Error> {
    let high = u64::from(reader.flag(field)?);
    Ok(high << 32 | u64::from(reader.bits(32, field)?))
}

fn skip(reader: &mut BitReader<'_>, bits: u64, field: &'static str) -> Result<(), Error> {
    let mut rest = bits;
    while rest > 0 {
        let step = u8::try_from(rest.min(8)).unwrap_or(8);
        reader.bits_u8(step, field)?;
        rest = rest.saturating_sub(u64::from(step));
    }
    Ok(())
}

/// 10: of these, segmentation descriptors say what the command leaves open.
fn descriptors(reader: &mut BitReader<'_>, said: &mut Said) -> Result<(), Error> {
    let length = u64::from(reader.bits_u16(16, "descriptor_loop_length")?).saturating_mul(8);
    let begins = reader.position();
    for _ in 0..DESCRIPTORS_MAX {
        if reader.position().saturating_sub(begins) >= length {
            return Ok(());
        }
        let tag = reader.bits_u8(8, "splice_descriptor_tag")?;
        let size = u64::from(reader.bits_u8(8, "descriptor_length")?).saturating_mul(8);
        let start = reader.position();
        if tag == SEGMENTATION_DESCRIPTOR && reader.bits(32, "identifier")? == IDENTIFIER {
            segmentation(reader, said)?;
        }
        let read = reader.position().saturating_sub(start);
        let rest =
            size.checked_sub(read).ok_or(Error::Invalid { field: "descriptor_length", value: size / 8 })?;
        skip(reader, rest, "splice_descriptor")?;
    }
    Ok(())
}

/// 10.3.3.
fn segmentation(reader: &mut BitReader<'_>, said: &mut Said) -> Result<(), Error> {
    let event_id = reader.bits(32, "segmentation_event_id")?;
    let cancel = reader.flag("segmentation_event_cancel_indicator")?;
    reader.bits_u8(7, "reserved")?;
    if cancel {
        return Ok(());
    }
    let program = reader.flag("program_segmentation_flag")?;
    let has_duration = reader.flag("segmentation_duration_flag")?;
    reader.bits_u8(6, "delivery_not_restricted_flag")?;
    if !program {
        let count = u64::from(reader.bits_u8(8, "component_count")?);
        skip(reader, count.saturating_mul(48), "component")?;
    }
    let mut duration = None;
    if has_duration {
        let high = u64::from(reader.bits_u8(8, "segmentation_duration")?);
        duration = Some(high << 32 | u64::from(reader.bits(32, "segmentation_duration")?));
    }
    reader.bits_u8(8, "segmentation_upid_type")?;
    let upid = u64::from(reader.bits_u8(8, "segmentation_upid_length")?);
    skip(reader, upid.saturating_mul(8), "segmentation_upid")?;
    let splice = match reader.bits_u8(8, "segmentation_type_id")? {
        // Table 23: breaks, advertisements, placement opportunities and advertisement blocks, start and end.
        0x22 | 0x30 | 0x32 | 0x34 | 0x36 | 0x44 | 0x46 => Splice::Out,
        0x23 | 0x31 | 0x33 | 0x35 | 0x37 | 0x45 | 0x47 => Splice::In,
        _ => return Ok(()),
    };
    said.splice = said.splice.or(Some(splice));
    said.event_id = said.event_id.or(Some(event_id));
    said.duration = said.duration.or(duration);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// pts_adjustment.
    fn adjustment(section: &[u8]) -> u64 {
        u64::from(section[4] & 1) << 32
            | u64::from(u32::from_be_bytes([section[5], section[6], section[7], section[8]]))
    }

    #[test]
    fn sections_of_others() {
        // SCTE 35 14.1, 14.2 and 14.3 give these as samples.
        let opportunity = "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e";
        let insert = "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a";
        let ends = "fc302f000000000000fffff00506fe746290a000190217435545494800008e7f9f0808000000002ca0a18a350200a9cc6758";
        for (section, splice, event_id, pts_time, duration) in [
            (opportunity, Splice::Out, 0x4800_008e, 0x72bd_0050, Some(0x01a5_99b0)),
            (insert, Splice::Out, 0x4800_008f, 0x7369_c02e, Some(0x0052_ccf5)),
            (ends, Splice::In, 0x4800_008e, 0x7462_90a0, None),
        ] {
            let info = SpliceInfo::parse(&bytes(section)).unwrap();
            assert_eq!((info.splice(), info.event_id()), (splice, Some(event_id)), "{section}");
            assert_eq!((info.pts_time, info.duration()), (Some(pts_time), duration), "{section}");
            assert_eq!(info.section(), bytes(section));
            let timed = info.timed_at((1 << 33) + 5);
            assert_eq!((adjustment(&timed) + pts_time) & PTS_MASK, 5, "{section}");
            assert_eq!(crc32::mpeg2(&timed), 0);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (out, duration) in [(true, Some(2_700_000)), (true, None), (false, None)] {
            let written = SpliceInfo::insert(77, out, duration);
            assert_eq!(SpliceInfo::parse(written.section()), Ok(written.clone()));
            let timed = written.timed_at(90_000);
            assert_eq!(adjustment(&timed), 90_000);
        }
        let plain = SpliceInfo::insert(0x0102_0304, true, Some(0x1_0000_0005));
        let expected = bytes("fc3025000000000000fffff01405010203047feffe00000000ff00000005000100000000");
        assert_eq!(plain.section()[..36], expected[..36]);
    }

    #[test]
    fn what_is_no_section() {
        let whole = SpliceInfo::insert(1, true, Some(90_000)).section().to_vec();
        for cut in 0..whole.len() {
            assert!(SpliceInfo::parse(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            assert!(SpliceInfo::parse(&broken).is_err(), "byte {at}");
        }
        let resealed = |at: usize, byte: u8| {
            let mut section = whole.clone();
            section[at] = byte;
            let body = section.len() - 4;
            let crc = crc32::mpeg2(&section[..body]);
            section[body..].copy_from_slice(&crc.to_be_bytes());
            SpliceInfo::parse(&section)
        };
        assert!(matches!(resealed(4, 0x80), Err(Error::Unsupported { .. })), "encrypted");
        assert!(matches!(resealed(3, 1), Err(Error::Unsupported { .. })), "another version");
        assert!(matches!(resealed(12, 3), Err(Error::Invalid { field: "splice_command_length", .. })));
        assert!(SpliceInfo::parse(&[0xfc; SECTION_SIZE_MAX + 1]).is_err());
    }
}
