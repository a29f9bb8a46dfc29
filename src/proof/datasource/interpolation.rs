//! What Grafana makes of a string in a provisioning document.
//!
//! Every string value is split on `$$`, in each part `$__env{…}`, `$__file{…}`, `${NAME}` and then `$NAME` are
//! replaced, and the parts are joined with `$` (grafana/grafana pkg/services/provisioning/values/values.go
//! `interpolateValue`, pkg/setting/expanders.go, and Go's `os.Expand`). What is not set becomes nothing, silently.

/// A string as Grafana sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// The text, with nothing in place of each reference.
    pub text: String,
    /// References, as written, that no environment sets: `${__value.raw}`, `$1`. They become nothing.
    pub vanished: Vec<String>,
    /// References, as written, whose value Grafana's environment or files decide.
    pub open: Vec<String>,
}

impl Interpolated {
    /// The text, where it depends on nothing and nothing vanished from it.
    pub fn exact(&self) -> Option<&str> {
        (self.vanished.is_empty() && self.open.is_empty()).then_some(self.text.as_str())
    }
}

/// Interpolates a string as Grafana does, without an environment.
pub fn interpolate(value: &str) -> Interpolated {
    let mut seen = Interpolated::default();
    for (number, part) in value.split("$$").enumerate() {
        if number > 0 {
            seen.text.push('$');
        }
        expand(part, &mut seen);
    }
    seen
}

fn expand(part: &str, seen: &mut Interpolated) {
    let mut rest = part;
    while let Some(at) = rest.find('$') {
        let (before, reference) = rest.split_at(at);
        seen.text.push_str(before);
        let length = match read(reference) {
            Reference::None => {
                seen.text.push('$');
                1
            }
            Reference::Vanishes(length) => {
                seen.vanished.push(reference.get(..length).unwrap_or(reference).to_owned());
                length
            }
            Reference::Open(length) => {
                seen.open.push(reference.get(..length).unwrap_or(reference).to_owned());
                length
            }
        };
        rest = reference.get(length..).unwrap_or_default();
    }
    seen.text.push_str(rest);
}

/// What a `$` begins, with its length in bytes.
enum Reference {
    /// Nothing: the dollar stays.
    None,
    Vanishes(usize),
    Open(usize),
}

fn read(text: &str) -> Reference {
    let after = text.get(1..).unwrap_or_default();
    if let Some(inside) = after.strip_prefix('{') {
        return match inside.find('}') {
            // os.Expand eats `${}` and a `${` that is never closed.
            Some(0) => Reference::Vanishes(3),
            None => Reference::Vanishes(2),
            Some(end) => named(inside.get(..end).unwrap_or_default(), end + 3),
        };
    }
    let name = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    let (word, behind) = after.split_at_checked(name).unwrap_or((after, ""));
    if word.starts_with("__")
        && word.len() > 2
        && let Some(inside) = behind.strip_prefix('{')
        && let Some(end) = inside.find('}')
        && end > 0
    {
        // `$__env{…}`, `$__file{…}`, and what other editions of Grafana know.
        return Reference::Open(1 + name + end + 2);
    }
    match after.chars().next() {
        Some(c) if c.is_ascii_digit() || "*#@!?-".contains(c) => Reference::Vanishes(2),
        _ if word.is_empty() => Reference::None,
        _ => named(word, 1 + name),
    }
}

/// Grafana's own template variables begin with two underscores, and no shell sets a name with other characters.
fn named(name: &str, length: usize) -> Reference {
    let settable = !name.starts_with("__")
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if settable { Reference::Open(length) } else { Reference::Vanishes(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(value: &str) -> (String, usize, usize) {
        let seen = interpolate(value);
        (seen.text, seen.vanished.len(), seen.open.len())
    }

    #[test]
    fn as_grafana_and_go_expand() {
        assert_eq!(seen("$${__value.raw}"), ("${__value.raw}".to_owned(), 0, 0));
        assert_eq!(seen("${__value.raw}"), (String::new(), 1, 0));
        assert_eq!(seen("$$${__value.raw}"), ("$".to_owned(), 1, 0));
        assert_eq!(seen("$$$${__value.raw}"), ("$${__value.raw}".to_owned(), 0, 0));
        assert_eq!(seen(r"(\w+)$"), (r"(\w+)$".to_owned(), 0, 0));
        assert_eq!(seen(r"(a$|b)"), (r"(a$|b)".to_owned(), 0, 0));
        assert_eq!(seen("a$1b"), ("ab".to_owned(), 1, 0));
        assert_eq!(seen("$LOKI_URL/x"), ("/x".to_owned(), 0, 1));
        assert_eq!(seen("${LOKI_URL}/x"), ("/x".to_owned(), 0, 1));
        assert_eq!(seen("$__file{/etc/secret}x"), ("x".to_owned(), 0, 1));
        assert_eq!(seen("a${"), ("a".to_owned(), 1, 0));
        assert_eq!(seen("a${}b"), ("ab".to_owned(), 1, 0));
        assert_eq!(seen("$__tags"), (String::new(), 1, 0));
    }

    proptest! {
        #[test]
        fn a_text_with_every_dollar_doubled_is_seen_as_it_was(text in any::<String>()) {
            let written = text.replace('$', "$$");
            let seen = interpolate(&written);
            prop_assert_eq!(seen.exact(), Some(text.as_str()));
        }

        #[test]
        fn a_text_without_dollars_stays(text in "[^$]*") {
            let seen = interpolate(&text);
            prop_assert_eq!(seen.exact(), Some(text.as_str()));
        }
    }
}
