//! Faults to order: rules that are tried in the order they were given, each for some calls. Which faults there are, and what
//! a rule can ask about a request, is the service's own.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::control::Invalid;

const MAX_RULES: usize = 1_000;

/// One rule as a script writes it.
pub trait Terms: Serialize {
    /// What can go wrong, as a script names it.
    type Kind: Copy + Debug;
    /// What goes wrong with one request.
    type Fault: Clone + Debug;
    /// What a rule can ask about a request.
    type Subject;

    /// What it orders.
    fn kind(&self) -> Self::Kind;

    /// How often. None: once, or without end when there is a probability.
    fn times(&self) -> Option<u64>;

    /// Of each request that it wants.
    fn probability(&self) -> Option<f64>;

    /// Whether the request is one that it is for.
    fn wants(&self, fault: &Self::Fault, subject: &Self::Subject) -> bool;
}

/// The body of `POST /sandbox/faults`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script<T> {
    faults: Vec<T>,
    /// Makes the dice of rules with a probability fall the same way again.
    seed: Option<u64>,
}

/// A rule with what is left of it, as `GET /sandbox/faults` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule<T: Terms> {
    #[serde(flatten)]
    terms: T,
    #[serde(skip)]
    fault: T::Fault,
    /// None: without end.
    times_left: Option<u64>,
    fired: u64,
}

/// The rules that are left.
#[derive(Debug)]
pub struct Faults<T: Terms> {
    rules: Vec<Rule<T>>,
    dice: fastrand::Rng,
}

impl<T: Terms> Default for Faults<T> {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            // Seeded, so that a run without a seed of its own repeats as well.
            dice: fastrand::Rng::with_seed(0),
        }
    }
}

impl<T: Terms> Faults<T> {
    /// Adds all rules of a script after those there are, or none when one is unfit. `fault` says what a rule orders.
    pub fn add(
        &mut self,
        script: Script<T>,
        fault: impl Fn(&T) -> Result<T::Fault, Invalid>,
    ) -> Result<(), Invalid> {
        if self.rules.len() + script.faults.len() > MAX_RULES {
            return Err(unfit("at most 1000 rules at a time"));
        }
        let rules = script
            .faults
            .into_iter()
            .map(|terms| Rule::new(fault(&terms)?, terms))
            .collect::<Result<Vec<_>, _>>()?;
        self.rules.extend(rules);
        if let Some(seed) = script.seed {
            self.dice = fastrand::Rng::with_seed(seed);
        }
        Ok(())
    }

    /// Drops the rules; the dice fall on.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// In the order they are tried.
    #[must_use]
    pub fn rules(&self) -> &[Rule<T>] {
        &self.rules
    }

    /// The fault of the first rule that wants this request; a rule that is used up goes away.
    pub fn take(&mut self, subject: &T::Subject) -> Option<(T::Kind, T::Fault)> {
        let Self { rules, dice } = self;
        let place = rules.iter().position(|rule| rule.wants(subject, dice))?;
        let rule = rules.get_mut(place)?;
        rule.fired += 1;
        rule.times_left = rule.times_left.map(|left| left.saturating_sub(1));
        let taken = (rule.terms.kind(), rule.fault.clone());
        if rule.times_left == Some(0) {
            rules.remove(place);
        }
        Some(taken)
    }
}

impl<T: Terms> Rule<T> {
    fn new(fault: T::Fault, terms: T) -> Result<Self, Invalid> {
        if terms.times() == Some(0) {
            return Err(unfit("times must be at least 1"));
        }
        if terms
            .probability()
            .is_some_and(|p| !(0.0..=1.0).contains(&p))
        {
            return Err(unfit("probability must be 0 to 1"));
        }
        let times_left = match (terms.times(), terms.probability()) {
            (Some(times), _) => Some(times),
            (None, Some(_)) => None,
            (None, None) => Some(1),
        };
        Ok(Self {
            terms,
            fault,
            times_left,
            fired: 0,
        })
    }

    fn wants(&self, subject: &T::Subject, dice: &mut fastrand::Rng) -> bool {
        self.terms.wants(&self.fault, subject)
            // Last: only a request that could have met it rolls the dice.
            && self.terms.probability().is_none_or(|p| dice.f64() < p)
    }
}

/// Why a rule makes no sense.
#[must_use]
pub fn unfit(why: &str) -> Invalid {
    Invalid(format!("fault: {why}"))
}
