//! Who holds a claim, and whether that process still runs.

use crate::text::Clean;
use std::fs;

/// Who holds, or wants to hold, a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Login name.
    pub user: String,
    /// Name of the machine.
    pub host: String,
    /// Id of the machine's boot, where the system has one.
    pub boot_id: Option<String>,
    /// The process.
    pub pid: u32,
    /// When the process started, in clock ticks since boot: with it a reused pid is not taken for the same process.
    pub pid_start: Option<u64>,
    /// The pid namespace: a pid means nothing in another one (two containers of one machine).
    pub pid_namespace: Option<String>,
    /// The run.
    pub run: String,
    /// The plan.
    pub plan: String,
}

impl Holder {
    /// This process, for a run of a plan.
    pub fn this_process(run: &str, plan: &str) -> Self {
        let pid = std::process::id();
        Self {
            user: user(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: line_of("/proc/sys/kernel/random/boot_id"),
            pid,
            pid_start: process(pid).map(|process| process.start),
            pid_namespace: pid_namespace(),
            run: run.to_owned(),
            plan: plan.to_owned(),
        }
    }

    /// `user@host pid PID run RUN`: the Lease's holderIdentity.
    pub fn identity(&self) -> String {
        let clean = |text: &str| Clean::new(text).as_str().to_owned();
        format!("{}@{} pid {} run {}", clean(&self.user), clean(&self.host), self.pid, clean(&self.run))
    }
}

/// Looks at processes of this machine.
pub trait Processes: Send + Sync {
    /// Whether the process of this holder has certainly ended. `false` is also: it cannot be told.
    fn has_ended(&self, holder: &Holder, me: &Holder) -> bool;
}

/// The processes that this machine runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemProcesses;

impl Processes for SystemProcesses {
    fn has_ended(&self, holder: &Holder, me: &Holder) -> bool {
        comparable(holder, me) && ended(holder.pid, holder.pid_start)
    }
}

/// Whether pids of the two mean the same: same machine, same boot, same pid namespace, all of them known.
fn comparable(holder: &Holder, me: &Holder) -> bool {
    let same = |left: &Option<String>, right: &Option<String>| left.is_some() && left == right;
    holder.host == me.host
        && same(&holder.boot_id, &me.boot_id)
        && same(&holder.pid_namespace, &me.pid_namespace)
        && holder.pid_start.is_some()
}

/// Whether a process has certainly ended.
fn ended(pid: u32, start: Option<u64>) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    if let Some(process) = process(pid) {
        // A zombie renews nothing, and its parent may never collect it.
        return process.is_dead || start.is_some_and(|start| start != process.start);
    }
    // /proc hides the processes of others where it is mounted with hidepid, but kill(2) with signal 0 does not.
    rustix::process::test_kill_process(id) == Err(rustix::io::Errno::SRCH)
}

struct Process {
    start: u64,
    is_dead: bool,
}

/// State and start time (fields 3 and 22 of /proc/PID/stat, proc_pid_stat(5)).
fn process(pid: u32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Process> {
    // The command's name is in parentheses and may itself contain blanks and parentheses: what counts follows the last.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = fields.first()?;
    Some(Process { start: fields.get(19)?.parse().ok()?, is_dead: matches!(*state, "Z" | "X" | "x") })
}

fn pid_namespace() -> Option<String> {
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

fn line_of(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The login name: what the environment says, else the user's number.
fn user() -> String {
    ["LOGNAME", "USER"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::geteuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_of_a_process_with_a_nasty_name() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        let process = parse(stat).unwrap();
        assert_eq!(process.start, 777);
        assert!(!process.is_dead);
        assert!(parse(&stat.replace(" S ", " Z ")).unwrap().is_dead);
        for broken in ["", "42", "42 (a", "42 (a) S 1 2"] {
            assert!(parse(broken).is_none(), "{broken:?}");
        }
    }

    #[cfg(target_os = "linux")]
    mod linux {
        use super::super::*;

        #[test]
        fn this_process_has_not_ended() {
            let me = Holder::this_process("r", "p");
            assert!(comparable(&me, &me));
            assert!(!SystemProcesses.has_ended(&me, &me));
        }

        #[test]
        fn a_reused_pid_is_another_process() {
            let me = Holder::this_process("r", "p");
            let before = Holder { pid_start: me.pid_start.map(|start| start.wrapping_sub(1)), ..me.clone() };
            assert!(SystemProcesses.has_ended(&before, &me));
        }

        #[test]
        fn a_child_that_ended_has_ended_collected_or_not() {
            let me = Holder::this_process("r", "p");
            let mut child = std::process::Command::new("true").spawn().unwrap();
            let holder = Holder { pid: child.id(), pid_start: Some(1), ..me.clone() };
            child.wait().unwrap();
            assert!(SystemProcesses.has_ended(&holder, &me));
        }

        #[test]
        fn a_process_elsewhere_cannot_be_told() {
            let me = Holder::this_process("r", "p");
            let gone = Holder { pid_start: Some(1), ..me.clone() };
            assert!(SystemProcesses.has_ended(&gone, &me));
            let other = |change: fn(&mut Holder)| {
                let mut holder = gone.clone();
                change(&mut holder);
                SystemProcesses.has_ended(&holder, &me)
            };
            assert!(!other(|holder| holder.host = "elsewhere".into()));
            assert!(!other(|holder| holder.boot_id = Some("another".into())));
            assert!(!other(|holder| holder.boot_id = None));
            assert!(!other(|holder| holder.pid_namespace = Some("pid:[1]".into())));
            assert!(!other(|holder| holder.pid_namespace = None));
            assert!(!other(|holder| holder.pid_start = None));
        }
    }
}
