//! `sender.*`: what a post to a viewer's connection costs us, beside the SDK's own client.

use crate::{
    Result,
    crowd::{Crowd, Task},
    function::{self, Services},
    http,
    options::Options,
    report::{Report, least, median},
};

const COST: &str = "sender.cpu_us_per_post";
const RATIO: &str = "sender.times_cheaper_than_sdk";

/// Measures it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&[COST, RATIO]) {
        return Ok(());
    }
    eprintln!("sender: ours and the SDK's in turns");
    let address = http::listen(|mut connection| {
        while connection.read()?.is_some() {
            connection.answer("200 OK", "", b"")?;
        }
        Ok(())
    })?;
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
        rounds: options.size(7, 3),
        posts: options.size(20_000, 2_000),
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
