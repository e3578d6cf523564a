//! The journal cannot be used at a start after a promotion: users get the promoted version from the first answer on.

use crate::support::apps::{Running, pair};
use crate::support::client::get;
use crate::support::shifter::{Home, PATIENT, Shifter, outcome_of};
use shifter::core::plan::Strategy;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// From the start of the process to the first answer: SQLite waits 5 s for a lock.
const FIRST: Duration = Duration::from_secs(15);

/// How long every answer is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// The second user of the tests, who owns nothing: `nobody`.
const NOBODY: &str = "65534";

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// A home whose green was promoted, and whose shifter has ended; its folder may be entered by everybody.
async fn promoted(blue: &Running, green: &Running) -> Home {
    let quick = "steps = [{ weight = 100, hold = \"100ms\", deadline = \"100ms\" }]\nkeep_blue = \"0s\"\ndrain = \"1s\"\n";
    let home = Home::new(blue, green, &format!("{quick}{PATIENT}"));
    let mut shifter = home.serve().await;
    home.run(Strategy::BlueGreen).await;
    home.share(100.0).await;
    home.verb("promote").await.unwrap();
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    shifter.signal("TERM");
    shifter.ended().await;
    mode(home.folder.path(), 0o755);
    home
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Asks from the start of the process on: nothing but the promoted version answers. What each second had is printed.
async fn only_green_answers(what: &str, home: &Home, shifter: &Shifter) {
    let begun = Instant::now();
    let mut first = None;
    let mut seconds: Vec<u32> = vec![];
    while first.is_none_or(|first: Instant| first.elapsed() < LOOK) {
        assert!(
            first.is_some() || begun.elapsed() < FIRST,
            "{what}: {}",
            home.log()
        );
        let connected = tokio::net::TcpStream::connect(home.proxy).await;
        if connected.is_err() && first.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        drop(connected);
        let answer = get(home.proxy, "/", "").await.unwrap();
        let from = (answer.status, answer.header("x-app-version"));
        assert_eq!(
            from,
            (200, Some("green")),
            "{what} after {:?}",
            begun.elapsed()
        );
        let since = first.get_or_insert_with(Instant::now).elapsed();
        seconds.resize(since.as_secs() as usize + 1, 0);
        *seconds.last_mut().unwrap() += 1;
    }
    let waited = first.unwrap() - begun;
    println!("{what}: first answer after {waited:?}; answers by second, all of green: {seconds:?}");
    // And people hear of it.
    let trouble = shifter.view().await.trouble.unwrap_or_default();
    assert!(
        home.log().contains("state.db") || trouble.contains("state.db"),
        "{what}: {}",
        home.log()
    );
    assert!(
        home.client.run(None, &Default::default()).await.is_err(),
        "no rollout begins"
    );
    let aside = std::fs::read_dir(home.state()).unwrap();
    let damaged = aside.filter(|one| {
        one.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("damaged")
    });
    assert_eq!(damaged.count(), 0, "{what}: nothing was put aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_journal_leaves_the_promoted_version_in_place() {
    let (blue, green) = pair();
    let home = promoted(&blue, &green).await;
    let other = rusqlite::Connection::open(home.state().join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let shifter = home.spawn(&mut home.command(&["serve"]));
    only_green_answers("locked", &home, &shifter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_another_user_leaves_the_promoted_version_in_place() {
    anothers(0o444).await;
}

/// Where the file cannot be read at all, its copy says what was promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_leaves_the_promoted_version_in_place() {
    anothers(0o600).await;
}

/// A start by another user than the file's, who may read and write all but that.
async fn anothers(rights: u32) {
    let (blue, green) = pair();
    let home = promoted(&blue, &green).await;
    mode(home.state(), 0o777);
    for file in std::fs::read_dir(home.state()).unwrap() {
        let path = file.unwrap().path();
        let database = path.file_name().is_some_and(|name| name == "state.db");
        mode(&path, if database { rights } else { 0o666 });
    }
    mode(&home.config(), 0o644);
    let inner = home.command(&["serve"]);
    let mut command = Command::new("setpriv");
    if is_root() {
        // No rights hold for root.
        let as_nobody = ["--reuid", NOBODY, "--clear-groups", "--"];
        command.args(as_nobody);
    }
    command.arg(inner.get_program()).args(inner.get_args());
    command.stderr(
        std::fs::File::options()
            .append(true)
            .open(home.folder.path().join("log"))
            .unwrap(),
    );
    let shifter = home.spawn(&mut command);
    only_green_answers("another user's", &home, &shifter).await;
}

/// A file system of its own that is full; only root can have one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_promoted_version_in_place() {
    if !is_root() {
        println!("left out: a file system of its own needs root");
        return;
    }
    let (blue, green) = pair();
    let home = promoted(&blue, &green).await;
    let disk = Mounted::over(home.state(), "512k");
    let shifter = home.spawn(&mut home.command(&["serve"]));
    only_green_answers("full disk", &home, &shifter).await;
    drop(shifter);
    drop(disk);
}

/// A small file system in place of a folder, with what was in it, filled up to the last byte.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn over(folder: &Path, size: &str) -> Mounted {
        let aside = tempfile::tempdir().unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).status().unwrap();
            assert!(done.success(), "{program} {arguments:?}");
        };
        let (here, kept) = (folder.to_str().unwrap(), aside.path().to_str().unwrap());
        run("cp", &["-a", &format!("{here}/."), kept]);
        run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", here],
        );
        run("cp", &["-a", &format!("{kept}/."), here]);
        // Until nothing more fits.
        let mut filler = std::fs::File::create(folder.join("filler")).unwrap();
        while std::io::Write::write(&mut filler, &[0; 512]).is_ok_and(|n| n > 0) {}
        Mounted(folder.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
