//! Who a client is behind a load balancer or a cache: the PROXY protocol in front of a connection, X-Forwarded-For in a request. Either is
//! believed from those alone who are named in the configuration.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::auth::addresses::Networks;

/// Begins version 2 of the protocol (2.2); no version 1 is so short as not to reach beyond it.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Largest header of version 1, with its line's end (2.1).
const V1_BYTES_MAX: usize = 107;

/// Largest header of version 2 that is read: addresses and what a load balancer adds, a certificate's name and an identifier.
const V2_BYTES_MAX: usize = 2 << 10;

/// Reads the header and not a byte more. Who is on the other side; `None` for the load balancer itself, which looks whether we live.
///
/// # Errors
/// The connection's, and `InvalidData` for what is no header.
pub(crate) async fn header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == V2_SIGNATURE {
        for _ in 0..4 {
            bytes.push(stream.read_u8().await?);
        }
        let length = bytes.last_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        if length > V2_BYTES_MAX {
            return Err(malformed("a header that is too long"));
        }
        let before = bytes.len();
        bytes.resize(before + length, 0);
        stream.read_exact(bytes.get_mut(before..).unwrap_or_default()).await?;
    } else {
        while bytes.starts_with(b"PROXY ") && !bytes.ends_with(b"\r\n") && bytes.len() < V1_BYTES_MAX {
            bytes.push(stream.read_u8().await?);
        }
    }
    match HeaderResult::parse(&bytes) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Tcp6(of) => Some((of.source_address, of.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(of)) => Some((of.source_address, of.source_port).into()),
            (v2::Command::Proxy, v2::Addresses::IPv6(of)) => Some((of.source_address, of.source_port).into()),
            _ => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => {
            Err(malformed("no header of the PROXY protocol"))
        }
    }
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Whose request it is that came from `peer`: of X-Forwarded-For the last address that is not one of `trusted`, for whatever
/// stands before that was said by a stranger.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    if !trusted.contain(peer) {
        return peer;
    }
    let lists = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lists.flat_map(|list| list.to_str().unwrap_or("unreadable").rsplit(','));
    let mut client = peer;
    for hop in hops {
        // What can't be read was said by who is known so far.
        let Some(address) = address(hop.trim()) else { return client };
        client = address;
        if !trusted.contain(address) {
            return client;
        }
    }
    client
}

/// An address alone, or with a port as some load balancers have it.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        bytes.extend(addresses);
        bytes
    }

    #[tokio::test]
    async fn headers() {
        let tcp4 = [192, 0, 2, 7, 127, 0, 0, 1, 0xDD, 0xD5, 0, 80];
        let mut with_more = tcp4.to_vec();
        with_more.extend([0x04, 0, 1, 0]);
        let mut tcp6 = vec![0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        tcp6.extend([0; 15]);
        tcp6.extend([1, 0xDD, 0xD5, 0, 80]);
        let four = || Some("192.0.2.7:56789".parse::<SocketAddr>().unwrap());
        let six = || Some("[2001:db8::7]:56789".parse::<SocketAddr>().unwrap());
        for (name, bytes, expected) in [
            ("version 1", b"PROXY TCP4 192.0.2.7 127.0.0.1 56789 80\r\n".to_vec(), Some(four())),
            ("IPv6", b"PROXY TCP6 2001:db8::7 ::1 56789 80\r\n".to_vec(), Some(six())),
            ("unknown", b"PROXY UNKNOWN\r\n".to_vec(), Some(None)),
            ("version 2", v2(1, 0x11, &tcp4), Some(four())),
            ("with more", v2(1, 0x11, &with_more), Some(four())),
            ("version 2, IPv6", v2(1, 0x21, &tcp6), Some(six())),
            ("version 2, its own", v2(0, 0, &[]), Some(None)),
            ("cut addresses", v2(1, 0x11, &tcp4[..8]), None),
            ("too long", v2(1, 0x11, &[0; 4096]), None),
            ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
            ("RTMP", vec![3; 1537], None),
            ("an endless line", [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(), None),
            ("no address", b"PROXY TCP4 a b 1 2\r\n".to_vec(), None),
        ] {
            let mut stream = [bytes.as_slice(), b"rest"].concat();
            let mut reader = stream.as_slice();
            let read = header(&mut reader).await;
            assert_eq!(read.as_ref().ok().copied(), expected, "{name}: {read:?}");
            if expected.is_some() {
                assert_eq!(reader, b"rest", "{name}");
                for end in 0..bytes.len() {
                    assert!(header(&mut &bytes[..end]).await.is_err(), "{name}, cut at {end}");
                }
            }
            stream.clear();
        }
    }

    #[test]
    fn forwarded() {
        let trusted: Networks = serde_json::from_value(serde_json::json!(["10.0.0.0/8", "::1"])).unwrap();
        for (peer, lists, expected) in [
            ("192.0.2.1", &["198.51.100.1"][..], "192.0.2.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.1,10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.9, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
            ("::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
        ] {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lists:?}");
        }
    }
}
