//! A Docker engine without Docker: the calls of SECURITY.md on a socket of its own, in memory. Its
//! containers are processes of the test app on addresses of this host; whatever can go wrong does, when told.

mod app;
mod calls;
mod container;
mod engine;
mod events;
pub mod faults;
mod front;
mod image;
mod process;

use crate::support::apps::free_port;
use crate::support::docker;
use crate::support::fake::engine::Engine;
use crate::support::fake::faults::{Fault, Faults};
use crate::support::fake::front::Front;
use crate::support::filter;
use crate::support::shifter::{Home, Shifter};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

pub use events::Telling;

/// What marks a container that some shifter made.
const MANAGED: &str = "com.example.shifter.managed";

/// A fake engine; its containers end with it.
pub struct Fake {
    /// The service, the network, and the beginning of each container's name.
    pub name: String,
    pub engine: Arc<Engine>,
    pub faults: Arc<Faults>,
    front: Front,
}

impl Fake {
    pub fn start() -> Fake {
        let name = format!("t{:08x}", rand::random::<u32>());
        let engine = Engine::new(&name);
        let front = Front::new(engine.clone(), filter::named("manage"));
        Fake {
            name,
            engine,
            faults: front.faults.clone(),
            front,
        }
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.front.socket.display())
    }

    /// A container's name here.
    pub fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// `docker run -d`, with more settings as `POST /containers/create` has them; the whole id.
    pub fn run(&self, name: &str, image: &str, restart: &str) -> String {
        self.run_with(
            &self.named(name),
            image,
            json!({ "HostConfig": { "RestartPolicy": { "Name": restart } } }),
        )
    }

    pub fn run_with(&self, name: &str, image: &str, mut body: Value) -> String {
        body["Image"] = json!(image);
        body["HostConfig"]["NetworkMode"] = json!(self.name);
        let id = self.engine.create(name, &body).unwrap();
        self.engine.start(&id).unwrap();
        id
    }

    /// What `docker inspect` shows.
    pub fn inspect(&self, name: &str) -> Value {
        self.engine.state().find(name).unwrap().inspect()
    }

    /// Names of the containers: those that run, or all.
    pub fn containers(&self, all: bool) -> Vec<String> {
        let state = self.engine.state();
        let meant = state.containers.iter().filter(|one| all || one.runs());
        let mut names: Vec<String> = meant.map(|one| one.name.clone()).collect();
        names.sort();
        names
    }

    /// Names of the containers that run and that some shifter made.
    pub fn made(&self) -> Vec<String> {
        let state = self.engine.state();
        let meant = state
            .containers
            .iter()
            .filter(|one| one.runs() && one.labelled(&[format!("{MANAGED}=true")]));
        meant.map(|one| one.name.clone()).collect()
    }

    /// The calls so far that did something to a container, or tried to.
    pub fn acts_on(&self, name: &str) -> Vec<String> {
        let calls = self.faults.calls().into_iter();
        let acts = calls.filter(|call| call.whom == name && !call.shape.starts_with("GET "));
        acts.map(|call| call.shape).collect()
    }

    /// Where a container listens.
    pub fn address(&self, name: &str) -> SocketAddr {
        let seen = self.inspect(name);
        let ip = seen["NetworkSettings"]["Networks"][&self.name]["IPAddress"]
            .as_str()
            .unwrap();
        format!("{ip}:3000").parse().unwrap()
    }

    /// A home whose service is this test's, with blue in the container `blue`; `more` are further keys of it.
    pub fn home(&self, more: &str) -> Home {
        let home = Home::empty(tempfile::tempdir().unwrap(), free_port(), free_port());
        let blue = format!(
            "blue = {{ container = \"{}\", port = 3000 }}",
            self.named("blue")
        );
        docker::configure(&home, &self.host(), &self.name, &format!("{blue}\n{more}"));
        home
    }

    /// Blue in a container of its own, and shifter before it.
    pub async fn with_blue(&self, more: &str) -> Shifter {
        self.run("blue", "app:blue", "unless-stopped");
        self.home(more).serve().await
    }

    /// The list of containers stays as it is now, or is true again.
    pub fn lag(&self, lags: bool) {
        let mut state = self.engine.state();
        state.listed = lags.then(|| state.containers.clone());
    }

    /// The daemon answers nobody, and says nothing any more, until another rule is set.
    pub fn freeze(&self) {
        self.engine.events.tell_them(Telling::Lost);
        self.faults.now(|_| Some(Fault::Hang));
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.engine.events.tell_them(Telling::Straight);
        self.lag(false);
        self.faults.none();
    }

    /// The daemon is killed; its containers live on.
    pub async fn go_away(&self) {
        self.front.close();
        self.engine.go_down(false).await;
    }

    /// The daemon ends and its containers with it: whoever listens hears of that before it is gone.
    pub async fn shut_down(&self) {
        self.engine.go_down(true).await;
    }

    /// The daemon is killed, and its containers with it: nobody hears of their end.
    pub async fn fall(&self) {
        self.front.close();
        self.engine.go_down(true).await;
    }

    /// The daemon runs again, and what is to run with it.
    pub fn come_back(&self) {
        self.front.close();
        self.engine.come_up();
        self.front.open();
    }
}
