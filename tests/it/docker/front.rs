//! Another proxy in front, for TLS: what it says of the user arrives, and a change of version is nothing to it.

use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::nginx::Nginx;
use crate::support::shifter::{PATIENT, QUICK, outcome_of};
use std::net::SocketAddr;

/// nginx with connections that it keeps, as Traefik has them.
async fn before(shifter: SocketAddr, listen: SocketAddr) -> Nginx {
    let http = format!(
        "keepalive_requests 1000000000;\n\
         upstream shifter {{ server {shifter}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {listen}; location / {{ proxy_pass http://shifter; proxy_http_version 1.1; proxy_next_upstream off;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host api.example.com;\n\
         proxy_set_header X-Forwarded-For 203.0.113.9; proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host api.example.com; }} }}"
    );
    Nginx::start(listen, &http).await
}

/// Row 14 (b): behind a proxy for TLS the app sees the user's host, address and scheme; a whole rollout loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn row_14_a_proxy_in_front_says_who_asks() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&format!("{QUICK}{PATIENT}keep_blue = \"1s\"\n"));
    let plain = std::fs::read_to_string(home.config()).unwrap();
    let trusting = plain.replacen("proxy.", "proxy.trust_forwarded = true\nproxy.", 1);
    std::fs::write(home.config(), trusting).unwrap();
    let shifter = home.serve().await;
    let listen = crate::support::apps::free_port();
    let _front = before(shifter.proxy, listen).await;
    let head = get(listen, "/head", "").await.unwrap().body.to_lowercase();
    for line in [
        "host: api.example.com",
        "x-forwarded-for: 203.0.113.9",
        "x-forwarded-proto: https",
        "x-forwarded-host: api.example.com",
    ] {
        assert!(head.contains(line), "{line} in\n{head}");
    }
    let load = Load::on(listen);
    for image in ["app:green", "app:blue"] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted");
        shifter
            .until("it serves", |service| service.blue.release == image)
            .await;
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests through both proxies, 2 rollouts, 0 lost",
        seen.answered()
    );
}
