//! Child processes: each in a process group of its own, with a log file, and none left behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::error::{Context, Error, Result};
use crate::say;

/// How long a part may take to stop by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a part that comes back is gone at least: one that dies at every start must not keep the machine busy.
const ABSENCE: Duration = Duration::from_secs(1);

/// What becomes of a child when this program dies without having had a chance to stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphan {
    /// The kernel kills it, where the kernel can (Linux).
    Killed,
    /// It sees its standard input end, and stops what it started as well.
    EndsItself,
}

/// What becomes of the run when a part dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It ends: what the part knew is gone, and was needed.
    EndsTheRun,
    /// It goes on: the part is started again as it was, with nothing of what it knew.
    ComesBack,
}

/// Everything this run started.
pub struct Processes {
    logs: PathBuf,
    children: Mutex<Vec<Running>>,
    returned: Notify,
}

struct Running {
    name: &'static str,
    // Starts it again.
    command: Command,
    death: Death,
    id: u32,
    group: Pid,
    child: Child,
    // Closes when this program is gone, however it went.
    _stdin: Option<ChildStdin>,
}

impl Processes {
    /// None yet; their logs will be in `logs`.
    pub fn new(logs: PathBuf) -> Self {
        Self {
            logs,
            children: Mutex::default(),
            returned: Notify::new(),
        }
    }

    /// Where the output of `name` goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts `program`; `set_up` adds arguments and environment. Answers its process id.
    pub fn start(
        &self,
        name: &'static str,
        (orphan, death): (Orphan, Death),
        program: &Path,
        set_up: impl FnOnce(&mut Command),
    ) -> Result<u32> {
        let log = File::create(self.log(name)).context(|| format!("log of {name}"))?;
        let errors = log.try_clone().context(|| format!("log of {name}"))?;
        let mut command = command_for(program, orphan);
        set_up(&mut command);
        command
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // Its own group: Ctrl-C reaches this program alone, which then stops the others in order.
            .process_group(0);
        let running = Running::spawn(name, command, death)?;
        let id = running.id;
        self.children().push(running);
        Ok(id)
    }

    /// The process ids by name, as they are now.
    pub fn ids(&self) -> BTreeMap<&'static str, u32> {
        let children = self.children();
        children
            .iter()
            .map(|running| (running.name, running.id))
            .collect()
    }

    /// Waits until a part that died is back: its process id is another one then.
    pub async fn part_returned(&self) {
        self.returned.notified().await;
    }

    /// Polls until `probe` answers; fails as soon as `name` has died, or at the deadline, with the end of its log.
    pub async fn until_ready<T>(
        &self,
        name: &str,
        patience: Duration,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(ready) = probe().await {
                return Ok(ready);
            }
            let dead = self
                .children()
                .iter_mut()
                .any(|running| running.name == name && running.has_ended());
            if dead || Instant::now() > deadline {
                let how = if dead {
                    "ended while starting"
                } else {
                    "did not become ready"
                };
                return Err(self.with_log(name, how));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until one of them ends by itself that the run cannot do without; the others are started again.
    pub async fn first_death(&self) -> Error {
        loop {
            // Slower than `until_ready`, which knows better what a death while starting means.
            sleep(Duration::from_millis(200)).await;
            let dead = self
                .children()
                .iter_mut()
                .find_map(|running| running.has_ended().then_some((running.name, running.death)));
            match dead {
                Some((name, Death::EndsTheRun)) => return self.with_log(name, "ended by itself"),
                Some((name, Death::ComesBack)) => {
                    sleep(ABSENCE).await;
                    if let Err(error) = self.start_again(name) {
                        return error;
                    }
                    self.returned.notify_one();
                }
                None => {}
            }
        }
    }

    fn start_again(&self, name: &str) -> Result<()> {
        let mut children = self.children();
        if let Some(place) = children.iter().position(|running| running.name == name) {
            let Running {
                name,
                command,
                death,
                ..
            } = children.remove(place);
            // In its old place: parts are stopped in the order opposite to their start.
            children.insert(place, Running::spawn(name, command, death)?);
            say::note(
                &format!("{name}이(가) 죽어 다시 띄웠습니다"),
                &format!("{name} died and was started again, empty"),
            );
        }
        Ok(())
    }

    /// Stops all: asks, waits, then insists. Groups, so that what a child started goes with it.
    pub async fn stop(&self) {
        let groups: Vec<Pid> = self
            .children()
            .iter()
            .rev()
            .map(|running| running.group)
            .collect();
        for group in &groups {
            signal(*group, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            // A child that has ended but was not waited for still counts as a member of its group.
            let alive = self
                .children()
                .iter_mut()
                .map(Running::has_ended)
                .filter(|ended| !ended)
                .count();
            if alive == 0
                && groups
                    .iter()
                    .all(|group| test_kill_process_group(*group).is_err())
            {
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
        self.kill();
        let ended = std::mem::take(&mut *self.children());
        for mut running in ended {
            // The group was killed: this returns at once, and leaves no zombie.
            let _status = running.child.wait().await;
        }
    }

    fn kill(&self) {
        for running in self.children().iter() {
            signal(running.group, Signal::KILL);
        }
    }

    fn with_log(&self, name: &str, how: &str) -> Error {
        let path = self.log(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(8)..].join("\n    ");
        Error::new(format!(
            "{name} {how}; the end of {}:\n    {end}",
            path.display()
        ))
    }

    fn children(&self) -> MutexGuard<'_, Vec<Running>> {
        // A panic elsewhere must not keep the children alive.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    fn spawn(name: &'static str, mut command: Command, death: Death) -> Result<Self> {
        let program = command.as_std().get_program().to_owned();
        let mut child = command
            .spawn()
            .context(|| format!("starting {name} ({})", program.display()))?;
        let id = child
            .id()
            .ok_or_else(|| Error::new(format!("{name} ended at once")))?;
        let group = Pid::from_raw(id.cast_signed())
            .ok_or_else(|| Error::new(format!("{name} has no process id")))?;
        let stdin = child.stdin.take();
        Ok(Self {
            name,
            command,
            death,
            id,
            group,
            child,
            _stdin: stdin,
        })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn signal(group: Pid, signal: Signal) {
    // It may be gone already: that is what we want.
    let _gone = kill_process_group(group, signal);
}

fn command_for(program: &Path, orphan: Orphan) -> Command {
    let set_priv = Path::new("/usr/bin/setpriv");
    if orphan == Orphan::Killed && cfg!(target_os = "linux") && set_priv.exists() {
        let mut command = Command::new(set_priv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}
