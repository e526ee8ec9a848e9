//! The door through which the own store's backend says that something happened there. A hint is signed in the manner of Standard
//! Webhooks and moves nothing: it only has the channel pulled before its schedule.

use std::time::Duration;

use serde_json::json;

use super::{HttpAnswer, HttpEvent, parameter};
use crate::{
    channel::{
        shop::{self, Message, Unsigned},
        wake::PullWake,
    },
    config::Secret,
    connection::Redis,
    error::Error,
    keys::Keys,
    queue::Queue,
};

/// The largest body of a hint, in bytes: it says only that there is something to pull.
const MAX_HINT: usize = 4 * 1024;
/// Hints of so long become one pull, after them: what was sold up to then is in it.
const GATHERED: Duration = Duration::from_secs(2);

/// Answers the route of `channel-hint`.
pub struct HintsApi {
    /// The channel whose backend sends hints, and what it signs them with; `None` if the own store is a marketplace that does not.
    pub shop: Option<(String, Secret)>,
    /// How a pull is asked for.
    pub pulls: Queue,
    /// Where it is known that a hint waits already.
    pub redis: Redis,
    /// How that is called.
    pub keys: Keys,
}

impl HintsApi {
    /// Answers one request.
    pub async fn serve(&self, event: HttpEvent) -> HttpAnswer {
        let outcome = match event.route_key.as_str() {
            "POST /channels/{channel}/hint" => Box::pin(self.hear(&event)).await,
            _ => Err(Error::NotFound("route")),
        };
        HttpAnswer::conclude(outcome, &event.route_key, event.language())
    }

    async fn hear(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let named: String =
            parameter(event.path_parameters.channel.as_ref()).ok_or(Error::NotFound("channel"))?;
        let (channel, secret) = self
            .shop
            .as_ref()
            .filter(|(channel, _)| *channel == named)
            .ok_or(Error::NotFound("channel"))?;
        let body = event.bytes()?;
        if body.len() > MAX_HINT {
            return Err(Error::invalid("body", format!("at most {MAX_HINT} bytes")));
        }
        let header = |header: &Option<String>| {
            let missing = Error::Unsigned(Unsigned::Headers);
            header.clone().ok_or(missing)
        };
        let headers = &event.headers;
        let message = Message {
            id: &header(&headers.webhook_id)?,
            method: "POST",
            target: &format!("/channels/{channel}/hint"),
            body: &body,
        };
        let timestamp = header(&headers.webhook_timestamp)?;
        let signature = header(&headers.webhook_signature)?;
        shop::verify_hint(secret, message, &timestamp, &signature)?;
        self.wake(channel).await?;
        let answer = json!({ "status": "queued", "channel": channel });
        Ok(HttpAnswer::json(202, &answer))
    }

    /// Has the channel pulled once the hints of these seconds are over.
    async fn wake(&self, channel: &str) -> Result<(), Error> {
        let place = self.keys.hinted(channel);
        let mut first = redis::cmd("SET");
        first
            .arg(&place)
            .arg(1)
            .arg("NX")
            .arg("PX")
            .arg(GATHERED.as_millis() as u64);
        let mut commands = redis::pipe();
        commands.add_command(first);
        // If Redis does not say, it is pulled once too often rather than never.
        if let Ok((None,)) = self.redis.send::<(Option<String>,)>(&commands).await {
            return Ok(());
        }
        let wake = PullWake::new(channel);
        if let Err(error) = self.pulls.send_after(&wake, GATHERED).await {
            // Its sender may say it again at once, and then it must not count as said.
            let mut commands = redis::pipe();
            commands.del(&place).ignore();
            drop(self.redis.send::<()>(&commands).await);
            return Err(error);
        }
        Ok(())
    }
}
