//! Secrets that are known by their form, wherever they stand.

use super::text::Found;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Starts of tokens of well-known issuers, with the least length of what follows.
const PREFIXES: &[(&str, usize)] = &[
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 16),
    ("glsa_", 16),
    ("glc_", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-", 32),
    ("hvs.", 20),
    ("hvb.", 20),
    ("AIza", 30),
    ("dop_v1_", 30),
    ("npm_", 30),
    ("pypi-", 30),
    ("dckr_pat_", 20),
    ("hf_", 30),
    ("AGE-SECRET-KEY-1", 20),
];

/// Labels of PEM blocks that are public.
const PUBLIC: &[&str] = &[
    "CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "X509 CRL",
    "DH PARAMETERS",
    "EC PARAMETERS",
];

/// Whether a value at a secret place is plainly none: nothing, a reference to elsewhere, or masked already.
pub(super) fn is_no_secret(text: &str) -> bool {
    let text = text.trim();
    text.chars().all(|c| c == '*') || is_placeholder(text) || is_reference(text)
}

/// What a plain scalar of YAML or JSON says without being a text.
pub(super) fn is_no_text(text: &str) -> bool {
    matches!(text.trim(), "" | "null" | "~" | "true" | "false" | "True" | "False" | "{}" | "[]")
}

fn is_placeholder(text: &str) -> bool {
    text.strip_prefix("‹secret #")
        .and_then(|rest| rest.strip_suffix('›'))
        .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
}

/// `${NAME}`, `$(NAME)`, `$__file{/path}`, `$__env{NAME}`, `{{ .Values.name }}` and nothing else: no default, no literal.
fn is_reference(text: &str) -> bool {
    let inside = [("${", "}"), ("$(", ")"), ("$__file{", "}"), ("$__env{", "}"), ("{{", "}}")]
        .into_iter()
        .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    inside.map(str::trim).is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_./".contains(c) || (c == '-' && name.contains('/')))
    })
}

/// The text that base64 stands for, if it is base64 of text.
pub(super) fn decoded(text: &str) -> Option<String> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let bytes = GeneralPurpose::new(alphabet, config).decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')).then_some(text)
}

/// Whether this is what `Basic` authentication sends: base64 of `user:password`.
pub(super) fn is_basic(text: &str) -> bool {
    decoded(text).is_some_and(|text| text.contains(':'))
}

/// Every secret in a text that its form gives away.
pub(super) fn scan(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    pem(text, &mut found);
    words_of(text, &mut found);
    schemes(text, &mut found);
    urls(text, &mut found);
    found
}

fn pem(text: &str, found: &mut Vec<Found>) {
    const BEGIN: &str = "-----BEGIN ";
    let mut from = 0;
    while let Some(start) = find(text, BEGIN, from) {
        from = start + BEGIN.len();
        let rest = text.get(from..).unwrap_or_default();
        let Some(label) = rest.find("-----").and_then(|end| rest.get(..end)) else { break };
        let named = !label.is_empty()
            && label.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ');
        let body = from + label.len() + 5;
        // A pattern that looks for such blocks has no body of its own.
        let has_body = text
            .get(body..)
            .unwrap_or_default()
            .replace("\\n", "")
            .chars()
            .filter(|c| !c.is_whitespace())
            .take(16)
            .filter(|c| c.is_ascii_alphanumeric() || "+/=:-,".contains(*c))
            .count()
            == 16;
        if !named || PUBLIC.contains(&label) || !has_body {
            continue;
        }
        let close = format!("-----END {label}-----");
        // One that was cut off has no end: then everything that follows may belong to it.
        let end = find(text, &close, body).map_or(text.len(), |at| at + close.len());
        let block = text.get(start..end).unwrap_or_default();
        let secret: String = block.replace("\\n", "").chars().filter(|c| !c.is_whitespace()).collect();
        found.push(Found { start, end, secret });
        from = end;
    }
}

/// JWTs and tokens with a known prefix.
fn words_of(text: &str, found: &mut Vec<Found>) {
    for (start, word) in runs(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let jwt = word.starts_with("eyJ") && {
            let mut parts = word.split('.');
            let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
            signature.is_some()
                && header.is_some_and(|part| part.len() >= 10)
                && payload.is_some_and(|part| part.len() >= 4)
        };
        let known = PREFIXES.iter().any(|(prefix, least)| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *least && rest.chars().any(|c| c.is_ascii_digit()))
        });
        let access_key = word.len() == 20
            && (word.starts_with("AKIA") || word.starts_with("ASIA"))
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        if jwt || known || access_key {
            let word = word.trim_end_matches('.');
            found.push(Found { start, end: start + word.len(), secret: word.to_owned() });
        }
    }
}

/// `Bearer TOKEN` and `Basic BASE64`.
fn schemes(text: &str, found: &mut Vec<Found>) {
    let lower = text.to_ascii_lowercase();
    for scheme in ["bearer ", "basic ", "bearer%20", "token "] {
        let mut from = 0;
        while let Some(at) = find(&lower, scheme, from) {
            from = at + scheme.len();
            let boundary = !text.get(..at).unwrap_or_default().ends_with(|c: char| c.is_alphanumeric());
            let rest = text.get(from..).unwrap_or_default();
            let skipped = rest.len() - rest.trim_start_matches(' ').len();
            let rest = rest.trim_start_matches(' ');
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/=".contains(c)))
                .unwrap_or(rest.len());
            let token = rest.get(..end).unwrap_or_default().trim_end_matches('.');
            let start = from + skipped;
            let secret = match scheme {
                "basic " => token.len() >= 4 && is_basic(token),
                // `Authorization: token …` is GitHub's; a word that only follows one of these is none.
                "token " => token.len() >= 32 && token.chars().any(|c| c.is_ascii_digit()),
                _ => {
                    token.len() >= 20
                        || (token.len() >= 8
                            && token.chars().any(|c| c.is_ascii_digit() || "-._~+/=".contains(c)))
                }
            };
            if boundary && secret {
                found.push(Found { start, end: start + token.len(), secret: token.to_owned() });
            }
        }
    }
}

/// Passwords (and tokens in place of a user) in URLs.
fn urls(text: &str, found: &mut Vec<Found>) {
    let mut from = 0;
    while let Some(at) = find(text, "://", from) {
        from = at + 3;
        let rest = text.get(from..).unwrap_or_default();
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '›'))
            .unwrap_or(rest.len());
        let rest = rest.get(..end).unwrap_or_default();
        let authority = rest.find(['/', '?', '#']).and_then(|end| rest.get(..end)).unwrap_or(rest);
        let user_info = match (authority.rfind('@'), rest.rfind('@')) {
            (Some(at), _) => rest.get(..at),
            // A password with a slash that nobody encoded: what follows the colon is no port.
            (None, Some(at)) => authority
                .split_once(':')
                .filter(|(_, port)| !port.is_empty() && !port.chars().all(|c| c.is_ascii_digit()))
                .and_then(|_| rest.get(..at)),
            (None, None) => None,
        };
        let Some(user_info) = user_info else { continue };
        let (start, secret) = match user_info.split_once(':') {
            Some((user, password)) => (from + user.len() + 1, password),
            None if user_info.len() >= 20 => (from, user_info),
            None => continue,
        };
        if !is_no_secret(secret) {
            found.push(Found { start, end: start + secret.len(), secret: secret.to_owned() });
        }
    }
}

/// Runs of base64 that stand for a text in which `holds` finds a secret.
pub(super) fn encoded(text: &str, holds: &dyn Fn(&str) -> bool) -> Vec<Found> {
    runs(text, |c| c.is_ascii_alphanumeric() || "+/-_=".contains(c))
        .filter(|(_, run)| run.len() >= 12 && decoded(run).is_some_and(|text| holds(&text)))
        .map(|(start, run)| Found { start, end: start + run.len(), secret: run.to_owned() })
        .collect()
}

/// The longest runs of such characters, with their offsets.
fn runs(text: &str, of: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(move |c: char| !of(c)).filter_map(move |run| {
        let start = at;
        at += run.len();
        at += text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        (!run.is_empty()).then_some((start, run))
    })
}

fn find(text: &str, what: &str, from: usize) -> Option<usize> {
    text.get(from..)?.find(what).map(|at| at + from)
}
