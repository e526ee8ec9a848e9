//! Brings everything up, in the order in which the parts need each other.

use std::collections::BTreeMap;

use crate::addresses::{Addresses, Demo, Tokens};
use crate::aws::{Aws, REGION};
use crate::config::Config;
use crate::deploy::{self, Stack, Surroundings};
use crate::error::Result;
use crate::folder::Folder;
use crate::gateway::{self, Callbacks, Gateway};
use crate::marketplaces::{self, Channels};
use crate::processes::Processes;
use crate::seed::OnAir;
use crate::tokens::{Role, Signer};
use crate::{emulator, payments, redis, say};

/// A run that is up.
pub struct Live {
    /// Where everything is.
    pub addresses: Addresses,
    /// Signs tokens for anyone.
    pub signer: Signer,
    /// The AWS endpoint.
    pub aws: Aws,
    /// What was deployed to it.
    pub stack: Stack,
    /// The channels of the shop.
    pub channels: Channels,
    local_json: std::path::PathBuf,
    _gateway: Gateway,
    _callbacks: Callbacks,
}

/// Starts the parts, deploys the template, opens the doors and writes `local.json`.
pub async fn start(config: &Config, folder: &Folder, processes: &Processes) -> Result<Live> {
    let scratch = folder.scratch();
    let (redis, payments, channels, emulator) = tokio::try_join!(
        redis::start(processes, &scratch),
        payments::start(processes, config),
        marketplaces::start(processes, config),
        emulator::start(processes, config, &scratch),
    )?;

    let signer = Signer::random()?;
    let callbacks = gateway::callbacks(&emulator.aws).await?;
    let around = Surroundings {
        redis_url: &redis.url,
        toss_base_url: &payments.url,
        token_secret: signer.secret(),
        callback_base_url: &callbacks.url,
        channels: &channels,
    };
    let stack = deploy::deploy(&emulator.aws, config, &around).await?;
    let gateway = gateway::open(config, &emulator.aws, &stack).await?;
    payments.send_webhooks_to(&gateway.http).await?;
    marketplaces::send_hints_to(&channels, &gateway.http).await?;

    let addresses = Addresses {
        http: gateway.http.clone(),
        websocket: gateway.websocket.clone(),
        console: format!("{}/console", gateway.http),
        redis: redis.url,
        dynamodb: emulator.aws.endpoint.clone(),
        sqs: emulator.aws.endpoint.clone(),
        payments: payments.url,
        channels: channels
            .iter()
            .map(|(name, channel)| (name.clone(), channel.url.clone()))
            .collect(),
        token_secret: signer.secret().to_owned(),
        tokens: Tokens {
            operator: signer.sign("operator-1", "운영자", Role::Operator)?,
            broadcaster: signer.sign("broadcaster-1", "진행자", Role::Broadcaster)?,
            viewer: signer.sign("viewer-1", "시청자", Role::Viewer)?,
        },
        pids: pids(processes),
        aws: emulator.aws.endpoint.clone(),
        region: REGION,
        stack: stack.outputs.clone(),
        queues: stack.queues.clone(),
        demo: None,
    };
    let local_json = folder.local_json();
    addresses.write(&local_json)?;
    Ok(Live {
        addresses,
        signer,
        aws: emulator.aws,
        stack,
        channels,
        local_json,
        _gateway: gateway,
        _callbacks: callbacks,
    })
}

impl Live {
    /// Says where everything is, to programs and to people, with commands to paste.
    pub fn introduce(&mut self, on_air: &OnAir, processes: &Processes) -> Result<()> {
        self.addresses.demo = Some(Demo {
            broadcast_id: on_air.broadcast_id.clone(),
            product_id: on_air.product_id.clone(),
        });
        self.renew_pids(processes)?;
        let Addresses {
            http,
            websocket,
            tokens,
            ..
        } = &self.addresses;
        let (broadcast, product) = (&on_air.broadcast_id, &on_air.product_id);
        let viewer = &tokens.viewer;
        println!();
        say::note("주소", "addresses");
        println!("  HTTP       {http}");
        println!("  WebSocket  {websocket}?broadcast_id={broadcast}&token=…");
        println!("  payments   {}", self.addresses.payments);
        for (name, url) in &self.addresses.channels {
            println!("  {name:<10} {url}");
        }
        println!("  redis      {}", self.addresses.redis);
        println!("  aws        {}", self.addresses.aws);
        println!("  local.json {}", self.local_json.display());
        println!();
        say::note("주문해 보기", "place an order");
        println!(
            "  curl -s '{http}/broadcasts/{broadcast}/orders' -H 'Authorization: Bearer {viewer}' \\\n    \
             -H 'Idempotency-Key: '$(date +%s) -H 'Content-Type: application/json' \\\n    \
             -d '{{\"lines\":[{{\"product_id\":\"{product}\",\"quantity\":1}}],\"payment\":{{\"method\":\"billing_key\",\"billing_key\":\"bk-1\",\"customer_key\":\"viewer-1\"}}}}'"
        );
        println!();
        say::note(
            "방송 보기 (연결 뒤 {\"type\":\"join\"})",
            "watch; then send {\"type\":\"join\"}",
        );
        println!("  npx wscat -c '{websocket}?broadcast_id={broadcast}&token={viewer}'");
        println!();
        say::note("멈추려면 Ctrl-C", "Ctrl-C stops everything");
        Ok(())
    }

    /// Says which processes there are now.
    pub fn renew_pids(&mut self, processes: &Processes) -> Result<()> {
        self.addresses.pids = pids(processes);
        self.addresses.write(&self.local_json)
    }
}

fn pids(processes: &Processes) -> BTreeMap<&'static str, u32> {
    let mut pids = processes.ids();
    pids.insert("onepool-live", std::process::id());
    pids
}
