//! Viewers on real sockets, all on one thread: each comes, joins, and reads its frames.

use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use onepool::{
    auth::{Role, Tokens},
    clock, config,
};
use serde::Serialize;

use crate::{
    Result,
    plan::Plan,
    screen::Screen,
    seen::{Seen, Summary},
    talk::Said,
};

/// Viewers on their way into the room at once, when nobody has to hurry.
const COMING_AT_ONCE: usize = 64;
const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);
const READ_AT_ONCE: usize = 256 * 1024;
const TURN: Duration = Duration::from_millis(20);
/// The example of RFC 6455, and what it must be answered: a handshake proves nothing here that needs a random key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// The kind of a frame that closes.
const CLOSE: u8 = 0x88;
/// Who leaves in order to come back does so after this, so that there is something to come back to.
const FIRST_LEAVES_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    /// The socket is being opened, or the upgrade is not answered yet.
    Coming,
    /// Joined, and not answered yet.
    Joining,
    Seated,
}

struct Viewer {
    token: String,
    stream: Option<TcpStream>,
    state: State,
    asked: bool,
    /// The beginning of a frame whose rest is on its way.
    received: Vec<u8>,
    screen: Screen,
}

/// All viewers of a room.
pub struct Crowd {
    plan: Plan,
    said: Arc<Said>,
    poll: Poll,
    viewers: Vec<Viewer>,
    scratch: Vec<u8>,
    seen: Seen,
    /// Viewers that have left in order to come back.
    left: usize,
    anew: u64,
    back_at: Option<Instant>,
}

/// What became of the crowd.
#[derive(Serialize)]
pub struct Told {
    #[serde(flatten)]
    summary: Summary,
    /// Chats that viewers never got, and that they got twice.
    missed: u64,
    twice: u64,
    /// Viewers that came back, after how long from the first to the last, and how many of them had to begin anew.
    came_back: usize,
    back_s: f64,
    anew: u64,
    /// What the screens say is left: the least and the most.
    left: (u64, u64),
}

impl Crowd {
    /// Nobody is there yet.
    pub fn new(plan: &Plan, said: Arc<Said>) -> Result<Self> {
        let tokens = Tokens::new(&config::token_secret()?);
        let until = clock::now() + TOKEN_LIFETIME;
        let viewers = (0..plan.viewers)
            .map(|number| {
                let user = format!("viewer-{number:05}").parse()?;
                Ok(Viewer {
                    token: tokens.sign(user, "구매자", Role::Viewer, until)?,
                    stream: None,
                    state: State::Away,
                    asked: false,
                    received: Vec::new(),
                    screen: Screen::default(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            plan: plan.clone(),
            said,
            poll: Poll::new()?,
            viewers,
            scratch: vec![0; READ_AT_ONCE],
            seen: Seen::default(),
            left: 0,
            anew: 0,
            back_at: None,
        })
    }

    /// Everyone comes.
    pub fn come(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut next = 0;
        loop {
            let coming = self.viewers[..next]
                .iter()
                .filter(|viewer| viewer.state != State::Seated);
            let room = COMING_AT_ONCE.saturating_sub(coming.count());
            if next == self.viewers.len() && room == COMING_AT_ONCE {
                self.anew = 0;
                return Ok(());
            }
            for _ in 0..room.min(self.viewers.len() - next) {
                self.connect(next)?;
                next += 1;
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "{next} of {} viewers came within {patience:?}",
                    self.viewers.len()
                )
                .into());
            }
            self.turn()?;
        }
    }

    /// Reads frames until it is `over`; if the plan says so, everyone leaves and comes back meanwhile.
    pub fn listen(&mut self, over: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !over() {
            self.turn()?;
            if let Some(within) = self.plan.come_back_within_s {
                let since = started.elapsed().saturating_sub(FIRST_LEAVES_AFTER);
                let share = (since.as_secs_f64() / within).min(1.0);
                let due = (self.viewers.len() as f64 * share) as usize;
                while self.left < due {
                    self.leave_and_come_back(self.left)?;
                    self.left += 1;
                }
            }
        }
        Ok(())
    }

    /// Reads until every screen shows all that was said and taken; tells whether they all came to.
    pub fn hear_the_end(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        let (chats, taken) = (self.said.chats(), self.said.orders());
        let has_all = |viewer: &Viewer| {
            let Screen {
                next_chat,
                taken: shown,
                ..
            } = viewer.screen;
            viewer.state == State::Seated && next_chat == chats && shown == taken
        };
        while !self.viewers.iter().all(has_all) {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.turn()?;
        }
        Ok(true)
    }

    /// What came of it.
    pub fn seen(&self) -> Told {
        let screens = || self.viewers.iter().map(|viewer| &viewer.screen);
        let end = self.said.chats();
        let left = screens().map(|screen| self.plan.units - screen.taken);
        let begun =
            self.said.start + Duration::from_micros(self.said.begun_us().unwrap_or_default());
        Told {
            summary: self.seen.summary(&self.said),
            missed: screens()
                .map(|screen| screen.missed + end.saturating_sub(screen.next_chat))
                .sum(),
            twice: screens().map(|screen| screen.twice).sum(),
            came_back: self.left,
            back_s: self.back_at.map_or(0.0, |back_at| {
                back_at
                    .duration_since(begun)
                    .saturating_sub(FIRST_LEAVES_AFTER)
                    .as_secs_f64()
            }),
            anew: self.anew,
            left: (
                left.clone().min().unwrap_or_default(),
                left.max().unwrap_or_default(),
            ),
        }
    }

    fn connect(&mut self, place: usize) -> Result<()> {
        let mut stream = TcpStream::connect(self.plan.gateway)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(place), interest)?;
        let viewer = &mut self.viewers[place];
        viewer.stream = Some(stream);
        viewer.state = State::Coming;
        viewer.asked = false;
        viewer.received.clear();
        Ok(())
    }

    /// As a phone that changes its network: no word, another socket.
    fn leave_and_come_back(&mut self, place: usize) -> Result<()> {
        self.viewers[place].stream = None;
        self.connect(place)
    }

    fn turn(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1_024);
        match self.poll.poll(&mut events, Some(TURN)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            self.ready(event.token().0)?;
        }
        Ok(())
    }

    fn ready(&mut self, place: usize) -> Result<()> {
        let viewer = &mut self.viewers[place];
        if viewer.state == State::Coming && !viewer.asked {
            return viewer.ask(&self.plan);
        }
        loop {
            let Some(stream) = &mut viewer.stream else {
                return Ok(());
            };
            let length = match stream.read(&mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("a viewer's socket failed: {error}").into()),
                Ok(0) => return Err("the gateway closed the connection of a viewer".into()),
                Ok(length) => length,
            };
            let now_us = self.said.now_us();
            let whole = viewer.received.is_empty();
            if !whole || viewer.state == State::Coming {
                viewer.received.extend_from_slice(&self.scratch[..length]);
            }
            if viewer.state == State::Coming {
                return viewer.join();
            }
            // Where no frame is in two pieces, nothing is copied.
            let held = std::mem::take(&mut viewer.received);
            let bytes = if whole {
                &self.scratch[..length]
            } else {
                &held[..]
            };
            let mut rest = bytes;
            let sent_away = loop {
                if rest.first() == Some(&CLOSE) {
                    break true;
                }
                let Some((text, after)) = frame(rest)? else {
                    break false;
                };
                rest = after;
                let anew = self
                    .seen
                    .read(&mut viewer.screen, text, self.plan.units, now_us)?;
                if viewer.state == State::Joining {
                    viewer.state = State::Seated;
                    self.anew += u64::from(anew);
                    self.back_at = Some(Instant::now());
                }
            };
            if sent_away {
                // Too slow, or so it was said of them: they come back, as the client does.
                return self.leave_and_come_back(place);
            }
            viewer.received = rest.to_vec();
            if length < self.scratch.len() {
                return Ok(());
            }
        }
    }
}

impl Viewer {
    /// Asks for the upgrade, once the socket is open.
    fn ask(&mut self, plan: &Plan) -> Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        if let Some(error) = stream.take_error()? {
            return Err(format!("a viewer could not connect: {error}").into());
        }
        if stream.peer_addr().is_err() {
            return Ok(());
        }
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /live?token={}&broadcast_id={} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.token, plan.broadcast, plan.gateway
        );
        stream.write_all(request.as_bytes())?;
        self.asked = true;
        Ok(())
    }

    /// Joins, once the upgrade is answered; with what the screen has, if it has anything.
    fn join(&mut self) -> Result<()> {
        if memchr::memmem::find(&self.received, b"\r\n\r\n").is_none() {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&self.received);
        if !answer.starts_with("HTTP/1.1 101 ") || !answer.contains(ACCEPT) {
            return Err(format!("a viewer was not let in: {answer}").into());
        }
        self.received.clear();
        let join = match self.screen.seq {
            0 => r#"{"type":"join"}"#.to_owned(),
            seq => format!(r#"{{"type":"join","last_seq":{seq}}}"#),
        };
        // A short text frame. It is masked, as a client's must be, by a mask of zeros, which changes nothing.
        let length = 0x80 | u8::try_from(join.len())?;
        let mut message = vec![0x81, length, 0, 0, 0, 0];
        message.extend_from_slice(join.as_bytes());
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        stream.write_all(&message)?;
        self.state = State::Joining;
        Ok(())
    }
}

/// The first frame of a server in `bytes` and what comes after it, once it is whole.
fn frame(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>> {
    let [kind, short, ..] = bytes else {
        return Ok(None);
    };
    if *kind != 0x81 {
        return Err(format!("a viewer got a WebSocket frame of kind {kind:#x}").into());
    }
    let (start, length) = match (short, &bytes[2..]) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, u64::from(*short)),
    };
    let end = start + usize::try_from(length)?;
    Ok((bytes.len() >= end).then(|| (&bytes[start..end], &bytes[end..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_once_they_are_whole() {
        let mut bytes = vec![0x81, 2, b'h', b'i', 0x81, 126, 1, 0];
        bytes.extend_from_slice(&[b'x'; 255]);
        let (text, rest) = frame(&bytes).expect("is right").expect("is whole");
        assert_eq!(text, b"hi");
        assert!(frame(rest).expect("is right so far").is_none());
        bytes.push(b'x');
        let (text, rest) = frame(&bytes[4..]).expect("is right").expect("is whole");
        assert_eq!((text.len(), rest.len()), (256, 0));
        assert!(frame(&[0x88, 0]).is_err());
    }
}
