//! Somebody else at work: the fault `someone-edits`.

use super::Look;
use crate::rehearsal::value::{map, text};
use serde_json::Value;

/// Edits the Loki data source as soon as the rollout's own stands beside it: after the gate, before the next effect.
pub(super) fn edit(look: &mut Look<'_>) {
    if !look.faults.on("someone-edits") {
        return;
    }
    for (key, config) in look.list("v1", "ConfigMap", None) {
        let document = text(&config, "/data/loki-datasource.yaml");
        let begun = look.get("v1", "ConfigMap", &key.namespace, "grafana-tempo-datasource").is_some();
        if !begun || !document.contains("maxLines: 1000") {
            continue;
        }
        let edited = document.replace("maxLines: 1000", "maxLines: 2000");
        let mut changed = Value::clone(&config);
        map(map(&mut changed).entry("data").or_insert(Value::Null))
            .insert("loki-datasource.yaml".to_owned(), Value::from(edited));
        look.update(&key, None, "kubectl-edit", changed);
    }
}
