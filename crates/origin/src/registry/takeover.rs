//! Who gets a name that somebody publishes already: one rule, without clocks or sockets, so that it can be tried in virtual time.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Takeover;

/// Where newcomers are refused, a publisher that has been silent for this long still loses its name: encoders reconnect faster
/// than TCP notices death (rtmp.md 9.1).
const SILENCE: Duration = Duration::from_secs(5);

/// A publisher that was taken over gets its name back at once when the other one has sent nothing for this long.
const RETAKE_SILENCE: Duration = Duration::from_secs(2);

/// And from then on in any case: two encoders with one key change places once a minute at most.
const RETAKE_AFTER: Duration = Duration::from_secs(60);

/// Addresses that one stream remembers. More than two encoders that fight for a name are a prank.
const DISPLACED_MAX: usize = 16;

/// What a newcomer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The one who sits there has to leave.
    TakeOver,
    /// The configuration has newcomers wait.
    Taken,
    /// It was taken over itself, and would take over in turn.
    Conflict {
        /// From now until it may.
        retake_in: Duration,
    },
}

/// Whom newcomers took a stream from lately. An encoder that comes back has a new connection and a new port; its address is what
/// can be known again. Two encoders behind one address count as one: at worst, one of them waits.
#[derive(Debug, Default)]
pub(super) struct Displaced(Vec<(IpAddr, Duration)>);

impl Displaced {
    /// Judges `newcomer` where `sitting` publishes and has sent nothing for `silence`. `now` is monotonic.
    pub(super) fn judge(
        &mut self,
        rule: Takeover,
        newcomer: IpAddr,
        sitting: IpAddr,
        silence: Duration,
        now: Duration,
    ) -> Verdict {
        if rule == Takeover::Refuse {
            return if silence >= SILENCE { Verdict::TakeOver } else { Verdict::Taken };
        }
        self.0.retain(|(_, at)| now.saturating_sub(*at) < RETAKE_AFTER);
        if silence >= RETAKE_SILENCE {
            // Who sends nothing is not displaced: nobody fights for the name.
            return Verdict::TakeOver;
        }
        if let Some((_, at)) = self.0.iter().find(|(address, _)| *address == newcomer) {
            return Verdict::Conflict { retake_in: RETAKE_AFTER.saturating_sub(now.saturating_sub(*at)) };
        }
        self.0.retain(|(address, _)| *address != sitting);
        if self.0.len() >= DISPLACED_MAX {
            self.0.remove(0);
        }
        self.0.push((sitting, now));
        Verdict::TakeOver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    const SENDING: Duration = Duration::from_millis(30);

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_newcomer_takes_over_at_once_and_is_not_taken_over_in_turn() {
        let mut displaced = Displaced::default();
        let (a, b) = (address(1), address(2));
        assert_eq!(displaced.judge(Takeover::Immediate, b, a, SENDING, seconds(10)), Verdict::TakeOver);
        // The first encoder reconnects once a second, as encoders do.
        for second in 11..70 {
            let retake_in = seconds(70 - second);
            assert_eq!(
                displaced.judge(Takeover::Immediate, a, b, SENDING, seconds(second)),
                Verdict::Conflict { retake_in }
            );
        }
        assert_eq!(displaced.judge(Takeover::Immediate, a, b, SENDING, seconds(70)), Verdict::TakeOver);
        let conflict = Verdict::Conflict { retake_in: seconds(59) };
        assert_eq!(displaced.judge(Takeover::Immediate, b, a, SENDING, seconds(71)), conflict);
    }

    #[test]
    fn a_silent_one_loses_the_name_and_is_not_held_off() {
        let mut displaced = Displaced::default();
        let (a, b) = (address(1), address(2));
        assert_eq!(displaced.judge(Takeover::Immediate, b, a, SENDING, seconds(10)), Verdict::TakeOver);
        let nearly = RETAKE_SILENCE - Duration::from_millis(1);
        assert!(matches!(
            displaced.judge(Takeover::Immediate, a, b, nearly, seconds(14)),
            Verdict::Conflict { .. }
        ));
        assert_eq!(
            displaced.judge(Takeover::Immediate, a, b, RETAKE_SILENCE, seconds(15)),
            Verdict::TakeOver
        );
        // b was silent when it lost the name, so nothing holds it off.
        assert_eq!(displaced.judge(Takeover::Immediate, b, a, SENDING, seconds(16)), Verdict::TakeOver);
    }

    #[test]
    fn others_are_not_held_off() {
        let mut displaced = Displaced::default();
        assert_eq!(
            displaced.judge(Takeover::Immediate, address(2), address(1), SENDING, seconds(1)),
            Verdict::TakeOver
        );
        assert_eq!(
            displaced.judge(Takeover::Immediate, address(3), address(2), SENDING, seconds(2)),
            Verdict::TakeOver
        );
        for held in [1, 2] {
            assert!(matches!(
                displaced.judge(Takeover::Immediate, address(held), address(3), SENDING, seconds(3)),
                Verdict::Conflict { .. }
            ));
        }
    }

    #[test]
    fn refused_by_configuration_until_silent() {
        let mut displaced = Displaced::default();
        let judge = |displaced: &mut Displaced, silence| {
            displaced.judge(Takeover::Refuse, address(2), address(1), silence, seconds(100))
        };
        assert_eq!(judge(&mut displaced, SENDING), Verdict::Taken);
        assert_eq!(judge(&mut displaced, SILENCE - Duration::from_millis(1)), Verdict::Taken);
        assert_eq!(judge(&mut displaced, SILENCE), Verdict::TakeOver);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut displaced = Displaced::default();
        for last in 0..=255 {
            let newcomer = IpAddr::from([198, 51, 100, last]);
            let verdict = displaced.judge(Takeover::Immediate, newcomer, address(last), SENDING, seconds(1));
            assert_eq!(verdict, Verdict::TakeOver);
        }
        assert_eq!(displaced.0.len(), DISPLACED_MAX);
    }
}
