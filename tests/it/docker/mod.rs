//! Containers, on a real engine and on a fake one: the rows of the guide to blue-green deployment with Docker, and faults.

mod baseline;
mod calls;
mod checks;
mod compose;
mod copied;
mod engine_lost;
mod fake;
mod faults;
mod front;
mod image;
mod installed;
mod labels;
mod names;
mod podman;
mod probes;
mod registry;
mod rows;
mod schema;
mod swarm;
mod traefik;
mod users;
mod views;
