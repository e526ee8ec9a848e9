//! A shop wired as the functions wire it, and the show that most tests begin with.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use onepool::{
    auth::{Role, Tokens},
    aws::Aws,
    batch,
    broadcast::{Studio, fence::Fence, shrink::Shrink},
    catalog::Catalog,
    channel::{
        Ports,
        alert::Alerts,
        backlog::Backlog,
        circuit::{Circuits, Side},
        desk::Desk,
        governor::Governor,
        look::Looks,
        pull::{Pull, Turns},
        push::Push,
        wake::Wakes,
    },
    clock,
    config::Secret,
    http::{
        HttpAnswer, HttpEvent,
        hints::HintsApi,
        orders::OrdersApi,
        payments::PaymentsApi,
        studio::{StudioApi, router},
    },
    id::{BroadcastId, ProductId},
    keys::Keys,
    ledger::Ledger,
    order::{
        accept::Orders,
        pay::{PaymentTerms, Payments},
        process::{GATEWAY_PATIENCE, Settlement},
        reconcile::Reconcile,
        sweep::Sweep,
    },
    payment::{Gateway, Toss},
    queue::Queue,
    room::{Rooms, Wake, post::Post, pump::Pump, socket::Sockets},
    stock::{Gate, Source},
};
use payment_sandbox::{Sandbox, Settings};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{DynamoDb, RedisServer, Wire};

/// How long orders keep their units, unless a test says otherwise.
pub const HOLD_PERIOD: Duration = Duration::from_secs(300);
/// The longest they may.
pub const HOLD_CEILING: Duration = Duration::from_secs(900);
/// How long a spotlight waits for the channels, unless a test says otherwise: in most nobody tells them anything meanwhile.
pub const FENCE_WAIT: Duration = Duration::from_millis(150);
const SYNCS: &str = "http://queues/channels";
const PULLS: &str = "http://queues/pulls";
/// The channels of the shop.
pub const CHANNELS: [&str; 4] = ["smartstore", "coupang", "elevenst", "ownstore"];
const TOSS_KEY: &str = "test_sk_demo0000000000000000";

/// A whole shop in this process, over real parts.
pub struct Shop {
    /// Its Redis.
    pub redis: RedisServer,
    /// Its AWS.
    pub wire: Wire,
    /// Its payment gateway.
    pub sandbox: Sandbox,
    /// `order-accept`.
    pub orders: OrdersApi,
    /// `order-process`.
    pub settlement: Settlement,
    /// `payment-webhook`.
    pub payments: PaymentsApi,
    /// `reconcile`.
    pub reconcile: Reconcile,
    /// `stock-fanout`.
    pub pump: Pump,
    /// `ws-connections`.
    pub sockets: Sockets,
    /// The rooms.
    pub rooms: Rooms,
    /// The gate.
    pub gate: Gate,
    /// The ledger.
    pub ledger: Ledger,
    /// Signs tokens.
    pub tokens: Tokens,
    /// What stands in for DynamoDB.
    pub dynamodb: DynamoDb,
    /// The catalogue.
    pub catalog: Catalog,
    /// The ledger with the gate that follows it.
    pub fence: Fence,
    keys: Keys,
    aws: Aws,
    studio: Router,
    orders_queue: Queue,
}

/// A product on air.
#[derive(Debug, Clone)]
pub struct Show {
    /// The broadcast.
    pub broadcast: BroadcastId,
    /// The product.
    pub product: ProductId,
}

impl Show {
    /// Where its units are sold from.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::Live(self.broadcast.clone())
    }
}

/// The payment of an order body; a key that begins with `decline` is refused by the card company.
#[must_use]
pub fn billing_key(key: &str) -> Value {
    json!({ "method": "billing_key", "billing_key": key, "customer_key": "customer-1" })
}

impl Shop {
    /// Opens a shop that is paid through the payment sandbox.
    pub async fn open() -> Self {
        Self::open_with(|sandbox| {
            Box::new(Toss::new(
                sandbox.base_url().to_owned(),
                Secret::new(TOSS_KEY),
            ))
        })
        .await
    }

    /// Opens a shop that is paid through another gateway; the payment sandbox stands idle then.
    pub async fn open_with(gateway: impl Fn(&Sandbox) -> Box<dyn Gateway>) -> Self {
        let redis = RedisServer::start().await;
        let dynamodb = DynamoDb::start();
        let wire = Wire::start(&dynamodb).await;
        let aws = wire.aws();
        let sandbox = Sandbox::start(Settings {
            secret_key: TOSS_KEY.to_owned(),
            ..Settings::default()
        })
        .await
        .expect("the sandbox starts");

        let keys = Keys::new("demo");
        let tokens = Tokens::new(&Secret::new("token-secret"));
        let connection = redis.connection();
        let gate = Gate::new(connection.clone(), keys.clone());
        let ledger = Ledger::new(aws.clone(), "stock".into(), "orders".into());
        let catalog = Catalog::new(aws.clone(), "catalog".into());
        let rooms = Rooms::new(
            connection.clone(),
            keys.clone(),
            aws.clone(),
            "http://queues/wakes".into(),
        );
        let fence = Fence {
            ledger: ledger.clone(),
            gate: gate.clone(),
            channels: Wakes::new(
                Queue::new(aws.clone(), SYNCS.into()),
                Backlog::new(connection.clone(), keys.clone()),
            ),
        };
        let orders_queue = Queue::new(aws.clone(), "http://queues/orders".into());
        let post = || Post::new(aws.clone(), wire.callback_url());
        let sweep = Sweep {
            fence: fence.clone(),
            queue: orders_queue.clone(),
        };
        let terms = PaymentTerms::with_ceiling(HOLD_CEILING);
        let settlement = || Settlement {
            fence: fence.clone(),
            payments: gateway(&sandbox),
            rooms: rooms.clone(),
            terms,
            gateway_patience: GATEWAY_PATIENCE,
        };
        Self {
            orders: OrdersApi {
                tokens: tokens.clone(),
                orders: Orders {
                    gate: gate.clone(),
                    queue: orders_queue.clone(),
                    ledger: ledger.clone(),
                    catalog: catalog.clone(),
                    sweep: sweep.clone(),
                    hold_period: HOLD_PERIOD,
                },
            },
            settlement: settlement(),
            payments: PaymentsApi {
                tokens: tokens.clone(),
                payments: Payments {
                    fence: fence.clone(),
                    queue: orders_queue.clone(),
                    catalog: catalog.clone(),
                    terms,
                },
            },
            reconcile: Reconcile {
                sweep,
                settlement: settlement(),
                catalog: catalog.clone(),
                orders: orders_queue.clone(),
            },
            pump: Pump::new(rooms.clone(), post(), 5_000),
            sockets: Sockets {
                rooms: rooms.clone(),
                catalog: catalog.clone(),
                fence: fence.clone(),
                tokens: tokens.clone(),
                post: post(),
            },
            studio: Router::new(),
            catalog,
            fence,
            keys,
            aws,
            orders_queue,
            redis,
            wire,
            sandbox,
            rooms,
            gate,
            ledger,
            tokens,
            dynamodb,
        }
        .patient(FENCE_WAIT)
    }

    /// The shop, whose rooms may post so often a second.
    #[must_use]
    pub fn with_callback_budget(mut self, posts_per_s: u64) -> Self {
        let post = Post::new(self.aws.clone(), self.wire.callback_url());
        self.pump = Pump::new(self.rooms.clone(), post, posts_per_s);
        self
    }

    /// The shop, whose spotlights wait so long for the channels.
    #[must_use]
    pub fn patient(mut self, fence_wait: Duration) -> Self {
        let connection = self.redis.connection();
        self.studio = router(StudioApi {
            tokens: self.tokens.clone(),
            studio: Studio {
                catalog: self.catalog.clone(),
                fence: self.fence.clone(),
                rooms: self.rooms.clone(),
                post: Post::new(self.aws.clone(), self.wire.callback_url()),
                shrink: self.shrink(fence_wait),
            },
            desk: Desk {
                catalog: self.catalog.clone(),
                fence: self.fence.clone(),
                backlog: Backlog::new(connection.clone(), self.keys.clone()),
                circuits: [Side::Pull, Side::Push]
                    .map(|side| Circuits::new(connection.clone(), self.keys.clone(), side)),
                pulls: Queue::new(self.aws.clone(), PULLS.into()),
                looks: Looks::new(connection, self.keys.clone()),
                // Who looks is the test's own hand.
                look_wait: Duration::ZERO,
                channels: CHANNELS.map(str::to_owned).to_vec(),
            },
        });
        self
    }

    /// The channels that a spotlight waits for, so long at most.
    #[must_use]
    pub fn shrink(&self, patience: Duration) -> Shrink {
        Shrink {
            channels: CHANNELS.map(str::to_owned).to_vec(),
            circuits: Circuits::new(self.redis.connection(), self.keys.clone(), Side::Push),
            patience,
        }
    }

    /// A token.
    #[must_use]
    pub fn token(&self, user: &str, role: Role) -> String {
        let until = clock::now() + Duration::from_secs(3_600);
        self.tokens
            .sign(user.parse().expect("a user id"), "이름", role, until)
            .expect("signs")
    }

    /// Calls a route of `broadcast-admin`. Returns the status and the body.
    pub async fn admin(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Value,
    ) -> (u16, Value) {
        let token = self.token("operator-1", Role::Operator);
        let headers = [("authorization", format!("Bearer {token}"))];
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(key.map(|key| ("idempotency-key", key)));
        self.admin_raw(method, path, headers, body.to_string())
            .await
    }

    /// Calls a route of `broadcast-admin` with these headers and this body.
    pub async fn admin_raw<'a>(
        &self,
        method: Method,
        path: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: String,
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let answer = self
            .studio
            .clone()
            .oneshot(request)
            .await
            .expect("the router answers");
        let status = answer.status().as_u16();
        let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX)
            .await
            .expect("a body");
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// `channel-poll`, with these channels.
    #[must_use]
    pub fn pull(&self, ports: Ports) -> Pull {
        let (redis, keys) = (self.redis.connection(), self.keys.clone());
        Pull {
            ports,
            catalog: self.catalog.clone(),
            fence: self.fence.clone(),
            circuits: Circuits::new(redis.clone(), keys.clone(), Side::Pull),
            pulls: Queue::new(self.aws.clone(), PULLS.into()),
            alerts: Alerts::new(redis.clone(), keys.clone(), None),
            cancels_oversold: false,
            approves_cancellations: true,
            turns: Turns::new(redis, keys),
        }
    }

    /// `channel-sync`, with these channels.
    #[must_use]
    pub fn push(&self, ports: Ports) -> Push {
        let (redis, keys) = (self.redis.connection(), self.keys.clone());
        Push {
            ports,
            catalog: self.catalog.clone(),
            ledger: self.ledger.clone(),
            backlog: Backlog::new(redis.clone(), keys.clone()),
            looks: Looks::new(redis.clone(), keys.clone()),
            circuits: Circuits::new(redis.clone(), keys.clone(), Side::Push),
            wakes: self.fence.channels.clone(),
            pulls: Queue::new(self.aws.clone(), PULLS.into()),
            alerts: Alerts::new(redis, keys, None),
        }
    }

    /// `channel-hint`, for an own store that signs with this.
    #[must_use]
    pub fn hints(&self, secret: Option<&str>) -> HintsApi {
        HintsApi {
            shop: secret.map(|secret| ("ownstore".to_owned(), Secret::new(secret))),
            pulls: Queue::new(self.aws.clone(), PULLS.into()),
            redis: self.redis.connection(),
            keys: self.keys.clone(),
        }
    }

    /// The quota of a channel.
    #[must_use]
    pub fn quota(&self, channel: &str) -> Governor {
        Governor::new(self.redis.connection(), self.keys.clone(), channel)
    }

    /// Puts `limited` of `pool` units of a product on air.
    pub async fn show(&self, pool: u64, limited: u64, per_viewer_limit: Option<u32>) -> Show {
        let (status, _) = self
            .admin(
                Method::PUT,
                "/products/p1",
                None,
                json!({ "name": "사과 5kg", "list_price": 29_900 }),
            )
            .await;
        assert_eq!(status, 200);
        let stock = json!({ "delta": pool, "reason": "입고" });
        assert_eq!(
            self.admin(Method::POST, "/products/p1/stock", Some("stock-1"), stock)
                .await
                .0,
            200
        );
        let (status, broadcast) = self
            .admin(
                Method::POST,
                "/broadcasts",
                None,
                json!({ "title": "라이브" }),
            )
            .await;
        assert_eq!(status, 201);
        let id = broadcast["broadcast_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        assert_eq!(
            self.admin(
                Method::POST,
                &format!("/broadcasts/{id}/start"),
                None,
                Value::Null
            )
            .await
            .0,
            200
        );
        let spotlight = json!({
            "product_id": "p1", "live_price": 19_900, "limited_quantity": limited, "per_viewer_limit": per_viewer_limit,
        });
        let path = format!("/broadcasts/{id}/products/spotlight");
        let (status, answer) = self.admin(Method::POST, &path, None, spotlight).await;
        assert_eq!(
            (status, &answer["remaining"]),
            (200, &json!(limited)),
            "{answer}"
        );
        Show {
            broadcast: id.parse().expect("an id"),
            product: "p1".parse().expect("an id"),
        }
    }

    /// Calls a route of `order-accept`. Returns the status and the body.
    pub async fn buyer(&self, event: HttpEvent) -> (u16, Value) {
        let HttpAnswer {
            status_code, body, ..
        } = self.orders.serve(event).await;
        (status_code, serde_json::from_str(&body).expect("JSON"))
    }

    /// Places an order as a viewer.
    pub async fn order(
        &self,
        show: &Show,
        viewer: &str,
        key: &str,
        quantity: Value,
        payment: Value,
    ) -> (u16, Value) {
        let body = json!({ "lines": [{ "product_id": show.product, "quantity": quantity }], "payment": payment });
        self.buyer(self.order_event(&show.broadcast, viewer, key, &body.to_string()))
            .await
    }

    /// The event of an order.
    #[must_use]
    pub fn order_event(
        &self,
        broadcast: &BroadcastId,
        viewer: &str,
        key: &str,
        body: &str,
    ) -> HttpEvent {
        let event = json!({
            "routeKey": "POST /broadcasts/{broadcast_id}/orders",
            "headers": {
                "authorization": format!("Bearer {}", self.token(viewer, Role::Viewer)),
                "idempotency-key": key,
                "accept-language": "en",
            },
            "pathParameters": { "broadcast_id": broadcast },
            "body": body,
        });
        serde_json::from_value(event).expect("an event")
    }

    /// What became of an order, as its buyer reads it.
    pub async fn status(&self, viewer: &str, order_id: &str) -> (u16, Value) {
        let event = json!({
            "routeKey": "GET /orders/{order_id}",
            "headers": { "authorization": format!("Bearer {}", self.token(viewer, Role::Viewer)) },
            "pathParameters": { "order_id": order_id },
        });
        self.buyer(serde_json::from_value(event).expect("an event"))
            .await
    }

    /// Hands all queued orders to `order-process`, in batches, until none comes back; at most `rounds` times.
    pub async fn process(&self, batch: usize, rounds: usize) {
        let mut waiting = self.wire.take_messages("orders");
        for _ in 0..rounds {
            if waiting.is_empty() {
                return;
            }
            let mut again = Vec::new();
            for bodies in waiting.chunks(batch) {
                let answer = self.deliver(bodies).await;
                for failure in answer.batch_item_failures {
                    let index: usize = failure.item_identifier.parse().expect("an index");
                    again.push(bodies[index].clone());
                }
            }
            waiting = again;
            waiting.extend(self.wire.take_messages("orders"));
        }
        assert!(
            waiting.is_empty(),
            "{} orders would not settle",
            waiting.len()
        );
    }

    /// Hands these messages to `order-process` as one batch.
    pub async fn deliver(&self, bodies: &[String]) -> SqsBatchResponse {
        let mut event = SqsEvent::default();
        for (index, body) in bodies.iter().enumerate() {
            let mut message = SqsMessage::default();
            message.message_id = Some(index.to_string());
            message.receipt_handle = Some(format!("receipt-{index}"));
            message.body = Some(body.clone());
            event.records.push(message);
        }
        batch::together(event, &self.orders_queue, async |orders| {
            self.settlement.settle(orders).await
        })
        .await
    }

    /// Calls a route of `payment-webhook` as a viewer, or as an operator. Returns the status and the body.
    pub async fn money(
        &self,
        caller: (&str, Role),
        route: &str,
        order_id: &str,
        key: &str,
        body: Value,
    ) -> (u16, Value) {
        let event = json!({
            "routeKey": route,
            "headers": {
                "authorization": format!("Bearer {}", self.token(caller.0, caller.1)),
                "idempotency-key": key,
                "accept-language": "en",
            },
            "pathParameters": { "order_id": order_id },
            "body": body.to_string(),
        });
        let event = serde_json::from_value(event).expect("an event");
        let answer = self.payments.serve(event).await;
        let body = serde_json::from_str(&answer.body).expect("JSON");
        (answer.status_code, body)
    }

    /// What the buyer's browser does in the gateway's window: returns the payment key of a payment of `amount` won that is
    /// ready to be confirmed.
    pub async fn checkout(&self, order_id: &str, amount: u64) -> String {
        let body = json!({ "orderId": order_id, "amount": amount });
        let answer = self.sandbox_post("/sandbox/checkouts", body).await;
        answer["paymentKey"].as_str().expect("a key").to_owned()
    }

    /// Orders faults of the payment sandbox.
    pub async fn gateway_faults(&self, faults: Value) {
        self.sandbox_post("/sandbox/faults", json!({ "faults": faults }))
            .await;
    }

    /// Calls the control API of the payment sandbox.
    pub async fn sandbox_post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.sandbox.base_url());
        let answer = reqwest::Client::new().post(url).json(&body).send().await;
        let answer = answer.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or_default()
    }

    /// Clears what the control API of the payment sandbox keeps at `path`.
    pub async fn sandbox_delete(&self, path: &str) {
        let url = format!("{}{path}", self.sandbox.base_url());
        let answer = reqwest::Client::new().delete(url).send().await;
        assert!(answer.expect("the sandbox answers").status().is_success());
    }

    /// The books of the payment sandbox.
    pub async fn books(&self) -> Value {
        let url = format!("{}/sandbox/books", self.sandbox.base_url());
        let answer = reqwest::get(url).await.expect("the sandbox answers");
        answer.json().await.expect("JSON")
    }

    /// Runs the pump for every wake there is.
    pub async fn pump(&self) {
        for wake in self.wire.take_messages("wakes") {
            let wake: Wake = serde_json::from_str(&wake).expect("a wake");
            self.pump.run(wake).await.expect("the pump ends");
        }
    }

    /// The product as an operator reads it, after checking what holds when all is quiet: for every source
    /// `granted = left + held + sold`, nothing held, nothing sold beyond what was granted.
    pub async fn quiet(&self, product: &ProductId) -> Value {
        let (status, view) = self
            .admin(
                Method::GET,
                &format!("/products/{product}"),
                None,
                Value::Null,
            )
            .await;
        assert_eq!(status, 200);
        for source in view["stock"]["sources"].as_array().expect("sources") {
            let units = |name: &str| source[name].as_u64().expect("a number");
            assert_eq!(units("held"), 0, "a hold without an owner: {source}");
            assert_eq!(
                units("granted"),
                units("left") + units("held") + units("sold"),
                "gate and ledger differ: {source}"
            );
        }
        assert_eq!(
            self.wire.take_messages("orders"),
            [] as [String; 0],
            "orders are left on the queue"
        );
        view
    }
}
