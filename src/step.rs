//! Step compilers: what a step means as object intents.
//!
//! `apply`, `datasource` and `env` all compile to [`Intent`]s; the engine knows nothing else of them.

use crate::object::ObjectRef;
use crate::object::path::Path;
use serde_json::Value;

pub mod compile;
pub mod datasource;
pub mod env;

/// What a step wants one object to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The object.
    pub object: ObjectRef,
    /// The fields that the step owns, whole: server-side apply removes what the same manager leaves out.
    pub body: Value,
    /// Field manager, `firstlight:PLAN:STEP`.
    pub manager: String,
    /// The step edits an object that others made; it is never created.
    pub must_exist: bool,
    /// Fields that are taken from their owners by name.
    pub take: Vec<Path>,
}
