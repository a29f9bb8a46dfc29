//! What the API server's refusals mean.
//!
//! The body is a `Status` object (apimachinery pkg/apis/meta/v1/types.go); a proxy in between may answer with anything.

use crate::port::{ClusterError, ConflictCause};
use crate::text::Clean;
use http::StatusCode;
use serde::Deserialize;
use std::time::Duration;

/// All that the API server says when a JSON patch cannot be applied, a failed `test` included (422; seen with 1.34).
const PATCH_DOES_NOT_FIT: &str = "the server rejected our request due to an error in our request";

/// A `Status`, as far as it says why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    kind: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    name: String,
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

impl Refusal {
    /// Reads the body of an answer that is not a success; whatever it is, it becomes a refusal with a message.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Self>(body) {
            Ok(refusal) if refusal.kind == "Status" => refusal,
            _ => {
                let text = String::from_utf8_lossy(body);
                let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
                // A page of HTML says nothing in its first line.
                let line = if line.starts_with('<') { "" } else { line };
                let separator = if line.is_empty() { "" } else { ": " };
                Self { message: format!("HTTP status {status}{separator}{line}"), ..Self::default() }
            }
        }
    }

    /// How long the server asks to wait, where the body says it.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        (self.details.retry_after_seconds > 0).then(|| Duration::from_secs(self.details.retry_after_seconds))
    }

    /// Whether this 404 is about the object of this name itself, and not about its namespace, its kind or the path.
    pub(super) fn is_absence_of(&self, plural: &str, name: &str) -> bool {
        self.reason == "NotFound"
            && self.details.name == name
            && (self.details.kind.is_empty() || self.details.kind == plural)
    }

    /// The error that a status code and its body mean. `change` says whether the request may have changed something.
    pub(super) fn error(self, status: StatusCode, change: bool) -> ClusterError {
        let sentence = self.sentence();
        // `ClusterError` says the word itself.
        let message = Clean::new(sentence.strip_prefix("forbidden: ").unwrap_or(&sentence));
        match status.as_u16() {
            401 => ClusterError::Unauthorized(message),
            403 if self.is_admission() => ClusterError::Invalid(message),
            403 => ClusterError::Forbidden(message),
            404 => ClusterError::NotFound(message),
            409 if self.reason == "AlreadyExists" => ClusterError::AlreadyExists(message),
            409 => {
                let owned = self.owned();
                if owned.is_empty() { ClusterError::Stale(message) } else { ClusterError::Owned(owned) }
            }
            // 429: the server did not take it. It may still be a change that a proxy answered so after the fact, but
            // no API server does (apiserver pkg/server/filters/priority-and-fairness.go answers before the handler).
            429 => ClusterError::Unavailable { message, sent: false },
            500..=599 if self.is_schema_mismatch() => ClusterError::Invalid(message),
            500..=599 => ClusterError::Unavailable { message, sent: change },
            422 if self.is_other_uid() => ClusterError::Stale(message),
            _ => ClusterError::Invalid(message),
        }
    }

    fn owned(self) -> Vec<ConflictCause> {
        self.details
            .causes
            .into_iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| ConflictCause { field: cause.field, message: Clean::new(cause.message) })
            .collect()
    }

    /// An apply whose fields do not fit the schema is answered 500 (seen with 1.34; the error of structured-merge-diff
    /// reaches the client as it is). It is the request that is wrong, every time.
    pub(super) fn is_schema_mismatch(&self) -> bool {
        self.message.starts_with("failed to create typed patch object")
    }

    /// An apply or patch with a uid that is not the object's: 422, `metadata.uid: … field is immutable` (seen with
    /// 1.34), where a PUT or DELETE gets 409. The object was replaced by another of its name.
    fn is_other_uid(&self) -> bool {
        self.details.causes.iter().any(|cause| cause.field == "metadata.uid")
    }

    /// 403 has two authors. The authorizer's sentence is `… is forbidden: User "x" cannot get resource …`
    /// (apiserver pkg/endpoints/handlers/responsewriters/errors.go); quota, LimitRange, pod security, webhooks and a
    /// namespace that is going refuse the object, not the caller, and no permission would help.
    fn is_admission(&self) -> bool {
        self.kind == "Status"
            && (self.message.contains("admission webhook")
                || self.message.contains("ValidatingAdmissionPolicy")
                || (self.message.contains(" is forbidden: ")
                    && !self.message.contains(" is forbidden: User \"")))
    }

    fn sentence(&self) -> String {
        if self.message == PATCH_DOES_NOT_FIT {
            return "the patch does not fit the object: one of its tests does not hold, or a path is not there".to_owned();
        }
        let mut sentence = if self.message.is_empty() { self.reason.clone() } else { self.message.clone() };
        // `Invalid` repeats its causes in the message; other reasons may not.
        for cause in &self.details.causes {
            if cause.reason != "FieldManagerConflict"
                && !cause.message.is_empty()
                && !sentence.contains(&cause.message)
            {
                let separator = if cause.field.is_empty() { "" } else { ": " };
                sentence.push_str(&format!("; {}{separator}{}", cause.field, cause.message));
            }
        }
        sentence
    }
}

#[cfg(test)]
mod tests;
