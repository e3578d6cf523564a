//! Containers as text for people, without the values of variables, which may be secrets.

use crate::driver::docker::engine::{Engine, EngineError};
use bollard::models::{ContainerInspectResponse, ImageConfig};
use std::collections::BTreeSet;

/// The replacement for a variable's value.
const HIDDEN: &str = "***";

/// All that the engine shows of a container, as JSON, with the values of its variables hidden.
pub fn of(seen: &ContainerInspectResponse) -> String {
    let mut seen = seen.clone();
    if let Some(config) = &mut seen.config {
        config.env = config.env.as_deref().map(hidden);
    }
    serde_json::to_string_pretty(&seen).unwrap_or_default()
}

fn hidden(env: &[String]) -> Vec<String> {
    env.iter()
        .map(|entry| match entry.split_once('=') {
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None => entry.clone(),
        })
        .collect()
}

/// The differences between the images of two containers, a line each.
///
/// # Errors
/// When the engine does not show them.
pub async fn difference(engine: &Engine, blue: &str, green: &str) -> Result<String, EngineError> {
    let mut sides = vec![];
    for id in [blue, green] {
        let seen = engine.inspect(id).await?;
        let name = seen.config.as_ref().and_then(|config| config.image.clone());
        let image = seen.image.clone().unwrap_or_default();
        let config = engine.image(&image).await?.config;
        sides.push((
            format!("{} {image}", name.unwrap_or_default()),
            lines(&config),
        ));
    }
    let (green, blue) = (sides.remove(1), sides.remove(0));
    Ok(compared(&blue, &green))
}

fn compared(blue: &(String, BTreeSet<String>), green: &(String, BTreeSet<String>)) -> String {
    let mut text = format!("--- blue  {}\n+++ green {}\n", blue.0, green.0);
    for line in blue.1.difference(&green.1) {
        text.push_str(&format!("- {line}\n"));
    }
    for line in green.1.difference(&blue.1) {
        text.push_str(&format!("+ {line}\n"));
    }
    if blue.1 == green.1 {
        text.push_str("  (the same settings; only the contents differ)\n");
    }
    text
}

/// An image's settings, a line each; an image should contain no secrets.
fn lines(config: &ImageConfig) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(config) else {
        return lines;
    };
    for (name, value) in fields {
        match value {
            serde_json::Value::Array(items) if name == "Env" => {
                lines.extend(items.iter().map(|item| format!("{name} {item}")));
            }
            serde_json::Value::Object(entries) => {
                lines.extend(
                    entries
                        .iter()
                        .map(|(key, value)| format!("{name} {key}={value}")),
                );
            }
            value => {
                lines.insert(format!("{name} {value}"));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_values_of_variables_are_hidden() {
        let seen = json!({ "Id": "abc", "Config": { "Env": ["PASSWORD=hunter2", "ODD"], "Image": "api:1" } });
        let text = of(&serde_json::from_value(seen).expect("an answer"));
        assert!(
            text.contains("PASSWORD=***") && text.contains("ODD"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn images_are_compared_line_by_line() {
        let side = |name: &str, config: serde_json::Value| {
            let config: ImageConfig = serde_json::from_value(config).expect("settings");
            (name.to_owned(), lines(&config))
        };
        let blue = side("api:1", json!({ "Env": ["A=1", "B=2"], "Cmd": ["serve"] }));
        let green = side("api:2", json!({ "Env": ["A=1", "B=3"], "Cmd": ["serve"] }));
        let text = compared(&blue, &green);
        assert!(text.contains("- Env \"B=2\"\n+ Env \"B=3\"\n"), "{text}");
        assert!(!text.contains("A=1") && !text.contains("serve"), "{text}");
        assert!(compared(&blue, &blue).contains("the same settings"));
    }
}
