//! How many at a time, in all and per address: connections of both listeners and held requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is there now against a limit in all and one per address. IPv6 counts by /64: one customer has that many.
#[derive(Debug)]
pub struct Admission {
    max: AtomicU32,
    max_per_address: AtomicU32,
    now: Mutex<Now>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Now {
    all: u32,
    /// Only addresses that have something now: what is zero is removed, so strangers leave nothing behind.
    by_address: HashMap<IpAddr, u32>,
}

/// One that was let in; dropping it makes room.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    /// `None` as long as nobody knows whose it is.
    address: Option<IpAddr>,
}

impl Admission {
    /// At most `max` at a time, at most `max_per_address` from one address.
    pub fn new(max: u32, max_per_address: u32) -> Arc<Admission> {
        let (max, max_per_address) = (AtomicU32::new(max), AtomicU32::new(max_per_address));
        Arc::new(Admission { max, max_per_address, now: Mutex::default(), refused: AtomicU64::new(0) })
    }

    /// At most so many from now on; whoever is in stays.
    pub fn limit(&self, max: u32, max_per_address: u32) {
        self.max.store(max, Ordering::Relaxed);
        self.max_per_address.store(max_per_address, Ordering::Relaxed);
    }

    /// Lets one in, or counts a refusal.
    pub fn admit(self: &Arc<Admission>, address: IpAddr) -> Option<Admitted> {
        let address = network(address);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let here = now.by_address.get(&address).copied().unwrap_or(0);
        if now.all >= self.max.load(Ordering::Relaxed) || here >= self.max_per_address.load(Ordering::Relaxed)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        now.all += 1;
        now.by_address.insert(address, here + 1);
        Some(Admitted { admission: Arc::clone(self), address: Some(address) })
    }

    /// Lets one in whose address is not known yet, or counts a refusal.
    pub fn admit_unnamed(self: &Arc<Admission>) -> Option<Admitted> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.all >= self.max.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        now.all += 1;
        Some(Admitted { admission: Arc::clone(self), address: None })
    }

    /// How many are there now.
    pub fn count(&self) -> u32 {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// How many were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Admitted {
    /// The same for one whose address is known now, or a refusal that is counted.
    pub fn named(mut self, address: IpAddr) -> Option<Admitted> {
        let address = network(address);
        let mut now = self.admission.now.lock().unwrap_or_else(PoisonError::into_inner);
        let here = now.by_address.entry(address).or_default();
        if *here >= self.admission.max_per_address.load(Ordering::Relaxed) {
            self.admission.refused.fetch_add(1, Ordering::Relaxed);
            drop(now);
            return None;
        }
        *here += 1;
        drop(now);
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut now = self.admission.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.all = now.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(here) = now.by_address.get_mut(&address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                now.by_address.remove(&address);
            }
        }
    }
}

/// The address that counts: IPv4 as it is (also when it comes mapped into IPv6), IPv6 by its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_in_all_and_per_address() {
        let admission = Admission::new(3, 2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = admission.admit(address("192.0.2.1"));
        let second = admission.admit(address("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(address("192.0.2.1")).is_none(), "per address");
        let third = admission.admit(address("2001:db8::1"));
        assert!(third.is_some());
        assert!(admission.admit(address("2001:db8:1::1")).is_none(), "in all");
        drop(first);
        let fourth = admission.admit(address("2001:db8::ffff"));
        assert!(fourth.is_some());
        drop((second, third, fourth));
        // Behind a load balancer: in all at once, per address as soon as that is known.
        let first = admission.admit_unnamed().unwrap().named(address("192.0.2.1"));
        let second = admission.admit_unnamed().unwrap().named(address("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit_unnamed().unwrap().named(address("192.0.2.1")).is_none(), "per address");
        let third = admission.admit_unnamed();
        assert!(admission.admit_unnamed().is_none(), "in all");
        drop((first, second, third));
        admission.limit(1, 1);
        let only = admission.admit(address("192.0.2.1"));
        assert!(only.is_some() && admission.admit(address("192.0.2.2")).is_none(), "other limits");
        drop(only);
        assert_eq!((admission.count(), admission.refused()), (0, 5));
        assert!(admission.now.lock().unwrap().by_address.is_empty(), "strangers leave nothing behind");
    }
}
