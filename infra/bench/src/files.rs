//! How many files this process may have open: every viewer is a socket.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// For everything that is no viewer.
const OTHERS: u64 = 500;

/// Raises the limit so that there is room for so many sockets.
pub fn raise_limit(sockets: usize) -> Result<()> {
    let needed = sockets as u64 + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        return Err(format!(
            "{sockets} viewers need {needed} open files in a process, and the hard limit is {maximum}. Raise it where this \
             shell comes from (`ulimit -Hn {needed}` as root, `LimitNOFILE=` of a systemd unit, `--ulimit nofile={needed}` of \
             a container), or look at fewer viewers with --quick"
        )
        .into());
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )?;
    Ok(())
}
