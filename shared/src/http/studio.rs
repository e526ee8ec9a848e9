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
    routing::{get, patch, post, put},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{HttpAnswer, idempotency_key, parse_body, request_identity};
use crate::{
    auth::{Caller, Role, Tokens},
    broadcast::{
        Request, Studio,
        trace::{CHANGES, MAX_CHANGES},
    },
    catalog::{Remembered, StoredAnswer},
    clock,
    error::{Error, Language},
    id::{BroadcastId, ProductId},
};

/// Answers the routes of `broadcast-admin`.
pub struct StudioApi {
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// What it is about.
    pub studio: Studio,
}

type Api = State<Arc<StudioApi>>;
type Answer = Response;

/// The routes. They are those of `template.yaml`.
pub fn router(api: StudioApi) -> Router {
    Router::new()
        .route("/products/{product_id}", put(put_product).get(product))
        .route("/products/{product_id}/stock", post(adjust_stock))
        .route("/products/{product_id}/trace", get(trace))
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
        .fallback(no_route)
        .method_not_allowed_fallback(no_route)
        .with_state(Arc::new(api))
}

async fn put_product(State(api): Api, Ids(id): Ids<String>, call: Call) -> Answer {
    let body = parse(&id, "product_id").and_then(|id| Ok((id, parse_body(&call.body)?)));
    call.once(&api, &OPERATOR, body, async |_, (product, body)| {
        api.studio.put_product(product, body).await
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
        let answer = work
            .await
            .map(|body| HttpAnswer::json(status.as_u16(), &body));
        self.finish(answer.map(|answer| (answer.status_code, answer.body)))
    }

    /// Answers a call that changes something, under its Idempotency-Key: the same request gets the same answer, whatever
    /// happened since. Kept are successes and what the caller did wrong, an answer that depends on the state of things
    /// included, because a client that asks again wants to know what became of its request; and not a failure of ours: then
    /// asking again goes on with the work. A body that cannot be read is refused before its key is used up.
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
    ) -> Result<(u16, String), Error> {
        self.caller.require(rule.role)?;
        let body = body?;
        let by = self.caller.user_id.clone();
        if self.key.is_none() && !rule.key_required {
            // Without a key, it is a request like no other.
            let request = Request {
                by,
                id: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
                fingerprint: String::new(),
            };
            let answer = HttpAnswer::json(rule.status.as_u16(), &work(request, body).await?);
            return Ok((answer.status_code, answer.body));
        }
        let key = idempotency_key(self.key.as_deref())?;
        let (id, fingerprint) =
            request_identity(by.as_str(), key, &self.method_and_path, &self.body);
        let catalog = &api.studio.catalog;
        if let Remembered::Answered(earlier) = catalog
            .remember_request(&id, &fingerprint, clock::now())
            .await?
        {
            return Ok((earlier.status, earlier.body));
        }
        let request = Request {
            by,
            id: id.clone(),
            fingerprint: fingerprint.clone(),
        };
        let answer = match work(request, body).await {
            Ok(body) => HttpAnswer::json(rule.status.as_u16(), &body),
            Err(error) if error.is_callers() => HttpAnswer::problem(&error, self.language),
            Err(error) => return Err(error),
        };
        let answer = StoredAnswer {
            status: answer.status_code,
            body: answer.body,
        };
        let standing = catalog
            .answer_request(&id, &fingerprint, answer, clock::now())
            .await?;
        Ok((standing.status, standing.body))
    }

    fn finish(&self, outcome: Result<(u16, String), Error>) -> Answer {
        let (status, body) = outcome.unwrap_or_else(|error| {
            let problem = HttpAnswer::problem(&error, self.language);
            (problem.status_code, problem.body)
        });
        tracing::info!(route = self.method_and_path, status, "answered");
        let kind = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, kind)], body).into_response()
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
        let answer = HttpAnswer::problem(&self.0, self.1);
        let status =
            StatusCode::from_u16(answer.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, answer.headers, answer.body).into_response()
    }
}

fn parse<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<T, Error>
where
    T::Err: ToString,
{
    text.parse()
        .map_err(|error: T::Err| Error::invalid(field, error.to_string()))
}
