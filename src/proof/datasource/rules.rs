//! What each kind of change means to Grafana.

use super::change::{Change, Place, Step};
use super::derived_field;
use super::document::{Provisioning, Seen, flag, generated_uid, org};
use super::known::Catalogue;
use crate::proof::Finding;
use crate::text::Clean;
use crate::yaml::{Node, NodeKind};

/// Fields that tell one data source from another, or how Grafana uses it as a whole, with what a change of them does.
const IDENTITY: [(&str, &str); 8] = [
    (
        "uid",
        "dashboards and links name it by uid, and a uid that is not the stored one stops provisioning (grafana/grafana issue 110740)",
    ),
    ("name", "Grafana finds a data source by its name, so this makes another one"),
    ("type", "every query to it is for another kind of service then"),
    ("url", "queries go to another place then"),
    ("access", "queries go another way then"),
    ("isDefault", "panels without a data source use another one then"),
    ("orgId", "it moves to another organisation then"),
    ("orgName", "it moves to another organisation then"),
];

/// Fields of a data source that change how Grafana reaches it. Their values may be secrets and are never shown.
const CONNECTION: [&str; 9] = [
    "basicAuth",
    "basicAuthUser",
    "basicAuthPassword",
    "user",
    "password",
    "database",
    "withCredentials",
    "secureJsonData",
    "correlations",
];

/// Beginnings of the keys of `jsonData` that change how Grafana reaches a data source.
const CONNECTION_SETTINGS: [&str; 14] = [
    "httpHeader",
    "tls",
    "auth",
    "oauth",
    "sigV4",
    "azure",
    "aws",
    "serverName",
    "keepCookies",
    "enableSecureSocks",
    "secureSocks",
    "password",
    "user",
    "database",
];

/// Judges one change from the old document to the new one.
pub fn judge(change: &Change<'_>, new: &Provisioning, catalogue: &Catalogue<'_>) -> Vec<Finding> {
    match change {
        Change::Lost { place, old } => vec![lost(place, old)],
        Change::Altered { place, old, new } => vec![altered(place, old, new)],
        Change::Unclear { place, why } => {
            vec![Finding::unknown(format!("whether {place} is the same cannot be told: {why}"))]
        }
        Change::Moved { place } => vec![
            Finding::refuted(format!(
                "{place} stands elsewhere in its list: lists may grow only at their end"
            ))
            .hint("append what is new"),
        ],
        Change::Added { place, new: node } => added(place, node, new, catalogue),
    }
}

/// Judges every data source of a document that is new as a whole.
pub fn judge_new(new: &Provisioning, catalogue: &Catalogue<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, node) in new.root.entries() {
        let name = key.as_str().unwrap_or_default();
        if matches!(name, "apiVersion" | "datasources") {
            continue;
        }
        let place = Place(vec![Step::Key(name.to_owned())]);
        findings.extend(added(&place, node, new, catalogue));
    }
    for (index, entry) in new.datasources().enumerate() {
        findings.extend(new_datasource(entry, index, new, catalogue));
    }
    findings
}

fn lost(place: &Place, old: &Node) -> Finding {
    match place.0.as_slice() {
        [Step::Key(list), Step::Item(..)] if list == "datasources" => Finding::refuted(format!(
            "{place} is gone: Grafana no longer provisions it, and with `prune` it deletes it"
        )),
        [Step::Key(key), ..] if key == "deleteDatasources" => {
            Finding::refuted(format!("{place} is gone, and every old value must stay"))
        }
        [.., Step::Key(list), Step::Item(..)] if list == "derivedFields" => Finding::refuted(format!(
            "{place} is gone: Grafana replaces the whole data source, and its link with it"
        )),
        [Step::Key(list), Step::Item(..), Step::Key(key)] if list == "datasources" => match identity(key) {
            Some(effect) => Finding::refuted(format!("{place} is gone: {effect}")),
            None => Finding::refuted(format!("{place} is gone, and every old value must stay")),
        },
        _ if matches!(old.kind, NodeKind::Scalar { .. }) => {
            Finding::refuted(format!("{place} is gone, and every old value must stay"))
        }
        _ => Finding::refuted(format!("{place} is gone with all in it, and every old value must stay")),
    }
}

fn altered(place: &Place, old: &Node, new: &Node) -> Finding {
    if let [Step::Key(list), Step::Item(..), Step::Key(key)] = place.0.as_slice()
        && list == "datasources"
        && let Some(effect) = identity(key)
    {
        // A URL may hold a password.
        return match (key.as_str(), old.as_str(), new.as_str()) {
            ("url" | "orgName", _, _) | (_, None, _) | (_, _, None) => {
                Finding::refuted(format!("{place} has another value: {effect}"))
            }
            (_, Some(old), Some(new)) => Finding::refuted(format!(
                "{place} was `{}` and is `{}`: {effect}",
                Clean::new(old),
                Clean::new(new)
            )),
        };
    }
    match place.0.as_slice() {
        [Step::Key(key)] if key == "prune" && flag(Some(new)) == Some(true) => prune(),
        _ if old.describe() != new.describe() => {
            Finding::refuted(format!("{place} was {} and is {}", old.describe(), new.describe()))
        }
        _ => Finding::refuted(format!("{place} has another value, and every old value must stay")),
    }
}

fn identity(key: &str) -> Option<&'static str> {
    IDENTITY.iter().find(|(name, _)| *name == key).map(|(_, effect)| *effect)
}

fn prune() -> Finding {
    Finding::refuted(
        "`prune` is newly set: Grafana deletes provisioned data sources that no file names any more",
    )
    .hint("leave `prune` out")
}

fn added(place: &Place, node: &Node, new: &Provisioning, catalogue: &Catalogue<'_>) -> Vec<Finding> {
    match place.0.as_slice() {
        [Step::Key(key)] => match key.as_str() {
            "datasources" => node
                .items()
                .enumerate()
                .flat_map(|(index, entry)| new_datasource(entry, index, new, catalogue))
                .collect(),
            "prune" => match flag(Some(node)) {
                Some(false) => vec![Finding::proven("`prune` is newly written, and false as it was")],
                Some(true) => vec![prune()],
                None => vec![Finding::unknown("whether `prune` is set cannot be told")],
            },
            "deleteDatasources" => node.items().map(deleted).collect(),
            _ => vec![Finding::unknown(format!(
                "{place} is new, and what Grafana does with it is not known here"
            ))],
        },
        [Step::Key(list), Step::Item(..)] if list == "deleteDatasources" => vec![deleted(node)],
        [Step::Key(list), ..] if list == "deleteDatasources" => {
            vec![Finding::refuted(format!("{place} is new: it changes what Grafana deletes"))]
        }
        [Step::Key(list), Step::Item(index, _)] if list == "datasources" => {
            new_datasource(node, *index, new, catalogue)
        }
        [Step::Key(list), Step::Item(_, name), rest @ ..] if list == "datasources" => {
            let owner =
                new.datasources().find(|entry| entry.get("name").and_then(Node::as_str) == name.as_deref());
            in_datasource(place, rest, node, owner, catalogue)
        }
        _ => {
            vec![Finding::unknown(format!("{place} is new, and what Grafana does with it is not known here"))]
        }
    }
}

fn deleted(entry: &Node) -> Finding {
    let name = match Seen::of(entry.get("name")) {
        Seen::Text(name) => format!("`{}`", Clean::new(name)),
        _ => "a data source".to_owned(),
    };
    Finding::refuted(format!("deleteDatasources newly names {name}: Grafana deletes it at the next reload"))
}

/// Something new in a data source that was there; `owner` is that data source in the new document.
fn in_datasource(
    place: &Place,
    rest: &[Step],
    node: &Node,
    owner: Option<&Node>,
    catalogue: &Catalogue<'_>,
) -> Vec<Finding> {
    let nothing = node.is_null() || node.as_str() == Some("");
    match rest {
        [Step::Key(key)] => match key.as_str() {
            _ if nothing => vec![Finding::proven(format!("{place} is newly written, without a value"))],
            "access" if Seen::of(Some(node)).text() == Some("proxy") => same_as_before(place, "proxy"),
            "isDefault" if flag(Some(node)) == Some(false) => same_as_before(place, "false"),
            "orgId" if matches!(Seen::of(Some(node)).text(), Some("0" | "1")) => same_as_before(place, "1"),
            key if identity(key).is_some() => {
                let effect = identity(key).unwrap_or_default();
                vec![Finding::refuted(format!("{place} is new: {effect}")).hint("leave it out, as it was")]
            }
            "basicAuth" | "withCredentials" if flag(Some(node)) == Some(false) => {
                same_as_before(place, "false")
            }
            "editable" if flag(Some(node)) == Some(false) => same_as_before(place, "false"),
            "editable" | "version" => vec![note(place)],
            "jsonData" if matches!(node.kind, NodeKind::Mapping(_)) => node
                .entries()
                .flat_map(|(key, value)| {
                    let key = key.as_str().unwrap_or_default();
                    let mut steps = place.0.clone();
                    steps.push(Step::Key(key.to_owned()));
                    setting(&Place(steps), key, value, owner, catalogue)
                })
                .collect(),
            key if CONNECTION.contains(&key) => vec![Finding::unknown(format!(
                "{place} is new: it changes how Grafana uses the data source, and whether it still answers is not judged"
            ))],
            _ => vec![Finding::unknown(format!(
                "{place} is new, and what Grafana does with it is not known here"
            ))],
        },
        [Step::Key(json), Step::Key(key)] if json == "jsonData" => {
            setting(place, key, node, owner, catalogue)
        }
        [Step::Key(json), Step::Key(list), Step::Item(index, _)]
            if json == "jsonData" && list == "derivedFields" =>
        {
            vec_of_field(place, *index, node, owner, catalogue)
        }
        [Step::Key(json), Step::Key(list), Step::Item(..), Step::Key(key)]
            if json == "jsonData" && list == "derivedFields" =>
        {
            match key.as_str() {
                "matcherType" if node.as_str() == Some("regex") => same_as_before(place, "regex"),
                "targetBlank" if flag(Some(node)) == Some(false) => same_as_before(place, "false"),
                "urlDisplayLabel" | "targetBlank" => {
                    vec![Finding::unknown(format!(
                        "{place} is new: an existing link looks or opens in another way"
                    ))]
                }
                _ => vec![Finding::refuted(format!("{place} is new: it changes what an existing link does"))],
            }
        }
        [Step::Key(json), Step::Key(key), ..] if json == "jsonData" && is_connection(key) => {
            vec![Finding::unknown(format!(
                "{place} is new: it changes how Grafana reaches the data source, and whether it still answers is not judged"
            ))]
        }
        [Step::Key(json), ..] if json == "jsonData" => vec![note(place)],
        _ => vec![Finding::unknown(format!(
            "{place} is new: it changes how Grafana uses the data source, and whether it still answers is not judged"
        ))],
    }
}

fn is_connection(setting: &str) -> bool {
    CONNECTION_SETTINGS.iter().any(|beginning| setting.starts_with(beginning))
}

fn same_as_before(place: &Place, value: &str) -> Vec<Finding> {
    vec![Finding::proven(format!("{place} is newly written, and `{value}` is what Grafana took before"))]
}

fn note(place: &Place) -> Finding {
    Finding::proven(format!("{place} is new; nothing that was there is changed by it"))
}

/// A new key of `jsonData`.
fn setting(
    place: &Place,
    key: &str,
    node: &Node,
    owner: Option<&Node>,
    catalogue: &Catalogue<'_>,
) -> Vec<Finding> {
    if key == "derivedFields" {
        return match &node.kind {
            NodeKind::Sequence(items) => items
                .iter()
                .enumerate()
                .flat_map(|(index, item)| {
                    let mut steps = place.0.clone();
                    steps.push(Step::Item(index, item.get("name").and_then(Node::as_str).map(str::to_owned)));
                    vec_of_field(&Place(steps), index, item, owner, catalogue)
                })
                .collect(),
            _ if node.is_null() => vec![note(place)],
            _ => vec![Finding::refuted(format!("{place} is {}, not a list", node.describe()))],
        };
    }
    if is_connection(key) {
        return vec![Finding::unknown(format!(
            "{place} is new: it changes how Grafana reaches the data source, and whether it still answers is not judged"
        ))];
    }
    vec![note(place)]
}

/// A new derived field, the `index`th of its list.
fn vec_of_field(
    place: &Place,
    index: usize,
    node: &Node,
    owner: Option<&Node>,
    catalogue: &Catalogue<'_>,
) -> Vec<Finding> {
    let kind = Seen::of(owner.and_then(|owner| owner.get("type")));
    if let Some(kind) = kind.text().filter(|kind| *kind != "loki") {
        return vec![Finding::refuted(format!(
            "{place} is new, and a data source of type `{}` has no derived fields: the link never shows",
            Clean::new(kind)
        ))];
    }
    let mut findings = Vec::new();
    if kind.text().is_none() {
        findings
            .push(Finding::unknown(format!("whether {place} belongs to a Loki data source cannot be told")));
    }
    let list = owner.and_then(|owner| owner.get("jsonData")).and_then(|json| json.get("derivedFields"));
    let mut names = list.map(derived_field::names).unwrap_or_default();
    let own = list
        .map(|list| list.items().position(|item| std::ptr::eq(item, node)).unwrap_or(index))
        .unwrap_or(index);
    let own_name = list.and_then(|list| list.items().nth(own)).and_then(|item| item.get("name")).is_some();
    if own_name {
        // Its own name is one of them; a second one like it stays.
        let before =
            list.map_or(0, |list| list.items().take(own).filter(|item| item.get("name").is_some()).count());
        if before < names.len() {
            names.remove(before);
        }
    }
    let org = owner.and_then(|owner| org(owner).ok());
    findings.extend(derived_field::judge(node, place, &names, org, catalogue));
    findings
}

/// A data source that was not in the old document.
fn new_datasource(entry: &Node, index: usize, new: &Provisioning, catalogue: &Catalogue<'_>) -> Vec<Finding> {
    let Some(name) = Seen::of(entry.get("name")).text().map(str::to_owned) else {
        return vec![Finding::unknown(format!(
            "the name of the new data source {} cannot be told",
            index + 1
        ))];
    };
    let shown = Clean::new(&name);
    let place = Place(vec![Step::Key("datasources".to_owned()), Step::Item(index, Some(name.clone()))]);
    let mut findings = Vec::new();
    let org = match org(entry) {
        Ok(org) => Some(org),
        Err(why) => {
            findings.push(Finding::unknown(format!("{place} is new, and {why}")));
            None
        }
    };
    let same_org = |other: Option<i64>| other.is_none() || org.is_none() || other == org;
    let others: Vec<&Node> =
        new.datasources().enumerate().filter(|(other, _)| *other != index).map(|(_, entry)| entry).collect();

    for other in &others {
        let other_org = self::org(other).ok();
        match Seen::of(other.get("name")) {
            Seen::Text(other) if other == name && same_org(other_org) => findings.push(Finding::refuted(format!(
                "the new data source `{shown}` has the name of another one in the document: Grafana overwrites the first"
            ))),
            Seen::Open(why) => findings.push(Finding::unknown(format!("another data source may have the name `{shown}`: {why}"))),
            _ => {}
        }
    }
    for known in catalogue.others() {
        if known.name == name && same_org(known.org) {
            findings.push(
                Finding::refuted(format!(
                    "the new data source `{shown}` has the name of that of {}: Grafana overwrites it",
                    known.origin
                ))
                .hint("choose an unused name"),
            );
        }
    }

    let uid = match Seen::of(entry.get("uid")) {
        Seen::Text(uid) => Some(uid),
        Seen::Absent => Some(generated_uid(&name)),
        Seen::Open(why) => {
            findings.push(Finding::unknown(format!(
                "the uid of the new data source `{shown}` cannot be told: {why}"
            )));
            None
        }
    };
    if let Some(uid) = &uid {
        let taken_here = others.iter().any(|other| {
            same_org(self::org(other).ok()) && Seen::of(other.get("uid")).text() == Some(uid.as_str())
        });
        let taken =
            catalogue.others().iter().find(|known| known.uid.as_ref() == Some(uid) && same_org(known.org));
        let by = match (taken_here, taken) {
            (true, _) => Some("another one in the document".to_owned()),
            (false, Some(known)) => Some(format!("`{}` of {}", Clean::new(&known.name), known.origin)),
            (false, None) => None,
        };
        if let Some(by) = by {
            findings.push(Finding::refuted(format!(
                "the new data source `{shown}` has the uid `{}` of {by}: Grafana refuses it and stops provisioning",
                Clean::new(uid)
            )));
        }
    }
    if Seen::of(entry.get("type")).text().is_none() {
        findings.push(Finding::unknown(format!("the type of the new data source `{shown}` cannot be told")));
    }
    findings.extend(default_of(&place, entry, org, &others, catalogue));
    findings.extend(vanishing(&place, entry));
    if let Some(list) = entry.get("jsonData").and_then(|json| json.get("derivedFields")) {
        let place = Place(
            [place.0.clone(), vec![Step::Key("jsonData".to_owned()), Step::Key("derivedFields".to_owned())]]
                .concat(),
        );
        findings.extend(setting(&place, "derivedFields", list, Some(entry), catalogue));
    }
    if !catalogue.complete() {
        findings.push(
            Finding::unknown(format!(
                "whether the name and the uid of the new data source `{shown}` are unused is not known"
            ))
            .hint("give the documents of all other data sources"),
        );
    } else if findings.iter().all(|finding| finding.verdict == crate::proof::Verdict::Proven) {
        findings.push(Finding::proven(format!("{place} is new; its name and uid are unused")));
    }
    findings
}

/// Whether a new data source becomes a second default of its organisation (datasources/config_reader.go,
/// `validateDefaultUniqueness`), or the first.
fn default_of(
    place: &Place,
    entry: &Node,
    org: Option<i64>,
    others: &[&Node],
    catalogue: &Catalogue<'_>,
) -> Option<Finding> {
    match flag(entry.get("isDefault")) {
        Some(false) => return None,
        None => return Some(Finding::unknown(format!("whether {place} is the default cannot be told"))),
        Some(true) => {}
    }
    let same_org = |other: Option<i64>| other.is_none() || org.is_none() || other == org;
    let here = others
        .iter()
        .find(|other| same_org(self::org(other).ok()) && flag(other.get("isDefault")) == Some(true))
        .and_then(|other| other.get("name")?.as_str())
        .map(|name| format!("`{}`", Clean::new(name)));
    let known = catalogue.others().iter().find(|known| same_org(known.org) && known.is_default == Some(true));
    let known = known.map(|known| format!("`{}` of {}", Clean::new(&known.name), known.origin));
    Some(match here.or(known) {
        Some(other) => Finding::refuted(format!(
            "{place} is a second default beside {other}: Grafana refuses all provisioning (only one per organization)"
        ))
        .hint("write `isDefault: false`"),
        // Even the first one changes what panels without a data source show.
        None => Finding::refuted(format!("{place} becomes the default: panels without a data source use it then"))
            .hint("write `isDefault: false`"),
    })
}

/// References to Grafana's template variables that Grafana itself would replace by nothing.
fn vanishing(place: &Place, entry: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, node) in entry.entries() {
        let key = key.as_str().unwrap_or_default();
        // Secrets may hold any dollars, and are not shown; derived fields are judged by themselves.
        if key == "secureJsonData" {
            continue;
        }
        let mut steps = place.0.clone();
        steps.push(Step::Key(key.to_owned()));
        vanishing_below(&Place(steps), node, &mut findings);
    }
    findings
}

fn vanishing_below(place: &Place, node: &Node, findings: &mut Vec<Finding>) {
    let join = |step: Step| Place([place.0.clone(), vec![step]].concat());
    match &node.kind {
        NodeKind::Scalar { text, .. } => {
            let seen = super::interpolation::interpolate(text);
            if let Some(reference) = seen
                .vanished
                .iter()
                .find(|reference| reference.starts_with("${__") || reference.starts_with("$__"))
            {
                let reference = Clean::new(reference);
                findings.push(
                    Finding::refuted(format!("Grafana replaces `{reference}` in {place} by nothing"))
                        .hint(format!("write `${reference}`: in a provisioning document a dollar is `$$`")),
                );
            }
        }
        NodeKind::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                vanishing_below(&join(Step::Item(index, None)), item, findings);
            }
        }
        NodeKind::Mapping(entries) => {
            for (key, value) in entries {
                let key = key.as_str().unwrap_or_default();
                if key != "derivedFields" {
                    vanishing_below(&join(Step::Key(key.to_owned())), value, findings);
                }
            }
        }
    }
}
