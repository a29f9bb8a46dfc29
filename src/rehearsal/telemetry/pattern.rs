//! Regular expressions of Go's `regexp` (RE2's syntax), by the `regex` crate.
//!
//! The engines agree on which match is taken (leftmost, first alternative) and differ in notation. What is rewritten
//! here, by Go's regexp/syntax documentation: `\d \s \w \b` and their opposites are ASCII in Go and Unicode in the crate;
//! in a class the crate gives `[`, `&&`, `--` and `~~` a meaning of their own; `\C`, `\Q…\E` and octal escapes are Go's
//! alone. `\B` between the bytes of one character cannot be said and is refused. Case folding is Unicode's in both.

use regex::Regex;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Why a pattern was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Go refuses it as well.
    #[error("error parsing regexp: {0}")]
    Invalid(String),
    /// Go takes it; the rehearsal cannot play it.
    #[error("{0} cannot be rehearsed")]
    Unrehearsed(String),
}

/// Patterns that were compiled once are kept for every later world of the process, up to this many.
const KEPT: usize = 512;

/// Compiles a pattern of Go's.
pub(super) fn compile(pattern: &str) -> Result<Arc<Regex>, PatternError> {
    static CACHE: OnceLock<Mutex<BTreeMap<String, Arc<Regex>>>> = OnceLock::new();
    let cache = CACHE.get_or_init(Mutex::default);
    if let Some(known) = cache.lock().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return Ok(Arc::clone(known));
    }
    let compiled = Regex::new(&translated(pattern)?).map(Arc::new).map_err(|error| {
        // The crate's message repeats the pattern over several lines; its last line says what is wrong.
        let message = error.to_string();
        let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        PatternError::Invalid(format!("{last}: `{pattern}`"))
    })?;
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() < KEPT {
        cache.insert(pattern.to_owned(), Arc::clone(&compiled));
    }
    Ok(compiled)
}

/// The pattern in the crate's notation.
fn translated(pattern: &str) -> Result<String, PatternError> {
    let mut out = String::with_capacity(pattern.len() + 32);
    let mut rest = pattern.chars().peekable();
    // Within a class: how many of its items were read.
    let mut class: Option<usize> = None;
    // What was read last is a repetition: another one behind it is an error in Go.
    let mut repeated = false;
    while let Some(c) = rest.next() {
        if class.is_none() && matches!(c, '*' | '+' | '?' | '{') {
            let operator = match c {
                '{' => counted(rest.clone()),
                c => Some(c.to_string()),
            };
            let Some(operator) = operator else {
                // In Go a brace that counts nothing is meant as itself.
                out.push_str("\\{");
                repeated = false;
                continue;
            };
            if repeated {
                return Err(PatternError::Invalid(format!(
                    "invalid nested repetition operator: `{pattern}`"
                )));
            }
            rest = skipped(rest, operator.chars().count() - 1);
            out.push_str(&operator);
            if rest.next_if_eq(&'?').is_some() {
                out.push('?');
            }
            repeated = true;
            continue;
        }
        repeated = false;
        if c == '\\' {
            let Some(escaped) = rest.next() else {
                return Err(PatternError::Invalid(format!(
                    "trailing backslash at end of expression: `{pattern}`"
                )));
            };
            if escaped == 'Q' && class.is_none() {
                let quoted: String = rest.by_ref().collect();
                let (literal, behind) = quoted.split_once("\\E").unwrap_or((&quoted, ""));
                out.push_str(&regex::escape(literal));
                out.push_str(&translated(behind)?);
                return Ok(out);
            }
            escape(escaped, class.is_some(), &mut rest, &mut out, pattern)?;
            class = class.map(|items| items + 1);
            continue;
        }
        match class {
            None if c == '[' => {
                out.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that stands first is meant as itself.
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                    class = Some(1);
                } else {
                    class = Some(0);
                }
            }
            None if c == '(' && rest.peek() == Some(&'?') => {
                out.push('(');
                group(&mut rest, &mut out, pattern)?;
            }
            None => out.push(c),
            Some(_) if c == ']' => {
                out.push(']');
                class = None;
            }
            Some(items) => {
                if c == '[' && rest.peek() == Some(&':') {
                    let ahead: String = rest.clone().collect();
                    if let Some(end) = ahead.find(":]") {
                        out.push('[');
                        out.extend(
                            rest.by_ref().take(ahead.get(..end + 2).map_or(0, |name| name.chars().count())),
                        );
                        class = Some(items + 1);
                        continue;
                    }
                }
                if matches!(c, '[' | '&' | '~') {
                    out.push('\\');
                }
                // A hyphen beside an edge of the class is meant as itself; a doubled one would be a difference.
                if c == '-' && (items == 0 || matches!(rest.peek(), Some(']'))) {
                    out.push('\\');
                }
                out.push(c);
                class = Some(items + 1);
            }
        }
    }
    if class.is_some() {
        return Err(PatternError::Invalid(format!("missing closing ]: `{pattern}`")));
    }
    Ok(out)
}

type Chars<'p> = std::iter::Peekable<std::str::Chars<'p>>;

/// `{2}`, `{2,}`, `{2,5}` whose opening brace was read already.
fn counted(rest: Chars<'_>) -> Option<String> {
    let inside: String = rest.take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '}')).collect();
    let (inside, _) = inside.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    (!least.is_empty() && number(least) && number(most)).then(|| format!("{{{inside}}}"))
}

fn skipped(mut rest: Chars<'_>, count: usize) -> Chars<'_> {
    for _ in 0..count {
        rest.next();
    }
    rest
}

/// What follows a backslash.
fn escape(
    escaped: char,
    in_class: bool,
    rest: &mut Chars<'_>,
    out: &mut String,
    pattern: &str,
) -> Result<(), PatternError> {
    let invalid =
        || Err(PatternError::Invalid(format!("invalid escape sequence: `\\{escaped}` in `{pattern}`")));
    match escaped {
        'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
        's' => out.push_str(if in_class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
        'w' => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
        'D' => out.push_str("[^0-9]"),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        'B' if !in_class => return Err(PatternError::Unrehearsed(format!("`\\B` in `{pattern}`"))),
        'A' | 'z' if !in_class => out.extend(['\\', escaped]),
        'a' | 'f' | 't' | 'n' | 'r' | 'v' => out.extend(['\\', escaped]),
        'p' | 'P' => {
            out.extend(['\\', escaped]);
            // `\pL` or `\p{Greek}`; the braces are no repetition.
            if let Some(first) = rest.next() {
                out.push(first);
                if first == '{' {
                    for c in rest.by_ref() {
                        out.push(c);
                        if c == '}' {
                            break;
                        }
                    }
                }
            }
        }
        'x' => out.push_str("\\x"),
        '0'..='7' => {
            // Octal: up to three digits; a single digit from 1 on would be a back reference, which RE2 has not.
            let mut code = escaped.to_digit(8).unwrap_or(0);
            let mut digits = 1;
            while digits < 3
                && let Some(digit) = rest.peek().and_then(|c| c.to_digit(8))
            {
                code = code * 8 + digit;
                digits += 1;
                rest.next();
            }
            if digits == 1 && escaped != '0' {
                return invalid();
            }
            use std::fmt::Write as _;
            let _ = write!(out, "\\x{{{code:x}}}");
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => {
            // The crate refuses `\<` and `\>` as literals.
            if !matches!(c, '<' | '>') {
                out.push('\\');
            }
            out.push(c);
        }
        _ => return invalid(),
    }
    Ok(())
}

/// What follows `(`: flags and names. The crate knows more flags than Go.
fn group(rest: &mut Chars<'_>, out: &mut String, pattern: &str) -> Result<(), PatternError> {
    let ahead: String = rest.clone().skip(1).take_while(|c| !matches!(c, ')' | ':' | '<')).collect();
    let allowed = ahead == "P" || ahead.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-'));
    if !allowed {
        return Err(PatternError::Invalid(format!(
            "invalid or unsupported Perl syntax: `(?{ahead}` in `{pattern}`"
        )));
    }
    out.extend(rest.by_ref().take(1 + ahead.chars().count()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matched(pattern: &str, text: &str) -> Option<String> {
        compile(pattern).unwrap().find(text).map(|found| found.as_str().to_owned())
    }

    #[test]
    fn gos_notation_is_read() {
        assert_eq!(matched(r"\bé\b", "é"), None, "a word is ASCII in Go");
        assert_eq!(matched(r"\d+", "٣4"), Some("4".to_owned()));
        assert_eq!(matched(r"[\w-]+", "é-a_1"), Some("-a_1".to_owned()));
        assert_eq!(matched(r"[[]x", "[x"), Some("[x".to_owned()));
        assert_eq!(matched(r"[a&&b]+", "&a"), Some("&a".to_owned()));
        assert_eq!(matched(r"[]a]+", "]a"), Some("]a".to_owned()));
        assert_eq!(matched(r"[^]a]+", "]ab"), Some("b".to_owned()));
        assert_eq!(matched(r"[[:alpha:]]+", "1ab"), Some("ab".to_owned()));
        assert_eq!(matched(r"\Qa.b\Ec+", "a.bcc"), Some("a.bcc".to_owned()));
        assert_eq!(matched(r"\101", "A"), Some("A".to_owned()));
        assert_eq!(matched(r"\x{41}\x42", "AB"), Some("AB".to_owned()));
        assert_eq!(matched(r"(?i)k", "\u{212a}"), Some("\u{212a}".to_owned()), "folding is Unicode's");
        assert_eq!(matched(r"(?P<n>a)\<b\>", "a<b>"), Some("a<b>".to_owned()));
        assert_eq!(matched(r"[^\s]+", " \u{a0}"), Some("\u{a0}".to_owned()));
        assert_eq!(matched(r"[\S\n]+", "a b"), Some("a".to_owned()));
        assert_eq!(matched(r"(?s)a.*?(?:b|\z)", "xa\nc"), Some("a\nc".to_owned()));
        assert_eq!(matched(r"\pL\p{Greek}", "aα"), Some("aα".to_owned()));
        assert_eq!(matched(r"a{,2}{", "a{,2}{"), Some("a{,2}{".to_owned()), "a brace that counts nothing");
        assert_eq!(matched(r"a{2}?b{1,}", "aabb"), Some("aabb".to_owned()));
        assert_eq!(matched(r"[a-]+", "-a"), Some("-a".to_owned()));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["(", "[a", "a**?+", r"\", r"\1", r"\y", "(?x)a", "(?=a)", "(?<=a)b", r"\Z", "a{2,1}"]
        {
            assert!(matches!(compile(pattern), Err(PatternError::Invalid(_))), "{pattern}");
        }
        assert!(matches!(compile(r"\Ba"), Err(PatternError::Unrehearsed(_))));
    }

    proptest! {
        #[test]
        fn any_pattern_is_read_or_refused(pattern in r"[\\\[\]()?:^$.*+{}a-cQEdDsSwWbBpPxzZi0-9&~ -]{0,16}") {
            let _ = compile(&pattern);
        }

        #[test]
        fn a_literal_matches_itself(text in any::<String>()) {
            let quoted: String = text.chars().flat_map(|c| if c.is_ascii_punctuation() { vec!['\\', c] } else { vec![c] }).collect();
            prop_assert_eq!(matched(&quoted, &text), Some(text.clone()));
        }
    }
}
