//! Alerts: what a person has to do, told once in a while and not once a second: as a metric that an alarm watches, and to a webhook
//! that speaks Slack's format.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics::counter;
use reqwest::Client;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::{
    clock::{self, Timestamp},
    config::Secret,
    connection::Redis,
    id,
    keys::Keys,
};

/// How long the same alert is not told again.
const QUIET: Duration = Duration::from_secs(3_600);
/// The same of what there are days for.
const QUIET_DAY: Duration = Duration::from_secs(24 * 3_600);
/// A webhook that does not answer does not hold up the work.
const PATIENCE: Duration = Duration::from_secs(3);
/// And one that failed is not asked again for so long.
const AWAY: Duration = Duration::from_secs(30);

/// Something a person has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alert {
    /// A channel sold what was not there.
    Oversold {
        /// The channel's order.
        order_no: String,
        /// The product.
        product: String,
        /// Units that are missing.
        units: u32,
    },
    /// A channel refuses our credentials, or our address.
    Credentials {
        /// What it said.
        cause: String,
    },
    /// Credentials run out soon.
    Expiring {
        /// In how many days.
        days: u64,
    },
    /// A channel does not answer.
    Away {
        /// What it said last.
        cause: String,
    },
    /// A channel answers with something that cannot be read, again and again.
    Unreadable {
        /// What is wrong with it.
        cause: String,
    },
    /// A listing is refused for good.
    Refused {
        /// The product.
        product: String,
        /// What the channel said.
        cause: String,
    },
    /// A listing fails again and again, and shows an old number.
    Stuck {
        /// The product.
        product: String,
        /// What the channel said last.
        cause: String,
    },
    /// A price is refused for good; the units of its listing are still shown.
    PriceRefused {
        /// The product.
        product: String,
        /// What was asked, in won.
        price: u64,
        /// What the channel said.
        cause: String,
    },
    /// A buyer asks to cancel, and a person has to answer.
    CancelAsked {
        /// The channel's order.
        order_no: String,
        /// The product.
        product: String,
        /// Why it is not agreed to by itself: what the channel said; `None` if the shop decides each time.
        cause: Option<String>,
    },
    /// Orders of an item that is no listing: they wait for it.
    Unlisted {
        /// The channel's item.
        item: String,
    },
    /// Orders that cannot be read, or cannot be meant: nothing becomes of them without a person.
    Quarantined {
        /// Why.
        reason: String,
    },
    /// A channel does not let us confirm an order.
    Unconfirmed {
        /// The channel's order.
        order_no: String,
        /// The product.
        product: String,
        /// What the channel said.
        cause: String,
    },
    /// A listing costs less than its policy allows, and cannot be raised; or was sold for less.
    BelowFloor {
        /// The product.
        product: String,
        /// What it costs a buyer, in won.
        price: u64,
        /// What it has to cost, in won.
        floor: u64,
    },
}

impl Alert {
    /// Its kind, as the metric of its channel names it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Oversold { .. } => "oversold",
            Self::Credentials { .. } => "credentials",
            Self::Expiring { .. } => "expiring",
            Self::Away { .. } => "away",
            Self::Unreadable { .. } => "unreadable",
            Self::Refused { .. } => "refused",
            Self::Stuck { .. } => "stuck",
            Self::PriceRefused { .. } => "price_refused",
            Self::CancelAsked { .. } => "cancel_asked",
            Self::Unlisted { .. } => "unlisted",
            Self::Quarantined { .. } => "quarantined",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::BelowFloor { .. } => "below_floor",
        }
    }

    /// What it is about, as the metric names it that alarms watch: kinds that ask the same people for the same thing have one alarm.
    const fn subject(&self) -> &'static str {
        match self {
            Self::Oversold { .. } => "oversold",
            Self::Credentials { .. } => "credentials",
            Self::Expiring { .. } => "expiry",
            Self::Away { .. } | Self::Unreadable { .. } => "away",
            Self::Refused { .. }
            | Self::Stuck { .. }
            | Self::PriceRefused { .. }
            | Self::BelowFloor { .. } => "listings",
            Self::CancelAsked { .. }
            | Self::Unlisted { .. }
            | Self::Quarantined { .. }
            | Self::Unconfirmed { .. } => "orders",
        }
    }

    /// How long it is not told again if it stays the same.
    const fn quiet(&self) -> Duration {
        match self {
            Self::Expiring { .. } => QUIET_DAY,
            Self::Oversold { .. }
            | Self::Credentials { .. }
            | Self::Away { .. }
            | Self::Unreadable { .. }
            | Self::Refused { .. }
            | Self::Stuck { .. }
            | Self::PriceRefused { .. }
            | Self::CancelAsked { .. }
            | Self::Unlisted { .. }
            | Self::Quarantined { .. }
            | Self::Unconfirmed { .. }
            | Self::BelowFloor { .. } => QUIET,
        }
    }

    /// What happened and what to do, in Korean: it is read by the operations team.
    #[must_use]
    pub fn text(&self, channel: &str) -> String {
        match self {
            Self::Oversold {
                order_no,
                product,
                units,
            } => format!(
                "[{channel}] 초과 판매: 주문 {order_no}, 상품 {product}, 부족 수량 {units}개. 재고를 추가하거나, 채널에서 해당 주문을 품절 취소해 주세요."
            ),
            Self::Credentials { cause } => format!(
                "[{channel}] 인증이 거부되었습니다 ({cause}). 채널 관리자 화면에서 API 키와 허용 IP를 확인해 주세요. 새 키는 Secrets Manager에 새 이름으로 저장하고 스택의 SecretName을 그 이름으로 바꿔 배포해 주세요(값만 바꾸면 반영되지 않습니다). 그 전까지 재고와 주문이 연동되지 않습니다."
            ),
            Self::Expiring { days } => format!(
                "[{channel}] API 키가 {days}일 뒤 만료됩니다. 새 키를 발급받아 Secrets Manager에 새 이름으로 저장하고, 스택의 SecretName을 그 이름으로 바꿔 배포해 주세요(값만 바꾸면 반영되지 않습니다)."
            ),
            Self::Away { cause } => format!(
                "[{channel}] 채널이 응답하지 않습니다 ({cause}). 자동으로 다시 시도합니다. 길어지면 채널의 공지를 확인하고, 필요하면 판매를 중지해 주세요."
            ),
            Self::Unreadable { cause } => format!(
                "[{channel}] 채널의 응답을 읽을 수 없습니다 ({cause}). 자동으로 다시 시도하지만, 그동안 이 채널의 주문이나 재고가 연동되지 않습니다. 채널의 API 변경 공지를 확인하고 개발 담당자에게 알려 주세요. 읽지 못한 주문 목록의 원본은 카탈로그 테이블의 격리 항목(GET /channels/{channel}/quarantine)에 보관됩니다."
            ),
            Self::Refused { product, cause } => format!(
                "[{channel}] 상품 {product}의 재고·가격을 채널이 거절했습니다 ({cause}). 상품 연결 정보(상품번호, 옵션번호)와 판매 상태를 확인한 뒤 다시 저장해 주세요."
            ),
            Self::Stuck { product, cause } => format!(
                "[{channel}] 상품 {product}의 재고·가격 연동이 계속 실패하고 있습니다 ({cause}). 자동으로 다시 시도하지만 채널에는 이전 재고가 표시됩니다. 채널 관리자 화면에서 상품을 확인하고, 필요하면 재고를 직접 맞추거나 판매를 중지해 주세요."
            ),
            Self::PriceRefused {
                product,
                price,
                cause,
            } => format!(
                "[{channel}] 상품 {product}의 가격 {price}원을 채널이 거절했습니다 ({cause}). 재고는 계속 연동됩니다. 가격을 나누어 바꾸거나 채널에서 직접 바꾼 뒤, 상품 연결을 다시 저장해 주세요."
            ),
            Self::CancelAsked {
                order_no,
                product,
                cause,
            } => {
                let cause = cause
                    .as_ref()
                    .map_or_else(String::new, |cause| format!(" 자동 승인 실패: {cause}."));
                format!(
                    "[{channel}] 취소 요청: 주문 {order_no}, 상품 {product}.{cause} 발송 전이면 채널에서 승인하고, 이미 발송했으면 송장을 등록해 주세요. 취소가 확정되면 재고는 자동으로 돌아옵니다."
                )
            }
            Self::Unlisted { item } => format!(
                "[{channel}] 연결되지 않은 상품 {item}의 주문이 보관되었습니다. 상품 연결을 등록하면 다음 수집 때 자동으로 반영됩니다."
            ),
            Self::Quarantined { reason } => format!(
                "[{channel}] 읽을 수 없는 주문이 보관되었습니다 ({reason}). 자동으로 반영되지 않으니, 채널 관리자 화면에서 주문을 확인하고 재고를 직접 조정해 주세요."
            ),
            Self::Unconfirmed {
                order_no,
                product,
                cause,
            } => format!(
                "[{channel}] 주문 {order_no}, 상품 {product}의 발주 확인이 거절되었습니다 ({cause}). 재고에는 반영되었지만 다시 시도하지 않으니, 채널 관리자 화면에서 주문 상태를 보고 직접 발주 확인하거나 취소해 주세요."
            ),
            Self::BelowFloor {
                product,
                price,
                floor,
            } => format!(
                "[{channel}] 상품 {product}의 실제 판매가 {price}원이 자사몰 정가 {floor}원보다 낮습니다. 판매자 부담 할인과 쿠폰을 확인해 주세요."
            ),
        }
    }
}

/// Tells people.
pub struct Alerts {
    redis: Redis,
    keys: Keys,
    webhook: Option<Secret>,
    client: OnceCell<Client>,
    /// When the webhook failed last.
    away: Mutex<Option<Timestamp>>,
}

impl Alerts {
    /// Tells by metrics, and by the webhook if there is one.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys, webhook: Option<Secret>) -> Self {
        Self {
            redis,
            keys,
            webhook,
            client: OnceCell::new(),
            away: Mutex::default(),
        }
    }

    /// Tells an alert of a channel; to the webhook not more than once an hour if it is the same, or once a day if there are days for it.
    pub async fn tell(&self, channel: &str, alert: &Alert) {
        let text = alert.text(channel);
        // Over all channels as well: that is what alarms watch.
        counter!("channel_alerts", "subject" => alert.subject()).increment(1);
        counter!("channel_alerts", "channel" => channel.to_owned(), "kind" => alert.kind())
            .increment(1);
        tracing::error!(channel, alert.kind = alert.kind(), "{text}");
        let Some(webhook) = &self.webhook else { return };
        if self.is_away() {
            return;
        }
        let place = self.keys.alerted(&id::digest(&[channel, &text], 10));
        let mut command = redis::cmd("SET");
        command
            .arg(&place)
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(alert.quiet().as_secs());
        let mut commands = redis::pipe();
        commands.add_command(command);
        // If Redis does not say, it is told once too often rather than never.
        if let Ok((None,)) = self.redis.send::<(Option<String>,)>(&commands).await {
            return;
        }
        let client = self.client.get_or_init(async || Client::new()).await;
        let answer = client
            .post(webhook.reveal())
            .timeout(PATIENCE)
            .json(&json!({ "text": text }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        if let Err(error) = answer {
            tracing::warn!(error = %error.without_url(), "the alert webhook did not take an alert");
            *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
            // It was not told: the next time it is.
            let mut commands = redis::pipe();
            commands.del(&place).ignore();
            if let Err(error) = self.redis.send::<()>(&commands).await {
                tracing::warn!(%error, "the same alert is not told for a while");
            }
        }
    }

    /// Whether the webhook failed a moment ago: many alerts would wait for it one after another, and hold up who tells them.
    fn is_away(&self) -> bool {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|since| clock::now() < since + AWAY)
    }
}
