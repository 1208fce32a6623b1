//! Networks from which somebody may or may not come.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Addresses and networks, written as `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether one of them holds the address; IPv4 inside IPv6 is IPv4.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether one who comes from `address` is let in: denied ones are not, and where some are allowed only those are.
pub fn is_let_in(address: IpAddr, allow: &Networks, deny: &Networks) -> bool {
    !deny.contain(address) && (allow.is_empty() || allow.contain(address))
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(IpNet::to_string)).finish()
    }
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(IpNet::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Networks, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let network = |text: &String| {
            let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            parsed.map_err(|_| {
                let allowed = "as in \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/32\"";
                D::Error::custom(format_args!("{text:?} is neither an address nor a network, {allowed}"))
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        serde_json::from_value(serde_json::json!(texts)).unwrap()
    }

    #[test]
    fn table() {
        let office = networks(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]);
        let neighbour = networks(&["192.0.2.66"]);
        let none = Networks::default();
        for (address, allow, deny, expected) in [
            ("203.0.113.1", &none, &none, true),
            ("192.0.2.1", &office, &none, true),
            ("::ffff:192.0.2.1", &office, &none, true),
            ("198.51.100.7", &office, &none, true),
            ("198.51.100.8", &office, &none, false),
            ("2001:db8:1::1", &office, &none, true),
            ("2001:db9::1", &office, &none, false),
            ("192.0.2.66", &office, &neighbour, false),
            ("192.0.2.66", &none, &neighbour, false),
            ("192.0.2.67", &none, &neighbour, true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(is_let_in(address, allow, deny), expected, "{address}");
        }
        for broken in ["", "192.0.2", "192.0.2.0/33", "example.com", "192.0.2.1:80"] {
            assert!(serde_json::from_value::<Networks>(serde_json::json!([broken])).is_err(), "{broken}");
        }
    }
}
