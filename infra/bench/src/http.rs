//! Just enough HTTP/1.1 for the stubs: requests with a length, on connections that stay open. A server of the usual kind
//! would take more of the two cores than what is measured.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::Result;

/// The largest head and body together that is read. A request beyond it is a mistake.
const MAX_REQUEST: usize = 1024 * 1024;

/// A request, as far as the stubs look at it.
pub struct Request {
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// As in `GET /path HTTP/1.1`.
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    /// A header, if it was sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// The body as text, for a message to a person.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection of a client.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// The next request; `None` when the client has gone.
    pub fn read(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some((request, length)) = parse(&self.received)? {
                self.received.drain(..length);
                return Ok(Some(request));
            }
            let mut chunk = [0; 16 * 1024];
            let length = self.stream.read(&mut chunk)?;
            if length == 0 {
                return Ok(None);
            }
            self.received.extend_from_slice(&chunk[..length]);
            if self.received.len() > MAX_REQUEST {
                return Err(io::Error::other("a request is too large"));
            }
        }
    }

    /// Answers; `headers` are whole lines, each with its line end.
    pub fn answer(&mut self, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        // One write, one packet.
        let mut answer = Vec::with_capacity(256 + headers.len() + body.len());
        write!(
            answer,
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        )?;
        answer.extend_from_slice(body);
        self.stream.write_all(&answer)
    }
}

/// Listens on a free port of the loopback address. Every connection gets a thread of its own, which `serve`s it to its end.
pub fn listen<F>(serve: F) -> Result<SocketAddr>
where
    F: Fn(Connection) -> io::Result<()> + Clone + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    // The threads end with the bench.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            let _nagle_stays = stream.set_nodelay(true);
            // A client that is killed leaves an error here; whether it did its work is counted elsewhere.
            thread::spawn(move || {
                serve(Connection {
                    stream,
                    received: Vec::new(),
                })
            });
        }
    });
    Ok(address)
}

/// The first request of the bytes and its length, once it is whole.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let mut length = 0;
    for (name, value) in head
        .split("\r\n")
        .skip(1)
        .filter_map(|header| header.split_once(':'))
    {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::Error::other("a request of unknown length"));
        }
    }
    let start = end + 4;
    let body = bytes.get(start..start + length);
    Ok(body.map(|body| {
        (
            Request {
                head: head.to_owned(),
                body: body.to_vec(),
            },
            start + length,
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let whole = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b";
        assert!(
            parse(&whole[..whole.len() - 8])
                .expect("is fine so far")
                .is_none()
        );
        let (request, length) = parse(whole).expect("is HTTP").expect("is whole");
        assert_eq!(
            (request.line(), request.body.as_slice()),
            ("POST /a HTTP/1.1", b"abc".as_slice())
        );
        assert_eq!(request.header("host"), Some("x"));
        assert_eq!(request.header("accept"), None);
        assert_eq!(&whole[length..], b"GET /b");
    }

    #[test]
    fn a_request_of_unknown_length_is_refused() {
        assert!(parse(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
