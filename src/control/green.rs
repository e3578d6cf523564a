//! Where a rollout's green comes from: from the file, or made from blue on another image.

use crate::config::{self, Access, PoolSpec};
use crate::control::controller::Controller;
use crate::control::handle::{Mail, Refusal};
use crate::control::ward::Ward;
use crate::core::plan::Plan;
use crate::core::rollout::Event;
use crate::core::table::{Color, Pool};
use crate::driver::docker::raise::{self, Raise, Said};
use crate::driver::{docker::pools, fixed};
use crate::store::Clock;

/// What a rollout begins with.
pub(super) struct Beginning {
    pub(super) blue: Pool,
    pub(super) green: Pool,
    /// Green is to be made on this image.
    pub(super) image: Option<String>,
    pub(super) plan: Plan,
    /// How many members green is to have.
    pub(super) members: usize,
}

impl Controller {
    /// Blue and green of a rollout that is to begin.
    pub(super) fn beginning(
        &self,
        i: usize,
        plan: Plan,
        image: Option<&str>,
    ) -> Result<Beginning, Refusal> {
        let ward = &self.wards[i];
        let service = &ward.route.service;
        if !ward.is_docker() {
            return of_addresses(ward, plan, image);
        }
        if let Some(why) = &self.dock.lost {
            return Err(Refusal::NotNow(format!("{why}. Nothing was changed")));
        }
        if !ward.sighted(&self.dock) {
            return Err(Refusal::NotNow(format!(
                "the containers of `{service}` have not been seen yet; try again in a moment"
            )));
        }
        let slots = matches!(ward.settings.green, Some(PoolSpec::Containers(_)));
        match (image, &ward.settings.green) {
            (Some(_), _) if slots => Err(Refusal::NotNow(format!(
                "`{service}` has containers as green: start the new version there, and leave --image out. To let shifter make green, remove `green` from [service.{service}]"
            ))),
            (None, Some(PoolSpec::Containers(_))) => self.of_a_slot(ward, plan),
            (Some(image), _) => self.of_an_image(ward, plan, image),
            (None, Some(PoolSpec::Image(image))) => self.of_an_image(ward, plan, image),
            (None, _) => Err(Refusal::NotNow(format!(
                "`{service}` has no green: name the new version's image: `shifter run {service} --image NAME:TAG`"
            ))),
        }
    }

    fn of_a_slot(&self, ward: &Ward, plan: Plan) -> Result<Beginning, Refusal> {
        let service = &ward.route.service;
        let places = ward.places(&self.dock).into_iter().flatten();
        let place = places.skip(Color::Green.index()).flatten().next();
        let seen = ward.docker.containers[Color::Green.index()].as_deref();
        let (Some(place), Some(containers)) = (place, seen) else {
            return Err(Refusal::NotNow(format!("`{service}` has no green")));
        };
        let green = pools::pool(&place, containers, "green");
        if green.backends.is_empty() {
            let there = pools::unreachable(&place, containers);
            let why = match there.first() {
                Some(why) => why.clone(),
                None => "start the new version there first".to_owned(),
            };
            return Err(Refusal::NotNow(format!(
                "no container of `{service}`'s green runs: {why}"
            )));
        }
        Ok(Beginning {
            blue: ward.route.blue.clone(),
            members: green.backends.len(),
            green,
            image: None,
            plan,
        })
    }

    fn of_an_image(&self, ward: &Ward, plan: Plan, image: &str) -> Result<Beginning, Refusal> {
        let service = &ward.route.service;
        let image = config::image(image).map_err(|why| {
            Refusal::NotNow(format!("--image is \"{image}\", {why}: write NAME:TAG"))
        })?;
        if matches!(&ward.settings.blue, PoolSpec::Containers(blue) if blue.is_swarm()) {
            return Err(Refusal::NotNow(format!(
                "`{service}` is a Swarm service, and Swarm makes its containers: start the new version as a second service, and name it: green = {{ swarm = \"{service}-green\", port = 3000, network = \"…\" }}"
            )));
        }
        if self.config.docker.access < Access::Manage {
            return Err(Refusal::NotNow(format!(
                "shifter may not make containers: `access` of [docker] is \"{}\". Set it to \"manage\", or start green yourself and name it: green = {{ container = \"{service}-green\", port = 3000 }}",
                self.config.docker.access.name()
            )));
        }
        let blue = ward.docker.containers[Color::Blue.index()]
            .as_deref()
            .unwrap_or_default();
        let running = blue
            .iter()
            .filter(|container| container.state.serves())
            .count();
        let first = running == 0;
        let replicas = ward
            .settings
            .copy
            .replicas
            .map_or(running.max(1), |n| n as usize);
        Ok(Beginning {
            blue: ward.route.blue.clone(),
            green: Pool {
                release: image.clone(),
                backends: vec![],
            },
            image: Some(image),
            plan: if first { Ward::first_plan(plan) } else { plan },
            members: replicas,
        })
    }

    /// Makes green where shifter is to; what was made by an earlier attempt of this rollout is used.
    pub(super) fn start_green(&mut self, i: usize) {
        let ward = &self.wards[i];
        let (Some(run), Some(own)) = (&ward.run, self.own.upgrade()) else {
            return;
        };
        let Some(image) = run.image.clone() else {
            return;
        };
        let (service, rollout) = (ward.route.service.clone(), run.saved.id);
        let blue = ward.docker.containers[Color::Blue.index()]
            .as_deref()
            .unwrap_or_default();
        // One that runs shows more of what blue is than one that does not.
        let like = blue.iter().find(|one| one.state.serves()).or(blue.first());
        let order = Raise {
            owner: self.dock.owner(&service, rollout),
            image,
            like: like.map(|container| container.id.clone()),
            network: ward.network(),
            copying: ward.settings.copy.clone(),
            replicas: u32::try_from(run.members).unwrap_or(1),
            strict: run.strict,
        };
        let engine = self.dock.engine.clone();
        let task = tokio::spawn(async move {
            // People can do without a line; the work cannot wait for them.
            let say = |said: Said| drop(own.try_send(Mail::of_making(&service, rollout, said)));
            let raised = raise::raise(&engine, &order, say).await;
            let result = raised.map_err(|error| error.to_string());
            let _ = own.send(Mail::Raised { rollout, result }).await;
        });
        if let Some(before) = self.wards[i].docker.raising.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// Green runs, or cannot.
    pub(super) fn raised(&mut self, rollout: i64, result: Result<(), String>) {
        let Some(i) = self.rolls_out(rollout) else {
            return;
        };
        self.wards[i].docker.raising = None;
        if let Err(what) = result {
            let color = Color::Green;
            self.happen(i, Event::Lost { color, what }, Clock::now());
        }
    }
}

fn of_addresses(ward: &Ward, plan: Plan, image: Option<&str>) -> Result<Beginning, Refusal> {
    let service = &ward.route.service;
    if image.is_some() {
        return Err(Refusal::NotNow(format!(
            "`{service}` has addresses as blue, and shifter makes containers only beside containers: blue = {{ container = \"{service}\", port = 3000 }} in [service.{service}]"
        )));
    }
    let (blue, green) = fixed::pools(&ward.settings, &ward.saved.running);
    let Some(green) = green else {
        return Err(Refusal::NotNow(format!(
            "`{service}` has no green: add `green = [\"IP:PORT\"]` to [service.{service}], and `shifter reload` where one runs"
        )));
    };
    Ok(Beginning {
        blue,
        members: green.backends.len(),
        green,
        image: None,
        plan,
    })
}
