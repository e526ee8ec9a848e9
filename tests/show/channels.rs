//! The channels of the deployed stack: what a buyer takes at a marketplace goes the whole way, over queues, functions and the
//! marketplaces' own addresses.

use marketplaces::{Marketplaces, Settings, coupang};
use onepool_tests::{CHANNELS, Stack, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

/// What the pool has of the demo product beside its broadcast, and how many of these no channel shows.
const POOL: u64 = 20;
const BUFFER: u64 = 2;
/// What the control API of 11st's fake does not do is done as the seller's office would: with the key of the fakes.
const ELEVENST_KEY: &str = "demo0000000000000000000000000000";

/// The shop's channels, as its operator, a buyer and the marketplaces see them.
struct Mall<'a> {
    stack: &'a Stack,
    product: &'a str,
}

impl<'a> Mall<'a> {
    /// The channels of the demo shop.
    fn of(stack: &'a Stack) -> Self {
        let product = stack.local["demo"]["product_id"].as_str();
        let product = product.expect("the demo shop sells something");
        Self { stack, product }
    }

    fn url<'b>(&'b self, channel: &str) -> &'b str {
        let url = self.stack.local["channels"][channel].as_str();
        url.expect("an address")
    }

    /// What a buyer or the fault script does at a marketplace.
    async fn does(&self, channel: &str, what: &str, body: Value) -> Value {
        let url = format!("{}/sandbox/{what}", self.url(channel));
        let answer = self.stack.http.post(url).json(&body).send().await;
        let answer = answer.expect("the fake answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{what} {body}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// What a marketplace's own books say.
    async fn books(&self, channel: &str, what: &str) -> Value {
        let url = format!("{}/sandbox/{what}", self.url(channel));
        let answer = self.stack.http.get(url).send().await;
        let answer = answer.expect("the fake answers");
        answer.json().await.expect("JSON")
    }

    /// Units that a marketplace shows of the one item it has.
    async fn shows(&self, channel: &str) -> u64 {
        let books = self.books(channel, "items").await;
        let item = &books["items"][0];
        let units = item["options"][0]["stock"].as_u64();
        units.or(item["stock"].as_u64()).expect("units")
    }

    /// Waits until all of these show so many units, and until nobody knows of anything to be done about it.
    async fn all_show(&self, channels: &[&str], units: u64) {
        for channel in channels {
            wait_for(&format!("{channel} to show {units}"), async || {
                (self.shows(channel).await == units).then_some(())
            })
            .await;
        }
        for channel in channels {
            self.differences(channel, &json!([])).await;
        }
        for channel in channels {
            assert_eq!(self.shows(channel).await, units, "{channel}");
        }
    }

    /// Waits until a dry run has looked and finds these differences, each with what it should show and what it does.
    async fn differences(&self, channel: &str, wanted: &Value) {
        let path = format!("/channels/{channel}/resync?dry_run=true");
        wait_for(&format!("{wanted} at {channel}"), async || {
            let found = self.operator(Method::POST, &path).await;
            let compared = (&found["dry_run"], &found["compared"]);
            assert_eq!(compared, (&json!(true), &json!(1)), "{found}");
            let is_looked = found["complete"] == true && found["looked_at"] == 1;
            let differences = found["differences"].as_array().expect("a list");
            let seen: Vec<_> = differences
                .iter()
                .map(|found| json!([found["product_id"], found["units"], found["shown"]]))
                .collect();
            (is_looked && json!(seen) == *wanted).then_some(())
        })
        .await;
    }

    /// The operator calls a route that has to work, with no body.
    async fn operator(&self, method: Method, path: &str) -> Value {
        let must = self.stack.must(method, path, "operator", None, Value::Null);
        must.await
    }

    async fn pull(&self, channel: &str) {
        let path = format!("/channels/{channel}/pull");
        let (status, _, answer) = self
            .stack
            .call(Method::POST, &path, Some("operator"), None, None)
            .await;
        let queued = json!({ "status": "queued", "channel": channel });
        assert_eq!((status, answer), (202, queued));
    }

    /// How a channel is.
    async fn health(&self, channel: &str) -> Value {
        let mut all = self.operator(Method::GET, "/channels").await;
        let all = all["channels"].as_array_mut().expect("a list");
        let mut all = all.iter_mut();
        let found = all.find(|view| view["channel"] == channel);
        found.expect("it is a channel").take()
    }

    /// Waits until a channel was pulled after this moment.
    async fn pulled_since(&self, channel: &str, before: &Value) {
        wait_for(&format!("a pull of {channel}"), async || {
            let pulled = self.health(channel).await["last_pull"].take();
            (pulled.is_string() && pulled != *before).then_some(())
        })
        .await;
    }

    /// What the pool has sold and has left, by the product's count.
    async fn pool(&self) -> (u64, u64) {
        let path = format!("/products/{}", self.product);
        let product = self.operator(Method::GET, &path).await;
        let sources = product["stock"]["sources"].as_array().expect("sources");
        let pool = sources.iter().find(|source| source["source"] == "pool");
        let pool = pool.expect("a pool");
        let units = |name: &str| pool[name].as_u64().expect("units");
        (units("sold"), units("left"))
    }

    /// What channels sold, by the product's trace: from which source, how many, and how many were left then.
    async fn traced(&self) -> Vec<Value> {
        let path = format!("/products/{}/trace", self.product);
        let trace = self.operator(Method::GET, &path).await;
        let changes = trace["changes"].as_array().expect("changes");
        changes
            .iter()
            .filter(|change| change["by"] == "channels")
            .map(|change| json!([change["source"], change["sold"], change["after"]["left"]]))
            .collect()
    }
}

/// A sale on one channel is counted once and lowers the others; what differs is found and put right.
pub async fn what_one_channel_sells_all_the_others_show(stack: &Stack) {
    let mall = Mall::of(stack);
    mall.all_show(&CHANNELS, POOL - BUFFER).await;
    a_sale_is_counted_once_and_seen_everywhere(&mall).await;
    what_differs_is_found_and_put_right(&mall).await;
    what_is_no_channel_is_refused(&mall).await;
}

async fn a_sale_is_counted_once_and_seen_everywhere(mall: &Mall<'_>) {
    let order = json!({ "lines": [{ "optionId": "3000000001", "quantity": 2 }] });
    mall.does("coupang", "orders", order).await;
    mall.pull("coupang").await;
    mall.all_show(&CHANNELS, POOL - BUFFER - 2).await;
    assert_eq!(mall.pool().await, (2, POOL - 2));
    wait_for("Coupang to hear that the order was seen", async || {
        let orders = mall.books("coupang", "orders").await;
        (orders["orders"][0]["lines"][0]["status"] == "INSTRUCT").then_some(())
    })
    .await;

    let pulled = mall.health("coupang").await["last_pull"].take();
    // The first day of 11st is half a minute of calls, at the rate it bears.
    let quick = ["coupang", "smartstore", "ownstore"];
    for channel in quick {
        mall.pull(channel).await;
    }
    for channel in quick {
        let before = if channel == "coupang" {
            &pulled
        } else {
            &Value::Null
        };
        mall.pulled_since(channel, before).await;
    }
    for channel in CHANNELS {
        wait_for(&format!("{channel} to be well"), async || {
            let health = mall.health(channel).await;
            assert_eq!(health["circuit"], "closed", "{health}");
            assert_eq!(health["quarantined"], 0, "{health}");
            assert!(health.get("error").is_none(), "{health}");
            (health["last_push"].is_string() && health["backlog"] == 0).then_some(())
        })
        .await;
    }
    let once = json!(["pool", 2, POOL - 2]);
    assert_eq!(mall.traced().await, [once], "its line was pulled twice");
    assert_eq!(mall.pool().await, (2, POOL - 2));
}

async fn what_differs_is_found_and_put_right(mall: &Mall<'_>) {
    let (before, after) = (POOL - BUFFER - 2, POOL - BUFFER + 1);
    // It takes its time to write a number down, and meanwhile shows the old one.
    let slow = json!({ "faults": [{ "on": "stockqty", "kind": "delay", "ms": 60_000 }] });
    mall.does("elevenst", "faults", slow).await;
    let arrival = json!({ "delta": 3, "reason": "입고" });
    let path = format!("/products/{}/stock", mall.product);
    let restock = mall
        .stack
        .must(Method::POST, &path, "operator", Some("channels"), arrival);
    restock.await;
    mall.all_show(&["smartstore", "coupang", "ownstore"], after)
        .await;
    assert_eq!(mall.shows("elevenst").await, before);
    let behind = json!([[mall.product, after, before]]);
    mall.differences("elevenst", &behind).await;
    let faults = format!("{}/sandbox/faults", mall.url("elevenst"));
    let calm = mall.stack.http.delete(faults).send().await;
    calm.expect("the fake answers");
    mall.all_show(&CHANNELS, after).await;

    let by_hand = "<ProductStock><prdNo>9100000001</prdNo><prdStckNo>44000000001</prdStckNo>\
                   <stckQty>70</stckQty><optWght>0</optWght></ProductStock>";
    let url = format!(
        "{}/rest/prodservices/stockqty/44000000001",
        mall.url("elevenst")
    );
    let edit = mall.stack.http.put(url).header("openapikey", ELEVENST_KEY);
    edit.body(by_hand).send().await.expect("the fake answers");
    assert_eq!(mall.shows("elevenst").await, 70, "somebody wrote it");
    let edited = json!([[mall.product, after, 70]]);
    mall.differences("elevenst", &edited).await;
    assert_eq!(mall.shows("elevenst").await, 70, "a dry run only looks");
    let resync = "/channels/elevenst/resync";
    let answer = mall.operator(Method::POST, resync).await;
    assert_eq!(
        (&answer["dry_run"], &answer["compared"]),
        (&json!(false), &json!(1))
    );
    mall.all_show(&CHANNELS, after).await;
    assert_eq!(mall.pool().await, (2, POOL + 1), "and nothing was sold");
}

async fn what_is_no_channel_is_refused(mall: &Mall<'_>) {
    for (method, path, role, status, code) in [
        (
            "POST",
            "/channels/amazon/pull",
            "operator",
            404,
            "not_found",
        ),
        (
            "POST",
            "/channels/amazon/resync?dry_run=true",
            "operator",
            404,
            "not_found",
        ),
        (
            "POST",
            "/channels/amazon/hint",
            "operator",
            404,
            "not_found",
        ),
        ("POST", "/channels/%20/pull", "operator", 404, "not_found"),
        ("POST", "/channels/%FF/resync", "operator", 404, "not_found"),
        (
            "POST",
            "/channels/coupang/resync?dry_run=perhaps",
            "operator",
            400,
            "invalid_request",
        ),
        // The own store is one that sends no hints.
        (
            "POST",
            "/channels/ownstore/hint",
            "operator",
            404,
            "not_found",
        ),
        ("POST", "/channels/coupang/pull", "viewer", 403, "forbidden"),
        ("GET", "/channels", "broadcaster", 403, "forbidden"),
    ] {
        let method: Method = method.parse().expect("a method");
        let (answered, kind, problem) = mall.stack.call(method, path, Some(role), None, None).await;
        assert_eq!(
            (answered, &problem["code"]),
            (status, &json!(code)),
            "{path}: {problem}"
        );
        assert!(
            kind.starts_with("application/problem+json"),
            "{path}: {kind}"
        );
    }
}

#[tokio::test]
async fn a_marketplace_is_where_its_address_says_and_a_signed_shop_is_heard() {
    let [access_key, secret_key, vendor_id] = ["elsewhere", "another-secret", "A00099999"];
    let settings = Settings {
        coupang: coupang::Credentials {
            vendor_id: vendor_id.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        },
        ..Settings::default()
    };
    let elsewhere = Marketplaces::start(settings).await.expect("it starts");
    let credentials = json!({
        "access_key": access_key, "secret_key": secret_key, "vendor_id": vendor_id,
    });
    let stack = Stack::start_with(
        "elsewhere",
        &[
            ("COUPANG_BASE_URL", elsewhere.coupang()),
            ("COUPANG_CREDENTIALS", &credentials.to_string()),
            ("OWNSTORE_MARKETPLACE", "shop"),
        ],
    )
    .await;
    let mall = Mall::of(&stack);
    assert_eq!(mall.url("coupang"), elsewhere.coupang());

    // What is sold at a marketplace of somebody's own is for them to say.
    let options = json!([{ "optionId": "7000000001", "name": "5kg", "stock": 0 }]);
    let item = json!({ "name": "감귤", "price": 29_900, "options": options });
    mall.does("coupang", "items", item).await;
    let listing = json!({
        "channel_product_id": "7000000001", "price": 29_900, "price_policy": "lowest",
        "distribution": { "mode": "shared", "buffer": { "units": BUFFER } },
    });
    let path = format!("/products/{}/listings/coupang", mall.product);
    stack
        .must(Method::PUT, &path, "operator", None, listing)
        .await;
    mall.all_show(&CHANNELS, POOL - BUFFER).await;

    // Nobody asks for a pull: the shop says that something was sold there.
    let order = json!({ "lines": [{ "productId": "mug", "quantity": 3 }] });
    mall.does("ownstore", "orders", order).await;
    mall.all_show(&CHANNELS, POOL - BUFFER - 3).await;
    assert_eq!(mall.traced().await, [json!(["pool", 3, POOL - 3])]);
    let told = mall.books("ownstore", "webhooks").await;
    assert_eq!(told["counts"]["delivered"], 1, "{told}");
    let path = "/channels/ownstore/hint";
    let unsigned = stack.call(Method::POST, path, None, None, Some("{}".into()));
    let (status, _, problem) = unsigned.await;
    assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
    stack.stop().await;
}
