//! Child processes: what the kernel says of them, and none left behind.
//!
//! All are started by the main thread, which lives as long as the bench: the kernel's parent-death signal goes by thread.

use std::{
    fs,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// A child that is killed when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it. It reads nothing and its output is thrown away; what it says on its standard error is seen.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{} did not start: {error}", command.get_program().display())
            })?;
        Ok(Self { child })
    }

    /// Starts it as `start` does, but for its output, which is heard.
    pub fn start_heard(command: &mut Command) -> Result<(Self, ChildStdout)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("{} did not start: {error}", command.get_program().display())
            })?;
        let out = child.stdout.take().ok_or("a process has no output")?;
        Ok((Self { child }, out))
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time on a CPU so far. To the nanosecond, where `/proc/<pid>/stat` counts in steps of 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = text
                .split(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok());
            total += on_cpu.ok_or("this kernel counts no CPU time in schedstat")?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok())
            .ok_or("the process has no VmRSS")?;
        Ok(kib / 1_024.0)
    }

    /// Asks it to end, so that it can write what it has to.
    pub fn terminate(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself.
            let _gone = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it at once, without a word.
    pub fn kill(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        wait(&mut self.child, patience)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command that says little, and answers what it said.
pub fn output(command: &mut Command, patience: Duration) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} did not start: {error}", command.get_program().display()))?;
    let ended = wait(&mut child, patience);
    let _killed = child.kill();
    let output = child.wait_with_output()?;
    ended.map(|_status| output)
}

fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            return Err(format!("a process did not end within {} s", patience.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A command whose process dies with the bench, even if the bench is killed. (Functions need no such care, and their start
/// is measured: one ends by itself when its Runtime API is gone.)
pub fn bound(program: &str) -> Command {
    let set_priv = "/usr/bin/setpriv";
    if Path::new(set_priv).exists() {
        let mut command = Command::new(set_priv);
        command.args(["--pdeathsig", "KILL", "--", program]);
        command
    } else {
        Command::new(program)
    }
}

/// Whether a program is on the `PATH`.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
