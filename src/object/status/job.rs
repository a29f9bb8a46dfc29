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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use serde_json::json;

    fn job() -> Value {
        json!({
            "kind": "Job", "metadata": { "name": "migrate", "uid": "job", "generation": 1 },
            "spec": { "completions": 2 }, "status": { "startTime": "2026-11-23T03:15:00Z", "active": 1, "succeeded": 1 },
        })
    }

    #[test]
    fn its_conditions_decide() {
        let around = Surroundings::default();
        assert_eq!(told(&job(), around), "waiting: 1 of 2 completed");
        let complete = with(job(), "/status/conditions", json!([{ "type": "Complete", "status": "True" }]));
        assert_eq!(
            told(&with(complete, "/status/succeeded", json!(2)), around),
            "ready: complete, 2 succeeded"
        );
        let failed = json!([{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit" }]);
        assert_eq!(
            told(&with(job(), "/status/conditions", failed), around),
            "failed: BackoffLimitExceeded: Job has reached the specified backoff limit"
        );
        assert_eq!(
            told(&with(job(), "/spec/suspend", json!(true)), around),
            "stuck: the job is suspended (spec.suspend)"
        );
        assert_eq!(told(&with(job(), "/status", json!({})), around), "waiting: not started yet");
    }

    #[test]
    fn a_failing_pod_is_said_and_does_not_yet_fail_it() {
        let owner = json!([{ "kind": "Job", "name": "migrate", "uid": "job", "controller": true }]);
        let pod =
            with(with(tempo(), "/metadata/ownerReferences", owner), "/spec/restartPolicy", json!("Never"));
        let ended = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let killed = with(in_state(pod.clone(), ended, json!(null)), "/status/phase", json!("Failed"));
        assert_eq!(
            told(&job(), Surroundings { pods: &[killed], ..Surroundings::default() }),
            "waiting: 1 of 2 completed; pod tempo-0: container tempo was OOM-killed (exit 137) at its limit of 256Mi"
        );
        let unpulled = in_state(
            pod,
            json!({ "waiting": { "reason": "ImagePullBackOff", "message": "why" } }),
            json!(null),
        );
        assert_eq!(
            told(&job(), Surroundings { pods: &[unpulled], ..Surroundings::default() }),
            "failed: pod tempo-0: ImagePullBackOff: why"
        );
    }
}
