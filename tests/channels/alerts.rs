//! What a person is told, and when: every alert arrives at a webhook, in Korean, and says what to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    http::{Method, StatusCode},
    routing::post,
};
use onepool::{
    channel::{
        alert::{Alert, Alerts},
        wake::SyncWake,
    },
    clock::{self, Timestamp},
    config::Secret,
    keys::Keys,
    stock::Source,
};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{mall::Mall, trouble::Away};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A webhook, and what arrives there.
pub(crate) struct Pager {
    url: Secret,
    told: mpsc::UnboundedReceiver<String>,
}

impl Pager {
    /// Hears what the pulls of a mall tell.
    pub(crate) async fn of_pulls(mall: &mut Mall) -> Self {
        let pager = Self::start().await;
        mall.pull.alerts = pager.alerts(mall);
        pager
    }

    /// Hears what its pushes tell.
    async fn of_pushes(mall: &mut Mall) -> Self {
        let pager = Self::start().await;
        mall.push.alerts = pager.alerts(mall);
        pager
    }

    /// Hears what both tell.
    pub(crate) async fn of(mall: &mut Mall) -> Self {
        let pager = Self::start().await;
        (mall.pull.alerts, mall.push.alerts) = (pager.alerts(mall), pager.alerts(mall));
        pager
    }

    async fn start() -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let take = move |Json(alert): Json<Value>| async move {
            let text = alert["text"].as_str().expect("a text").to_owned();
            sender.send(text).expect("somebody listens");
        };
        let app = Router::new().route("/", post(take));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            url: Secret::new(url),
            told,
        }
    }

    fn alerts(&self, mall: &Mall) -> Alerts {
        let redis = mall.shop.redis.connection();
        Alerts::new(redis, Keys::new("demo"), Some(self.url.clone()))
    }

    /// What has arrived since the last time: an alert is told when it has.
    pub(crate) fn told(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(text) = self.told.try_recv() {
            texts.push(text);
        }
        texts
    }

    /// The next alert, as soon as it arrives.
    pub(crate) async fn next(&mut self) -> String {
        self.told.recv().await.expect("somebody tells")
    }

    /// The one alert that has arrived since the last time.
    #[track_caller]
    fn one(&mut self) -> String {
        let mut texts = self.told();
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.remove(0)
    }
}

fn shared() -> Value {
    json!({ "mode": "shared" })
}

#[tokio::test]
async fn what_the_webhook_did_not_take_is_told_the_next_time_and_nobody_waits_for_it_meanwhile() {
    let mall = Mall::empty().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let take = async move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let app = Router::new().route("/", post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let redis = mall.shop.redis.connection();
    let alerts = Alerts::new(redis, Keys::new("demo"), Some(Secret::new(url)));
    let tell = async |product: &str| {
        let (product, cause) = (product.to_owned(), "no".to_owned());
        let alert = Alert::Refused { product, cause };
        alerts.tell("coupang", &alert).await;
        asked.load(Ordering::SeqCst)
    };
    assert_eq!(tell("mug").await, 1, "it fails");
    assert_eq!(tell("cup").await, 1, "it failed a moment ago");
    clock::put_ahead(MINUTE);
    assert_eq!(tell("mug").await, 2, "it was not told yet");
    assert_eq!(tell("mug").await, 2, "it was told");
}

/// For how many seconds the alerts that were told are not told again.
async fn quiet(mall: &Mall) -> Vec<u64> {
    let mut redis = mall.shop.redis.plain().await;
    let keys: Vec<String> = redis.keys("{demo}:alerted:*").await.expect("answers");
    let mut left = Vec::new();
    for key in keys {
        left.push(redis.ttl(key).await.expect("answers"));
    }
    left
}

/// Coupang's key was issued so long ago.
fn key_of(mall: &mut Mall, age: Duration) -> Timestamp {
    let day = clock::now().before(age).to_string()[..10].to_owned();
    let mut credentials = mall.stall("coupang").credentials();
    credentials.push(("key_issued_on", &day));
    mall.reopen("coupang", &credentials);
    Timestamp::parse(&format!("{day}T00:00:00+09:00")).expect("a day")
}

#[track_caller]
fn is_said(text: &str, begins: &str, ends: &str) {
    assert!(text.starts_with(begins) && text.ends_with(ends), "{text}");
}

#[tokio::test]
async fn what_was_sold_and_is_not_there_is_told_with_its_order() {
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    for channel in ["smartstore", "coupang"] {
        mall.buy(channel, 4).await.expect("both still show five");
        mall.pass(MINUTE).await;
        mall.pull(channel).await;
    }
    let line = mall.shop.dynamodb.lines("coupang").remove(0);
    assert_eq!(
        pager.one(),
        format!(
            "[coupang] 초과 판매: 주문 {}, 상품 mug, 부족 수량 3개. 재고를 추가하거나, 채널에서 해당 주문을 품절 취소해 주세요.",
            line.order_no
        )
    );
}

#[tokio::test]
async fn credentials_that_are_refused_are_told_by_whoever_meets_it() {
    let asks = "채널 관리자 화면에서 API 키와 허용 IP를 확인해 주세요. 새 키는 Secrets Manager에 새 이름으로 저장하고 스택의 SecretName을 그 이름으로 바꿔 배포해 주세요(값만 바꾸면 반영되지 않습니다). 그 전까지 재고와 주문이 연동되지 않습니다.";
    let begins = "[elevenst] 인증이 거부되었습니다 (";
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    mall.reopen("elevenst", &mall.stall("elevenst").revoked());
    mall.pull("elevenst").await;
    is_said(&pager.one(), begins, asks);

    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pushes(&mut mall).await;
    mall.reopen("elevenst", &mall.stall("elevenst").revoked());
    mall.stock(1).await;
    mall.deliver().await;
    is_said(&pager.one(), begins, asks);
}

#[tokio::test]
async fn a_key_that_runs_out_is_told_once_a_day_with_the_days_that_are_left() {
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    key_of(&mut mall, DAY * 160);
    mall.pull("coupang").await;
    assert_eq!(pager.told(), [""; 0], "there are twenty days");
    let issued_at = key_of(&mut mall, DAY * 175);
    let days = (issued_at + DAY * 180).since(clock::now()).as_secs() / 86_400;
    for _ in 0..2 {
        mall.pull("coupang").await;
    }
    assert_eq!(
        pager.one(),
        format!(
            "[coupang] API 키가 {days}일 뒤 만료됩니다. 새 키를 발급받아 Secrets Manager에 새 이름으로 저장하고, 스택의 SecretName을 그 이름으로 바꿔 배포해 주세요(값만 바꾸면 반영되지 않습니다)."
        )
    );
    let [seconds] = quiet(&mall).await[..] else {
        panic!("one alert");
    };
    assert!((86_000..=86_400).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_channel_that_is_away_is_told_by_whoever_meets_it() {
    let asks =
        "자동으로 다시 시도합니다. 길어지면 채널의 공지를 확인하고, 필요하면 판매를 중지해 주세요.";
    let begins = "[coupang] 채널이 응답하지 않습니다 (";
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    mall.lose("coupang", Away::Down).await;
    mall.pull("coupang").await;
    assert_eq!(pager.told(), [""; 0], "once may be chance");
    for _ in 0..3 {
        mall.pass(MINUTE).await;
        mall.pull("coupang").await;
    }
    is_said(&pager.one(), begins, asks);
    let [seconds] = quiet(&mall).await[..] else {
        panic!("one alert");
    };
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");

    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pushes(&mut mall).await;
    mall.lose("coupang", Away::Down).await;
    mall.stock(1).await;
    for _ in 0..4 {
        mall.deliver().await;
        mall.pass(MINUTE).await;
        mall.push.handle(SyncWake::Tick).await.expect("ticks");
    }
    mall.deliver().await;
    is_said(&pager.one(), begins, asks);
}

#[tokio::test]
async fn a_channel_that_refuses_to_be_pulled_is_told_at_once() {
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    let gone = json!({ "on": "complete", "kind": "garbage_before_commit", "status": 404 });
    mall.fault("elevenst", gone).await;
    mall.pull("elevenst").await;
    let text = pager.one();
    assert!(text.starts_with("[elevenst] 채널이 응답하지 않습니다 (") && text.contains("404"));
}

#[tokio::test]
async fn a_listing_that_is_refused_is_told_with_what_to_check() {
    let mut mall = Mall::open(5, shared()).await;
    let mut pager = Pager::of_pushes(&mut mall).await;
    // 11st has no such stock number.
    let body = json!({
        "channel_product_id": "9100000001", "channel_option_id": "44000000009",
        "distribution": shared(), "price": 12_900, "price_policy": "list",
    });
    mall.admin(Method::PUT, "/products/mug/listings/elevenst", body)
        .await;
    mall.deliver().await;
    is_said(
        &pager.one(),
        "[elevenst] 상품 mug의 재고·가격을 채널이 거절했습니다 (",
        "상품 연결 정보(상품번호, 옵션번호)와 판매 상태를 확인한 뒤 다시 저장해 주세요.",
    );
}

#[tokio::test]
async fn an_order_that_waits_for_a_listing_is_told_and_comes_by_itself() {
    let mut mall = Mall::empty().await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    let product = json!({ "name": "머그", "list_price": 12_900 });
    mall.admin(Method::PUT, "/products/mug", product).await;
    mall.stock(10).await;
    mall.create_item("elevenst", 10).await;
    mall.buy("elevenst", 4).await.expect("it is there");
    mall.pass(MINUTE).await;
    for _ in 0..2 {
        mall.pull("elevenst").await;
    }
    assert_eq!(
        pager.one(),
        "[elevenst] 연결되지 않은 상품 9100000001 / 44000000001의 주문이 보관되었습니다. 상품 연결을 등록하면 다음 수집 때 자동으로 반영됩니다."
    );
    mall.list("elevenst", shared(), 12_900, "list").await;
    mall.pull("elevenst").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 6, "as was said");
}

#[tokio::test]
async fn an_order_that_nothing_becomes_of_is_told_as_such() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    mall.edit("coupang", 20_000).await;
    let mut order = mall.stall("coupang").order(6_000);
    let line = order["lines"][0].clone();
    order["lines"] = json!([line.clone(), line]);
    mall.does("coupang", "orders", order).await;
    mall.pass(MINUTE).await;
    for _ in 0..2 {
        mall.pull("coupang").await;
    }
    assert_eq!(
        pager.one(),
        "[coupang] 읽을 수 없는 주문이 보관되었습니다 (a line of absurdly many units). 자동으로 반영되지 않으니, 채널 관리자 화면에서 주문을 확인하고 재고를 직접 조정해 주세요."
    );
}

#[tokio::test]
async fn a_confirmation_that_is_refused_is_told_and_the_units_stay_sold() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    let body = json!({ "error": { "code": 422, "message": "not now" } });
    let refusal = json!({
        "on": "process_status", "kind": "garbage_before_commit", "status": 422,
        "contentType": "application/json", "body": body.to_string(),
    });
    mall.fault("ownstore", refusal).await;
    mall.buy("ownstore", 2).await.expect("it is there");
    mall.pass(MINUTE).await;
    mall.pull("ownstore").await;
    let line = mall.shop.dynamodb.lines("ownstore").remove(0);
    is_said(
        &pager.one(),
        &format!(
            "[ownstore] 주문 {}, 상품 mug의 발주 확인이 거절되었습니다 (",
            line.order_no
        ),
        "재고에는 반영되었지만 다시 시도하지 않으니, 채널 관리자 화면에서 주문 상태를 보고 직접 발주 확인하거나 취소해 주세요.",
    );
    assert_eq!(mall.unsold(&Source::Pool).await, 48);
}

#[tokio::test]
async fn a_price_that_cannot_be_raised_to_its_floor_is_told_with_both() {
    let mut mall = Mall::open(10, shared()).await;
    mall.list("coupang", shared(), 12_900, "lowest").await;
    mall.settle().await;
    let mut pager = Pager::of_pushes(&mut mall).await;
    let fails = json!({ "on": "price", "kind": "error_before_commit", "status": 500 });
    mall.fault("coupang", fails).await;
    let raised = json!({ "name": "머그", "list_price": 13_900 });
    mall.admin(Method::PUT, "/products/mug", raised).await;
    mall.deliver().await;
    assert_eq!(
        pager.one(),
        "[coupang] 상품 mug의 실제 판매가 12900원이 자사몰 정가 13900원보다 낮습니다. 판매자 부담 할인과 쿠폰을 확인해 주세요."
    );
}
