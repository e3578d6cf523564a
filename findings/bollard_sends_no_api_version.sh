#!/usr/bin/env bash
# bollard 0.21.1: a client that is made for a version of Docker's API asks without that version.
#
# `Docker::connect_with_http(.., API_DEFAULT_VERSION)` and `connect_with_unix` take the version of the API that the client is to
# speak, and `client_version()` gives it back. One would expect `GET /v1.NN/containers/json` on the wire, as the docker
# command line sends it. What is sent is `GET /containers/json`: the prefix is put into the base URL, and joining an
# absolute path to that base takes it away again. So each engine answers by its newest API, whatever was asked for.
#
# Needs cargo, python3 and network access to a crates registry; leaves nothing behind.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

cat >server.py <<'END'
"""Writes the first line of each request to a file and answers it with an empty list."""
import http.server

class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("asked", "a") as asked:
            asked.write(self.requestline + "\n")
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Engine)
with open("port", "w") as port:
    port.write(str(server.server_port))
server.serve_forever()
END
python3 server.py &
server=$!
until [ -s port ]; do kill -0 "$server"; done

mkdir -p client/src
cat >client/Cargo.toml <<'END'
[package]
name = "client"
version = "0.0.0"
edition = "2024"

[dependencies]
bollard = "=0.21.1"
tokio = { version = "1", features = ["macros", "rt"] }
END
cat >client/src/main.rs <<'END'
use bollard::query_parameters::ListContainersOptions;
use bollard::{API_DEFAULT_VERSION, Docker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), bollard::errors::Error> {
    let at = std::env::args().nth(1).unwrap_or_default();
    let docker = Docker::connect_with_http(&at, 10, API_DEFAULT_VERSION)?;
    docker.list_containers(None::<ListContainersOptions>).await?;
    println!("client_version {}", docker.client_version());
    Ok(())
}
END
cargo run --quiet --manifest-path client/Cargo.toml -- "http://127.0.0.1:$(cat port)" | tee said
cat asked
# What was seen on 2026-11-30: a client of version 1.53, and `GET /containers/json HTTP/1.1`.
grep -q '^client_version 1\.' said
grep -qE '^GET /containers/json[? ]' asked
if grep -qE '^GET /v1\.' asked; then exit 1; fi
echo "as described: the version is not in the request"
