//! What a post to a connection costs its caller: ours and the SDK's own client in turns, so that a busy machine is busy
//! for both. The whole process is counted, whatever threads they may have.

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_apigatewaymanagement::{
    Client, Config,
    config::{BehaviorVersion, Region, retry::RetryConfig},
    primitives::Blob,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use futures::{StreamExt, stream};
use onepool::{
    aws::{Aws, Patience, Payload},
    config::AwsConfig,
    room::post::{Post, Posted},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::{Result, plan::PostPlan, tell};

/// Posts on their way at once.
const AT_ONCE: usize = 16;
/// As API Gateway names them: with a sign that must be encoded in a path.
const CONNECTION: &str = "L0SM9cOFvHcCIhw=";
/// A frame of a chat or two.
const MESSAGE_BYTES: usize = 200;
/// Before anything is counted: connections are opened, clients are built.
const WARM_UP: usize = 200;

/// Weighs them.
pub fn weigh(plan: &PostPlan) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(weigh_both(plan))
}

async fn weigh_both(plan: &PostPlan) -> Result<()> {
    let config = AwsConfig::from_env()?;
    let sdk = sdk_client(&config, &plan.callback_url);
    let ours = Post::new(Aws::new(config, Patience::Short), plan.callback_url.clone());
    let message = "x".repeat(MESSAGE_BYTES);
    let frame = Payload::from(message.clone());
    let by_us = async || {
        let posted = ours.send_frame(CONNECTION, &frame).await;
        if matches!(posted, Posted::Delivered) {
            Ok(())
        } else {
            Err(format!("our post came to {posted:?}"))
        }
    };
    let by_sdk = async || {
        let post = sdk
            .post_to_connection()
            .connection_id(CONNECTION)
            .data(Blob::new(message.as_bytes()));
        let sent = post.send().await;
        sent.map(|_| ()).map_err(|error| error.to_string())
    };
    cpu_us_each(WARM_UP, &by_us).await?;
    cpu_us_each(WARM_UP, &by_sdk).await?;
    let (mut ours_us, mut sdk_us) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        ours_us.push(cpu_us_each(plan.posts, &by_us).await?);
        sdk_us.push(cpu_us_each(plan.posts, &by_sdk).await?);
    }
    tell(&json!({ "posts": { "ours_us": ours_us, "sdk_us": sdk_us } }));
    Ok(())
}

/// CPU time of this process for each of so many posts.
async fn cpu_us_each(
    posts: usize,
    post: impl AsyncFn() -> std::result::Result<(), String>,
) -> Result<f64> {
    let before = cpu();
    let mut outcomes = stream::iter(0..posts)
        .map(|_| post())
        .buffer_unordered(AT_ONCE);
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    Ok((cpu() - before).as_secs_f64() * 1e6 / posts as f64)
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.cast_unsigned(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// As a function would have it: the SDK's client without the features nobody needs, and without retries.
fn sdk_client(config: &AwsConfig, callback_url: &str) -> Client {
    let credentials = Credentials::from_keys(
        &config.access_key_id,
        config.secret_access_key.reveal(),
        config
            .session_token
            .as_ref()
            .map(|token| token.reveal().to_owned()),
    );
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http)
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(callback_url)
        .build();
    Client::from_conf(config)
}
