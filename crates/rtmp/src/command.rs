//! Commands: name, transaction id, command object, arguments (RTMP 1.0 7.2), and what `connect` says.

use std::fmt;

use crate::amf0::{self, AmfError, Value};
use crate::text::printable;
use crate::url::{self, Query};

/// Longest text of a peer that is kept for logs.
const LOG_TEXT_BYTES_MAX: usize = 256;
/// Most FourCCs kept of a capability list; Enhanced RTMP defines twelve.
const FOUR_CC_MAX: usize = 64;

/// A command message. `Debug` leaves object and arguments out: they carry keys.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// E.g. `connect`.
    pub name: String,
    /// Echoed in the answer; 0 wants none.
    pub transaction_id: f64,
    /// The command object, null for all but `connect`.
    pub object: Value,
    /// What follows.
    pub arguments: Vec<Value>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(&self.name, LOG_TEXT_BYTES_MAX);
        write!(f, "{name}({}, .., {} arguments)", self.transaction_id, self.arguments.len())
    }
}

impl Command {
    /// Parses the body of a type 20 message, or of a type 17 without its selector byte.
    ///
    /// A transaction id that is missing or no number reads as 0: nothing can be answered then.
    ///
    /// # Errors
    /// [`AmfError`] of any value; `Ok(None)` when the first value is not a name.
    pub fn decode(body: &[u8]) -> Result<Option<Command>, AmfError> {
        let mut values = amf0::decode(body)?.into_iter();
        let Some(Value::String(name)) = values.next() else { return Ok(None) };
        let transaction_id = values.next().and_then(|value| value.as_number()).unwrap_or(0.0);
        let object = values.next().unwrap_or(Value::Null);
        Ok(Some(Command { name, transaction_id, object, arguments: values.collect() }))
    }

    /// The body of a type 20 message.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        amf0::encode(&Value::string(self.name.as_str()), &mut body);
        amf0::encode(&Value::Number(self.transaction_id), &mut body);
        amf0::encode(&self.object, &mut body);
        for argument in &self.arguments {
            amf0::encode(argument, &mut body);
        }
        body
    }

    /// The first argument's text; empty when there is none or it is null.
    pub(crate) fn first_text(&self) -> &str {
        self.arguments.first().and_then(Value::as_str).unwrap_or("")
    }
}

/// Which encoder it is likely to be, from `flashVer`. A hint for logs and for cutting URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoder {
    /// FMLE, OBS and the many encoders that call themselves FMLE.
    FmleLike,
    /// libavformat.
    Ffmpeg,
    /// librtmp's and GStreamer's default text.
    LibrtmpLike,
    /// Anything else.
    Other,
}

/// What the peer (or, in an answer, the server) can do beyond RTMP 1.0 (Enhanced RTMP v2, "Enhancing NetConnection
/// connect Command").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `fourCcList`: codecs, or `*`.
    pub four_cc_list: Vec<String>,
    /// `videoFourCcInfoMap`: FourCC or `*`, and a mask of 1 decode, 2 encode, 4 forward.
    pub video_four_cc: Vec<(String, u32)>,
    /// `audioFourCcInfoMap`.
    pub audio_four_cc: Vec<(String, u32)>,
    /// `capsEx`: 1 reconnect, 2 multitrack, 4 ModEx, 8 nanosecond offset.
    pub caps_ex: u32,
    /// `videoFunction`: 1 seek, 2 HDR, 4 metadata, 8 large scale tile.
    pub video_function: u32,
}

impl Capabilities {
    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        *self == Capabilities::default()
    }

    /// Whether the peer speaks Enhanced RTMP. `videoFunction` 1 (seek) alone is older than it: Flash, ffmpeg and
    /// librtmp send it as players.
    pub fn is_enhanced(&self) -> bool {
        !Capabilities { video_function: self.video_function & !1, ..self.clone() }.is_empty()
    }

    fn from_object(object: &Value) -> Capabilities {
        let list = match object.property("fourCcList") {
            Some(Value::StrictArray(items)) => items.as_slice(),
            _ => &[],
        };
        let map = |name| {
            let properties = object.property(name).map_or(&[][..], Value::properties);
            let entries = properties.iter().take(FOUR_CC_MAX);
            entries.map(|(key, mask)| (printable(key, 4), mask.as_u32().unwrap_or(0))).collect()
        };
        let number = |name| object.property(name).and_then(Value::as_u32).unwrap_or(0);
        Capabilities {
            four_cc_list: list
                .iter()
                .filter_map(Value::as_str)
                .take(FOUR_CC_MAX)
                .map(|text| printable(text, 4))
                .collect(),
            video_four_cc: map("videoFourCcInfoMap"),
            audio_four_cc: map("audioFourCcInfoMap"),
            caps_ex: number("capsEx"),
            video_function: number("videoFunction"),
        }
    }

    /// Properties for the first object of connect's `_result`; those that claim nothing are left out.
    pub(crate) fn to_properties(&self) -> Vec<(String, Value)> {
        let map = |entries: &[(String, u32)]| {
            Value::Object(
                entries.iter().map(|(key, mask)| (key.clone(), Value::Number(f64::from(*mask)))).collect(),
            )
        };
        let list = Value::StrictArray(self.four_cc_list.iter().map(Value::string).collect());
        [
            ("fourCcList", list, self.four_cc_list.is_empty()),
            ("videoFourCcInfoMap", map(&self.video_four_cc), self.video_four_cc.is_empty()),
            ("audioFourCcInfoMap", map(&self.audio_four_cc), self.audio_four_cc.is_empty()),
            ("capsEx", Value::Number(f64::from(self.caps_ex)), self.caps_ex == 0),
            ("videoFunction", Value::Number(f64::from(self.video_function)), self.video_function == 0),
        ]
        .into_iter()
        .filter(|(_, _, empty)| !empty)
        .map(|(name, value, _)| (name.to_owned(), value))
        .collect()
    }
}

/// What `connect` said. Texts are cut to 256 bytes and free of control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Path of tcUrl (of app when tcUrl has none), without query and slashes at its ends. Not checked: the app that
    /// counts is [`crate::StreamTarget::app`].
    pub app: String,
    /// tcUrl without its query and without a user and password.
    pub tc_url: String,
    /// Query of tcUrl or app.
    pub query: Option<Query>,
    /// flashVer.
    pub flash_ver: String,
    /// What flashVer means.
    pub encoder: Encoder,
    /// objectEncoding; this server answers 0 whatever it is.
    pub object_encoding: Option<u32>,
    /// Enhanced RTMP; empty when nothing was said.
    pub capabilities: Capabilities,
}

/// The texts of `connect` that names are resolved with.
#[derive(Clone, Default)]
pub(crate) struct ConnectTexts {
    pub(crate) app: String,
    pub(crate) tc_url: String,
    pub(crate) flash_ver: String,
}

impl ConnectTexts {
    pub(crate) fn from_object(object: &Value) -> ConnectTexts {
        let text = |name| object.property(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let mut tc_url = text("tcUrl");
        if tc_url.is_empty() {
            // Seen in the field.
            tc_url = text("tcurl");
        }
        ConnectTexts { app: text("app"), tc_url, flash_ver: text("flashVer") }
    }
}

impl Connect {
    pub(crate) fn new(texts: &ConnectTexts, object: &Value) -> Connect {
        let (path, query) = url::connect_path(&texts.app, &texts.tc_url);
        let flash_ver = printable(&texts.flash_ver, LOG_TEXT_BYTES_MAX);
        let encoder = if flash_ver.contains("Lavf") {
            Encoder::Ffmpeg
        } else if flash_ver.starts_with("FMLE/") {
            Encoder::FmleLike
        } else if flash_ver.starts_with("LNX ") {
            Encoder::LibrtmpLike
        } else {
            Encoder::Other
        };
        let tc_url = url::without_secrets(&texts.tc_url);
        Connect {
            app: printable(path, LOG_TEXT_BYTES_MAX),
            tc_url: printable(&tc_url, LOG_TEXT_BYTES_MAX),
            query: url::query(query),
            flash_ver,
            encoder,
            object_encoding: object.property("objectEncoding").and_then(Value::as_u32),
            capabilities: Capabilities::from_object(object),
        }
    }
}
