//! Smoke checks: each backend of green is asked what it must answer, out of sight of users.

use crate::config::{HttpCheck, SmokeCheck};
use crate::driver::docker::Engine;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of an answer's body that a check looks at.
const BODY_MAX: usize = 1 << 20;

/// What is checked: where green listens, and its containers where it has some.
pub struct Target {
    /// The host that requests carry.
    pub host: String,
    /// Where green listens.
    pub backends: Vec<SocketAddr>,
    /// Name and id of green's containers.
    pub containers: Vec<(String, String)>,
    /// Their engine.
    pub engine: Engine,
}

/// Runs every check against all of green; the error names the first that failed and how.
pub async fn smoke(checks: &[SmokeCheck], green: &Target) -> Result<String, String> {
    let mut passed = 0;
    for check in checks {
        match check {
            SmokeCheck::Http(check) => {
                for backend in &green.backends {
                    let what = format!("{} {} on {backend}", check.method, check.path);
                    ask(check, &green.host, *backend)
                        .await
                        .map_err(|error| format!("smoke check {what}: {error}"))?;
                    passed += 1;
                }
            }
            SmokeCheck::Exec { command, timeout } => {
                if green.containers.is_empty() {
                    return Err("smoke check by `exec`: green has no containers".to_owned());
                }
                for (name, id) in &green.containers {
                    let what = format!("`{}` in {name}", command.join(" "));
                    let ran = green.engine.exec(id, command, *timeout).await;
                    let (code, output) =
                        ran.map_err(|error| format!("smoke check {what}: {error}"))?;
                    if code != 0 {
                        return Err(format!(
                            "smoke check {what}: exit code {code}: {}",
                            output.trim()
                        ));
                    }
                    passed += 1;
                }
            }
        }
    }
    Ok(format!("smoke checks: {passed} of {passed} passed"))
}

/// A client that follows nothing and reuses nothing: checks must see what a first visitor sees.
pub(super) fn client(timeout: Duration) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(|error| error.to_string())
}

async fn ask(check: &HttpCheck, host: &str, backend: SocketAddr) -> Result<(), String> {
    let method = reqwest::Method::from_bytes(check.method.as_bytes())
        .map_err(|_| format!("`{}` is no HTTP method", check.method))?;
    let mut request = client(check.timeout)?
        .request(method, format!("http://{backend}{}", check.path))
        .header("host", host)
        .header("x-shifter-probe", "smoke");
    for (name, value) in &check.headers {
        request = request.header(name, value);
    }
    let mut answer = request
        .send()
        .await
        .map_err(|error| said(&error, check.timeout))?;
    let status = answer.status().as_u16();
    if status != check.expect {
        return Err(format!("expected {}, got {status}", check.expect));
    }
    let Some(wanted) = &check.contains else {
        return Ok(());
    };
    let mut body = Vec::new();
    while let Some(part) = answer
        .chunk()
        .await
        .map_err(|error| said(&error, check.timeout))?
    {
        body.extend_from_slice(&part);
        if body.len() > BODY_MAX {
            break;
        }
    }
    if String::from_utf8_lossy(&body).contains(wanted.as_str()) {
        Ok(())
    } else {
        Err(format!("the answer does not contain `{wanted}`"))
    }
}

fn said(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} ms", timeout.as_millis());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
