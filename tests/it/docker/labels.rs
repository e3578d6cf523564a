//! Services that containers describe by their own labels.

use crate::support::client::{Answer, Client};
use crate::support::docker::Engine;
use crate::support::shifter::Home;
use shifter::admin::body::RunRequest;
use shifter::control::view::ServiceView;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A home whose configuration names no service.
fn home(engine: &Engine, more: &str) -> Home {
    let home = engine.home_of("");
    let text = format!(
        "{}docker = {{ host = \"{}\", discovery = true{more} }}\n",
        home.head(),
        engine.host()
    );
    std::fs::write(home.config(), text).unwrap();
    home
}

async fn ask(addr: SocketAddr, host: &str) -> Answer {
    let mut client = Client::connect(addr).await;
    client
        .send(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
        .await;
    client.answer().await.unwrap()
}

/// Waits until a host is answered by this version.
async fn answers(home: &Home, host: &str, version: &str) {
    until(home, async || {
        ask(home.proxy, host).await.header("x-app-version") == Some(version)
    })
    .await;
}

/// Waits for something that comes by itself.
async fn until(home: &Home, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(
            Instant::now() < deadline,
            "{}\n{:?}",
            home.log(),
            home.view().await.services
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn service(home: &Home, name: &str) -> Option<ServiceView> {
    let all = home.view().await.services;
    all.into_iter().find(|service| service.name == name)
}

/// The service's own name, so that tests beside this one are other services.
fn labels(engine: &Engine, name: &str) -> [String; 2] {
    let service = format!("shifter.service={}-{name}", engine.name);
    [
        service,
        format!("shifter.hosts={name}.{}.test", engine.name),
    ]
}

fn start(engine: &Engine, container: &str, labelled: &[String], more: &[&str], image: &str) {
    let mut arguments: Vec<&str> = labelled.iter().flat_map(|label| ["-l", label]).collect();
    arguments.extend(more);
    engine.run(container, image, &arguments);
}

/// A container with a label is a service at once; a second one for its host is not; what the file names is the file's.
#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_container_is_served_and_the_file_wins() {
    let engine = Engine::shared();
    let [api, web, late] = ["api", "web", "late"].map(|name| labels(&engine, name));
    start(&engine, "api", &api, &[], "app:blue");
    let home = home(&engine, "");
    let shifter = home.serve().await;
    let host = |name: &str| format!("{name}.{}.test", engine.name);
    assert_eq!(
        ask(home.proxy, &host("api")).await.status,
        200,
        "from the first request on"
    );
    start(
        &engine,
        "web",
        &web,
        &["-e", "VERSION=web", "-l", "shifter.port=3000"],
        "app:blue",
    );
    answers(&home, &host("web"), "web").await;
    assert_eq!(
        ask(home.proxy, &host("api")).await.header("x-app-version"),
        Some("blue")
    );

    // The same host again, under another service's name.
    let thief = [late[0].clone(), api[1].clone()];
    start(
        &engine,
        "late",
        &thief,
        &["-e", "VERSION=thief"],
        "app:blue",
    );
    let name = format!("{}-late", engine.name);
    let told = format!("`{name}` is not served");
    until(&home, async || home.log().contains(&told)).await;
    assert!(service(&home, &name).await.is_none());
    assert_eq!(
        ask(home.proxy, &host("api")).await.header("x-app-version"),
        Some("blue")
    );

    // The file names the service of that label now, and another host.
    let text = std::fs::read_to_string(home.config()).unwrap();
    let own = format!(
        "{text}[service.{}-web]\nhosts = [\"own.test\"]\nblue = {{ container = \"{}\", port = 3000 }}\n",
        engine.name,
        engine.named("web")
    );
    std::fs::write(home.config(), own).unwrap();
    shifter.client.reload().await.unwrap();
    answers(&home, "own.test", "web").await;
    assert_eq!(ask(home.proxy, &host("web")).await.status, 404);
    // Who holds the host goes, and a reload forgets it.
    engine.docker(&["rm", "-f", &engine.named("api")]);
    let name = format!("{}-api", engine.name);
    let members = async || service(&home, &name).await.unwrap().blue.backends;
    until(&home, async || members().await.is_empty()).await;
    assert_eq!(ask(home.proxy, &host("api")).await.status, 503);
    until(&home, async || {
        shifter.client.reload().await.unwrap();
        let answer = ask(home.proxy, &host("api")).await;
        answer.header("x-app-version") == Some("thief")
    })
    .await;
}

/// Green by label; green on an image; killed in the middle of it and started again.
#[tokio::test(flavor = "multi_thread")]
async fn labelled_services_are_rolled_out() {
    let engine = Engine::shared();
    let [api, web] = ["api", "web"].map(|name| labels(&engine, name));
    start(&engine, "api", &api, &[], "app:blue");
    start(&engine, "web", &web, &["-e", "KEY=web"], "app:blue");
    let home = home(&engine, ", access = \"manage\"");
    let mut shifter = home.serve().await;
    let host = |name: &str| format!("{name}.{}.test", engine.name);
    let name = |name: &str| format!("{}-{name}", engine.name);
    start(
        &engine,
        "api-green",
        &api,
        &["-l", "shifter.pool=green"],
        "app:green",
    );
    let all = home.client.clone();
    let run = |service: String, image: Option<&str>| {
        let image = image.map(str::to_owned);
        let request = RunRequest {
            image,
            ..RunRequest::default()
        };
        let all = all.clone();
        async move { all.run(Some(&service), &request).await }
    };
    until(&home, async || run(name("api"), None).await.is_ok()).await;
    let promote = |service: String| {
        let all = home.client.clone();
        async move { all.verb(Some(&service), "promote").await }
    };
    until(&home, async || promote(name("api")).await.is_ok()).await;
    answers(&home, &host("api"), "green").await;

    let rollout = run(name("web"), Some("app:green"))
        .await
        .unwrap()
        .rollout
        .unwrap();
    let share = async || service(&home, &name("web")).await.unwrap().weight_percent;
    until(&home, async || share().await >= 5.0).await;
    shifter.kill();
    let _again = home.serve().await;
    assert_eq!(ask(home.proxy, &host("web")).await.status, 200);
    let resumed = service(&home, &name("web")).await.unwrap();
    assert_eq!(resumed.rollout.map(|rollout| rollout.id), Some(rollout));
    home.client
        .verb(Some(&name("web")), "promote")
        .await
        .unwrap();
    answers(&home, &host("web"), "green").await;
    let copy = format!("{}-{rollout}", name("web"));
    assert_eq!(
        engine.inspect(&copy, "{{index .Config.Labels \"shifter.service\"}}"),
        name("web")
    );
}
