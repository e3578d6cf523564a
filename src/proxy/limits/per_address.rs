//! Limits by client address: open connections, and the rate of requests.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most addresses that are remembered; when more ask within one second, new ones are not
/// rate-limited.
const REMEMBERED_MAX: usize = 100_000;

/// Connections and request rates by client address.
#[derive(Debug, Default)]
pub struct AddressLimiter {
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
    pace: Mutex<HashMap<IpAddr, Instant>>,
}

/// The permit for one connection of an address; given back when this is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
    address: IpAddr,
}

impl AddressLimiter {
    /// Takes a permit for one more connection of this address; `None` when it has `most` already.
    pub fn enter(&self, address: IpAddr, most: u32) -> Option<ConnectionPermit> {
        let address = whose(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit {
            open: self.open.clone(),
            address,
        })
    }

    /// Counts one more request of this address; false when there were more than `most` in one
    /// second.
    ///
    /// The generic cell rate algorithm (ITU-T I.371): an address has one second's worth of requests
    /// at once, and gets it back evenly.
    pub fn asks(&self, address: IpAddr, most: u32, now: Instant) -> bool {
        let (second, each) = (Duration::from_secs(1), Duration::from_secs(1) / most.max(1));
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.len() >= REMEMBERED_MAX {
            pace.retain(|_, paid| *paid > now);
            if pace.len() >= REMEMBERED_MAX {
                return true;
            }
        }
        let paid = pace.entry(whose(address)).or_insert(now);
        let next = (*paid).max(now) + each;
        if next > now + second {
            return false;
        }
        *paid = next;
        true
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// The address that is counted: an IPv4 address, or the /64 of IPv6 that a client can choose
/// addresses from.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_so_many_seats() {
        let limiter = AddressLimiter::default();
        let first = limiter.enter(ip("10.0.0.1"), 2).unwrap();
        let _second = limiter.enter(ip("::ffff:10.0.0.1"), 2).unwrap();
        assert!(limiter.enter(ip("10.0.0.1"), 2).is_none());
        let _other = limiter.enter(ip("10.0.0.2"), 2).unwrap();
        drop(first);
        assert!(limiter.enter(ip("10.0.0.1"), 2).is_some());
        let _six = limiter.enter(ip("fd00::1"), 1).unwrap();
        assert!(
            limiter.enter(ip("fd00::2"), 1).is_none(),
            "one /64 is one user"
        );
        drop((_second, _other, _six));
        assert!(
            limiter.open.lock().unwrap().is_empty(),
            "nobody is remembered"
        );
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_evenly() {
        let (limiter, start) = (AddressLimiter::default(), Instant::now());
        let asks = |millis| limiter.asks(ip("10.0.0.1"), 10, start + Duration::from_millis(millis));
        assert!((0..10).all(|_| asks(0)) && !asks(0) && !asks(99));
        assert!(asks(100) && !asks(100));
        assert!(
            limiter.asks(ip("10.0.0.2"), 10, start),
            "another one is not held to it"
        );
        // Over ten seconds, no more than the rate, whatever is tried.
        let taken = (1_000..11_000).filter(|millis| asks(*millis)).count();
        assert!((100..=110).contains(&taken), "{taken}");
    }

    #[test]
    fn memory_has_an_end() {
        let (limiter, start) = (AddressLimiter::default(), Instant::now());
        for n in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            assert!(limiter.asks(IpAddr::from(n.to_be_bytes()), 1, start));
        }
        assert_eq!(limiter.pace.lock().unwrap().len(), REMEMBERED_MAX);
        assert!(limiter.asks(ip("10.0.0.1"), 1, start + Duration::from_secs(2)));
        assert_eq!(limiter.pace.lock().unwrap().len(), 1);
    }
}
