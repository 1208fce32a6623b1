//! Transport packets: headers, continuity counters, adaptation fields, and the scatter of a PES packet over them.

/// Bytes in a transport packet (H.222.0 2.4.3.2).
pub const PACKET_SIZE: usize = 188;

/// What follows the 4-byte header: adaptation field and payload together.
pub(crate) const BODY_SIZE: usize = PACKET_SIZE - 4;

/// PTS, DTS and PCR base count modulo 2^33 (H.222.0 2.4.3.7); only the functions that write bits apply it.
const CLOCK_MASK: u64 = (1 << 33) - 1;

/// A packet identifier with its continuity counter, which runs on for the life of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Pid {
    number: u16,
    /// The counter of the next packet that carries payload.
    next: u8,
}

/// adaptation_field_control (H.222.0 table 2-5).
#[derive(Clone, Copy)]
enum Control {
    PayloadOnly = 0x10,
    AdaptationOnly = 0x20,
    Both = 0x30,
}

impl Pid {
    pub(crate) const fn new(number: u16) -> Pid {
        Pid { number, next: 0 }
    }

    /// Goes on behind a packet of this identifier that carries payload; any other changes nothing.
    pub(crate) fn go_on_behind(&mut self, packet: &[u8]) {
        let Some([_, high, low, control]) = packet.first_chunk() else { return };
        let has_payload = control & Control::PayloadOnly as u8 != 0;
        if has_payload && u16::from_be_bytes([high & 0x1f, *low]) == self.number {
            self.next = (control & 0x0f).wrapping_add(1) & 0x0f;
        }
    }

    /// The 4-byte header. The counter moves with payload only (H.222.0 2.4.3.3).
    fn header(&mut self, unit_start: bool, control: Control) -> [u8; 4] {
        let counter = match control {
            Control::AdaptationOnly => self.next.wrapping_sub(1) & 0x0f,
            Control::PayloadOnly | Control::Both => {
                let counter = self.next;
                self.next = (counter + 1) & 0x0f;
                counter
            }
        };
        self.header_of(unit_start, control, counter)
    }

    fn header_of(&self, unit_start: bool, control: Control, counter: u8) -> [u8; 4] {
        let [high, low] = self.number.to_be_bytes();
        [0x47, high | if unit_start { 0x40 } else { 0 }, low, control as u8 | counter]
    }

    /// One packet whose body is a complete section, prepared by [`crate::psi`].
    pub(crate) fn write_section(&mut self, out: &mut Vec<u8>, body: &[u8; BODY_SIZE]) {
        out.extend_from_slice(&self.header(true, Control::PayloadOnly));
        out.extend_from_slice(body);
    }

    /// A section of any length over as many packets as it takes (H.222.0 2.4.4): a pointer_field in front, and 0xff to the end.
    pub(crate) fn write_long_section(&mut self, out: &mut Vec<u8>, section: &[u8]) {
        let (first, rest) = section.split_at(section.len().min(BODY_SIZE - 1));
        let mut put = |unit_start: bool, pointer: &[u8], piece: &[u8]| {
            let end = out.len() + PACKET_SIZE;
            out.extend_from_slice(&self.header(unit_start, Control::PayloadOnly));
            out.extend_from_slice(pointer);
            out.extend_from_slice(piece);
            out.resize(end, 0xff);
        };
        put(true, &[0], first);
        rest.chunks(BODY_SIZE).for_each(|piece| put(false, &[], piece));
    }

    /// Packets that are payload from end to end: the hot loop. Sizes known to the compiler make both appends plain vector
    /// moves; assembling 188 bytes first was slower in `benches/mux.rs`, zeroing the room ahead as well.
    fn write_full(&mut self, out: &mut Vec<u8>, bodies: &[[u8; BODY_SIZE]]) {
        let [sync, high, low, _] = self.header_of(false, Control::PayloadOnly, 0);
        let mut counter = self.next;
        for body in bodies {
            out.extend_from_slice(&[sync, high, low, Control::PayloadOnly as u8 | counter]);
            out.extend_from_slice(body);
            counter = (counter + 1) & 0x0f;
        }
        self.next = counter;
    }

    /// One packet without payload that carries a PCR.
    pub(crate) fn write_clock(&mut self, out: &mut Vec<u8>, adaptation: &Adaptation) {
        out.extend_from_slice(&self.header(false, Control::AdaptationOnly));
        adaptation.write(out, BODY_SIZE);
    }
}

/// What an adaptation field says; the default says nothing and takes no room.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Adaptation {
    /// The clock, or a counter, does not continue what came before.
    pub(crate) discontinuity: bool,
    /// Decoding can start with this packet.
    pub(crate) random_access: bool,
    /// The program clock in 90 kHz ticks, not yet reduced.
    pub(crate) pcr: Option<i64>,
}

impl Adaptation {
    /// Bytes that the field takes before stuffing, its length byte included.
    fn size(&self) -> usize {
        match (self.pcr, self.discontinuity || self.random_access) {
            (Some(_), _) => 8,
            (None, true) => 2,
            (None, false) => 0,
        }
    }

    /// The field stuffed to exactly `size` bytes, the length byte included.
    fn write(&self, out: &mut Vec<u8>, size: usize) {
        let end = out.len() + size;
        let Some(length) = size.checked_sub(1) else { return };
        out.push(u8::try_from(length).unwrap_or(u8::MAX));
        // A single byte of stuffing is the length byte 0 without flags (H.222.0 2.4.3.5).
        if length == 0 {
            return;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.discontinuity, 0x80) | flag(self.random_access, 0x40) | flag(self.pcr.is_some(), 0x10),
        );
        if let Some(pcr) = self.pcr {
            // base33, six reserved ones, extension9: milliseconds and sample clocks need no 27 MHz fraction.
            let [_, _, bits @ ..] = ((pcr.cast_unsigned() & CLOCK_MASK) << 15 | 0x3f << 9).to_be_bytes();
            out.extend_from_slice(&bits);
        }
        out.resize(end, 0xff);
    }
}

/// Writes one PES packet of known size into transport packets, piece by piece, without a copy in between.
///
/// The pieces must add up to the size announced: then every packet is whole when the last piece is in.
pub(crate) struct Scatter<'a> {
    out: &'a mut Vec<u8>,
    pid: &'a mut Pid,
    /// Bytes of the PES packet still to come.
    remaining: usize,
    /// Payload bytes that still fit into the packet that is open.
    room: usize,
}

impl<'a> Scatter<'a> {
    /// Opens the first packet of a PES packet of `size` bytes, its header included.
    pub(crate) fn start(
        out: &'a mut Vec<u8>,
        pid: &'a mut Pid,
        size: usize,
        adaptation: &Adaptation,
    ) -> Scatter<'a> {
        let packets = (size + adaptation.size()).div_ceil(BODY_SIZE);
        out.reserve(packets * PACKET_SIZE);
        let mut scatter = Scatter { out, pid, remaining: size, room: 0 };
        scatter.open(true, adaptation);
        scatter
    }

    /// The next piece.
    pub(crate) fn write(&mut self, piece: &[u8]) {
        debug_assert!(piece.len() <= self.remaining, "more pieces than announced");
        let mut rest = piece;
        loop {
            let (now, later) = rest.split_at(rest.len().min(self.room));
            self.out.extend_from_slice(now);
            self.room -= now.len();
            self.remaining = self.remaining.saturating_sub(now.len());
            if later.is_empty() {
                return;
            }
            // The open packet is full. Whole packets need no look at room or stuffing: this is the hot loop.
            let (bodies, tail) = later.as_chunks::<BODY_SIZE>();
            self.pid.write_full(self.out, bodies);
            self.remaining = self.remaining.saturating_sub(bodies.len() * BODY_SIZE);
            if tail.is_empty() || self.remaining == 0 {
                return;
            }
            self.open(false, &Adaptation::default());
            rest = tail;
        }
    }

    /// Opens a packet. What will not be filled with payload is stuffed in the adaptation field: stuffing after the
    /// payload of a PES packet does not exist (H.222.0 2.4.3.5).
    fn open(&mut self, unit_start: bool, adaptation: &Adaptation) {
        self.room = self.remaining.min(BODY_SIZE - adaptation.size());
        let field = BODY_SIZE - self.room;
        let control = if field == 0 { Control::PayloadOnly } else { Control::Both };
        self.out.extend_from_slice(&self.pid.header(unit_start, control));
        adaptation.write(self.out, field);
    }
}

/// Bytes in a PES header with PTS only, and with DTS.
const PES_HEADER_SIZE: usize = 14;
const PES_HEADER_SIZE_DTS: usize = 19;

/// A PES packet header (H.222.0 2.4.3.6).
pub(crate) struct PesHeader {
    bytes: [u8; PES_HEADER_SIZE_DTS],
    size: usize,
}

/// Bytes that a PES packet may have after its length field.
pub(crate) const PES_LENGTH_MAX: usize = u16::MAX as usize;

/// Most payload that fits into a PES packet which must announce its length.
pub(crate) const PES_PAYLOAD_MAX: usize = PES_LENGTH_MAX - (PES_HEADER_SIZE - 6);

impl PesHeader {
    /// The header before `payload` bytes. Times are 90 kHz ticks, not yet reduced; DTS is written when it differs.
    ///
    /// The length field is exact where it fits, else 0, which only video may use (2.4.3.7): callers keep audio
    /// within [`PES_PAYLOAD_MAX`].
    pub(crate) fn new(stream_id: u8, payload: usize, pts: i64, dts: i64) -> PesHeader {
        let size = if pts == dts { PES_HEADER_SIZE } else { PES_HEADER_SIZE_DTS };
        let length = u16::try_from(payload.saturating_add(size - 6)).unwrap_or(0);
        let [length_high, length_low] = length.to_be_bytes();
        let (flags, pts_prefix) = if pts == dts { (0x80, 0x20) } else { (0xc0, 0x30) };
        let data_size = if pts == dts { 5 } else { 10 };
        let [p0, p1, p2, p3, p4] = timestamp(pts_prefix, pts);
        let [d0, d1, d2, d3, d4] = timestamp(0x10, dts);
        let bytes = [
            0,
            0,
            1,
            stream_id,
            length_high,
            length_low,
            0x80,
            flags,
            data_size,
            p0,
            p1,
            p2,
            p3,
            p4,
            d0,
            d1,
            d2,
            d3,
            d4,
        ];
        PesHeader { bytes, size }
    }

    /// The same with data_alignment_indicator: the payload begins with a tag.
    pub(crate) fn aligned(mut self) -> PesHeader {
        if let Some(flags) = self.bytes.get_mut(6) {
            *flags |= 0x04;
        }
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or(&self.bytes)
    }
}

/// Four bits of prefix, then 33 bits of time in groups of 3, 15 and 15, each closed by a marker bit.
fn timestamp(prefix: u8, ticks: i64) -> [u8; 5] {
    let clock = ticks.cast_unsigned() & CLOCK_MASK;
    let bits = u64::from(prefix) << 32
        | (clock >> 30) << 33
        | 1 << 32
        | (clock >> 15 & 0x7fff) << 17
        | 1 << 16
        | (clock & 0x7fff) << 1
        | 1;
    let [_, _, _, bytes @ ..] = bits.to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PES packet of `size` bytes of 0xaa under this adaptation field.
    fn scattered(size: usize, adaptation: &Adaptation) -> Vec<u8> {
        let mut out = Vec::new();
        let mut pid = Pid::new(0x100);
        let mut scatter = Scatter::start(&mut out, &mut pid, size, adaptation);
        scatter.write(&vec![0xaa; size]);
        out
    }

    /// Packets as expected: header, adaptation field, and payload up to the packet's end.
    fn packets(packets: &[(&[u8], usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (start, stuffing) in packets {
            let end = bytes.len() + PACKET_SIZE;
            bytes.extend_from_slice(start);
            bytes.resize(bytes.len() + stuffing, 0xff);
            bytes.resize(end, 0xaa);
        }
        bytes
    }

    #[test]
    fn stuffing_by_what_remains() {
        let plain: &[u8] = &[0x47, 0x41, 0, 0x10];
        for (name, size, expected) in [
            ("1 byte", 1, packets(&[(&[0x47, 0x41, 0, 0x30, 182, 0], 181)])),
            ("181: flags and a byte of stuffing", 181, packets(&[(&[0x47, 0x41, 0, 0x30, 2, 0], 1)])),
            ("182: length and flags", 182, packets(&[(&[0x47, 0x41, 0, 0x30, 1, 0], 0)])),
            ("183: a length of 0 alone", 183, packets(&[(&[0x47, 0x41, 0, 0x30, 0], 0)])),
            ("184: none", 184, packets(&[(plain, 0)])),
            ("185: 1 in a second packet", 185, packets(&[(plain, 0), (&[0x47, 0x01, 0, 0x31, 182, 0], 181)])),
            ("184 + 182", 366, packets(&[(plain, 0), (&[0x47, 0x01, 0, 0x31, 1, 0], 0)])),
            ("184 + 183", 367, packets(&[(plain, 0), (&[0x47, 0x01, 0, 0x31, 0], 0)])),
            ("184 + 184", 368, packets(&[(plain, 0), (&[0x47, 0x01, 0, 0x11], 0)])),
        ] {
            assert_eq!(scattered(size, &Adaptation::default()), expected, "{name}");
        }
    }

    #[test]
    fn adaptation_fields_with_content() {
        let key = Adaptation { random_access: true, pcr: Some(63_000), discontinuity: false };
        // 63,000 = 0xf618: base bits 32..1, then bit 0, six ones, nine bits of extension.
        let pcr = [0, 0, 0x7b, 0x0c, 0x7e, 0];
        let start = |length: u8, flags: u8| [&[0x47, 0x41, 0, 0x30, length, flags][..], &pcr].concat();
        assert_eq!(scattered(176, &key), packets(&[(&start(7, 0x50), 0)]));
        assert_eq!(scattered(175, &key), packets(&[(&start(8, 0x50), 1)]));
        let two = packets(&[(&start(7, 0x50), 0), (&[0x47, 0x01, 0, 0x31, 182, 0], 181)]);
        assert_eq!(scattered(177, &key), two);
        let broken = Adaptation { discontinuity: true, random_access: false, ..key };
        assert_eq!(scattered(176, &broken), packets(&[(&start(7, 0x90), 0)]));
        let entry = Adaptation { random_access: true, ..Adaptation::default() };
        assert_eq!(scattered(182, &entry), packets(&[(&[0x47, 0x41, 0, 0x30, 1, 0x40], 0)]));
    }

    #[test]
    fn a_clock_alone_does_not_count() {
        let mut pid = Pid::new(0x1ffe);
        let mut out = Vec::new();
        let adaptation = Adaptation { pcr: Some(-1), ..Adaptation::default() };
        let counter = |out: &[u8]| out.get(3).map(|flags| flags & 0x0f);
        for expected in 0..40 {
            out.clear();
            Scatter::start(&mut out, &mut pid, 1, &Adaptation::default()).write(&[1]);
            assert_eq!(counter(&out), Some(expected & 0x0f));
            out.clear();
            pid.write_clock(&mut out, &adaptation);
            assert_eq!(counter(&out), Some(expected & 0x0f));
        }
        // -1 is the last tick before the wrap.
        let start = [0x47, 0x1f, 0xfe, 0x27, 183, 0x10, 0xff, 0xff, 0xff, 0xff, 0xfe, 0];
        assert_eq!(out.split_at(start.len()), (&start[..], &[0xff; 176][..]));
    }

    #[test]
    fn pieces_of_any_size_make_the_same_packets() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let whole = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut out, mut pid) = (Vec::new(), Pid::new(0x101));
            let mut scatter = Scatter::start(&mut out, &mut pid, bytes.len(), &Adaptation::default());
            pieces.for_each(|piece| scatter.write(piece));
            out
        };
        let expected = whole(&mut std::iter::once(bytes.as_slice()));
        assert_eq!(expected.len(), 6 * PACKET_SIZE);
        for size in [1, 2, 3, 91, 183, 184, 185, 367, 368, 369, 999] {
            assert_eq!(whole(&mut bytes.chunks(size)), expected, "{size}");
        }
    }

    #[test]
    fn pes_headers() {
        for (name, payload, pts, dts, expected) in [
            (
                "PTS only",
                10,
                126_000,
                126_000,
                &[0, 0, 1, 0xe0, 0, 18, 0x80, 0x80, 5, 0x21, 0, 7, 0xd8, 0x61][..],
            ),
            (
                "PTS and DTS",
                10,
                133_200,
                126_000,
                &[0, 0, 1, 0xe0, 0, 23, 0x80, 0xc0, 10, 0x31, 0, 9, 0x10, 0xa1, 0x11, 0, 7, 0xd8, 0x61],
            ),
            ("the last tick", 1, -1, -1, &[0, 0, 1, 0xe0, 0, 9, 0x80, 0x80, 5, 0x2f, 0xff, 0xff, 0xff, 0xff]),
            ("after the wrap", 1, 1 << 33, 1 << 33, &[0, 0, 1, 0xe0, 0, 9, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]),
            ("the longest", 65_527, 0, 0, &[0, 0, 1, 0xe0, 0xff, 0xff, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]),
            ("too long to say", 65_528, 0, 0, &[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]),
        ] {
            assert_eq!(PesHeader::new(0xe0, payload, pts, dts).bytes(), expected, "{name}");
        }
        assert_eq!(PES_PAYLOAD_MAX, 65_527);
    }
}
