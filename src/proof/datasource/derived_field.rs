//! One new entry of a Loki data source's `derivedFields`: does it give a link that opens something?
//!
//! How Grafana reads an entry: public/app/plugins/datasource/loki/getDerivedFields.ts. The first entry of a name gives
//! the matcher for all entries of that name; `matcherType: regex` (or none) takes group 1 of the first match in the line;
//! with a `datasourceUid` the `url` is a query for that data source, without one it is a web address.

use super::change::{Place, is_text};
use super::interpolation::interpolate;
use super::known::{Catalogue, Target};
use crate::proof::Finding;
use crate::text::Clean;
use crate::yaml::{Node, NodeKind, nearest};
use serde_json::Value;

/// The keys that Grafana reads.
const KEYS: [&str; 7] =
    ["name", "matcherRegex", "matcherType", "url", "datasourceUid", "urlDisplayLabel", "targetBlank"];
/// Longer patterns are not compiled here.
const PATTERN_LIMIT: usize = 2000;
/// Deeper nested patterns, and higher counts of repetition, are not compiled here.
const NESTING_LIMIT: usize = 50;
const REPETITION_LIMIT: u32 = 1000;

/// Judges a new entry. `names`: the names of the other entries of its list; `org`: that of its data source.
pub fn judge(
    field: &Node,
    place: &Place,
    names: &[String],
    org: Option<i64>,
    catalogue: &Catalogue<'_>,
) -> Vec<Finding> {
    if !matches!(field.kind, NodeKind::Mapping(_)) {
        return vec![Finding::refuted(format!("{place} is {}, not a derived field", field.describe()))];
    }
    let mut entry = Entry { place, findings: Vec::new() };
    entry.keys(field);
    entry.name(field, names);
    let by_label = entry.matcher_type(field);
    entry.regex(field, by_label);
    let internal = entry.target(field, org, catalogue);
    entry.url(field, internal);
    entry.text(field, "urlDisplayLabel");
    entry.findings
}

struct Entry<'p> {
    place: &'p Place,
    findings: Vec<Finding>,
}

/// A text of the entry.
enum Given {
    /// The key is not there.
    Missing,
    /// It is there, and Grafana sees this.
    Seen(String),
    /// It is there, a finding says what is wrong with it, and what Grafana sees is not known.
    Judged,
}

impl Entry<'_> {
    fn refute(&mut self, text: String, hint: Option<String>) {
        let finding = Finding::refuted(text);
        self.findings.push(match hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
    }

    fn doubt(&mut self, text: String) {
        self.findings.push(Finding::unknown(text));
    }

    fn keys(&mut self, field: &Node) {
        let place = self.place;
        for (key, _) in field.entries() {
            let name = key.as_str().unwrap_or_default();
            if !KEYS.contains(&name) {
                let finding = Finding::unknown(format!(
                    "{place}.{} is no key of a derived field that is known here",
                    Clean::new(name)
                ));
                self.findings.push(match nearest(name, KEYS) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding,
                });
            }
        }
    }

    /// A text as Grafana sees it after interpolation; what vanishes from it on the way is refuted.
    fn text(&mut self, field: &Node, key: &str) -> Given {
        let place = self.place;
        let Some(node) = field.get(key) else { return Given::Missing };
        if !is_text(node) {
            match node.ambiguous_scalars().first() {
                Some(ambiguous) => {
                    self.doubt(format!("{place}.{key} is `{}`, {}", ambiguous.text, ambiguous.reason));
                }
                None => self.refute(
                    format!("{place}.{key} is {}, and Grafana needs a text", node.describe()),
                    Some("put it in quotes".to_owned()),
                ),
            }
            return Given::Judged;
        }
        let written = node.as_str().unwrap_or_default();
        let seen = interpolate(written);
        if let Some(reference) = seen.vanished.first() {
            let escaped = seen.vanished.iter().fold(written.to_owned(), |text, reference| {
                if text.contains(&format!("${reference}")) {
                    text
                } else {
                    text.replace(reference, &format!("${reference}"))
                }
            });
            let reference = Clean::new(reference);
            let sees =
                if seen.text.is_empty() { "nothing".to_owned() } else { format!("`{}`", shown(&seen.text)) };
            let effect = match key {
                "url" if seen.text.is_empty() => ": the link opens nothing",
                "url" => ": the link does not carry the value",
                _ => "",
            };
            self.refute(
                format!("Grafana replaces `{reference}` in {place}.{key} by nothing and sees {sees}{effect}"),
                Some(format!("write `{}`: in a provisioning document a dollar is `$$`", shown(&escaped))),
            );
            return Given::Judged;
        }
        if let Some(reference) = seen.open.first() {
            self.doubt(format!(
                "Grafana replaces `{}` in {place}.{key} by a value of its environment, which is not known here",
                Clean::new(reference)
            ));
            return Given::Judged;
        }
        Given::Seen(seen.text)
    }

    fn name(&mut self, field: &Node, names: &[String]) {
        let place = self.place;
        match self.text(field, "name") {
            Given::Seen(name) if !name.is_empty() => {
                if names.contains(&name) {
                    self.refute(
                        format!(
                            "another derived field is named `{}` too: Grafana uses the first one's matcher for both",
                            Clean::new(&name)
                        ),
                        Some("choose an unused name".to_owned()),
                    );
                }
            }
            Given::Seen(_) | Given::Missing => self.refute(format!("{place} has no name"), None),
            Given::Judged => {}
        }
    }

    /// Whether the matcher is for labels; `None` where that is not known.
    fn matcher_type(&mut self, field: &Node) -> Option<bool> {
        let place = self.place;
        if field.get("matcherType").is_some_and(Node::is_null) {
            // Only a key that is not there means `regex`.
            self.refute(
                format!("{place}.matcherType is empty, and Grafana then matches nothing"),
                Some("leave it out, or write `regex`".to_owned()),
            );
            return None;
        }
        match self.text(field, "matcherType") {
            Given::Missing => Some(false),
            Given::Seen(kind) if kind == "regex" => Some(false),
            Given::Seen(kind) if kind == "label" => Some(true),
            Given::Seen(kind) => {
                self.refute(
                    format!(
                        "{place}.matcherType is `{}`, and Grafana knows `regex` and `label`",
                        shown(&kind)
                    ),
                    nearest(&kind, ["regex", "label"]).map(|near| format!("did you mean `{near}`?")),
                );
                None
            }
            Given::Judged => None,
        }
    }

    fn regex(&mut self, field: &Node, by_label: Option<bool>) {
        let place = self.place;
        let pattern = match self.text(field, "matcherRegex") {
            Given::Seen(pattern) if !pattern.is_empty() => pattern,
            Given::Seen(_) | Given::Missing => {
                self.refute(format!("{place} has no matcherRegex"), None);
                return;
            }
            Given::Judged => return,
        };
        let groups = match groups(&pattern) {
            Compiled::Groups(groups) => groups,
            Compiled::Not(cause) => {
                let hint = if pattern.contains("(?P<") {
                    Some("JavaScript writes a named group `(?<name>…)`".to_owned())
                } else if pattern.starts_with("(?i)")
                    || pattern.starts_with("(?s)")
                    || pattern.starts_with("(?m)")
                {
                    Some("JavaScript has no such flags inside a pattern".to_owned())
                } else {
                    None
                };
                self.refute(
                    format!(
                        "{place}.matcherRegex `{}` is no regular expression of JavaScript: {cause}",
                        shown(&pattern)
                    ),
                    hint,
                );
                return;
            }
            Compiled::Unjudged(why) => {
                self.doubt(format!("{place}.matcherRegex was not examined: {why}"));
                return;
            }
        };
        let pattern_shown = shown(&pattern);
        match by_label {
            None => {}
            Some(true) => match never_in_a_label(&pattern) {
                Some(what) => self.refute(
                    format!("{place}.matcherRegex `{pattern_shown}` is matched with label names (matcherType: label), and they hold no {what}"),
                    Some("leave matcherType out to match the log line".to_owned()),
                ),
                None => self.findings.push(Finding::proven(format!(
                    "{place}.matcherRegex `{pattern_shown}` compiles and is matched with label names"
                ))),
            },
            Some(false) => match groups {
                0 => self.refute(
                    format!("{place}.matcherRegex `{pattern_shown}` has no group, and Grafana takes the value from group 1"),
                    Some("put parentheses around the part that is the value".to_owned()),
                ),
                1 => self.findings.push(loose(Finding::proven(format!(
                    "{place}.matcherRegex `{pattern_shown}` compiles and has one group"
                )), &pattern)),
                more => self.findings.push(loose(Finding::proven(format!(
                    "{place}.matcherRegex `{pattern_shown}` compiles and has {more} groups, of which Grafana uses group 1"
                )), &pattern)),
            },
        }
    }

    /// Whether the link leads to a data source; `None` where that is not known.
    fn target(&mut self, field: &Node, org: Option<i64>, catalogue: &Catalogue<'_>) -> Option<bool> {
        let place = self.place;
        let uid = match self.text(field, "datasourceUid") {
            Given::Missing => return Some(false),
            Given::Seen(uid) if uid.is_empty() => return Some(false),
            Given::Seen(uid) => uid,
            Given::Judged => return None,
        };
        let uid_shown = shown(&uid);
        match catalogue.target(&uid, org) {
            Target::Found(what) => {
                self.findings.push(Finding::proven(format!("{place}.datasourceUid `{uid_shown}` is {what}")));
            }
            Target::Name(what) => self.findings.push(
                Finding::unknown(format!("{place}.datasourceUid `{uid_shown}` is the name of {what}"))
                    .hint("give its uid"),
            ),
            Target::Doubtful(why) => self.doubt(format!("{place}.datasourceUid `{uid_shown}`: {why}")),
            Target::Missing => self.refute(
                format!("no data source has the uid `{uid_shown}` that {place}.datasourceUid names"),
                catalogue.nearest_uid(&uid).map(|near| format!("did you mean `{}`?", Clean::new(near))),
            ),
            Target::NotGiven => self.findings.push(
                Finding::unknown(format!(
                    "none of the given documents defines the uid `{uid_shown}` that {place}.datasourceUid names"
                ))
                .hint("give the documents that define the other data sources"),
            ),
        }
        Some(true)
    }

    fn url(&mut self, field: &Node, internal: Option<bool>) {
        let place = self.place;
        let url = match self.text(field, "url") {
            Given::Seen(url) if !url.is_empty() => url,
            Given::Seen(_) | Given::Missing => {
                self.refute(
                    format!("{place} has no url: the link opens nothing"),
                    Some("write `url: \"$${__value.raw}\"`".to_owned()),
                );
                return;
            }
            Given::Judged => return,
        };
        let url_shown = shown(&url);
        if !carries_value(&url) {
            if url.contains("${") {
                self.doubt(format!("Grafana sees the url `{url_shown}` in {place}, and whether that carries the value is not known"));
            } else {
                self.refute(
                    format!("Grafana sees the url `{url_shown}` in {place}: it does not carry the value"),
                    Some("let it hold `$${__value.raw}`".to_owned()),
                );
            }
            return;
        }
        match internal {
            Some(true) => self.findings.push(Finding::proven(format!("Grafana sees the query `{url_shown}` in {place}"))),
            Some(false) if url.starts_with("http://") || url.starts_with("https://") || url.starts_with('/') => {
                self.findings.push(Finding::proven(format!("Grafana sees the address `{}` in {place}", without_user(&url))));
            }
            Some(false) => self.refute(
                format!("{place} has no datasourceUid, and `{url_shown}` is no address on the web: the link opens nothing"),
                Some("name the data source in datasourceUid".to_owned()),
            ),
            None => {}
        }
    }
}

/// Whether Grafana puts the matched value into this text.
fn carries_value(text: &str) -> bool {
    ["${__value.raw}", "${__value.text}", "${__value.raw:", "${__value.text:"]
        .iter()
        .any(|form| text.contains(form))
}

/// A text for a sentence, cut where it is long.
fn shown(text: &str) -> Clean {
    match text.char_indices().nth(160) {
        Some((end, _)) => Clean::new(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Clean::new(text),
    }
}

/// An address without the name and password it may hold.
fn without_user(url: &str) -> Clean {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, rest)) => shown(&format!("{scheme}://…@{rest}")),
        None => shown(url),
    }
}

/// A pattern such as `"trace_id":"(\w+)"` finds nothing where the line has a blank behind the colon.
fn loose(finding: Finding, pattern: &str) -> Finding {
    if pattern.contains("\":\"") {
        finding.hint(r#"allow blanks behind the colon: `":\s*"`"#)
    } else {
        finding
    }
}

/// What in a pattern cannot be in a label's name (`[a-zA-Z_][a-zA-Z0-9_]*`), outside of classes.
fn never_in_a_label(pattern: &str) -> Option<&'static str> {
    if pattern.contains('[') {
        return None;
    }
    [("\"", "quote"), ("'", "quote"), ("/", "slash"), (" ", "blank"), (r"\s+", "blank"), ("@", "at sign")]
        .into_iter()
        .find(|(text, _)| {
            pattern.contains(text)
                && !pattern.contains('|')
                && !pattern.contains('?')
                && !pattern.contains('*')
        })
        .map(|(_, what)| what)
}

enum Compiled {
    /// It compiles and has so many groups.
    Groups(usize),
    /// It does not; why.
    Not(Clean),
    /// It was not tried; why.
    Unjudged(&'static str),
}

/// Compiles a pattern as JavaScript does without flags, and counts its groups.
fn groups(pattern: &str) -> Compiled {
    if pattern.len() > PATTERN_LIMIT {
        return Compiled::Unjudged("it is very long");
    }
    let mut depth: usize = 0;
    let deepest = pattern.bytes().fold(0, |deepest, byte| {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest.max(depth)
    });
    if deepest > NESTING_LIMIT {
        return Compiled::Unjudged("it is nested very deeply");
    }
    let counts = pattern.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let high = |count: &str| {
        count.parse::<u32>().map_or(count.len() > 3 && count.bytes().all(|b| b.is_ascii_digit()), |count| {
            count > REPETITION_LIMIT
        })
    };
    if counts.flat_map(|range| range.split(',')).any(high) {
        return Compiled::Unjudged("it repeats more than a thousand times");
    }
    // Groups with flags came in 2025: what regress takes, a browser may refuse.
    let flagged = pattern.split("(?").skip(1).any(|rest| {
        let flags: &str = rest.split(':').next().unwrap_or_default();
        !flags.is_empty() && rest.len() > flags.len() && flags.bytes().all(|b| b"ims-".contains(&b))
    });
    if flagged {
        return Compiled::Unjudged("groups with flags are not known to every browser");
    }
    if let Err(error) = regress::Regex::new(pattern) {
        return Compiled::Not(Clean::new(error.to_string()));
    }
    // With an empty alternative it matches the empty text, and a match knows the number of groups.
    match regress::Regex::new(&format!("(?:{pattern})|")).map(|regex| regex.find("")) {
        Ok(Some(found)) => Compiled::Groups(found.captures.len()),
        _ => Compiled::Unjudged("its groups could not be counted"),
    }
}

/// The names of the entries of a list as Grafana sees them.
pub fn names(list: &Node) -> Vec<String> {
    list.items()
        .filter_map(|item| item.get("name"))
        .filter_map(|name| match name.to_json() {
            Ok(Value::String(name)) => Some(interpolate(&name).text),
            Ok(Value::Null) | Err(_) => None,
            Ok(other) => Some(other.to_string()),
        })
        .collect()
}
