//! The doors of operators and hosts, as an axum router: `lambda_http` feeds it.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request as HttpRequest, State,
        rejection::QueryRejection,
    },
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post, put},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{HttpAnswer, once::Keyed, parse_body};
use crate::{
    auth::{Caller, Role, Tokens},
    broadcast::{
        Request, Studio,
        trace::{CHANGES, MAX_CHANGES},
    },
    channel::{
        desk::Desk,
        kept::{KEPT, MOST_KEPT},
    },
    error::{Error, Language},
    id::{BroadcastId, ProductId},
};

/// Answers the routes of `broadcast-admin`.
pub struct StudioApi {
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// Products and broadcasts.
    pub studio: Studio,
    /// Channels.
    pub desk: Desk,
}

type Api = State<Arc<StudioApi>>;
type Answer = Response;

/// The routes. They are those of `template.yaml`.
pub fn router(api: StudioApi) -> Router {
    Router::new()
        .route("/products/{product_id}", put(put_product).get(product))
        .route("/products/{product_id}/stock", post(adjust_stock))
        .route("/products/{product_id}/trace", get(trace))
        .route(
            "/products/{product_id}/listings/{channel}",
            put(put_listing),
        )
        .route("/channels", get(channels))
        .route("/channels/{channel}/pull", post(pull))
        .route("/channels/{channel}/resync", post(resync))
        .route("/channels/{channel}/quarantine", get(kept))
        .route("/channels/{channel}/quarantine/{key}", delete(drop_kept))
        .route("/broadcasts", post(create_broadcast))
        .route("/broadcasts/{broadcast_id}", get(broadcast))
        .route("/broadcasts/{broadcast_id}/start", post(start))
        .route("/broadcasts/{broadcast_id}/end", post(end))
        .route(
            "/broadcasts/{broadcast_id}/products/spotlight",
            post(spotlight),
        )
        .route(
            "/broadcasts/{broadcast_id}/products/{product_id}",
            patch(change_spotlight).delete(close_spotlight),
        )
        .route("/broadcasts/{broadcast_id}/moderation", post(moderate))
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .with_state(Arc::new(api))
}

async fn put_product(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    let body = parse(&id, "product_id").and_then(|id| Ok((id, parse_body(&call.body)?)));
    call.once(&api, &OPERATOR, body, async |request, (product, body)| {
        api.studio.put_product(&request, product, body).await
    })
    .await
}

async fn product(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        api.studio.product(&product_id(&id)?).await
    })
    .await
}

async fn trace(
    State(api): Api,
    Ids(id): Ids<String>,
    limit: Result<Query<TraceQuery>, QueryRejection>,
    call: Call,
) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        let Query(query) =
            limit.map_err(|_| Error::invalid("limit", format!("1..={MAX_CHANGES}")))?;
        let product = id.parse().map_err(|_| Error::NotFound("product"))?;
        api.studio
            .trace(&product, query.limit.unwrap_or(CHANGES))
            .await
    })
    .await
}

/// The query of `GET /products/{product_id}/trace`.
#[derive(Deserialize)]
struct TraceQuery {
    limit: Option<u32>,
}

async fn adjust_stock(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &STOCK, body, async |request, body| {
        api.studio
            .adjust_stock(&request, &product_id(&id)?, body)
            .await
    })
    .await
}

async fn put_listing(
    State(api): Api,
    Ids((product, channel)): Ids<(String, String)>,
    call: Call,
) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &OPERATOR, body, async |request, body| {
        api.desk
            .put_listing(&request, &product_id(&product)?, &channel, body)
            .await
    })
    .await
}

async fn channels(State(api): Api, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        Ok(json!({ "channels": api.desk.channels().await? }))
    })
    .await
}

async fn pull(State(api): Api, Ids(channel): Ids<String>, call: Call) -> Answer {
    call.once(&api, &PULL, Ok(()), async |_, ()| {
        api.desk.pull(&channel).await?;
        Ok(json!({ "status": "queued", "channel": channel }))
    })
    .await
}

async fn resync(
    State(api): Api,
    Ids(channel): Ids<String>,
    query: Result<Query<ResyncQuery>, QueryRejection>,
    call: Call,
) -> Answer {
    let query = query.map_err(|_| Error::invalid("dry_run", "true, false"));
    call.once(&api, &OPERATOR, query, async |_, Query(query)| {
        let ResyncQuery { dry_run, after } = query;
        api.desk.resync(&channel, dry_run, after).await
    })
    .await
}

/// The query of `POST /channels/{channel}/resync`.
#[derive(Deserialize)]
struct ResyncQuery {
    #[serde(default)]
    dry_run: bool,
    after: Option<String>,
}

async fn kept(
    State(api): Api,
    Ids(channel): Ids<String>,
    query: Result<Query<KeptQuery>, QueryRejection>,
    call: Call,
) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        let Query(query) =
            query.map_err(|_| Error::invalid("limit", format!("1..={MOST_KEPT}")))?;
        let most = query.limit.unwrap_or(KEPT);
        api.desk.kept(&channel, query.after.as_deref(), most).await
    })
    .await
}

/// The query of `GET /channels/{channel}/quarantine`.
#[derive(Deserialize)]
struct KeptQuery {
    after: Option<String>,
    limit: Option<u32>,
}

async fn drop_kept(
    State(api): Api,
    Ids((channel, key)): Ids<(String, String)>,
    call: Call,
) -> Answer {
    call.once(&api, &OPERATOR, Ok(()), async |_, ()| {
        api.desk.drop_kept(&channel, &key).await
    })
    .await
}

async fn create_broadcast(State(api): Api, call: Call) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &PLAN, body, async |request, body| {
        api.studio.create_broadcast(&request, body).await
    })
    .await
}

async fn broadcast(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        Ok(api.studio.snapshot(&broadcast_id(&id)?).await?.body)
    })
    .await
}

async fn start(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    call.once(&api, &HOST, Ok(()), async |_, ()| {
        api.studio.start(&broadcast_id(&id)?).await
    })
    .await
}

async fn end(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    call.once(&api, &HOST, Ok(()), async |request, ()| {
        api.studio.end(&request, &broadcast_id(&id)?).await
    })
    .await
}

async fn spotlight(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &HOST, body, async |request, body| {
        api.studio
            .spotlight(&request, &broadcast_id(&id)?, body)
            .await
    })
    .await
}

async fn change_spotlight(
    State(api): Api,
    Ids((broadcast, product)): Ids<(String, String)>,
    call: Call,
) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &HOST, body, async |request, body| {
        let (broadcast, product) = (broadcast_id(&broadcast)?, product_id(&product)?);
        api.studio
            .change_spotlight(&request, &broadcast, &product, body)
            .await
    })
    .await
}

async fn close_spotlight(
    State(api): Api,
    Ids((broadcast, product)): Ids<(String, String)>,
    call: Call,
) -> Answer {
    call.once(&api, &HOST, Ok(()), async |request, ()| {
        let (broadcast, product) = (broadcast_id(&broadcast)?, product_id(&product)?);
        api.studio
            .close_spotlight(&request, &broadcast, &product)
            .await
    })
    .await
}

async fn moderate(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    let body = parse_body(&call.body);
    call.once(&api, &HOST, body, async |request, body| {
        api.studio
            .moderate(&request, &broadcast_id(&id)?, body)
            .await
    })
    .await
}

fn product_id(text: &str) -> Result<ProductId, Error> {
    text.parse().map_err(|_| Error::NotFound("product"))
}

fn broadcast_id(text: &str) -> Result<BroadcastId, Error> {
    text.parse().map_err(|_| Error::NotFound("broadcast"))
}

/// What a call that changes something asks of its caller, and how it is answered when it went well.
struct Rule {
    role: Role,
    key_required: bool,
    status: StatusCode,
}

const OPERATOR: Rule = Rule {
    role: Role::Operator,
    key_required: false,
    status: StatusCode::OK,
};
const STOCK: Rule = Rule {
    key_required: true,
    ..OPERATOR
};
const PULL: Rule = Rule {
    status: StatusCode::ACCEPTED,
    ..OPERATOR
};
const HOST: Rule = Rule {
    role: Role::Broadcaster,
    ..OPERATOR
};
const PLAN: Rule = Rule {
    status: StatusCode::CREATED,
    ..HOST
};

/// The parts of the path. What cannot be one is a path that leads nowhere.
struct Ids<T>(T);

impl<T, S> FromRequestParts<S> for Ids<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let language = language(parts);
        let Path(ids) = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem(Error::NotFound("route"), language))?;
        Ok(Self(ids))
    }
}

/// A request whose caller is known.
struct Call {
    caller: Caller,
    language: Language,
    key: Option<String>,
    method_and_path: String,
    body: Bytes,
}

impl Call {
    /// Answers a call that changes nothing.
    async fn answer<T: Serialize>(
        &self,
        status: StatusCode,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Answer {
        let body = work.await;
        self.finish(body.map(|body| HttpAnswer::json(status.as_u16(), &body)))
    }

    /// Answers a call that changes something, once under its Idempotency-Key. A body that cannot be read is refused before its
    /// key is used up.
    async fn once<B, T: Serialize>(
        &self,
        api: &StudioApi,
        rule: &Rule,
        body: Result<B, Error>,
        work: impl AsyncFnOnce(Request, B) -> Result<T, Error>,
    ) -> Answer {
        self.finish(self.try_once(api, rule, body, work).await)
    }

    async fn try_once<B, T: Serialize>(
        &self,
        api: &StudioApi,
        rule: &Rule,
        body: Result<B, Error>,
        work: impl AsyncFnOnce(Request, B) -> Result<T, Error>,
    ) -> Result<HttpAnswer, Error> {
        self.caller.require(rule.role)?;
        let body = body?;
        let (by, status) = (self.caller.user_id.clone(), rule.status.as_u16());
        if self.key.is_none() && !rule.key_required {
            // Without a key, it is a request like no other.
            let request = Request {
                by,
                id: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
                fingerprint: String::new(),
                language: self.language,
            };
            return Ok(HttpAnswer::json(status, &work(request, body).await?));
        }
        let asked = Keyed::new(&by, self.key.as_deref(), &self.method_and_path, &self.body)?;
        let request = Request {
            by,
            id: asked.id.clone(),
            fingerprint: asked.fingerprint.clone(),
            language: self.language,
        };
        asked
            .once(
                &api.studio.catalog,
                (status, self.language),
                work(request, body),
            )
            .await
    }

    fn finish(&self, outcome: Result<HttpAnswer, Error>) -> Answer {
        HttpAnswer::conclude(outcome, &self.method_and_path, self.language).into_response()
    }
}

impl FromRequest<Arc<StudioApi>> for Call {
    type Rejection = Problem;

    async fn from_request(request: HttpRequest, api: &Arc<StudioApi>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let language = language(&parts);
        let problem = |error| Problem(error, language);
        let text = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let caller = api
            .tokens
            .verify_header(text("authorization"))
            .map_err(problem)?;
        let body = axum::body::to_bytes(Body::new(body), super::MAX_BODY)
            .await
            .map_err(|_| problem(Error::invalid("body", format!("<= {} B", super::MAX_BODY))))?;
        Ok(Self {
            caller,
            language,
            key: parts
                .headers
                .get("idempotency-key")
                .map(|key| key.to_str().unwrap_or_default().to_owned()),
            method_and_path: format!("{} {}", parts.method, parts.uri.path()),
            body,
        })
    }
}

fn language(parts: &Parts) -> Language {
    let header = parts.headers.get(header::ACCEPT_LANGUAGE);
    Language::from_header(header.and_then(|value| value.to_str().ok()))
}

/// A path or a method that is no route.
async fn no_route(parts: Parts) -> Problem {
    Problem(Error::NotFound("route"), language(&parts))
}

struct Problem(Error, Language);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        HttpAnswer::problem(&self.0, self.1).into_response()
    }
}

impl IntoResponse for HttpAnswer {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, self.headers, self.body).into_response()
    }
}

fn parse<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<T, Error>
where
    T::Err: ToString,
{
    text.parse()
        .map_err(|error: T::Err| Error::invalid(field, error.to_string()))
}
