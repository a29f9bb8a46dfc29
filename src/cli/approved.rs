//! Approvals that were saved: `preview --save FILE` writes one, `run --approved FILE` holds a run to it.
//!
//! The file is one JSON object. It names each phase with the objects that it would change and the fingerprint of each
//! change: nothing of their content. A keyed seal over the whole makes it worthless elsewhere and after an edit:
//!
//! ```json
//! { "approval": 1, "plan": "tracing", "program": "0.1.0", "context": "prod", "cluster": "UID", "by": "ann@host",
//!   "saved": "2026-11-23T04:17:16Z", "key": "HMAC", "plan_hash": "HMAC",
//!   "phases": [ { "phase": "tempo", "objects": [ { "object": {…}, "action": "create", "fingerprint": "HMAC" } ] } ],
//!   "seal": "HMAC" }
//! ```
//! `key` is the keyed hash of nothing: it tells whose key it was without the key. The plan's hash is keyed too, because
//! an input may be short and secret.

use super::{Failure, exit};
use crate::object::ObjectRef;
use crate::port::ClusterIdentity;
use crate::rollout::gate::Gate;
use crate::rollout::preview::{Decision, Preview};
use crate::rollout::run::StepView;
use crate::secret::{Fingerprint, StateKey};
use crate::text::Clean;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Version of the file's form.
const VERSION: u32 = 1;

/// The largest approval that is read, in bytes: some 60,000 objects.
const LIMIT: u64 = 16 << 20;

/// An approval of what a preview showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    approval: u32,
    plan: Clean,
    program: Clean,
    context: Clean,
    cluster: String,
    by: Clean,
    saved: Clean,
    key: Fingerprint,
    plan_hash: Fingerprint,
    phases: Vec<ApprovedPhase>,
    seal: Option<Fingerprint>,
}

/// One phase of an approval; a phase that changes nothing has no objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ApprovedPhase {
    phase: Clean,
    objects: Vec<ApprovedObject>,
}

/// One object that may be changed, exactly so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ApprovedObject {
    object: ObjectRef,
    action: Clean,
    fingerprint: Fingerprint,
}

/// The plan, the cluster and the person that an approval is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'b> {
    /// The plan's name.
    pub plan: &'b str,
    /// The plan's hash, as [`crate::plan::plan_hash`] gives it.
    pub plan_hash: &'b str,
    /// The cluster.
    pub cluster: &'b ClusterIdentity,
}

impl Approved {
    /// The approval of everything that these views show.
    ///
    /// # Errors
    /// A step that cannot be carried out cannot be approved.
    pub fn of(
        views: &[StepView],
        binding: Binding<'_>,
        by: Clean,
        saved: Clean,
        key: &StateKey,
    ) -> Result<Self, Failure> {
        let mut phases: Vec<ApprovedPhase> = Vec::new();
        for view in views {
            if phases.last().is_none_or(|last| last.phase != view.phase) {
                phases.push(ApprovedPhase { phase: view.phase.clone(), objects: Vec::new() });
            }
            for preview in &view.step.previews {
                if let Decision::Blocked(block) = &preview.decision {
                    let text = format!("the preview was not saved: {}", block.reason);
                    let failure = Failure::failed(text);
                    return Err(match &block.hint {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    });
                }
                if let (Some(phase), Some(fingerprint)) = (phases.last_mut(), preview.fingerprint(key)) {
                    let object = preview.intent.object.clone();
                    phase.objects.push(ApprovedObject {
                        object,
                        action: Clean::from(action(preview)),
                        fingerprint,
                    });
                }
            }
        }
        let mut approved = Self {
            approval: VERSION,
            plan: Clean::new(binding.plan),
            program: Clean::from(env!("CARGO_PKG_VERSION")),
            context: binding.cluster.context.clone(),
            cluster: binding.cluster.uid.clone(),
            by,
            saved,
            key: key.keyed("approval-key", &[]),
            plan_hash: key.keyed("approval-plan", binding.plan_hash.as_bytes()),
            phases,
            seal: None,
        };
        approved.seal = Some(approved.sealed(key));
        Ok(approved)
    }

    /// How many changes it approves.
    pub fn changes(&self) -> usize {
        self.phases.iter().map(|phase| phase.objects.len()).sum()
    }

    fn sealed(&self, key: &StateKey) -> Fingerprint {
        let unsealed = Self { seal: None, ..self.clone() };
        // These types always serialise, members in the order of their declaration.
        key.keyed("approval-file", &serde_json::to_vec(&unsealed).unwrap_or_default())
    }

    /// Writes it, for its owner alone; complete or not at all.
    ///
    /// # Errors
    /// The file cannot be written, or something else than a file stands in its place.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let name = Clean::new(path.display().to_string());
        let failed = |cause: std::io::Error| {
            Failure::failed(format!("the approval {name} could not be written: {cause}"))
                .hint("nothing else was written; name another place with --save")
        };
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(failed(std::io::Error::other("something else than a file is there")));
        }
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.new", std::process::id()));
        let unfinished = Path::new(&unfinished);
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(unfinished, path)
        };
        write().map_err(|cause| {
            let _ = std::fs::remove_file(unfinished);
            failed(cause)
        })
    }

    /// Reads an approval, and refuses one that another key sealed or that was edited.
    ///
    /// # Errors
    /// A usage error: the file is not there, is no approval, or its seal does not fit.
    pub fn read(path: &Path, key: &StateKey) -> Result<Self, Failure> {
        let name = Clean::new(path.display().to_string());
        let usage =
            |text: String| Failure::usage(text).hint("`firstlight preview PLAN --save FILE` writes one");
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
            .map_err(|cause| usage(format!("the approval {name} cannot be read: {cause}")))?;
        #[derive(Deserialize)]
        struct Versioned {
            approval: u32,
        }
        match serde_json::from_slice::<Versioned>(&bytes) {
            Ok(Versioned { approval: VERSION }) => {}
            Ok(Versioned { approval }) => {
                return Err(usage(format!(
                    "the approval {name} has version {approval}, and this program reads {VERSION}"
                )));
            }
            Err(_) => return Err(usage(format!("{name} is not an approval"))),
        }
        let approved: Self =
            serde_json::from_slice(&bytes).map_err(|_| usage(format!("{name} is not an approval")))?;
        if approved.key != key.keyed("approval-key", &[]) {
            let text = format!("the approval {name} was saved with the key of another state directory");
            return Err(Failure::usage(text)
                .hint("save it where it is used, or set FIRSTLIGHT_STATE_DIR as it was then"));
        }
        if approved.seal.as_ref() != Some(&approved.sealed(key)) {
            return Err(usage(format!("the approval {name} was changed after it was saved")));
        }
        Ok(approved)
    }

    /// Refuses to approve another plan, another cluster, or phases that were not looked at.
    ///
    /// # Errors
    /// Another plan or cluster is a usage error; a plan that changed since is no longer approved.
    pub fn check(&self, binding: Binding<'_>, phases: &[&str], key: &StateKey) -> Result<(), Failure> {
        if self.plan.as_str() != binding.plan {
            return Err(Failure::usage(format!(
                "the approval is for plan {}, not for {}",
                self.plan, binding.plan
            )));
        }
        if self.cluster != binding.cluster.uid {
            let text =
                format!("the approval is for another cluster (context {} when it was saved)", self.context);
            return Err(Failure::usage(text).hint("name the context of that cluster with --context"));
        }
        let pending = |text: String| Failure {
            code: exit::PENDING,
            text,
            hint: Some("preview again, and save what is shown now".to_owned()),
        };
        if self.plan_hash != key.keyed("approval-plan", binding.plan_hash.as_bytes()) {
            let text = format!("plan {}, its assets or its inputs are not as they were approved", self.plan);
            return Err(pending(text));
        }
        let missing =
            phases.iter().find(|phase| !self.phases.iter().any(|known| known.phase.as_str() == **phase));
        match (missing, self.phases.last()) {
            (None, _) => Ok(()),
            (Some(_), Some(last)) => Err(Failure {
                code: exit::PENDING,
                text: format!("the approval ends after phase {}", last.phase),
                hint: Some(format!(
                    "stop there with --until {}, or save a preview of all phases",
                    last.phase
                )),
            }),
            (Some(_), None) => Err(pending("the approval has no phases".to_owned())),
        }
    }

    /// What this gate would change otherwise than approved; nothing: the gate is approved.
    pub fn differs(&self, gate: &Gate, key: &StateKey) -> Vec<Clean> {
        let known = self.phases.iter().find(|phase| phase.phase == gate.phase);
        let previews = gate.steps.iter().flat_map(|step| &step.previews);
        previews
            .filter_map(|preview| {
                let now = preview.fingerprint(key)?;
                let object = &preview.intent.object;
                let mut approved =
                    known.iter().flat_map(|phase| &phase.objects).filter(|entry| entry.object == *object);
                // Two steps may change one object one after the other: either change was approved.
                let now_action = action(preview);
                match approved.next() {
                    None => Some(Clean::new(format!(
                        "{object} needed no change then, and now it would be {now_action}d"
                    ))),
                    Some(first)
                        if first.fingerprint == now || approved.any(|entry| entry.fingerprint == now) =>
                    {
                        None
                    }
                    Some(first) if first.action.as_str() == now_action => {
                        Some(Clean::new(format!("the change of {object} is not the one that was approved")))
                    }
                    Some(first) => Some(Clean::new(format!(
                        "{object} was to be {}d, and now it would be {now_action}d",
                        first.action
                    ))),
                }
            })
            .collect()
    }
}

/// What happens to the object, as a verb.
fn action(preview: &Preview) -> &'static str {
    match &preview.decision {
        Decision::Change(planned) => planned.effect.verb(),
        Decision::Later(_) => "create",
        Decision::Same | Decision::Blocked(_) => "leave",
    }
}

#[cfg(test)]
mod tests;
