//! What a plan, its assets and its inputs say, as one short text.

use super::model::Plan;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// SHA-256 in hex over the canonical JSON of the plan: its steps, the manifests they apply and the values of its
/// inputs. Comments, layout and file names of the same content have the same hash.
pub fn plan_hash(plan: &Plan) -> String {
    let mut canonical = String::new();
    // A plan holds texts, numbers, lists and maps with text keys: nothing that JSON cannot say.
    if let Ok(value) = serde_json::to_value(plan) {
        write_canonical(&value, &mut canonical);
    }
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(canonical.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// JSON without blanks, the members of objects in the order of their names.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        _ => out.push_str(&value.to_string()),
    }
}
