//! Images, by the names that `tests/engine` gives them: settings only, the program is one for all.

use serde_json::{Value, json};

/// An image.
pub struct Image {
    pub name: &'static str,
    env: &'static [&'static str],
    /// The argument of the command, its interval and its retries.
    healthcheck: Option<(&'static str, u64, u64)>,
    entrypoint: &'static str,
    /// Nobody has it yet; the registry does.
    pub remote: bool,
    pub architecture: &'static str,
}

const PLAIN: Image = Image {
    name: "",
    env: &["VERSION=green"],
    healthcheck: None,
    entrypoint: "/app",
    remote: false,
    architecture: "amd64",
};

/// The healthchecks are ten times faster than those of `tests/engine`.
const SECOND: u64 = 100_000_000;

static IMAGES: [Image; 16] = [
    Image {
        name: "app:blue",
        env: &["VERSION=blue"],
        ..PLAIN
    },
    Image {
        name: "app:green",
        ..PLAIN
    },
    Image {
        name: "app:third",
        env: &["VERSION=third"],
        ..PLAIN
    },
    Image {
        name: "app:bad",
        env: &["VERSION=green", "ERRORS=20"],
        ..PLAIN
    },
    Image {
        name: "app:exits",
        env: &["VERSION=green", "EXIT_AT_START=3"],
        ..PLAIN
    },
    Image {
        name: "app:dies",
        env: &["VERSION=green", "EXIT_AFTER_MS=1500"],
        ..PLAIN
    },
    Image {
        name: "app:ill",
        env: &["VERSION=green", "WARM_MS=100000000"],
        ..PLAIN
    },
    Image {
        name: "app:checked",
        env: &["VERSION=green", "WARM_MS=250"],
        healthcheck: Some(("check", SECOND, 3)),
        ..PLAIN
    },
    Image {
        name: "app:unhealthy",
        healthcheck: Some(("fail", SECOND, 2)),
        ..PLAIN
    },
    Image {
        name: "app:broken",
        entrypoint: "/no-such-program",
        ..PLAIN
    },
    Image {
        name: "app:remote",
        remote: true,
        ..PLAIN
    },
    Image {
        name: "app:remote-2",
        remote: true,
        ..PLAIN
    },
    Image {
        name: "app:remote-3",
        remote: true,
        ..PLAIN
    },
    Image {
        name: "app:foreign",
        env: &["VERSION=blue"],
        architecture: "arm64",
        ..PLAIN
    },
    Image {
        name: "app:foreign-2",
        remote: true,
        architecture: "arm64",
        ..PLAIN
    },
    Image {
        name: "app:damaged",
        remote: true,
        ..PLAIN
    },
];

/// The image of this name or id, here or in the registry.
pub fn find(reference: &str) -> Option<&'static Image> {
    let meant = |image: &&Image| image.name == reference || image.id() == reference;
    IMAGES.iter().find(meant)
}

impl Image {
    pub fn id(&self) -> String {
        let hex: String = self.name.bytes().map(|b| format!("{b:02x}")).collect();
        format!("sha256:{hex:0>64}")
    }

    /// Its settings, as the engine shows them.
    pub fn config(&self) -> Value {
        let check = self.healthcheck.map(|(argument, interval, retries)| {
            json!({ "Test": ["CMD", "/app", argument], "Interval": interval, "Timeout": 10 * SECOND, "Retries": retries })
        });
        json!({
            "Env": self.env,
            "Entrypoint": [self.entrypoint],
            "Cmd": null,
            "ExposedPorts": { "3000/tcp": {} },
            "Labels": null,
            "Healthcheck": check,
        })
    }
}
