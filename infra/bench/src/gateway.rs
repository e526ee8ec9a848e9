//! What stands in for API Gateway: WebSockets to viewers, and `@connections` to us. One thread serves thousands of either,
//! because a thread for each would take more of the two cores than what is measured.

use std::{
    collections::HashMap,
    io::{self, IoSlice, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use crate::{
    Result,
    runtime_api::Work as _,
    sockets::{self, Happened, Sockets},
    wire::{self, Request},
};

const LISTENER: Token = Token(usize::MAX - 1);
const BELL: Token = Token(usize::MAX - 2);
const READ_AT_ONCE: usize = 64 * 1024;

/// Answers of `@connections`.
const DELIVERED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const DELETED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const GONE: &[u8] =
    b"HTTP/1.1 410 Gone\r\nx-amzn-errortype: GoneException\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const SLOW: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nx-amzn-errortype: LimitExceededException\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
const UNKNOWN: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// A gateway on the loopback address. Its thread ends with the bench.
pub struct Gateway {
    /// Where viewers connect and functions post.
    pub address: SocketAddr,
    /// What `ws-connections` is told.
    pub sockets: Arc<Sockets>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    posts: AtomicU64,
    slow: AtomicU64,
    /// Of a thousand posts, how many are refused as if their viewer were slow.
    slow_per_mille: AtomicU32,
}

/// How posts were answered.
#[derive(Clone, Copy)]
pub struct Posts {
    /// All of them.
    pub all: u64,
    /// With 429.
    pub slow: u64,
}

impl Gateway {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        let (answer, answers) = mpsc::channel();
        let sockets = Arc::new(Sockets::new(answer, bell));
        let counts = Arc::new(Counts::default());
        let serving = Serving {
            poll,
            listener,
            answers,
            sockets: Arc::clone(&sockets),
            counts: Arc::clone(&counts),
            peers: Slab::new(),
            viewers: HashMap::new(),
            made: 0,
        };
        thread::spawn(move || {
            let sockets = Arc::clone(&serving.sockets);
            if let Err(error) = serving.run() {
                sockets.failed(format!("the gateway ended: {error}"));
            }
        });
        Ok(Self {
            address,
            sockets,
            counts,
        })
    }

    /// From now on so many of a thousand posts are refused, as if their viewers were slow.
    pub fn slow(&self, per_mille: u32) {
        self.counts
            .slow_per_mille
            .store(per_mille, Ordering::Relaxed);
    }

    /// The posts so far.
    pub fn posts(&self) -> Posts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Posts {
            all: count(&self.counts.posts),
            slow: count(&self.counts.slow),
        }
    }
}

/// The thread of a gateway.
struct Serving {
    poll: Poll,
    listener: TcpListener,
    answers: Receiver<(u64, u16)>,
    sockets: Arc<Sockets>,
    counts: Arc<Counts>,
    peers: Slab<Peer>,
    /// Where in `peers` a connection is.
    viewers: HashMap<u64, usize>,
    made: u64,
}

struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    /// What its socket had no room for.
    unsent: Vec<u8>,
    kind: Kind,
}

enum Kind {
    /// Speaks HTTP: a function that posts, or a viewer who has not said what they want.
    Http,
    /// Waits to be let in.
    Coming { connection: u64, key: String },
    /// Is in.
    Viewer { connection: u64 },
}

/// Whether a peer stays.
enum Next {
    Stay,
    Close,
}

impl Serving {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let mut scratch = vec![0; READ_AT_ONCE];
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    BELL => self.let_in(),
                    Token(place) => {
                        if let Next::Close = self.ready(place, &mut scratch) {
                            self.close(place);
                        }
                    }
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let _nagle_stays = stream.set_nodelay(true);
            let entry = self.peers.vacant_entry();
            self.poll.registry().register(
                &mut stream,
                Token(entry.key()),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            entry.insert(Peer {
                stream,
                received: Vec::new(),
                unsent: Vec::new(),
                kind: Kind::Http,
            });
        }
    }

    /// Viewers whose `$connect` was answered.
    fn let_in(&mut self) {
        while let Ok((connection, status)) = self.answers.try_recv() {
            let Some(&place) = self.viewers.get(&connection) else {
                continue;
            };
            let Some(peer) = self.peers.get_mut(place) else {
                continue;
            };
            let Kind::Coming { key, .. } = &peer.kind else {
                continue;
            };
            let answer = if status == 200 {
                wire::upgrade(key)
            } else {
                format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n")
            };
            let sent = peer.send(&[answer.as_bytes()]);
            if status == 200 && sent.is_ok() {
                peer.kind = Kind::Viewer { connection };
            } else {
                self.close(place);
            }
        }
    }

    fn close(&mut self, place: usize) {
        let Some(peer) = self.peers.try_remove(place) else {
            return;
        };
        match peer.kind {
            Kind::Http => {}
            Kind::Coming { connection, .. } => {
                self.viewers.remove(&connection);
            }
            Kind::Viewer { connection } => {
                self.viewers.remove(&connection);
                self.sockets.tell(connection, Happened::Went);
            }
        }
    }

    /// A socket has something, or has room again.
    fn ready(&mut self, place: usize, scratch: &mut [u8]) -> Next {
        let Some(peer) = self.peers.get_mut(place) else {
            return Next::Stay;
        };
        if peer.send(&[]).is_err() {
            return Next::Close;
        }
        loop {
            match peer.stream.read(scratch) {
                Ok(0) => return Next::Close,
                Ok(length) => {
                    peer.received.extend_from_slice(&scratch[..length]);
                    // A short read has emptied the socket.
                    if length < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Next::Close,
            }
        }
        match peer.kind {
            Kind::Http => self.requests(place),
            Kind::Viewer { connection } => self.messages(place, connection),
            // Nothing may be said before one is in.
            Kind::Coming { .. } => Next::Stay,
        }
    }

    fn requests(&mut self, place: usize) -> Next {
        let received = std::mem::take(&mut self.peers[place].received);
        let mut rest = received.as_slice();
        let mut answers = Vec::new();
        let next = loop {
            match wire::request(rest) {
                Ok(None) => break Next::Stay,
                Ok(Some((request, after))) => {
                    rest = after;
                    if let Request::Upgrade {
                        key,
                        token,
                        broadcast,
                    } = request
                    {
                        self.made += 1;
                        let connection = self.made;
                        self.viewers.insert(connection, place);
                        self.peers[place].kind = Kind::Coming { connection, key };
                        self.sockets
                            .tell(connection, Happened::Came { token, broadcast });
                        break Next::Stay;
                    }
                    answers.extend_from_slice(self.answer(&request));
                }
                Err(_) => break Next::Close,
            }
        };
        let peer = &mut self.peers[place];
        peer.received = rest.to_vec();
        match (next, peer.send(&[&answers])) {
            (Next::Stay, Ok(())) => Next::Stay,
            _ => Next::Close,
        }
    }

    /// Does what `@connections` is asked.
    fn answer(&mut self, request: &Request<'_>) -> &'static [u8] {
        let (id, message) = match request {
            Request::Post { id, message } => (id, Some(*message)),
            Request::Delete { id } => (id, None),
            Request::Upgrade { .. } | Request::Other => return UNKNOWN,
        };
        let place = sockets::connection(id).and_then(|connection| self.viewers.get(&connection));
        let peer = place.and_then(|place| Some((*place, self.peers.get_mut(*place)?)));
        let Some(message) = message else {
            return match peer {
                Some((place, peer)) => {
                    let _closing = peer.send(&[wire::CLOSE]);
                    self.close(place);
                    DELETED
                }
                None => GONE,
            };
        };
        self.counts.posts.fetch_add(1, Ordering::Relaxed);
        let Some((place, peer)) = peer else {
            return GONE;
        };
        if !matches!(peer.kind, Kind::Viewer { .. }) {
            return GONE;
        }
        let refused = self.counts.slow_per_mille.load(Ordering::Relaxed);
        if !peer.unsent.is_empty() || (refused > 0 && fastrand::u32(..1_000) < refused) {
            self.counts.slow.fetch_add(1, Ordering::Relaxed);
            return SLOW;
        }
        let (head, length) = wire::head(message.len());
        if peer.send(&[&head[..length], message]).is_err() {
            self.close(place);
            return GONE;
        }
        DELIVERED
    }

    fn messages(&mut self, place: usize, connection: u64) -> Next {
        let peer = &mut self.peers[place];
        let received = std::mem::take(&mut peer.received);
        let mut rest = received.as_slice();
        loop {
            match wire::message(rest) {
                Ok(None) => break,
                Ok(Some((wire::Message::Text(text), after))) => {
                    rest = after;
                    self.sockets.tell(connection, Happened::Said(text));
                }
                Ok(Some((wire::Message::Close, _))) | Err(_) => return Next::Close,
            }
        }
        peer.received = rest.to_vec();
        Next::Stay
    }
}

impl Peer {
    /// Sends what waits and then these parts; what the socket has no room for waits.
    fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut sent = 0;
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        if self.unsent.is_empty() && whole > 0 {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            sent = match self.stream.write_vectored(&slices) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        for part in parts {
            let begun = sent.min(part.len());
            self.unsent.extend_from_slice(&part[begun..]);
            sent -= begun;
        }
        Ok(())
    }
}
