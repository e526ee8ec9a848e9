//! A function of ours as a process, with the environment that Lambda and `template.yaml` give it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use crate::{
    Result, gate,
    process::{self, Process},
    runtime_api::{self, Work},
};

/// All of them.
pub const ALL: [&str; 11] = [
    "order-accept",
    "order-process",
    "order-dead-letter",
    "payment-webhook",
    "reconcile",
    "stock-fanout",
    "ws-connections",
    "broadcast-admin",
    "channel-poll",
    "channel-sync",
    "channel-hint",
];

/// Signs the tokens of buyers.
pub const TOKEN_SECRET: &str = "a secret of the bench, used for nothing else";

/// The table of products, broadcasts and what is on air in them.
pub const CATALOG_TABLE: &str = "bench-catalog";
/// The table of the ledger's rows of stock.
pub const STOCK_TABLE: &str = "bench-stock";
/// The table of orders.
pub const ORDERS_TABLE: &str = "bench-orders";
/// The most posts a second that a room may be allowed, for where what an account allows is not what is measured.
pub const MOST_POSTS_PER_S: u32 = 100_000;
/// The tables, by their names in `template.yaml`.
pub const TABLES: [(&str, &str); 3] = [
    ("CatalogTable", CATALOG_TABLE),
    ("StockTable", STOCK_TABLE),
    ("OrdersTable", ORDERS_TABLE),
];
/// The end of the URL of the queue of accepted orders.
pub const ORDERS_QUEUE: &str = "/bench-orders";
/// The end of the URL of the queue of rooms that have something to say.
pub const WAKES_QUEUE: &str = "/bench-room-wake";
/// The end of the URL of the queue of what the channels are to show.
pub const SYNC_QUEUE: &str = "/bench-channel-sync";
/// The end of the URL of the queue of channels that are to be pulled.
pub const PULL_QUEUE: &str = "/bench-channel-pull";

/// Channels as a shop has them, where nobody asks them for anything.
const CHANNELS: [(&str, &str); 13] = [
    ("CHANNELS", "smartstore,coupang,elevenst,ownstore"),
    ("SMARTSTORE_BASE_URL", "http://127.0.0.1:1"),
    (
        "SMARTSTORE_CREDENTIALS",
        r#"{"client_id":"bench","client_secret":"$2a$04$N9qo8uLOickgx2ZMRZoMye"}"#,
    ),
    ("COUPANG_BASE_URL", "http://127.0.0.1:1"),
    (
        "COUPANG_CREDENTIALS",
        r#"{"access_key":"bench","secret_key":"bench","vendor_id":"A00000000"}"#,
    ),
    ("ELEVENST_BASE_URL", "http://127.0.0.1:1"),
    ("ELEVENST_CREDENTIALS", r#"{"api_key":"bench"}"#),
    ("OWNSTORE_BASE_URL", "http://127.0.0.1:1"),
    ("OWNSTORE_MARKETPLACE", "cafe24"),
    (
        "OWNSTORE_CREDENTIALS",
        r#"{"mall_id":"bench","client_id":"bench","client_secret":"bench","refresh_token":"bench"}"#,
    ),
    ("ALERT_WEBHOOK_URL", "http://127.0.0.1:1"),
    ("CANCEL_OVERSOLD", "false"),
    ("APPROVE_CANCELLATIONS", "true"),
];
/// Where the functions are; set before the first one is started.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Where the services are that a function talks to.
#[derive(Clone, Copy)]
pub struct Services {
    /// AWS.
    pub aws: SocketAddr,
    /// The payment gateway.
    pub payments: SocketAddr,
    /// Redis, on the loopback address.
    pub redis_port: u16,
    /// The gateway of the viewers, if anyone watches, and how many posts a second a room may make there.
    pub connections: Option<(SocketAddr, u32)>,
    /// Where the marketplaces are and what they want to be told, by the names of the template; kept as long as the bench runs.
    pub channels: &'static [(String, String)],
}

impl Services {
    /// `@connections`, stage included.
    pub fn callback_url(&self) -> String {
        let (address, _) = self.connections.unwrap_or((self.aws, MOST_POSTS_PER_S));
        format!("http://{address}/live")
    }
}

/// Has the functions taken from this folder; without it, from beside the bench, where cargo puts them.
pub fn take_from(folder: PathBuf) -> Result<()> {
    FOLDER
        .set(folder)
        .map_err(|folder| format!("{} comes too late", folder.display()).into())
}

/// The file of a function.
pub fn file(name: &str) -> Result<PathBuf> {
    let file = match FOLDER.get() {
        Some(folder) => folder.join(name),
        None => std::env::current_exe()?.with_file_name(name),
    };
    if file.is_file() {
        Ok(file)
    } else {
        Err(format!(
            "{} is missing: run `make bench`, which builds it",
            file.display()
        )
        .into())
    }
}

/// Starts as many processes of it, each with a Runtime API of its own, all with the same work.
pub fn start_all<W: Work + 'static>(
    name: &str,
    count: usize,
    work: &Arc<W>,
    services: Services,
) -> Result<Vec<Process>> {
    (0..count)
        .map(|_| {
            let work: Arc<dyn Work> = Arc::<W>::clone(work);
            start(name, runtime_api::start(work)?, services)
        })
        .collect()
}

/// Starts it against a Runtime API.
pub fn start(name: &str, runtime_api: SocketAddr, services: Services) -> Result<Process> {
    Process::start(set_up(
        &mut Command::new(file(name)?),
        name,
        runtime_api,
        services,
    ))
}

/// Starts it below valgrind, which counts the instructions of the whole life of the process in a file.
pub fn start_counted(
    name: &str,
    runtime_api: SocketAddr,
    services: Services,
    counts: &Path,
) -> Result<Process> {
    let mut command = process::bound("valgrind");
    command
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(file(name)?);
    Process::start(set_up(&mut command, name, runtime_api, services))
}

/// A program beside the functions, with their environment, that ends with the bench.
pub fn bound(name: &str, services: Services) -> Result<Command> {
    let file = file(name)?;
    let file = file
        .to_str()
        .ok_or("the path of the target folder is no text")?;
    let mut command = process::bound(file);
    // Nobody asks for its invocations.
    let runtime_api = services.aws;
    set_up(&mut command, name, runtime_api, services);
    Ok(command)
}

/// One environment for all functions: each reads of it what is its own.
fn set_up<'a>(
    command: &'a mut Command,
    name: &str,
    runtime_api: SocketAddr,
    services: Services,
) -> &'a mut Command {
    let callback_url = services.callback_url();
    let Services {
        aws,
        payments,
        redis_port,
        connections,
        channels,
    } = services;
    let budget = connections.map_or(MOST_POSTS_PER_S, |(_, budget)| budget);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        // Nothing of the shell that started the bench.
        .env_clear()
        .env("PATH", path)
        // Lambda
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
        .env(
            "AWS_LAMBDA_LOG_STREAM_NAME",
            "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        )
        .env("AWS_REGION", "ap-northeast-2")
        .env("AWS_DEFAULT_REGION", "ap-northeast-2")
        .env("AWS_ACCESS_KEY_ID", "ASIAXXXXXXXXXXXXXXXX")
        .env(
            "AWS_SECRET_ACCESS_KEY",
            "0123456789012345678901234567890123456789",
        )
        // As long as one of Lambda: it is part of every request and of its signature.
        .env("AWS_SESSION_TOKEN", "x".repeat(700))
        .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
        // template.yaml
        .env("AWS_NEW_RETRIES_2026", "true")
        .env("SHOP_ID", gate::SHOP)
        .env("REDIS_URL", format!("redis://127.0.0.1:{redis_port}"))
        .env("CATALOG_TABLE", CATALOG_TABLE)
        .env("STOCK_TABLE", STOCK_TABLE)
        .env("ORDERS_TABLE", ORDERS_TABLE)
        .env(
            "ORDERS_QUEUE_URL",
            format!("https://sqs.ap-northeast-2.amazonaws.com/123456789012{ORDERS_QUEUE}"),
        )
        .env(
            "CHANNEL_SYNC_QUEUE_URL",
            format!("https://sqs.ap-northeast-2.amazonaws.com/123456789012{SYNC_QUEUE}"),
        )
        .env(
            "CHANNEL_PULL_QUEUE_URL",
            format!("https://sqs.ap-northeast-2.amazonaws.com/123456789012{PULL_QUEUE}"),
        )
        .envs(CHANNELS)
        .envs(channels.iter().map(|(name, text)| (name, text)))
        .env(
            "ROOM_WAKE_QUEUE_URL",
            format!("https://sqs.ap-northeast-2.amazonaws.com/123456789012{WAKES_QUEUE}"),
        )
        .env("WEBSOCKET_CALLBACK_URL", callback_url)
        .env("FENCE_WAIT_SECONDS", "10")
        .env("CALLBACK_BUDGET", budget.to_string())
        .env("TOSS_BASE_URL", format!("http://{payments}"))
        .env("TOSS_SECRET_KEY", "test_sk_bench")
        .env("TOKEN_SECRET", TOKEN_SECRET)
        .env("HOLD_SECONDS", "300")
        .env("HOLD_CEILING_SECONDS", "900")
        .env(
            "ORDERS_DEAD_LETTER_QUEUE_URL",
            "https://sqs.ap-northeast-2.amazonaws.com/123456789012/bench-orders-dead-letters",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the blocks of `Variables`: what is indented further than that word, up to the first line that is not.
    fn variables(template: &str) -> Vec<&str> {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut names = Vec::new();
        let mut lines = template.lines();
        while let Some(line) = lines.next() {
            if line.trim() == "Variables:" {
                let inner = lines
                    .clone()
                    .take_while(|inner| indent(inner) > indent(line));
                let least = inner.clone().map(indent).min();
                let own = inner.filter(|inner| Some(indent(inner)) == least);
                names.extend(own.filter_map(|inner| Some(inner.trim().split_once(':')?.0)));
            }
        }
        names
    }

    #[test]
    fn every_function_is_measured() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
        let mut functions: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("can be read").file_name())
            .map(|name| name.into_string().expect("is text"))
            .collect();
        let mut measured = ALL.map(str::to_owned).to_vec();
        functions.sort();
        measured.sort();
        assert_eq!(functions, measured);
    }

    #[test]
    fn every_variable_of_the_template_is_given() {
        let services = Services {
            aws: ([127, 0, 0, 1], 1).into(),
            payments: ([127, 0, 0, 1], 1).into(),
            redis_port: 1,
            connections: None,
            channels: &[],
        };
        let mut command = Command::new("true");
        set_up(&mut command, "order-accept", services.aws, services);
        let names = variables(include_str!("../../../template.yaml"));
        assert!(
            names.contains(&"REDIS_URL") && names.contains(&"HOLD_SECONDS"),
            "{names:?}"
        );
        for name in names {
            assert!(
                command.get_envs().any(|(given, _)| given == name),
                "{name} is in template.yaml, not here"
            );
        }
    }
}
