//! Paths and queries of the API.

use crate::rehearsal::resource::Resource;
use crate::rehearsal::store::Key;
use std::borrow::Cow;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'p> {
    /// The resource.
    pub(super) resource: &'static Resource,
    /// The namespace, if the path names one.
    pub(super) namespace: Option<&'p str>,
    /// All objects, or one.
    pub(super) target: Target<'p>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'p> {
    /// All objects.
    Collection,
    /// One object.
    Object {
        /// Its name, decoded.
        name: String,
        /// What of it.
        subresource: Option<&'p str>,
    },
}

impl Route<'_> {
    /// The place of an object of this name.
    pub(super) fn key(&self, name: &str) -> Key {
        Key::new(self.resource, self.namespace.unwrap_or_default(), name)
    }
}

/// Reads a path.
pub(super) fn route(path: &str) -> Option<Route<'_>> {
    let mut parts = path.trim_matches('/').split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let rest: Vec<&str> = parts.collect();
    let found = |plural: &str| Resource::of(group, version, plural);
    let target = |rest: &[&'_ str]| -> Option<(String, Option<usize>)> {
        match rest {
            [name] => Some((decoded(name).into_owned(), None)),
            [name, _] => Some((decoded(name).into_owned(), Some(1))),
            _ => None,
        }
    };
    // `namespaces/x/pods` is of pods; `namespaces/x` and `namespaces/x/status` are of the namespace.
    if let ["namespaces", namespace, plural, tail @ ..] = rest.as_slice()
        && let Some(resource) = found(plural).filter(|resource| resource.namespaced)
    {
        if tail.is_empty() {
            return Some(Route { resource, namespace: Some(namespace), target: Target::Collection });
        }
        let (name, sub) = target(tail)?;
        let subresource = sub.and_then(|at| tail.get(at).copied());
        return Some(Route {
            resource,
            namespace: Some(namespace),
            target: Target::Object { name, subresource },
        });
    }
    let (plural, tail) = rest.split_first()?;
    let resource = found(plural)?;
    if tail.is_empty() {
        return Some(Route { resource, namespace: None, target: Target::Collection });
    }
    if resource.namespaced {
        return None;
    }
    let (name, sub) = target(tail)?;
    let subresource = sub.and_then(|at| tail.get(at).copied());
    Some(Route { resource, namespace: None, target: Target::Object { name, subresource } })
}

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plus = |text: &str| decoded(&text.replace('+', " ")).into_owned();
            (plus(name), plus(value))
        });
        Self(pairs.collect())
    }

    /// The value of a parameter, empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value.as_str())
    }

    /// Whether a parameter has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Whether a parameter says yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    /// The query with one more parameter.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.retain(|(one, _)| one != name);
        pairs.push((name.to_owned(), value.to_owned()));
        Self(pairs)
    }
}

/// Undoes percent-encoding; what is none stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = (byte == b'%').then(|| rest.hexadecimal()).flatten();
        match digits {
            Some(value) => {
                bytes.push(value);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Two hexadecimal digits that come next.
trait Ahead {
    fn hexadecimal(&self) -> Option<u8>;
}

impl Ahead for std::str::Bytes<'_> {
    fn hexadecimal(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        Some(digit(ahead.next()?)? * 16 + digit(ahead.next()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_api() {
        let shown = |path: &str| {
            route(path).map(|route| {
                let target = match route.target {
                    Target::Collection => "*".to_owned(),
                    Target::Object { name, subresource } => format!("{name}/{}", subresource.unwrap_or("")),
                };
                format!("{} {} {target}", route.resource.qualified(), route.namespace.unwrap_or("-"))
            })
        };
        for (path, expected) in [
            ("/api/v1/pods", Some("pods - *")),
            ("/api/v1/namespaces/a/pods", Some("pods a *")),
            ("/api/v1/namespaces/a/pods/b/log", Some("pods a b/log")),
            ("/api/v1/namespaces", Some("namespaces - *")),
            ("/api/v1/namespaces/a", Some("namespaces - a/")),
            ("/api/v1/namespaces/a/status", Some("namespaces - a/status")),
            ("/apis/apps/v1/namespaces/a/deployments/b%20c/scale", Some("deployments.apps a b c/scale")),
            ("/apis/apps/v1beta1/namespaces/a/deployments", None),
            ("/api/v1/nopes", None),
            ("/api/v1/pods/a", None),
            ("/healthz", None),
        ] {
            assert_eq!(shown(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=app%3Dx%2Cb+in&watch=1&x=%zz");
        assert_eq!(query.get("labelSelector"), "app=x,b in");
        assert!(query.flag("watch"));
        assert_eq!(query.get("x"), "%zz");
        assert_eq!(query.get("none"), "");
    }
}
