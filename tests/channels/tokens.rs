//! The tokens of a channel, in the store that a test has and in the one that is deployed: both keep the same promises.

use std::{sync::Arc, time::Duration};

use futures::join;
use marketplaces::Marketplaces;
use onepool::{
    catalog::Catalog,
    channel::{
        Failure, Marketplace,
        token::{InMemory, Token, TokenStore},
    },
    clock::{self, Timestamp},
};
use onepool_tests::{DynamoDb, Wire, crash_after};
use serde_json::json;

use crate::fake::Fake;

/// How long a turn lasts.
const TURN: Duration = Duration::from_secs(60);
/// More than one check waits.
const MOST_STEPS: usize = 400;

/// A store, as two runners have it.
#[derive(Clone)]
struct Shared {
    name: &'static str,
    one: Arc<dyn TokenStore>,
    two: Arc<dyn TokenStore>,
}

/// Where stores are made.
struct Places {
    /// Two runners have nothing in common but the database.
    catalogs: [Catalog; 2],
    _wire: Wire,
    _dynamodb: DynamoDb,
}

impl Places {
    async fn open() -> Self {
        let dynamodb = DynamoDb::start();
        let wire = Wire::start(&dynamodb).await;
        let catalog = || Catalog::new(wire.aws(), "catalog".into());
        Self {
            catalogs: [catalog(), catalog()],
            _wire: wire,
            _dynamodb: dynamodb,
        }
    }

    /// An empty store of each kind.
    fn stores(&self, channel: &str) -> [Shared; 2] {
        let in_memory: Arc<dyn TokenStore> = Arc::new(InMemory::default());
        let [one, two] = &self.catalogs;
        [
            Shared {
                name: "in memory",
                one: Arc::clone(&in_memory),
                two: in_memory,
            },
            Shared {
                name: "in DynamoDB",
                one: Arc::new(one.tokens(channel)),
                two: Arc::new(two.tokens(channel)),
            },
        ]
    }
}

fn token(version: u64, access: &str) -> Token {
    Token {
        access: access.to_owned(),
        expires_at: Timestamp::NEVER,
        refresh: Some(format!("refresh-{version}")),
        refresh_expires_at: None,
        version,
    }
}

/// The seller says yes in a browser.
async fn first_token(fake: &Fake) -> String {
    let pair = fake.does("actions/cafe24-tokens", json!({})).await;
    pair["refresh_token"].as_str().expect("a token").to_owned()
}

fn market(fake: &Fake, store: &Arc<dyn TokenStore>, first: &str) -> Box<dyn Marketplace> {
    let credentials = [
        ("mall_id", "demomall"),
        ("client_id", "demoClient"),
        ("client_secret", "demoSecret"),
        ("refresh_token", first),
    ];
    fake.adapter_with("cafe24", &credentials, Arc::clone(store))
}

async fn unlimited() -> Fake {
    let fake = Fake::start(Marketplaces::ownstore).await;
    let bucket = json!({ "bucket": 1_000_000, "quota": 1_000_000 });
    fake.does("settings", json!({ "cafe24": bucket })).await;
    fake
}

/// Time passes here and there.
async fn pass(fake: &Fake, span: Duration) {
    clock::put_ahead(span);
    fake.does("clock", json!({ "advance_s": span.as_secs() }))
        .await;
}

#[tokio::test]
async fn one_of_two_gets_each_turn_and_keeps_what_follows() {
    for Shared { name, one, two } in Places::open().await.stores("ownstore") {
        for version in 0..4 {
            let known = (version > 0).then_some(version);
            let (a, b) = join!(one.take_turn(known), two.take_turn(known));
            let (a, b) = (a.expect("answers"), b.expect("answers"));
            assert!(a != b, "{name}: one of them has turn {version}");
            assert!(!one.take_turn(known).await.expect("answers"), "{name}");
            // Its taker died; who comes next may be slower than who comes after.
            clock::put_ahead(TURN);
            assert!(two.take_turn(known).await.expect("answers"), "{name}");
            let (first, second) = (token(version + 1, "a"), token(version + 1, "b"));
            let (a, b) = join!(one.keep(&first), two.keep(&second));
            let (a, b) = (a.expect("answers"), b.expect("answers"));
            assert!(a != b, "{name}: one of them follows {version}");
            let access = if a { "a" } else { "b" };
            for store in [&one, &two] {
                let kept = store.load().await.expect("answers").expect("a token");
                assert!(kept == token(version + 1, access), "{name}: as it was kept");
            }
            let late = one.keep(&token(version + 3, "c")).await;
            assert!(!late.expect("answers"), "{name}: it follows another one");
            assert!(!two.take_turn(known).await.expect("answers"), "{name}");
        }
    }
}

#[tokio::test]
async fn two_runners_that_need_a_token_at_once_fetch_one() {
    for Shared { name, one, two } in Places::open().await.stores("ownstore") {
        let fake = unlimited().await;
        let first = first_token(&fake).await;
        let runners = [market(&fake, &one, &first), market(&fake, &two, &first)];
        for fetched in 1..4 {
            let (a, b) = join!(runners[0].check(), runners[1].check());
            a.and(b).expect("both are accepted");
            assert_eq!(fake.arrived("token").await, fetched, "{name}");
            let kept = two.load().await.expect("answers").expect("a token");
            assert_eq!(kept.version, u64::try_from(fetched).expect("few"));
            // Both meet the refusal, and one refreshes.
            fake.does("actions/cafe24-end-access", json!({})).await;
        }
    }
}

#[tokio::test]
async fn a_new_pair_is_kept_before_it_is_used_wherever_its_runner_dies() {
    let places = Places::open().await;
    for (place, name) in ["in memory", "in DynamoDB"].into_iter().enumerate() {
        let fake = unlimited().await;
        let (mut kept_once, mut lost_once, mut is_through) = (false, false, false);
        for steps in 0..MOST_STEPS {
            let stores = places.stores(&format!("{name} {steps}"));
            let Shared { one, two, .. } = stores[place].clone();
            let first = first_token(&fake).await;
            let asked = fake.arrived("token").await;
            let before = fake.books("requests").await.len() - asked;
            let runner = market(&fake, &one, &first);
            is_through = crash_after(steps, runner.check()).await.is_some();
            drop(runner);
            let kept = two.load().await.expect("answers");
            let used = fake.books("requests").await.len() - fake.arrived("token").await > before;
            assert!(!used || kept.is_some(), "{name}: used before it is kept");
            kept_once |= kept.is_some() && !is_through;
            pass(&fake, TURN + Duration::from_secs(1)).await;
            let next = market(&fake, &two, &first).check().await;
            match next {
                Ok(_) => {}
                // Its one refresh token was used up, and the answer fell with the runner.
                Err(Failure::Credentials(why)) => {
                    assert!(kept.is_none(), "{name} {steps}: {why}");
                    assert!(fake.arrived("token").await > asked + 1, "{name} {steps}");
                    lost_once = true;
                    let again = first_token(&fake).await;
                    pass(&fake, TURN + Duration::from_secs(1)).await;
                    let renewed = market(&fake, &two, &again).check().await;
                    renewed.expect("the seller has said yes again");
                }
                Err(failure) => panic!("{name} {steps}: {failure}"),
            }
            if is_through {
                break;
            }
        }
        assert!(is_through && kept_once, "{name}");
        // Nothing comes between an answer and what is in memory.
        assert!(lost_once || name == "in memory");
    }
}
