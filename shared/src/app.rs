//! What each function is made of: configuration read, clients wired, once, at start. Nothing here talks to the network; the
//! first invocation does.

use crate::{
    auth::Tokens,
    aws::{Aws, Patience},
    broadcast::{Studio, fence::Fence},
    catalog::Catalog,
    config::{self, AwsConfig, ConfigError, RedisConfig},
    connection::Redis,
    http::{orders::OrdersApi, payments::PaymentsApi, studio::StudioApi},
    keys::Keys,
    ledger::Ledger,
    order::{
        accept::Orders,
        pay::{PaymentTerms, Payments},
        process::{GATEWAY_PATIENCE, Settlement},
        reconcile::Reconcile,
        sweep::Sweep,
    },
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

    fn orders(&self) -> Result<Queue, ConfigError> {
        Ok(Queue::new(self.aws.clone(), config::orders_queue_url()?))
    }

    fn settlement(&self) -> Result<Settlement, ConfigError> {
        let payments = Toss::new(config::toss_base_url()?, config::toss_secret_key()?);
        Ok(Settlement {
            fence: self.fence()?,
            payments: Box::new(payments),
            rooms: self.rooms()?,
            terms: PaymentTerms::with_ceiling(config::hold_ceiling()?),
            gateway_patience: GATEWAY_PATIENCE,
        })
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
    let queue = parts.orders()?;
    Ok(OrdersApi {
        tokens: tokens()?,
        orders: Orders {
            gate: parts.gate(),
            queue: queue.clone(),
            ledger: parts.ledger()?,
            catalog: parts.catalog()?,
            sweep: Sweep {
                fence: parts.fence()?,
                queue,
            },
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
    Ok((parts.settlement()?, parts.orders()?))
}

/// `order-dead-letter`, and the queue that brings what nobody could settle.
///
/// # Errors
/// A variable is missing or malformed.
pub fn order_dead_letter() -> Result<(Settlement, Queue), Error> {
    let parts = Parts::from_env(Patience::Long)?;
    let queue = Queue::new(parts.aws.clone(), config::orders_dead_letter_queue_url()?);
    Ok((parts.settlement()?, queue))
}

/// `reconcile`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn reconcile() -> Result<Reconcile, Error> {
    let parts = Parts::from_env(Patience::Long)?;
    Ok(Reconcile {
        sweep: Sweep {
            fence: parts.fence()?,
            queue: parts.orders()?,
        },
        settlement: parts.settlement()?,
        catalog: parts.catalog()?,
        orders: parts.orders()?,
    })
}

/// `payment-webhook`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn payment_webhook() -> Result<PaymentsApi, Error> {
    let parts = Parts::from_env(Patience::Short)?;
    Ok(PaymentsApi {
        tokens: tokens()?,
        payments: Payments {
            fence: parts.fence()?,
            queue: parts.orders()?,
            catalog: parts.catalog()?,
            terms: PaymentTerms::with_ceiling(config::hold_ceiling()?),
        },
    })
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
        post: parts.post()?,
    };
    Ok(StudioApi {
        tokens: tokens()?,
        studio,
    })
}
