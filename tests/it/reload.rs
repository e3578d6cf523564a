//! Configurations that change while everything runs: bad ones change nothing, good ones only what they say.

use crate::support::apps::pair;
use crate::support::load::{Load, size};
use crate::support::shifter::{Home, PATIENT, QUICK, STILL, outcome_of, phase_of};
use shifter::config::Config;
use shifter::control::view::ServiceView;
use shifter::core::plan::Strategy;
use std::time::{Duration, Instant};

/// A small generator: the same files on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// What happens to files: cut, a byte changed, lines gone, twice or swapped, text put in.
fn spoil(text: &str, chance: &mut Chance) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut lines: Vec<&str> = text.lines().collect();
    let at = chance.below(bytes.len());
    let (one, other) = (chance.below(lines.len()), chance.below(lines.len()));
    match chance.below(6) {
        0 => bytes.truncate(at),
        1 => bytes[at] = b" \"[]{}=#\n\x00\xff.,-x0"[chance.below(16)],
        2 => {
            lines.remove(one);
            return lines.join("\n");
        }
        3 => {
            lines.insert(one, lines[other]);
            return lines.join("\n");
        }
        4 => {
            let words = [
                "stepz = 1\n",
                "[service.app]\n",
                "\u{202e}",
                "drain = \"-1s\"\n",
                "weight = 5\n",
                "hosts = 3\n",
            ];
            let word = words[chance.below(words.len())];
            let at = text
                .char_indices()
                .map(|(i, _)| i)
                .find(|i| *i >= at)
                .unwrap_or(0);
            return format!("{}{word}{}", &text[..at], &text[at..]);
        }
        _ => {
            let byte = 1 << chance.below(8);
            bytes[at] ^= byte;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// After a promotion the file's green serves; edits of the file must not turn the two round.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_promoted_serves_on_whatever_else_the_file_says() {
    let (old, new) = pair();
    let (next, _) = pair();
    let more = format!("{QUICK}{PATIENT}keep_blue = \"100ms\"\n");
    let home = Home::new(&old, &new, &more);
    let mut shifter = home.serve().await;
    let load = Load::paced(home.proxy, 300.0);
    home.run(Strategy::Canary).await;
    home.until("the promotion", |service| {
        phase_of(service) == "finished" && outcome_of(service) == "promoted"
    })
    .await;
    let blue = |service: &ServiceView| service.blue.backends[0].address.clone();
    let serves = new.addr.to_string();
    assert_eq!(blue(&home.service().await), serves);
    // The free side becomes the next version.
    home.configure(next.addr, new.addr, &more);
    home.client.reload().await.unwrap();
    assert_eq!(blue(&home.service().await), serves);
    // A file that forgets what serves would send users elsewhere.
    home.configure(next.addr, old.addr, &more);
    let refused = home.client.reload().await.unwrap_err().to_string();
    assert!(refused.contains(&serves), "{refused}");
    assert_eq!(blue(&home.service().await), serves);
    // Tidied up: what serves is blue again, and after that the file is free to change.
    home.configure(new.addr, next.addr, &more);
    home.client.reload().await.unwrap();
    assert_eq!(blue(&home.service().await), serves);
    load.stop_clean().await;
    shifter.signal("TERM");
    shifter.ended().await;
    let _shifter = home.serve().await;
    assert_eq!(blue(&home.service().await), serves, "after a restart too");
}

/// `SHIFTER_BAD_FILES` sets how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_a_good_one_what_it_says() {
    let (blue, green) = pair();
    let more = format!("{STILL}{PATIENT}smoke = [{{ path = \"/health\", expect = 200 }}]\n");
    let home = Home::new(&blue, &green, &more);
    let shifter = home.serve().await;
    let load = Load::paced(home.proxy, 500.0);
    let good = home.text(blue.addr, green.addr, &more);
    let table = home.view().await.table_version;
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let (count, mut bad, mut hung_up) = (size("SHIFTER_BAD_FILES", 200), 0, 0);
    while bad < count {
        let spoilt = spoil(&good, &mut chance);
        if Config::parse("shifter.toml", &spoilt).is_ok() {
            continue;
        }
        bad += 1;
        std::fs::write(home.config(), &spoilt).unwrap();
        if bad % 10 == 0 {
            hung_up += 1;
            let failed = home
                .metric("shifter_config_reloads_total{result=\"failure\"}")
                .await;
            shifter.signal("HUP");
            let deadline = Instant::now() + Duration::from_secs(5);
            while home
                .metric("shifter_config_reloads_total{result=\"failure\"}")
                .await
                == failed
            {
                assert!(Instant::now() < deadline, "a hang-up reloads");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        } else {
            let error = home.client.reload().await.expect_err(&spoilt);
            let problem = error
                .refused()
                .unwrap_or_else(|| panic!("{error}\n{spoilt}"));
            assert_eq!(
                (problem.status, problem.name()),
                (422, "configuration"),
                "{problem:?}"
            );
            assert!(problem.detail.contains("shifter.toml"), "{problem:?}");
        }
        assert_eq!(
            home.view().await.table_version,
            table,
            "the old table goes on under\n{spoilt}"
        );
    }
    // What a running process cannot change is refused as well.
    let moved = good.replace(&home.proxy.to_string(), "127.0.0.1:1");
    std::fs::write(home.config(), moved).unwrap();
    assert!(
        home.client
            .reload()
            .await
            .unwrap_err()
            .to_string()
            .contains("listen")
    );
    assert_eq!(home.view().await.table_version, table);
    load.more(100).await;
    assert_eq!(
        load.seen.green.load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    // A good one holds at once: blue is the other app from now on.
    home.configure(green.addr, blue.addr, &more);
    let done = home.client.reload().await.unwrap();
    assert!(done.text.contains("services changed: 1"), "{}", done.text);
    assert!(home.view().await.table_version > table);
    let blues = load.seen.blue.load(std::sync::atomic::Ordering::Relaxed);
    load.more(500).await;
    let later = load.seen.blue.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        later <= blues + 24,
        "{later} after {blues}: new requests go to the new blue"
    );
    let (seen, _) = load.stop_clean().await;
    println!(
        "{bad} bad files ({hung_up} by SIGHUP) changed nothing; {} requests, 0 failed",
        seen.answered()
    );
    assert_eq!(home.metric("shifter_controller_up").await, 1.0);
}
