//! The deployed local stack, started as `make live` starts it and reached as a client reaches it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::workspace_root;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program that `make live` runs.
#[must_use]
pub fn onepool_live() -> Command {
    let tests = std::env::current_exe().expect("a test has a path");
    let program = tests
        .ancestors()
        .nth(2)
        .expect("target/<profile>")
        .join("onepool-live");
    assert!(
        program.exists(),
        "{program:?} is not built: `make test` builds it first"
    );
    let mut command = Command::new(program);
    command.current_dir(workspace_root()).kill_on_drop(true);
    command
}

/// A running stack, stopped with this value.
pub struct Stack {
    process: Child,
    folder: PathBuf,
    /// What `local.json` said when it was up.
    pub local: Value,
    /// Speaks to any part of it.
    pub http: reqwest::Client,
}

impl Stack {
    /// Starts it; `name` tells it from others that run at the same time.
    pub async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// Starts it with settings of the local run, by the variables that have them.
    pub async fn start_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("onepool-{name}-{}", std::process::id()));
        let log = std::env::temp_dir().join(format!("onepool-{name}-{}.log", std::process::id()));
        let output = std::fs::File::create(&log).expect("a log");
        let mut process = onepool_live()
            .arg("--until-stdin-closes")
            .env("SHOW", "no")
            .env("ONEPOOL_DIR", &folder)
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output)
            .spawn()
            .expect("it starts");
        let file = folder.join("local.json");
        let local = wait_for("local.json", async || {
            if let Some(status) = process.try_wait().expect("a child") {
                panic!(
                    "onepool-live ended with {status}:\n{}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            read_json(&file).filter(|local| local["demo"].is_object())
        })
        .await;
        drop(std::fs::remove_file(&log));
        Self {
            process,
            folder,
            local,
            http: reqwest::Client::new(),
        }
    }

    /// The token of a role.
    #[must_use]
    pub fn token(&self, role: &str) -> &str {
        self.local["tokens"][role].as_str().expect("a token")
    }

    /// Calls the HTTP API. Returns the status, the content type and the body.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        role: Option<&str>,
        key: Option<&str>,
        body: Option<String>,
    ) -> (u16, String, Value) {
        let token = role.map(|role| self.token(role));
        self.request(method, path, token, key, body)
            .await
            .expect("the API answers")
    }

    /// The same with any token, and without the promise of an answer.
    ///
    /// # Errors
    /// None came.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        key: Option<&str>,
        body: Option<String>,
    ) -> reqwest::Result<(u16, String, Value)> {
        let base = self.local["http"].as_str().expect("an address");
        let mut request = self.http.request(method, format!("{base}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let kind = answer
            .headers()
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        Ok((status, kind, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Calls the HTTP API as this role; it has to succeed.
    pub async fn must(
        &self,
        method: Method,
        path: &str,
        role: &str,
        key: Option<&str>,
        body: Value,
    ) -> Value {
        let (status, _, answer) = self
            .call(
                method.clone(),
                path,
                Some(role),
                key,
                Some(body.to_string()),
            )
            .await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// A product on air. Returns the broadcast.
    pub async fn show(&self, product: &str, units: u64) -> String {
        let name = json!({ "name": "사과 5kg", "list_price": 29_900 });
        self.must(
            Method::PUT,
            &format!("/products/{product}"),
            "operator",
            None,
            name,
        )
        .await;
        let stock = json!({ "delta": units, "reason": "입고" });
        let key = format!("stock-{product}");
        self.must(
            Method::POST,
            &format!("/products/{product}/stock"),
            "operator",
            Some(&key),
            stock,
        )
        .await;
        let broadcast = self
            .must(
                Method::POST,
                "/broadcasts",
                "broadcaster",
                None,
                json!({ "title": "라이브" }),
            )
            .await;
        let id = broadcast["broadcast_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        self.must(
            Method::POST,
            &format!("/broadcasts/{id}/start"),
            "broadcaster",
            None,
            Value::Null,
        )
        .await;
        let spotlight =
            json!({ "product_id": product, "live_price": 19_900, "limited_quantity": units });
        self.must(
            Method::POST,
            &format!("/broadcasts/{id}/products/spotlight"),
            "broadcaster",
            None,
            spotlight,
        )
        .await;
        id
    }

    /// Where a viewer connects.
    #[must_use]
    pub fn socket_url(&self, token: &str, broadcast: &str) -> String {
        format!(
            "{}?token={token}&broadcast_id={broadcast}",
            self.local["websocket"].as_str().expect("an address")
        )
    }

    /// Calls SQS.
    pub async fn sqs(&self, action: &str, body: Value) -> Value {
        self.aws(
            "application/x-amz-json-1.0",
            &format!("AmazonSQS.{action}"),
            body,
        )
        .await
    }

    /// Calls DynamoDB.
    pub async fn dynamodb(&self, action: &str, body: Value) -> Value {
        let target = format!("DynamoDB_20120810.{action}");
        self.aws("application/x-amz-json-1.0", &target, body).await
    }

    async fn aws(&self, kind: &str, target: &str, body: Value) -> Value {
        self.http
            .post(self.local["aws"].as_str().expect("an address"))
            .header("x-amz-target", target)
            .header("content-type", kind)
            .body(body.to_string())
            .send()
            .await
            .expect("the local AWS answers")
            .json()
            .await
            .unwrap_or(Value::Null)
    }

    /// Calls Lambda, below `/2015-03-31/`.
    pub async fn lambda(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let base = self.local["aws"].as_str().expect("an address");
        let answer = self
            .http
            .request(method, format!("{base}/2015-03-31/{path}"))
            .json(&body)
            .send()
            .await
            .expect("Lambda answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Calls the control API of the payment sandbox.
    pub async fn sandbox(&self, method: Method, path: &str, body: Value) -> Value {
        let base = self.local["payments"].as_str().expect("an address");
        let mut request = self.http.request(method, format!("{base}/sandbox/{path}"));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// The process of a part as it is now: one that came back has another id.
    #[must_use]
    pub fn pid(&self, part: &str) -> Option<u64> {
        read_json(&self.folder.join("local.json"))?["pids"][part].as_u64()
    }

    /// Stops it, and checks that it leaves nothing behind.
    pub async fn stop(mut self) {
        let local = read_json(&self.folder.join("local.json")).expect("local.json");
        drop(self.process.stdin.take());
        let status = tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .expect("it stops")
            .expect("a child");
        assert!(status.success(), "{status}");
        for (name, pid) in local["pids"].as_object().expect("processes") {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "{name} ({pid}) is still there"
            );
        }
        assert!(
            !self.folder.join("local.json").exists(),
            "local.json is still there"
        );
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn read_json(file: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}

/// Looks again and again until there is something to see.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
