//! The access log: a line per request under the target `access`, at `debug`, so that it is off unless `log.level` names it
//! (`info,access=debug`). A query is never in it, for it may hold a token; what a player says of itself by CMCD (CTA-5004) is.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use hyper::Request;
use hyper::header::{self, HeaderMap};
use tracing::Level;

use super::response::Reply;
use crate::metrics::RequestKind;

/// The target, for `log.level`.
const TARGET: &str = "access";

/// Characters of what a client says of itself.
const TEXT_MAX: usize = 400;

/// Headers that carry CMCD, where it isn't in the query.
const CMCD_HEADERS: [&str; 4] = ["cmcd-session", "cmcd-object", "cmcd-request", "cmcd-status"];

/// What is told of a request, kept while it is held.
#[derive(Debug)]
pub(super) struct Told {
    method: String,
    path: String,
    agent: String,
    cmcd: String,
}

impl Told {
    /// `None` when the log is off: nothing is looked at then. `path`: of the resource, decoded; none where the request could not be
    /// read as one for a resource.
    pub(super) fn of<B>(request: &Request<B>, path: Option<&str>) -> Option<Box<Told>> {
        if !tracing::enabled!(target: TARGET, Level::DEBUG) {
            return None;
        }
        let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Some(Box::new(Told {
            method: printable(request.method().as_str()),
            path: path.unwrap_or("-").to_owned(),
            agent: printable(agent.unwrap_or_default()),
            cmcd: printable(&cmcd(request.headers(), request.uri().query().unwrap_or_default())),
        }))
    }

    /// The line.
    pub(super) fn line(&self, address: IpAddr, kind: RequestKind, reply: &Reply, took: Duration) {
        tracing::debug!(
            target: TARGET,
            %address,
            method = self.method,
            path = self.path,
            kind = kind.name(),
            status = reply.status.as_u16(),
            // Nobody knows it of what is still being made.
            bytes = reply.body.len(),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            agent = self.agent,
            cmcd = self.cmcd,
            "request"
        );
    }
}

/// The keys of CMCD, as they were sent: decoded from the query, else those of the headers, one behind the other.
fn cmcd(headers: &HeaderMap, query: &str) -> String {
    if let Some(value) = query.split('&').find_map(|pair| pair.strip_prefix("CMCD=")) {
        return percent_decoded(value).into_owned();
    }
    let values = CMCD_HEADERS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// What is no valid encoding stays as it is.
fn percent_decoded(value: &str) -> Cow<'_, str> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let Some(decoded) = digit().zip(digit()).and_then(|(a, b)| u8::try_from(a * 16 + b).ok()) else {
            return Cow::Borrowed(value);
        };
        out.push(decoded);
    }
    String::from_utf8(out).map_or(Cow::Borrowed(value), Cow::Owned)
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmcd_comes_in_the_query_or_in_headers() {
        for (name, query, headers, expected) in [
            ("none", "_HLS_msn=3&key=secret", &[][..], ""),
            ("query", "_HLS_msn=3&CMCD=bl%3D21300%2Csid%3D%22a%22", &[], "bl=21300,sid=\"a\""),
            ("not encoded right", "CMCD=bl%3D21300%2", &[], "bl%3D21300%2"),
            ("headers", "", &[("cmcd-request", "bl=300"), ("cmcd-session", "sid=\"a\"")], "sid=\"a\",bl=300"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(cmcd(&map, query), expected, "{name}");
        }
    }
}
