//! What each function is made of: configuration read, clients wired, once, at start. Nothing here talks to the network; the
//! first invocation does.

use crate::{
    auth::Tokens,
    aws::{Aws, Patience},
    broadcast::{Studio, fence::Fence},
    catalog::Catalog,
    config::{self, AwsConfig, ConfigError, RedisConfig},
    connection::Redis,
    http::{orders::OrdersApi, studio::StudioApi},
    keys::Keys,
    ledger::Ledger,
    order::{accept::Orders, process::Settlement},
    payment::Toss,
    queue::Queue,
    room::{Rooms, post::Post, pump::Pump, socket::Sockets},
    stock::Gate,
};

/// Why a function cannot start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

struct Parts {
    aws: Aws,
    redis: Redis,
    keys: Keys,
}

impl Parts {
    fn from_env(patience: Patience) -> Result<Self, Error> {
        let config = RedisConfig::from_env()?;
        Ok(Self {
            aws: Aws::new(AwsConfig::from_env()?, patience),
            redis: Redis::new(&config.url)?,
            keys: Keys::new(&config.shop_id),
        })
    }

    fn gate(&self) -> Gate {
        Gate::new(self.redis.clone(), self.keys.clone())
    }

    fn ledger(&self) -> Result<Ledger, ConfigError> {
        Ok(Ledger::new(
            self.aws.clone(),
            config::stock_table()?,
            config::orders_table()?,
        ))
    }

    fn catalog(&self) -> Result<Catalog, ConfigError> {
        Ok(Catalog::new(self.aws.clone(), config::catalog_table()?))
    }

    fn rooms(&self) -> Result<Rooms, ConfigError> {
        let wakes = config::room_wake_queue_url()?;
        Ok(Rooms::new(
            self.redis.clone(),
            self.keys.clone(),
            self.aws.clone(),
            wakes,
        ))
    }

    fn post(&self) -> Result<Post, ConfigError> {
        Ok(Post::new(
            self.aws.clone(),
            config::websocket_callback_url()?,
        ))
    }

    fn fence(&self) -> Result<Fence, ConfigError> {
        Ok(Fence {
            ledger: self.ledger()?,
            gate: self.gate(),
        })
    }
}

fn tokens() -> Result<Tokens, ConfigError> {
    config::token_secret().map(|secret| Tokens::new(&secret))
}

/// `order-accept`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn order_accept() -> Result<OrdersApi, Error> {
    let parts = Parts::from_env(Patience::Short)?;
    Ok(OrdersApi {
        tokens: tokens()?,
        orders: Orders {
            gate: parts.gate(),
            queue: Queue::new(parts.aws.clone(), config::orders_queue_url()?),
            ledger: parts.ledger()?,
            catalog: parts.catalog()?,
            hold_period: config::hold_period()?,
        },
    })
}

/// `order-process`, and the queue that brings its orders.
///
/// # Errors
/// A variable is missing or malformed.
pub fn order_process() -> Result<(Settlement, Queue), Error> {
    let parts = Parts::from_env(Patience::Long)?;
    let payments = Toss::new(config::toss_base_url()?, config::toss_secret_key()?);
    let settlement = Settlement {
        fence: parts.fence()?,
        payments,
        rooms: parts.rooms()?,
    };
    Ok((
        settlement,
        Queue::new(parts.aws, config::orders_queue_url()?),
    ))
}

/// `stock-fanout`, and the queue that brings its wakes.
///
/// # Errors
/// A variable is missing or malformed.
pub fn stock_fanout() -> Result<(Pump, Queue), Error> {
    let parts = Parts::from_env(Patience::Short)?;
    let pump = Pump::new(parts.rooms()?, parts.post()?, config::callback_budget()?);
    Ok((pump, Queue::new(parts.aws, config::room_wake_queue_url()?)))
}

/// `ws-connections`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn ws_connections() -> Result<Sockets, Error> {
    let parts = Parts::from_env(Patience::Short)?;
    Ok(Sockets {
        rooms: parts.rooms()?,
        catalog: parts.catalog()?,
        fence: parts.fence()?,
        tokens: tokens()?,
        post: parts.post()?,
        redis: parts.redis.clone(),
        keys: parts.keys.clone(),
    })
}

/// `broadcast-admin`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn broadcast_admin() -> Result<StudioApi, Error> {
    let parts = Parts::from_env(Patience::Short)?;
    let studio = Studio {
        catalog: parts.catalog()?,
        fence: parts.fence()?,
        rooms: parts.rooms()?,
    };
    Ok(StudioApi {
        tokens: tokens()?,
        studio,
    })
}
