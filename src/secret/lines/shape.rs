//! Shapes of text: names before separators, quotes, brackets, flags.

use super::super::{name, pattern};

/// A name before a separator. Offsets are those of the line.
#[derive(Clone, Copy)]
pub(super) struct Key<'t> {
    pub(super) name: &'t str,
    pub(super) start: usize,
    /// Offset of the separator.
    pub(super) at: usize,
    pub(super) separator: char,
    pub(super) quoted: bool,
}

pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The name that begins a line, as in `  - "name": value`, `export NAME=value`, `# name: value`.
pub(super) fn leading_key(line: &str) -> Option<Key<'_>> {
    let mut rest = line.trim_start();
    loop {
        let next = ["- ", "# ", "#", "//", "; ", "export ", "set ", "ENV ", "ARG "]
            .iter()
            .find_map(|sign| rest.strip_prefix(sign))
            .map(str::trim_start);
        match next {
            Some(next) => rest = next,
            None => break,
        }
    }
    let begin = line.len() - rest.len();
    let at = separators(line, begin).next()?;
    let key = key_before(line, at)?;
    (key.start == begin || (key.quoted && key.start == begin + 1)).then_some(Key { start: begin, ..key })
}

pub(super) fn separators(line: &str, from: usize) -> impl Iterator<Item = usize> {
    line.char_indices().filter(move |(at, c)| *at >= from && matches!(c, ':' | '=')).map(|(at, _)| at)
}

/// The name that stands before the separator at `at`.
pub(super) fn key_before(line: &str, at: usize) -> Option<Key<'_>> {
    let separator = line.get(at..)?.chars().next()?;
    let after = line.get(at + 1..)?;
    let mut before = line.get(..at)?;
    if separator == '='
        && ((is_comparison(after) && in_brackets(before)) || before.ends_with(['=', '!', '<', '>', '~']))
    {
        return None;
    }
    if before.ends_with(':') || (separator == ':' && after.starts_with(':')) {
        before = before.trim_end_matches(':');
    }
    let trimmed = before.trim_end_matches([' ', '\t']);
    if let Some(quote) = trimmed.chars().next_back().filter(|c| matches!(c, '"' | '\'')) {
        let inner = trimmed.get(..trimmed.len() - 1)?;
        let bare = inner.trim_end_matches('\\');
        let token = trimmed.get(bare.len()..)?;
        let open = bare.rfind(token)?;
        let start = open + token.len();
        let name = bare.get(start..)?;
        return (name.len() <= 128 && !name.contains(quote)).then_some(Key {
            name,
            start: open,
            at,
            separator,
            quoted: true,
        });
    }
    let is_name = |c: char| c.is_alphanumeric() || "_-.$@/".contains(c);
    let mut start = trimmed.rfind(|c: char| !is_name(c)).map_or(0, |found| {
        found + trimmed.get(found..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    // `\npassword: x` in a text that is escaped.
    if trimmed.get(..start)?.ends_with('\\') && trimmed.get(start..)?.starts_with(['n', 't', 'r']) {
        start += 1;
    }
    let name = trimmed.get(start..)?;
    (!name.is_empty() && name.len() <= 128).then_some(Key { name, start, at, separator, quoted: false })
}

/// `== x`, `=~ "x"` and `=~"x"`, as conditions of languages and queries have them. A value can begin so too.
fn is_comparison(after: &str) -> bool {
    after.starts_with("= ") || ["~\"", "~ \"", "~`", "~'"].iter().any(|sign| after.starts_with(sign))
}

/// Whether what follows this name is to be taken for a secret.
pub(super) fn is_secret(key: &Key<'_>, line: &str) -> bool {
    let after = line.get(key.at + 1..).unwrap_or_default();
    if matches!(key.name, "auth" | "_auth") {
        let value = after.trim().trim_matches(['"', '\'', ',']);
        return pattern::is_basic(value);
    }
    if key.separator == ':'
        && !key.quoted
        && !after.is_empty()
        && !after.starts_with([' ', '\t', '\r', '"', '\'', '='])
    {
        // `name:value` without a blank is a port, an image's tag or a scheme as often as not.
        let path = key.name.contains(['/', '@']);
        return !path && !after.starts_with("//") && name::ends_secret(key.name);
    }
    name::is_secret_key(key.name)
}

/// Whether the next argument after this one is a secret: `--password`, and `-password` as Go's flags have it.
pub(in crate::secret) fn is_secret_flag(argument: &str) -> bool {
    is_flag(argument) && !argument.contains('=') && name::is_secret_key(argument)
}

/// Whether an argument is a flag, and not the value of the one before it.
pub(in crate::secret) fn is_flag(argument: &str) -> bool {
    let Some(name) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { return false };
    let name = name.split('=').next().unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphabetic() || "-_.".contains(c))
}

/// A quoted text at `begin`, its quotes escaped or not: where its content begins, and where it ends with its quote.
pub(super) fn quoted(text: &str, begin: usize, limit: usize) -> Option<(usize, usize)> {
    let rest = text.get(begin..limit)?;
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    let quote = rest.get(slashes..)?.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let token = rest.get(..=slashes)?;
    let mut at = token.len();
    while at < rest.len() {
        let here = rest.get(at..)?;
        if slashes == 0 && quote == '"' && here.starts_with('\\') {
            at += 1 + here.get(1..)?.chars().next().map_or(0, char::len_utf8);
        } else if slashes == 0 && quote == '\'' && here.starts_with("''") {
            at += 2;
        } else if here.starts_with(token) && (slashes == 0 || !rest.get(..at)?.ends_with('\\')) {
            return Some((begin + token.len(), begin + at + token.len()));
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// What is left of the line at `from`.
pub(super) fn line_from(text: &str, from: usize) -> &str {
    text.get(from..).and_then(|rest| rest.split('\n').next()).unwrap_or_default()
}

/// Whether a value can have ended before this rest of its line. Behind `=` as in properties there are no collections and
/// often no quotes: there the value ends with its line.
pub(super) fn is_closed(rest: &str, separator: char) -> bool {
    let rest = rest.trim();
    let ends = [',', '}', ']', ')', '#', ';', '\\', '"', '\''];
    rest.is_empty() || rest == "," || (separator == ':' && rest.starts_with(ends))
}

/// Whether every name in a collection under a secret name is about the secret only: `{ secretName: tls }`.
pub(super) fn is_harmless(inside: &str) -> bool {
    let mut names = separators(inside, 0).filter_map(|at| key_before(inside, at)).peekable();
    names.peek().is_some() && names.all(|key| name::is_harmless_child(key.name))
}

/// Where the brackets that open at `begin` are closed; `None` where they do not match.
pub(super) fn balanced(text: &str, begin: usize) -> Option<usize> {
    let mut open = Vec::new();
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.get(begin..)?.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(begun), c) => quote = Some(begun).filter(|begun| *begun != c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => open.push('}'),
            (None, '[') => open.push(']'),
            (None, '}' | ']') => {
                if open.pop() != Some(c) {
                    return None;
                }
                if open.is_empty() {
                    return Some(begin + at + 1);
                }
            }
            (None, _) => {}
        }
    }
    None
}

/// Length of the unquoted value that a text begins with: up to a blank, a quote or an ampersand.
pub(super) fn word(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '&')).unwrap_or(text.len())
}

pub(super) fn in_brackets(before: &str) -> bool {
    let count = |signs: [char; 3]| before.chars().filter(|c| signs.contains(c)).count();
    count(['{', '[', '(']) > count(['}', ']', ')'])
}

/// Where a plain value in brackets ends: at the bracket, or at a comma that another name follows.
pub(super) fn flow_end(line: &str, begin: usize) -> usize {
    let rest = line.get(begin..).unwrap_or_default();
    for (at, c) in rest.char_indices() {
        let ends = match c {
            '}' | ']' => true,
            ',' => {
                let next =
                    rest.get(at + 1..).unwrap_or_default().trim_start().trim_start_matches(['"', '\'', '\\']);
                let name =
                    next.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(next.len());
                name > 0
                    && next.get(name..).is_some_and(|rest| {
                        rest.trim_start_matches(['"', '\'', '\\']).starts_with([':', '='])
                    })
            }
            _ => false,
        };
        if ends {
            return begin + at;
        }
    }
    line.len()
}
