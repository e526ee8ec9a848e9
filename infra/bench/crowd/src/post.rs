//! What a post to a connection costs its caller: by our sender and by the SDK's client, as a function has both, in turns, so that
//! a busy machine is busy for both. The whole process is counted, whatever threads they may have.

use std::time::Duration;

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
    let aws = Aws::new(AwsConfig::from_env()?, Patience::Short);
    let post = Post::new(aws, plan.callback_url.parse()?);
    let message = "x".repeat(MESSAGE_BYTES);
    let frame = Payload::from(message.clone());
    let by_us = async || delivered(post.send_frame(CONNECTION, &frame).await);
    let by_sdk = async || delivered(post.send(CONNECTION, &message).await);
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

fn delivered(posted: Posted) -> std::result::Result<(), String> {
    if matches!(posted, Posted::Delivered) {
        Ok(())
    } else {
        Err(format!("a post came to {posted:?}"))
    }
}
