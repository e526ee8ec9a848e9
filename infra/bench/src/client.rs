//! Just enough of an HTTP/1.1 client to ask a server on this machine: one connection, one request at a time.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a server.
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// What it answered.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            address,
            stream: BufReader::new(stream),
        })
    }

    /// Asks; `headers` are whole lines, each with its line end.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("{path} was answered with {status}"))?;
        let mut length = None;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.ok_or("an answer of unknown length")?];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(format!("{} closed the connection", self.address).into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    #[test]
    fn answers_come_in_turn_on_one_connection() {
        let address = http::listen(|mut connection| {
            while let Some(request) = connection.read()? {
                let status = if request.line().starts_with("GET /a ") {
                    "200 OK"
                } else {
                    "404 Not Found"
                };
                connection.answer(status, "x: y\r\n", &request.body)?;
            }
            Ok(())
        })
        .expect("listens");
        let mut client = Client::connect(address).expect("connects");
        for (path, status) in [("/a", 200), ("/b", 404), ("/a", 200)] {
            let answer = client.ask("GET", path, "accept: */*\r\n", path);
            let answer = answer.expect("answers");
            assert_eq!(
                (answer.status, answer.body.as_slice()),
                (status, path.as_bytes())
            );
        }
    }
}
