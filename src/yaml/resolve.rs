//! What a scalar means: the YAML 1.2 core schema, and where YAML 1.1 readers see something else.

use super::{Node, NodeKind, Problem, ScalarStyle, Span};
use crate::text::Clean;
use serde_json::{Map, Number, Value};

const CORE: &str = "tag:yaml.org,2002:";

/// A scalar that readers of different YAML versions may understand differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// Where it stands.
    pub span: Span,
    /// Its text.
    pub text: Clean,
    /// What the readers may see: a lowercase fragment (`true for YAML 1.1, a text for YAML 1.2`).
    pub reason: &'static str,
}

/// What the core schema makes of a plain scalar (YAML 1.2.2 section 10.3.2).
enum Resolved {
    Null,
    Bool(bool),
    Int,
    Float,
    Text,
}

fn resolve(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        _ if integer(text).is_some() => Resolved::Int,
        _ if is_float(text) => Resolved::Float,
        _ => Resolved::Text,
    }
}

/// Sign, radix and digits of an integer of the core schema.
fn integer(text: &str) -> Option<(bool, u32, &str)> {
    let all = |digits: &str, allowed: fn(char) -> bool| !digits.is_empty() && digits.chars().all(allowed);
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |c| matches!(c, '0'..='7')).then_some((false, 8, digits));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |c| c.is_ascii_hexdigit()).then_some((false, 16, digits));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    all(digits, |c| c.is_ascii_digit()).then_some((negative, 10, digits))
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinities and not-a-number.
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

fn integer_number(text: &str) -> Option<Number> {
    let (negative, radix, digits) = integer(text)?;
    if negative {
        let signed = format!("-{digits}");
        i64::from_str_radix(&signed, radix)
            .ok()
            .map(|value| if value == 0 { Number::from(0) } else { Number::from(value) })
    } else {
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    }
}

fn float_number(text: &str) -> Option<Number> {
    text.strip_prefix('+').unwrap_or(text).parse::<f64>().ok().and_then(Number::from_f64)
}

pub(super) fn is_null(node: &Node) -> bool {
    match (&node.kind, node.tag.as_deref()) {
        (NodeKind::Scalar { text, style: ScalarStyle::Plain }, None) => {
            matches!(resolve(text), Resolved::Null)
        }
        (NodeKind::Scalar { .. }, Some(tag)) => tag.strip_prefix(CORE) == Some("null"),
        _ => false,
    }
}

pub(super) fn describe(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::Sequence(_) => "a list",
        NodeKind::Mapping(_) => "a mapping",
        NodeKind::Scalar { text, style: ScalarStyle::Plain } if node.tag.is_none() => match resolve(text) {
            Resolved::Null => "nothing",
            Resolved::Bool(_) => "a boolean",
            Resolved::Int | Resolved::Float => "a number",
            Resolved::Text => "a text",
        },
        NodeKind::Scalar { .. } => "a text",
    }
}

impl Node {
    /// The value by the YAML 1.2 core schema. Plain scalars are resolved, all others are strings; the core tags
    /// (`!!str`, `!!int`, …) are obeyed.
    ///
    /// # Errors
    /// A number that JSON cannot hold (beyond 64 bits, infinite, not a number), a key that is not a text, a tag that is
    /// not of the core schema. The problem has no snippet yet: see [`Problem::in_source`].
    pub fn to_json(&self) -> Result<Value, Problem> {
        match &self.kind {
            NodeKind::Scalar { text, style } => self.scalar(text, *style),
            NodeKind::Sequence(items) => {
                self.collection_tag("seq")?;
                items.iter().map(Self::to_json).collect::<Result<Vec<Value>, Problem>>().map(Value::Array)
            }
            NodeKind::Mapping(entries) => {
                self.collection_tag("map")?;
                let mut map = Map::new();
                for (key, value) in entries {
                    map.insert(key.key_text()?, value.to_json()?);
                }
                Ok(Value::Object(map))
            }
        }
    }

    /// Every scalar in this tree, keys included, that YAML 1.1 readers may understand differently than YAML 1.2 ones.
    ///
    /// The readers in question are Go's yaml.v2, yaml.v3 and sigs.k8s.io/yaml, which Kubernetes, Grafana, Tempo and the
    /// Collector use (yaml.v2 and v3 resolve.go), and the YAML 1.1 type repository.
    pub fn ambiguous_scalars(&self) -> Vec<Ambiguous> {
        let mut found = Vec::new();
        self.collect_ambiguous(&mut found);
        found
    }

    fn collect_ambiguous(&self, found: &mut Vec<Ambiguous>) {
        match &self.kind {
            NodeKind::Scalar { text, style } => {
                if let Some(reason) = ambiguity(text, *style, self.tag.is_some()) {
                    found.push(Ambiguous { span: self.span, text: Clean::new(text), reason });
                }
            }
            NodeKind::Sequence(items) => items.iter().for_each(|item| item.collect_ambiguous(found)),
            NodeKind::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                key.collect_ambiguous(found);
                value.collect_ambiguous(found);
            }),
        }
    }

    /// The text of a key. Kubernetes turns plain numbers and booleans into text (sigs.k8s.io/yaml, convertToJSONableObject);
    /// so they are taken as written where that is the same.
    fn key_text(&self) -> Result<String, Problem> {
        let NodeKind::Scalar { text, style } = &self.kind else {
            return Err(Problem::new(self.span, "a key must be a text"));
        };
        let same = match self.scalar(text, *style)? {
            Value::String(_) => true,
            value @ (Value::Bool(_) | Value::Number(_)) => {
                let canonical = value.to_string();
                canonical == *text
            }
            _ => false,
        };
        if same {
            Ok(text.clone())
        } else {
            let message = format!("the key `{text}` is {}, not a text", self.describe());
            Err(Problem::new(self.span, message).hint("put it in quotes"))
        }
    }

    fn collection_tag(&self, own: &str) -> Result<(), Problem> {
        match self.tag.as_deref() {
            None | Some("!") => Ok(()),
            Some(tag) if tag.strip_prefix(CORE) == Some(own) => Ok(()),
            Some(tag) => Err(self.unsupported_tag(tag)),
        }
    }

    fn unsupported_tag(&self, tag: &str) -> Problem {
        Problem::new(self.span, format!("the tag `{tag}` is not supported here"))
            .hint("write the value without a tag")
    }

    fn scalar(&self, text: &str, style: ScalarStyle) -> Result<Value, Problem> {
        let string = || Ok(Value::String(text.to_owned()));
        let Some(tag) = self.tag.as_deref() else {
            return if style == ScalarStyle::Plain { self.plain(text, resolve(text)) } else { string() };
        };
        if tag == "!" {
            return string();
        }
        let (core, resolved) = (tag.strip_prefix(CORE), resolve(text));
        match (core, &resolved) {
            (Some("str"), _) => string(),
            (Some("null"), Resolved::Null)
            | (Some("bool"), Resolved::Bool(_))
            | (Some("int"), Resolved::Int)
            | (Some("float"), Resolved::Float) => self.plain(text, resolved),
            (Some("float"), Resolved::Int) => self.plain(text, Resolved::Float),
            (Some("null" | "bool" | "int" | "float"), _) => {
                Err(Problem::new(self.span, format!("`{text}` is not what its tag `{tag}` says")))
            }
            _ => Err(self.unsupported_tag(tag)),
        }
    }

    fn plain(&self, text: &str, resolved: Resolved) -> Result<Value, Problem> {
        let number = match resolved {
            Resolved::Null => return Ok(Value::Null),
            Resolved::Bool(value) => return Ok(Value::Bool(value)),
            Resolved::Text => return Ok(Value::String(text.to_owned())),
            Resolved::Int => integer_number(text),
            Resolved::Float => float_number(text),
        };
        number.map(Value::Number).ok_or_else(|| {
            Problem::new(self.span, format!("the number `{text}` does not fit into 64 bits"))
                .hint("if it is meant as a text, put it in quotes")
        })
    }
}

/// Why a scalar is read differently, if it is.
fn ambiguity(text: &str, style: ScalarStyle, tagged: bool) -> Option<&'static str> {
    if text.contains(['\u{85}', '\u{2028}', '\u{2029}']) && style != ScalarStyle::DoubleQuoted {
        return Some("a line break for YAML 1.1, a character for YAML 1.2");
    }
    if style != ScalarStyle::Plain || tagged {
        return None;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let signed = unsigned.len() != text.len();
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Some("true for YAML 1.1, a text for YAML 1.2");
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Some("false for YAML 1.1, a text for YAML 1.2");
        }
        "=" | "<<" => return Some("a special key for YAML 1.1, a text for YAML 1.2"),
        _ => {}
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let lower = unsigned.to_ascii_lowercase();
    let number_like = |text: &str| matches!(resolve(text), Resolved::Int | Resolved::Float);
    if lower.contains('_') && number_like(&lower.replace('_', ""))
        || lower.contains('_') && radix_like(&lower.replace('_', ""))
    {
        return Some("a number for YAML 1.1, a text for YAML 1.2");
    }
    if lower.starts_with("0o") && radix_like(&lower) {
        return Some("a text for YAML 1.1, an octal number for YAML 1.2");
    }
    if lower.starts_with("0b") && radix_like(&lower)
        || lower.starts_with("0x") && radix_like(&lower) && (signed || unsigned.starts_with("0X"))
    {
        return Some("a number for YAML 1.1, a text for YAML 1.2");
    }
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.chars().all(|c| c.is_ascii_digit()) {
        return Some("an octal number for YAML 1.1, a decimal one for YAML 1.2");
    }
    if is_sexagesimal(unsigned) {
        return Some("a number of base 60 for YAML 1.1, a text for YAML 1.2");
    }
    if !signed && is_timestamp(unsigned) {
        return Some("a time for YAML 1.1, a text for YAML 1.2");
    }
    // Go falls back to a float or to text where an integer or exponent does not fit.
    match resolve(text) {
        Resolved::Int if integer_number(text).is_none() => Some("a number of more than 64 bits"),
        Resolved::Float if float_number(text).is_none() && lower.contains('e') => {
            Some("a number of more than 64 bits")
        }
        _ => None,
    }
}

fn radix_like(lower: &str) -> bool {
    let all = |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    lower.strip_prefix("0x").is_some_and(|digits| all(digits, 16))
        || lower.strip_prefix("0o").is_some_and(|digits| all(digits, 8))
        || lower.strip_prefix("0b").is_some_and(|digits| all(digits, 2))
}

/// `[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?` (YAML 1.1 types int and float).
fn is_sexagesimal(unsigned: &str) -> bool {
    let mut parts = unsigned.split(':');
    let first = parts
        .next()
        .is_some_and(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '_'));
    let rest: Vec<&str> = parts.collect();
    let count = rest.len();
    first
        && count > 0
        && rest.iter().enumerate().all(|(index, part)| {
            let whole = if index + 1 == count { part.split('.').next().unwrap_or_default() } else { part };
            matches!(whole.len(), 1 | 2) && whole.parse::<u8>().is_ok_and(|value| value < 60)
        })
}

/// `YYYY-M-D`, alone or with a time (YAML 1.1 type timestamp).
fn is_timestamp(text: &str) -> bool {
    let date = text.split(['T', 't', ' ', '\t']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    matches!(parts.as_slice(), [year, month, day]
        if year.len() == 4 && month.len() <= 2 && day.len() <= 2 && digits(year) && digits(month) && digits(day))
}

#[cfg(test)]
mod tests;
