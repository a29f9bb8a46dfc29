//! Jobs.

use super::pod::{Weight, troubles};
use super::read::{number, some_text, text, true_condition};
use super::revision::current_pods;
use super::{Readiness, Surroundings};
use serde_json::Value;

pub(super) fn readiness(job: &Value, around: Surroundings<'_>) -> Readiness {
    let succeeded = number(job, "/status/succeeded");
    if true_condition(job, "Complete").or_else(|| true_condition(job, "SuccessCriteriaMet")).is_some() {
        return Readiness::ready(format!("complete, {succeeded} succeeded"));
    }
    if let Some(failed) = true_condition(job, "Failed").or_else(|| true_condition(job, "FailureTarget")) {
        return Readiness::failed(format!("{}: {}", text(failed, "/reason"), text(failed, "/message")));
    }
    if job.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Readiness::stuck("the job is suspended (spec.suspend)");
    }
    // A pod of a Job may fail and be replaced, backoffLimit times; the Job itself says when that is over. What no
    // replacement mends still fails at once.
    let troubles = troubles(job, &current_pods(job, around), around.events);
    let worst = troubles.first();
    let wanted = job.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1);
    let progress = format!("{succeeded} of {wanted} completed");
    match worst {
        Some(trouble) if trouble.weight == Weight::Fatal && !trouble.ran => {
            Readiness::Failed(trouble.text.clone())
        }
        Some(trouble) => {
            let reason = format!("{progress}; {}", trouble.text);
            if trouble.weight == Weight::Stuck {
                Readiness::stuck(reason)
            } else {
                Readiness::waiting(reason)
            }
        }
        None => match some_text(job, "/status/startTime") {
            Some(_) => Readiness::waiting(progress),
            None => Readiness::waiting("not started yet"),
        },
    }
}
