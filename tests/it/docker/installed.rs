//! A short list on the engine that this host has installed, and its Compose, which are older than those that all other tests use.

use crate::docker::{compose, copied, rows};
use crate::support::docker::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn three_deployments_in_a_row() {
    rows::three_deployments_in_a_row(Engine::installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_fails_after_the_swap() {
    rows::a_green_that_fails_after_the_swap(Engine::installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_asked_for() {
    copied::what_a_person_asked_for(Engine::installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_example_rolls_out_twice() {
    compose::the_example_rolls_out_twice(Engine::installed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_compose_service_outlives_the_next_up() {
    compose::a_copied_service_outlives_the_next_up(Engine::installed()).await;
}
