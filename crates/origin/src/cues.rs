//! Timed metadata from outside: what operators ask for over the API, and what encoders send as AMF data messages.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_codec::id3;
use headwater_codec::scte35::SpliceInfo;
use headwater_manifest::hls::{Attribute, AttributeName, QuotedString};
use headwater_media::{MediaTime, Metadata, Timescale};
use headwater_packager::{Cue, CuePlace, CueRefusal, RangeCue};
use headwater_rtmp::amf0::{self, Value};
use serde::Deserialize;
use tokio::sync::oneshot;

/// How far ahead of the live edge something may be announced: splicers ask for four seconds at least, and nobody for more than minutes.
const AHEAD_MAX: Duration = Duration::from_secs(600);

/// A break and a range last no longer.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests that wait for the stream's next sample.
const INBOX_MAX: usize = 64;

/// Attributes of a range.
const ATTRIBUTES_MAX: usize = 16;

/// Characters of an AMF message that are handed on as text.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// What a request asks for. Times are seconds; `in_seconds` counts from the newest media.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// A text for players, in a TXXX frame; or a whole tag in Base64.
    Id3 {
        text: Option<String>,
        #[serde(default)]
        description: String,
        tag: Option<String>,
        #[serde(default)]
        in_seconds: f64,
    },
    /// A break begins.
    AdBreak {
        id: u32,
        duration_seconds: Option<f64>,
        #[serde(default)]
        in_seconds: f64,
    },
    /// The programme goes on.
    AdBreakEnd {
        id: u32,
        #[serde(default)]
        in_seconds: f64,
    },
    /// A splice_info_section in Base64, or in hexadecimal behind `0x`. It is given the time that is asked for.
    Scte35 {
        section: String,
        #[serde(default)]
        in_seconds: f64,
    },
    /// EXT-X-DATERANGE.
    DateRange {
        id: String,
        class: Option<String>,
        duration_seconds: Option<f64>,
        #[serde(default)]
        attributes: BTreeMap<String, serde_json::Value>,
        #[serde(default)]
        in_seconds: f64,
    },
}

/// What can't be made of a request, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn invalid(what: &str, why: impl fmt::Display) -> Invalid {
    Invalid(format!("{what}: {why}"))
}

impl Request {
    /// The cue, and how far ahead of the newest media.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub(crate) fn cue(self) -> Result<(Cue, Duration), Invalid> {
        let (cue, in_seconds) = match self {
            Request::Id3 { text, description, tag, in_seconds } => {
                let tag = match (text, tag) {
                    (Some(text), None) => {
                        id3::text(&description, &text).map_err(|error| invalid("text", error))?
                    }
                    (None, Some(tag)) => {
                        let tag = STANDARD.decode(tag).map_err(|error| invalid("tag", error))?;
                        id3::check(&tag).map_err(|error| invalid("tag", error))?;
                        tag
                    }
                    _ => return Err(Invalid("either text or tag is to be given".to_owned())),
                };
                (Cue::Id3(tag.into()), in_seconds)
            }
            Request::AdBreak { id, duration_seconds, in_seconds } => {
                let duration = length("duration_seconds", duration_seconds)?;
                (Cue::Splice(SpliceInfo::insert(id, true, duration.map(ticks))), in_seconds)
            }
            Request::AdBreakEnd { id, in_seconds } => {
                (Cue::Splice(SpliceInfo::insert(id, false, None)), in_seconds)
            }
            Request::Scte35 { section, in_seconds } => (Cue::Splice(splice_info(&section)?), in_seconds),
            Request::DateRange { id, class, duration_seconds, attributes, in_seconds } => {
                let quoted = |what, text| QuotedString::new(text).map_err(|error| invalid(what, error));
                let range = RangeCue {
                    id: quoted("id", id)?,
                    class: class.map(|class| quoted("class", class)).transpose()?,
                    duration: length("duration_seconds", duration_seconds)?,
                    attributes: attributes_of(attributes)?,
                };
                (Cue::Range(range), in_seconds)
            }
        };
        let ahead = Duration::try_from_secs_f64(in_seconds).ok().filter(|ahead| *ahead <= AHEAD_MAX);
        let ahead = ahead.ok_or_else(|| {
            invalid("in_seconds", format_args!("a number from 0 to {}", AHEAD_MAX.as_secs()))
        })?;
        Ok((cue, ahead))
    }
}

fn length(what: &str, seconds: Option<f64>) -> Result<Option<Duration>, Invalid> {
    let Some(seconds) = seconds else { return Ok(None) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(length) if length <= LENGTH_MAX => Ok(Some(length)),
        _ => Err(invalid(what, format_args!("a number from 0 to {}", LENGTH_MAX.as_secs()))),
    }
}

fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0).saturating_mul(90)
}

fn splice_info(text: &str) -> Result<SpliceInfo, Invalid> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let section = match hexadecimal {
        Some(digits) => bytes_of(digits).ok_or_else(|| Invalid("section: not hexadecimal".to_owned()))?,
        None => STANDARD.decode(text).map_err(|error| invalid("section", error))?,
    };
    SpliceInfo::parse(&section).map_err(|error| invalid("section", error))
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = *pair;
        u8::try_from(digit(high)? << 4 | digit(low)?).ok()
    };
    pairs.iter().map(byte).collect()
}

fn attributes_of(
    attributes: BTreeMap<String, serde_json::Value>,
) -> Result<Vec<(AttributeName, Attribute)>, Invalid> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(invalid("attributes", format_args!("at most {ATTRIBUTES_MAX}")));
    }
    let attribute = |(name, value): (String, serde_json::Value)| {
        let value = match value {
            serde_json::Value::String(text) => {
                Attribute::Text(QuotedString::new(text).map_err(|error| invalid(&name, error))?)
            }
            serde_json::Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Attribute::Number(number),
                None => return Err(invalid(&name, "a number that is too large")),
            },
            _ => return Err(invalid(&name, "a string or a number")),
        };
        let name = AttributeName::new(name.clone()).map_err(|error| invalid(&name, error))?;
        Ok((name, value))
    };
    attributes.into_iter().map(attribute).collect()
}

/// What an encoder's data message asks for: the cue, and how far ahead of the message. `None` for messages that are no cues.
///
/// Known are `onAdCue` and `onCuePoint` with splice information in Base64 (`cue`), the simple mode of Adobe Primetime (`cue` is
/// `SpliceOut`), Elemental Live's `onCuePoint` (`name` is `scte35`, the rest in `parameters`) and YouTube's (`type` is
/// `com.youtube.cuepoint`), and an ID3 tag in Base64 as this server's FLV has it (`name` is `id3`, `tag` in `parameters`). Any other
/// `onCuePoint` becomes an ID3 tag with the message as JSON.
pub(crate) fn of_message(message: &Metadata) -> Option<(Cue, Duration)> {
    if !matches!(message.name.as_str(), "onAdCue" | "onCuePoint") {
        return None;
    }
    let values = amf0::decode(&message.amf0).ok()?;
    let value = values.iter().skip(1).find(|value| !value.properties().is_empty())?;
    let ahead = ahead_of(value, message.time);
    let text = |name| value.property(name).and_then(Value::as_str);
    let number = |name| value.property(name).and_then(Value::as_number);
    if let Some(cue) = text("cue") {
        if cue == "SpliceOut" {
            let id = number_of_text(text("id").unwrap_or_default());
            return Some((advertisement(id, number("duration")), ahead));
        }
        return splice_info(cue).ok().map(|info| (Cue::Splice(info), ahead));
    }
    if text("type") == Some("com.youtube.cuepoint") {
        let id = value.property("splice_event_id").and_then(Value::as_u32).unwrap_or(0);
        let begins = !matches!(value.property("cue_point_start"), Some(Value::Boolean(false)));
        let before = Duration::try_from_secs_f64(number("pre_roll_time_sec").unwrap_or(0.0));
        let ahead = before.unwrap_or_default().min(AHEAD_MAX);
        let end = || Cue::Splice(SpliceInfo::insert(id, false, None));
        let cue = if begins { advertisement(id, number("break_duration_sec")) } else { end() };
        return Some((cue, ahead));
    }
    if text("name") == Some("scte35") {
        let parameters = value.property("parameters")?;
        // All of them are strings there.
        let text = |name| parameters.property(name).and_then(Value::as_str);
        let duration = text("duration").and_then(|text| text.parse().ok());
        return Some((advertisement(number_of_text(text("id").unwrap_or_default()), duration), ahead));
    }
    if text("name") == Some("id3")
        && let Some(tag) =
            value.property("parameters").and_then(|parameters| parameters.property("tag")?.as_str())
    {
        let tag = STANDARD.decode(tag).ok().filter(|tag| id3::check(tag).is_ok())?;
        return Some((Cue::Id3(tag.into()), ahead));
    }
    let json = serde_json::to_string(&json_of(value)).ok().filter(|json| json.len() <= TEXT_BYTES_MAX)?;
    let tag = id3::text(&message.name, &json).ok()?;
    Some((Cue::Id3(tag.into()), ahead))
}

/// `time` is on the clock of the message's own stamp. One that has passed, or is far, is taken for another clock's: the message counts.
fn ahead_of(value: &Value, stamp: MediaTime) -> Duration {
    let Some(time) = value.property("time").and_then(Value::as_number) else { return Duration::ZERO };
    let stamp = stamp.rescale(Timescale::MILLIS).ticks();
    let ahead = time - Duration::from_millis(stamp.max(0).unsigned_abs()).as_secs_f64();
    Duration::try_from_secs_f64(ahead).ok().filter(|ahead| *ahead <= AHEAD_MAX).unwrap_or_default()
}

fn advertisement(id: u32, seconds: Option<f64>) -> Cue {
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.filter(|duration| !duration.is_zero() && *duration <= LENGTH_MAX);
    Cue::Splice(SpliceInfo::insert(id, true, duration.map(ticks)))
}

/// Ids that are texts: the number, or one that goes with the text, so that the end of a break finds its beginning (FNV-1a).
fn number_of_text(id: &str) -> u32 {
    id.parse().unwrap_or_else(|_| {
        id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    })
}

/// What AMF says, as JSON; what JSON has no words for is null.
fn json_of(value: &Value) -> serde_json::Value {
    let object = |properties: &amf0::Properties| {
        properties.iter().map(|(name, value)| (name.clone(), json_of(value))).collect()
    };
    match value {
        Value::Number(number) => serde_json::Number::from_f64(*number).into(),
        Value::Boolean(is_true) => (*is_true).into(),
        Value::String(text) | Value::XmlDocument(text) => text.as_str().into(),
        Value::Object(properties) | Value::EcmaArray(properties) => {
            serde_json::Value::Object(object(properties))
        }
        Value::TypedObject { properties, .. } => serde_json::Value::Object(object(properties)),
        Value::StrictArray(values) => values.iter().map(json_of).collect(),
        Value::Date { unix_ms, .. } => serde_json::Number::from_f64(*unix_ms).into(),
        Value::Null | Value::Undefined | Value::Unsupported | Value::Reference(_) => serde_json::Value::Null,
    }
}

/// A request that waits for the publisher's next sample.
#[derive(Debug)]
struct Ordered {
    cue: Cue,
    ahead: Duration,
    answer: oneshot::Sender<Result<CuePlace, CueRefusal>>,
}

/// What others want inserted into a stream: the publisher's task alone writes to it, and takes it from here.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    ordered: Mutex<VecDeque<Ordered>>,
    /// Looked at with each sample.
    is_filled: AtomicBool,
}

impl Inbox {
    /// Leaves a request; the answer comes with the next sample.
    ///
    /// # Errors
    /// [`CueRefusal::TooMuch`] while too many wait.
    pub(crate) fn put(
        &self,
        cue: Cue,
        ahead: Duration,
    ) -> Result<oneshot::Receiver<Result<CuePlace, CueRefusal>>, CueRefusal> {
        let (answer, answered) = oneshot::channel();
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever doesn't wait any more wants nothing any more.
        ordered.retain(|ordered| !ordered.answer.is_closed());
        if ordered.len() >= INBOX_MAX {
            return Err(CueRefusal::TooMuch);
        }
        ordered.push_back(Ordered { cue, ahead, answer });
        self.is_filled.store(true, Ordering::Release);
        Ok(answered)
    }

    /// Hands what waits to `insert`, the oldest first.
    pub(crate) fn take(&self, mut insert: impl FnMut(Cue, Duration) -> Result<CuePlace, CueRefusal>) {
        if !self.is_filled.load(Ordering::Relaxed) || !self.is_filled.swap(false, Ordering::Acquire) {
            return;
        }
        let ordered = std::mem::take(&mut *self.ordered.lock().unwrap_or_else(PoisonError::into_inner));
        for Ordered { cue, ahead, answer } in ordered {
            if !answer.is_closed() {
                // Whoever left in this moment learns of it by looking at the stream.
                let _ = answer.send(insert(cue, ahead));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_codec::scte35::Splice;

    use super::*;

    fn request(json: &str) -> Result<(Cue, Duration), String> {
        let request: Request = serde_json::from_str(json).map_err(|error| error.to_string())?;
        request.cue().map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn requests() {
        let (cue, ahead) =
            request(r#"{"type":"id3","text":"goal","description":"score","in_seconds":1.5}"#).unwrap();
        assert_eq!(cue, Cue::Id3(id3::text("score", "goal").unwrap().into()));
        assert_eq!(ahead, Duration::from_millis(1_500));
        let tag = STANDARD.encode(id3::text("a", "b").unwrap());
        assert!(request(&format!(r#"{{"type":"id3","tag":"{tag}"}}"#)).is_ok());
        let (cue, _) = request(r#"{"type":"ad_break","id":7,"duration_seconds":30}"#).unwrap();
        let Cue::Splice(info) = cue else { panic!("{cue:?}") };
        assert_eq!(
            (info.splice(), info.event_id(), info.duration()),
            (Splice::Out, Some(7), Some(2_700_000))
        );
        let (cue, _) = request(r#"{"type":"ad_break_end","id":7}"#).unwrap();
        let Cue::Splice(info) = cue else { panic!("{cue:?}") };
        assert_eq!((info.splice(), info.event_id()), (Splice::In, Some(7)));
        let section = SpliceInfo::insert(1, true, None);
        let digits: String = section.section().iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = STANDARD.encode(section.section());
        for text in [format!("0x{digits}"), base64] {
            let (cue, _) = request(&format!(r#"{{"type":"scte35","section":"{text}"}}"#)).unwrap();
            assert_eq!(cue, Cue::Splice(section.clone()));
        }
        let range = r#"{"type":"date_range","id":"a","class":"b","attributes":{"X-A":"t","X-B":2.5}}"#;
        let (Cue::Range(range), _) = request(range).unwrap() else { panic!("a range") };
        assert_eq!(range.attributes.len(), 2);
    }

    #[test]
    fn requests_that_can_not_be_met_say_why() {
        for (json, why) in [
            (r#"{"type":"id3"}"#, "either text or tag"),
            (r#"{"type":"id3","text":"a","tag":"b"}"#, "either text or tag"),
            (r#"{"type":"id3","tag":"AAAA"}"#, "tag: "),
            (r#"{"type":"id3","text":"a","in_seconds":-1}"#, "in_seconds: a number from 0 to 600"),
            (r#"{"type":"id3","text":"a","in_seconds":601}"#, "in_seconds"),
            (r#"{"type":"id3","text":"a","colour":1}"#, "colour"),
            (r#"{"type":"ad_break","id":-1}"#, "-1"),
            (r#"{"type":"ad_break","id":1,"duration_seconds":1e9}"#, "duration_seconds: a number from 0"),
            (r#"{"type":"scte35","section":"0xfc3"}"#, "section: not hexadecimal"),
            (r#"{"type":"scte35","section":"0xfc30"}"#, "section: "),
            (r#"{"type":"date_range","id":""}"#, "id: an empty"),
            (r#"{"type":"date_range","id":"a\"b"}"#, "id: character"),
            (r#"{"type":"date_range","id":"a","attributes":{"DURATION":1}}"#, "DURATION: "),
            (r#"{"type":"date_range","id":"a","attributes":{"X-A":[]}}"#, "X-A: a string or a number"),
            (r#"{"type":"other"}"#, "other"),
        ] {
            let error = request(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }

    fn message(name: &str, value: &Value) -> Metadata {
        let mut amf0 = Vec::new();
        amf0::encode(&Value::string(name), &mut amf0);
        amf0::encode(value, &mut amf0);
        Metadata {
            time: MediaTime::new(10_000, Timescale::MILLIS),
            name: name.to_owned(),
            amf0: Bytes::from(amf0),
        }
    }

    #[test]
    fn messages_of_encoders() {
        let section = SpliceInfo::insert(5, true, Some(90_000));
        let cue = Value::string(STANDARD.encode(section.section()));
        let kind = Value::string("scte35");
        let primetime = Value::object([("cue", cue), ("type", kind), ("time", Value::Number(14.5))]);
        assert_eq!(
            of_message(&message("onAdCue", &primetime)),
            Some((Cue::Splice(section), Duration::from_millis(4_500)))
        );
        let simple = Value::object([
            ("cue", Value::string("SpliceOut")),
            ("id", Value::string("12")),
            ("duration", Value::Number(15.0)),
            ("time", Value::Number(0.0)),
        ]);
        let fifteen = SpliceInfo::insert(12, true, Some(15 * 90_000));
        assert_eq!(
            of_message(&message("onAdCue", &simple)),
            Some((Cue::Splice(fifteen.clone()), Duration::ZERO))
        );
        let parameters = Value::object([("id", Value::string("12")), ("duration", Value::string("15"))]);
        let elemental = Value::object([("name", Value::string("scte35")), ("parameters", parameters)]);
        assert_eq!(
            of_message(&message("onCuePoint", &elemental)),
            Some((Cue::Splice(fifteen), Duration::ZERO))
        );
        let youtube = Value::object([
            ("type", Value::string("com.youtube.cuepoint")),
            ("cue_point_start", Value::Boolean(false)),
            ("splice_event_id", Value::Number(3.0)),
            ("pre_roll_time_sec", Value::Number(2.5)),
        ]);
        assert_eq!(
            of_message(&message("onCuePoint", &youtube)),
            Some((Cue::Splice(SpliceInfo::insert(3, false, None)), Duration::from_millis(2_500)))
        );
        let other = Value::object([("name", Value::string("chapter")), ("n", Value::Number(2.0))]);
        let tag = id3::text("onCuePoint", r#"{"n":2.0,"name":"chapter"}"#).unwrap();
        assert_eq!(of_message(&message("onCuePoint", &other)), Some((Cue::Id3(tag.into()), Duration::ZERO)));
        assert_eq!(of_message(&message("onMetaData", &other)), None);
        assert_eq!(of_message(&message("onCuePoint", &Value::Null)), None);
    }

    #[test]
    fn the_inbox_is_bounded_and_forgets_who_left() {
        let inbox = Inbox::default();
        let cue = || Cue::Id3(Bytes::new());
        let mut waiting: Vec<_> = (0..INBOX_MAX).map(|_| inbox.put(cue(), Duration::ZERO).unwrap()).collect();
        assert_eq!(inbox.put(cue(), Duration::ZERO).unwrap_err(), CueRefusal::TooMuch);
        waiting.pop();
        let mut last = inbox.put(cue(), Duration::ZERO).unwrap();
        let mut count = 0;
        inbox.take(|_, _| {
            count += 1;
            Err(CueRefusal::NotLive)
        });
        assert_eq!(count, INBOX_MAX);
        assert_eq!(last.try_recv(), Ok(Err(CueRefusal::NotLive)));
        inbox.take(|_, _| panic!("there is nothing"));
    }
}
