//! The clock that an MPD names: UTCTiming asked once, and how far it is from the clock here (DASH 5.8.4.11).

use std::time::{SystemTime, UNIX_EPOCH};

use headwater_manifest::dash::check::{MpdText, date_time_us};
use headwater_manifest::hls::check::excerpt;
use ureq::http::header;

use super::super::fmp4::seconds;
use super::super::http::{Answer, Fetcher};
use super::super::report::Log;
use super::super::url::resolve;

/// UTCTiming elements that are tried; players take the first that answers.
const TIMINGS_MAX: usize = 8;
/// Past a second either clock is wrong: machines that are set by the network differ by milliseconds.
const OFFSET_MAX_US: i64 = 1_000_000;
/// An answer that took longer tells the time too roughly to judge a clock by.
const ROUND_TRIP_MAX_US: i64 = 2_000_000;

/// The clock that availability is judged by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    /// The MPD's clock minus the one here; `None` when it names none that answers.
    pub(super) offset_us: Option<i64>,
}

impl Clock {
    /// Microseconds since the Unix epoch.
    pub(super) fn now_us(self) -> i64 {
        here_us().saturating_add(self.offset_us.unwrap_or(0))
    }

    /// Asks what `mpd` names. `received_at_us`: the clock here when the MPD came.
    pub(super) fn ask(
        fetcher: &Fetcher,
        mpd: &MpdText,
        base: &str,
        received_at_us: i64,
        log: &mut Log,
    ) -> Clock {
        for (scheme, value) in mpd.utc_timings.iter().take(TIMINGS_MAX) {
            let Some(kind) = scheme.strip_prefix("urn:mpeg:dash:utc:") else { continue };
            let offset_us = match kind.split(':').next().unwrap_or_default() {
                "direct" => direct(value, received_at_us, log),
                "http-iso" | "http-xsdate" => by_body(fetcher, value, base, log),
                "http-head" => by_head(fetcher, value, base, log),
                _ => continue,
            };
            let Some(offset_us) = offset_us else { continue };
            if offset_us.saturating_abs() > OFFSET_MAX_US {
                let side = if offset_us > 0 { "ahead of" } else { "behind" };
                log.warning(
                    "dash 5.8",
                    format!(
                        "the UTCTiming clock is {:.1} s {side} the clock here: one of them is wrong",
                        seconds(i128::from(offset_us.saturating_abs()))
                    ),
                );
            }
            return Clock { offset_us: Some(offset_us) };
        }
        Clock::default()
    }
}

/// The clock here in microseconds since the Unix epoch.
pub(super) fn here_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn direct(value: &str, received_at_us: i64, log: &mut Log) -> Option<i64> {
    let time = date_time_us(value.trim());
    if time.is_none() {
        log.error("dash 5.8", format!("UTCTiming says {}, which is no time", excerpt(value)));
    }
    time.map(|time| time.saturating_sub(received_at_us))
}

fn by_body(fetcher: &Fetcher, value: &str, base: &str, log: &mut Log) -> Option<i64> {
    let (answer, middle_us) = ask_first(value, base, log, |url| fetcher.media(url))?;
    if answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none() {
        log.warning(
            "http 10.1",
            "the UTCTiming answer has no Access-Control-Allow-Origin: browsers can't read it",
        );
    }
    let text = String::from_utf8_lossy(&answer.body);
    let time = date_time_us(text.trim());
    if time.is_none() {
        log.error("dash 5.8", format!("UTCTiming answers {}, which is no time", excerpt(&text)));
    }
    time.map(|time| time.saturating_sub(middle_us))
}

fn by_head(fetcher: &Fetcher, value: &str, base: &str, log: &mut Log) -> Option<i64> {
    let (answer, middle_us) = ask_first(value, base, log, |url| fetcher.head(url))?;
    let time = answer.header(header::DATE).and_then(http_date_us);
    if time.is_none() {
        log.error("dash 5.8", "UTCTiming answers without a Date that can be read");
    }
    // Date is cut to seconds: on average half of one is missing.
    time.map(|time| time.saturating_add(500_000).saturating_sub(middle_us))
}

/// The first URL of a white space separated list, and the clock here in the middle of the request.
fn ask_first(
    value: &str,
    base: &str,
    log: &mut Log,
    ask: impl FnOnce(&str) -> Result<Answer, String>,
) -> Option<(Answer, i64)> {
    let url = value.split_whitespace().next().and_then(|url| resolve(base, url))?;
    let asked_us = here_us();
    let answer = match ask(&url) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => {
            log.error("dash 5.8", format!("UTCTiming is answered with {}", answer.status));
            return None;
        }
        Err(error) => {
            log.error("dash 5.8", format!("UTCTiming could not be asked: {error}"));
            return None;
        }
    };
    let round_trip_us = here_us().saturating_sub(asked_us);
    if round_trip_us > ROUND_TRIP_MAX_US {
        let took = seconds(i128::from(round_trip_us));
        log.warning("dash 5.8", format!("UTCTiming took {took:.1} s to answer: too long to tell the time"));
        return None;
    }
    Some((answer, asked_us.saturating_add(round_trip_us / 2)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7).
fn http_date_us(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, text) = text.split_once(", ")?;
    let mut words = text.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (time, zone) = (words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    (zone == "GMT").then(|| date_time_us(&format!("{year}-{month:02}-{day}T{time}Z")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000_000)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(http_date_us(text), expected, "{text}");
        }
    }
}
