//! Faults by name: what goes wrong in a rehearsal, as data.

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
        what: "the application's exporter already names /v1/traces, so the path stands there twice",
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
