//! The doors of operators and hosts, as an axum router: `lambda_http` feeds it.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Path, Request as HttpRequest, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, patch, post, put},
};
use serde::Serialize;

use super::{idempotency_key, parse_body, request_identity};
use crate::{
    auth::{Caller, Role, Tokens},
    broadcast::{Request, Studio},
    clock,
    error::{Error, Language},
};

/// Answers the routes of `broadcast-admin`.
pub struct StudioApi {
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// What it is about.
    pub studio: Studio,
}

type Api = State<Arc<StudioApi>>;
type Answer = Result<Response, Problem>;

/// The routes. They are those of `template.yaml`.
pub fn router(api: StudioApi) -> Router {
    Router::new()
        .route("/products/{product_id}", put(put_product).get(product))
        .route("/products/{product_id}/stock", post(adjust_stock))
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
        .fallback(async || Problem(Error::NotFound("route"), Language::default()))
        .with_state(Arc::new(api))
}

async fn put_product(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        call.remember(&api, false).await?;
        api.studio
            .put_product(parse(&id, "product_id")?, parse_body(&call.body)?)
            .await
    })
    .await
}

async fn product(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        api.studio
            .product(&id.parse().map_err(|_| Error::NotFound("product"))?)
            .await
    })
    .await
}

async fn adjust_stock(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Operator)?;
        let body = parse_body(&call.body)?;
        let request = call.remember(&api, true).await?;
        api.studio
            .adjust_stock(
                &request,
                &id.parse().map_err(|_| Error::NotFound("product"))?,
                body,
            )
            .await
    })
    .await
}

async fn create_broadcast(State(api): Api, call: Call) -> Answer {
    call.answer(StatusCode::CREATED, async {
        call.caller.require(Role::Broadcaster)?;
        let body = parse_body(&call.body)?;
        let request = call.remember(&api, false).await?;
        api.studio.create_broadcast(&request, body).await
    })
    .await
}

async fn broadcast(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        Ok(api
            .studio
            .snapshot(&id.parse().map_err(|_| Error::NotFound("broadcast"))?)
            .await?
            .body)
    })
    .await
}

async fn start(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Broadcaster)?;
        call.remember(&api, false).await?;
        api.studio
            .start(&id.parse().map_err(|_| Error::NotFound("broadcast"))?)
            .await
    })
    .await
}

async fn end(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Broadcaster)?;
        let request = call.remember(&api, false).await?;
        api.studio
            .end(
                &request,
                &id.parse().map_err(|_| Error::NotFound("broadcast"))?,
            )
            .await
    })
    .await
}

async fn spotlight(State(api): Api, Path(id): Path<String>, call: Call) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Broadcaster)?;
        let body = parse_body(&call.body)?;
        let request = call.remember(&api, false).await?;
        api.studio
            .spotlight(
                &request,
                &id.parse().map_err(|_| Error::NotFound("broadcast"))?,
                body,
            )
            .await
    })
    .await
}

async fn change_spotlight(
    State(api): Api,
    Path((broadcast, product)): Path<(String, String)>,
    call: Call,
) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Broadcaster)?;
        let body = parse_body(&call.body)?;
        let request = call.remember(&api, false).await?;
        let broadcast = broadcast
            .parse()
            .map_err(|_| Error::NotFound("broadcast"))?;
        let product = product.parse().map_err(|_| Error::NotFound("product"))?;
        api.studio
            .change_spotlight(&request, &broadcast, &product, body)
            .await
    })
    .await
}

async fn close_spotlight(
    State(api): Api,
    Path((broadcast, product)): Path<(String, String)>,
    call: Call,
) -> Answer {
    call.answer(StatusCode::OK, async {
        call.caller.require(Role::Broadcaster)?;
        let request = call.remember(&api, false).await?;
        let broadcast = broadcast
            .parse()
            .map_err(|_| Error::NotFound("broadcast"))?;
        let product = product.parse().map_err(|_| Error::NotFound("product"))?;
        api.studio
            .close_spotlight(&request, &broadcast, &product)
            .await
    })
    .await
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
    async fn answer<T: Serialize>(
        &self,
        status: StatusCode,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Answer {
        let outcome = work.await;
        let code = outcome.as_ref().map_or_else(
            |error| error.problem(self.language).status,
            |_| status.as_u16(),
        );
        tracing::info!(route = self.method_and_path, status = code, "answered");
        match outcome {
            Ok(body) => Ok((status, axum::Json(body)).into_response()),
            Err(error) => Err(Problem(error, self.language)),
        }
    }

    /// The identity of this request, under its Idempotency-Key; without one, it is a request like no other.
    async fn remember(&self, api: &StudioApi, required: bool) -> Result<Request, Error> {
        let by = self.caller.user_id.clone();
        if self.key.is_none() && !required {
            let id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            return Ok(Request {
                by,
                id,
                fingerprint: String::new(),
            });
        }
        let key = idempotency_key(self.key.as_deref())?;
        let (id, fingerprint) =
            request_identity(by.as_str(), key, &self.method_and_path, &self.body);
        api.studio
            .catalog
            .remember_request(&id, &fingerprint, clock::now())
            .await?;
        Ok(Request {
            by,
            id,
            fingerprint,
        })
    }
}

impl FromRequest<Arc<StudioApi>> for Call {
    type Rejection = Problem;

    async fn from_request(request: HttpRequest, api: &Arc<StudioApi>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Reader(language) = Reader::from_request_parts(&mut parts, api)
            .await
            .unwrap_or_default();
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
            .map_err(|_| {
                problem(Error::invalid(
                    "body",
                    format!("at most {} bytes", super::MAX_BODY),
                ))
            })?;
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

#[derive(Default)]
struct Reader(Language);

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let header = parts
            .headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        Ok(Self(Language::from_header(header)))
    }
}

struct Problem(Error, Language);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let answer = super::HttpAnswer::problem(&self.0, self.1);
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
