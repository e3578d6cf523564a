//! The handling of each field of a container's settings: copied, left out, or reported. The tests compare the tables
//! with the fields in the engine's models, so that a new one fails a test.

use crate::driver::docker::clone::{Changes, clone};
use crate::driver::docker::labels::Owner;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    ImageConfig,
};
use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde_json::{Value, json};

/// A field, blue's value, what is sent for green, and what is reported.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// Blue's value.
const SAME: &str = "same";
/// Nothing.
const NOT: &str = "not";
/// Blue's value, among others.
const WITHIN: &str = "within";
/// Blue is not copied at all.
const REFUSED: &str = "refused";

/// Settings of the host configuration.
const OF_THE_HOST: &[Row] = &[
    ("CpuShares", "7", SAME, ""),
    ("Memory", "7", SAME, ""),
    ("CgroupParent", r#""x""#, SAME, ""),
    ("BlkioWeight", "7", SAME, ""),
    (
        "BlkioWeightDevice",
        r#"[{"Path":"/dev/x","Weight":7}]"#,
        SAME,
        "",
    ),
    (
        "BlkioDeviceReadBps",
        r#"[{"Path":"/dev/x","Rate":7}]"#,
        SAME,
        "",
    ),
    (
        "BlkioDeviceWriteBps",
        r#"[{"Path":"/dev/x","Rate":7}]"#,
        SAME,
        "",
    ),
    (
        "BlkioDeviceReadIOps",
        r#"[{"Path":"/dev/x","Rate":7}]"#,
        SAME,
        "",
    ),
    (
        "BlkioDeviceWriteIOps",
        r#"[{"Path":"/dev/x","Rate":7}]"#,
        SAME,
        "",
    ),
    ("CpuPeriod", "7", SAME, ""),
    ("CpuQuota", "7", SAME, ""),
    ("CpuRealtimePeriod", "7", SAME, ""),
    ("CpuRealtimeRuntime", "7", SAME, ""),
    ("CpusetCpus", r#""x""#, SAME, ""),
    ("CpusetMems", r#""x""#, SAME, ""),
    (
        "Devices",
        r#"[{"PathOnHost":"/dev/x","PathInContainer":"/dev/y","CgroupPermissions":"r"}]"#,
        SAME,
        "",
    ),
    ("DeviceCgroupRules", r#"["x"]"#, SAME, ""),
    (
        "DeviceRequests",
        r#"[{"Driver":"nvidia","Count":-1,"Capabilities":[["gpu"]]}]"#,
        SAME,
        "",
    ),
    ("MemoryReservation", "7", SAME, ""),
    ("MemorySwap", "7", SAME, ""),
    ("MemorySwappiness", "7", SAME, ""),
    ("NanoCpus", "7", SAME, ""),
    ("OomKillDisable", "true", SAME, ""),
    ("Init", "true", SAME, ""),
    ("PidsLimit", "7", SAME, ""),
    (
        "Ulimits",
        r#"[{"Name":"nofile","Soft":1,"Hard":2}]"#,
        SAME,
        "",
    ),
    ("CpuCount", "7", SAME, ""),
    ("CpuPercent", "7", SAME, ""),
    ("IOMaximumIOps", "7", SAME, ""),
    ("IOMaximumBandwidth", "7", SAME, ""),
    ("Binds", r#"["/a:/b:ro"]"#, SAME, ""),
    ("ContainerIDFile", r#""x""#, NOT, ""),
    (
        "LogConfig",
        r#"{"Type":"local","Config":{"max-size":"1m"}}"#,
        SAME,
        "",
    ),
    ("NetworkMode", r#""web""#, SAME, ""),
    (
        "PortBindings",
        r#"{"80/tcp":[{"HostIp":"","HostPort":"80"}]}"#,
        NOT,
        "publishes no ports of the host",
    ),
    (
        "RestartPolicy",
        r#"{"Name":"always","MaximumRetryCount":0}"#,
        r#"{"Name":"no"}"#,
        "",
    ),
    ("AutoRemove", "true", REFUSED, "--rm"),
    ("VolumeDriver", r#""x""#, SAME, ""),
    ("VolumesFrom", r#"["x"]"#, SAME, ""),
    (
        "Mounts",
        r#"[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}]"#,
        SAME,
        "",
    ),
    ("ConsoleSize", "[7,7]", SAME, ""),
    ("Annotations", r#"{"a":"b"}"#, SAME, ""),
    ("CapAdd", r#"["x"]"#, SAME, ""),
    ("CapDrop", r#"["x"]"#, SAME, ""),
    ("CgroupnsMode", r#""private""#, SAME, ""),
    ("Dns", r#"["x"]"#, SAME, ""),
    ("DnsOptions", r#"["x"]"#, SAME, ""),
    ("DnsSearch", r#"["x"]"#, SAME, ""),
    ("ExtraHosts", r#"["x"]"#, SAME, ""),
    ("GroupAdd", r#"["x"]"#, SAME, ""),
    ("IpcMode", r#""x""#, SAME, ""),
    ("Cgroup", r#""x""#, SAME, ""),
    ("Links", r#"["/db:/api/store"]"#, r#"["db:store"]"#, ""),
    ("OomScoreAdj", "7", SAME, ""),
    ("PidMode", r#""x""#, SAME, ""),
    ("Privileged", "true", SAME, ""),
    (
        "PublishAllPorts",
        "true",
        NOT,
        "publishes no ports of the host",
    ),
    ("ReadonlyRootfs", "true", SAME, ""),
    ("SecurityOpt", r#"["x"]"#, SAME, ""),
    ("StorageOpt", r#"{"a":"b"}"#, SAME, ""),
    ("Tmpfs", r#"{"a":"b"}"#, SAME, ""),
    ("UTSMode", r#""x""#, SAME, ""),
    ("UsernsMode", r#""x""#, SAME, ""),
    ("ShmSize", "7", SAME, ""),
    ("Sysctls", r#"{"a":"b"}"#, SAME, ""),
    ("Runtime", r#""x""#, SAME, ""),
    ("Isolation", r#""default""#, SAME, ""),
    ("MaskedPaths", r#"["x"]"#, NOT, ""),
    ("ReadonlyPaths", r#"["x"]"#, NOT, ""),
];

/// Settings of the container.
const OF_THE_CONTAINER: &[Row] = &[
    ("Hostname", r#""x""#, NOT, "the host name x"),
    ("Domainname", r#""x""#, SAME, ""),
    ("User", r#""x""#, SAME, ""),
    ("AttachStdin", "true", NOT, ""),
    ("AttachStdout", "true", NOT, ""),
    ("AttachStderr", "true", NOT, ""),
    ("ExposedPorts", r#"{"x":{}}"#, SAME, ""),
    ("Tty", "true", SAME, ""),
    ("OpenStdin", "true", SAME, ""),
    ("StdinOnce", "true", SAME, ""),
    ("Env", r#"["KEY=1"]"#, SAME, ""),
    ("Cmd", r#"["x"]"#, SAME, ""),
    (
        "Healthcheck",
        r#"{"Test":["CMD","/x"],"Interval":7}"#,
        SAME,
        "",
    ),
    ("ArgsEscaped", "true", NOT, ""),
    ("Image", r#""x""#, r#""app:1.1""#, ""),
    ("Volumes", r#"{"x":{}}"#, SAME, "fresh, empty volumes"),
    ("WorkingDir", r#""x""#, SAME, ""),
    ("Entrypoint", r#"["x"]"#, SAME, ""),
    ("NetworkDisabled", "true", SAME, ""),
    ("OnBuild", r#"["x"]"#, NOT, ""),
    ("Labels", r#"{"team":"web"}"#, WITHIN, ""),
    ("StopSignal", r#""x""#, SAME, ""),
    ("StopTimeout", "7", SAME, ""),
    ("Shell", r#"["x"]"#, SAME, ""),
];

/// Settings of an endpoint.
const OF_AN_ENDPOINT: &[Row] = &[
    (
        "IPAMConfig",
        r#"{"IPv4Address":"10.0.0.9"}"#,
        NOT,
        "10.0.0.9 stays blue's",
    ),
    ("Links", r#"["/db:/api/store"]"#, SAME, ""),
    ("MacAddress", r#""x""#, NOT, ""),
    ("Aliases", r#"["x"]"#, NOT, "answers to x on `web`"),
    ("DriverOpts", r#"{"a":"b"}"#, SAME, ""),
    ("GwPriority", "7", SAME, ""),
    ("NetworkID", r#""x""#, NOT, ""),
    ("EndpointID", r#""x""#, NOT, ""),
    ("Gateway", r#""x""#, NOT, ""),
    ("IPAddress", r#""x""#, NOT, ""),
    ("IPPrefixLen", "7", NOT, ""),
    ("IPv6Gateway", r#""x""#, NOT, ""),
    ("GlobalIPv6Address", r#""x""#, NOT, ""),
    ("GlobalIPv6PrefixLen", "7", NOT, ""),
    ("DNSNames", r#"["x"]"#, NOT, ""),
];

/// A deserializer that collects the fields a model asks for, and gives none.
struct Fields<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.0.extend(fields);
        Err(Error::custom("the fields are known"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    let mut found = vec![];
    let _ = T::deserialize(Fields(&mut found));
    found.sort_unstable();
    found
}

fn named(table: &[Row]) -> Vec<&'static str> {
    let mut names: Vec<_> = table.iter().map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names
}

/// Green from a blue with one more setting at this place of `docker inspect`; returns the remarks, or why it is
/// refused.
fn copied(
    place: &str,
    field: &str,
    sample: &Value,
) -> Result<(ContainerCreateBody, String), String> {
    let mut blue = json!({
        "Id": "0123456789abcdef0123456789abcdef",
        "Name": "/api",
        "Config": { "Image": "app:1.0" },
        "HostConfig": { "NetworkMode": "web" },
        "NetworkSettings": { "Networks": { "web": {} } },
    });
    let there = blue.pointer_mut(place).expect("a place");
    there[field] = sample.clone();
    let blue: ContainerInspectResponse = serde_json::from_value(blue).expect("an answer");
    let changes = Changes {
        image: "app:1.1".to_owned(),
        name: "api-7".to_owned(),
        names: true,
        ..Changes::default()
    };
    let owner = Owner {
        instance: "here".to_owned(),
        service: "api".to_owned(),
        rollout: 7,
        baseline: false,
    };
    let spec = clone(&blue, &ImageConfig::default(), &changes, &owner, false);
    let spec = spec.map_err(|why| why.to_string())?;
    Ok((spec.body, spec.remarks.join("\n")))
}

/// Checks each row of a table: `place` is where blue has the field, `sent` where green's is sent.
fn hold(place: &str, sent: &str, table: &[Row]) {
    for (field, sample, asked, told) in table {
        let sample: Value = serde_json::from_str(sample).expect("a value");
        let (body, remarks) = match copied(place, field, &sample) {
            Ok(copied) => copied,
            Err(why) => {
                assert!(*asked == REFUSED && why.contains(told), "{field}: {why}");
                continue;
            }
        };
        let body = serde_json::to_value(&body).expect("a body");
        let found = body.pointer(&format!("{sent}/{field}"));
        let kept = match *asked {
            SAME => found == Some(&sample),
            NOT => found.is_none_or(Value::is_null),
            WITHIN => {
                let all = sample.as_object().into_iter().flatten();
                all.clone().count() > 0
                    && all
                        .clone()
                        .all(|(name, value)| found.is_some_and(|found| found[name] == *value))
            }
            other => found == serde_json::from_str(other).ok().as_ref(),
        };
        assert!(kept, "{field}: {found:?} and not {asked}");
        let fits = if told.is_empty() {
            remarks.is_empty()
        } else {
            remarks.contains(told)
        };
        assert!(fits, "{field} is told as {remarks:?} and not as {told:?}");
    }
}

#[test]
fn every_field_that_the_engine_knows_is_in_a_table() {
    assert_eq!(fields::<HostConfig>(), named(OF_THE_HOST));
    assert_eq!(fields::<ContainerConfig>(), named(OF_THE_CONTAINER));
    assert_eq!(fields::<EndpointSettings>(), named(OF_AN_ENDPOINT));
    let mut body = named(OF_THE_CONTAINER);
    body.extend(["HostConfig", "NetworkingConfig"]);
    body.sort_unstable();
    assert_eq!(fields::<ContainerCreateBody>(), body);
}

#[test]
fn every_field_is_copied_left_out_or_told_as_its_table_says() {
    hold("/HostConfig", "/HostConfig", OF_THE_HOST);
    hold("/Config", "", OF_THE_CONTAINER);
    let endpoint = "/NetworkSettings/Networks/web";
    hold(
        endpoint,
        "/NetworkingConfig/EndpointsConfig/web",
        OF_AN_ENDPOINT,
    );
}
