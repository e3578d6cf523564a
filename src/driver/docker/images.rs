//! Images: those on the host, fetching and removing them, and the free resources of the engine's host.

use crate::driver::docker::credentials;
use crate::driver::docker::engine::{Engine, call};
use crate::driver::docker::fault::{EngineError, said};
use bollard::models::{ContainerInspectResponse, ImageConfig, ImageInspect};
use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures::StreamExt;
use std::collections::HashMap;

/// An image on the host.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its names on the host.
    pub names: Vec<String>,
    /// Its settings.
    pub config: ImageConfig,
    /// Its size in bytes.
    pub size: i64,
    /// Its platform: `linux/arm64/v8`; empty where the engine does not say.
    pub platform: String,
}

/// The free resources of the engine's host, as far as they can be known from here.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Free memory of this host in bytes; `None` when the engine runs on another host.
    pub memory: Option<i64>,
    /// The folder of images and the free bytes there; `None` where this process cannot see it.
    pub disk: Option<(String, i64)>,
    /// The platform that runs there without emulation: `linux/amd64`.
    pub platform: String,
    /// Whether the engine's networks are separate from this host's.
    pub rootless: bool,
}

impl Engine {
    /// An image on the host.
    ///
    /// # Errors
    /// When it is not on the host.
    pub async fn image(&self, reference: &str) -> Result<Image, EngineError> {
        let docker = self.docker().await?;
        let seen = call("look at an image", docker.inspect_image(reference)).await?;
        Ok(Image {
            platform: platform_of(&seen),
            id: seen.id.unwrap_or_default(),
            names: seen
                .repo_tags
                .filter(|tags| !tags.is_empty())
                .or(seen.repo_digests)
                .unwrap_or_default(),
            size: seen.size.unwrap_or_default(),
            config: seen.config.unwrap_or_default(),
        })
    }

    /// Fetches an image from its registry, with the credentials that `docker login` stored; for `platform`, where it is
    /// not the engine's own.
    ///
    /// `progress` gets the bytes so far and the total, as far as they are known.
    ///
    /// # Errors
    /// When the registry does not have it, or denies it.
    pub async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        mut progress: impl FnMut(i64, i64),
    ) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let (image, tag) = split(reference);
        let options = CreateImageOptions {
            from_image: Some(image.to_owned()),
            tag: tag.map(str::to_owned),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        let registry = || credentials::registry(reference).to_owned();
        let credentials = credentials::of(reference).map_err(|why| EngineError::Credentials {
            registry: registry(),
            why,
        })?;
        let mut layers: HashMap<String, (i64, i64)> = HashMap::new();
        let mut steps = docker.create_image(Some(options), None, credentials);
        while let Some(step) = steps.next().await {
            let step = step.map_err(|error| match said("fetch the image", &error) {
                EngineError::Refused(_, words) | EngineError::Missing(words)
                    if credentials::wanted(&words) =>
                {
                    EngineError::Unauthorized {
                        registry: registry(),
                        words,
                        looked_for: credentials::looked_for(),
                    }
                }
                other => other,
            })?;
            if let (Some(layer), Some(detail)) = (step.id, step.progress_detail)
                && let (Some(done), Some(all)) = (detail.current, detail.total)
            {
                layers.insert(layer, (done, all));
                let sum = layers
                    .values()
                    .fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
                progress(sum.0, sum.1);
            }
        }
        Ok(())
    }

    /// Removes an image by its id, never by force: an image that a container uses, or with another name, stays.
    ///
    /// # Errors
    /// [`EngineError::Missing`] where it is gone already; [`EngineError::Refused`] where it stays.
    pub async fn remove_image(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let asked = docker.remove_image(id, None::<RemoveImageOptions>, None);
        call("remove an image", asked).await.map(drop)
    }

    /// The free resources of the engine's host.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn room(&self) -> Result<Room, EngineError> {
        let docker = self.docker().await?;
        let info = call("tell about itself", docker.info()).await?;
        let known = tokio::fs::read_to_string("/proc/meminfo").await;
        let known = known.unwrap_or_default();
        let kilobytes = |key: &str| -> Option<i64> {
            let line = known.lines().find(|line| line.starts_with(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let total = kilobytes("MemTotal:").map(|kilobytes| kilobytes * 1024);
        // An equal total of memory, to the byte: it is this host.
        let here = total.is_some() && total == info.mem_total;
        let free = kilobytes("MemAvailable:").map(|free| free * 1024);
        let root = info.docker_root_dir.filter(|_| here);
        let security = info.security_options.unwrap_or_default();
        Ok(Room {
            memory: free.filter(|_| here),
            disk: root
                .and_then(|root| Some((free_on(&root)?, root)).map(|(free, root)| (root, free))),
            platform: format!(
                "{}/{}",
                info.os_type.unwrap_or_default(),
                architecture(&info.architecture.unwrap_or_default())
            ),
            rootless: security.iter().any(|option| option.contains("rootless")),
        })
    }
}

/// Free bytes of a folder's file system for unprivileged users.
fn free_on(folder: &str) -> Option<i64> {
    let seen = rustix::fs::statvfs(folder).ok()?;
    i64::try_from(seen.f_bavail.saturating_mul(seen.f_frsize)).ok()
}

fn platform_of(image: &ImageInspect) -> String {
    let parts = [&image.os, &image.architecture, &image.variant];
    platform(parts.map(Option::as_deref))
}

/// The platform of a container's image, where the engine reports it for the container itself: an image may exist for
/// several platforms.
pub(super) fn platform_of_container(seen: &ContainerInspectResponse) -> Option<String> {
    let chosen = seen.image_manifest_descriptor.as_ref()?.platform.as_ref()?;
    let parts = [&chosen.os, &chosen.architecture, &chosen.variant];
    let platform = platform(parts.map(Option::as_deref));
    (!platform.is_empty()).then_some(platform)
}

/// `os/architecture/variant`; empty without the first two.
fn platform(parts: [Option<&str>; 3]) -> String {
    match parts.map(|part| part.filter(|part| !part.is_empty())) {
        [Some(os), Some(architecture), None] => format!("{os}/{architecture}"),
        [Some(os), Some(architecture), Some(variant)] => format!("{os}/{architecture}/{variant}"),
        _ => String::new(),
    }
}

/// The platform to request to get the one that blue runs on; `None` where it is the engine's default.
pub(super) fn foreign(blue: &str, engine: &str) -> Option<String> {
    let two = |platform: &str| -> Option<(String, String)> {
        let mut parts = platform.split('/');
        let os = parts.next().filter(|os| !os.is_empty())?.to_owned();
        Some((os, parts.next().filter(|part| !part.is_empty())?.to_owned()))
    };
    let (asked, own) = (two(blue)?, two(engine)?);
    (asked != own).then(|| blue.to_owned())
}

/// The name of an architecture in images: the engine reports the one of `uname -m`.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" | "armhf" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

/// Image and tag; a digest stays with the image.
fn split(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') && !image.contains('@') => (image, Some(tag)),
        _ => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tag_is_told_from_a_port_and_a_digest() {
        let cases = [
            ("api:1.1", ("api", Some("1.1"))),
            ("host:5000/api:1.1", ("host:5000/api", Some("1.1"))),
            ("host:5000/api", ("host:5000/api", None)),
            ("api@sha256:0123", ("api@sha256:0123", None)),
        ];
        for (reference, expected) in cases {
            assert_eq!(split(reference), expected);
        }
    }

    #[test]
    fn a_platform_is_asked_for_where_it_is_not_the_engines_own() {
        let cases = [
            ("linux/amd64", "linux/amd64", None),
            ("linux/arm64/v8", "linux/arm64", None),
            ("linux/amd64", "linux/arm64", Some("linux/amd64")),
            ("linux/arm/v7", "linux/amd64", Some("linux/arm/v7")),
            ("", "linux/amd64", None),
            ("linux/amd64", "/", None),
        ];
        for (blue, engine, expected) in cases {
            assert_eq!(
                foreign(blue, engine).as_deref(),
                expected,
                "{blue} on {engine}"
            );
        }
        let seen = json!({ "Os": "linux", "Architecture": "arm", "Variant": "v7" });
        let seen = serde_json::from_value(seen).expect("an answer");
        assert_eq!(platform_of(&seen), "linux/arm/v7");
        let one = json!({ "ImageManifestDescriptor": { "platform": { "os": "linux", "architecture": "amd64" } } });
        let one = serde_json::from_value(one).expect("an answer");
        assert_eq!(platform_of_container(&one).as_deref(), Some("linux/amd64"));
        assert_eq!(architecture("x86_64"), "amd64");
    }
}
