//! `control`: what green's latency is compared with, and where the baseline is.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::{self, Check};
use crate::config::service::pools::{PoolSpec, RawPool, pool};
use std::net::SocketAddr;

/// What green's latency is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// Blue's pool.
    #[default]
    Blue,
    /// A fresh copy of blue's release with as large a share as green: at these addresses, or without addresses
    /// in containers that shifter creates.
    Baseline(Vec<SocketAddr>),
}

const CONTROLS: [(&str, bool); 2] = [("blue", false), ("baseline", true)];

impl Control {
    /// The addresses of the copy; empty where there is no copy, or shifter creates it.
    pub fn addresses(&self) -> &[SocketAddr] {
        match self {
            Control::Blue => &[],
            Control::Baseline(addresses) => addresses,
        }
    }
}

/// What green's latency is compared with, from the keys `control` and `baseline`.
pub(crate) fn control(control: &Text, pool: &Option<RawPool>) -> Check<Control> {
    let copy = value::choice("control", control, &CONTROLS, false)?;
    let addresses = baseline(pool)?;
    Ok(if copy {
        Control::Baseline(addresses)
    } else {
        Control::Blue
    })
}

/// The addresses of the copy in the file.
fn baseline(raw: &Option<RawPool>) -> Check<Vec<SocketAddr>> {
    match raw {
        None => Ok(vec![]),
        Some(given) => match pool("baseline", given)? {
            PoolSpec::Addresses(addresses) => Ok(addresses),
            PoolSpec::Containers(_) | PoolSpec::Image(_) => Err(Problem::at(
                given.span(),
                "`baseline` is no address",
                "not here",
                "write the address of a copy of blue's release, such as baseline = \"127.0.0.1:9003\"; beside containers leave it out",
            )),
        },
    }
}

/// Checks that a baseline beside addresses has addresses of its own, and one beside containers has none.
pub(crate) fn fits_control(
    control: &Control,
    (blue, green): (&PoolSpec, Option<&PoolSpec>),
    (key, pool): (&Text, &Option<RawPool>),
) -> Check<()> {
    let wanted = *control != Control::Blue;
    let by_address = matches!(blue, PoolSpec::Addresses(_));
    if let Some(given) = pool {
        let wrong = |what: String, label, help| Err(Problem::at(given.span(), what, label, help));
        if !wanted {
            return wrong(
                "there is a `baseline`, and `control` is \"blue\"".to_owned(),
                "not used",
                "write control = \"baseline\" beside it, or leave it out",
            );
        }
        if !by_address {
            return wrong(
                "`blue` is containers, and `baseline` is an address".to_owned(),
                "not needed",
                "leave it out: shifter makes the copy from blue's own container",
            );
        }
        let pools = [Some(blue), green];
        let taken = |address: &&SocketAddr| {
            let mut pools = pools.into_iter().flatten();
            pools.any(|pool| matches!(pool, PoolSpec::Addresses(all) if all.contains(address)))
        };
        if let Some(address) = control.addresses().iter().find(taken) {
            return wrong(
                format!("{address} is the baseline and blue or green at once"),
                "also in `blue` or `green`",
                "start a copy of blue's release at an address of its own",
            );
        }
    }
    let Some(given) = key.as_ref().filter(|_| wanted) else {
        return Ok(());
    };
    if by_address && control.addresses().is_empty() {
        return Err(Problem::at(
            given.span(),
            "`control` is \"baseline\", and nothing says where the copy of blue's release is",
            "without `baseline`",
            "start a copy of blue's release and write its address: baseline = \"127.0.0.1:9003\"",
        ));
    }
    if matches!(blue, PoolSpec::Containers(blue) if blue.is_swarm()) {
        return Err(Problem::at(
            given.span(),
            "`control` is \"baseline\", and `blue` is a Swarm service: Swarm makes its containers, and shifter none",
            "not with Swarm",
            "leave it out: slowness of a small share is then confirmed in an equal one (`confirm`)",
        ));
    }
    Ok(())
}
