//! The client library, in Node, at the WebSocket of the stack over a line that breaks.

use std::process::Stdio;

use onepool_tests::{AsyncApi, PATIENCE, Stack, workspace_root};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
};

use super::viewer::Viewer;

/// Who was cut off comes back by itself, and has heard everything once, in order, without the room beginning anew.
pub async fn who_was_cut_off_hears_everything_once(stack: &Stack, written: &AsyncApi) {
    let Some(node) = node_with_websocket().await else {
        println!("Node 20.10 or later is not here, so the room client was not tried.");
        return;
    };
    let broadcast = stack.show("kiwi", 10).await;
    let line = Line::to(stack.local["websocket"].as_str().expect("an address")).await;
    let mut other = Viewer::enter(stack, written, &broadcast).await;
    let mut client = Client::start(node, &line.url, &broadcast, stack.token("viewer"));

    client.hears("init", |_| true).await;
    client.hears("status", |to| to["status"] == "online").await;
    client.types("하나").await;
    client.hears("chat", |chat| chat["message"] == "하나").await;
    let product = format!("/broadcasts/{broadcast}/products/kiwi");
    let cheaper = json!({ "live_price": 17_900 });
    stack
        .must(
            Method::PATCH,
            &product,
            "broadcaster",
            Some("kiwi"),
            cheaper,
        )
        .await;
    let spotlight = client.hears("product_spotlight", |_| true).await;
    assert_eq!(spotlight["product"]["live_price"], 17_900);

    line.works.send_replace(false);
    client.hears("status", |to| to["status"] == "waiting").await;
    other.says(json!({ "type": "chat", "message": "둘" })).await;
    other
        .hears_that("chat", |chat| chat["message"] == "둘")
        .await;
    line.works.send_replace(true);
    client.hears("chat", |chat| chat["message"] == "둘").await;
    client.hears("status", |to| to["status"] == "online").await;
    client.types("셋").await;
    client.hears("chat", |chat| chat["message"] == "셋").await;

    let lines = client.leave().await;
    let of = |kind: &'static str| lines.iter().filter(move |line| line["type"] == kind);
    let chats: Vec<_> = of("chat").map(|chat| &chat["message"]).collect();
    assert_eq!(chats, ["하나", "둘", "셋"]);
    assert_eq!(
        (of("init").count(), of("reset").count()),
        (1, 0),
        "it lost the thread"
    );
    for event in lines.iter().filter(|line| line["type"] != "status") {
        written
            .check("/components/schemas/Event", event)
            .unwrap_or_else(|why| panic!("{event} is not what is written: {why}"));
    }
}

/// Node, with the flag that makes it have a WebSocket if it is needed.
async fn node_with_websocket() -> Option<Command> {
    for flags in [&[][..], &["--experimental-websocket"]] {
        let mut look = Command::new("node");
        look.args(flags).args(["--print", "typeof WebSocket"]);
        let seen = look.output().await.ok()?;
        if seen.stdout.starts_with(b"function") {
            let mut node = Command::new("node");
            node.args(flags);
            return Some(node);
        }
    }
    None
}

/// `watch.js`, and what it has printed.
struct Client {
    process: Child,
    /// Until it is taken away, which ends it.
    keyboard: Option<ChildStdin>,
    screen: Lines<BufReader<ChildStdout>>,
    lines: Vec<Value>,
    /// Up to where was waited.
    heard: usize,
}

impl Client {
    fn start(mut node: Command, url: &str, broadcast: &str, token: &str) -> Self {
        let mut process = node
            .arg(workspace_root().join("infra/room-client/watch.js"))
            .args([url, broadcast, token])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        Self {
            keyboard: process.stdin.take(),
            screen: BufReader::new(process.stdout.take().expect("a screen")).lines(),
            process,
            lines: Vec::new(),
            heard: 0,
        }
    }

    async fn types(&mut self, text: &str) {
        let line = format!("{text}\n");
        let keyboard = self.keyboard.as_mut().expect("a keyboard");
        keyboard
            .write_all(line.as_bytes())
            .await
            .expect("it listens");
    }

    /// Waits for the next such line after the one waited for before.
    async fn hears(&mut self, kind: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            while self.heard < self.lines.len() {
                self.heard += 1;
                let line = &self.lines[self.heard - 1];
                if line["type"] == kind && is_it(line) {
                    return line.clone();
                }
            }
            assert!(self.reads().await, "it ended: {:?}", self.lines);
        }
    }

    /// Reads another line; `false` at the end.
    async fn reads(&mut self) -> bool {
        let line = tokio::time::timeout(PATIENCE, self.screen.next_line())
            .await
            .unwrap_or_else(|_| panic!("waited in vain after {:?}", self.lines))
            .expect("it prints");
        self.lines.extend(
            line.iter()
                .map(|line| serde_json::from_str(line).expect("JSON")),
        );
        line.is_some()
    }

    /// Lets it end, and returns all it has printed.
    async fn leave(mut self) -> Vec<Value> {
        drop(self.keyboard.take());
        while self.reads().await {}
        assert!(self.process.wait().await.expect("a child").success());
        self.lines
    }
}

/// The line between the client and the stack.
struct Line {
    url: String,
    works: watch::Sender<bool>,
}

impl Line {
    async fn to(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").expect("an address");
        let (host, path) = rest.split_once('/').expect("a path");
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = door.local_addr().expect("an address").port();
        let (works, state) = watch::channel(true);
        let host = host.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = door.accept().await {
                let (host, mut state) = (host.clone(), state.clone());
                tokio::spawn(async move {
                    // Both ends are dropped, in the middle of whatever they say.
                    tokio::select! {
                        _cut = state.wait_for(|works| !works) => {}
                        () = carry(near, &host) => {}
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://127.0.0.1:{port}/{path}"),
            works,
        }
    }
}

async fn carry(mut near: TcpStream, host: &str) {
    if let Ok(mut far) = TcpStream::connect(host).await {
        // However it ends, it has ended.
        let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
