//! What the answers of API Gateway mean: the same, whichever way a post went.

use std::time::Duration;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use onepool::{
    aws::{Aws, Patience, Payload},
    config::{AwsConfig, Secret},
    room::post::{Post, Posted},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

/// Longer than a post waits for its answer.
const FOR_EVER: Duration = Duration::from_secs(60);
const PAGE: &str = "<html><body>Bad Gateway</body></html>";

/// Answers as the connection's name wants it: `<status>.<name of the error>.<kind of body>`.
async fn answer(Path(connection): Path<String>) -> Response {
    let wanted: Vec<&str> = connection.split('.').collect();
    let [status, error, body] = wanted[..] else {
        tokio::time::sleep(FOR_EVER).await;
        return StatusCode::OK.into_response();
    };
    let status = status.parse().ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut headers = HeaderMap::new();
    if !error.is_empty() {
        let error = error.parse().expect("a header");
        headers.insert("x-amzn-errortype", error);
    }
    let body = match body {
        "json" => r#"{"message":"no"}"#,
        "html" => PAGE,
        _ => "",
    };
    (status.expect("a status"), headers, body).into_response()
}

/// What became of it, in a word.
fn word(posted: &Posted) -> &'static str {
    match posted {
        Posted::Delivered => "delivered",
        Posted::Gone => "gone",
        Posted::Slow => "slow",
        Posted::Refused(_) => "refused",
        Posted::Unknown(_) => "unknown",
    }
}

fn gateway(url: &str) -> Post {
    let config = AwsConfig {
        region: "ap-northeast-2".to_owned(),
        access_key_id: "test".to_owned(),
        secret_access_key: Secret::new("test"),
        session_token: None,
        endpoint_url: None,
    };
    let url = format!("{url}/live").parse();
    Post::new(Aws::new(config, Patience::Short), url.expect("is a URL"))
}

async fn both(gateway: &Post, connection: &str) -> [&'static str; 2] {
    let frame = Payload::from("{}".to_owned());
    [
        word(&gateway.send(connection, "{}").await),
        word(&gateway.send_frame(connection, &frame).await),
    ]
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

#[tokio::test]
async fn an_answer_means_the_same_to_both_senders() {
    let (listener, url) = listen().await;
    let router = Router::new().route("/live/@connections/{connection}", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let posts = gateway(&url);
    for (connection, meaning) in [
        ("200..", "delivered"),
        ("200..json", "delivered"),
        ("204..", "delivered"),
        ("410.GoneException.json", "gone"),
        ("410..json", "gone"),
        ("410..", "gone"),
        ("429.LimitExceededException.json", "slow"),
        ("429.TooManyRequestsException.json", "slow"),
        ("429..json", "slow"),
        ("429..html", "slow"),
        ("429..", "slow"),
        ("400..json", "refused"),
        ("403.ForbiddenException.json", "refused"),
        ("403..json", "refused"),
        ("403..", "refused"),
        ("404..html", "refused"),
        ("413.PayloadTooLargeException.json", "refused"),
        ("413..", "refused"),
        ("500.InternalServerError.json", "unknown"),
        ("500..", "unknown"),
        ("502..html", "unknown"),
        ("503..", "unknown"),
        ("504..json", "unknown"),
        ("silence", "unknown"),
    ] {
        assert_eq!(both(&posts, connection).await, [meaning; 2], "{connection}");
    }
}

#[tokio::test]
async fn a_post_that_found_nobody_is_refused_and_one_that_was_cut_off_may_have_arrived() {
    let (listener, url) = listen().await;
    drop(listener);
    assert_eq!(both(&gateway(&url), "c1").await, ["refused"; 2]);

    let (listener, url) = listen().await;
    let hang_up = async |mut caller: TcpStream| {
        let mut request = [0; 512];
        let read = caller.read(&mut request).await;
        assert!(read.expect("is open") > 0);
    };
    let serve = async move {
        while let Ok((caller, _)) = listener.accept().await {
            hang_up(caller).await;
        }
    };
    let posts = gateway(&url);
    tokio::select! {
        outcomes = both(&posts, "c1") => assert_eq!(outcomes, ["unknown"; 2]),
        () = serve => panic!("the listener failed"),
    }
}
