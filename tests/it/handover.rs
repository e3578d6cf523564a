//! One shifter takes another one's place: nobody is turned away, and nothing else is different afterwards.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend};
use crate::support::client::{Client, UPGRADE};
use crate::support::h2::{User, get};
use crate::support::load::{Load, size};
use crate::support::shifter::{Home, PATIENT, STILL, Shifter, signal};
use crate::support::{PATIENCE, eventually};
use shifter::core::plan::Strategy;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The successor, once it serves and the one before it has ended.
async fn replace(old: &mut Shifter) -> Shifter {
    let mut new = old.spawn(&mut old.command(&["serve", "--take-over"]));
    let (ended, _) = old.ended().await;
    assert!(ended.success(), "{ended:?}\n{}", old.log());
    new.answers().await;
    new
}

/// Colours of many users, as the header `x-user` keeps them.
async fn colours(addr: SocketAddr) -> Vec<String> {
    let mut client = Client::connect(addr).await;
    let mut colours = vec![];
    for user in 0..200 {
        let answer = client
            .get("/", &format!("x-user: u{user}\r\n"))
            .await
            .unwrap();
        colours.push(answer.header("x-app-version").unwrap().to_owned());
    }
    colours
}

/// Asks over HTTP/2 until told to stop, on a new connection where the old one says goodbye; how many were answered.
async fn keep_asking(addr: SocketAddr, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    let mut user = User::connect(addr).await;
    while !stop.load(Relaxed) {
        match user.ask(get("http://app/")).await {
            Ok(got) => {
                assert_eq!(got.status, 200);
                answered.fetch_add(1, Relaxed);
            }
            // Said of requests that were not looked at: they are asked again (RFC 9113, 8.7).
            Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                user = User::connect(addr).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn successors_turn_nobody_away_and_change_nothing() {
    let (blue, green) = pair();
    let echo = Backend::start(|_| Act::Upgrade).await;
    let sockets = format!("[service.ws]\nhosts = [\"ws\"]\nblue = \"{}\"\n", echo.addr);
    let keys = format!("sticky = {{ header = \"x-user\" }}\n{STILL}{PATIENT}{sockets}");
    let home = Home::new(&blue, &green, &keys);
    let mut shifter = home.serve().await;
    let order = shifter::admin::body::RunRequest {
        strategy: Some(Strategy::Canary),
        ..Default::default()
    };
    home.client.run(Some("app"), &order).await.unwrap();
    let weight = async || {
        let view = home.view().await;
        let app = view.services.iter().find(|service| service.name == "app");
        app.unwrap().weight_percent
    };
    let half = shifter::core::weight::Weight::percent(50).unwrap();
    while weight().await != 5.0 {}
    home.client.set_weight(Some("app"), half).await.unwrap();
    let before = colours(home.proxy).await;

    let load = Load::on(home.proxy);
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let users: Vec<_> = (0..4)
        .map(|_| tokio::spawn(keep_asking(home.proxy, stop.clone(), answered.clone())))
        .collect();
    let upgrades = size("UPGRADES", 4);
    for _ in 0..upgrades {
        let mut socket = Client::connect(home.proxy).await;
        socket
            .send(&format!("GET / HTTP/1.1\r\nhost: ws\r\n{UPGRADE}\r\n"))
            .await;
        assert_eq!(socket.answer().await.unwrap().status, 101);
        let began = Instant::now();
        let mut new = shifter.spawn(&mut shifter.command(&["serve", "--take-over"]));
        eventually("the successor has the folder", || {
            let holder = std::fs::read_to_string(home.state().join("lock"));
            holder.is_ok_and(|holder| holder == new.child.id().to_string())
        })
        .await;
        new.answers().await;
        assert_eq!(weight().await, 50.0);
        socket.send("still here").await;
        socket.exactly(10).await.unwrap();
        let (ended, _) = shifter.ended().await;
        assert!(ended.success(), "{ended:?}\n{}", shifter.log());
        let gone = socket.exactly(1).await;
        assert!(gone.is_err(), "it ended with the one that had it");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(colours(home.proxy).await, before);
        shifter = new;
    }
    load.more(1_000).await;
    stop.store(true, Relaxed);
    for user in users {
        user.await.unwrap();
    }
    let (seen, _) = load.stop_clean().await;
    let (http1, http2) = (seen.answered(), answered.load(Relaxed));
    println!("{upgrades} successors: {http1} requests of HTTP/1, {http2} of HTTP/2, 0 lost");
    assert!(http2 > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_cannot_start_changes_nothing() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let shifter = home.serve().await;
    shifter.run(Strategy::Canary).await;
    shifter.share(5.0).await;
    let load = Load::on(home.proxy);
    let good = std::fs::read_to_string(home.config()).unwrap();
    // Seen only when the one before it has given up the folder.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = good.replace(
        &home.admin.to_string(),
        &taken.local_addr().unwrap().to_string(),
    );
    for (text, code, reason) in [
        ("stepz = 1\n".to_owned() + &good, 2, "stepz"),
        (other, 2, "cannot listen"),
    ] {
        std::fs::write(home.config(), text).unwrap();
        let mut new = shifter.spawn(&mut shifter.command(&["serve", "--take-over"]));
        let (ended, _) = new.ended().await;
        assert_eq!(ended.code(), Some(code), "{}", home.log());
        assert!(home.log().contains(reason), "{reason}: {}", home.log());
    }
    std::fs::write(home.config(), good).unwrap();
    eventually("it has taken up its work again", || {
        home.log().contains("the successor did not get ready")
            && std::fs::read_to_string(home.state().join("lock"))
                .is_ok_and(|holder| holder == shifter.child.id().to_string())
    })
    .await;
    let deadline = Instant::now() + PATIENCE;
    while home.client.status().await.is_err() {
        assert!(Instant::now() < deadline, "{}", home.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shifter.share(5.0).await;
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    load.more(200).await;
    load.stop_clean().await;
    replace(&mut { shifter }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_replaces_it_by_what_is_on_disk_now_and_systemd_hears_of_it() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, "");
    let path = home.folder.path().join("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    heard.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 256];
        let count = heard.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..count]).into_owned()
    };
    let mut shifter = home.spawn(home.command(&["serve"]).env("NOTIFY_SOCKET", &path));
    let ready = told();
    let first = shifter.child.id();
    assert!(
        ready.contains("READY=1") && ready.contains(&format!("MAINPID={first}")),
        "{ready}"
    );
    let load = Load::on(home.proxy);
    shifter.signal("USR2");
    let mut ready = told();
    while ready.contains("STOPPING") {
        ready = told();
    }
    let (_, pid) = ready.split_once("MAINPID=").expect(&ready);
    let successor: u32 = pid.trim().parse().unwrap();
    assert_ne!(successor, first);
    assert!(shifter.ended().await.0.success(), "{}", home.log());
    home.view().await;
    load.more(200).await;
    load.stop_clean().await;
    signal(successor, "TERM");
    eventually("it ends", || !home.state().join("handover.sock").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_a_service_manager_keeps_is_used() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, "");
    let listener = std::net::TcpListener::bind(home.proxy).unwrap();
    let mut early = Client::connect(home.proxy).await;
    let serve = home.command(&["serve"]);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("exec env LISTEN_FDS=1 LISTEN_PID=$$ \"$0\" \"$@\" 3<&0 0</dev/null")
        .arg(serve.get_program())
        .args(serve.get_args())
        .stdin(OwnedFd::from(listener.try_clone().unwrap()));
    let mut shifter = home.spawn(&mut command);
    shifter.answers().await;
    let answer = early.get("/", "").await.unwrap();
    assert_eq!(answer.status, 200, "who waited is served");
    shifter.signal("TERM");
    assert!(shifter.ended().await.0.success());
    Client::connect(home.proxy).await;
    drop(listener);
}
