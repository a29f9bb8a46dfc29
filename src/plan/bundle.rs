//! The plans and assets that are at hand: those shipped with the program, or an operator's own folder.

use super::asset::Assets;
use crate::text::Clean;
use crate::yaml::{Source, nearest};
use std::collections::BTreeMap;

/// What is shipped: path from the repository's root, and text. `tests/shipped.rs` compares it with the files.
const SHIPPED: &[(&str, &str)] = &[
    ("plans/tracing.yaml", include_str!("../../plans/tracing.yaml")),
    ("assets/collector/configmap.yaml", include_str!("../../assets/collector/configmap.yaml")),
    ("assets/collector/deployment.yaml", include_str!("../../assets/collector/deployment.yaml")),
    ("assets/collector/service.yaml", include_str!("../../assets/collector/service.yaml")),
    ("assets/collector/serviceaccount.yaml", include_str!("../../assets/collector/serviceaccount.yaml")),
    ("assets/grafana/tempo.yaml", include_str!("../../assets/grafana/tempo.yaml")),
    ("assets/tempo/configmap.yaml", include_str!("../../assets/tempo/configmap.yaml")),
    ("assets/tempo/service.yaml", include_str!("../../assets/tempo/service.yaml")),
    ("assets/tempo/serviceaccount.yaml", include_str!("../../assets/tempo/serviceaccount.yaml")),
    ("assets/tempo/statefulset.yaml", include_str!("../../assets/tempo/statefulset.yaml")),
];

/// Plans and their assets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    plans: BTreeMap<String, Source>,
    assets: Assets,
}

impl Bundle {
    /// The plans and assets of this program.
    pub fn shipped() -> Self {
        Self::new(SHIPPED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
    }

    /// Path from the repository's root and text of every file that is shipped.
    pub fn shipped_files() -> &'static [(&'static str, &'static str)] {
        SHIPPED
    }

    /// A bundle of files: path from the folder that holds `plans/` and `assets/`, with `/` between folders, and text.
    /// Files that are neither are left out.
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut bundle = Self::default();
        for (path, text) in files {
            if let Some(path) = path.strip_prefix("assets/") {
                bundle.assets.files.insert(path.to_owned(), text);
            } else if let Some(file) = path.strip_prefix("plans/")
                && let Some(name) = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml"))
                && !name.contains('/')
            {
                bundle.plans.insert(name.to_owned(), Source::new(&path, text));
            }
        }
        bundle
    }

    /// Names of the plans, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plans.keys().map(String::as_str)
    }

    /// The text of a plan.
    ///
    /// # Errors
    /// One sentence that names the known plans, where there is none of this name.
    pub fn plan(&self, name: &str) -> Result<&Source, Clean> {
        self.plans.get(name).ok_or_else(|| {
            let meant =
                nearest(name, self.names()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let known: Vec<&str> = self.names().collect();
            let known = if known.is_empty() {
                "there are no plans".to_owned()
            } else {
                format!("known: {}", known.join(", "))
            };
            Clean::new(format!("unknown plan `{name}` ({known}){meant}"))
        })
    }

    /// The assets that plans of this bundle name.
    pub fn assets(&self) -> &Assets {
        &self.assets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_plan_is_answered_with_the_known_ones() {
        let bundle = Bundle::new([
            ("plans/tracing.yaml".to_owned(), String::new()),
            ("plans/logs.yml".to_owned(), String::new()),
            ("assets/tempo/x.yaml".to_owned(), String::new()),
            ("README.md".to_owned(), String::new()),
        ]);
        assert_eq!(bundle.names().collect::<Vec<_>>(), ["logs", "tracing"]);
        assert_eq!(bundle.assets().folders(), ["tempo"]);
        insta::assert_snapshot!(bundle.plan("trcaing").unwrap_err(), @"unknown plan `trcaing` (known: logs, tracing); did you mean `tracing`?");
        assert!(bundle.plan("tracing").is_ok());
    }
}
