//! The sidecar's work: ConfigMaps with a label become files in Grafana's folder (kiwigrid/k8s-sidecar README.md).

use crate::text::Clean;
use serde_json::Value;
use std::collections::BTreeMap;

/// The label that the sidecar looks for; any value will do.
const LABEL: &str = "grafana_datasource";

/// The folder that the sidecar writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// File names with their texts.
    pub folder: BTreeMap<String, String>,
    /// What was written over by a key of the same name in another ConfigMap, in words.
    pub overwritten: Vec<Clean>,
}

/// The files that ConfigMaps make. Those without the label make none.
pub fn files<'o>(config_maps: impl IntoIterator<Item = &'o Value>) -> Files {
    let mut from: BTreeMap<String, String> = BTreeMap::new();
    let mut files = Files::default();
    for object in config_maps {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if object.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL)).is_none() {
            continue;
        }
        let name = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
        let data = object.get("data").and_then(Value::as_object);
        for (key, value) in data.into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            if let Some(earlier) = from.insert(key.clone(), name.clone()) {
                files.overwritten.push(Clean::new(format!("{key} of {earlier} was overwritten by {name}")));
            }
            files.folder.insert(key.clone(), value.to_owned());
        }
    }
    files
}
