//! Answers of the simulated API server: bodies, and `Status` objects in the server's words.

use super::resource::Resource;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Value, json};

/// The body of an answer; that of a watch goes on.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// One cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`, …
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub field: String,
}

/// A refusal, as the `Status` object of the API server says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// Reason, empty for none.
    pub reason: &'static str,
    /// Message.
    pub message: String,
    /// Details.
    pub details: Details,
}

/// The details of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// API group of the object.
    pub group: String,
    /// Plural or kind, as the reason has it.
    pub kind: String,
    /// uid of the object.
    pub uid: String,
    /// Causes.
    pub causes: Vec<Cause>,
    /// When to try again, in seconds.
    pub retry_after: u64,
}

impl Refusal {
    /// A refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Details::default() }
    }

    fn of(mut self, resource: &Resource, name: &str) -> Self {
        self.details.name = name.to_owned();
        self.details.group = resource.group.to_owned();
        self.details.kind = resource.plural.to_owned();
        self
    }

    /// 404 of an object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.qualified())).of(resource, name)
    }

    /// 404 of a path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: an object of the name exists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.qualified()))
            .of(resource, name)
    }

    /// 409: the object is not what the request presupposes.
    pub fn conflict(resource: &Resource, name: &str, why: impl AsRef<str>) -> Self {
        let why = why.as_ref();
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(409, "Conflict", message).of(resource, name)
    }

    /// 409: a stale resourceVersion.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 403 by admission.
    pub fn forbidden(resource: &Resource, name: &str, why: impl AsRef<str>) -> Self {
        let message = format!("{} {name:?} is forbidden: {}", resource.qualified(), why.as_ref());
        Self::new(403, "Forbidden", message).of(resource, name)
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422 with its causes.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let said: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let said = match said.as_slice() {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {said}", resource.qualified_kind());
        let mut refusal = Self::new(422, "Invalid", message).of(resource, name);
        refusal.details.kind = resource.kind.to_owned();
        refusal.details.causes = causes;
        refusal
    }

    /// 410.
    pub fn expired(version: u64, current: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {version} ({current})"))
    }

    /// 429.
    pub fn too_many(seconds: u64) -> Self {
        let mut refusal = Self::new(
            429,
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        );
        refusal.details.retry_after = seconds;
        refusal
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        let mut details = serde_json::Map::new();
        for (name, text) in [
            ("name", &self.details.name),
            ("group", &self.details.group),
            ("kind", &self.details.kind),
            ("uid", &self.details.uid),
        ] {
            if !text.is_empty() {
                details.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        if self.details.retry_after > 0 {
            details.insert("retryAfterSeconds".to_owned(), Value::from(self.details.retry_after));
        }
        let causes: Vec<Value> = self
            .details
            .causes
            .iter()
            .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
            .collect();
        if !causes.is_empty() {
            details.insert("causes".to_owned(), Value::from(causes));
        }
        if let Value::Object(fields) = &mut status {
            if !self.reason.is_empty() {
                fields.insert("reason".to_owned(), Value::from(self.reason));
            }
            if !details.is_empty() || !self.reason.is_empty() && self.reason != "BadRequest" {
                fields.insert("details".to_owned(), Value::Object(details));
            }
        }
        status
    }

    /// The answer.
    pub fn response(&self) -> Response<Body> {
        let mut response = json(self.code, &self.status());
        if self.details.retry_after > 0 {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from(self.details.retry_after));
        }
        response
    }
}

/// A JSON answer.
pub fn json(code: u16, value: &Value) -> Response<Body> {
    bytes(code, "application/json", value.to_string().into_bytes())
}

/// A text answer.
pub fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    bytes(code, "text/plain; charset=utf-8", text.into().into_bytes())
}

/// An answer of any content type.
pub fn bytes(code: u16, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_in_the_words_of_the_server() {
        let deployments = Resource::of("apps", "v1", "deployments").unwrap();
        insta::assert_snapshot!(
            Refusal::not_found(deployments, "x").status(),
            @r#"{"apiVersion":"v1","code":404,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"deployments.apps \"x\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#
        );
    }
}
