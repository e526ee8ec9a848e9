//! More is sold at once than can be confirmed at once: it comes into the ledger first.

use std::time::Duration;

use onepool::stock::Source;
use serde_json::json;

use crate::mall::Mall;

#[tokio::test]
async fn a_rush_is_in_the_ledger_before_it_is_confirmed_and_is_confirmed_afterwards() {
    // What each calls confirming, and how many orders are more than one confirmation takes.
    for (channel, confirm, orders) in [
        ("smartstore", "confirm", 350),
        ("coupang", "acknowledge", 120),
        ("elevenst", "reqpackaging", 45),
        ("ownstore", "process_status", 45),
    ] {
        let mall = Mall::open(500, json!({ "mode": "shared" })).await;
        let dead = json!({ "on": confirm, "kind": "error_before_commit", "status": 503, "probability": 1.0 });
        mall.does(channel, "faults", json!({ "faults": [dead] }))
            .await;
        let mut order = mall.stall(channel).order(1);
        order["count"] = json!(orders);
        mall.does(channel, "orders", order).await;
        mall.pass(Duration::from_secs(60)).await;
        mall.pull(channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 500 - orders, "{channel}");
        let kept = async || {
            let kept = mall.shop.catalog.unconfirmed(channel, 1_000).await;
            i64::try_from(kept.expect("answers").len()).expect("few")
        };
        assert_eq!(kept().await, orders, "{channel}: all are kept in mind");
        mall.calm(channel).await;
        // Quotas are the subject of other tests: without one, a bucket is empty before all are confirmed, and the next pull goes on.
        for _ in 0..3 {
            mall.pass(Duration::from_secs(600)).await;
            mall.pull(channel).await;
        }
        assert_eq!(kept().await, 0, "{channel}: all are confirmed");
        assert_eq!(mall.unsold(&Source::Pool).await, 500 - orders, "{channel}");
    }
}
