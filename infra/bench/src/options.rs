//! What the bench was asked for.

use crate::Result;

const USAGE: &str =
    "usage: onepool-bench [--quick] [--profile <folder of target>] [part of the name of a figure]";

/// The command line.
#[derive(Default)]
pub struct Options {
    /// Only figures with this in their name.
    part: Option<String>,
    /// A smaller run where the full one is long: a look at whether it works.
    pub quick: bool,
    /// The folder of `target` whose functions are measured; that of the bench if it is not given.
    pub profile: Option<String>,
}

impl Options {
    /// Reads the arguments.
    pub fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--profile" => options.profile = Some(args.next().ok_or(USAGE)?),
                _ if arg.starts_with('-') || options.part.is_some() => return Err(USAGE.into()),
                _ => options.part = Some(arg),
            }
        }
        Ok(options)
    }

    /// Whether any of these figures was asked for.
    pub fn wants(&self, names: &[&str]) -> bool {
        let Some(part) = &self.part else { return true };
        names.iter().any(|name| name.contains(part))
    }

    /// Whether only some figures were asked for.
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// Whether this is a look at whether the bench works, which must not be taken for a measurement.
    pub fn is_look(&self) -> bool {
        self.quick || self.profile.is_some()
    }

    /// Of two sizes the one that was asked for.
    pub fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options> {
        Options::from_args(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn a_part_wants_what_contains_it() {
        let all = options(&[]).expect("no argument is fine");
        assert!(all.wants(&["accept.p50_ms"]) && !all.is_part() && !all.is_look());
        let some = options(&["accept"]).expect("one is fine");
        assert!(some.wants(&["reserve.rate_vs_bare", "accept.p50_ms"]));
        assert!(!some.wants(&["reserve.rate_vs_bare"]));
        assert!(options(&["a", "b"]).is_err());
    }

    #[test]
    fn options_stand_anywhere_and_what_is_no_option_is_refused() {
        let all = options(&["burst", "--profile", "debug", "--quick"]).expect("is right");
        assert_eq!(all.profile.as_deref(), Some("debug"));
        assert_eq!(all.size(50_000, 2_000), 2_000);
        assert!(all.wants(&["burst.lost"]) && all.is_look());
        assert!(options(&["--profile"]).is_err());
        assert!(options(&["--slow"]).is_err());
    }
}
