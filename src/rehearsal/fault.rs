//! Faults by name: what goes wrong in a rehearsal, as data.

use super::dice::Dice;
use std::sync::{Mutex, PoisonError};

/// One fault.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name on the command line.
    pub name: &'static str,
    /// What goes wrong, in one line.
    pub what: &'static str,
    /// What it teaches, in one line.
    pub teaches: &'static str,
}

/// All faults, in the order of `rehearse --faults`.
pub static FAULTS: &[Fault] = &[
    Fault {
        name: "tempo-oom",
        what: "Tempo is killed by its memory limit, again and again",
        teaches: "a container that is OOM-killed ends the phase with its limit in the reason",
    },
    Fault {
        name: "image-pull",
        what: "the Collector's image cannot be pulled",
        teaches: "a wrong image is said at once, not after a timeout",
    },
    Fault {
        name: "pvc-pending",
        what: "nothing provisions Tempo's volume",
        teaches: "a pod waits for its claim, and the claim says why",
    },
    Fault {
        name: "api-429",
        what: "the API server is busy and asks to try again later",
        teaches: "a refused request is sent again; it was never carried out",
    },
    Fault {
        name: "api-reset",
        what: "connections break, before and after a request was carried out",
        teaches: "an effect without an answer is asked about, never guessed",
    },
    Fault {
        name: "watch-cut",
        what: "watches end early, and their history is compacted",
        teaches: "after a lost watch the objects are listed again",
    },
    Fault {
        name: "someone-edits",
        what: "a colleague edits the Loki data source between gate and effect",
        teaches: "what was approved is what is written: the gate opens again with the new diff",
    },
    Fault {
        name: "quota",
        what: "a ResourceQuota leaves no room for the Collector",
        teaches: "an object can be written and its pods refused: the event says why",
    },
    Fault {
        name: "wrong-endpoint",
        what: "the application's start script adds /v1/traces to its endpoint, so the path stands there twice",
        teaches: "everything is ready and no span arrives",
    },
    Fault {
        name: "limit-range",
        what: "a LimitRange gives containers less memory than Tempo needs",
        teaches: "what a pod gets is not always what its manifest says",
    },
];

impl Fault {
    /// The fault of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().find(|fault| fault.name == name)
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out and answered.
    Pass,
    /// It is answered with 429.
    Busy {
        /// When to try again.
        seconds: u64,
    },
    /// The connection breaks before it is carried out.
    ResetBefore,
    /// The connection breaks after it was carried out.
    ResetAfter,
}

/// Which requests a fault meets, how often, and what it does to them.
#[derive(Debug)]
struct RequestRule {
    fault: &'static str,
    /// Whether only requests that change something are met.
    writes_only: bool,
    /// One of so many is met.
    one_in: u64,
    /// How often in all: a rehearsal shall end.
    times: u32,
    /// One of these.
    verdicts: &'static [Verdict],
}

const REQUEST_RULES: &[RequestRule] = &[
    RequestRule {
        fault: "api-429",
        writes_only: false,
        one_in: 5,
        times: 20,
        verdicts: &[Verdict::Busy { seconds: 1 }],
    },
    RequestRule {
        fault: "api-reset",
        writes_only: true,
        one_in: 3,
        times: 8,
        verdicts: &[Verdict::ResetBefore, Verdict::ResetAfter],
    },
];

/// The faults of one rehearsal.
#[derive(Debug)]
pub struct Faults {
    named: Vec<&'static Fault>,
    state: Mutex<(Dice, Vec<u32>)>,
}

impl Faults {
    /// These faults; where and when follows from the seed.
    pub fn new(seed: u64, named: Vec<&'static Fault>) -> Self {
        Self { named, state: Mutex::new((Dice::of(seed, "faults"), vec![0; REQUEST_RULES.len()])) }
    }

    /// Whether a fault of this name is on.
    pub fn on(&self, name: &str) -> bool {
        self.named.iter().any(|fault| fault.name == name)
    }

    /// What becomes of a request. `writes`: it changes something.
    pub fn judge(&self, writes: bool) -> Verdict {
        if self.named.is_empty() {
            return Verdict::Pass;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (dice, met) = &mut *state;
        for (rule, met) in REQUEST_RULES.iter().zip(met.iter_mut()) {
            if !self.on(rule.fault) || (rule.writes_only && !writes) || *met >= rule.times {
                continue;
            }
            if dice.below(rule.one_in) == 0 {
                *met += 1;
                let choice = usize::try_from(dice.below(rule.verdicts.len() as u64)).unwrap_or(0);
                return rule.verdicts.get(choice).copied().unwrap_or(Verdict::Pass);
            }
        }
        Verdict::Pass
    }

    /// How long watches last at most, in seconds, where they are cut.
    pub fn watch_lasts(&self) -> Option<u64> {
        if !self.on("watch-cut") {
            return None;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Some(1 + state.0.below(4))
    }
}
