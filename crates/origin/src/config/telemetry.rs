//! `[telemetry]`: who is sent traces.

use std::fmt;

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::Secret;

/// What OTLP over HTTP has behind a collector's address (OTLP 1, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The collector's address; empty for none.
    pub otlp_endpoint: String,
    /// The value of `Authorization` in what it is sent; empty for none.
    pub authorization: Secret,
    /// PEM file with roots that are trusted beside the public ones; empty for none.
    pub ca: String,
    /// How many of the requests of players are recorded.
    pub sample_ratio: Ratio,
}

impl Telemetry {
    /// Where spans are posted to, when there is a collector.
    pub fn traces_url(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.trim_end_matches('/');
        if endpoint.is_empty() {
            return None;
        }
        let is_whole = endpoint.ends_with(TRACES_PATH);
        Some(if is_whole { endpoint.to_owned() } else { format!("{endpoint}{TRACES_PATH}") })
    }

    /// The value of `Authorization`, when there is one.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(self.authorization.expose()).ok()?;
        value.set_sensitive(true);
        (!value.is_empty()).then_some(value)
    }

    /// The first broken rule, as (key, what is wrong and what is allowed).
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let broken = |key: &str, reason: &str| Err((format!("telemetry.{key}"), reason.to_owned()));
        let is_collector = |url: &Uri| {
            let is_http = matches!(url.scheme_str(), Some("http" | "https"));
            is_http && url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none()
        };
        if !self.otlp_endpoint.is_empty() && !self.otlp_endpoint.parse().is_ok_and(|url| is_collector(&url)) {
            return broken("otlp_endpoint", "not http:// or https://, a host and at most a path");
        }
        if HeaderValue::try_from(self.authorization.expose()).is_err() {
            return broken("authorization", "not the value of a header");
        }
        Ok(())
    }
}

/// A part of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u32);

/// The whole.
const MILLION: u32 = 1_000_000;

impl Ratio {
    /// From 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }
}

impl Default for Ratio {
    /// One request of a hundred.
    fn default() -> Ratio {
        Ratio(MILLION / 100)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.fraction())
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ratio, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Ratio;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 1, as in 0.01")
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Ratio, E> {
                if !(0.0..=1.0).contains(&value) {
                    return Err(E::custom("out of range; 0 to 1 is allowed"));
                }
                // From 0 to a million, whole.
                Ok(Ratio((value * f64::from(MILLION)).round() as u32))
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Ratio, E> {
                match value {
                    0 => Ok(Ratio(0)),
                    1 => Ok(Ratio(MILLION)),
                    _ => Err(E::custom("out of range; 0 to 1 is allowed")),
                }
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Ratio, E> {
                i64::try_from(value)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
                    .and_then(|value| self.visit_i64(value))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_spans_are_posted_to() {
        for (endpoint, expected) in [
            ("", None),
            ("http://127.0.0.1:4318", Some("http://127.0.0.1:4318/v1/traces")),
            ("http://127.0.0.1:4318/", Some("http://127.0.0.1:4318/v1/traces")),
            ("https://example.com/otlp", Some("https://example.com/otlp/v1/traces")),
            ("https://example.com/otlp/v1/traces", Some("https://example.com/otlp/v1/traces")),
        ] {
            let telemetry = Telemetry { otlp_endpoint: endpoint.to_owned(), ..Telemetry::default() };
            assert_eq!(telemetry.check(), Ok(()), "{endpoint}");
            assert_eq!(telemetry.traces_url().as_deref(), expected, "{endpoint}");
        }
        for endpoint in ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a/?b", "/v1/traces"] {
            let telemetry = Telemetry { otlp_endpoint: endpoint.to_owned(), ..Telemetry::default() };
            assert!(telemetry.check().is_err(), "{endpoint}");
        }
    }

    #[test]
    fn ratios() {
        let ratio = |text: &str| {
            toml::from_str::<Telemetry>(&format!("sample_ratio = {text}")).map(|t| t.sample_ratio)
        };
        for (text, expected) in
            [("0", 0), ("0.0", 0), ("0.01", 10_000), ("0.000001", 1), ("1", MILLION), ("1.0", MILLION)]
        {
            assert_eq!(ratio(text), Ok(Ratio(expected)), "{text}");
        }
        for text in ["-0.1", "1.1", "2", "-1", "nan", "inf", "\"0.1\""] {
            assert!(ratio(text).is_err(), "{text}");
        }
        assert_eq!(Ratio(10_000).fraction(), 0.01);
    }
}
