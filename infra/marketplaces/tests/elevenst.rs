//! 11st over real HTTP, as Onepool's adapter uses it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

use std::time::Duration;

use encoding_rs::EUC_KR;
use marketplaces::{Marketplaces, Settings};
use reqwest::{Client, Method, RequestBuilder};
use roxmltree::Document;
use serde_json::{Value, json};
use tokio::time::timeout;

const KEY: &str = "demo0000000000000000000000000000";
/// All tests play on one day; the clock is set to it, so that windows can be written down.
const NOON: &str = "2026-11-20T12:00:30+09:00";
const WINDOW: &str = "202611201130/202611201230";

/// 11st with a client of it.
struct ElevenSt {
    marketplaces: Marketplaces,
    http: Client,
}

/// A document that has come: its text, and the bytes it was.
struct Reply {
    text: String,
    bytes: Vec<u8>,
}

impl Reply {
    /// The first element of this local name.
    fn text_of(&self, name: &str) -> Option<String> {
        let document = Document::parse(&self.text).unwrap();
        document
            .descendants()
            .find(|node| node.tag_name().name() == name)
            .map(|node| node.text().unwrap_or_default().to_owned())
    }

    fn all(&self, name: &str) -> Vec<String> {
        let document = Document::parse(&self.text).unwrap();
        document
            .descendants()
            .filter(|node| node.tag_name().name() == name)
            .map(|node| node.text().unwrap_or_default().to_owned())
            .collect()
    }

    fn root(&self) -> String {
        let document = Document::parse(&self.text).unwrap();
        document.root_element().tag_name().name().to_owned()
    }

    fn code(&self) -> String {
        self.text_of("result_code")
            .or_else(|| self.text_of("resultCode"))
            .unwrap()
    }
}

impl ElevenSt {
    /// At noon, with a mug in white and black.
    async fn start() -> Self {
        let this = Self {
            marketplaces: Marketplaces::start(Settings::default()).await.unwrap(),
            http: Client::new(),
        };
        this.control("clock", json!({ "set": NOON, "freeze": true }))
            .await;
        let mug = json!({
            "productId": "9100000001",
            "name": "머그컵",
            "price": 12_900,
            "sellerCode": "MUG",
            "options": [
                { "optionId": "44000000001", "name": "색상:하양", "stock": 10 },
                { "optionId": "44000000002", "name": "색상:검정", "stock": 3, "extraPrice": 1_000 },
            ],
        });
        this.control("items", mug).await;
        this
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/rest/{path}", self.marketplaces.elevenst());
        self.http.request(method, url).header("openapikey", KEY)
    }

    async fn get(&self, path: &str) -> Reply {
        read(self.request(Method::GET, path)).await
    }

    async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        read(self.request(Method::PUT, path).body(body)).await
    }

    async fn ask(&self, request: RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/sandbox/{what}", self.marketplaces.elevenst());
        let (status, body) = self.ask(self.http.post(url).json(&body)).await;
        assert_eq!(status, 200, "{what}: {body}");
        body
    }

    async fn show(&self, what: &str) -> Value {
        let url = format!("{}/sandbox/{what}", self.marketplaces.elevenst());
        self.ask(self.http.get(url)).await.1
    }

    async fn advance(&self, seconds: i64) {
        self.control("clock", json!({ "advance_s": seconds })).await;
    }

    /// Orders units of the white mug; answers the order's and the delivery's number.
    async fn order(&self, units: u64) -> (String, String) {
        let lines = json!([{ "optionId": "44000000001", "quantity": units }]);
        let order = self.control("orders", json!({ "lines": lines })).await;
        (text(&order["orderId"]), text(&order["deliveryId"]))
    }

    async fn confirm(&self, order: &str, delivery: &str) -> Reply {
        self.get(&format!(
            "ordservices/reqpackaging/{order}/1/N/null/{delivery}"
        ))
        .await
    }

    async fn units(&self, stock: &str) -> u64 {
        let items = self.show("items").await;
        let options = items["items"][0]["options"].as_array().unwrap();
        let option = options.iter().find(|option| option["optionId"] == stock);
        option.unwrap()["stock"].as_u64().unwrap()
    }

    async fn numbers(&self, list: &str) -> Vec<String> {
        self.get(&format!("{list}/{WINDOW}")).await.all("ordNo")
    }
}

async fn read(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/xml; charset=euc-kr"
    );
    let bytes = response.bytes().await.unwrap().to_vec();
    let (text, had_errors) = EUC_KR.decode_without_bom_handling(&bytes);
    assert!(!had_errors);
    assert!(text.starts_with(r#"<?xml version="1.0" encoding="euc-kr""#));
    Reply {
        text: text.into_owned(),
        bytes,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn stock_body(stock: &str, units: &str) -> String {
    format!(
        "<ProductStock><prdNo>9100000001</prdNo><prdStckNo>{stock}</prdStckNo><stckQty>{units}</stckQty>\
         <optWght>0</optWght></ProductStock>"
    )
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

// Orders

#[tokio::test]
async fn an_empty_list_says_zero_in_the_bytes_of_euc_kr() {
    let elevenst = ElevenSt::start().await;
    let reply = elevenst
        .get(&format!("ordservices/complete/{WINDOW}"))
        .await;

    assert_eq!(reply.root(), "orders");
    assert_eq!(reply.code(), "0");
    assert!(reply.text.contains("<ns2:result_code>0<"));
    let nothing =
        b"\xc1\xb6\xc8\xb8\xb5\xc8 \xb0\xe1\xb0\xfa\xb0\xa1 \xbe\xf8\xbd\xc0\xb4\xcf\xb4\xd9.";
    assert!(has(&reply.bytes, nothing));
}

#[tokio::test]
async fn a_paid_order_is_listed_with_its_fields_and_takes_units() {
    let elevenst = ElevenSt::start().await;
    let lines = json!([
        { "productId": "9100000001", "optionId": "44000000001", "quantity": 2 },
        { "optionId": "44000000002", "quantity": 1 },
    ]);
    let order = elevenst
        .control("orders", json!({ "lines": lines, "buyer": "김<영희>" }))
        .await;
    let reply = elevenst
        .get(&format!("ordservices/complete/{WINDOW}"))
        .await;

    assert!(reply.text.contains(
        r#"<ns2:orders xmlns:ns2="http://skt.tmall.business.openapi.spring.service.client.domain/"><ns2:order><ordNo>"#
    ));
    let no = text(&order["orderId"]);
    assert!(no.len() == 17 && no.starts_with("20261120"));
    assert_eq!(reply.all("ordNo"), [no.clone(), no]);
    assert_eq!(reply.all("ordPrdSeq"), ["1", "2"]);
    assert_eq!(reply.all("prdStckNo"), ["44000000001", "44000000002"]);
    assert_eq!(reply.all("ordQty"), ["2", "1"]);
    assert_eq!(reply.all("ordAmt"), ["25800", "13900"]);
    assert_eq!(
        reply.all("slctPrdOptNm"),
        ["색상:하양-2개", "색상:검정-1개"]
    );
    assert_eq!(reply.all("plcodrCnfDt"), ["null", "null"]);
    assert_eq!(reply.text_of("ordStlEndDt").unwrap(), "2026-11-20 12:00:30");
    assert_eq!(reply.text_of("ordPrdStat").unwrap(), "202");
    assert_eq!(reply.text_of("bndlDlvYN").unwrap(), "Y");
    assert_eq!(reply.text_of("ordNm").unwrap(), "김<영희>");
    assert_eq!(elevenst.units("44000000001").await, 8);
    assert_eq!(elevenst.units("44000000002").await, 2);
}

#[tokio::test]
async fn more_than_there_is_cannot_be_bought_and_nothing_of_the_order_is_taken() {
    let elevenst = ElevenSt::start().await;
    let lines = json!([
        { "optionId": "44000000001", "quantity": 1 },
        { "optionId": "44000000002", "quantity": 2 },
        { "optionId": "44000000002", "quantity": 2 },
    ]);
    let url = format!("{}/sandbox/orders", elevenst.marketplaces.elevenst());
    let request = elevenst.http.post(url).json(&json!({ "lines": lines }));
    let (status, body) = elevenst.ask(request).await;

    assert_eq!((status, &body["code"]), (409, &json!("IMPOSSIBLE")));
    assert_eq!(elevenst.units("44000000001").await, 10);
    assert_eq!(elevenst.units("44000000002").await, 3);
}

#[tokio::test]
async fn windows_are_checked_and_cut_to_the_minute() {
    let elevenst = ElevenSt::start().await;
    elevenst.order(1).await;
    let code = async |window: &str| {
        let path = format!("ordservices/complete/{window}");
        elevenst.get(&path).await.code()
    };

    assert_eq!(code("2026112011/202611201230").await, "-3303");
    assert_eq!(code("202611201130/202613201230").await, "-3304");
    assert_eq!(code("202611120000/202611201230").await, "-3305");
    assert_eq!(code("202611201230/202611201130").await, "-1");
    // Paid at 12:00:30, which is not within the first second of 12:00.
    assert_eq!(code("202611201130/202611201200").await, "0");
    let path = "ordservices/complete/202611131201/202611201201";
    assert_eq!(elevenst.get(path).await.all("ordNo").len(), 1);
}

#[tokio::test]
async fn a_confirmed_line_moves_to_packaging_and_a_repeat_is_refused() {
    let elevenst = ElevenSt::start().await;
    let (order, delivery) = elevenst.order(1).await;
    let reply = elevenst.confirm(&order, "2699999999").await;
    assert_eq!(reply.code(), "-1", "of another delivery");

    let reply = elevenst.confirm(&order, &delivery).await;
    assert_eq!(
        (reply.root(), reply.code()),
        ("ResultOrder".into(), "0".into())
    );
    assert!(elevenst.numbers("ordservices/complete").await.is_empty());
    let packaging = elevenst
        .get(&format!("ordservices/packaging/{WINDOW}"))
        .await;
    assert_eq!(packaging.all("ordNo"), [order.as_str()]);
    assert_eq!(packaging.all("plcodrCnfDt"), ["2026-11-20 12:00:30"]);

    let repeat = elevenst.confirm(&order, &delivery).await;
    assert_eq!(repeat.code(), "-1");
    let states = elevenst
        .get(&format!(
            "claimservice/orderlistall/{order},20261120999999999"
        ))
        .await;
    assert_eq!(states.all("ordPrdStat"), ["301"]);
}

#[tokio::test]
async fn one_call_ships_every_line_of_a_delivery() {
    let elevenst = ElevenSt::start().await;
    let lines = json!([
        { "optionId": "44000000001", "quantity": 1 },
        { "optionId": "44000000002", "quantity": 1 },
    ]);
    let order = elevenst.control("orders", json!({ "lines": lines })).await;
    let (no, delivery) = (text(&order["orderId"]), text(&order["deliveryId"]));
    let ship = format!("ordservices/reqdelivery/202611201200/01/00034/123456/{delivery}");

    assert_eq!(
        elevenst.get(&ship).await.code(),
        "-3308",
        "nothing is confirmed"
    );
    for line in 1..=2 {
        let path = format!("ordservices/reqpackaging/{no}/{line}/N/0/{delivery}");
        assert_eq!(elevenst.get(&path).await.code(), "0");
    }
    assert_eq!(elevenst.get(&ship).await.code(), "0");
    assert_eq!(elevenst.numbers("ordservices/shipping").await.len(), 2);
    assert!(elevenst.numbers("ordservices/packaging").await.is_empty());
}

#[tokio::test]
async fn unpaid_orders_stand_by_until_they_are_paid() {
    let elevenst = ElevenSt::start().await;
    let lines = json!([{ "optionId": "44000000001", "quantity": 1 }]);
    let order = elevenst
        .control("orders", json!({ "lines": lines, "paid": false }))
        .await;
    let no = text(&order["orderId"]);

    let standby = elevenst.get(&format!("ordservices/standby/{WINDOW}")).await;
    assert_eq!(standby.all("ordStlEndDt"), ["null"]);
    elevenst.advance(60).await;
    let path = format!("orders/{no}/state");
    elevenst
        .control(&path, json!({ "state": "complete" }))
        .await;
    let complete = elevenst
        .get(&format!("ordservices/complete/{WINDOW}"))
        .await;
    assert_eq!(complete.all("ordStlEndDt"), ["2026-11-20 12:01:30"]);
}

// Claims

#[tokio::test]
async fn a_buyers_cancellation_waits_for_the_seller() {
    let elevenst = ElevenSt::start().await;
    let (order, _) = elevenst.order(4).await;
    let path = format!("orders/{order}/cancel");
    elevenst.control(&path, json!({ "quantity": 1 })).await;

    let asked = elevenst
        .get(&format!("claimservice/cancelorders/{WINDOW}"))
        .await;
    assert_eq!(asked.all("ordCnStatCd"), ["01"]);
    assert_eq!(asked.all("ordCnMnbdCd"), ["01"]);
    assert_eq!(asked.all("ordCnQty"), ["1"]);
    let standing = elevenst
        .get(&format!("claimservice/orderlistall/{order}"))
        .await;
    assert_eq!(standing.all("ordPrdStat"), ["701"]);
    assert_eq!(
        elevenst.numbers("ordservices/complete").await,
        [order.as_str()]
    );

    let claim = asked.text_of("ordPrdCnSeq").unwrap();
    let approve = format!("claimservice/cancelreqconf/{claim}/{order}/1");
    assert_eq!(elevenst.get(&approve).await.code(), "0");
    assert_eq!(elevenst.get(&approve).await.code(), "-1", "once is enough");
    let done = elevenst
        .get(&format!("claimservice/canceledorders/{WINDOW}"))
        .await;
    assert_eq!(done.all("ordCnStatCd"), ["02"]);
    assert!(
        elevenst
            .numbers("claimservice/cancelorders")
            .await
            .is_empty()
    );
    let complete = elevenst
        .get(&format!("ordservices/complete/{WINDOW}"))
        .await;
    assert_eq!(complete.all("ordQty"), ["3"]);
    let standing = elevenst
        .get(&format!("claimservice/orderlistall/{order}"))
        .await;
    assert_eq!(standing.all("ordQty"), ["4"]);
    assert_eq!(standing.all("ordCnQty"), ["1"]);
    assert_eq!(elevenst.units("44000000001").await, 7);
}

#[tokio::test]
async fn a_seller_who_cannot_supply_ends_the_line() {
    let elevenst = ElevenSt::start().await;
    let (order, delivery) = elevenst.order(2).await;
    let reject = |code: &str| format!("claimservice/reqrejectorder/{order}/1/{code}/sold%20out");

    assert_eq!(
        elevenst.get(&reject("99")).await.code(),
        "-1",
        "no such reason"
    );
    assert_eq!(elevenst.get(&reject("09")).await.code(), "0");
    let done = elevenst
        .get(&format!("claimservice/canceledorders/{WINDOW}"))
        .await;
    assert_eq!(done.all("ordCnMnbdCd"), ["02"]);
    assert_eq!(done.all("ordCnDtlsRsn"), ["sold out"]);
    assert!(elevenst.numbers("ordservices/complete").await.is_empty());
    assert_eq!(elevenst.confirm(&order, &delivery).await.code(), "-1");
    let standing = elevenst
        .get(&format!("claimservice/orderlistall/{order}"))
        .await;
    assert_eq!(standing.all("ordPrdStat"), ["B01"]);
}

#[tokio::test]
async fn a_cancellation_is_withdrawn_or_refused_with_the_parcel() {
    let elevenst = ElevenSt::start().await;
    let (first, _) = elevenst.order(1).await;
    let (second, _) = elevenst.order(1).await;
    for order in [&first, &second] {
        let path = format!("orders/{order}/cancel");
        elevenst.control(&path, json!({})).await;
    }
    let path = format!("orders/{first}/state");
    elevenst
        .control(&path, json!({ "state": "withdrawn" }))
        .await;
    let withdrawn = elevenst
        .numbers("claimservice/withdrawcanceledorders")
        .await;
    assert_eq!(withdrawn, [first]);

    let asked = elevenst
        .get(&format!("claimservice/cancelorders/{WINDOW}"))
        .await;
    assert_eq!(asked.all("ordNo"), [second.as_str()]);
    let claim = asked.text_of("ordPrdCnSeq").unwrap();
    let path = format!("claimservice/cancelreqreject/{second}/1/{claim}/01/20261120/00034/123456");
    assert_eq!(elevenst.get(&path).await.code(), "0");
    assert_eq!(elevenst.numbers("ordservices/shipping").await, [second]);
}

// Stock and price

#[tokio::test]
async fn stock_is_written_absolutely_and_zero_is_sold_out() {
    let elevenst = ElevenSt::start().await;
    let put = async |stock: &str, body: String| {
        elevenst
            .put(&format!("prodservices/stockqty/{stock}"), body)
            .await
    };
    let reply = put("44000000001", stock_body("44000000001", "0")).await;
    assert_eq!(reply.root(), "ClientMessage");
    assert_eq!(reply.code(), "200");
    assert_eq!(reply.text_of("productNo").unwrap(), "44000000001");

    let path = "prodmarketservice/prodmarket/stck/9100000001";
    let stocks = elevenst.get(path).await;
    assert_eq!(stocks.root(), "ProductStocks");
    assert_eq!(stocks.all("stckQty"), ["0", "3"]);
    assert_eq!(stocks.all("prdStckStatCd"), ["02", "01"]);
    assert_eq!(stocks.all("addPrc"), ["0", "1000"]);
    assert_eq!(elevenst.show("items").await["items"][0]["state"], 103);

    assert_eq!(
        put("44000000002", stock_body("44000000002", "0"))
            .await
            .code(),
        "200"
    );
    assert_eq!(elevenst.show("items").await["items"][0]["state"], 104);
    assert_eq!(
        put("44000000002", stock_body("44000000002", "5"))
            .await
            .code(),
        "200"
    );
    assert_eq!(elevenst.get(path).await.all("prdStckStatCd"), ["02", "01"]);

    let requests = elevenst.show("requests").await;
    let write = &requests["requests"][0];
    assert_eq!(write["operation"], "stockqty");
    assert_eq!(
        write["stock"],
        json!([{ "item": "44000000001", "from": 10, "to": 0 }])
    );
}

#[tokio::test]
async fn a_stock_write_needs_all_its_fields() {
    let elevenst = ElevenSt::start().await;
    let put = async |body: String| {
        elevenst
            .put("prodservices/stockqty/44000000001", body)
            .await
            .code()
    };
    let whole = stock_body("44000000001", "7");
    for field in ["prdNo", "prdStckNo", "stckQty", "optWght"] {
        let body = whole
            .replace(&format!("<{field}>"), "<x>")
            .replace(&format!("</{field}>"), "</x>");
        assert_eq!(put(body).await, "400", "{field}");
    }
    assert_eq!(put(stock_body("44000000001", "-1")).await, "400");
    assert_eq!(put("no XML".to_owned()).await, "400");
    assert_eq!(
        put(stock_body("44000000002", "7")).await,
        "404",
        "of another number"
    );
    assert_eq!(put(whole.replace("9100000001", "9100000009")).await, "404");
    assert_eq!(elevenst.units("44000000001").await, 10);
}

#[tokio::test]
async fn writing_options_for_one_stock_deletes_its_siblings() {
    let elevenst = ElevenSt::start().await;
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Product><ProductOption><colValue0>색상:하양</colValue0>\
                <colCount>5</colCount></ProductOption></Product>";
    let request = elevenst
        .request(Method::POST, "prodservices/updateProductOption/9100000001")
        .body(body);
    assert_eq!(read(request).await.code(), "200");

    let stocks = elevenst
        .get("prodmarketservice/prodmarket/stck/9100000001")
        .await;
    assert_eq!(stocks.all("prdStckNo"), ["44000000001"]);
    assert_eq!(stocks.all("stckQty"), ["5"]);
}

#[tokio::test]
async fn a_get_writes_the_price_and_tells_the_old_one() {
    let elevenst = ElevenSt::start().await;
    let reply = elevenst
        .get("prodservices/product/price/9100000001/9900")
        .await;
    assert_eq!(reply.code(), "200");
    assert_eq!(reply.text_of("preSelPrc").unwrap(), "12900");
    assert_eq!(elevenst.show("items").await["items"][0]["price"], 9_900);
    let reply = elevenst
        .get("prodservices/product/price/9100000001/free")
        .await;
    assert_eq!(reply.code(), "400");
    let reply = elevenst
        .get("prodservices/product/price/9199999999/9900")
        .await;
    assert_eq!(reply.code(), "404");
}

#[tokio::test]
async fn a_product_is_read_with_its_price_and_the_sellers_discount() {
    let elevenst = ElevenSt::start().await;
    let path = "prodmarketservice/prodmarket/9100000001";
    let product = elevenst.get(path).await;
    let told = ["selPrc", "selStatCd", "prdNm"].map(|field| product.text_of(field));
    let expected = ["12900", "103", "머그컵"].map(|text| Some(text.to_owned()));
    assert_eq!(told, expected);
    assert_eq!(product.text_of("dscAmtPercnt"), None);
    let discount = json!({ "productId": "9100000001", "value": 10, "unitType": "PERCENT" });
    elevenst.control("actions/discount", discount).await;
    let product = elevenst.get(path).await;
    let told = ["selPrc", "dscAmtPercnt", "cupnDscMthdCd"].map(|field| product.text_of(field));
    let expected = ["12900", "10", "02"].map(|text| Some(text.to_owned()));
    assert_eq!(told, expected);
    let line = json!({ "optionId": "44000000002", "quantity": 2 });
    elevenst.control("orders", json!({ "lines": [line] })).await;
    let list = "ordservices/complete/202611201100/202611201300";
    let order = elevenst.get(list).await;
    let paid = ["ordAmt", "lstSellerDscPrc", "ordPayAmt"].map(|field| order.text_of(field));
    let expected = ["27800", "2580", "25220"].map(|text| Some(text.to_owned()));
    assert_eq!(paid, expected);
    let missing = elevenst.get("prodmarketservice/prodmarket/9199999999");
    assert_eq!(missing.await.code(), "404");
}

#[tokio::test]
async fn a_stopped_display_sells_nothing_until_it_is_restarted() {
    let elevenst = ElevenSt::start().await;
    let stat = async |what: &str| {
        elevenst
            .put(&format!("prodstatservice/stat/{what}/9100000001"), "")
            .await
            .code()
    };
    assert_eq!(stat("stopdisplay").await, "200");
    assert_eq!(stat("stopdisplay").await, "500");
    assert_eq!(elevenst.show("items").await["items"][0]["state"], 105);
    let url = format!("{}/sandbox/orders", elevenst.marketplaces.elevenst());
    let lines = json!([{ "optionId": "44000000001", "quantity": 1 }]);
    let request = elevenst.http.post(url).json(&json!({ "lines": lines }));
    assert_eq!(elevenst.ask(request).await.0, 409);
    assert_eq!(stat("restartdisplay").await, "200");
    elevenst.order(1).await;
}

// Around the calls

#[tokio::test]
async fn a_wrong_key_and_maintenance_are_told_with_a_200() {
    let elevenst = ElevenSt::start().await;
    let paths = [
        (format!("ordservices/complete/{WINDOW}"), "-1"),
        ("ordservices/reqpackaging/1/1/N/null/1".to_owned(), "-1"),
        (
            "prodmarketservice/prodmarket/stck/9100000001".to_owned(),
            "500",
        ),
    ];
    for (path, code) in &paths {
        let url = format!("{}/rest/{path}", elevenst.marketplaces.elevenst());
        let wrong = elevenst.http.get(url).header("openapikey", "wrong");
        assert_eq!(read(wrong).await.code(), *code, "{path}");
    }
    elevenst
        .control("settings", json!({ "maintenance": true }))
        .await;
    for (path, _) in &paths {
        assert_eq!(elevenst.get(path).await.code(), "-1000", "{path}");
    }
    let requests = elevenst.show("requests").await;
    let headers = requests["requests"][0]["headers"].to_string();
    assert!(headers.contains(r#"["openapikey","***"]"#), "{headers}");
}

#[tokio::test]
async fn a_rate_limits_only_when_it_is_asked_for() {
    let elevenst = ElevenSt::start().await;
    elevenst
        .control("settings", json!({ "requestsPerSecond": 2 }))
        .await;
    let path = format!("ordservices/complete/{WINDOW}");
    let status = async || {
        let request = elevenst.request(Method::GET, &path);
        request.send().await.unwrap().status().as_u16()
    };
    // The clock stands still, so the second does not pass.
    assert_eq!(
        [status().await, status().await, status().await],
        [200, 200, 429]
    );
    elevenst.advance(1).await;
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn a_confirmation_whose_answer_is_lost_was_made() {
    let elevenst = ElevenSt::start().await;
    let (order, delivery) = elevenst.order(1).await;
    let fault = json!({ "on": "reqpackaging", "kind": "close_after_commit", "orderId": order });
    elevenst
        .control("faults", json!({ "faults": [fault] }))
        .await;

    let path = format!("ordservices/reqpackaging/{order}/1/N/null/{delivery}");
    let lost = elevenst.request(Method::GET, &path).send();
    assert!(
        timeout(Duration::from_secs(20), lost)
            .await
            .unwrap()
            .is_err()
    );
    assert_eq!(elevenst.confirm(&order, &delivery).await.code(), "-1");
    assert_eq!(elevenst.numbers("ordservices/packaging").await, [order]);
}

#[tokio::test]
async fn a_sale_right_before_a_stock_write_is_overwritten() {
    let elevenst = ElevenSt::start().await;
    let order = json!({ "lines": [{ "optionId": "44000000001", "quantity": 2 }] });
    let fault = json!({ "on": "stockqty", "kind": "order_before", "order": order });
    elevenst
        .control("faults", json!({ "faults": [fault] }))
        .await;
    let body = stock_body("44000000001", "10");
    let reply = elevenst
        .put("prodservices/stockqty/44000000001", body)
        .await;

    assert_eq!(reply.code(), "200");
    assert_eq!(elevenst.units("44000000001").await, 10);
    assert_eq!(elevenst.numbers("ordservices/complete").await.len(), 1);
    let requests = elevenst.show("requests").await;
    assert_eq!(
        requests["requests"][0]["stock"],
        json!([{ "item": "44000000001", "from": 8, "to": 10 }])
    );
}
