//! The listeners, and the two ways to run them: to the end of the process, or beside a test.

use std::{io, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use fakes::{
    Cut,
    server::{self, Beside, base_url, bind},
};
use tokio::net::TcpListener;

use crate::{
    control, coupang::Coupang, elevenst::ElevenSt, exchange::exchange, market::Market,
    ownstore::OwnStore, settings::Settings, smartstore::SmartStore, webhooks::deliver,
    world::Shared,
};

/// One bound port for each marketplace: real signatures are made over real paths, so no path can have a prefix that
/// tells them apart.
#[derive(Debug)]
pub struct Listeners {
    settings: Settings,
    smartstore: TcpListener,
    coupang: TcpListener,
    elevenst: TcpListener,
    ownstore: TcpListener,
}

impl Listeners {
    /// Takes the ports of the settings on 127.0.0.1. Connections wait from here on.
    pub async fn bind(settings: Settings) -> io::Result<Self> {
        Ok(Self {
            smartstore: bind(settings.smartstore_port).await?,
            coupang: bind(settings.coupang_port).await?,
            elevenst: bind(settings.elevenst_port).await?,
            ownstore: bind(settings.ownstore_port).await?,
            settings,
        })
    }

    /// Each marketplace's name and `http://127.0.0.1:PORT`.
    pub fn base_urls(&self) -> io::Result<[(&'static str, String); 4]> {
        Ok([
            (SmartStore::NAME, base_url(&self.smartstore)?),
            (Coupang::NAME, base_url(&self.coupang)?),
            (ElevenSt::NAME, base_url(&self.elevenst)?),
            (OwnStore::NAME, base_url(&self.ownstore)?),
        ])
    }

    /// Serves all of them until the future is dropped.
    pub async fn serve(self) -> io::Result<()> {
        let settings = self.settings;
        tokio::try_join!(
            serve::<SmartStore>(self.smartstore, settings.smartstore),
            serve::<Coupang>(self.coupang, settings.coupang),
            serve::<ElevenSt>(self.elevenst, settings.elevenst),
            serve::<OwnStore>(self.ownstore, settings.ownstore),
        )?;
        Ok(())
    }
}

/// Everything but the control API is the marketplace's.
async fn serve<M: Market>(listener: TcpListener, credentials: M::Credentials) -> io::Result<()> {
    let shared = Arc::new(Shared::<M>::new(credentials));
    let app = control::router::<M>()
        .fallback(answer::<M>)
        .with_state(Arc::clone(&shared));
    tokio::try_join!(server::serve(listener, app), deliver(shared))?;
    Ok(())
}

async fn answer<M: Market>(
    State(shared): State<Arc<Shared<M>>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    exchange(shared, cut, request).await
}

/// Marketplaces that run inside this process until they are dropped.
#[derive(Debug)]
pub struct Marketplaces {
    urls: [(&'static str, String); 4],
    _server: Beside,
}

impl Marketplaces {
    /// Starts all four on the ports of the settings.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listeners = Listeners::bind(settings).await?;
        let urls = listeners.base_urls()?;
        Ok(Self {
            urls,
            _server: Beside::start(listeners.serve()),
        })
    }

    /// In place of `https://api.commerce.naver.com`.
    #[must_use]
    pub fn smartstore(&self) -> &str {
        let [(_, url), ..] = &self.urls;
        url
    }

    /// In place of `https://api-gateway.coupang.com`.
    #[must_use]
    pub fn coupang(&self) -> &str {
        let [_, (_, url), ..] = &self.urls;
        url
    }

    /// In place of `https://api.11st.co.kr`.
    #[must_use]
    pub fn elevenst(&self) -> &str {
        let [_, _, (_, url), _] = &self.urls;
        url
    }

    /// In place of the own store's host.
    #[must_use]
    pub fn ownstore(&self) -> &str {
        let [.., (_, url)] = &self.urls;
        url
    }
}
