//! The folder of a run: `local.json`, logs and what must be gone afterwards.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use crate::error::{Context, Result};
use crate::say;

/// Where this run keeps its files. Held open: its lock tells a second run that this one is alive.
pub struct Folder {
    path: PathBuf,
    beside_another: bool,
    _lock: File,
}

impl Folder {
    /// Takes `dir`, or a folder inside it when another run has it.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).context(|| format!("{}", dir.display()))?;
        let lock = File::open(dir).context(|| format!("{}", dir.display()))?;
        // The lock goes with its process, so a run that was killed leaves nothing that looks alive.
        let folder = match lock.try_lock() {
            Ok(()) => Self {
                path: dir.to_owned(),
                beside_another: false,
                _lock: lock,
            },
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {
                let path = dir.join(format!("run-{}", std::process::id()));
                say::note(
                    "이미 실행 중: 따로 하나 더 띄웁니다",
                    &format!(
                        "already running: this is a second one, in {}",
                        path.display()
                    ),
                );
                Self {
                    path,
                    beside_another: true,
                    _lock: lock,
                }
            }
        };
        remove_left_behind(dir);
        folder.clear();
        for part in [folder.logs(), folder.scratch()] {
            fs::create_dir_all(&part).context(|| format!("{}", part.display()))?;
        }
        Ok(folder)
    }

    /// The address file.
    pub fn local_json(&self) -> PathBuf {
        self.path.join("local.json")
    }

    /// One log per part.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Gone when the run ends.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// Leaves only the logs; of a second run, only where they may explain a failure.
    pub fn close(self, failed: bool) {
        self.clear();
        if self.beside_another && !failed {
            let _gone = fs::remove_dir_all(&self.path);
        }
    }

    fn clear(&self) {
        let _gone = fs::remove_file(self.local_json());
        let _gone = fs::remove_dir_all(self.scratch());
    }
}

/// Folders of second runs that were killed before they could tidy up.
fn remove_left_behind(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("run-"))
            .and_then(|pid| pid.parse().ok())
            .and_then(Pid::from_raw);
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) {
            let _gone = fs::remove_dir_all(entry.path());
        }
    }
}
