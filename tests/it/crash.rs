//! The process dies anywhere in a rollout, and a new one takes up what was decided.

use crate::support::apps::{Running, pair};
use crate::support::client::get;
use crate::support::load::{Load, Plan, size};
use crate::support::shifter::{Home, PATIENT, Shifter, outcome_of, phase_of};
use shifter::admin::body::RunRequest;
use shifter::control::RunState;
use shifter::control::crash::POINTS;
use shifter::core::plan::Strategy;
use shifter::store::journal::Journal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const PLAN: &str = "steps = [{ weight = 5, hold = \"100ms\", deadline = \"100ms\" }, { weight = 50, hold = \"100ms\", deadline = \"100ms\" }, { weight = 100, hold = \"100ms\", deadline = \"100ms\" }]\nkeep_blue = \"200ms\"\ndrain = \"2s\"\n";

/// Runs at once; most of their time they wait for whole seconds.
const AT_ONCE: usize = 6;

/// What is done to the rollout until the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Story {
    /// It goes through.
    Forward,
    /// At 50 % it is taken back.
    Back,
}

/// One life and the next.
struct Survived {
    served_after: Duration,
    /// The share that was saved, in percent.
    saved: f64,
    outcome: String,
}

/// Waits until the process is dead or the rollout is over.
async fn live(shifter: &mut Shifter, story: Story, killed_after: Option<Duration>) -> bool {
    let _ = shifter
        .client
        .run(
            None,
            &RunRequest {
                strategy: Some(Strategy::Canary),
                ..RunRequest::default()
            },
        )
        .await;
    let begun = Instant::now();
    let mut taken_back = false;
    loop {
        if killed_after.is_some_and(|moment| begun.elapsed() >= moment) {
            shifter.kill();
            return true;
        }
        if shifter.child.try_wait().unwrap().is_some() {
            return true;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "{}",
            shifter.log()
        );
        if let Ok(view) = shifter.client.status().await {
            let service = &view.services[0];
            if phase_of(service) == "finished" {
                return false;
            }
            if story == Story::Back && service.weight_percent >= 50.0 && !taken_back {
                taken_back = true;
                let _ = shifter.verb("rollback").await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the journal holds: the share of the rollout under way, and how many there are.
fn recorded(home: &Home) -> (f64, usize) {
    let (journal, opened) = Journal::open(home.state()).unwrap();
    assert_eq!(opened.put_aside, None, "a crash damages nothing");
    let all = journal.rollouts(Some("app"), 10).unwrap();
    let weight = journal.unfinished("app").unwrap().map_or(0.0, |saved| {
        let state: RunState = serde_json::from_str(&saved.state).unwrap();
        state.rollout.weight().ratio() * 100.0
    });
    (weight, all.len())
}

/// The first connection that is accepted gets a whole answer; how long after `start` that was.
async fn first_answer(proxy: SocketAddr, start: Instant) -> Duration {
    loop {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody listens");
        if TcpStream::connect(proxy).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answer = get(proxy, "/", "")
        .await
        .expect("the first accepted connection is served");
    assert_eq!(answer.status, 200, "{answer:?}");
    start.elapsed()
}

/// None when the process did not pass the point so often.
async fn survive(
    at: Option<String>,
    story: Story,
    killed_after: Option<Duration>,
) -> Option<Survived> {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{PLAN}{PATIENT}"));
    let mut command = home.command(&["serve"]);
    if let Some(at) = &at {
        command.env("SHIFTER_CRASH_AT", at);
    }
    let mut shifter = home.spawn(&mut command);
    shifter.answers().await;
    let users = Plan {
        connections: 4,
        rate: Some(150.0),
        breaks_allowed: true,
        ..Plan::default()
    };
    let load = Load::start(home.proxy, users);
    load.more(20).await;
    if !live(&mut shifter, story, killed_after).await {
        load.stop().await;
        return None;
    }
    let (saved, rollouts) = recorded(&home);
    let start = Instant::now();
    let mut shifter = home.spawn(&mut home.command(&["serve"]));
    let served_after = first_answer(home.proxy, start).await;
    shifter.answers().await;
    let what = format!("{at:?} {story:?} {killed_after:?}");
    let survived = resumed(&home, &what, (&blue, &green), saved, rollouts).await;
    load.more(50).await;
    // Whoever was cut was cut by the crash: 5xx would be a failure.
    let (seen, _) = load.stop().await;
    let failures = seen.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{what}: {failures:?}");
    Some(Survived {
        served_after,
        ..survived
    })
}

/// The rollout goes on from what was saved, ends, and leaves one record and one pool.
async fn resumed(
    home: &Home,
    what: &str,
    (blue, green): (&Running, &Running),
    saved: f64,
    rollouts: usize,
) -> Survived {
    let end = home
        .until(what, |service| {
            service.rollout.is_none() || phase_of(service) == "finished"
        })
        .await;
    assert_eq!(
        (end.weight_percent, end.green.is_none()),
        (0.0, true),
        "{what}: {end:?}"
    );
    let records = home.client.rollouts(None, 10).await.unwrap();
    assert_eq!(records.len(), rollouts, "{what}");
    let mut outcome = "none".to_owned();
    for record in &records {
        assert!(
            record.ended_at.is_some() && record.outcome.is_some(),
            "{what}: {record:?}"
        );
        outcome = record.outcome.clone().unwrap();
        if !outcome_of(&end).is_empty() {
            let notes = home.client.notes(0, record.id).await.unwrap();
            let told = notes
                .iter()
                .find(|note| note.text.contains("restarted at weight"));
            let told = told.unwrap_or_else(|| panic!("{what}: {notes:?}"));
            assert!(
                told.text.contains(&format!("weight {saved}%")),
                "{what}: saved {saved}, {}",
                told.text
            );
        }
    }
    let serves = if outcome == "promoted" { green } else { blue };
    assert_eq!(end.blue.backends.len(), 1, "{what}");
    assert_eq!(
        end.blue.backends[0].address,
        serves.addr.to_string(),
        "{what}: {outcome}"
    );
    Survived {
        served_after: Duration::ZERO,
        saved,
        outcome,
    }
}

async fn matrix(
    lives: Vec<(Option<String>, Story, Option<Duration>)>,
) -> Vec<(String, Option<Survived>)> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut all = JoinSet::new();
    for (at, story, killed) in lives {
        let turns = turns.clone();
        all.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let name = format!(
                "{} {story:?} {killed:?}",
                at.as_deref().unwrap_or("kill -9")
            );
            (name, survive(at, story, killed).await)
        });
    }
    let mut results = all.join_all().await;
    results.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, survived) in &results {
        match survived {
            Some(Survived {
                served_after,
                saved,
                outcome,
            }) => {
                println!(
                    "{name}: saved at {saved} %, serves after {served_after:?}, ended {outcome}"
                );
            }
            None => println!("{name}: not passed so often"),
        }
    }
    results
}

/// `SHIFTER_CRASH_PASSES` sets how often a point may be passed before it kills.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_survives_a_crash_at_every_point() {
    let passes = size("SHIFTER_CRASH_PASSES", 3);
    let mut lives = vec![];
    for point in POINTS {
        let repeats = point.starts_with("act.");
        for n in 1..=(if repeats { passes } else { 1 }) {
            let at = Some(format!("{point}:{n}"));
            if point != "back.after-publish" {
                lives.push((at.clone(), Story::Forward, None));
            }
            // The way up is the same in both stories.
            if !point.starts_with("begin.")
                && !point.starts_with("swap.")
                && (!repeats || n == passes)
            {
                lives.push((at, Story::Back, None));
            }
        }
    }
    let results = matrix(lives).await;
    let dead: Vec<_> = results
        .iter()
        .filter_map(|(_, survived)| survived.as_ref())
        .collect();
    for point in POINTS {
        let hit = results
            .iter()
            .any(|(name, survived)| name.starts_with(point) && survived.is_some());
        assert!(hit, "{point} never killed");
    }
    let slowest = dead
        .iter()
        .map(|survived| survived.served_after)
        .max()
        .unwrap();
    println!(
        "{} crashes, all survived; first answer after at most {slowest:?}",
        dead.len()
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

/// `SHIFTER_KILLS` sets how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_survives_kill_9_at_any_moment() {
    let count = size("SHIFTER_KILLS", 6);
    let moment = |n: u64| Some(Duration::from_millis(100 + n * 1_800 / count));
    let story = |n: u64| {
        if n % 3 == 2 {
            Story::Back
        } else {
            Story::Forward
        }
    };
    let results = matrix((0..count).map(|n| (None, story(n), moment(n))).collect()).await;
    let dead = results
        .iter()
        .filter(|(_, survived)| survived.is_some())
        .count();
    println!("{dead} of {count} were killed in time, all survived");
    assert!(dead as u64 * 2 >= count);
}
