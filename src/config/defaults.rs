//! Every default, once. `config/shifter.toml` documents them; a test compares it with these.

use crate::config::answers::Answers;
use crate::config::judgement::{Judgement, Timed};
use crate::config::parse::duration::{minutes, seconds};
use crate::config::types::{Ask, Eject, Health, RetryBudget, Timeouts};
use crate::core::answers::Hearing;
use crate::core::judge::{ContentPolicy, Slo};
use crate::core::plan::{OnWorse, Undecided};
use crate::core::stats::Margin;
use crate::core::weight::Weight;
use std::time::Duration;

/// Most metrics are scraped every ten or fifteen seconds.
pub(crate) const SOURCE_EVERY: Duration = seconds(10);

/// One bad reading may be a glitch.
pub(crate) const SOURCE_TIMES: u32 = 3;

/// Timeout of a source's answer.
pub(crate) const SOURCE_TIMEOUT: Duration = seconds(5);

/// Blue's share while a green with the whole share is under suspicion.
pub(crate) const CHALLENGE: Weight = match Weight::percent(25) {
    Some(share) => share,
    None => Weight::NONE,
};

/// Time in an equal share to confirm slowness of a small one, its latency grace included.
pub(crate) const CONFIRM: Duration = seconds(120);

/// A share begins at once.
pub(crate) const RAMP: Duration = Duration::ZERO;

/// Blue's share during the last watch of a canary.
pub(crate) const CANARY_HOLDBACK: Weight = match Weight::percent(5) {
    Some(share) => share,
    None => Weight::NONE,
};

/// The shares of a canary, in percent; the 0 of the usual 0/5/50/100 is green without traffic.
pub(crate) const SHARES: [u16; 3] = [5, 50, 100];

/// The shortest time at a share.
pub(crate) const HOLD: Duration = seconds(60);

/// The shortest time at the last share.
pub(crate) const HOLD_LAST: Duration = seconds(120);

/// The longest time at a share.
pub(crate) const SHARE_DEADLINE: Duration = minutes(15);

/// Time that a longer `hold` gets on top where it has no `deadline` of its own.
pub(crate) const SHARE_SLACK: Duration = minutes(5);

/// The watch after a blue-green switch.
pub(crate) const MONITOR: Duration = minutes(10);

/// The longest time for a start, a warm-up, a smoke check.
pub(crate) const STEP_DEADLINE: Duration = minutes(5);

/// The longest wait for a person's approval.
pub(crate) const APPROVE_DEADLINE: Duration = minutes(24 * 60);

/// The shortest deadline of a whole rollout.
pub(crate) const DEADLINE: Duration = minutes(120);

/// Time for the requests in flight on a released pool.
pub(crate) const DRAIN: Duration = seconds(30);

/// How long a quick rollback stays possible.
pub(crate) const KEEP_BLUE: Duration = minutes(10);

/// The purpose of the program.
pub(crate) const ON_WORSE: OnWorse = OnWorse::Rollback;

/// Enough requests and nothing leans worse: go on.
pub(crate) const ON_INCONCLUSIVE: Undecided = Undecided::Promote;

/// Missing data never promotes.
pub(crate) const ON_NO_DATA: Undecided = Undecided::Rollback;

/// Below it a share has no data.
pub(crate) const STEP_REQUESTS_MIN: u64 = 30;

/// Below it the last share has no data.
pub(crate) const TOTAL_REQUESTS_MIN: u64 = 200;

/// A connection is enough; two successes make a backend healthy, three failures unhealthy. A lost SYN is repeated after
/// 1 s, and the check waits for that.
pub(crate) const HEALTH: Health = Health {
    ask: Ask::Connect,
    host: None,
    port: None,
    interval: seconds(1),
    timeout: Duration::from_millis(1_500),
    rise: 2,
    fall: 3,
    min_ready: seconds(0),
};

/// The path of our own requests where none is configured.
pub(crate) const OWN_PATH: &str = "/";

/// Probes per second of each version.
pub(crate) const PROBES_PER_SECOND: u32 = 5;

/// Timeout of each probe.
pub(crate) const PROBE_TIMEOUT: Duration = seconds(10);

/// Requests of a warm-up to each member.
pub(crate) const WARMUP_REQUESTS: u32 = 50;

/// Warm-up requests in flight.
pub(crate) const WARMUP_CONCURRENCY: u32 = 4;

/// Timeout of each warm-up request.
pub(crate) const WARMUP_TIMEOUT: Duration = seconds(10);

/// The method of a smoke check.
pub(crate) const SMOKE_METHOD: &str = "GET";

/// The status that a smoke check expects.
pub(crate) const SMOKE_EXPECT: u16 = 200;

/// Timeout of a smoke check.
pub(crate) const SMOKE_TIMEOUT: Duration = seconds(5);

/// `None` waits for ever; `idle` is short for applications that wait for idle connections when they stop.
pub(crate) const TIMEOUTS: Timeouts = Timeouts {
    // Systems repeat a lost SYN after 1 s and again 2 s later (RFC 6298): a full accept queue accepts the second or
    // third one.
    connect: Duration::from_millis(3_500),
    first_byte: seconds(60),
    read: seconds(60),
    write: seconds(60),
    idle: seconds(30),
};

/// Five failures in a row, for ten seconds.
pub(crate) const EJECT: Eject = Eject {
    failures: 5,
    span: seconds(10),
};

/// Mirrored requests to green in flight.
pub(crate) const MIRROR_CONCURRENCY: u32 = 8;

/// Timeout of each mirrored request.
pub(crate) const MIRROR_TIMEOUT: Duration = seconds(10);

/// As in Finagle and Linkerd.
pub(crate) const RETRY_BUDGET: RetryBudget = RetryBudget {
    percent: 20,
    per_second: 10,
};

/// One false rollback in a hundred rollouts at most; 0.1 percentage points and 10 % + 1 ms are tolerated.
pub(crate) const JUDGEMENT: Judgement = Judgement {
    confidence: 0.99,
    error_margin: 0.001,
    latency_margin: Margin {
        ratio: 0.10,
        millis: 1.0,
    },
    latency: Timed::FirstByte,
    latency_grace: seconds(30),
    max_excess_failures: None,
    count_4xx: false,
    answers: Answers {
        status: Hearing::Judge,
        gave_up: Hearing::Judge,
        last_byte: Hearing::Judge,
    },
    contents: ContentPolicy::REPORT,
    slo: Slo {
        error_rate: None,
        latency: [None; 3],
    },
};

/// How long a released green is kept: its logs may be needed.
pub(crate) const KEEP_GREEN: Duration = minutes(60);

/// Timeout of a hook: a migration takes its time.
pub(crate) const HOOK_TIMEOUT: Duration = minutes(1);

/// The header that, with the token, selects green.
pub(crate) const PREVIEW_HEADER: &str = "x-shifter-preview";
