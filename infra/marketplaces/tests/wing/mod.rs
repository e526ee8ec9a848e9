//! Coupang as a seller calls it: every request signed.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use marketplaces::{Marketplaces, Settings};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::Sha256;

/// Where the clock stands at the start of every test, as signatures write it.
pub const SIGNED_DATE: &str = "260101T000000Z";
/// The same in Korea.
pub const START: &str = "2026-01-01T09:00:00+09:00";
/// Of the item that is there from the start.
pub const ITEM: &str = "3000000001";

const ORDERS: &str = "/v2/providers/openapi/apis/api";
const ITEMS: &str = "/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items";

/// An answer that has come: its status and its body.
pub type Reply = (u16, Value);

/// `Authorization` for a request, as the documents compute it.
pub fn authorization(signed_date: &str, method: &str, path: &str, query: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"demo-secret-key").unwrap();
    mac.update(format!("{signed_date}{method}{path}{query}").as_bytes());
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
    format!(
        "CEA algorithm=HmacSHA256, access-key=demo-access-key, signed-date={signed_date}, \
         signature={signature}"
    )
}

/// The part of an order call's path that is the same everywhere.
pub fn vendor(version: &str) -> String {
    format!("{ORDERS}/{version}/vendors/A00012345")
}

pub fn item(suffix: &str) -> String {
    format!("{ITEMS}/{ITEM}/{suffix}")
}

/// The marketplace with a client of it, one item on sale, and a clock that stands still.
pub struct Wing {
    pub marketplaces: Marketplaces,
    pub http: Client,
}

impl Wing {
    pub async fn start() -> Self {
        let wing = Self {
            marketplaces: Marketplaces::start(Settings::default()).await.unwrap(),
            http: Client::new(),
        };
        wing.control("clock", json!({ "set": START, "freeze": true }))
            .await;
        // What is not about the rate is not to be disturbed by it.
        wing.control("settings", json!({ "rate": 0, "errorBurst": 0 }))
            .await;
        let mug = json!({
            "optionId": ITEM, "name": "Mug", "price": 12_900, "stock": 10, "sellerCode": "MUG-W",
        });
        wing.control("items", mug).await;
        wing
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.marketplaces.coupang())
    }

    /// Signed at the start of the test's time.
    pub fn signed(&self, method: Method, path: &str, query: &str) -> RequestBuilder {
        let target = if query.is_empty() {
            self.url(path)
        } else {
            self.url(&format!("{path}?{query}"))
        };
        let authorization = authorization(SIGNED_DATE, method.as_str(), path, query);
        self.http
            .request(method, target)
            .header("Authorization", authorization)
            .header("X-Requested-By", "A00012345")
    }

    pub async fn get(&self, path: &str, query: &str) -> Reply {
        reply(self.signed(Method::GET, path, query)).await
    }

    pub async fn put(&self, path: &str, query: &str) -> Reply {
        reply(self.signed(Method::PUT, path, query)).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        reply(self.signed(method, path, "").json(body)).await
    }

    pub async fn set_quantity(&self, quantity: u64) -> Reply {
        self.put(&item(&format!("quantities/{quantity}")), "").await
    }

    pub async fn control(&self, what: &str, body: Value) -> Value {
        let (status, body) = self.try_control(what, body).await;
        assert_eq!(status, 200, "{what}: {body}");
        body
    }

    pub async fn try_control(&self, what: &str, body: Value) -> Reply {
        let request = self.http.post(self.url(&format!("/sandbox/{what}")));
        reply(request.json(&body)).await
    }

    pub async fn show(&self, what: &str) -> Value {
        let request = self.http.get(self.url(&format!("/sandbox/{what}")));
        reply(request).await.1
    }

    /// What the marketplace has in stock, whatever it says.
    pub async fn stock(&self) -> u64 {
        self.show("items").await["items"][0]["stock"]
            .as_u64()
            .unwrap()
    }

    /// A buyer orders some of the item. Answers the order with its lines.
    pub async fn order(&self, quantity: u64) -> Value {
        let lines = json!([{ "optionId": ITEM, "quantity": quantity }]);
        self.control("orders", json!({ "lines": lines })).await
    }
}

pub async fn reply(request: RequestBuilder) -> Reply {
    read(request.send().await.unwrap()).await
}

async fn read(response: Response) -> Reply {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
