//! shifter as process 1 of a container: a real pid namespace, and programs that leave orphans.

use crate::support::apps::pair;
use crate::support::eventually;
use crate::support::shifter::{Home, PATIENT, Shifter, outcome_of};
use shifter::core::plan::Strategy;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Each time ten orphans are left, which end a moment later; what decides is the program's own status.
const LEAVES_ORPHANS: &str = "[[service.app.sources]]\nname = \"queue\"\nevery = \"1s\"\ntimes = 3\n\
    exec = [\"sh\", \"-c\", \"for n in 0 1 2 3 4 5 6 7 8 9; do (sleep 0.1 >/dev/null 2>&1 &); done; exit 1\"]\n";

/// Whether this user may have namespaces of pids.
fn can_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// `shifter serve` as process 1.
async fn as_first_process(home: &Home, reaps: bool) -> Shifter {
    let plain = home.command(&["serve"]);
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env_remove("SHIFTER_CRASH_AT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !reaps {
        // As if its duties were another's.
        command.env("SHIFTER_STARTED_BY_REAPER", "1");
    }
    let mut shifter = home.spawn(&mut command);
    shifter.answers().await;
    shifter
}

fn field(pid: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

fn children(parent: u32) -> Vec<String> {
    let parent = parent.to_string();
    let all = std::fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| field(pid, "PPid").as_deref() == Some(parent.as_str()))
        .collect()
}

/// Orphans of the first process that have ended and were not asked for.
fn zombies(first: u32) -> usize {
    let ended = |pid: &String| field(pid, "State").is_some_and(|state| state.starts_with('Z'));
    children(first).iter().filter(|pid| ended(pid)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_of_programs_are_reaped_and_their_own_status_decides() {
    if !can_unshare() {
        println!("no namespaces of pids here: not tried");
        return;
    }
    let (blue, green) = pair();
    let steps = "steps = [{ weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";
    for reaps in [true, false] {
        let home = Home::new(&blue, &green, &format!("{steps}{PATIENT}{LEAVES_ORPHANS}"));
        let mut shifter = as_first_process(&home, reaps).await;
        let first = children(shifter.child.id()).remove(0).parse().unwrap();
        home.run(Strategy::Canary).await;
        let service = home.phase("finished").await;
        assert_eq!(
            outcome_of(&service),
            "rolled_back",
            "three times 1 in a row"
        );
        let said = home.notes().await;
        assert!(said.contains("source `queue`"), "{said}");
        if reaps {
            eventually("all orphans are gone", || zombies(first) == 0).await;
            let all = children(first);
            assert_eq!(all.len(), 1, "the process that serves: {all:?}");
        } else {
            // What the duties are for.
            eventually("orphans stay", || zombies(first) >= 30).await;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = shifter.child.wait().unwrap();
        assert_eq!(
            (ended.code(), ended.signal()),
            (Some(0), None),
            "a stop in order"
        );
    }
}
