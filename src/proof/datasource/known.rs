//! The data sources that are known beside the one that changes.

use super::document::{Provisioning, Seen, flag, generated_uid, org};
use crate::text::Clean;
use crate::yaml::{Node, nearest};
use serde::{Deserialize, Serialize};

/// What is known of the data sources outside the two documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Those that exist, and those that the plan creates before.
    pub datasources: Vec<KnownDatasource>,
    /// Whether Grafana has no others. From files alone that is not known.
    pub complete: bool,
}

/// One data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDatasource {
    /// Its organisation; `None` if that is not known.
    pub org: Option<i64>,
    /// Its name.
    pub name: String,
    /// Its uid; `None` if its document gives none and Grafana made one when it was first provisioned.
    pub uid: Option<String>,
    /// Its type: `tempo`, `loki`.
    pub kind: String,
    /// Whether it is its organisation's default; `None` if that is not known.
    pub is_default: Option<bool>,
    /// Where it is from: `configmap/grafana-tempo-datasource, which the plan creates`.
    pub origin: Clean,
}

impl Known {
    /// Adds the data sources of a provisioning document. `created`: the plan creates them, so a missing uid is generated
    /// from the name; an existing data source may have got its uid from an older Grafana.
    ///
    /// # Errors
    /// A sentence that says why the document cannot be read.
    pub fn add(&mut self, text: &str, origin: &Clean, created: bool) -> Result<(), Clean> {
        let document = Provisioning::read(text, origin.as_str()).map_err(|findings| {
            findings.into_iter().next().map_or_else(Clean::default, |finding| finding.text)
        })?;
        self.datasources.extend(document.datasources().filter_map(|entry| read(entry, origin, created)));
        Ok(())
    }
}

/// A data source of a document; `None` where its name is not known.
pub fn read(entry: &Node, origin: &Clean, created: bool) -> Option<KnownDatasource> {
    let name = Seen::of(entry.get("name")).text()?.to_owned();
    let uid = match Seen::of(entry.get("uid")) {
        Seen::Text(uid) => Some(uid),
        Seen::Absent if created => Some(generated_uid(&name)),
        Seen::Absent | Seen::Open(_) => None,
    };
    Some(KnownDatasource {
        org: org(entry).ok(),
        uid,
        kind: Seen::of(entry.get("type")).text().unwrap_or_default().to_owned(),
        is_default: flag(entry.get("isDefault")),
        origin: origin.clone(),
        name,
    })
}

/// All data sources that can be named: those of the new document and the known ones.
pub struct Catalogue<'k> {
    known: &'k Known,
    here: Vec<KnownDatasource>,
}

/// What a `datasourceUid` leads to.
pub enum Target {
    /// A data source, in words.
    Found(String),
    /// The name of a data source, not its uid, in words.
    Name(String),
    /// It could not be told; why.
    Doubtful(String),
    /// There is none.
    Missing,
    /// None is among those that are known, and there may be others.
    NotGiven,
}

impl<'k> Catalogue<'k> {
    /// The known data sources and those of the new document; `is_new` tells which of them the change creates.
    pub fn new(known: &'k Known, document: &Provisioning, is_new: impl Fn(&Node) -> bool) -> Self {
        let origin = Clean::from("the new document");
        let here = document.datasources().filter_map(|entry| read(entry, &origin, is_new(entry))).collect();
        Self { known, here }
    }

    fn all(&self) -> impl Iterator<Item = &KnownDatasource> {
        self.here.iter().chain(&self.known.datasources)
    }

    /// What a uid means in an organisation.
    pub fn target(&self, uid: &str, org: Option<i64>) -> Target {
        let words = |source: &KnownDatasource| format!("`{}` of {}", Clean::new(&source.name), source.origin);
        if let Some(found) = self
            .all()
            .find(|source| source.uid.as_deref() == Some(uid) && source.org.is_some() && source.org == org)
        {
            return Target::Found(words(found));
        }
        if let Some(found) = self.all().find(|source| source.uid.as_deref() == Some(uid)) {
            return Target::Doubtful(format!("{} may be in another organisation", words(found)));
        }
        if let Some(found) = self.all().find(|source| source.name == uid) {
            return Target::Name(words(found));
        }
        if let Some(found) =
            self.all().find(|source| source.uid.is_none() && generated_uid(&source.name) == uid)
        {
            return Target::Doubtful(format!(
                "{} gives no uid, and Grafana made one that is not known here",
                words(found)
            ));
        }
        if let Some(found) = self.all().find(|source| source.uid.is_none()).filter(|_| self.known.complete) {
            return Target::Doubtful(format!("the uid of {} is not known", words(found)));
        }
        if self.known.complete { Target::Missing } else { Target::NotGiven }
    }

    /// The known uid that is nearest to a word.
    pub fn nearest_uid(&self, uid: &str) -> Option<&str> {
        nearest(uid, self.all().filter_map(|source| source.uid.as_deref()))
    }

    /// The data sources outside the documents.
    pub fn others(&self) -> &[KnownDatasource] {
        &self.known.datasources
    }

    /// Whether there are no others.
    pub fn complete(&self) -> bool {
        self.known.complete
    }
}
