//! The plan language: what a rollout is, read from YAML.
//!
//! A plan has phases, a phase has steps, and one gate guards each phase. [`load`] reads a plan together with the
//! manifests it names (its *assets*) and the values of its inputs, and reports all problems at once, each with its
//! place. Nothing here touches the world.
//!
//! ```yaml
//! plan: tracing                    # its name: part of field managers, so it is not changed lightly
//! title: "Tracing"
//! claim: { names: [ "stack:${app}" ] }    # what only one operator at a time may roll out; default `plan:NAME`
//! inputs:
//!   namespace: monitoring          # the short form of { default: monitoring }
//!   app: { default: tripit, help: The application }
//!   tempo_url: { optional: true, help: Where Tempo is reached without a port-forward }
//!   site: { help: An input without a default must be set, example: north }
//! phases:
//!   - phase: tempo
//!     steps:
//!       - apply: tempo             # every manifest directly in assets/tempo
//!         after: [ rolled-out, ready ]
//!         ready: [ { service: tempo, port: 3200, path: /ready } ]
//! ```
//!
//! # Inputs and `${name}`
//!
//! Inputs are substituted after parsing, in scalar values only: never in keys, and never as text that is parsed again.
//! - `${name}` stands for an input where `name` is `[a-z][a-z0-9_]*`. A name that no input has is an error.
//! - A plain scalar that is exactly `${name}` takes the value with its type (text, number, boolean; nothing for an
//!   optional input without a value). In quotes it is text.
//! - Elsewhere the value becomes part of the text. There it must not mean anything to a reader of that text (embedded
//!   YAML, LogQL, a URL): it begins with a letter, a digit, `.` or `/`, goes on with these and `_-:@+=~`, and does not
//!   end with `:`. Values are never longer than one line.
//! - What other programs expand stays as it is: `$${…}` (Grafana and the Collector write a literal `$` as `$$`),
//!   `${env:X}`, `${__value.raw}`, `${HOME}`, `${1}`. In a plan itself, as opposed to an asset, every `${…}` that is
//!   neither an input nor `$${…}` is an error: nothing else reads it.

mod asset;
mod bundle;
mod hash;
mod input;
mod lint;
mod model;
mod proofs;
mod read;
mod view;

pub use asset::{AssetObject, Assets};
pub use bundle::Bundle;
pub use hash::plan_hash;
pub use input::{Input, Missing, Origin, Settings};
pub use lint::{Level, Note, lint};
pub use model::{Action, DerivedField, FieldEdit, Phase, Plan, ReadyTarget, Step, Watch};
pub use proofs::ProofName;
pub use read::load;
pub use view::{lint_text, list_text, show_text};
