//! Containers, on a real engine: the rows of the guide to blue-green deployment with Docker, and faults.

mod calls;
mod checks;
mod engine_lost;
mod faults;
mod front;
mod image;
mod labels;
mod rows;
mod schema;
mod swarm;
mod users;
mod views;
