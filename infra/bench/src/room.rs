//! `frames.*`, `frame.*`, `resume.*`: a room as it runs in AWS, viewers on real sockets. A gateway of the bench's own stands
//! between them and real processes of `ws-connections` and `stock-fanout`.

use std::{sync::Arc, thread, time::Duration};

use serde_json::Value;

use crate::{
    Result,
    crowd::{Crowd, Plan, Task, number},
    files,
    function::{self, Services},
    gateway::Gateway,
    options::Options,
    process::Process,
    report::Report,
    shop::Shop,
    wakes::{Environments, Wakes},
};

/// Processes that serve viewers who come and go.
const SOCKETS: usize = 4;
/// Viewers of a shard. Each shard has a process that pumps, and one more is there to take over.
const SHARD_SIZE: usize = 2_000;
/// More than any run takes.
const UNITS: u64 = 10_000_000;

const POSTS: &str = "frames.posts_per_viewer_per_s";
const BYTES: &str = "frame.bytes_ratio";
const GAPS: &str = "resume.gaps";

/// A quiet room, where what happens goes out at once.
const QUIET_PER_S: f64 = 2.0;
/// A room of ordinary liveliness.
const CHATS_PER_S: f64 = 20.0;
const ORDERS_PER_S: f64 = 20.0;
/// The rush.
const RUSH_CHATS_PER_S: f64 = 500.0;
const RUSH_ORDERS_PER_S: f64 = 5_000.0;
/// The part of it that counts as kept up with.
const KEPT_UP: f64 = 0.95;
/// What the frame rate costs a viewer at most: ten frames a second, and what is left of the last.
const POSTS_PER_S: f64 = 10.5;
/// What a room may post while so many come back: the default of `CallbackBudget` in the template, half of what an account has for
/// everything. The room of ten thousand that this leaves with a frame every two seconds is the one that a shop has.
const POSTS_PER_S_ALLOWED: u32 = 5_000;
/// Of a thousand who come back, how many may begin anew: a snapshot shows the latest chats, so with it a gap is not seen.
const ANEW_PER_MILLE: f64 = 1.0;
/// Of a thousand posts, how many are answered 429 while viewers come back.
const SLOW_PER_MILLE: u32 = 5;
/// How often the pump is killed meanwhile.
const KILLS: u32 = 2;

/// Measures all of it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for (name, viewers) in [
        ("1000", options.size(1_000, 100)),
        ("5000", options.size(5_000, 300)),
    ] {
        let [p50, p99] = ["p50", "p99"].map(|quantile| format!("frames.{quantile}_ms.{name}"));
        if options.wants(&[&p50, &p99]) {
            let mut room = Room::open("frames", viewers, function::MOST_POSTS_PER_S)?;
            let seconds = options.size(60, 8) as f64;
            let evening = room.evening(&Plan {
                viewers,
                chats_per_s: QUIET_PER_S,
                orders_per_s: QUIET_PER_S,
                seconds,
                ..room.plan()
            })?;
            evening.heard_all()?;
            report.add(p50, number(&evening.seen, "p50_ms")?, "ms");
            report.add(p99, number(&evening.seen, "p99_ms")?, "ms");
            report.note(format!("frames.{name}: {}", evening.told()?));
        }
    }
    if options.wants(&[BYTES]) {
        bytes(report)?;
    }
    if options.wants(&[POSTS]) {
        rush(options, report)?;
    }
    if options.wants(&[GAPS]) {
        resume(options, report)?;
    }
    Ok(())
}

/// A frame with a hundred chats, and how long they are alone.
fn bytes(report: &mut Report) -> Result<()> {
    let mut room = Room::open("frame", 1, function::MOST_POSTS_PER_S)?;
    let evening = room.evening(&Plan {
        chats_per_s: 2.0,
        chats_at_once: 100,
        seconds: 5.0,
        ..room.plan()
    })?;
    let largest = &evening.seen["largest"];
    let ratio = number(largest, "bytes")? / number(largest, "own_bytes")?;
    report.add(BYTES, ratio, "times");
    report.note(format!(
        "{BYTES}: a frame with {} chats has {} bytes",
        largest["chats"], largest["bytes"]
    ));
    Ok(())
}

/// The rush: with fewer and fewer viewers, until two cores keep up with it.
fn rush(options: &Options, report: &mut Report) -> Result<()> {
    let mut viewers = options.size(800, 80);
    let least = options.size(100, 40);
    loop {
        let mut room = Room::open("rush", viewers, function::MOST_POSTS_PER_S)?;
        let seconds = options.size(10, 5) as f64;
        let evening = room.evening(&Plan {
            viewers,
            chats_per_s: RUSH_CHATS_PER_S,
            orders_per_s: RUSH_ORDERS_PER_S,
            seconds,
            ..room.plan()
        })?;
        let elapsed = number(&evening.said, "elapsed_s")?;
        let reached = number(&evening.said, "chats")? + number(&evening.said, "orders")?;
        let kept_up = reached / elapsed >= (RUSH_CHATS_PER_S + RUSH_ORDERS_PER_S) * KEPT_UP;
        if !kept_up && viewers > least {
            viewers = (viewers / 2).max(least);
            eprintln!("rush: two cores did not keep up; again with {viewers} viewers");
            continue;
        }
        evening.heard_all()?;
        let posts = evening.posts as f64 / viewers as f64 / elapsed;
        report.add(POSTS, posts, "posts/s");
        report.note(format!("{POSTS}: {}", evening.told()?));
        at_frame_rate(posts)?;
        // A look runs what is not optimised, or not for long enough.
        if !kept_up && !options.is_look() {
            let wanted = RUSH_CHATS_PER_S + RUSH_ORDERS_PER_S;
            return Err(format!(
                "{POSTS}: with {viewers} viewers, two cores did {:.0} chats and orders a second of {wanted:.0}",
                reached / elapsed
            )
            .into());
        }
        return room.agrees(&evening);
    }
}

/// Everyone leaves and comes back once, while the pump is killed and some posts are refused.
fn resume(options: &Options, report: &mut Report) -> Result<()> {
    let viewers = options.size(10_000, 300);
    let within = options.size(10, 6) as f64;
    let mut room = Room::open("resume", viewers, POSTS_PER_S_ALLOWED)?;
    room.kills = KILLS;
    room.gateway.slow(SLOW_PER_MILLE);
    let evening = room.evening(&Plan {
        viewers,
        chats_per_s: CHATS_PER_S,
        orders_per_s: ORDERS_PER_S,
        seconds: within + 4.0,
        come_back_within_s: Some(within),
        ..room.plan()
    })?;
    let [missed, twice] = ["missed", "twice"].map(|name| number(&evening.seen, name));
    let gaps = missed? + twice?;
    report.add(GAPS, gaps, "chats");
    report.note(format!("{GAPS}: {}", evening.told()?));
    if number(&evening.seen, "came_back")? < viewers as f64 {
        return Err(format!("{GAPS}: not everyone came back: {}", evening.seen).into());
    }
    few_began_anew(number(&evening.seen, "anew")?, viewers)?;
    if gaps > 0.0 {
        return Err(format!(
            "{GAPS}: viewers missed {} chats and got {} twice",
            evening.seen["missed"], evening.seen["twice"]
        )
        .into());
    }
    evening.heard_all()
}

/// Frames are what a viewer is posted, not what happens.
fn at_frame_rate(posts: f64) -> Result<()> {
    if posts <= POSTS_PER_S {
        return Ok(());
    }
    Err(format!("{POSTS}: {posts:.1} posts a viewer and second, more than frames").into())
}

/// Whoever was away for seconds gets what was missed, not the room anew.
fn few_began_anew(anew: f64, viewers: usize) -> Result<()> {
    if anew <= viewers as f64 * ANEW_PER_MILLE / 1_000.0 {
        return Ok(());
    }
    Err(format!("{GAPS}: {anew} of {viewers} viewers who came back had to begin anew").into())
}

/// A show on air, its gateway, and the functions behind that.
struct Room {
    shop: Shop,
    gateway: Gateway,
    wakes: Arc<Wakes>,
    pumps: Environments,
    services: Services,
    /// How often the pump is killed in an evening.
    kills: u32,
    _sockets: Vec<Process>,
}

/// What happened in it.
struct Evening {
    viewers: usize,
    joined_s: f64,
    said: Value,
    seen: Value,
    /// While things were said.
    posts: u64,
    slow: u64,
    kills: u32,
}

impl Room {
    fn open(what: &'static str, viewers: usize, posts_per_s: u32) -> Result<Self> {
        files::raise_limit(viewers)?;
        let shop = Shop::open(what, 1, UNITS)?;
        let gateway = Gateway::start()?;
        let services = Services {
            connections: Some((gateway.address, posts_per_s)),
            ..shop.services()
        };
        let wakes = Arc::new(Wakes::default());
        shop.aws.bring_wakes(function::WAKES_QUEUE, "", &wakes);
        let sockets = function::start_all("ws-connections", SOCKETS, &gateway.sockets, services)?;
        let pumps = viewers.div_ceil(SHARD_SIZE) + 1;
        let pumps = Environments::start("stock-fanout", pumps, &wakes, &shop.aws, services)?;
        Ok(Self {
            shop,
            gateway,
            wakes,
            pumps,
            services,
            kills: 0,
            _sockets: sockets,
        })
    }

    /// One viewer, and nothing that happens.
    fn plan(&self) -> Plan<'static> {
        Plan {
            gateway: self.gateway.address.to_string(),
            broadcast: self.shop.broadcast.clone().into(),
            product: self.shop.products[0].clone().into(),
            units: UNITS,
            viewers: 1,
            chats_per_s: 0.0,
            chats_at_once: 1,
            orders_per_s: 0.0,
            seconds: 1.0,
            come_back_within_s: None,
        }
    }

    /// Everyone comes, and what is planned happens.
    fn evening(&mut self, plan: &Plan<'_>) -> Result<Evening> {
        let mut crowd = Crowd::start(&Task::Room(plan), self.services)?;
        eprintln!("{}: {} viewers come", self.shop.what, plan.viewers);
        let heard = self.hear(&mut crowd, plan);
        // What went wrong here explains what the crowd says.
        self.gateway.sockets.check()?;
        self.wakes.check()?;
        heard
    }

    fn hear(&mut self, crowd: &mut Crowd, plan: &Plan<'_>) -> Result<Evening> {
        let joined_s = crowd.hear("joined_s")?.as_f64().unwrap_or_default();
        eprintln!("{}: they are there, after {joined_s:.1} s", self.shop.what);
        let before = self.gateway.posts();
        let mut kills = 0;
        for _ in 0..self.kills {
            thread::sleep(Duration::from_secs_f64(
                plan.seconds / f64::from(self.kills + 1),
            ));
            kills += u32::from(self.pumps.kill_the_busy()?);
        }
        let said = crowd.hear("said")?;
        let after = self.gateway.posts();
        Ok(Evening {
            viewers: plan.viewers,
            joined_s,
            said,
            seen: crowd.hear("seen")?,
            posts: after.all - before.all,
            slow: after.slow - before.slow,
            kills,
        })
    }

    /// What is left on every screen is what Redis has.
    fn agrees(&self, evening: &Evening) -> Result<()> {
        let left = self.shop.stocks()?[0].left;
        let shown = &evening.seen["left"];
        if [&shown[0], &shown[1]]
            .iter()
            .all(|shown| shown.as_u64() == Some(left))
        {
            return Ok(());
        }
        Err(format!(
            "Redis has {left} units left; the last inventory_update of viewers says {shown}"
        )
        .into())
    }
}

impl Evening {
    fn heard_all(&self) -> Result<()> {
        if self.seen["heard_all"] == true {
            return Ok(());
        }
        Err(format!(
            "not every viewer came to hear all that was said and to see what was left: {}",
            self.seen
        )
        .into())
    }

    /// In a sentence.
    fn told(&self) -> Result<String> {
        let elapsed = number(&self.said, "elapsed_s")?;
        let rate = |name: &str| number(&self.said, name).map(|count| count / elapsed);
        let frames = number(&self.seen, "reads")? / self.viewers as f64;
        let mut told = format!(
            "{} viewers joined in {:.1} s; {:.0} chats/s and {:.0} orders/s for {elapsed:.1} s; {frames:.0} frames a viewer, {} posts, \
             {} of them answered 429",
            self.viewers,
            self.joined_s,
            rate("chats")?,
            rate("orders")?,
            self.posts,
            self.slow,
        );
        if self.seen["came_back"] != 0 {
            told += &format!(
                "; everyone left and came back within {:.1} s, {} with a snapshot; the pump was killed {} times",
                number(&self.seen, "back_s")?,
                self.seen["anew"],
                self.kills
            );
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_posts_than_frames_fail() {
        assert!(at_frame_rate(POSTS_PER_S).is_ok());
        assert!(at_frame_rate(POSTS_PER_S + 0.1).is_err());
        assert!(at_frame_rate(f64::NAN).is_err());
    }

    #[test]
    fn a_resume_that_is_none_fails() {
        assert!(few_began_anew(0.0, 300).is_ok());
        assert!(few_began_anew(1.0, 300).is_err());
        assert!(few_began_anew(10.0, 10_000).is_ok());
        assert!(few_began_anew(10_000.0, 10_000).is_err());
    }
}
