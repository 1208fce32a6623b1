//! How many of a publisher's bytes the system gathers before it wakes the thread that reads them (SO_RCVLOWAT, socket(7)).
//!
//! A stream of 30 pictures a second with sound comes in some eighty messages a second, and to be woken for each costs more than what is
//! done with it. Where nobody waits for the next frame, some milliseconds of media are read at a time. What closes a segment mostly
//! does not wait: a keyframe is longer than that as a rule, and of a message so long only what is missing is waited for.

use std::time::Duration;

use headwater_rtmp::Unfinished;

/// What is gathered: as many bytes as come in this time. With it some 20 reads a second are left of 80.
const GATHERED: Duration = Duration::from_millis(50);

/// Less than this is not worth it.
const BYTES_MIN: usize = 512;

/// The socket has room for more, and the read buffer too.
const BYTES_MAX: usize = 32 << 10;

/// A message is long when it is so many times what is gathered, as keyframes are: ten pictures and more on end.
const LONG: usize = 2;

/// How fast bytes come is measured over this time: a keyframe interval or half of one, so that a keyframe alone makes no rate.
const LOOK: Duration = Duration::from_secs(1);

/// What is too little is read after this time all the same: the last words of a publisher that stays, sound whose pictures ended.
const STALLED_AFTER: Duration = Duration::from_millis(250);

/// Who asks for what comes next asks again within this.
const AWAITED_FOR: Duration = Duration::from_secs(1);

/// What one publisher's socket gathers.
#[derive(Debug)]
pub(super) struct Gather {
    /// What the socket was told last.
    low_water: usize,
    /// By the rate of the last look; 0 before the first one.
    usual: usize,
    since: Duration,
    bytes: usize,
    read_at: Duration,
    awaited_until: Duration,
}

impl Gather {
    /// A socket as it comes: each byte wakes.
    pub(super) fn new(now: Duration) -> Gather {
        Gather {
            low_water: 1,
            usual: 0,
            since: now,
            bytes: 0,
            read_at: now,
            awaited_until: now + AWAITED_FOR,
        }
    }

    /// Bytes were read and taken apart; `unfinished` is what they end in. Returns what the socket is to be told, if that is news.
    pub(super) fn read(
        &mut self,
        bytes: usize,
        is_awaited: bool,
        unfinished: Option<Unfinished>,
        now: Duration,
    ) -> Option<usize> {
        self.read_at = now;
        self.bytes = self.bytes.saturating_add(bytes);
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= LOOK {
            let gathered = self.bytes as u128 * GATHERED.as_micros() / elapsed.as_micros().max(1);
            self.usual = usize::try_from(gathered).unwrap_or(usize::MAX).min(BYTES_MAX);
            (self.since, self.bytes) = (now, 0);
        }
        if is_awaited {
            self.awaited_until = now + AWAITED_FOR;
        }
        let wanted = if now < self.awaited_until || self.usual < BYTES_MIN {
            1
        } else {
            // Of short messages the last one may wait for the next. The end of a long one, which may close a segment, does not.
            match unfinished {
                Some(Unfinished { length, missing }) if length >= LONG * self.usual => {
                    missing.clamp(1, self.usual)
                }
                _ => self.usual,
            }
        };
        self.tell(wanted)
    }

    /// Somebody is about to play what is newest. Returns what the socket is to be told: what has gathered is read now.
    pub(super) fn attended(&mut self, now: Duration) -> Option<usize> {
        self.awaited_until = now + AWAITED_FOR;
        self.tell(1)
    }

    /// When [`Gather::stalled`] is due, if nothing is read before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (self.low_water > 1).then(|| self.read_at + STALLED_AFTER)
    }

    /// Returns what the socket is to be told when less has come than it gathers: that each byte wakes, until the rate is known anew.
    pub(super) fn stalled(&mut self, now: Duration) -> Option<usize> {
        if self.deadline().is_none_or(|deadline| now < deadline) { None } else { self.over(now) }
    }

    /// What came regularly is over. Returns what the socket is to be told: that each byte wakes.
    pub(super) fn over(&mut self, now: Duration) -> Option<usize> {
        self.usual = 0;
        (self.since, self.bytes) = (now, 0);
        self.tell(1)
    }

    /// How long what is read now may have waited in the socket: it is the stream's delay, and no fault of the network.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        if self.low_water > 1 { now.saturating_sub(self.read_at).min(GATHERED) } else { Duration::ZERO }
    }

    fn tell(&mut self, bytes: usize) -> Option<usize> {
        (std::mem::replace(&mut self.low_water, bytes) != bytes).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Reads so many bytes every 20 ms for a while; returns the time after it.
    fn read_for(gather: &mut Gather, from: u64, until: u64, bytes: usize, is_awaited: bool) -> u64 {
        for now in (from..until).step_by(20) {
            gather.read(bytes, is_awaited, None, ms(now));
        }
        until
    }

    #[test]
    fn gathers_fifty_milliseconds_where_nobody_waits() {
        let mut gather = Gather::new(ms(0));
        let now = read_for(&mut gather, 0, 1_000, 6_800, false);
        assert_eq!((gather.low_water, gather.deadline()), (1, None), "a start is not delayed");
        // 2.7 Mbit/s.
        let now = read_for(&mut gather, now, 2_500, 6_800, false);
        assert!((16_000..18_000).contains(&gather.low_water), "{}", gather.low_water);
        assert_eq!(gather.waited(ms(now)), ms(20));
        assert_eq!(gather.waited(ms(now + 500)), GATHERED, "what is longer is the network");

        let now = read_for(&mut gather, now, 2_600, 6_800, true);
        assert_eq!((gather.low_water, gather.waited(ms(now))), (1, ms(0)), "somebody waits");
        let now = read_for(&mut gather, now, 3_500, 6_800, false);
        assert_eq!(gather.low_water, 1, "and will again");
        read_for(&mut gather, now, 3_700, 6_800, false);
        assert!(gather.low_water > 1);
    }

    #[test]
    fn what_has_gathered_is_read_when_somebody_comes() {
        let mut gather = Gather::new(ms(0));
        let now = read_for(&mut gather, 0, 2_500, 6_800, false);
        assert_eq!(gather.attended(ms(now)), Some(1));
        assert_eq!(gather.attended(ms(now)), None, "it is told once");
        let now = read_for(&mut gather, now, now + 1_000, 6_800, false);
        assert_eq!(gather.low_water, 1);
        read_for(&mut gather, now, now + 40, 6_800, false);
        assert!(gather.low_water > 1, "nobody has asked for more");
    }

    #[test]
    fn the_end_of_a_long_message_does_not_wait() {
        let mut gather = Gather::new(ms(0));
        let now = read_for(&mut gather, 0, 2_500, 6_800, false);
        let usual = gather.usual;
        let mut unfinished = |length, missing| {
            gather.read(6_800, false, Some(Unfinished { length, missing }), ms(now));
            gather.low_water
        };
        assert_eq!(unfinished(90_000, 60_000), usual);
        assert_eq!(unfinished(90_000, 700), 700);
        assert_eq!(unfinished(90_000, 0), 1, "headers of chunks alone");
        assert_eq!(unfinished(9_000, 700), usual, "one of many");
    }

    #[test]
    fn what_is_too_little_is_read_in_the_end() {
        let mut gather = Gather::new(ms(0));
        let now = read_for(&mut gather, 0, 2_500, 6_800, false);
        let deadline = gather.deadline().unwrap();
        assert_eq!(deadline, ms(now - 20) + STALLED_AFTER);
        assert_eq!(gather.stalled(deadline - ms(1)), None);
        assert_eq!(gather.stalled(deadline), Some(1));
        assert_eq!((gather.stalled(deadline), gather.deadline()), (None, None));
        // Sound alone goes on.
        let now = read_for(&mut gather, now + 250, now + 2_000, 340, false);
        assert!((512..1_024).contains(&gather.low_water), "{}", gather.low_water);
        // And little of it.
        read_for(&mut gather, now, now + 2_000, 40, false);
        assert_eq!(gather.low_water, 1);
    }

    #[test]
    fn never_more_than_a_socket_holds() {
        let mut gather = Gather::new(ms(0));
        read_for(&mut gather, 0, 3_000, 1 << 20, false);
        assert_eq!(gather.low_water, BYTES_MAX);
    }
}
