//! The commands on a rollout: promote, approve, pause, resume, abort, rollback, set-weight, reload.

use crate::admin::Client;
use crate::admin::body::Done;
use crate::cli::connect;
use crate::cli::{Global, output};
use crate::core::weight::Weight;
use crate::exit::Exit;

/// Which service.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service; not needed when there is only one.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
}

/// Back to blue, of which service.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The service; not needed when there is only one.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Green's containers run on, without users, for `keep_green`: to be looked at.
    #[arg(long)]
    pub keep: bool,
}

/// Which share, of which service.
#[derive(Debug, clap::Args)]
pub struct WeightArgs {
    /// Green's share in percent, 0 to 100: 25, 0.5 or 10%.
    #[arg(value_name = "PERCENT", value_parser = weight)]
    pub percent: Weight,
    /// The service; not needed when there is only one.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
}

fn weight(text: &str) -> Result<Weight, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    number
        .and_then(Weight::from_percent)
        .ok_or_else(|| "give a share from 0 to 100, such as 25 or 0.5".to_owned())
}

/// Sends a command that needs only a service.
pub fn run(global: &Global, verb: &str, args: Args) -> Exit {
    told(
        global,
        connect::ask(global, async |client| {
            client.verb(args.service.as_deref(), verb).await
        }),
    )
}

/// Rolls back to blue.
pub fn rollback(global: &Global, args: RollbackArgs) -> Exit {
    let RollbackArgs { service, keep } = args;
    let asked = async |client: &Client| client.rollback(service.as_deref(), keep).await;
    told(global, connect::ask(global, asked))
}

/// Sets green's share.
pub fn set_weight(global: &Global, args: WeightArgs) -> Exit {
    let WeightArgs { percent, service } = args;
    told(
        global,
        connect::ask(global, async |client| {
            client.set_weight(service.as_deref(), percent).await
        }),
    )
}

/// Makes shifter read its configuration again.
pub fn reload(global: &Global) -> Exit {
    told(
        global,
        connect::ask(global, async |client| client.reload().await),
    )
}

fn told(global: &Global, done: Result<Done, Exit>) -> Exit {
    match done {
        Ok(done) => output::facts(global.output, &done, &output::tame(&done.text)),
        Err(exit) => exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_percent_with_or_without_its_sign() {
        for (text, points) in [
            ("25", 2_500),
            ("0.5", 50),
            ("10%", 1_000),
            ("100 %", 10_000),
            ("0", 0),
        ] {
            assert_eq!(
                weight(text).map(Weight::as_basis_points),
                Ok(points),
                "{text}"
            );
        }
        for bad in ["", "101", "-1", "NaN", "inf", "half", "5pp"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }
}
