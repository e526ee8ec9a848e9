//! SmartStore over real HTTP, as Onepool's adapter uses it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

use base64::{Engine, engine::general_purpose::STANDARD};
use marketplaces::{Marketplaces, Settings};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// Where the clock stands at the start of every test.
const START: &str = "2026-01-01T09:00:00.000+09:00";
const START_MS: i64 = 1_767_225_600_000;
/// The documented signature of `demo-app-id` at that time.
const SIGN: &str =
    "JDJhJDA0JE45cW84dUxPaWNrZ3gyWk1SWm9NeWVKNGxnZkdLSGRRdkpVN1U0R2c4WkdNcHdOcmI2TWVl";

/// A plain product, and one with two options.
const MUG: u64 = 11_000_000_001;
const SHIRT: u64 = 11_000_000_002;
const WHITE: u64 = 41_000_000_001;
const BLACK: u64 = 41_000_000_002;

/// An answer that has come: its status and its body.
type Reply = (u16, Value);

/// The store with a client of it that holds a token.
struct Store {
    marketplaces: Marketplaces,
    http: Client,
    token: String,
}

impl Store {
    /// Two products on sale, a clock that stands still, and no rate.
    async fn start() -> Self {
        let store = Self {
            marketplaces: Marketplaces::start(Settings::default()).await.unwrap(),
            http: Client::new(),
            token: String::new(),
        };
        store
            .control("clock", json!({ "set": START, "freeze": true }))
            .await;
        store.control("settings", json!({ "rate": 0 })).await;
        let mug = json!({
            "productId": MUG.to_string(), "name": "Mug", "price": 12_900, "stock": 10,
            "sellerCode": "MUG",
        });
        store.control("items", mug).await;
        let shirt = json!({
            "productId": SHIRT.to_string(), "name": "Shirt", "price": 30_000,
            "options": [
                { "optionId": WHITE.to_string(), "name": "white", "stock": 7, "sellerCode": "S-W" },
                { "optionId": BLACK.to_string(), "name": "black", "stock": 3, "extraPrice": 1_000 },
            ],
        });
        store.control("items", shirt).await;
        let token = store.token_at(START_MS, SIGN).await.1;
        Self {
            token: text(&token["access_token"]),
            ..store
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/external{path}", self.marketplaces.smartstore())
    }

    async fn token_at(&self, timestamp: i64, sign: &str) -> Reply {
        reply(form(self.token_request(), &token_form(timestamp, sign))).await
    }

    fn token_request(&self) -> RequestBuilder {
        self.http.post(self.url("/v1/oauth2/token"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.url(path))
            .bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Reply {
        reply(self.request(Method::GET, path)).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        reply(self.request(method, path).json(body)).await
    }

    async fn orders(&self, path: &str, body: &Value) -> Reply {
        let path = format!("/v1/pay-order/seller/product-orders/{path}");
        self.send(Method::POST, &path, body).await
    }

    async fn confirm(&self, ids: &[String]) -> Reply {
        self.orders("confirm", &json!({ "productOrderIds": ids }))
            .await
    }

    /// The detail of one product order.
    async fn detail(&self, id: &str) -> Value {
        let (status, body) = self
            .orders("query", &json!({ "productOrderIds": [id] }))
            .await;
        assert_eq!(status, 200, "{body}");
        body["data"][0].clone()
    }

    async fn feed(&self, query: &str) -> Reply {
        self.get(&format!(
            "/v1/pay-order/seller/product-orders/last-changed-statuses?{query}"
        ))
        .await
    }

    /// `data` of the feed since the start.
    async fn changes(&self, more: &str) -> Value {
        let (status, body) = self
            .feed(&format!("lastChangedFrom={}{more}", encoded(START)))
            .await;
        assert_eq!(status, 200, "{body}");
        body["data"].clone()
    }

    async fn product(&self, origin: u64) -> Value {
        let (status, body) = self
            .get(&format!("/v2/products/origin-products/{origin}"))
            .await;
        assert_eq!(status, 200, "{body}");
        body["originProduct"].clone()
    }

    async fn put_product(&self, origin: u64, what: &str, body: &Value) -> Reply {
        let path = format!("/v1/products/origin-products/{origin}/{what}");
        self.send(Method::PUT, &path, body).await
    }

    async fn multi_update(&self, updates: Value) -> Reply {
        let body = json!({ "multiProductUpdateRequestVos": updates });
        let path = "/v1/products/origin-products/multi-update";
        self.send(Method::PATCH, path, &body).await
    }

    /// A buyer orders some mugs; answers the product order's id, and the order's.
    async fn order(&self, quantity: u64) -> (String, String) {
        let lines = json!([{ "productId": MUG.to_string(), "quantity": quantity }]);
        let order = self.control("orders", json!({ "lines": lines })).await;
        (text(&order["lines"][0]["lineId"]), text(&order["orderId"]))
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let (status, body) = self.try_control(what, body).await;
        assert_eq!(status, 200, "{what}: {body}");
        body
    }

    async fn try_control(&self, what: &str, body: Value) -> Reply {
        let url = format!("{}/sandbox/{what}", self.marketplaces.smartstore());
        reply(self.http.post(url).json(&body)).await
    }

    async fn advance(&self, seconds: i64) {
        self.control("clock", json!({ "advance_s": seconds })).await;
    }
}

fn token_form(timestamp: i64, sign: &str) -> Vec<(&'static str, String)> {
    vec![
        ("client_id", "demo-app-id".to_owned()),
        ("timestamp", timestamp.to_string()),
        ("grant_type", "client_credentials".to_owned()),
        ("client_secret_sign", sign.to_owned()),
        ("type", "SELF".to_owned()),
    ]
}

fn form(request: RequestBuilder, fields: &[(&str, String)]) -> RequestBuilder {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    request
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

/// What a client computes from its secret.
fn sign(timestamp: i64) -> String {
    let salt = "N9qo8uLOickgx2ZMRZoMye";
    let salt = bcrypt_salt(salt);
    let hash = bcrypt::hash_with_salt(format!("demo-app-id_{timestamp}"), 4, salt).unwrap();
    STANDARD.encode(hash.format_for_version(bcrypt::Version::TwoA))
}

fn bcrypt_salt(text: &str) -> [u8; 16] {
    const ALPHABET: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for letter in text.chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(letter).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes.try_into().unwrap()
}

fn encoded(time: &str) -> String {
    time.replace('+', "%2B")
}

async fn reply(request: RequestBuilder) -> Reply {
    read(request.send().await.unwrap()).await
}

async fn read(response: Response) -> Reply {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn ids(data: &Value) -> Vec<String> {
    data["lastChangeStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| text(&row["productOrderId"]))
        .collect()
}

#[tokio::test]
async fn a_token_is_the_same_until_its_last_half_hour() {
    let store = Store::start().await;
    let (status, first) = store.token_at(START_MS, SIGN).await;
    assert_eq!(status, 200);
    assert_eq!(first["access_token"], store.token.as_str());
    assert_eq!(first["expires_in"], 10_800);
    assert_eq!(first["token_type"], "Bearer");

    store.advance(10_800 - 1_801).await;
    let now = START_MS + (10_800 - 1_801) * 1_000;
    let (_, same) = store.token_at(now, &sign(now)).await;
    assert_eq!(same["access_token"], first["access_token"]);
    assert_eq!(same["expires_in"], 1_801);

    store.advance(1).await;
    let now = now + 1_000;
    let (_, new) = store.token_at(now, &sign(now)).await;
    assert_ne!(new["access_token"], first["access_token"]);
    assert_eq!(new["expires_in"], 10_800);

    // The old one is good until its own end.
    store.advance(1_799).await;
    assert_eq!(store.get("/v2/products/origin-products/1").await.0, 404);
    store.advance(1).await;
    let (status, body) = store.get("/v2/products/origin-products/1").await;
    assert_eq!((status, &body["code"]), (401, &json!("GW.AUTHN")));
}

#[tokio::test]
async fn a_signature_is_checked_and_grows_old() {
    let store = Store::start().await;
    let mut signature = SIGN.to_owned();
    signature.replace_range(70..71, "A");
    for (timestamp, signature, input) in [
        (START_MS, signature, "client_secret_sign"),
        (START_MS + 1, SIGN.to_owned(), "client_secret_sign"),
        (START_MS - 300_001, sign(START_MS - 300_001), "timestamp"),
        (START_MS + 300_001, sign(START_MS + 300_001), "timestamp"),
    ] {
        let (status, body) = store.token_at(timestamp, &signature).await;
        assert_eq!((status, &body["code"]), (400, &json!("BAD_REQUEST")));
        assert_eq!(body["invalidInputs"][0]["name"], input);
    }
    let old = START_MS - 300_000;
    assert_eq!(store.token_at(old, &sign(old)).await.0, 200);
}

#[tokio::test]
async fn a_broken_token_format_costs_the_next_day() {
    let store = Store::start().await;
    let fields = token_form(START_MS, SIGN);
    let mut with_account = fields.clone();
    with_account.push(("account_id", "shop".to_owned()));
    let mut without_grant = fields.clone();
    without_grant.retain(|(name, _)| *name != "grant_type");
    let in_query = format!("{}?client_id=demo-app-id", store.url("/v1/oauth2/token"));
    for (request, input) in [
        (form(store.http.post(in_query), &fields), "query"),
        (store.token_request().json(&json!({})), "Content-Type"),
        (form(store.token_request(), &with_account), "account_id"),
        (form(store.token_request(), &without_grant), "grant_type"),
    ] {
        let (status, body) = reply(request).await;
        assert_eq!(status, 400);
        assert_eq!(body["invalidInputs"][0]["name"], input);
    }

    // Not on the same day: that runs until midnight in Korea.
    for _ in 0..2 {
        assert_eq!(store.get("/v2/products/channel-products/1").await.0, 404);
    }
    store
        .control("settings", json!({ "tokenLifeS": 1_000_000 }))
        .await;
    store.control("actions/revoke-tokens", json!({})).await;
    let token = store.token_at(START_MS, SIGN).await.1;
    let store = Store {
        token: text(&token["access_token"]),
        ..store
    };
    store.advance(15 * 3_600).await;
    let search = || {
        store
            .request(Method::POST, "/v1/products/search")
            .json(&json!({}))
    };
    assert_eq!(reply(search()).await.0, 200);
    let refused = search().send().await.unwrap();
    assert_eq!(refused.headers()["gncp-gw-quota-period"], "HOURS");
    assert_eq!(refused.headers()["gncp-gw-quota-limit"], "1");
    assert_eq!(refused.headers()["gncp-gw-quota-remaining"], "0");
    let (status, body) = read(refused).await;
    assert_eq!((status, &body["code"]), (429, &json!("GW.QUOTA_LIMIT")));
    // Each API has its own call in the hour.
    assert_eq!(store.get("/v2/products/channel-products/1").await.0, 404);
    store.advance(3_600).await;
    assert_eq!(reply(search()).await.0, 200);
    assert_eq!(reply(search()).await.0, 429);

    // A day without a violation lifts it.
    store.advance(24 * 3_600).await;
    for _ in 0..3 {
        assert_eq!(reply(search()).await.0, 200);
    }
}

#[tokio::test]
async fn the_sanction_can_come_at_once() {
    let store = Store::start().await;
    store
        .control("settings", json!({ "sanction": "at_once" }))
        .await;
    assert_eq!(reply(store.token_request().json(&json!({}))).await.0, 400);
    assert_eq!(store.get("/v2/products/channel-products/1").await.0, 404);
    assert_eq!(store.get("/v2/products/channel-products/1").await.0, 429);
    store
        .control("settings", json!({ "sanction": "off" }))
        .await;
    assert_eq!(store.get("/v2/products/channel-products/1").await.0, 404);
}

#[tokio::test]
async fn each_api_has_a_bucket_of_its_own() {
    let store = Store::start().await;
    store.control("settings", json!({ "rate": 2 })).await;
    let search = || {
        store
            .request(Method::POST, "/v1/products/search")
            .json(&json!({}))
    };
    for left in ["3", "2", "1", "0"] {
        let answer = search().send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        assert_eq!(headers["gncp-gw-ratelimit-replenish-rate"], "2");
        assert_eq!(headers["gncp-gw-ratelimit-burst-capacity"], "4");
        assert_eq!(headers["gncp-gw-ratelimit-remaining"], left);
        assert!(headers.contains_key("gncp-gw-trace-id"));
    }
    let (status, body) = reply(search()).await;
    assert_eq!((status, &body["code"]), (429, &json!("GW.RATE_LIMIT")));
    assert_eq!(store.get("/v2/products/channel-products/1").await.0, 404);

    store.advance(1).await;
    assert_eq!(reply(search()).await.0, 200);
    assert_eq!(reply(search()).await.0, 200);
    assert_eq!(reply(search()).await.0, 429);

    // The token call carries no limit.
    let request = form(store.token_request(), &token_form(START_MS, SIGN));
    let token = request.send().await.unwrap();
    assert!(!token.headers().contains_key("gncp-gw-ratelimit-remaining"));
}

#[tokio::test]
async fn the_gateway_refuses_in_its_own_words() {
    let store = Store::start().await;
    let anonymous = store.http.get(store.url("/v2/products/channel-products/1"));
    assert_eq!(reply(anonymous).await.1["code"], "GW.AUTHN");
    let (status, body) = store.get("/v1/no-such-api").await;
    assert_eq!((status, &body["code"]), (404, &json!("GW.NOT_FOUND")));
    // PATCH is the method of this one, not PUT.
    let path = "/v1/products/origin-products/multi-update";
    let (status, _) = store.send(Method::PUT, path, &json!({})).await;
    assert_eq!(status, 404);

    store
        .control("settings", json!({ "maintenance": true }))
        .await;
    let (status, body) = store.feed("").await;
    assert_eq!((status, &body["code"]), (503, &json!("GW.BLOCK.02")));
    store
        .control("settings", json!({ "ipBlocked": true }))
        .await;
    let (status, body) = store.token_at(START_MS, SIGN).await;
    assert_eq!((status, &body["code"]), (403, &json!("GW.IP_NOT_ALLOWED")));
    assert!(body["traceId"].is_string());

    let (status, body) = store.try_control("settings", json!({ "rates": 1 })).await;
    assert_eq!((status, &body["code"]), (400, &json!("INVALID_REQUEST")));
}

#[tokio::test]
async fn pages_of_the_feed_break_within_one_instant() {
    let store = Store::start().await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(store.order(1).await.0);
    }
    store.advance(1).await;
    placed.push(store.order(1).await.0);

    let first = store.changes("&limitCount=2").await;
    assert_eq!(first["count"], 2);
    assert_eq!(ids(&first), placed[..2]);
    // The next page begins with the row that the sequence names, at the same time as before.
    assert_eq!(
        first["more"],
        json!({ "moreFrom": START, "moreSequence": placed[2] })
    );
    let second = store
        .changes(&format!("&limitCount=2&moreSequence={}", placed[2]))
        .await;
    assert_eq!(ids(&second), placed[2..4]);
    assert_eq!(second["more"]["moreFrom"], START);
    let third = store
        .changes(&format!("&limitCount=2&moreSequence={}", placed[4]))
        .await;
    assert_eq!(ids(&third), placed[4..]);
    assert!(third.get("more").is_none());
}

#[tokio::test]
async fn a_page_of_the_feed_has_at_most_300_rows() {
    let store = Store::start().await;
    store
        .multi_update(json!([
            { "originProductNo": MUG, "multiUpdateTypes": ["STOCK"], "stockQuantity": 1_000 },
        ]))
        .await;
    let lines = json!([{ "productId": MUG.to_string(), "quantity": 1 }]);
    store
        .control("orders", json!({ "lines": lines, "count": 301 }))
        .await;
    let first = store.changes("").await;
    assert_eq!(first["count"], 300);
    let sequence = text(&first["more"]["moreSequence"]);
    let rest = store.changes(&format!("&moreSequence={sequence}")).await;
    assert_eq!(ids(&rest), [sequence]);
    let (status, body) = store
        .feed(&format!(
            "lastChangedFrom={}&limitCount=301",
            encoded(START)
        ))
        .await;
    assert_eq!((status, &body["code"]), (400, &json!("4000")));
}

#[tokio::test]
async fn the_feed_holds_only_the_latest_event() {
    let store = Store::start().await;
    let (kept, _) = store.order(1).await;
    let (gone, order) = store.order(2).await;
    store.advance(1).await;
    store
        .control(&format!("orders/{order}/cancel"), json!({}))
        .await;

    let rows = store.changes("").await;
    assert_eq!(ids(&rows), [kept.clone(), gone.clone()]);
    assert_eq!(rows["lastChangeStatuses"][0]["lastChangedType"], "PAYED");
    let cancelled = &rows["lastChangeStatuses"][1];
    assert_eq!(cancelled["lastChangedType"], "CLAIM_COMPLETED");
    assert_eq!(cancelled["productOrderStatus"], "CANCELED");
    assert_eq!(cancelled["claimType"], "CANCEL");
    assert_eq!(cancelled["claimStatus"], "CANCEL_DONE");
    assert_eq!(
        cancelled["lastChangedDate"],
        "2026-01-01T09:00:01.000+09:00"
    );

    // Whoever asks for payments alone never hears of the second order.
    assert_eq!(ids(&store.changes("&lastChangedType=PAYED").await), [kept]);
    assert_eq!(
        ids(&store.changes("&lastChangedType=CLAIM_COMPLETED").await),
        [gone]
    );
}

#[tokio::test]
async fn the_feed_refuses_wide_windows_and_loose_times() {
    let store = Store::start().await;
    let from = encoded(START);
    for (query, code) in [
        (
            format!(
                "lastChangedFrom={from}&lastChangedTo={}",
                encoded("2026-01-02T09:00:00.001+09:00")
            ),
            "104139",
        ),
        (format!("lastChangedFrom={START}"), "4000"),
        (
            format!("lastChangedFrom={}", from.replace(".000", "")),
            "4000",
        ),
        (
            format!("lastChangedFrom={}", from.replace(".000", ".000000")),
            "4000",
        ),
        (
            format!("lastChangedFrom={from}&lastChangedType=PAID"),
            "4000",
        ),
        ("lastChangedTo=x".to_owned(), "4000"),
    ] {
        let (status, body) = store.feed(&query).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}");
    }
    let day = encoded("2026-01-02T09:00:00.000+09:00");
    let (status, _) = store
        .feed(&format!("lastChangedFrom={from}&lastChangedTo={day}"))
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_detail_tells_what_the_feed_does_not() {
    let store = Store::start().await;
    let lines = json!([{ "optionId": BLACK.to_string(), "quantity": 2 }]);
    let order = store
        .control("orders", json!({ "lines": lines, "buyer": "Kim" }))
        .await;
    let (line, order) = (text(&order["lines"][0]["lineId"]), text(&order["orderId"]));
    let detail = store.detail(&line).await;
    assert_eq!(detail["order"]["orderId"], order.as_str());
    assert_eq!(detail["order"]["ordererName"], "Kim");
    let product_order = &detail["productOrder"];
    assert_eq!(product_order["itemNo"], BLACK.to_string());
    assert_eq!(product_order["originalProductId"], SHIRT.to_string());
    assert_eq!(product_order["placeOrderStatus"], "NOT_YET");
    assert_eq!(product_order["quantity"], 2);
    assert_eq!(product_order["totalPaymentAmount"], 62_000);

    store.confirm(std::slice::from_ref(&line)).await;
    for state in ["DELIVERING", "DELIVERED"] {
        let path = format!("orders/{order}/state");
        store.control(&path, json!({ "state": state })).await;
    }
    // What the courier reports is no event: the feed still has the dispatch as the latest.
    let rows = store.changes("").await;
    assert_eq!(
        rows["lastChangeStatuses"][0]["lastChangedType"],
        "DISPATCHED"
    );
    assert_eq!(
        store.detail(&line).await["productOrder"]["productOrderStatus"],
        "DELIVERED"
    );

    let path = format!("/v1/pay-order/seller/orders/{order}/product-order-ids");
    assert_eq!(store.get(&path).await.1["data"], json!([line]));
    let (status, body) = store
        .orders("query", &json!({ "productOrderIds": ["1", line] }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        body["data"].as_array().unwrap().len(),
        1,
        "unknown ids are missing"
    );
}

#[tokio::test]
async fn the_conditional_list_finds_what_is_not_confirmed() {
    let store = Store::start().await;
    let (first, _) = store.order(1).await;
    let (second, _) = store.order(1).await;
    let (third, _) = store.order(1).await;
    store.confirm(&[second]).await;
    let list = |more: &str| {
        let path = format!(
            "/v1/pay-order/seller/product-orders?from={}{more}",
            encoded(START)
        );
        async { store.get(&{ path }).await }
    };
    let (_, body) = list("&placeOrderStatusType=NOT_YET&pageSize=1").await;
    assert_eq!(
        body["data"]["contents"][0]["productOrderId"],
        first.as_str()
    );
    assert_eq!(
        body["data"]["pagination"],
        json!({ "page": 1, "size": 1, "hasNext": true })
    );
    let (_, body) = list("&placeOrderStatusType=NOT_YET&pageSize=1&page=2").await;
    assert_eq!(
        body["data"]["contents"][0]["productOrderId"],
        third.as_str()
    );
    assert_eq!(body["data"]["pagination"]["hasNext"], false);
    let (_, body) = list("&productOrderStatuses=PAYED&productOrderStatuses=CANCELED").await;
    assert_eq!(body["data"]["contents"].as_array().unwrap().len(), 3);
    assert_eq!(list("&pageSize=301").await.1["code"], "4000");
}

#[tokio::test]
async fn a_batch_of_confirmations_fails_in_part() {
    let store = Store::start().await;
    let (first, _) = store.order(1).await;
    let (second, order) = store.order(1).await;
    store
        .control(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let before = store.changes("").await;

    store.advance(1).await;
    let (status, body) = store
        .confirm(&[first.clone(), second.clone(), "1".to_owned()])
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        body["data"]["successProductOrderInfos"],
        json!([{ "productOrderId": first, "isReceiverAddressChanged": false }])
    );
    let failed: Vec<_> = body["data"]["failProductOrderInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| (text(&info["productOrderId"]), text(&info["code"])))
        .collect();
    assert_eq!(
        failed,
        [
            (second, "104442".to_owned()),
            ("1".to_owned(), "100001".to_owned())
        ]
    );
    // Confirmed once is enough, and it is no event.
    let (_, body) = store.confirm(std::slice::from_ref(&first)).await;
    assert_eq!(body["data"]["failProductOrderInfos"][0]["code"], "104443");
    assert_eq!(
        store.detail(&first).await["productOrder"]["placeOrderStatus"],
        "OK"
    );
    assert_eq!(store.changes("").await, before);

    let many: Vec<_> = (0..31).map(|id| id.to_string()).collect();
    assert_eq!(store.confirm(&many).await.1["code"], "4000");
    let (status, body) = store.confirm(&[first.clone(), first]).await;
    assert_eq!((status, &body["code"]), (400, &json!("104131")));
}

#[tokio::test]
async fn a_changed_address_is_told_by_the_confirmation() {
    let store = Store::start().await;
    let (line, order) = store.order(1).await;
    let moved = json!({ "state": "DELIVERY_ADDRESS_CHANGED" });
    store.control(&format!("orders/{order}/state"), moved).await;
    let rows = store.changes("").await;
    assert_eq!(
        rows["lastChangeStatuses"][0]["receiverAddressChanged"],
        true
    );
    let (_, body) = store.confirm(&[line]).await;
    assert_eq!(
        body["data"]["successProductOrderInfos"][0]["isReceiverAddressChanged"],
        true
    );
}

#[tokio::test]
async fn a_confirmed_order_is_cancelled_only_with_the_seller() {
    let store = Store::start().await;
    let (line, order) = store.order(3).await;
    store.confirm(std::slice::from_ref(&line)).await;
    store
        .control(&format!("orders/{order}/cancel"), json!({ "quantity": 1 }))
        .await;
    let detail = store.detail(&line).await;
    assert_eq!(detail["productOrder"]["productOrderStatus"], "PAYED");
    assert_eq!(detail["productOrder"]["remainQuantity"], 3);
    assert_eq!(
        detail["currentClaim"]["cancel"]["claimStatus"],
        "CANCEL_REQUEST"
    );
    assert_eq!(detail["currentClaim"]["cancel"]["requestQuantity"], 1);
    let rows = store.changes("").await;
    assert_eq!(
        rows["lastChangeStatuses"][0]["lastChangedType"],
        "CLAIM_REQUESTED"
    );

    let approve = format!("{line}/claim/cancel/approve");
    let (status, body) = store.orders(&approve, &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(body["data"]["successProductOrderIds"], json!([line]));
    let detail = store.detail(&line).await;
    assert_eq!(detail["productOrder"]["remainQuantity"], 2);
    assert_eq!(detail["productOrder"]["quantity"], 3);
    assert_eq!(detail["completedClaims"][0]["claimStatus"], "CANCEL_DONE");
    assert!(detail.get("currentClaim").is_none());

    let (status, body) = store.orders(&approve, &json!({})).await;
    assert_eq!(status, 200, "one id that failed is no failed call");
    assert_eq!(body["data"]["failProductOrderInfos"][0]["code"], "105306");
}

#[tokio::test]
async fn goods_on_their_way_withdraw_a_cancellation() {
    let store = Store::start().await;
    let (line, order) = store.order(1).await;
    let parcel = json!({ "dispatchProductOrders": [{
        "productOrderId": line, "deliveryMethod": "DELIVERY", "deliveryCompanyCode": "CJGLS",
        "trackingNumber": "1", "dispatchDate": START,
    }] });
    let (_, body) = store.orders("dispatch", &parcel).await;
    assert_eq!(body["data"]["failProductOrderInfos"][0]["code"], "104443");
    store.confirm(std::slice::from_ref(&line)).await;
    store
        .control(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let (_, body) = store.orders("dispatch", &parcel).await;
    assert_eq!(body["data"]["successProductOrderIds"], json!([line]));
    let detail = store.detail(&line).await;
    assert_eq!(detail["productOrder"]["productOrderStatus"], "DELIVERING");
    assert_eq!(detail["productOrder"]["claimStatus"], "CANCEL_REJECT");
    let (status, _) = store
        .try_control(&format!("orders/{order}/cancel"), json!({}))
        .await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn the_seller_cancels_some_units_and_then_the_rest() {
    let store = Store::start().await;
    let (line, _) = store.order(3).await;
    let cancel = |body: Value| {
        let path = format!("{line}/claim/cancel/request");
        async { store.orders(&{ path }, &{ body }).await }
    };
    let (status, body) = cancel(json!({ "cancelReason": "NO_SUCH_REASON" })).await;
    assert_eq!((status, &body["code"]), (400, &json!("4000")));
    let (_, body) = cancel(json!({ "cancelReason": "SOLD_OUT", "cancelQuantity": 4 })).await;
    assert_eq!(
        body["data"]["failProductOrderInfos"][0]["productOrderId"],
        line.as_str()
    );
    cancel(json!({ "cancelReason": "SOLD_OUT", "cancelQuantity": 2 })).await;
    assert_eq!(store.product(MUG).await["stockQuantity"], 9);
    cancel(json!({ "cancelReason": "SOLD_OUT" })).await;
    let detail = store.detail(&line).await;
    assert_eq!(detail["productOrder"]["productOrderStatus"], "CANCELED");
    assert_eq!(detail["completedClaims"].as_array().unwrap().len(), 2);
    assert_eq!(store.product(MUG).await["stockQuantity"], 10);
    let (_, body) = cancel(json!({ "cancelReason": "SOLD_OUT" })).await;
    assert_eq!(body["data"]["failProductOrderInfos"][0]["code"], "105306");
}

#[tokio::test]
async fn an_order_can_wait_for_its_payment() {
    let store = Store::start().await;
    let lines = json!([{ "productId": MUG.to_string(), "quantity": 1 }]);
    let order = store
        .control("orders", json!({ "lines": lines, "paid": false }))
        .await;
    let rows = store.changes("").await;
    assert_eq!(
        rows["lastChangeStatuses"][0]["lastChangedType"],
        "PAY_WAITING"
    );
    assert_eq!(
        rows["lastChangeStatuses"][0]["productOrderStatus"],
        "PAYMENT_WAITING"
    );
    let line = text(&order["lines"][0]["lineId"]);
    let (_, body) = store.confirm(&[line]).await;
    assert_eq!(body["data"]["failProductOrderInfos"][0]["code"], "104442");
    let path = format!("orders/{}/state", text(&order["orderId"]));
    store.control(&path, json!({ "state": "PAYED" })).await;
    let rows = store.changes("").await;
    assert_eq!(rows["lastChangeStatuses"][0]["lastChangedType"], "PAYED");
}

#[tokio::test]
async fn what_an_option_write_leaves_out_is_zero() {
    let store = Store::start().await;
    let write = |options: Value| {
        let body = json!({ "optionInfo": { "optionCombinations": options } });
        async { store.put_product(SHIRT, "option-stock", &{ body }).await }
    };
    let (status, body) = write(json!([{ "id": BLACK, "stockQuantity": 5 }])).await;
    assert_eq!(status, 200);
    assert_eq!(body["originProductNo"], SHIRT);
    let shirt = store.product(SHIRT).await;
    let options = &shirt["detailAttribute"]["optionInfo"]["optionCombinations"];
    // The surcharge is gone, and what was not named is as it was.
    assert_eq!(options[1]["price"], 0);
    assert_eq!(options[1]["stockQuantity"], 5);
    assert_eq!(options[0]["stockQuantity"], 7);
    assert_eq!(shirt["stockQuantity"], 12);

    write(json!([
        { "id": WHITE, "price": 0, "usable": true },
        { "id": BLACK, "stockQuantity": 0, "price": 1_000, "usable": true },
    ]))
    .await;
    let shirt = store.product(SHIRT).await;
    assert_eq!(shirt["stockQuantity"], 0);
    assert_eq!(shirt["statusType"], "OUTOFSTOCK");

    let (status, body) = write(json!([{ "id": 1, "stockQuantity": 5, "price": 0 }])).await;
    assert_eq!((status, &body["code"]), (400, &json!("BAD_REQUEST")));
    let (status, _) = store
        .put_product(1, "option-stock", &json!({ "optionInfo": {} }))
        .await;
    assert_eq!(status, 404);
    let (_, body) = store.put_product(SHIRT, "option-stock", &json!({})).await;
    assert_eq!(body["invalidInputs"][0]["name"], "optionInfo");
}

#[tokio::test]
async fn many_products_are_updated_together_or_not_at_all() {
    let store = Store::start().await;
    let mug = json!({
        "originProductNo": MUG, "multiUpdateTypes": ["STOCK", "SALE_PRICE"], "stockQuantity": 12,
        "productSalePrice": { "salePrice": 13_000 },
    });
    assert_eq!(store.multi_update(json!([mug])).await.0, 200);
    let shown = store.product(MUG).await;
    assert_eq!(shown["stockQuantity"], 12);
    assert_eq!(shown["salePrice"], 13_000);

    // A type that is not named is not written, whatever the body has.
    let only_stock = json!({
        "originProductNo": MUG, "multiUpdateTypes": ["STOCK"], "stockQuantity": 11,
        "productSalePrice": { "salePrice": 1 },
    });
    store.multi_update(json!([only_stock])).await;
    assert_eq!(store.product(MUG).await["salePrice"], 13_000);

    let unequal = json!({
        "originProductNo": SHIRT, "multiUpdateTypes": ["STOCK"], "stockQuantity": 9,
    });
    let (status, body) = store.multi_update(json!([mug, unequal])).await;
    assert_eq!(status, 400, "with options it has to be their sum");
    assert_eq!(body["invalidInputs"][0]["name"], "stockQuantity");
    assert_eq!(store.product(MUG).await["stockQuantity"], 11);
    let unknown = json!({ "originProductNo": 1, "multiUpdateTypes": [] });
    assert_eq!(store.multi_update(json!([mug, unknown])).await.0, 404);
    assert_eq!(store.multi_update(json!([])).await.0, 400);
}

#[tokio::test]
async fn a_discount_has_a_schedule_and_a_price_with_it() {
    let store = Store::start().await;
    let discount = |start: &str| {
        json!([{
            "originProductNo": MUG, "multiUpdateTypes": ["IMMEDIATE_DISCOUNT"],
            "immediateDiscountPolicy": { "discountMethod": {
                "value": 20, "unitType": "PERCENT", "startDate": start,
                "endDate": "2026-01-01T10:09:00.000+09:00",
            } },
        }])
    };
    let (status, _) = store
        .multi_update(discount("2026-01-01T09:05:00.000+09:00"))
        .await;
    assert_eq!(status, 400);
    let (status, _) = store
        .multi_update(discount("2026-01-01T09:10:00.000+09:00"))
        .await;
    assert_eq!(status, 200);
    let discounted = || async {
        let body = json!({ "searchKeywordType": "PRODUCT_NO", "originProductNos": [MUG] });
        let (_, body) = store.send(Method::POST, "/v1/products/search", &body).await;
        assert_eq!(body["totalElements"], 1);
        body["contents"][0]["channelProducts"][0]["discountedPrice"].clone()
    };
    assert_eq!(discounted().await, 12_900);
    store.advance(600).await;
    assert_eq!(discounted().await, 10_320);
    let (line, _) = store.order(1).await;
    assert_eq!(
        store.detail(&line).await["productOrder"]["totalPaymentAmount"],
        10_320
    );
    store.advance(3_600).await;
    assert_eq!(discounted().await, 12_900);
}

#[tokio::test]
async fn the_status_follows_the_stock_and_the_seller() {
    let store = Store::start().await;
    let change = |body: Value| async { store.put_product(MUG, "change-status", &{ body }).await };
    let status = || async { text(&store.product(MUG).await["statusType"]) };
    store.order(10).await;
    assert_eq!(status().await, "OUTOFSTOCK", "its own sales sold it out");
    let lines = json!([{ "productId": MUG.to_string(), "quantity": 1 }]);
    let (refused, _) = store.try_control("orders", json!({ "lines": lines })).await;
    assert_eq!(refused, 409);

    let (code, body) = change(json!({ "statusType": "SALE" })).await;
    assert_eq!(code, 400);
    assert_eq!(body["invalidInputs"][0]["name"], "stockQuantity");
    change(json!({ "statusType": "SALE", "stockQuantity": 4 })).await;
    assert_eq!(status().await, "SALE");
    change(json!({ "statusType": "SUSPENSION" })).await;
    assert_eq!(status().await, "SUSPENSION");
    let stock = |units| json!([{ "originProductNo": MUG, "multiUpdateTypes": ["STOCK"], "stockQuantity": units }]);
    store.multi_update(stock(0)).await;
    assert_eq!(
        status().await,
        "SUSPENSION",
        "nothing left does not end a suspension"
    );
    change(json!({ "statusType": "SALE" })).await;
    assert_eq!(
        status().await,
        "OUTOFSTOCK",
        "without stock there is no sale"
    );
    store.multi_update(stock(2)).await;
    assert_eq!(status().await, "SALE");
    change(json!({ "statusType": "OUTOFSTOCK" })).await;
    assert_eq!(store.product(MUG).await["stockQuantity"], 0);

    store
        .control("settings", json!({ "stockRevives": false }))
        .await;
    store.multi_update(stock(2)).await;
    assert_eq!(status().await, "OUTOFSTOCK");
}

#[tokio::test]
async fn a_full_update_deletes_what_it_leaves_out() {
    let store = Store::start().await;
    let path = format!("/v2/products/origin-products/{SHIRT}");
    let only_stock = json!({ "originProduct": { "stockQuantity": 12 } });
    let (status, body) = store.send(Method::PUT, &path, &only_stock).await;
    assert_eq!(status, 400);
    let missing: Vec<_> = body["invalidInputs"].as_array().unwrap().iter().collect();
    assert!(
        missing.iter().any(|input| {
            input["name"] == "originProduct.salePrice" && input["type"] == "NotNull"
        })
    );

    // Read, changed, written: everything is still there.
    let mut whole = store.get(&path).await.1;
    whole["originProduct"]["name"] = json!("Blue shirt");
    assert_eq!(store.send(Method::PUT, &path, &whole).await.0, 200);
    assert_eq!(store.get(&path).await.1, whole);

    whole["originProduct"]["stockQuantity"] = json!(11);
    let (status, body) = store.send(Method::PUT, &path, &whole).await;
    assert_eq!(status, 400);
    assert_eq!(
        body["invalidInputs"][0]["name"],
        "originProduct.stockQuantity"
    );

    whole["originProduct"]["stockQuantity"] = json!(10);
    let origin = whole["originProduct"].as_object_mut().unwrap();
    origin.remove("deliveryInfo");
    origin["detailAttribute"]
        .as_object_mut()
        .unwrap()
        .remove("optionInfo");
    assert_eq!(store.send(Method::PUT, &path, &whole).await.0, 200);
    let shirt = store.product(SHIRT).await;
    assert!(shirt.get("deliveryInfo").is_none());
    assert!(
        shirt["detailAttribute"].get("optionInfo").is_none(),
        "the options are deleted"
    );
    assert_eq!(shirt["stockQuantity"], 10);
}

#[tokio::test]
async fn an_order_between_read_and_write_is_undone_by_the_write() {
    let store = Store::start().await;
    let lines = json!([{ "optionId": WHITE.to_string(), "quantity": 2 }]);
    let rule = json!({
        "on": "option_stock", "kind": "order_before", "itemId": WHITE.to_string(),
        "order": { "lines": lines },
    });
    store.control("faults", json!({ "faults": [rule] })).await;
    let body = json!({ "optionInfo": { "optionCombinations": [
        { "id": WHITE, "stockQuantity": 7, "price": 0 },
        { "id": BLACK, "stockQuantity": 3, "price": 1_000 },
    ] } });
    assert_eq!(store.put_product(SHIRT, "option-stock", &body).await.0, 200);
    assert_eq!(store.product(SHIRT).await["stockQuantity"], 10);
    let url = format!("{}/sandbox/requests", store.marketplaces.smartstore());
    let (_, requests) = reply(store.http.get(url)).await;
    let written = requests["requests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["operation"] == "option_stock")
        .unwrap();
    assert_eq!(
        written["stock"],
        json!([{ "item": WHITE.to_string(), "from": 5, "to": 7 }])
    );
    assert_eq!(store.changes("").await["count"], 1);
}

#[tokio::test]
async fn faults_speak_the_gateway_s_language() {
    let store = Store::start().await;
    for (rule, status, code) in [
        (
            json!({ "on": "feed", "kind": "rate_limited" }),
            429,
            "GW.RATE_LIMIT",
        ),
        (
            json!({ "on": "feed", "kind": "error_before_commit", "status": 504 }),
            504,
            "GW.TIMEOUT.01",
        ),
        (
            json!({ "on": "feed", "kind": "error_before_commit", "status": 503 }),
            503,
            "GW.BLOCK.01",
        ),
        (
            json!({ "on": "feed", "kind": "error_before_commit" }),
            500,
            "GW.INTERNAL_SERVER_ERROR",
        ),
    ] {
        store.control("faults", json!({ "faults": [rule] })).await;
        let (is, body) = store
            .feed(&format!("lastChangedFrom={}", encoded(START)))
            .await;
        assert_eq!((is, &body["code"]), (status, &json!(code)));
    }
}

#[tokio::test]
async fn nonsense_is_refused_and_not_choked_on() {
    let store = Store::start().await;
    let before = store.product(SHIRT).await;
    let path = format!("/v2/products/origin-products/{SHIRT}");
    let whole = store.get(&path).await.1;
    let mut odd_detail = whole.clone();
    odd_detail["originProduct"]["detailAttribute"] = json!("text");
    let mut odd_options = whole.clone();
    odd_options["originProduct"]["detailAttribute"]["optionInfo"] = json!([1]);
    let mut odd_stock = whole.clone();
    odd_stock["originProduct"]["detailAttribute"]["optionInfo"]["optionCombinations"] = json!([
        { "optionName1": "a", "stockQuantity": u64::MAX },
        { "optionName1": "b", "stockQuantity": u64::MAX },
    ]);
    for body in [
        odd_detail,
        odd_options,
        odd_stock,
        json!([]),
        json!("x"),
        json!(null),
    ] {
        assert_eq!(store.send(Method::PUT, &path, &body).await.0, 400, "{body}");
        assert_eq!(
            store.put_product(SHIRT, "option-stock", &body).await.0,
            400,
            "{body}"
        );
        assert_eq!(
            store.put_product(SHIRT, "change-status", &body).await.0,
            400,
            "{body}"
        );
        assert_eq!(store.multi_update(body.clone()).await.0, 400, "{body}");
        for call in ["confirm", "query", "dispatch", "1/claim/cancel/request"] {
            assert_eq!(store.orders(call, &body).await.0, 400, "{call}: {body}");
        }
    }
    assert_eq!(store.product(SHIRT).await, before);
    let last = encoded("9999-12-31T23:59:59.999+09:00");
    assert_eq!(store.feed(&format!("lastChangedFrom={last}")).await.0, 400);
    let (status, _) = store.token_at(i64::MIN, SIGN).await;
    assert_eq!(status, 400);
}
