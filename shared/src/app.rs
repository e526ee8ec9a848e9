//! What each function is made of: configuration read, clients wired, once, at start. Nothing here talks to the network; the
//! first invocation does.

use std::sync::Arc;

use crate::{
    auth::Tokens,
    aws::{Aws, Patience},
    broadcast::{Studio, fence::Fence, shrink::Shrink},
    catalog::Catalog,
    channel::{
        Ports,
        alert::Alerts,
        backlog::Backlog,
        call::Setup,
        circuit::{Circuits, Side},
        desk::Desk,
        governor::Governor,
        listing::OWN_STORE,
        look::Looks,
        pull::{Pull, Turns},
        push::Push,
        resync::LOOK_WAIT,
        wake::Wakes,
    },
    config::{self, AwsConfig, ConfigError, RedisConfig},
    connection::Redis,
    http::{hints::HintsApi, orders::OrdersApi, payments::PaymentsApi, studio::StudioApi},
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

    fn backlog(&self) -> Backlog {
        Backlog::new(self.redis.clone(), self.keys.clone())
    }

    fn circuits(&self, side: Side) -> Circuits {
        Circuits::new(self.redis.clone(), self.keys.clone(), side)
    }

    fn alerts(&self) -> Alerts {
        let (redis, keys) = (self.redis.clone(), self.keys.clone());
        Alerts::new(redis, keys, config::alert_webhook())
    }

    fn sync_queue(&self) -> Result<Queue, ConfigError> {
        let url = config::channel_sync_queue_url()?;
        Ok(Queue::new(self.aws.clone(), url))
    }

    fn pull_queue(&self) -> Result<Queue, ConfigError> {
        let url = config::channel_pull_queue_url()?;
        Ok(Queue::new(self.aws.clone(), url))
    }

    /// The ports of all channels. One whose setup is wrong is left out alone.
    fn ports(&self) -> Result<Ports, Error> {
        let catalog = self.catalog()?;
        let mut ports = Ports::default();
        for name in config::channel_names()? {
            if let Err(error) = self.open(&name, &catalog, &mut ports) {
                let cause = error.to_string();
                tracing::error!(
                    channel = name,
                    cause,
                    "a channel is left out: its setup is wrong"
                );
                ports.leave_out(&name, cause);
            }
        }
        Ok(ports)
    }

    fn open(&self, name: &str, catalog: &Catalog, ports: &mut Ports) -> Result<(), Error> {
        let channel = config::channel(name)?;
        let (redis, keys) = (self.redis.clone(), self.keys.clone());
        let setup = Setup {
            base_url: channel.base_url,
            credentials: channel.credentials,
            quota: Arc::new(Governor::new(redis, keys, name)),
            tokens: Arc::new(catalog.tokens(name)),
            channel: channel.name,
        };
        Ok(ports.open(&channel.marketplace, setup)?)
    }

    fn fence(&self) -> Result<Fence, ConfigError> {
        Ok(Fence {
            ledger: self.ledger()?,
            gate: self.gate(),
            channels: Wakes::new(self.sync_queue()?, self.backlog()),
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
        shrink: Shrink {
            channels: config::channel_names()?,
            circuits: parts.circuits(Side::Push),
            patience: config::fence_wait()?,
        },
    };
    let desk = Desk {
        catalog: parts.catalog()?,
        fence: parts.fence()?,
        backlog: parts.backlog(),
        circuits: [Side::Pull, Side::Push].map(|side| parts.circuits(side)),
        pulls: parts.pull_queue()?,
        looks: Looks::new(parts.redis.clone(), parts.keys.clone()),
        look_wait: LOOK_WAIT,
        channels: config::channel_names()?,
    };
    Ok(StudioApi {
        tokens: tokens()?,
        studio,
        desk,
    })
}

/// `channel-poll`, and the queue that brings its wakes.
///
/// # Errors
/// A variable is missing or malformed.
pub fn channel_poll() -> Result<(Pull, Queue), Error> {
    let parts = Parts::from_env(Patience::Long)?;
    let queue = parts.pull_queue()?;
    let pull = Pull {
        ports: parts.ports()?,
        catalog: parts.catalog()?,
        fence: parts.fence()?,
        circuits: parts.circuits(Side::Pull),
        pulls: queue.clone(),
        alerts: parts.alerts(),
        cancels_oversold: config::cancels_oversold(),
        approves_cancellations: config::approves_cancellations(),
        turns: Turns::new(parts.redis.clone(), parts.keys.clone()),
    };
    Ok((pull, queue))
}

/// `channel-hint`.
///
/// # Errors
/// A variable is missing or malformed.
pub fn channel_hint() -> Result<HintsApi, Error> {
    let parts = Parts::from_env(Patience::Short)?;
    let secret = config::signed_shop()?;
    Ok(HintsApi {
        shop: secret.map(|secret| (OWN_STORE.to_owned(), secret)),
        pulls: parts.pull_queue()?,
        redis: parts.redis,
        keys: parts.keys,
    })
}

/// `channel-sync`, and the queue that brings its wakes.
///
/// # Errors
/// A variable is missing or malformed.
pub fn channel_sync() -> Result<(Push, Queue), Error> {
    let parts = Parts::from_env(Patience::Long)?;
    let queue = parts.sync_queue()?;
    let push = Push {
        ports: parts.ports()?,
        catalog: parts.catalog()?,
        ledger: parts.ledger()?,
        backlog: parts.backlog(),
        looks: Looks::new(parts.redis.clone(), parts.keys.clone()),
        circuits: parts.circuits(Side::Push),
        wakes: Wakes::new(queue.clone(), parts.backlog()),
        pulls: parts.pull_queue()?,
        alerts: parts.alerts(),
    };
    Ok((push, queue))
}
