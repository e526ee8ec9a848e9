//! A gate to try things on, with its verbs made short, and what the tests order from it.

use std::{collections::HashMap, time::Duration};

use onepool::{
    clock::Timestamp,
    id::ProductId,
    keys::Keys,
    ledger::StockRow,
    order::{OrderBody, OrderId, OrderRequest},
    stock::{
        Confirmed, Extended, Gate, GateStock, Granted, Refusal, Released, Reopened, Reserved,
        Source, Terms, Undone, Withdrawn,
    },
};
use onepool_tests::{RedisServer, billing_key};
use serde_json::json;

pub const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);
pub const PERIOD: Duration = Duration::from_secs(300);

/// A gate on a redis-server of its own.
pub struct Stage {
    pub redis: RedisServer,
    pub gate: Gate,
    pub source: Source,
}

impl Stage {
    /// A gate with `units` of each product, on air without an end.
    pub async fn set(products: &[(&str, u64)], per_viewer_limit: Option<u32>) -> Self {
        let redis = RedisServer::start().await;
        let stage = Self {
            gate: Gate::new(redis.connection(), Keys::new("demo")),
            redis,
            source: Source::Live("b1".parse().expect("an id")),
        };
        for (product, units) in products {
            stage.grant(product, *units, *units, 1).await;
            stage
                .air(
                    product,
                    Terms {
                        per_viewer_limit,
                        ..on_air(Timestamp::NEVER)
                    },
                )
                .await;
        }
        stage
    }

    pub async fn grant(&self, product: &str, granted: u64, unsold: u64, version: u64) -> Granted {
        self.grant_at(NOW, product, granted, unsold, version).await
    }

    pub async fn grant_at(
        &self,
        at: Timestamp,
        product: &str,
        granted: u64,
        unsold: u64,
        version: u64,
    ) -> Granted {
        let row = StockRow {
            revision: 0,
            product_id: id(product),
            source: self.source.clone(),
            granted,
            sold: granted - unsold,
            unsold: i64::try_from(unsold).expect("few"),
            version,
        };
        self.gate.grant(&row, at).await.expect("grants")
    }

    pub async fn air(&self, product: &str, terms: Terms) {
        let newest = self.gate.air(&self.source, &id(product), &terms, 0).await;
        assert!(newest.expect("sets terms"));
    }

    pub async fn reserve(&self, order: &OrderId, viewer: &str, lines: &[(&str, u32)]) -> Reserved {
        self.gate
            .reserve(&self.source, order, &request(viewer, lines), NOW, PERIOD)
            .await
            .expect("answers")
    }

    pub async fn left(&self, product: &str) -> i64 {
        self.stock(product).await.left
    }

    pub async fn stock(&self, product: &str) -> GateStock {
        self.gate
            .stock(&id(product), &[&self.source])
            .await
            .expect("answers")[0]
            .expect("is known")
    }

    pub async fn confirm(&self, order: &OrderId, revision: u64) -> Confirmed {
        let answers = self.gate.confirm(&self.source, &[(order, revision)]).await;
        answers.expect("answers")[0]
    }

    pub async fn release(&self, order: &OrderId, revision: u64) -> Released {
        let answer = self.gate.release(&self.source, order, revision).await;
        answer.expect("answers")
    }

    pub async fn forfeit(&self, order: &OrderId, revision: u64) -> Released {
        let answer = self.gate.forfeit(&self.source, order, revision).await;
        answer.expect("answers")
    }

    pub async fn reopen(&self, order: &OrderId, revision: u64, deadline: Timestamp) -> Reopened {
        let answer = self.gate.reopen(&self.source, order, revision, deadline);
        answer.await.expect("answers")
    }

    pub async fn extend(&self, order: &OrderId, until: Timestamp) -> Extended {
        let answer = self.gate.extend(&self.source, order, until).await;
        answer.expect("answers")
    }

    pub async fn expired(&self, at: Timestamp, limit: usize) -> Vec<OrderId> {
        let answer = self.gate.expired(&self.source, at, limit, None).await;
        answer.expect("answers")
    }

    pub async fn undo(&self, order: &OrderId) -> Undone {
        let answer = self.gate.undo(&self.source, order).await;
        answer.expect("answers")
    }

    pub async fn withdraw(&self, units: (u64, u64), version: u64, token: &str) -> Withdrawn {
        let (source, product) = (&self.source, id("p1"));
        let answer = self
            .gate
            .withdraw(source, &product, units, version, token, NOW);
        answer.await.expect("answers")
    }

    /// Whether the source looks as if a hold were due, to one who meets sold out.
    pub async fn looks_due(&self, at: Timestamp) -> bool {
        let (order, request) = (order("late", "k"), request("late", &[("p1", 99)]));
        let answer = self
            .gate
            .reserve(&self.source, &order, &request, at, PERIOD)
            .await
            .expect("answers");
        let Reserved::Refused(Refusal::SoldOut { due, .. }) = answer else {
            panic!("was not sold out: {answer:?}")
        };
        due
    }

    /// Every field of the gate, as it is.
    pub async fn fields(&self) -> HashMap<String, String> {
        redis::cmd("HGETALL")
            .arg(Keys::new("demo").gate(&self.source))
            .query_async(&mut self.redis.plain().await)
            .await
            .expect("answers")
    }

    /// How many entries the list of deadlines and the extended holds have.
    pub async fn entries(&self) -> (u64, u64) {
        let keys = Keys::new("demo");
        redis::pipe()
            .llen(keys.deadlines(&self.source))
            .zcard(keys.extended(&self.source))
            .query_async(&mut self.redis.plain().await)
            .await
            .expect("answers")
    }

    /// Units left, held and sold of `p1`.
    pub async fn units(&self) -> (i64, i64, u64) {
        let fields = self.fields().await;
        let left = fields["stock:p1"].split(' ').next().expect("a word");
        (
            left.parse().expect("a number"),
            self.stock("p1").await.held,
            fields["sold:p1"].parse().expect("a number"),
        )
    }
}

/// On air from now until then, at the price that the tests know, for everybody.
pub fn on_air(until: Timestamp) -> Terms {
    Terms {
        live_price: 1_000,
        per_viewer_limit: None,
        from: NOW,
        until,
    }
}

/// So many seconds from now.
pub fn seconds(after: u64) -> Timestamp {
    NOW + Duration::from_secs(after)
}

pub fn id(product: &str) -> ProductId {
    product.parse().expect("an id")
}

pub fn order(viewer: &str, key: &str) -> OrderId {
    OrderId::derive(
        &"b1".parse().expect("an id"),
        &viewer.parse().expect("an id"),
        key,
    )
}

pub fn request(viewer: &str, lines: &[(&str, u32)]) -> OrderRequest {
    let lines: Vec<_> = lines
        .iter()
        .map(|(product, units)| json!({ "product_id": product, "quantity": units }))
        .collect();
    let body: OrderBody =
        serde_json::from_value(json!({ "lines": lines, "payment": billing_key("bk") }))
            .expect("a body");
    OrderRequest::new(viewer.parse().expect("an id"), body).expect("is right")
}
