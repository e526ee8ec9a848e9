//! Connections that are kept for the next request, on hyper's own. What the usual client does besides, to race a new
//! connection against one that comes back and to make ready for other versions of HTTP, takes more CPU than to sign a request.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service as _;

use super::signed::{Answer, Cause, Failure};

/// Services and the NAT close an idle connection later than we do.
const KEEP_FOR: Duration = Duration::from_secs(50);
/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

type Connection = SendRequest<Full<Bytes>>;

/// Connections to one service, each for one request at a time.
pub(super) struct Connections {
    endpoint: Uri,
    connect_timeout: Duration,
    /// How long an idle connection is kept.
    keep_for: Duration,
    connector: OnceLock<HttpsConnector<HttpConnector>>,
    /// The one that was used last is at the end, and is used next: what is not needed any more grows old.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    since: Instant,
    connection: Connection,
}

impl Connections {
    pub(super) fn new(endpoint: Uri, connect_timeout: Duration) -> Self {
        Self {
            endpoint,
            connect_timeout,
            keep_for: KEEP_FOR,
            connector: OnceLock::new(),
            idle: Mutex::default(),
        }
    }

    /// Sends a request, whose URI is only a path. The service may close an idle connection at any time: a request of which
    /// nothing was written goes over another one.
    ///
    /// # Errors
    /// There was no answer: definite if nothing of the request was written.
    pub(super) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        loop {
            let kept = self.take();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                // Seldom, and large: in a box, as this is moved and kept for each request that is on its way.
                None => Box::pin(self.connect()).await.map_err(Failure::definite)?,
            };
            let sent = match connection.ready().await {
                Ok(()) => connection.try_send_request(request).await,
                Err(_closed) if was_kept => continue,
                Err(error) => return Err(Failure::definite(error.into())),
            };
            match sent {
                Ok(answer) => {
                    let status = answer.status();
                    // Read to its end, so that the connection can be used again.
                    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
                    if body.is_ok() {
                        self.keep(connection);
                    }
                    let body = body.map(|body| body.to_bytes().into()).unwrap_or_default();
                    return Ok(Answer { status, body });
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept => request = unsent,
                    Some(_unsent) => return Err(Failure::definite(error.into_error().into())),
                    None => {
                        return Err(Failure::unknown(error.into_error().into()));
                    }
                },
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Cause> {
        let stream = self.connector().clone().call(self.endpoint.clone()).await?;
        // In one write: to copy a body of the usual size costs less than to hand over two buffers.
        let handshake = http1::Builder::new().writev(false).handshake(stream);
        let (sender, connection) = handshake.await?;
        // How it ends, whoever waits for an answer is told.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take(&self) -> Option<Connection> {
        let newest = self.idle().pop_back()?;
        (newest.since.elapsed() < self.keep_for).then_some(newest.connection)
    }

    fn keep(&self, connection: Connection) {
        let since = Instant::now();
        let mut idle = self.idle();
        while let Some(oldest) = idle.front()
            && since - oldest.since >= self.keep_for
        {
            idle.pop_front();
        }
        idle.push_back(Idle { since, connection });
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Made at its first use: its TLS roots take several milliseconds.
    fn connector(&self) -> &HttpsConnector<HttpConnector> {
        self.connector.get_or_init(|| {
            let mut tcp = HttpConnector::new();
            tcp.set_nodelay(true);
            tcp.enforce_http(false);
            tcp.set_connect_timeout(Some(self.connect_timeout));
            HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
                .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots())
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Semaphore,
    };

    use super::*;
    use crate::error::Certainty;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const LATE: &[u8] = b"HTTP/1.1 500 Late\r\ncontent-length: 0\r\n\r\n";

    /// A service and what it has seen.
    struct Service {
        connections: Connections,
        accepted: Arc<AtomicUsize>,
        closed: Arc<Semaphore>,
    }

    impl Service {
        /// One that answers so many requests on each connection, and closes it then.
        async fn of(answers: usize) -> Self {
            let (listener, connections) = listen().await;
            let accepted = Arc::new(AtomicUsize::new(0));
            let closed = Arc::new(Semaphore::new(0));
            let (count, told) = (Arc::clone(&accepted), Arc::clone(&closed));
            tokio::spawn(async move {
                while let Ok((caller, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let told = Arc::clone(&told);
                    tokio::spawn(async move {
                        answer(caller, answers).await;
                        told.add_permits(1);
                    });
                }
            });
            Self {
                connections,
                accepted,
                closed,
            }
        }

        async fn is_well(&self) -> bool {
            let answer = self.connections.exchange(request()).await;
            answer.is_ok_and(|answer| answer.status == 200 && answer.body == b"ok")
        }

        fn accepted(&self) -> usize {
            self.accepted.load(Ordering::SeqCst)
        }
    }

    fn request() -> Request<Full<Bytes>> {
        let request = Request::post("/").header("host", "it");
        request.body(Full::default()).expect("a request")
    }

    async fn listen() -> (TcpListener, Connections) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let endpoint = format!("http://{address}").parse().expect("is a URL");
        let connections = Connections::new(endpoint, Duration::from_secs(1));
        (listener, connections)
    }

    /// The next request, without a body; false if the caller hangs up.
    async fn asks(caller: &mut TcpStream) -> bool {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if !caller
                .read_buf(&mut request)
                .await
                .is_ok_and(|read| read > 0)
            {
                return false;
            }
        }
        true
    }

    /// Ends when so many requests are answered, or the caller hangs up.
    async fn answer(mut caller: TcpStream, answers: usize) {
        for _ in 0..answers {
            if !asks(&mut caller).await {
                return;
            }
            caller.write_all(OK).await.expect("is open");
        }
    }

    #[tokio::test]
    async fn one_connection_is_enough_for_one_request_after_the_other() {
        let service = Service::of(usize::MAX).await;
        for _ in 0..5 {
            assert!(service.is_well().await);
        }
        assert_eq!(service.accepted(), 1);
        let at_once = join_all((0..3).map(|_| service.is_well())).await;
        assert_eq!(at_once, [true; 3]);
        let again = join_all((0..3).map(|_| service.is_well())).await;
        assert_eq!(again, [true; 3]);
        assert_eq!(service.accepted(), 3);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_while_it_was_idle_is_replaced() {
        let service = Service::of(1).await;
        for n in 1..=3 {
            assert!(service.is_well().await);
            service.closed.acquire().await.expect("is open").forget();
            assert_eq!(service.accepted(), n);
        }
    }

    #[tokio::test]
    async fn what_may_have_been_read_is_not_sent_again() {
        let (listener, connections) = listen().await;
        let hang_up = async {
            let (mut caller, _) = listener.accept().await.expect("a caller");
            assert!(asks(&mut caller).await);
            drop(caller);
            listener.accept().await.map(drop)
        };
        tokio::select! {
            answer = connections.exchange(request()) => {
                let failure = answer.err().expect("nobody has answered");
                assert_eq!(failure.certainty, Certainty::Unknown);
            }
            _ = hang_up => panic!("it was sent again"),
        }
    }

    #[tokio::test]
    async fn connections_that_were_idle_for_long_are_closed_and_not_used() {
        let mut service = Service::of(usize::MAX).await;
        let at_once = join_all((0..3).map(|_| service.is_well())).await;
        assert_eq!(at_once, [true; 3]);
        service.connections.keep_for = Duration::ZERO;
        assert!(service.is_well().await);
        assert_eq!(service.accepted(), 4);
        service
            .closed
            .acquire_many(3)
            .await
            .expect("is open")
            .forget();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_not_taken_for_the_next_one() {
        let (listener, connections) = listen().await;
        let unanswered = async {
            let (mut caller, _) = listener.accept().await.expect("a caller");
            assert!(asks(&mut caller).await);
            caller
        };
        let mut late = tokio::select! {
            _ = connections.exchange(request()) => panic!("nobody has answered"),
            caller = unanswered => caller,
        };
        let (answered, ()) = tokio::join!(connections.exchange(request()), async {
            let (caller, _) = listener.accept().await.expect("another caller");
            // It may be closed by now.
            let _ = late.write_all(LATE).await;
            answer(caller, 1).await;
        });
        let answered = answered.map_err(|failure| failure.certainty);
        assert_eq!(answered.map(|answer| answer.status.as_u16()), Ok(200));
    }
}
