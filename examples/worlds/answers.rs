//! What answers are like besides failures and the first byte: how soon a difference is found.

use crate::{Size, delay, judge, seed};
use shifter::core::answers::AnswerKind;
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{drive, many, steady};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// Green's kind and its rate: blue answers 4xx to 3 %, 1 % of its clients leave, and 10 % of its last bytes are late.
const DIFFERENCES: [(AnswerKind, f64); 9] = [
    (AnswerKind::ClientError, 1.0),
    (AnswerKind::ClientError, 0.2),
    (AnswerKind::ClientError, 0.05),
    (AnswerKind::Redirect, 1.0),
    (AnswerKind::Redirect, 0.05),
    (AnswerKind::GaveUp, 0.9),
    (AnswerKind::GaveUp, 0.05),
    (AnswerKind::LastByte, 0.9),
    (AnswerKind::LastByte, 0.3),
];
/// Requests a second and green's share.
const TRAFFIC: [(f64, f64); 4] = [(100.0, 0.05), (2_000.0, 0.05), (40.0, 0.5), (500.0, 0.5)];
const SECONDS: usize = 900;

pub(crate) fn answers(size: &Size) {
    let rollouts = (size.rollouts / 10).max(20);
    println!(
        "### Seconds until green goes back for what its answers are like: one share, AR world\n"
    );
    println!(
        "Median (of those found) / 95th percentile (of all), {rollouts} rollouts in each cell. Latency is judged from 30 s on.\n"
    );
    println!(
        "| green | 5 % of 100/s | 5 % of 2000/s | 50 % of 40/s | 50 % of 500/s |\n|---|---|---|---|---|"
    );
    for (kind, rate) in DIFFERENCES {
        print!("| {} {} % |", kind.name(), 100.0 * rate);
        for (requests, share) in TRAFFIC {
            let runs = many(size.threads, rollouts, |run| {
                let mut traffic =
                    Traffic::new(seed(31, run), requests, SECONDS, World::Wave, Fault::NONE);
                traffic.otherwise = Some((kind, rate));
                let mut judge = judge(size, World::Wave);
                drive(&mut traffic, &mut judge, share, steady(SECONDS as u64))
            });
            print!(" {} |", delay(&runs));
        }
        println!();
    }
}
