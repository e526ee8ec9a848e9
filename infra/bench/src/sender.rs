//! `sender.*`: what a post to a viewer's connection costs us, beside the SDK's own client.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{
    Result,
    crowd::{Crowd, Task},
    function::{self, Services},
    options::Options,
    report::{Report, least, median},
    wire,
};

const COST: &str = "sender.cpu_us_per_post";
const RATIO: &str = "sender.times_cheaper_than_sdk";

/// Measures it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&[COST, RATIO]) {
        return Ok(());
    }
    eprintln!("sender: ours and the SDK's in turns");
    let address = everyone_is_there()?;
    let services = Services {
        aws: address,
        payments: address,
        // Nothing is asked of Redis.
        redis_port: 1,
        connections: Some((address, function::MOST_POSTS_PER_S)),
        channels: &[],
    };
    let task = Task::Post {
        callback_url: services.callback_url(),
        rounds: options.size(21, 3),
        posts: options.size(8_000, 2_000),
    };
    let told = Crowd::start(&task, services)?.hear("posts")?;
    let turns =
        |name: &str| -> Result<Vec<f64>> { Ok(serde_json::from_value(told[name].clone())?) };
    let (ours, sdk) = (turns("ours_us")?, turns("sdk_us")?);
    let ratios = ours.iter().zip(&sdk).map(|(ours, sdk)| sdk / ours);
    report.add_beside(COST, least(&ours), "us", least(&sdk));
    report.add(RATIO, median(ratios.collect()), "times");
    Ok(())
}

/// What stands in for `@connections`, where every post is delivered. One thread serves all connections: to wake a thread of its
/// own for each post takes longer than the post, and is counted to who posts.
fn everyone_is_there() -> Result<SocketAddr> {
    const LISTENER: Token = Token(usize::MAX - 1);
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    thread::spawn(move || -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut scratch = vec![0; 64 * 1024];
        let mut peers: Vec<(TcpStream, Vec<u8>)> = Vec::new();
        loop {
            poll.poll(&mut events, None)?;
            for event in &events {
                if event.token() == LISTENER {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let place = Token(peers.len());
                        poll.registry()
                            .register(&mut stream, place, Interest::READABLE)?;
                        peers.push((stream, Vec::new()));
                    }
                } else if let Some((stream, received)) = peers.get_mut(event.token().0) {
                    while let Ok(length @ 1..) = stream.read(&mut scratch) {
                        received.extend_from_slice(&scratch[..length]);
                        while let Ok(Some((_, rest))) = wire::request(received) {
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
                            let left = rest.len();
                            received.drain(..received.len() - left);
                        }
                        if length < scratch.len() {
                            break;
                        }
                    }
                }
            }
        }
    });
    Ok(address)
}
