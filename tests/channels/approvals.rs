//! Buyers who ask to cancel what is not shipped: we agree, or a person hears of it; units go back when it is done.

use std::time::Duration;

use onepool::{channel::LineState, stock::Source};
use onepool_tests::CHANNELS;
use serde_json::json;

use crate::{alerts::Pager, mall::Mall};

/// Twenty mugs of which three are sold on a channel, confirmed, and asked back by their buyer. Returns the order.
async fn asked_back(channel: &str) -> (Mall, String) {
    let mall = Mall::open(20, json!({ "mode": "shared" })).await;
    let order = mall.buy(channel, 3).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    mall.pull(channel).await;
    assert_eq!(mall.unsold(&Source::Pool).await, 17, "{channel}");
    mall.pass(Duration::from_secs(60)).await;
    mall.does(channel, &format!("orders/{order}/cancel"), json!({}))
        .await;
    mall.pass(Duration::from_secs(60)).await;
    (mall, order)
}

#[tokio::test]
async fn what_a_buyer_asks_back_before_it_is_shipped_is_agreed_to_and_its_units_come_back() {
    for channel in CHANNELS {
        let (mall, _) = asked_back(channel).await;
        for _ in 0..2 {
            // One agrees, and one sees that it is done, if that was not the same.
            mall.pull(channel).await;
            mall.pass(Duration::from_secs(60)).await;
        }
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}");
        mall.settle().await;
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}: once");
        assert_eq!(
            mall.all_show().await,
            CHANNELS.map(|name| (name, 20)),
            "{channel}"
        );
    }
}

#[tokio::test]
async fn a_shop_that_decides_itself_is_told_and_nothing_is_agreed_to() {
    for channel in CHANNELS {
        let (mut mall, order) = asked_back(channel).await;
        let mut pager = Pager::of_pulls(&mut mall).await;
        mall.pull.approves_cancellations = false;
        for _ in 0..2 {
            mall.pull(channel).await;
            mall.pass(Duration::from_secs(60)).await;
        }
        let line = mall.shop.dynamodb.lines(channel).remove(0);
        let text = format!(
            "[{channel}] 취소 요청: 주문 {}, 상품 mug. 발송 전이면 채널에서 승인하고, 이미 발송했으면 송장을 등록해 주세요. 취소가 확정되면 재고는 자동으로 돌아옵니다.",
            line.order_no
        );
        assert_eq!(pager.told(), [text], "it is told once");
        assert_eq!(mall.unsold(&Source::Pool).await, 17, "{channel} {order}");
        let kept = mall.shop.catalog.unconfirmed(channel, 10).await;
        assert!(kept.expect("answers").is_empty(), "{channel}");
    }
}

#[tokio::test]
async fn an_agreement_that_fails_is_kept_in_mind_and_holds_up_nothing() {
    let (mall, _) = asked_back("smartstore").await;
    let rule = json!({ "on": "approve_cancel", "kind": "error_before_commit", "status": 503 });
    mall.does("smartstore", "faults", json!({ "faults": [rule] }))
        .await;
    mall.buy("smartstore", 1).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("smartstore").await;
    assert_eq!(
        mall.unsold(&Source::Pool).await,
        16,
        "what else was sold is imported"
    );
    let kept = mall.shop.catalog.unconfirmed("smartstore", 10).await;
    let kept = kept.expect("answers");
    assert_eq!(kept.len(), 1);
    let line = mall.shop.ledger.line("smartstore", &kept[0].key).await;
    let line = line.expect("answers").expect("it is there");
    assert_eq!(line.state, LineState::CancelRequested);
    assert!(
        line.raw.contains(&line.order_no),
        "as the marketplace told it: {}",
        line.raw
    );
    // Long after its window.
    mall.pass(Duration::from_secs(7_200)).await;
    mall.pull("smartstore").await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("smartstore").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 19);
    let kept = mall.shop.catalog.unconfirmed("smartstore", 10).await;
    assert!(kept.expect("answers").is_empty());
}

#[tokio::test]
async fn an_agreement_whose_answer_was_lost_is_given_once() {
    for (channel, on) in [
        ("smartstore", "approve_cancel"),
        ("coupang", "stop_shipment"),
        ("elevenst", "cancelreqconf"),
        ("ownstore", "cancellation"),
    ] {
        let (mall, _) = asked_back(channel).await;
        let rule = json!({ "on": on, "kind": "close_after_commit" });
        mall.does(channel, "faults", json!({ "faults": [rule] }))
            .await;
        for _ in 0..3 {
            mall.pull(channel).await;
            mall.pass(Duration::from_secs(60)).await;
        }
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}");
        let kept = mall.shop.catalog.unconfirmed(channel, 10).await;
        assert!(kept.expect("answers").is_empty(), "{channel}");
    }
}
