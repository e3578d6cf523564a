//! The routing table: what should be routed where, as one value with a version.
//!
//! The control plane publishes a [`Table`], the data plane follows it. Nothing else passes between
//! them in that direction, so "what is routed is what was decided" can be read off one value.

use crate::core::baseline::Places;
use crate::core::stats::{Ceilings, Limits};
use crate::core::time::Time;
use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// Which of the two pools: the version that runs now, or the one that is to replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// The version that runs now.
    Blue,
    /// The version that is to replace it.
    Green,
}

impl Color {
    /// Both, blue first: the order of every pair in this crate.
    pub const BOTH: [Color; 2] = [Color::Blue, Color::Green];

    /// The index of this colour in a pair.
    pub const fn index(self) -> usize {
        match self {
            Color::Blue => 0,
            Color::Green => 1,
        }
    }

    /// The other pool.
    pub const fn other(self) -> Color {
        match self {
            Color::Blue => Color::Green,
            Color::Green => Color::Blue,
        }
    }

    /// The name in labels, logs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Color::Blue => "blue",
            Color::Green => "green",
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One address that serves requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// The identity of the backend, independent of its address: a container with its start time, or the address itself.
    pub id: String,
    /// The address that it listens on.
    pub addr: SocketAddr,
}

/// The backends of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// The name of this version for people: an image tag, or the addresses.
    pub release: String,
    /// The backends, in the order of the configuration.
    pub backends: Vec<Backend>,
}

/// A share that grows evenly to its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ramp {
    /// The weight at the start of the ramp.
    pub from: Weight,
    /// The start of the ramp.
    pub since: Time,
    /// The length of the ramp; above zero.
    pub over: Duration,
}

impl Ramp {
    /// The weight now, on the way to `target`.
    pub fn at(&self, target: Weight, now: Time) -> Weight {
        let (from, to) = (self.from.as_basis_points(), target.as_basis_points());
        let (spent, all) = (now.since(self.since).as_millis(), self.over.as_millis());
        if spent >= all || to <= from {
            return target;
        }
        let grown = u128::from(to - from) * spent / all;
        let points = u16::try_from(grown).unwrap_or(0) + from;
        Weight::basis_points(points).unwrap_or(target)
    }
}

/// The desired routing of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The service's name.
    pub service: String,
    /// The rollout that owns this entry; 0 between rollouts.
    pub rollout: u64,
    /// The version that runs now.
    pub blue: Pool,
    /// The version that is to replace it, when there is one.
    pub green: Option<Pool>,
    /// A fresh copy of blue's release that serves a part of blue's users, when there is one.
    #[serde(default)]
    pub baseline: Option<Pool>,
    /// Green's share of new requests.
    pub weight: Weight,
    /// How the share grows to its weight, where it does not begin at once.
    pub ramp: Option<Ramp>,
    /// Salt that turns the line 0..10 000; a new one for each release.
    pub salt: u64,
    /// Incremented by a rollback: cookies of an older epoch pin no user.
    pub epoch: u32,
    /// The latency limits of this step, once they are frozen.
    pub limits: Option<Limits>,
    /// The absolute latency limits of the rollout.
    pub ceilings: Ceilings,
    /// A window of a switchback: a request assigned to green is served by blue, and still counted as green's.
    #[serde(default)]
    pub withheld: bool,
    /// Incremented at each step: counts of entries with different marks are never judged together.
    pub mark: u64,
}

impl Route {
    /// The entry of a service without a rollout: blue serves.
    pub fn at_rest(service: &str, blue: Pool) -> Route {
        Route {
            service: service.to_owned(),
            rollout: 0,
            blue,
            green: None,
            baseline: None,
            weight: Weight::NONE,
            ramp: None,
            salt: 0,
            epoch: 0,
            limits: None,
            ceilings: Ceilings::default(),
            withheld: false,
            mark: 1,
        }
    }

    /// Green's share of new requests now.
    pub fn share(&self, now: Time) -> Weight {
        self.ramp
            .map_or(self.weight, |ramp| ramp.at(self.weight, now))
    }

    /// The places of the line that the baseline serves beside a green of this share.
    pub fn places(&self, share: Weight) -> Option<Places> {
        // During a ramp to a share without a baseline, there is no baseline either.
        let wanted = self.baseline.as_ref().and(Places::beside(self.weight));
        wanted.and(Places::beside(share))
    }

    /// The pool of a colour.
    pub fn pool(&self, color: Color) -> Option<&Pool> {
        match color {
            Color::Blue => Some(&self.blue),
            Color::Green => self.green.as_ref(),
        }
    }
}

/// The desired routing of all services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Incremented by every change; counts carry the version that they were made under.
    pub version: u64,
    /// One entry for each service, in the order of the configuration.
    pub routes: Vec<Route>,
}

impl Table {
    /// The entry of a service.
    pub fn route(&self, service: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.service == service)
    }
}
