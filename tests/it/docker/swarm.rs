//! Services of Swarm by colour: shifter in a container on their overlay network, as people run it there.

use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{Home, PATIENT, outcome_of};
use shifter::admin::body::RunRequest;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Nothing moves before somebody says so, and the end comes soon.
const STEPS: &str = "steps = [{ weight = 5, hold = \"1h\", deadline = \"1h\" }, { weight = 100, hold = \"1s\", deadline = \"1s\" }]\n";

/// A Swarm of one node, with an overlay network.
struct Swarm {
    engine: Engine,
    overlay: String,
}

impl Swarm {
    fn new() -> Swarm {
        let engine = Engine::own("");
        let free = |from: u16| (from + rand::random::<u16>() % 1000).to_string();
        let (listen, data) = (format!("127.0.0.1:{}", free(22000)), free(23000));
        engine.docker(&[
            "swarm",
            "init",
            "--advertise-addr",
            "127.0.0.1",
            "--listen-addr",
            &listen,
            "--data-path-port",
            &data,
        ]);
        let overlay = engine.named("overlay");
        engine.docker(&[
            "network",
            "create",
            "-d",
            "overlay",
            "--attachable",
            &overlay,
        ]);
        Swarm { engine, overlay }
    }

    fn service(&self, name: &str, image: &str, replicas: &str) {
        self.engine.docker(&[
            "service",
            "create",
            "--detach",
            "--name",
            &self.engine.named(name),
            "--network",
            &self.overlay,
            "--replicas",
            replicas,
            "--update-order",
            "start-first",
            "--stop-grace-period",
            "5s",
            image,
        ]);
    }

    /// A pool of the configuration.
    fn pool(&self, color: &str) -> String {
        format!(
            "{color} = {{ swarm = \"{}\", port = 3000, network = \"{}\" }}\n",
            self.engine.named(color),
            self.overlay
        )
    }

    /// Shifter in a container on the overlay, with this host's libraries, and on a bridge, where tests reach it.
    async fn shifter(&self, home: &Home) -> SocketAddr {
        let (name, folder) = (self.engine.named("shifter"), home.folder.path().display());
        let program = env!("CARGO_BIN_EXE_shifter");
        let mut arguments: Vec<String> =
            ["create", "--name", &name, "--network", &self.engine.name]
                .map(str::to_owned)
                .to_vec();
        let socket = self.engine.socket();
        let own = socket.parent().unwrap().display();
        for mount in [
            "/usr/lib:/lib:ro".to_owned(),
            "/usr/lib64:/lib64:ro".to_owned(),
            format!("{program}:/shifter:ro"),
            format!("{folder}:{folder}"),
            format!("{own}:{own}"),
        ] {
            arguments.extend(["-v".to_owned(), mount]);
        }
        let config = home.config().display().to_string();
        let rest = [
            "--entrypoint",
            "/shifter",
            "app:blue",
            "serve",
            "--config",
            &config,
        ];
        arguments.extend(rest.map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.engine.docker(&arguments);
        self.engine
            .docker(&["network", "connect", &self.overlay, &name]);
        self.engine.docker(&["start", &name]);
        let ip = self.engine.address(&name).ip();
        let address = SocketAddr::new(ip, home.proxy.port());
        let begun = Instant::now();
        while get_status(address).await != Some(200) {
            let said = || self.engine.try_docker(&["logs", &name]);
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        address
    }

    /// Tasks of a service that the network knows, as shifter counts them.
    fn running(&self, name: &str) -> usize {
        let filter = format!(
            "label=com.docker.swarm.service.name={}",
            self.engine.named(name)
        );
        self.engine
            .docker(&["ps", "-q", "--filter", &filter])
            .lines()
            .count()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self
            .engine
            .try_docker(&["rm", "-f", &self.engine.named("shifter")]);
        let _ = self.engine.try_docker(&["swarm", "leave", "--force"]);
    }
}

async fn get_status(address: SocketAddr) -> Option<u16> {
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    Some(get(address, "/", "").await.ok()?.status)
}

/// Rows 18 and 19: a canary between two services, tasks replaced under it, then Swarm's own rolling update behind it.
#[tokio::test(flavor = "multi_thread")]
async fn row_18_services_by_colour_and_their_tasks_come_and_go() {
    let swarm = Swarm::new();
    swarm.service("blue", "app:blue", "2");
    swarm.service("green", "app:green", "2");
    let engine = &swarm.engine;
    let home = Home::empty(
        tempfile::tempdir().unwrap(),
        "0.0.0.0:8080".parse().unwrap(),
        "127.0.0.1:9601".parse().unwrap(),
    );
    let pools = format!("{}{}", swarm.pool("blue"), swarm.pool("green"));
    engine.configure(
        &home,
        &format!("{pools}{STEPS}{PATIENT}keep_blue = \"1s\"\n"),
    );
    let address = swarm.shifter(&home).await;
    home.until("both of blue", |service| service.blue.backends.len() == 2)
        .await;
    assert_eq!(home.service().await.blue.release, "app:blue");
    let load = Load::on(address);
    load.more(500).await;
    assert_eq!(load.seen.green.load(Relaxed), 0);

    home.client.run(None, &RunRequest::default()).await.unwrap();
    home.share(5.0).await;
    home.weigh(50).await;
    home.share(50.0).await;
    // A task of blue dies without a word; another is told to go.
    let filter = format!(
        "label=com.docker.swarm.service.name={}",
        engine.named("blue")
    );
    let tasks = engine.docker(&["ps", "-q", "--filter", &filter]);
    let before: Vec<String> = ids(&home.service().await.blue);
    engine.docker(&["kill", tasks.lines().next().unwrap()]);
    home.until("its place is empty", |service| {
        service.blue.backends.len() == 1
    })
    .await;
    home.until("Swarm has put another there", |service| {
        service.blue.backends.len() == 2 && ids(&service.blue) != before
    })
    .await;
    load.more(500).await;
    engine.docker(&[
        "service",
        "update",
        "--detach=false",
        "-q",
        "--force",
        &engine.named("blue"),
    ]);
    load.more(500).await;
    assert_eq!(home.service().await.weight_percent, 50.0);
    home.verb("promote").await.unwrap();
    home.share(100.0).await;
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    assert_eq!(
        swarm.running("blue"),
        2,
        "what Swarm runs is Swarm's to stop"
    );
    let before = load.seen.answered();
    load.more(500).await;

    // Behind shifter, Swarm rolls: the old task goes when the new one is well.
    let image = ["--image", "app:third"];
    let green = engine.named("green");
    let mut update = vec!["service", "update", "--detach=false", "-q"];
    update.extend(image);
    update.push(&green);
    engine.docker(&update);
    home.until("the third version serves", |service| {
        service.blue.release == "app:third"
    })
    .await;
    let (seen, _) = load.stop_clean().await;
    let late = seen.answered() - before;
    println!(
        "{} requests, {} of them after the promotion, 0 lost",
        seen.answered(),
        late
    );
}

fn ids(pool: &shifter::control::view::PoolView) -> Vec<String> {
    pool.backends
        .iter()
        .map(|backend| backend.id.clone())
        .collect()
}
