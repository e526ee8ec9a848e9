//! Both kinds of own store over real HTTP, as Onepool's adapters use them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Uri},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use marketplaces::{Marketplaces, Settings};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

/// `demoClient:demoSecret`.
const CLIENT: &str = "Basic ZGVtb0NsaWVudDpkZW1vU2VjcmV0";
const SECRET: &[u8] = b"onepool-demo-secret-000000000000";
/// 2026-11-20T01:00:00Z, to which the clock is set.
const NOW_S: i64 = 1_795_136_400;
const NOW: &str = "2026-11-20T10:00:00+09:00";
const TODAY: &str = "start_date=2026-11-20&end_date=2026-11-20";

/// The own store with a client of it. The clock stands still.
struct OwnStore {
    marketplaces: Marketplaces,
    http: Client,
    token: String,
}

type Reply = (u16, Value);

impl OwnStore {
    async fn start() -> Self {
        let mut this = Self {
            marketplaces: Marketplaces::start(Settings::default()).await.unwrap(),
            http: Client::new(),
            token: String::new(),
        };
        this.control("clock", json!({ "set": NOW, "freeze": true }))
            .await;
        let tokens = this.control("actions/cafe24-tokens", json!({})).await;
        this.token = text(&tokens["access_token"]);
        this
    }

    /// With a mug in two colours on Cafe24.
    async fn with_mug() -> Self {
        let this = Self::start().await;
        let mug = json!({
            "productId": "17",
            "name": "머그컵",
            "price": 12_900,
            "options": [
                { "optionId": "P000000A000A", "name": "하양", "stock": 10 },
                { "optionId": "P000000A000B", "name": "검정", "stock": 3, "extraPrice": 1_000 },
            ],
        });
        this.control("items", mug).await;
        this
    }

    /// With a mug in the shop with its own backend.
    async fn with_plain_mug() -> Self {
        let this = Self::start().await;
        let mug = json!({ "itemId": "mug", "name": "머그컵", "units": 10, "price": 12_900, "listPrice": 15_000 });
        this.control("actions/shop-item", mug).await;
        this
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.marketplaces.ownstore())
    }

    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.url(&format!("/api/v2/admin/{path}")))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("x-cafe24-api-version", "2026-03-01")
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = reply(self.admin(Method::GET, path)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn write(&self, method: Method, path: &str, request: Value) -> Reply {
        let body = json!({ "shop_no": 1, "request": request });
        reply(self.admin(method, path).body(body.to_string())).await
    }

    async fn put(&self, path: &str, request: Value) -> Reply {
        self.write(Method::PUT, path, request).await
    }

    async fn token_call(&self, form: &str) -> Reply {
        let request = self.http.post(self.url("/api/v2/oauth/token"));
        reply(
            request
                .header("authorization", CLIENT)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned()),
        )
        .await
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let request = self.http.post(self.url(&format!("/sandbox/{what}")));
        let (status, body) = reply(request.json(&body)).await;
        assert_eq!(status, 200, "{what}: {body}");
        body
    }

    async fn refuses(&self, what: &str, body: Value) -> u16 {
        let request = self.http.post(self.url(&format!("/sandbox/{what}")));
        reply(request.json(&body)).await.0
    }

    async fn show(&self, what: &str) -> Value {
        let request = self.http.get(self.url(&format!("/sandbox/{what}")));
        reply(request).await.1
    }

    async fn advance(&self, seconds: i64) {
        self.control("clock", json!({ "advance_s": seconds })).await;
    }

    async fn order(&self, line: Value) -> String {
        let order = self.control("orders", json!({ "lines": [line] })).await;
        text(&order["orderId"])
    }

    async fn order_white(&self, units: u64) -> String {
        self.order(json!({ "optionId": "P000000A000A", "quantity": units }))
            .await
    }

    async fn order_plain(&self, units: u64) -> String {
        self.order(json!({ "productId": "mug", "quantity": units }))
            .await
    }

    async fn units(&self, variant: &str) -> i64 {
        let path = format!("products/17/variants/{variant}/inventories");
        self.get(&path).await["inventory"]["quantity"]
            .as_i64()
            .unwrap()
    }

    /// A signed request to the shop with its own backend.
    fn signed(&self, id: &str, method: Method, target: &str, body: &Value) -> RequestBuilder {
        self.signed_at(NOW_S, id, method, target, body)
    }

    fn signed_at(
        &self,
        timestamp: i64,
        id: &str,
        method: Method,
        target: &str,
        body: &Value,
    ) -> RequestBuilder {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let signature = sign(id, timestamp, method.as_str(), target, &body);
        self.http
            .request(method, self.url(target))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
    }

    async fn shop(&self, id: &str, method: Method, target: &str, body: Value) -> Reply {
        reply(self.signed(id, method, target, &body)).await
    }

    async fn pull(&self, query: &str) -> Value {
        let target = format!("/onepool/orders?{query}");
        let (status, body) = self.shop("pull", Method::GET, &target, Value::Null).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

async fn reply(request: RequestBuilder) -> Reply {
    read(request.send().await.unwrap()).await
}

async fn read(response: Response) -> Reply {
    (response.status().as_u16(), response.json().await.unwrap())
}

fn sign(id: &str, timestamp: i64, method: &str, target: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(format!("{id}.{timestamp}.{method} {target}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn items(orders: &Value) -> &Vec<Value> {
    orders["orders"][0]["items"].as_array().unwrap()
}

const WHITE: &str = "products/17/variants/P000000A000A/inventories";

// Cafe24: tokens

#[tokio::test]
async fn a_code_becomes_tokens_once() {
    let store = OwnStore::start().await;
    let code = text(&store.control("actions/cafe24-approve", json!({})).await["code"]);
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fdemo");
    let (status, tokens) = store.token_call(&form).await;

    assert_eq!(status, 200);
    assert_eq!(tokens["issued_at"], "2026-11-20T10:00:00.000");
    assert_eq!(tokens["expires_at"], "2026-11-20T12:00:00.000");
    assert_eq!(
        tokens["refresh_token_expires_at"],
        "2026-12-04T10:00:00.000"
    );
    assert_eq!(tokens["mall_id"], "demomall");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["shop_no"], "1");
    let (status, body) = store.token_call(&form).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_for_two_weeks() {
    let store = OwnStore::start().await;
    let seeded = store.control("actions/cafe24-tokens", json!({})).await;
    let refresh = |token: &Value| {
        format!(
            "grant_type=refresh_token&refresh_token={}",
            token["refresh_token"].as_str().unwrap()
        )
    };
    let (status, second) = store.token_call(&refresh(&seeded)).await;
    assert_eq!(status, 200);
    assert_ne!(second["refresh_token"], seeded["refresh_token"]);
    assert_eq!(
        store.token_call(&refresh(&seeded)).await.0,
        400,
        "the old one"
    );

    store.advance(14 * 24 * 3_600).await;
    assert_eq!(store.token_call(&refresh(&second)).await.0, 400, "too late");
}

#[tokio::test]
async fn an_answer_that_is_lost_takes_the_refresh_token_with_it() {
    let store = OwnStore::start().await;
    let seeded = store.control("actions/cafe24-tokens", json!({})).await;
    let fault = json!({ "on": "token", "kind": "error_after_commit", "status": 502 });
    store.control("faults", json!({ "faults": [fault] })).await;
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        text(&seeded["refresh_token"])
    );

    assert_eq!(store.token_call(&form).await.0, 502);
    assert_eq!(store.token_call(&form).await.0, 400);
}

#[tokio::test]
async fn only_a_good_bearer_with_the_scope_gets_in() {
    let mut store = OwnStore::with_mug().await;
    let request = store.http.post(store.url("/api/v2/oauth/token"));
    let wrong = request.header("authorization", "Basic d3Jvbmc6d3Jvbmc=");
    assert_eq!(reply(wrong).await.0, 401);

    let reader = json!({ "scopes": ["mall.read_product"] });
    let tokens = store.control("actions/cafe24-tokens", reader).await;
    let whole = std::mem::replace(&mut store.token, text(&tokens["access_token"]));
    assert_eq!(store.units("P000000A000A").await, 10);
    let (status, body) = store.put(WHITE, json!({ "quantity": 7 })).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!(403)));

    store.token = whole;
    store.advance(2 * 3_600 - 1).await;
    store.get("products/17").await;
    store.advance(1).await;
    let (status, body) = reply(store.admin(Method::GET, "products/17")).await;
    assert_eq!(status, 401);
    assert!(body["error"]["message"].is_string() && body["error"]["more_info"].is_object());
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let store = OwnStore::with_mug().await;
    let revoke = store
        .http
        .post(store.url("/api/v2/oauth/revoke"))
        .header("authorization", CLIENT)
        .body(format!("token={}", store.token));
    assert_eq!(reply(revoke).await.0, 200);
    assert_eq!(reply(store.admin(Method::GET, "products/17")).await.0, 401);
}

// Cafe24: limits and form

#[tokio::test]
async fn the_bucket_holds_forty_and_leaks_two_a_second() {
    let store = OwnStore::with_mug().await;
    for used in 1..=40 {
        let response = store
            .admin(Method::GET, "products/17")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["x-api-call-limit"], format!("{used}/40"));
        assert_eq!(headers["x-cafe24-call-usage"], used.to_string());
        assert_eq!(headers["x-cafe24-api-version"], "2026-03-01");
    }
    let status = async || reply(store.admin(Method::GET, "products/17")).await.0;
    assert_eq!(status().await, 429);
    store.advance(1).await;
    assert_eq!(
        [status().await, status().await, status().await],
        [200, 200, 429]
    );
}

#[tokio::test]
async fn the_quota_of_ten_minutes_says_how_long_to_wait() {
    let store = OwnStore::with_mug().await;
    store
        .control("settings", json!({ "cafe24": { "quota": 2 } }))
        .await;
    store.get("products/17").await;
    store.get("products/17").await;
    store.advance(200).await;
    let response = store
        .admin(Method::GET, "products/17")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["x-cafe24-call-remain"], "400");
    store.advance(400).await;
    store.get("products/17").await;
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused() {
    let store = OwnStore::with_mug().await;
    let text = store
        .http
        .put(store.url(&format!("/api/v2/admin/{WHITE}")))
        .header("authorization", format!("Bearer {}", store.token))
        .header("content-type", "text/plain");
    assert_eq!(reply(text.body("{}")).await.0, 400);
    let versions = store
        .http
        .get(store.url("/api/v2/admin/products/17"))
        .header("authorization", format!("Bearer {}", store.token))
        .header("x-cafe24-api-version", "newest");
    assert_eq!(reply(versions).await.0, 400);
    assert_eq!(store.put(WHITE, json!({ "quantity": "many" })).await.0, 422);
    let other = WHITE.replace("000A/", "000Z/");
    assert_eq!(store.put(&other, json!({ "quantity": 1 })).await.0, 404);
}

// Cafe24: stock and price

#[tokio::test]
async fn an_inventory_is_written_absolutely_and_the_same_is_a_conflict() {
    let store = OwnStore::with_mug().await;
    let (status, body) = store.put(WHITE, json!({ "quantity": 7 })).await;
    assert_eq!(status, 200);
    assert_eq!(body["inventory"]["quantity"], 7);
    assert_eq!(body["inventory"]["use_inventory"], "T");
    let (status, body) = store.put(WHITE, json!({ "quantity": 7 })).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!(409)));

    store.order_white(2).await;
    assert_eq!(store.units("P000000A000A").await, 5);
    assert_eq!(
        store.put(WHITE, json!({ "quantity": 7 })).await.0,
        200,
        "it is not the same any more"
    );

    let requests = store.show("requests").await;
    let write = &requests["requests"][0];
    assert_eq!(write["operation"], "set_inventory");
    assert_eq!(
        write["stock"],
        json!([{ "item": "P000000A000A", "from": 10, "to": 7 }])
    );
}

#[tokio::test]
async fn without_sold_out_display_it_is_sold_below_zero() {
    let store = OwnStore::with_mug().await;
    let black = "P000000A000B";
    let four = json!({ "lines": [{ "optionId": black, "quantity": 4 }] });
    assert_eq!(store.refuses("orders", four.clone()).await, 409);

    let path = format!("products/17/variants/{black}/inventories");
    assert_eq!(
        store.put(&path, json!({ "display_soldout": "F" })).await.0,
        200
    );
    store.control("orders", four.clone()).await;
    assert_eq!(store.units(black).await, -1);

    assert_eq!(
        store.put(&path, json!({ "use_inventory": "F" })).await.0,
        200
    );
    store.control("orders", four).await;
    assert_eq!(store.units(black).await, -1, "the number means nothing now");
}

#[tokio::test]
async fn stock_goes_at_payment_or_at_the_order() {
    let store = OwnStore::with_mug().await;
    let unpaid = json!({ "lines": [{ "optionId": "P000000A000A", "quantity": 1 }], "paid": false });
    let order = text(&store.control("orders", unpaid.clone()).await["orderId"]);
    assert_eq!(store.units("P000000A000A").await, 10);
    store
        .control(&format!("orders/{order}/state"), json!({ "state": "N10" }))
        .await;
    assert_eq!(store.units("P000000A000A").await, 9);

    assert_eq!(
        store
            .put(WHITE, json!({ "inventory_control_type": "A" }))
            .await
            .0,
        200
    );
    let order = text(&store.control("orders", unpaid).await["orderId"]);
    assert_eq!(store.units("P000000A000A").await, 8);
    store
        .control(&format!("orders/{order}/cancel"), json!({}))
        .await;
    assert_eq!(store.units("P000000A000A").await, 9);
    let list = store
        .get(&format!("orders?{TODAY}&order_status=C47&embed=items"))
        .await;
    assert_eq!(items(&list)[0]["status_code"], "C1");
}

#[tokio::test]
async fn prices_are_strings_and_variants_are_listed() {
    let store = OwnStore::with_mug().await;
    let write = json!({ "price": "11900.00", "retail_price": "15000.00" });
    let (status, body) = store.put("products/17", write.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(body["product"]["price"], "11900.00");
    assert_eq!(store.put("products/17", write).await.0, 409);
    assert_eq!(
        store
            .put("products/17", json!({ "price": "11900.50" }))
            .await
            .0,
        422
    );

    let product = store.get("products/17?embed=variants,inventories").await;
    assert_eq!(product["product"]["retail_price"], "15000.00");
    assert_eq!(
        product["product"]["variants"][1]["inventories"]["quantity"],
        3
    );
    let variants = store.get("products/17/variants").await;
    let black = &variants["variants"][1];
    assert_eq!(black["variant_code"], "P000000A000B");
    assert_eq!(black["additional_amount"], "1000.00");
    let office = json!({ "productId": "17", "price": 9_900 });
    store.control("actions/cafe24-price", office).await;
    assert_eq!(
        store.get("products/17").await["product"]["price"],
        "9900.00"
    );
}

// Cafe24: orders

#[tokio::test]
async fn an_order_is_listed_with_its_items() {
    let store = OwnStore::with_mug().await;
    let lines = json!([
        { "productId": "17", "optionId": "P000000A000A", "quantity": 2 },
        { "optionId": "P000000A000B", "quantity": 1 },
    ]);
    store.control("orders", json!({ "lines": lines })).await;
    let list = store.get(&format!("orders?{TODAY}&embed=items")).await;
    let order = &list["orders"][0];

    assert_eq!(order["order_id"], "20261120-0000001");
    assert_eq!(order["order_place_id"], "self");
    assert_eq!(
        (&order["paid"], &order["canceled"]),
        (&json!("T"), &json!("F"))
    );
    assert_eq!(order["order_date"], "2026-11-20T10:00:00+09:00");
    assert_eq!(order["payment_amount"], "39700.00");
    let items = items(&list);
    assert_eq!(items[0]["order_item_code"], "20261120-0000001-01");
    assert_eq!(items[1]["variant_code"], "P000000A000B");
    assert_eq!(items[1]["option_price"], "1000.00");
    assert_eq!(items[0]["order_status"], "N10");
    let bare = store.get(&format!("orders?{TODAY}")).await;
    assert!(bare["orders"][0].get("items").is_none());
    let one = store.get("orders/20261120-0000001?embed=items").await;
    assert_eq!(one["order"]["items"][0]["quantity"], 2);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let store = OwnStore::with_mug().await;
    let load = json!({ "lines": [{ "optionId": "P000000A000A", "quantity": 1 }], "count": 3 });
    store.control("orders", load).await;
    let linked = json!({
        "place": "sk11st",
        "order": { "lines": [{ "optionId": "P000000A000B", "quantity": 1 }] },
    });
    store.control("actions/cafe24-linked-order", linked).await;
    let ids = async |query: &str| -> Vec<String> {
        let list = store.get(&format!("orders?{TODAY}&{query}")).await;
        let orders = list["orders"].as_array().unwrap();
        orders
            .iter()
            .map(|order| text(&order["order_id"])[9..].to_owned())
            .collect()
    };

    assert_eq!(ids("").await, ["0000004", "0000003", "0000002", "0000001"]);
    assert_eq!(ids("limit=2&offset=1").await, ["0000003", "0000002"]);
    assert_eq!(ids("order_place_id=self").await.len(), 3);
    assert_eq!(ids("order_place_id=sk11st,coupang").await, ["0000004"]);
    assert_eq!(ids("order_status=N20,N30").await.len(), 0);
    assert_eq!(ids("order_id=20261120-0000002").await, ["0000002"]);
    assert_eq!(ids("date_type=pay_date").await.len(), 4);
    assert_eq!(ids("date_type=cancel_request_date").await.len(), 0);
    let count = store
        .get(&format!("orders/count?{TODAY}&order_place_id=self"))
        .await;
    assert_eq!(count["count"], 3);
    let from = "start_date=2026-11-20%2010:00:01&end_date=2026-11-20%2011:00:00";
    assert_eq!(
        store.get(&format!("orders?{from}")).await["orders"],
        json!([])
    );

    for query in [
        "limit=10".to_owned(),
        format!("{TODAY}&limit=1001"),
        format!("{TODAY}&offset=15001"),
        "start_date=2026-08-01&end_date=2026-11-20".to_owned(),
        "start_date=2026-11-21&end_date=2026-11-20".to_owned(),
    ] {
        let request = store.admin(Method::GET, &format!("orders?{query}"));
        assert_eq!(reply(request).await.0, 422, "{query}");
    }
}

#[tokio::test]
async fn an_order_is_prepared_held_and_let_go() {
    let store = OwnStore::with_mug().await;
    let order = store.order_white(1).await;
    let path = format!("orders/{order}");
    let process = async |status: &str| {
        store
            .put(&path, json!({ "process_status": status }))
            .await
            .0
    };
    let status = async || {
        let order = store.get(&format!("{path}?embed=items")).await;
        text(&order["order"]["items"][0]["order_status"])
    };
    assert_eq!(process("prepare").await, 200);
    assert_eq!(status().await, "N20");
    assert_eq!(process("prepare").await, 409);
    assert_eq!(process("hold").await, 200);
    assert_eq!(status().await, "N22");
    assert_eq!(process("unhold").await, 200);
    assert_eq!(process("prepareproduct").await, 200);
    assert_eq!(status().await, "N10");
    assert_eq!(process("ship").await, 422);
}

#[tokio::test]
async fn a_buyers_cancellation_of_some_units_splits_the_item() {
    let store = OwnStore::with_mug().await;
    let order = store.order_white(3).await;
    let cancel = json!({ "quantity": 1, "lineId": format!("{order}-01") });
    store
        .control(&format!("orders/{order}/cancel"), cancel)
        .await;

    let list = store
        .get(&format!("orders?{TODAY}&order_status=C00&embed=items"))
        .await;
    let split = items(&list);
    assert_eq!(
        (&split[0]["quantity"], &split[0]["order_status"]),
        (&json!(2), &json!("N10"))
    );
    assert_eq!(
        (&split[1]["quantity"], &split[1]["order_status"]),
        (&json!(1), &json!("C00"))
    );
    assert_eq!(split[1]["original_item_no"], split[0]["order_item_code"]);
    assert_eq!(store.units("P000000A000A").await, 7);

    let code = &split[1]["order_item_code"];
    let accept = json!({
        "status": "canceled",
        "recover_inventory": "T",
        "items": [{ "order_item_code": code, "quantity": 1 }],
    });
    let path = format!("orders/{order}/cancellation");
    let (status, body) = store.write(Method::POST, &path, accept.clone()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(store.units("P000000A000A").await, 8);
    assert_eq!(
        store.write(Method::POST, &path, accept).await.0,
        422,
        "it is cancelled"
    );
    let order = store.get(&format!("orders/{order}?embed=items")).await;
    assert_eq!(order["order"]["canceled"], "M");
    assert_eq!(order["order"]["items"][1]["order_status"], "C40");
    assert_eq!(
        order["order"]["items"][1]["cancel_date"],
        "2026-11-20T10:00:00+09:00"
    );
}

// The shop with its own backend

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused() {
    let store = OwnStore::with_plain_mug().await;
    let target = "/onepool/items/mug";
    let problem = async |request: RequestBuilder| {
        let response = request.send().await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let (status, body) = read(response).await;
        assert_eq!((status, &body["status"]), (401, &json!(401)));
        text(&body["type"])
    };
    let bare = store.http.get(store.url(target));
    assert_eq!(problem(bare).await, "urn:onepool:problem:unsigned");
    for seconds in [-301, 301] {
        let late = store.signed_at(NOW_S + seconds, "a", Method::GET, target, &Value::Null);
        assert_eq!(problem(late).await, "urn:onepool:problem:wrong-time");
    }
    let stock = "/onepool/items/mug/stock";
    let signed = store.signed(
        "a",
        Method::PUT,
        stock,
        &json!({ "units": 7, "version": 1 }),
    );
    let other_body = signed.body(r#"{"units":8,"version":1}"#);
    assert_eq!(
        problem(other_body).await,
        "urn:onepool:problem:wrong-signature"
    );
    // A good signature, but of another address.
    let signature = sign("a", NOW_S, "GET", "/onepool/items/cup", "");
    let moved = store
        .http
        .get(store.url(target))
        .header("webhook-id", "a")
        .header("webhook-timestamp", NOW_S)
        .header("webhook-signature", &signature);
    assert_eq!(problem(moved).await, "urn:onepool:problem:wrong-signature");
    let edge = store.signed_at(NOW_S - 300, "a", Method::GET, target, &Value::Null);
    assert_eq!(reply(edge).await.0, 200);
    assert_eq!(
        sign("msg_1", NOW_S, "PUT", stock, r#"{"units":7,"version":3}"#),
        "v1,vLhrCxcburF1KCyzKgYeF4iR2I6dYnRxKztAcCoqfGk=",
        "the vector of the README"
    );
}

#[tokio::test]
async fn an_older_version_of_the_stock_is_refused() {
    let store = OwnStore::with_plain_mug().await;
    let put = async |id: &str, units: u64, version: u64| {
        let body = json!({ "units": units, "version": version });
        store
            .shop(id, Method::PUT, "/onepool/items/mug/stock", body)
            .await
    };
    let (status, item) = put("a", 7, 5).await;
    assert_eq!(status, 200);
    let expected =
        json!({ "units": 7, "price": 12_900, "list_price": 15_000, "version": 5, "on_sale": true });
    assert_eq!(item, expected);

    store.order_plain(2).await;
    let (status, problem) = put("b", 9, 4).await;
    assert_eq!((status, &problem["known_version"]), (409, &json!(5)));
    assert_eq!(put("c", 8, 5).await.0, 409, "one version is one number");
    let (status, item) = put("d", 7, 5).await;
    assert_eq!(
        (status, &item["units"]),
        (200, &json!(5)),
        "a repeat gives no sold unit back"
    );
    assert_eq!(put("e", 6, 6).await.1["units"], 6);
    assert_eq!(
        store
            .shop("f", Method::GET, "/onepool/items/cup", Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn orders_and_cancellations_are_pulled_by_their_change() {
    let store = OwnStore::with_plain_mug().await;
    let first = store.order_plain(3).await;
    store.advance(60).await;
    let pulled = store
        .pull("since=2026-11-20T01:00:00Z&until=2026-11-20T01:00:01Z")
        .await;
    let line = &pulled["lines"][0];
    assert_eq!(line["line"], format!("{first}-1"));
    assert_eq!(
        (&line["quantity"], &line["cancelled"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(line["unit_price"], 12_900);
    assert_eq!(line["state"], "new");
    assert_eq!(line["changed_at"], "2026-11-20T01:00:00Z");

    let cancel = json!({ "quantity": 1 });
    store
        .control(&format!("orders/{first}/cancel"), cancel)
        .await;
    store.advance(1).await;
    let before = store
        .pull("since=2026-11-20T01:00:00Z&until=2026-11-20T01:01:00Z")
        .await;
    assert_eq!(
        before["lines"],
        json!([]),
        "it has changed since, and until is not included"
    );
    let after = store.pull("since=2026-11-20T10:01:00%2B09:00").await;
    assert_eq!(after["lines"][0]["cancelled"], 1);
    assert_eq!(after["lines"].as_array().unwrap().len(), 1);
    let bad = store
        .shop(
            "x",
            Method::GET,
            "/onepool/orders?since=yesterday",
            Value::Null,
        )
        .await;
    assert_eq!(bad.0, 400);
}

#[tokio::test]
async fn pages_meet_every_line_of_one_instant_once() {
    let store = OwnStore::with_plain_mug().await;
    let office = json!({ "itemId": "mug", "units": 1_000 });
    store.control("actions/shop-office", office).await;
    let load = json!({ "lines": [{ "productId": "mug", "quantity": 1 }], "count": 450 });
    store.control("orders", load).await;
    store.advance(1).await;

    let window = "since=2026-11-20T01:00:00Z&until=2026-11-20T01:00:01Z";
    let mut seen = BTreeSet::new();
    let mut pages = Vec::new();
    let mut query = window.to_owned();
    loop {
        let page = store.pull(&query).await;
        let lines = page["lines"].as_array().unwrap();
        pages.push(lines.len());
        seen.extend(lines.iter().map(|line| text(&line["line"])));
        // A line that changes while pages are turned is of the next window.
        if pages.len() == 1 {
            let path = "orders/S000000300/cancel";
            store.control(path, json!({})).await;
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("{window}&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(pages, [200, 200, 49]);
    assert_eq!(seen.len(), 449);
    assert!(!seen.contains("S000000300-1"));
    store.advance(1).await;
    let next = store.pull("since=2026-11-20T01:00:01Z").await;
    assert_eq!(next["lines"][0]["line"], "S000000300-1");
    assert_eq!(next["lines"][0]["state"], "cancelled");
    let smaller = |lines: u64| json!({ "shop": { "pageLines": lines } });
    for lines in [0, 201] {
        assert_eq!(store.refuses("settings", smaller(lines)).await, 400);
    }
    store.control("settings", smaller(7)).await;
    let page = store.pull(window).await;
    assert_eq!(page["lines"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn lines_are_confirmed_each_for_itself() {
    let store = OwnStore::with_plain_mug().await;
    let new = format!("{}-1", store.order_plain(1).await);
    let gone = store.order_plain(1).await;
    store
        .control(&format!("orders/{gone}/cancel"), json!({}))
        .await;
    let body = json!({ "lines": [new, format!("{gone}-1"), "nothing"] });
    let confirm = async |id: &str| {
        let (status, body) = store
            .shop(id, Method::POST, "/onepool/orders/confirm", body.clone())
            .await;
        assert_eq!(status, 200);
        let results = body["results"].as_array().unwrap();
        let results: Vec<_> = results
            .iter()
            .map(|result| text(&result["result"]))
            .collect();
        results
    };
    assert_eq!(confirm("a").await, ["confirmed", "cancelled", "unknown"]);
    assert_eq!(
        confirm("b").await,
        ["already_confirmed", "cancelled", "unknown"]
    );
    assert_eq!(
        confirm("a").await,
        ["confirmed", "cancelled", "unknown"],
        "the first answer"
    );
}

#[tokio::test]
async fn a_repeated_cancellation_cancels_once() {
    let store = OwnStore::with_plain_mug().await;
    let order = store.order_plain(3).await;
    let target = format!("/onepool/orders/{order}-1/cancel");
    let body = json!({ "cancelled": 1, "reason": "sold_out" });
    let fault = json!({ "on": "shop_cancel", "kind": "close_after_commit" });
    store.control("faults", json!({ "faults": [fault] })).await;

    let lost = store.signed("a", Method::POST, &target, &body).send();
    assert!(
        timeout(Duration::from_secs(20), lost)
            .await
            .unwrap()
            .is_err()
    );
    for _ in 0..2 {
        let (status, line) = store.shop("a", Method::POST, &target, body.clone()).await;
        assert_eq!((status, &line["cancelled"]), (200, &json!(1)));
    }
    let other = json!({ "cancelled": 2, "reason": "sold_out" });
    assert_eq!(
        store
            .shop("a", Method::POST, &target, other.clone())
            .await
            .0,
        422,
        "one id, one request"
    );
    // What the buyer cancels meanwhile counts.
    let cancel = json!({ "quantity": 1 });
    store
        .control(&format!("orders/{order}/cancel"), cancel)
        .await;
    let (_, line) = store.shop("b", Method::POST, &target, other).await;
    assert_eq!(
        (&line["cancelled"], &line["state"]),
        (&json!(2), &json!("new"))
    );
    let all = |units: u64| json!({ "cancelled": units, "reason": "sold_out" });
    let (_, line) = store.shop("c", Method::POST, &target, all(3)).await;
    assert_eq!(line["state"], "cancelled");
    let (status, line) = store.shop("d", Method::POST, &target, all(1)).await;
    assert_eq!((status, &line["cancelled"]), (200, &json!(3)), "it is done");
    assert_eq!(store.shop("e", Method::POST, &target, all(4)).await.0, 422);
    let units = async || {
        let item = store.shop("f", Method::GET, "/onepool/items/mug", Value::Null);
        item.await.1["units"].as_u64().unwrap()
    };
    assert_eq!(units().await, 10);
    let keeps = json!({ "shop": { "cancelRestoresStock": false } });
    store.control("settings", keeps).await;
    let order = store.order_plain(3).await;
    let target = format!("/onepool/orders/{order}-1/cancel");
    assert_eq!(store.shop("g", Method::POST, &target, all(3)).await.0, 200);
    assert_eq!(units().await, 7);
    let shipped = store.order_plain(1).await;
    let state = json!({ "state": "shipped" });
    store
        .control(&format!("orders/{shipped}/state"), state)
        .await;
    let target = format!("/onepool/orders/{shipped}-1/cancel");
    assert_eq!(store.shop("h", Method::POST, &target, all(1)).await.0, 409);
}

#[tokio::test]
async fn a_price_is_written_and_errors_are_problems() {
    let store = OwnStore::with_plain_mug().await;
    let target = "/onepool/items/mug/price";
    let (status, item) = store
        .shop("a", Method::PUT, target, json!({ "price": 9_900 }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        (&item["price"], &item["list_price"]),
        (&json!(9_900), &json!(15_000))
    );
    let (status, problem) = store
        .shop("b", Method::PUT, target, json!({ "price": 0 }))
        .await;
    assert_eq!(
        (status, &problem["type"]),
        (422, &json!("urn:onepool:problem:unfit"))
    );

    let fault = json!({ "on": "shop_set_price", "kind": "error_before_commit", "status": 503 });
    store.control("faults", json!({ "faults": [fault] })).await;
    let (status, problem) = store
        .shop("c", Method::PUT, target, json!({ "price": 1 }))
        .await;
    assert_eq!(
        (status, &problem["type"]),
        (503, &json!("urn:onepool:problem:failure"))
    );
}

#[tokio::test]
async fn a_signed_hint_comes_with_every_order() {
    let store = OwnStore::with_plain_mug().await;
    let (sender, mut hints) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hear = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        sender.send((uri.to_string(), headers, body)).unwrap();
    };
    let app = Router::new().route("/hints", post(hear));
    let receiver = tokio::spawn(async move { axum::serve(listener, app).await });
    let url = format!("http://{address}/hints?shop=demo");
    store
        .control("settings", json!({ "shop": { "hintUrl": url } }))
        .await;
    store.order_plain(1).await;

    let heard = timeout(Duration::from_secs(20), hints.recv()).await;
    let (target, headers, body) = heard.unwrap().unwrap();
    assert_eq!(target, "/hints?shop=demo");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = header("webhook-id");
    let signature = sign(
        &id,
        NOW_S,
        "POST",
        &target,
        std::str::from_utf8(&body).unwrap(),
    );
    assert_eq!(header("webhook-signature"), signature);
    assert_eq!(header("webhook-timestamp"), NOW_S.to_string());
    let hint: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(hint["type"], "orders.changed");
    receiver.abort();
}

// Both

#[tokio::test]
async fn the_two_shops_know_nothing_of_each_other() {
    let store = OwnStore::with_mug().await;
    let mug = json!({ "itemId": "mug", "name": "머그컵", "units": 5, "price": 12_900 });
    store.control("actions/shop-item", mug).await;
    let there = store.order_white(1).await;
    let here = store.order_plain(1).await;
    let both = json!({ "lines": [
        { "optionId": "P000000A000A", "quantity": 1 },
        { "productId": "mug", "quantity": 1 },
    ] });
    assert_eq!(store.refuses("orders", both).await, 400);

    let list = store.get(&format!("orders?{TODAY}")).await;
    let orders = list["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0]["order_id"], there);
    let pulled = store
        .pull("since=2026-11-19T00:00:00Z&until=2026-11-21T00:00:00Z")
        .await;
    let lines = pulled["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["order"], here);
    let shown = store.show("orders").await;
    let shops: Vec<_> = shown["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["shop"])
        .collect();
    assert_eq!(shops, ["cafe24", "plain"]);
}
