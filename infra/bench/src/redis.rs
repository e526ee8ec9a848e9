//! A real redis-server of the bench's own, and a client that speaks just enough to set it up and to ask how it fared.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    process::{self, Process},
};

const START_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// A server in memory, gone when dropped.
pub struct Server {
    /// Where it listens, on the loopback address.
    pub port: u16,
    process: Process,
}

impl Server {
    /// Starts it on a free port, and waits until it answers.
    pub fn start() -> Result<Self> {
        if !process::installed("redis-server") {
            return Err("redis-server is not installed: infra/install.sh brings it".into());
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        Self::start_on(port)
    }

    /// Kills it, and starts an empty one where it was.
    pub fn replace(&mut self) -> Result<()> {
        self.process.kill();
        *self = Self::start_on(self.port)?;
        Ok(())
    }

    fn start_on(port: u16) -> Result<Self> {
        let mut command = process::bound("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory-policy",
            "noeviction",
        ]);
        let server = Self {
            port,
            process: Process::start(&mut command)?,
        };
        let deadline = Instant::now() + START_PATIENCE;
        while !server.answers() {
            if Instant::now() > deadline {
                return Err("redis-server did not answer".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Another server may have taken the port first, and this one is going to be emptied.
    fn answers(&self) -> bool {
        let own = format!("process_id:{}", self.process.id());
        self.connect()
            .and_then(|mut client| client.ask(&["INFO", "server"]))
            .is_ok_and(|info| info.lines().any(|line| line == own))
    }

    /// Opens a connection.
    pub fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        Ok(Client {
            stream: BufReader::new(stream),
        })
    }
}

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Sends a command; answers its reply as text, the elements of a list by line.
    pub fn ask(&mut self, command: &[&str]) -> Result<String> {
        self.send(encode(command).as_bytes())?;
        self.reply()
    }

    /// Sends what `encode` made, without waiting for the reply.
    pub fn send(&mut self, commands: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(commands)?)
    }

    /// Sends commands many at a time; answers the replies in their order.
    pub fn ask_all(&mut self, commands: &[String]) -> Result<Vec<String>> {
        // Few enough for their replies to wait in the socket while the rest is sent.
        const AT_ONCE: usize = 200;
        let mut replies = Vec::with_capacity(commands.len());
        for chunk in commands.chunks(AT_ONCE) {
            self.send(chunk.concat().as_bytes())?;
            for _ in chunk {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    /// Sends a command whose reply is a number.
    pub fn ask_number(&mut self, command: &[&str]) -> Result<u64> {
        Ok(self.ask(command)?.parse()?)
    }

    /// One line, as the server wrote it.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err("Redis closed the connection".into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// CPU time of the server so far.
    pub fn cpu(&mut self) -> Result<Duration> {
        let info = self.ask(&["INFO", "cpu"])?;
        let seconds = |name: &str| -> Result<f64> {
            let value = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(value
                .ok_or_else(|| format!("INFO has no {name}"))?
                .trim()
                .parse()?)
        };
        Ok(Duration::from_secs_f64(
            seconds("used_cpu_user")? + seconds("used_cpu_sys")?,
        ))
    }

    /// Reads a reply, as `ask` answers it.
    pub fn reply(&mut self) -> Result<String> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or("Redis sent an empty line")?;
        match kind {
            "+" | ":" => Ok(rest.to_owned()),
            "-" => Err(format!("Redis answered {rest}").into()),
            "$" if rest == "-1" => Ok(String::new()),
            "$" => {
                let mut text = vec![0; rest.parse::<usize>()? + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(String::from_utf8(text)?)
            }
            "*" => {
                let elements: Vec<String> = (0..rest.parse::<usize>()?)
                    .map(|_| self.reply())
                    .collect::<Result<_>>()?;
                Ok(elements.join("\n"))
            }
            _ => Err(format!("Redis answered {line}").into()),
        }
    }
}

/// A command as it is sent.
pub fn encode<S: AsRef<str>>(command: &[S]) -> String {
    let mut request = format!("*{}\r\n", command.len());
    for word in command.iter().map(AsRef::as_ref) {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request
}
