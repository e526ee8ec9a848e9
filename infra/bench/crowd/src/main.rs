//! The crowd of a room: a process that the bench starts, with the environment of a function. One of two things is asked of
//! it, as JSON in its only argument; what came of it is told on the standard output, an object a line.
//!
//! It is a process of its own because it links what the functions link, and because a process has only so many files: the
//! bench has the gateway's ends of the sockets, the crowd the viewers'.

mod plan;
mod post;
mod screen;
mod seen;
mod talk;
mod viewers;

use std::{
    io::Write as _,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use plan::{Plan, Task};
use serde_json::{Value, json};
use talk::Said;
use viewers::Crowd;

/// What went wrong, as a sentence.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// How long the crowd gets to be in the room.
const COMING_PATIENCE: Duration = Duration::from_secs(180);
/// How long it gets to hear the last word: a pump that died is replaced by then.
const END_PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&json!({ "failed": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let task = std::env::args().nth(1).ok_or("nothing was asked")?;
    match serde_json::from_str(&task)? {
        Task::Room(plan) => room(&plan),
        Task::Post(plan) => post::weigh(&plan),
    }
}

/// Everyone comes; then things are said and ordered, and heard by all.
fn room(plan: &Plan) -> Result<()> {
    let said = Arc::new(Said::default());
    let mut crowd = Crowd::new(plan, Arc::clone(&said))?;
    let came = Instant::now();
    crowd.come(COMING_PATIENCE)?;
    tell(&json!({ "joined_s": came.elapsed().as_secs_f64() }));

    let talking = {
        let (plan, said) = (plan.clone(), Arc::clone(&said));
        thread::spawn(move || talk::talk(&plan, &said))
    };
    crowd.listen(|| talking.is_finished())?;
    talking.join().map_err(|_| "the talk panicked")??;
    tell(&json!({ "said": {
        "chats": said.chats(),
        "orders": said.orders(),
        "elapsed_s": said.elapsed().as_secs_f64(),
    } }));
    let heard_all = crowd.hear_the_end(END_PATIENCE)?;
    let mut seen = serde_json::to_value(crowd.seen())?;
    seen["heard_all"] = json!(heard_all);
    tell(&json!({ "seen": seen }));
    Ok(())
}

/// Tells the bench.
fn tell(word: &Value) {
    let mut out = std::io::stdout().lock();
    // A bench that is gone hears nothing, and ends this process.
    let _told = writeln!(out, "{word}").and_then(|()| out.flush());
}
