//! The rules of other tools on the same seconds as the judge: false rollbacks, and how soon a worse green is found.
//!
//! As read in their code: Argo Rollouts (`failureLimit`), Flagger (`threshold`), Kayenta (Mann-Whitney on series of
//! minutes); and the two-proportion test that people write themselves, looked at every five seconds.

use crate::{RATES, SECONDS, Size, many, seed, wilson};
use shifter::core::judge::Verdict;
use shifter::core::stats::Tick;
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::start;
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// Seconds between two looks of Argo, Flagger and Kayenta: their documents' usual interval.
const LOOK: usize = 60;
/// A success rate of 99 %, as in the documents of Argo and Flagger.
const ERRORS_MAX: f64 = 0.01;
/// One-sided 0.01.
const Z_NAIVE: f64 = 2.326;
/// Two-sided 0.98: a literal in `NetflixACAJudge.scala`.
const Z_KAYENTA: f64 = 2.326;
const RULES: [&str; 5] = [
    "shifter",
    "Argo, failureLimit 3",
    "Flagger, threshold 5",
    "Kayenta from minute 5",
    "z-test at each look",
];

/// Requests, failed, slower than blue's median, slower than blue's 99th percentile.
type Minute = [f64; 4];

#[derive(Default)]
pub(crate) struct Peers {
    sums: [Minute; 2],
    step: [Minute; 2],
    series: [Vec<Minute>; 2],
    failed_checks: usize,
}

fn add(sum: &mut Minute, pool: &shifter::core::stats::PoolCounts) {
    let counts = [
        pool.requests,
        pool.failed,
        pool.slow_fail[0],
        pool.slow_fail[2],
    ];
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count as f64;
    }
}

impl Peers {
    /// Whether each of the four would go back after this second.
    pub(crate) fn second(&mut self, second: usize, tick: &Tick) -> [bool; 4] {
        for (i, pool) in [&tick.blue, &tick.green].into_iter().enumerate() {
            add(&mut self.sums[i], pool);
            add(&mut self.step[i], pool);
        }
        let naive = second.is_multiple_of(5) && worse(&self.step);
        if !second.is_multiple_of(LOOK) {
            return [false, false, false, naive];
        }
        let [_, green] = self.sums;
        self.failed_checks += usize::from(green[0] == 0.0 || green[1] / green[0] > ERRORS_MAX);
        for (series, sum) in self.series.iter_mut().zip(std::mem::take(&mut self.sums)) {
            series.push(sum);
        }
        let kayenta = second >= 5 * LOOK && (1..4).any(|metric| self.high(metric));
        [
            self.failed_checks > 3,
            self.failed_checks >= 5,
            kayenta,
            naive,
        ]
    }

    /// Another share: who sums from its begin begins anew.
    pub(crate) fn next_share(&mut self) {
        self.step = Default::default();
    }

    /// Kayenta's `High`: the interval of the shift lies above a quarter of its estimate, and the mean is no smaller.
    fn high(&self, metric: usize) -> bool {
        let [blue, green] = [0, 1].map(|pool| -> Vec<f64> {
            let minutes = self.series[pool].iter().filter(|minute| minute[0] > 0.0);
            minutes.map(|minute| minute[metric] / minute[0]).collect()
        });
        if blue.len() < 2 || green.len() < 2 {
            return false;
        }
        let mut shifts: Vec<f64> = green
            .iter()
            .flat_map(|green| blue.iter().map(move |blue| green - blue))
            .collect();
        shifts.sort_by(f64::total_cmp);
        let (n, m) = (green.len() as f64, blue.len() as f64);
        let spread = (n * m * (n + m + 1.0) / 12.0).sqrt();
        let below = (n * m / 2.0 - Z_KAYENTA * spread).round().max(0.0) as usize;
        let (low, estimate) = (shifts[below], shifts[shifts.len() / 2]);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (blue, green) = (mean(&blue), mean(&green));
        // A ratio with zero is no number, and the gate is skipped.
        low > 0.25 * estimate.abs() && (blue == 0.0 || green == 0.0 || green >= blue)
    }
}

/// The two-proportion test on failed requests.
fn worse([blue, green]: &[Minute; 2]) -> bool {
    if blue[0] == 0.0 || green[0] == 0.0 {
        return false;
    }
    let pooled = (blue[1] + green[1]) / (blue[0] + green[0]);
    let spread = (pooled * (1.0 - pooled) * (1.0 / blue[0] + 1.0 / green[0])).sqrt();
    spread > 0.0 && (green[1] / green[0] - blue[1] / blue[0]) / spread > Z_NAIVE
}

/// When each rule would have gone back, all on the same seconds.
fn one(size: &Size, traffic: &mut Traffic) -> [Option<usize>; 5] {
    let mut judge = crate::judge(size, World::Wave);
    let (mut weight, mut peers, mut back) = (0.05, Peers::default(), [None; 5]);
    start(&mut judge, traffic, weight, false);
    for second in 1..=SECONDS {
        let tick = traffic.second(weight);
        let (verdict, _) = judge.second(&tick);
        let said = peers.second(second, &tick);
        let judged = back[0].is_none() && matches!(verdict, Verdict::Fail { .. });
        for (back, said) in back.iter_mut().zip([judged].into_iter().chain(said)) {
            if said && back.is_none() {
                *back = Some(second);
            }
        }
        if second == SECONDS / 2 {
            weight = 0.5;
            start(&mut judge, traffic, weight, true);
            peers.next_share();
        }
    }
    back
}

fn table(
    size: &Size,
    rollouts: u64,
    cases: &[(&str, World, Fault)],
    cell: fn(Vec<Option<usize>>) -> String,
) {
    println!(
        "| case | req/s | {} |\n|---|---|---|---|---|---|---|",
        RULES.join(" | ")
    );
    for (name, world, fault) in cases {
        for rate in RATES {
            let runs = many(size.threads, rollouts, |run| {
                one(
                    size,
                    &mut Traffic::new(seed(8, run), rate, SECONDS, *world, *fault),
                )
            });
            let cells: Vec<String> = (0..RULES.len())
                .map(|rule| cell(runs.iter().map(|run| run[rule]).collect()))
                .collect();
            println!("| {name} | {rate} | {} |", cells.join(" | "));
        }
    }
}

fn false_share(back: Vec<Option<usize>>) -> String {
    let (hits, of) = (back.iter().flatten().count() as u64, back.len() as u64);
    let (low, high) = wilson(hits, of);
    format!(
        "{:.2}% [{:.2}, {:.2}]",
        100.0 * hits as f64 / of as f64,
        100.0 * low,
        100.0 * high
    )
}

fn delay(back: Vec<Option<usize>>) -> String {
    let mut at: Vec<usize> = back.iter().flatten().copied().collect();
    at.sort_unstable();
    let missed = 100.0 * (back.len() - at.len()) as f64 / back.len() as f64;
    match at.get(at.len() / 2) {
        Some(median) if missed == 0.0 => median.to_string(),
        Some(median) => format!("{median}, miss {missed:.0}%"),
        None => "never".to_owned(),
    }
}

pub(crate) fn peers(size: &Size) {
    let worlds: Vec<_> = World::ALL
        .into_iter()
        .filter(|world| world.name().contains(&size.only))
        .map(|world| (world.name(), world, Fault::NONE))
        .collect();
    println!(
        "### The rules of others, green equals blue: false rollbacks; 15 min at 5 %, 15 min at 50 %\n"
    );
    println!(
        "{} rollouts in each cell, all rules on the same seconds, 95 % Wilson interval.\n",
        size.rollouts
    );
    table(size, size.rollouts, &worlds, false_share);
    let rollouts = (size.rollouts / 10).max(20);
    println!(
        "\n### The rules of others, green worse from the start, AR world: median seconds to rollback of those found\n"
    );
    println!("{rollouts} rollouts in each cell.\n");
    let faults: Vec<_> = Fault::ALL
        .into_iter()
        .map(|fault| (fault.name, World::Wave, fault))
        .collect();
    table(size, rollouts, &faults, delay);
}
