//! Coupang over real HTTP, as Onepool's adapter uses it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

mod wing;

use reqwest::Method;
use serde_json::{Value, json};

use crate::wing::{ITEM, Reply, SIGNED_DATE, Wing, authorization, item, reply, text, vendor};

const DAY: &str = "createdAtFrom=2026-01-01%2B09:00&createdAtTo=2026-01-01%2B09:00";

impl Wing {
    async fn list(&self, query: &str) -> Reply {
        self.get(&format!("{}/ordersheets", vendor("v5")), query)
            .await
    }

    async fn with_status(&self, status: &str) -> Vec<Value> {
        let (code, body) = self.list(&format!("{DAY}&status={status}")).await;
        assert_eq!(code, 200, "{body}");
        body["data"].as_array().unwrap().clone()
    }

    async fn acknowledge(&self, boxes: &[u64]) -> Reply {
        let path = format!("{}/ordersheets/acknowledgement", vendor("v4"));
        let body = json!({ "vendorId": "A00012345", "shipmentBoxIds": boxes });
        self.send(Method::PATCH, &path, &body).await
    }

    async fn returns(&self, filter: &str) -> Vec<Value> {
        let query = format!("createdAtFrom=2026-01-01&createdAtTo=2026-01-01&{filter}");
        let (code, body) = self
            .get(&format!("{}/returnRequests", vendor("v6")), &query)
            .await;
        assert_eq!(code, 200, "{body}");
        body["data"].as_array().unwrap().clone()
    }

    async fn buyer_cancels(&self, order: &Value, body: Value) -> Reply {
        let order = text(&order["orderId"]);
        self.try_control(&format!("orders/{order}/cancel"), body)
            .await
    }

    async fn seller_cancels(&self, order: &Value, units: u64) -> Reply {
        let order = text(&order["orderId"]);
        let path = format!("{}/orders/{order}/cancel", vendor("v5"));
        let body = json!({
            "orderId": order.parse::<u64>().unwrap(),
            "vendorItemIds": [ITEM.parse::<u64>().unwrap()],
            "receiptCounts": [units],
            "bigCancelCode": "CANERR",
            "middleCancelCode": "CCTTER",
            "vendorId": "A00012345",
            "userId": "wing-user",
        });
        self.send(Method::POST, &path, &body).await
    }
}

fn box_of(order: &Value) -> u64 {
    text(&order["lines"][0]["shipmentBoxId"]).parse().unwrap()
}

/// The three documented signatures, made elsewhere.
#[tokio::test]
async fn the_worked_signatures_are_accepted() {
    let wing = Wing::start().await;
    let vectors = [
        (
            Method::GET,
            format!("{}/ordersheets", vendor("v5")),
            "createdAtFrom=2026-01-01T09:00%2B09:00&createdAtTo=2026-01-01T09:10%2B09:00\
             &searchType=timeFrame&status=ACCEPT",
            "8af04de0def41f98111dbc071a496cdba33b6a58cc470316991633da5e361ef9",
        ),
        (
            Method::PUT,
            item("quantities/7"),
            "",
            "fcda97e67814507ac87f6228e8e4d2b404318139a88713487e64711d1e7b67a4",
        ),
        (
            Method::PUT,
            item("prices/12900"),
            "forceSalePriceUpdate=false",
            "6ddf1d1b50cced1ab4505cc81fe6622c954dc6316f37a84615cffa66710d466c",
        ),
    ];
    for (method, path, query, signature) in vectors {
        let header = authorization(SIGNED_DATE, method.as_str(), &path, query);
        assert!(
            header.ends_with(&format!("signature={signature}")),
            "{path}"
        );
        let (status, body) = reply(wing.signed(method, &path, query)).await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(wing.stock().await, 7);
}

#[tokio::test]
async fn a_signature_of_something_else_is_refused() {
    let wing = Wing::start().await;
    let path = item("quantities/7");
    let plain = |header: String| {
        wing.http
            .put(wing.url(&path))
            .header("Authorization", header)
    };
    let four_digits = authorization("20260101T000000Z", "PUT", &path, "");
    let late = authorization("260101T000501Z", "PUT", &path, "");
    let in_time = authorization("251231T235500Z", "PUT", &path, "");
    let other_method = authorization(SIGNED_DATE, "GET", &path, "");
    let question_mark = authorization(SIGNED_DATE, "PUT", &path, "?");
    let other_key = authorization(SIGNED_DATE, "PUT", &path, "").replace("demo-access-key", "x");
    for (header, message) in [
        (four_digits, "HMAC format is invalid."),
        ("Bearer token".to_owned(), "HMAC format is invalid."),
        (late, "Specified signature is expired."),
        (other_method, "Invalid signature."),
        (question_mark, "Invalid signature."),
        (other_key, "Invalid signature."),
    ] {
        let (status, body) = reply(plain(header)).await;
        assert_eq!((status, &body["message"]), (401, &json!(message)));
        assert_eq!(body["code"], "ERROR");
        assert!(body["transactionId"].is_string());
    }
    assert_eq!(reply(plain(in_time.clone())).await.0, 200);

    wing.control("settings", json!({ "signatureWindowS": 60 }))
        .await;
    assert_eq!(reply(plain(in_time)).await.0, 401);
}

#[tokio::test]
async fn the_query_is_signed_as_it_was_sent() {
    let wing = Wing::start().await;
    let path = format!("{}/ordersheets", vendor("v5"));
    let sent = format!("{DAY}&status=ACCEPT");
    let sorted = "createdAtTo=2026-01-01%2B09:00&createdAtFrom=2026-01-01%2B09:00&status=ACCEPT";
    let decoded = sent.replace("%2B", "+");
    for other in [sorted, decoded.as_str()] {
        let request = wing.http.get(wing.url(&format!("{path}?{sent}"))).header(
            "Authorization",
            authorization(SIGNED_DATE, "GET", &path, other),
        );
        assert_eq!(reply(request).await.1["message"], "Invalid signature.");
    }
}

#[tokio::test]
async fn the_gateway_knows_its_paths_and_its_vendor() {
    let wing = Wing::start().await;
    let (status, body) = wing.get("/v1/ordersheets", "").await;
    assert_eq!(
        (status, &body["message"]),
        (400, &json!("Provider id is not specified correctly."))
    );
    let (status, body) = wing.get(&item("quantities/7"), "").await;
    assert_eq!(
        (status, &body["code"]),
        (412, &json!("PRECONDITION_FAILED"))
    );
    assert!(text(&body["message"]).contains("PUT"));

    let other = vendor("v5").replace("A00012345", "A00099999");
    let (status, body) = wing
        .get(
            &format!("{other}/ordersheets"),
            &format!("{DAY}&status=ACCEPT"),
        )
        .await;
    assert_eq!(
        (status, &body["message"]),
        (400, &json!("Invalid vendor ID"))
    );

    wing.control("settings", json!({ "ipBlocked": true })).await;
    let (status, body) = wing.set_quantity(7).await;
    assert_eq!(status, 403);
    assert!(text(&body["message"]).contains("[FORBIDDEN] Not allowed IP"));
    wing.control(
        "settings",
        json!({ "ipBlocked": false, "overloaded": true }),
    )
    .await;
    assert_eq!(wing.set_quantity(7).await.0, 504);
    assert_eq!(wing.stock().await, 10);
}

#[tokio::test]
async fn ten_calls_in_a_second_are_blocked_for_a_while() {
    let wing = Wing::start().await;
    wing.control("settings", json!({ "rate": 10, "blockS": 60 }))
        .await;
    for call in 1..=9 {
        let answer = wing
            .signed(Method::GET, &item("inventories"), "")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers().contains_key("x-cag-warnings"), call == 9);
    }
    let (status, body) = wing.set_quantity(7).await;
    assert_eq!(
        (status, &body["message"]),
        (429, &json!("Too Many Requests"))
    );

    // The rate has dropped, the block has not.
    wing.control("clock", json!({ "advance_s": 59 })).await;
    assert_eq!(wing.set_quantity(7).await.0, 429);
    assert_eq!(wing.stock().await, 10);
    wing.control("clock", json!({ "advance_s": 1 })).await;
    assert_eq!(wing.set_quantity(7).await.0, 200);
}

#[tokio::test]
async fn the_edge_turns_a_burst_of_errors_away_in_html() {
    let wing = Wing::start().await;
    wing.control("settings", json!({ "errorBurst": 5, "errorBlockS": 30 }))
        .await;
    for _ in 0..5 {
        assert_eq!(wing.put(&item("prices/12905"), "").await.0, 400);
    }
    let denied = wing
        .signed(Method::GET, &item("inventories"), "")
        .send()
        .await
        .unwrap();
    assert_eq!(denied.status(), 403);
    assert_eq!(denied.headers()["content-type"], "text/html");
    let body = denied.text().await.unwrap();
    assert!(body.contains("Access Denied") && body.contains("Reference #"));

    wing.control("actions/lift-blocks", json!({})).await;
    assert_eq!(wing.get(&item("inventories"), "").await.0, 200);
}

#[tokio::test]
async fn a_sheet_shows_what_was_ordered() {
    let wing = Wing::start().await;
    let order = wing.order(2).await;
    assert_eq!(wing.stock().await, 8);
    let (_, body) = wing.list(&format!("{DAY}&status=ACCEPT")).await;
    // A number here; the acknowledgement has a text.
    assert_eq!(body["code"], 200);
    assert_eq!(body["nextToken"], "");
    let sheet = &body["data"][0];
    assert_eq!(sheet["shipmentBoxId"], box_of(&order));
    assert!(
        box_of(&order) > 1 << 53,
        "a float would lose its last digits"
    );
    assert_eq!(sheet["orderedAt"], "2026-01-01T09:00:00.000000+09:00");
    assert_eq!(sheet["status"], "ACCEPT");
    let line = &sheet["orderItems"][0];
    assert_eq!(line["vendorItemId"], ITEM.parse::<u64>().unwrap());
    assert_eq!(line["externalVendorSkuCode"], "MUG-W");
    assert_eq!(line["shippingCount"], 2);
    let won = json!({ "currencyCode": "KRW", "units": 25_800, "nanos": 0 });
    assert_eq!(line["orderPrice"], won);

    let one = format!("{}/ordersheets/{}", vendor("v5"), box_of(&order));
    assert_eq!(wing.get(&one, "").await.1["data"], *sheet);
    let all = format!("{}/{}/ordersheets", vendor("v5"), text(&order["orderId"]));
    assert_eq!(wing.get(&all, "").await.1["data"], json!([sheet]));
}

#[tokio::test]
async fn days_come_in_pages_and_minutes_whole() {
    let wing = Wing::start().await;
    wing.set_quantity(200).await;
    let lines = json!([{ "optionId": ITEM, "quantity": 1 }]);
    wing.control("orders", json!({ "lines": lines, "count": 120 }))
        .await;

    let mut sizes = Vec::new();
    let mut boxes = Vec::new();
    let mut token = String::new();
    loop {
        let (_, body) = wing
            .list(&format!("{DAY}&status=ACCEPT&nextToken={token}"))
            .await;
        let page = body["data"].as_array().unwrap();
        sizes.push(page.len());
        boxes.extend(
            page.iter()
                .map(|sheet| sheet["shipmentBoxId"].as_u64().unwrap()),
        );
        token = text(&body["nextToken"]);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [50, 50, 20]);
    boxes.dedup();
    assert_eq!(boxes.len(), 120);

    let minutes = "createdAtFrom=2026-01-01T09:00%2B09:00&createdAtTo=2026-01-01T09:10%2B09:00\
                   &searchType=timeFrame&status=ACCEPT";
    let (_, body) = wing.list(minutes).await;
    assert_eq!(body["data"].as_array().unwrap().len(), 120);
    let (_, body) = wing
        .list(&minutes.replace("T09:0", "T08:0").replace("T09:1", "T08:1"))
        .await;
    assert_eq!(body["data"], json!([]));
}

#[tokio::test]
async fn a_list_that_asks_wrongly_learns_why() {
    let wing = Wing::start().await;
    let long = "createdAtFrom=2026-01-01%2B09:00&createdAtTo=2026-02-01%2B09:00&status=ACCEPT";
    let wide = "createdAtFrom=2026-01-01T09:00%2B09:00&createdAtTo=2026-01-02T08:00%2B09:00\
                &searchType=timeFrame&status=ACCEPT";
    let without_zone = "createdAtFrom=2026-01-01&createdAtTo=2026-01-01&status=ACCEPT";
    let plus = format!("{DAY}&status=ACCEPT").replace("%2B", "+");
    for (query, message) in [
        (DAY.to_owned(), "required parameters are missing"),
        (
            long.to_owned(),
            "endTime-startTime range should less than31.",
        ),
        (wide.to_owned(), "range should less than 1 day"),
        (
            without_zone.to_owned(),
            "createdAtFrom is not of the documented form",
        ),
        (plus, "createdAtFrom is not of the documented form"),
        (
            format!("{DAY}&status=ACCEPT&maxPerPage=51"),
            "maxPerPage must be 1 to 50",
        ),
        (format!("{DAY}&status=PAYED"), "Invalid status"),
    ] {
        let (status, body) = wing.list(&query).await;
        assert_eq!(
            (status, &body["message"]),
            (400, &json!(message)),
            "{query}"
        );
    }
    // Both days count, so this is 31 of them.
    let longest = long.replace("02-01", "01-31");
    assert_eq!(wing.list(&longest).await.0, 200);
}

#[tokio::test]
async fn an_acknowledgement_is_partly_done_and_has_no_way_back() {
    let wing = Wing::start().await;
    let first = wing.order(1).await;
    let second = wing.order(1).await;
    let (status, body) = wing.acknowledge(&[box_of(&first)]).await;
    assert_eq!((status, &body["code"]), (200, &json!("200")));
    assert_eq!(body["data"]["responseCode"], 0);

    let (_, body) = wing
        .acknowledge(&[box_of(&first), box_of(&second), 1])
        .await;
    assert_eq!(body["data"]["responseCode"], 1);
    let results: Vec<_> = body["data"]["responseList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            (
                result["succeed"].as_bool().unwrap(),
                text(&result["resultCode"]),
            )
        })
        .collect();
    assert_eq!(
        results,
        [
            (false, "INVALID_STATUS".to_owned()),
            (true, "OK".to_owned()),
            (false, "NOT_FOUND_SHIPMENT_BOX".to_owned()),
        ]
    );
    let (_, body) = wing.acknowledge(&[box_of(&first)]).await;
    assert_eq!(body["data"]["responseCode"], 99);
    assert!(wing.with_status("ACCEPT").await.is_empty());
    assert_eq!(wing.with_status("INSTRUCT").await.len(), 2);

    let (status, _) = wing.acknowledge(&[1; 51]).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_sheet_moved_by_hand_leaves_the_list() {
    let wing = Wing::start().await;
    let order = wing.order(1).await;
    let path = format!("orders/{}/state", text(&order["orderId"]));
    wing.control(&path, json!({ "state": "INSTRUCT" })).await;
    assert!(wing.with_status("ACCEPT").await.is_empty());
    assert_eq!(wing.with_status("INSTRUCT").await.len(), 1);
    let (status, _) = wing.try_control(&path, json!({ "state": "ACCEPT" })).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn what_is_cancelled_before_the_acknowledgement_vanishes() {
    let wing = Wing::start().await;
    let order = wing.order(3).await;
    let (status, _) = wing.buyer_cancels(&order, json!({ "quantity": 1 })).await;
    assert_eq!(status, 200);
    let sheets = wing.with_status("ACCEPT").await;
    assert_eq!(sheets[0]["orderItems"][0]["shippingCount"], 3);
    assert_eq!(sheets[0]["orderItems"][0]["cancelCount"], 1);
    assert_eq!(wing.stock().await, 8);

    wing.buyer_cancels(&order, json!({})).await;
    assert!(wing.with_status("ACCEPT").await.is_empty());
    let one = format!("{}/ordersheets/{}", vendor("v5"), box_of(&order));
    assert_eq!(wing.get(&one, "").await.0, 400);
    let receipts = wing.returns("cancelType=CANCEL").await;
    let counts: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt["returnItems"][0]["cancelCount"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [1, 2]);
    assert_eq!(
        receipts[0]["returnItems"][0]["shipmentBoxId"],
        box_of(&order)
    );
    assert_eq!(receipts[0]["receiptType"], "CANCEL");
    assert!(wing.returns("status=RU").await.is_empty());
    assert_eq!(wing.stock().await, 10);
}

#[tokio::test]
async fn a_stop_is_held_until_the_seller_decides() {
    let wing = Wing::start().await;
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let order = wing.order(3).await;
        wing.acknowledge(&[box_of(&order)]).await;
        wing.buyer_cancels(&order, json!({ "quantity": 2 })).await;
    }
    for sheet in wing.with_status("INSTRUCT").await {
        assert_eq!(sheet["orderItems"][0]["holdCountForCancel"], 2);
        assert_eq!(sheet["orderItems"][0]["cancelCount"], 0);
    }
    for receipt in wing.returns("status=RU").await {
        assert_eq!(receipt["receiptStatus"], "RELEASE_STOP_UNCHECKED");
        receipts.push(receipt["receiptId"].as_u64().unwrap());
    }
    assert!(wing.returns("cancelType=CANCEL").await.is_empty());
    assert_eq!(wing.stock().await, 4);

    let decide = |id: u64, what: &str, more: Value| {
        let path = format!("{}/returnRequests/{id}/{what}", vendor("v4"));
        let mut body = json!({ "vendorId": "A00012345", "receiptId": id });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let request = wing.signed(Method::PUT, &path, "").json(&body);
        reply(request)
    };
    let (status, _) = decide(receipts[0], "stoppedShipment", json!({ "cancelCount": 1 })).await;
    assert_eq!(status, 400);
    let (status, body) = decide(receipts[0], "stoppedShipment", json!({ "cancelCount": 2 })).await;
    assert_eq!(
        (status, &body["data"]["resultCode"]),
        (200, &json!("SUCCESS"))
    );
    let again = decide(receipts[0], "stoppedShipment", json!({ "cancelCount": 2 })).await;
    assert_eq!(again.0, 400);
    let sheets = wing.with_status("INSTRUCT").await;
    assert_eq!(sheets[0]["orderItems"][0]["holdCountForCancel"], 0);
    assert_eq!(sheets[0]["orderItems"][0]["cancelCount"], 2);
    assert_eq!(wing.stock().await, 6);

    let parcel = json!({ "deliveryCompanyCode": "CJGLS", "invoiceNumber": "1" });
    assert_eq!(
        decide(receipts[1], "completedShipment", parcel).await.0,
        200
    );
    let sheets = wing.with_status("DEPARTURE").await;
    assert_eq!(sheets[0]["orderItems"][0]["cancelCount"], 0);
    assert_eq!(wing.returns("status=UC").await.len(), 1);
    assert_eq!(wing.stock().await, 6);
}

#[tokio::test]
async fn a_cancellation_by_the_seller_depends_on_the_state_and_costs_score() {
    let wing = Wing::start().await;
    let accepted = wing.order(1).await;
    let instructed = wing.order(2).await;
    wing.acknowledge(&[box_of(&instructed)]).await;

    let (_, body) = wing.seller_cancels(&accepted, 1).await;
    assert_eq!(body["code"], "SUCCESS");
    assert!(wing.with_status("ACCEPT").await.is_empty());
    assert_eq!(wing.returns("cancelType=CANCEL").await.len(), 1);

    let (_, body) = wing.seller_cancels(&instructed, 1).await;
    assert_eq!(body["code"], "SUCCESS");
    let sheets = wing.with_status("INSTRUCT").await;
    assert_eq!(sheets[0]["orderItems"][0]["holdCountForCancel"], 1);

    let (_, body) = wing.seller_cancels(&accepted, 1).await;
    assert_eq!(body["code"], "FAIL");
    assert_eq!(
        body["data"]["failedVendorItemIds"],
        json!([ITEM.parse::<u64>().unwrap()])
    );
    let score = wing.control("actions/score", json!({})).await;
    assert_eq!(score["sellerCancels"], 2);
}

#[tokio::test]
async fn an_unpaid_order_is_in_no_list() {
    let wing = Wing::start().await;
    let lines = json!([{ "optionId": ITEM, "quantity": 1 }]);
    let order = wing
        .control("orders", json!({ "lines": lines, "paid": false }))
        .await;
    assert!(wing.with_status("ACCEPT").await.is_empty());
    let path = format!("orders/{}/state", text(&order["orderId"]));
    wing.control(&path, json!({ "state": "ACCEPT" })).await;
    assert_eq!(wing.with_status("ACCEPT").await.len(), 1);
}

#[tokio::test]
async fn an_order_can_come_in_several_boxes() {
    let wing = Wing::start().await;
    let plate = json!({ "name": "Plate", "price": 9_900, "stock": 5 });
    let plate = wing.control("items", plate).await;
    wing.control("settings", json!({ "boxPerItem": true }))
        .await;
    let lines = json!([
        { "optionId": ITEM, "quantity": 1 },
        { "optionId": plate["options"][0]["optionId"], "quantity": 2 },
        { "optionId": ITEM, "quantity": 2 },
    ]);
    let order = wing.control("orders", json!({ "lines": lines })).await;
    let lines = order["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "a box has an option once");
    assert_ne!(lines[0]["shipmentBoxId"], lines[1]["shipmentBoxId"]);
    assert_eq!(lines[0]["quantity"], 3);
}

#[tokio::test]
async fn stock_is_set_absolutely_and_read_back() {
    let wing = Wing::start().await;
    let (status, body) = wing.set_quantity(0).await;
    assert_eq!((status, &body["code"]), (200, &json!("SUCCESS")));
    let (_, body) = wing.get(&item("inventories"), "").await;
    assert_eq!(
        body["data"],
        json!({
            "sellerItemId": 3_000_000_001_u64, "amountInStock": 0, "salePrice": 12_900, "onSale": true,
        })
    );
    for path in [
        item("quantities/-1"),
        item("quantities/100000"),
        item("quantities/7").replace(ITEM, "42"),
    ] {
        let (status, body) = wing.put(&path, "").await;
        assert_eq!((status, &body["code"]), (400, &json!("ERROR")), "{path}");
    }
    let (_, body) = wing
        .put(&item("quantities/7").replace(ITEM, "42"), "")
        .await;
    assert_eq!(body["message"], "vendoritemid 42 not found");
    assert_eq!(wing.stock().await, 0);
}

#[tokio::test]
async fn prices_go_by_ten_won_and_not_too_far_at_a_time() {
    let wing = Wing::start().await;
    for (price, query, status) in [
        (12_905, "", 400),
        (12_905, "forceSalePriceUpdate=true", 400),
        (6_440, "", 400),
        (25_810, "", 400),
        (25_800, "", 200),
        (12_900, "forceSalePriceUpdate=false", 200),
        (6_440, "forceSalePriceUpdate=true", 200),
    ] {
        let (code, body) = wing.put(&item(&format!("prices/{price}")), query).await;
        assert_eq!(code, status, "{price}: {body}");
    }
    let (_, body) = wing.put(&item("prices/100"), "").await;
    assert!(text(&body["message"]).contains(ITEM));
    let (_, body) = wing.get(&item("inventories"), "").await;
    assert_eq!(body["data"]["salePrice"], 6_440);
}

#[tokio::test]
async fn what_is_not_on_sale_cannot_be_bought() {
    let wing = Wing::start().await;
    assert_eq!(wing.put(&item("sales/stop"), "").await.0, 200);
    let lines = json!([{ "optionId": ITEM, "quantity": 1 }]);
    let (status, _) = wing.try_control("orders", json!({ "lines": lines })).await;
    assert_eq!(status, 409);
    let (_, body) = wing.get(&item("inventories"), "").await;
    assert_eq!(body["data"]["onSale"], false);
    assert_eq!(wing.put(&item("sales/resume"), "").await.0, 200);
    wing.order(1).await;
    assert_eq!(wing.stock().await, 9);
}

#[tokio::test]
async fn an_invoice_sends_a_box_in_which_nothing_is_held() {
    let wing = Wing::start().await;
    let order = wing.order(1).await;
    let upload = || {
        let path = format!("{}/orders/invoices", vendor("v4"));
        let parcel = json!({
            "shipmentBoxId": box_of(&order), "deliveryCompanyCode": "CJGLS", "invoiceNumber": "1",
        });
        let body = json!({ "vendorId": "A00012345", "orderSheetInvoiceApplyDtos": [parcel] });
        reply(wing.signed(Method::POST, &path, "").json(&body))
    };
    assert_eq!(upload().await.1["data"]["responseCode"], 99);
    wing.acknowledge(&[box_of(&order)]).await;
    assert_eq!(upload().await.1["data"]["responseCode"], 0);
    assert_eq!(wing.with_status("DEPARTURE").await[0]["invoiceNumber"], "1");
    assert_eq!(wing.buyer_cancels(&order, json!({})).await.0, 409);
}

#[tokio::test]
async fn nonsense_is_refused_and_not_choked_on() {
    let wing = Wing::start().await;
    let v4 = vendor("v4");
    let calls = [
        (Method::PUT, format!("{v4}/ordersheets/acknowledgement")),
        (
            Method::PUT,
            format!("{v4}/returnRequests/1/stoppedShipment"),
        ),
        (
            Method::PUT,
            format!("{v4}/returnRequests/1/completedShipment"),
        ),
        (Method::POST, format!("{v4}/orders/invoices")),
        (Method::POST, format!("{}/orders/1/cancel", vendor("v5"))),
    ];
    for (method, path) in calls {
        for body in [
            json!([]),
            json!("x"),
            json!({ "vendorId": 1 }),
            json!({ "vendorId": "A" }),
        ] {
            let (status, _) = wing.send(method.clone(), &path, &body).await;
            assert_eq!(status, 400, "{path}: {body}");
        }
    }
    let price = item(&format!("prices/{}", u64::MAX - 5));
    let (status, _) = wing.put(&price, "forceSalePriceUpdate=true").await;
    assert_eq!(status, 400);
    let last = "createdAtFrom=9999-12-31%2B09:00&createdAtTo=9999-12-31%2B09:00&status=ACCEPT";
    assert_eq!(wing.list(last).await.1["data"], json!([]));
    wing.control("settings", json!({ "blockS": u64::MAX, "rate": u32::MAX }))
        .await;
    assert_eq!(wing.set_quantity(1).await.0, 200);
}
