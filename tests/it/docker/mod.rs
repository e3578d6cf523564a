//! Containers, on a real engine: the rows of the guide to blue-green deployment with Docker, and faults.

mod calls;
mod engine_lost;
mod faults;
mod image;
mod rows;
mod schema;
mod users;
mod views;
