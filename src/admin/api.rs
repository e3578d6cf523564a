//! HTTP routes of the admin API, described by OpenAPI.

use crate::admin::body::{
    Done, Notes, Nothing, OneRollout, OneService, Recording, RollbackRequest, Rollouts,
    RoutingTable, RunRequest, WeightRequest,
};
use crate::admin::events;
use crate::admin::extract::{JsonBody, Search, Segment};
use crate::admin::guard::{Door, guard};
use crate::admin::problem::{self, Problem};
use crate::control::view::{API_VERSION, View};
use crate::control::{Answer, CommandError, ControlCommand, Handle, Query};
use crate::core::table::Table;
use crate::core::weight::Weight;
use crate::metrics::Metrics;
use crate::store::SharedState;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::watch;
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most rollouts in one answer.
const ROLLOUTS_MAX: u32 = 500;

/// What the API needs from the process.
#[derive(Clone)]
pub struct App {
    /// The controller.
    pub handle: Handle,
    /// The Prometheus metrics.
    pub metrics: Arc<Metrics>,
    /// The state shared with the data plane: the routing table in force, and whether the process
    /// drains.
    pub board: Arc<SharedState>,
}

/// State that every route handler can reach.
#[derive(Clone)]
struct Shared {
    app: App,
    document: Arc<OpenApi>,
    stop: watch::Receiver<bool>,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "shifter",
        description = "Blue-green and canary rollouts. Everything may be asked on the unix socket; over TCP, what changes something needs `Authorization: Bearer TOKEN`. A service named `-` is the only one that there is. Errors are RFC 9457 problem documents.",
        license(name = "Apache-2.0")
    ),
    components(schemas(Problem))
)]
struct Head;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Head::openapi())
        .routes(routes!(status))
        .routes(routes!(service))
        .routes(routes!(table))
        .routes(routes!(run))
        .routes(routes!(promote))
        .routes(routes!(approve))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(abort))
        .routes(routes!(rollback))
        .routes(routes!(drill))
        .routes(routes!(weight))
        .routes(routes!(reload))
        .routes(routes!(rollouts))
        .routes(routes!(rollout))
        .routes(routes!(notes))
        .routes(routes!(seconds))
        .routes(routes!(follow))
        .routes(routes!(metrics))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(document))
}

/// The OpenAPI document of all routes.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The router for one listener.
pub(crate) fn router(app: App, stop: watch::Receiver<bool>, door: Door) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(axum::middleware::from_fn_with_state(door, guard))
        .with_state(Shared {
            app,
            document: Arc::new(document),
            stop,
        })
}

/// The name of a service in a path; `None` for `-`, which stands for the only service.
fn named(service: &str) -> Option<&str> {
    (service != "-").then_some(service)
}

async fn order(
    shared: &Shared,
    service: Option<&str>,
    order: ControlCommand,
) -> Result<Json<Done>, Problem> {
    let receipt = shared.app.handle.order(service, order).await?;
    Ok(Json(receipt.into()))
}

// ---- status

/// The status of all services.
#[utoipa::path(get, path = "/v1/status", tag = "status", responses((status = 200, description = "How everything stands", body = View)))]
async fn status(State(shared): State<Shared>) -> Json<View> {
    Json(View::clone(&shared.app.handle.view()))
}

/// The status of one service.
#[utoipa::path(get, path = "/v1/services/{service}", tag = "status",
    params(("service" = String, Path, description = "its name, or `-`")),
    responses((status = 200, description = "How the service stands", body = OneService), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn service(
    State(shared): State<Shared>,
    Segment(name): Segment<String>,
) -> Result<Json<OneService>, Problem> {
    let view = shared.app.handle.view();
    let known = || {
        let names: Vec<String> = view
            .services
            .iter()
            .map(|service| format!("`{}`", service.name))
            .collect();
        names.join(", ")
    };
    let service = match (named(&name), view.services.as_slice()) {
        (Some(name), _) => {
            let missing = || CommandError::NoSuchService {
                name: name.to_owned(),
                known: known(),
            };
            view.service(name).ok_or_else(missing)?
        }
        (None, [only]) => only,
        (None, _) => return Err(CommandError::WhichService { known: known() }.into()),
    };
    Ok(Json(OneService {
        api_version: API_VERSION.to_owned(),
        service: service.clone(),
    }))
}

/// The routing table in force.
#[utoipa::path(get, path = "/v1/table", tag = "status", responses((status = 200, description = "What the proxy routes by", body = RoutingTable)))]
async fn table(State(shared): State<Shared>) -> Json<RoutingTable> {
    Json(RoutingTable {
        api_version: API_VERSION.to_owned(),
        table: Table::clone(&shared.app.board.snapshot().table),
    })
}

// ---- orders

/// Start a rollout.
#[utoipa::path(post, path = "/v1/services/{service}/run", tag = "orders",
    params(("service" = String, Path, description = "its name, or `-`")), request_body = RunRequest,
    responses((status = 200, description = "What was done", body = Done), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn run(
    State(shared): State<Shared>,
    Segment(service): Segment<String>,
    JsonBody(asked): JsonBody<RunRequest>,
) -> Result<Json<Done>, Problem> {
    order(&shared, named(&service), ControlCommand::Run(asked.into())).await
}

/// Orders that take nothing but a service.
macro_rules! verbs {
    ($($(#[$doc:meta])* $name:ident $path:literal $order:ident)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "orders",
            params(("service" = String, Path, description = "its name, or `-`")), request_body = Nothing,
            responses((status = 200, description = "What was done", body = Done), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
        async fn $name(
            State(shared): State<Shared>,
            Segment(service): Segment<String>,
            JsonBody(Nothing {}): JsonBody<Nothing>,
        ) -> Result<Json<Done>, Problem> {
            order(&shared, named(&service), ControlCommand::$order).await
        }
    )*};
}

verbs! {
    /// Skip to the last share of the plan now; green is still judged there.
    promote "/v1/services/{service}/promote" Promote
    /// Approve the step that waits for approval.
    approve "/v1/services/{service}/approve" Approve
    /// Take no further step for now; a bad result still takes green out.
    pause "/v1/services/{service}/pause" Pause
    /// Resume the plan.
    resume "/v1/services/{service}/resume" Resume
    /// End the rollout and go back to blue.
    abort "/v1/services/{service}/abort" Abort
    /// Rehearse a rollback with blue's own backends as green; answers once it was measured.
    drill "/v1/services/{service}/drill" Drill
}

/// Roll back to blue, also after the promotion while the old version is still warm.
#[utoipa::path(post, path = "/v1/services/{service}/rollback", tag = "orders",
    params(("service" = String, Path, description = "its name, or `-`")), request_body = RollbackRequest,
    responses((status = 200, description = "What was done", body = Done), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn rollback(
    State(shared): State<Shared>,
    Segment(service): Segment<String>,
    JsonBody(RollbackRequest { keep }): JsonBody<RollbackRequest>,
) -> Result<Json<Done>, Problem> {
    order(&shared, named(&service), ControlCommand::Rollback { keep }).await
}

/// Set green's share by hand; the plan pauses there.
#[utoipa::path(post, path = "/v1/services/{service}/weight", tag = "orders",
    params(("service" = String, Path, description = "its name, or `-`")), request_body = WeightRequest,
    responses((status = 200, description = "What was done", body = Done), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn weight(
    State(shared): State<Shared>,
    Segment(service): Segment<String>,
    JsonBody(WeightRequest { percent }): JsonBody<WeightRequest>,
) -> Result<Json<Done>, Problem> {
    let weight = Weight::from_percent(percent).ok_or_else(|| {
        let detail = format!(
            "`percent` is {percent}, which is not a share: give 0 to 100, such as 25 or 0.5"
        );
        Problem::bad_body(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    order(&shared, named(&service), ControlCommand::SetWeight(weight)).await
}

/// Reload the configuration file: all of it is applied, or nothing.
#[utoipa::path(post, path = "/v1/reload", tag = "orders", request_body = Nothing,
    responses((status = 200, description = "What was done", body = Done), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn reload(
    State(shared): State<Shared>,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Json<Done>, Problem> {
    order(&shared, None, ControlCommand::Reload).await
}

// ---- history

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WhichRollouts {
    /// Only rollouts of this service.
    service: Option<String>,
    /// The most rollouts to return: 20 by default, 500 at most.
    limit: Option<u32>,
}

/// The newest rollouts, newest first.
#[utoipa::path(get, path = "/v1/rollouts", tag = "history", params(WhichRollouts),
    responses((status = 200, description = "The rollouts, the newest first", body = Rollouts), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn rollouts(
    State(shared): State<Shared>,
    Search(WhichRollouts { service, limit }): Search<WhichRollouts>,
) -> Result<Json<Rollouts>, Problem> {
    let limit = limit.unwrap_or(20).min(ROLLOUTS_MAX);
    let mut rollouts = vec![];
    if let Answer::Rollouts(saved) = shared
        .app
        .handle
        .query(Query::Rollouts { service, limit })
        .await?
    {
        rollouts.extend(saved.into_iter().map(Into::into));
    }
    Ok(Json(Rollouts {
        api_version: API_VERSION.to_owned(),
        rollouts,
    }))
}

/// One rollout with its evidence.
#[utoipa::path(get, path = "/v1/rollouts/{id}", tag = "history",
    params(("id" = i64, Path, description = "its number")),
    responses((status = 200, description = "The rollout", body = OneRollout), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn rollout(
    State(shared): State<Shared>,
    Segment(id): Segment<i64>,
) -> Result<Json<OneRollout>, Problem> {
    match shared.app.handle.query(Query::Rollout(id)).await? {
        Answer::Rollout(Some(saved)) => Ok(Json(OneRollout {
            api_version: API_VERSION.to_owned(),
            rollout: (*saved).into(),
        })),
        _ => Err(Problem::no_such_rollout(id)),
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct After {
    /// The number of the last note that the client has.
    after: Option<i64>,
}

/// The notes of a rollout, oldest first.
#[utoipa::path(get, path = "/v1/rollouts/{id}/notes", tag = "history",
    params(("id" = i64, Path, description = "its number"), After),
    responses((status = 200, description = "What happened", body = Notes), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn notes(
    State(shared): State<Shared>,
    Segment(id): Segment<i64>,
    Search(After { after }): Search<After>,
) -> Result<Json<Notes>, Problem> {
    let query = Query::Notes {
        after: after.unwrap_or(0),
        rollout: Some(id),
        limit: events::PAGE,
    };
    let notes = match shared.app.handle.query(query).await? {
        Answer::Notes(notes) => notes,
        _ => vec![],
    };
    Ok(Json(Notes {
        api_version: API_VERSION.to_owned(),
        notes,
    }))
}

/// The recorded input of the judge in a rollout, line by line.
#[utoipa::path(get, path = "/v1/rollouts/{id}/seconds", tag = "history",
    params(("id" = i64, Path, description = "its number")),
    responses((status = 200, description = "What was seen, second by second", body = Recording), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn seconds(
    State(shared): State<Shared>,
    Segment(id): Segment<i64>,
) -> Result<Response, Problem> {
    let handle = &shared.app.handle;
    let Answer::Rollout(Some(_)) = handle.query(Query::Rollout(id)).await? else {
        return Err(Problem::no_such_rollout(id));
    };
    let lines = match handle.query(Query::Seconds(id)).await? {
        Answer::Seconds(lines) => lines,
        _ => vec![],
    };
    // The lines are sent as they were written: parsing and writing them again could change a digit.
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    let body = format!(
        r#"{{"api_version":"{API_VERSION}","rollout":{id},"lines":[{}]}}"#,
        lines.join(",")
    );
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Following {
    /// The number of the last note that the client has; `Last-Event-ID` takes precedence over it.
    after: Option<i64>,
    /// Only events of this rollout.
    rollout: Option<i64>,
}

/// Server-sent events: one note each, with its number as the event's id.
#[utoipa::path(get, path = "/v1/events", tag = "history",
    params(Following, ("Last-Event-ID" = Option<i64>, Header, description = "resume after this number")),
    responses((status = 200, description = "Events, as they come", content_type = "text/event-stream", body = String), (status = "4XX", description = "What was wrong and what to do next", body = Problem, content_type = "application/problem+json")))]
async fn follow(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Search(Following { after, rollout }): Search<Following>,
) -> Result<Response, Problem> {
    let resumed = match headers.get("last-event-id") {
        None => after,
        Some(id) => {
            let number = id.to_str().ok().and_then(|text| text.trim().parse().ok());
            let wrong = || Problem::bad_request("`Last-Event-ID` is not the number of an event");
            Some(number.ok_or_else(wrong)?)
        }
    };
    let events = events::events(
        shared.app.handle.clone(),
        shared.stop.clone(),
        resumed,
        rollout,
    )
    .await?;
    Ok(events.into_response())
}

// ---- for machines

/// All metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "machines",
    responses((status = 200, description = "All metrics", content_type = "text/plain", body = String)))]
async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], shared.app.metrics.render()).into_response()
}

/// Liveness: whether the process serves at all, also while it drains.
#[utoipa::path(get, path = "/healthz", tag = "machines",
    responses((status = 200, description = "It serves", content_type = "text/plain", body = String)))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Readiness: whether new traffic may be sent here.
#[utoipa::path(get, path = "/readyz", tag = "machines",
    responses((status = 200, description = "It takes new traffic", content_type = "text/plain", body = String), (status = 503, description = "Why it takes none", body = Problem, content_type = "application/problem+json")))]
async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    if shared.app.board.draining() {
        return Err(Problem::not_ready(
            "shifter is on its way out: send new traffic elsewhere",
        ));
    }
    if shared.app.board.snapshot().table.version == 0 {
        return Err(Problem::not_ready(
            "shifter has no routing table yet: ask again in a moment",
        ));
    }
    Ok("ready\n")
}

/// This OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "machines",
    responses((status = 200, description = "An OpenAPI document", content_type = "application/json", body = Object)))]
async fn document(State(shared): State<Shared>) -> Response {
    Json(&*shared.document).into_response()
}
