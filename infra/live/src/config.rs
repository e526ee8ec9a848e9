//! The one place that reads the environment and the arguments.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};

/// Marketplaces, each with the variable that moves it elsewhere.
pub const CHANNELS: [(&str, &str); 4] = [
    ("smartstore", "SMARTSTORE_BASE_URL"),
    ("coupang", "COUPANG_BASE_URL"),
    ("elevenst", "ELEVENST_BASE_URL"),
    ("ownstore", "OWNSTORE_BASE_URL"),
];

/// How this machine finds programs and verifies certificates.
const OF_THE_MACHINE: [&str; 4] = ["PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];

const USAGE: &str = "usage: onepool-live [--until-stdin-closes]   (settings: infra/live/README.md)";

/// What to do once the shop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Run it, then stay up.
    Run,
    /// Run it, then stop; the exit status says whether everything held.
    Only,
    /// Leave the broadcast on air and stay up.
    No,
}

/// All settings of a local run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where `template.yaml` is.
    pub root: PathBuf,
    /// Where `local.json` and the logs go.
    pub dir: PathBuf,
    /// Where the function binaries are: beside this program, so the profile is the same.
    pub binaries: PathBuf,
    /// The little of this shell's environment that the emulator, and so a function, may see.
    pub machine: Vec<(&'static str, String)>,
    /// Another AWS endpoint in the place of the emulator.
    pub aws_endpoint: Option<String>,
    /// Another payment gateway in the place of the sandbox.
    pub toss_base_url: Option<String>,
    /// What the payment gateway knows this shop by.
    pub toss_secret_key: String,
    /// Marketplaces that are somewhere else, by name.
    pub channels: BTreeMap<String, String>,
    /// What these are asked with, by name: a JSON object of texts.
    pub credentials: BTreeMap<String, String>,
    /// Which marketplace the own store is: `cafe24`, or `shop` for one with a backend of its own.
    pub own_store_marketplace: String,
    /// The port of the HTTP API; 0 takes a free one.
    pub http_port: u16,
    /// The port of the WebSocket API; 0 takes a free one.
    pub websocket_port: u16,
    /// Whether the show runs.
    pub show: Show,
    /// How many shows, one after the other.
    pub shows: u32,
    /// Stop when standard input ends: a test that dies takes its run with it.
    pub until_stdin_closes: bool,
}

impl Config {
    /// Reads the environment and the arguments of this process.
    pub fn from_env() -> Result<Self> {
        let until_stdin_closes = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
            [] => false,
            [flag] if flag == "--until-stdin-closes" => true,
            _other => return Err(Error::new(USAGE)),
        };
        let here = env::current_dir().context(|| "current directory".into())?;
        let root = project_root(&here)?;
        let program = env::current_exe().context(|| "path of this program".into())?;
        Ok(Self {
            dir: here
                .join(variable("ONEPOOL_DIR").map_or_else(|| root.join(".onepool"), PathBuf::from)),
            binaries: program.parent().unwrap_or(&here).to_owned(),
            root,
            machine: OF_THE_MACHINE
                .into_iter()
                .filter_map(|name| Some((name, variable(name)?)))
                .collect(),
            aws_endpoint: variable("AWS_ENDPOINT_URL").map(without_slash),
            toss_base_url: variable("TOSS_BASE_URL").map(without_slash),
            toss_secret_key: variable("TOSS_SECRET_KEY")
                .unwrap_or_else(|| "test_sk_onepool_local".into()),
            channels: CHANNELS
                .iter()
                .filter_map(|(name, key)| Some(((*name).to_owned(), without_slash(variable(key)?))))
                .collect(),
            credentials: CHANNELS
                .iter()
                .filter_map(|(name, key)| {
                    let key = key.replace("BASE_URL", "CREDENTIALS");
                    Some(((*name).to_owned(), variable(&key)?))
                })
                .collect(),
            own_store_marketplace: match variable("OWNSTORE_MARKETPLACE").as_deref() {
                None | Some("cafe24") => "cafe24".into(),
                Some("shop") => "shop".into(),
                Some(other) => {
                    return Err(
                        Error::new(format!("OWNSTORE_MARKETPLACE={other} is not known"))
                            .fix("OWNSTORE_MARKETPLACE=cafe24 or OWNSTORE_MARKETPLACE=shop"),
                    );
                }
            },
            http_port: number("ONEPOOL_HTTP_PORT", 0)?,
            websocket_port: number("ONEPOOL_WS_PORT", 0)?,
            show: match variable("SHOW").as_deref() {
                None | Some("yes") => Show::Run,
                Some("only") => Show::Only,
                Some("no") => Show::No,
                Some(other) => {
                    return Err(Error::new(format!("SHOW={other} is not known"))
                        .fix("SHOW=yes, SHOW=no or SHOW=only"));
                }
            },
            shows: number("SHOWS", 1)?.max(1),
            until_stdin_closes,
        })
    }
}

fn project_root(here: &Path) -> Result<PathBuf> {
    here.ancestors()
        .find(|folder| folder.join("template.yaml").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| {
            Error::new("there is no template.yaml here or above").fix("run it inside the project")
        })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn without_slash(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}

fn number<T: std::str::FromStr>(name: &str, default: T) -> Result<T> {
    let Some(value) = variable(name) else {
        return Ok(default);
    };
    value
        .parse()
        .map_err(|_| Error::new(format!("{name}={value} is not a number that fits")))
}
