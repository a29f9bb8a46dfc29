//! Secrets in text that no parser reads as a whole: logs, INI, properties, shell, HCL, broken YAML, comments.
//!
//! A name that promises a secret is looked for before every `:` and `=`; what follows is masked to where the value can
//! end at the latest. It is the caution of this module that a continuation line is never shown: block scalars, quoted
//! text over several lines, deeper-indented lines and heredocs under a secret name are masked whole.

use super::text::Found;
use super::{name, pattern};

/// A line of the text, without its line feed.
struct Row<'t> {
    start: usize,
    text: &'t str,
    /// Column of the first character that is not indentation.
    indent: usize,
    /// The name that begins the line, if one does, after list dashes and comment signs.
    key: Option<Key<'t>>,
}

/// A name before a separator. Offsets are those of the line.
#[derive(Clone, Copy)]
struct Key<'t> {
    name: &'t str,
    start: usize,
    /// Offset of the separator.
    at: usize,
    separator: char,
    quoted: bool,
}

/// A block under a secret name, in which every value is secret.
#[derive(Clone, Copy)]
struct Block {
    indent: usize,
}

/// Secrets by the names before them.
pub(super) fn scan(text: &str) -> Vec<Found> {
    let mut scanner = Scanner { text, rows: rows(text), found: Vec::new() };
    let forced = scanner.telling_entries();
    let mut block: Option<Block> = None;
    let mut index = 0;
    while let Some(row) = scanner.rows.get(index) {
        let (start, line, indent) = (row.start, row.text, row.indent);
        let key = row.key;
        if line.trim().is_empty() {
            index += 1;
            continue;
        }
        let dashed = line.trim_start().starts_with("- ") || line.trim() == "-";
        block = block.filter(|block| indent > block.indent || (indent == block.indent && dashed));
        let mut at = 0;
        if let Some(key) = key {
            let harmless = name::is_harmless_child(key.name) && !name::is_secret_key(key.name);
            let secret = is_secret(&key, line) || forced.contains(&index) || (block.is_some() && !harmless);
            if secret {
                let (end, nested) = scanner.value(index, &key);
                if nested && block.is_none() {
                    block = Some(Block { indent: key.start });
                }
                at = end.saturating_sub(start);
            } else {
                at = key.at + 1;
            }
        } else if block.is_some() {
            scanner.content(index);
            at = line.len();
        }
        if at <= line.len() {
            scanner.inline(start, line, at);
            index += 1;
        } else {
            // The value went on over the following lines.
            let end = start + at;
            while scanner.rows.get(index).is_some_and(|row| row.start < end) {
                index += 1;
            }
        }
    }
    scanner.found
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut start = 0;
    text.split('\n')
        .map(|line| {
            let row = Row { start, text: line, indent: indent(line), key: leading_key(line) };
            start += line.len() + 1;
            row
        })
        .collect()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The name that begins a line, as in `  - "name": value`, `export NAME=value`, `# name: value`.
fn leading_key(line: &str) -> Option<Key<'_>> {
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

fn separators(line: &str, from: usize) -> impl Iterator<Item = usize> {
    line.char_indices().filter(move |(at, c)| *at >= from && matches!(c, ':' | '=')).map(|(at, _)| at)
}

/// The name that stands before the separator at `at`.
fn key_before(line: &str, at: usize) -> Option<Key<'_>> {
    let separator = line.get(at..)?.chars().next()?;
    let after = line.get(at + 1..)?;
    let mut before = line.get(..at)?;
    if separator == '=' && (after.starts_with(['=', '~']) || before.ends_with(['=', '!', '<', '>', '~'])) {
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

/// Whether what follows this name is to be taken for a secret.
fn is_secret(key: &Key<'_>, line: &str) -> bool {
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

struct Scanner<'t> {
    text: &'t str,
    rows: Vec<Row<'t>>,
    found: Vec<Found>,
}

impl<'t> Scanner<'t> {
    /// Lines with the value of an entry whose name is a value itself: `name: DB_PASSWORD` beside `value: …`.
    fn telling_entries(&self) -> Vec<usize> {
        let mut lines = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let Some(key) = &row.key else { continue };
            let value = row.text.get(key.at + 1..).unwrap_or_default();
            let value = value.trim().trim_end_matches(',').trim_matches(['"', '\'']);
            if !matches!(key.name, "name" | "key" | "header" | "variable" | "parameter")
                || !name::is_secret_key(value)
            {
                continue;
            }
            let begins = |row: &Row<'_>, key: &Key<'_>| key.start > row.indent;
            let is_value = |name: &str| matches!(name, "value" | "values" | "default");
            for (at, other) in self.rows.iter().enumerate().skip(index + 1) {
                let Some(beside) = &other.key else {
                    if other.indent < key.start && !other.text.trim().is_empty() {
                        break;
                    } else {
                        continue;
                    };
                };
                if beside.start < key.start || (beside.start == key.start && begins(other, beside)) {
                    break;
                }
                if beside.start == key.start && is_value(beside.name) {
                    lines.push(at);
                }
            }
            if begins(row, key) {
                continue;
            }
            for (at, other) in self.rows.iter().enumerate().take(index).rev() {
                let Some(beside) = &other.key else {
                    if other.indent < key.start && !other.text.trim().is_empty() {
                        break;
                    } else {
                        continue;
                    };
                };
                if beside.start < key.start {
                    break;
                }
                if beside.start == key.start && is_value(beside.name) {
                    lines.push(at);
                }
                if beside.start == key.start && begins(other, beside) {
                    break;
                }
            }
        }
        lines
    }

    fn push(&mut self, start: usize, end: usize) {
        let Some(raw) = self.text.get(start..end) else { return };
        let secret = raw.trim();
        if !pattern::is_no_text(secret) && !pattern::is_no_secret(secret) {
            let start = start + (raw.len() - raw.trim_start().len());
            self.found.push(Found { start, end: start + secret.len(), secret: secret.to_owned() });
        }
    }

    /// Offset behind the last line that follows row `index` and is indented deeper than `indent`.
    fn absorb(&self, index: usize, indent: usize) -> usize {
        let mut end = self.rows.get(index).map_or(self.text.len(), |row| row.start + row.text.len());
        for row in self.rows.iter().skip(index + 1) {
            // Under a comment sign the indentation begins behind it.
            let depth = row.text.len() - row.text.trim_start_matches([' ', '\t', '#']).len();
            if row.text.trim().is_empty() {
                continue;
            }
            if depth.max(row.indent) <= indent {
                break;
            }
            end = row.start + row.text.len();
        }
        end
    }

    /// Masks the value of a name that begins a line. Returns where the value ends, and whether a block follows instead.
    fn value(&mut self, index: usize, key: &Key<'t>) -> (usize, bool) {
        let Some(row) = self.rows.get(index) else { return (self.text.len(), false) };
        let line_end = row.start + row.text.len();
        let mut begin = row.start + key.at + 1;
        if key.separator == '=' && self.text.get(begin..).is_some_and(|rest| rest.starts_with('>')) {
            begin += 1;
        }
        let line = self.text.get(begin..line_end).unwrap_or_default();
        let value = line.trim();
        let begin = begin + (line.len() - line.trim_start().len());
        // Tags and anchors may stand before the value, or be its first characters: they are masked with it.
        let bare = value
            .split(' ')
            .skip_while(|word| word.starts_with(['!', '&']) && value.contains(' '))
            .collect::<Vec<_>>()
            .join(" ");
        let bare = bare.trim();
        if value.is_empty() || value.starts_with('#') {
            return (line_end, true);
        }
        if let Some(tag) = bare.strip_prefix("<<") {
            let tag = tag.trim_start_matches(['-', '~']).trim().trim_matches(['"', '\'']).to_owned();
            let last = self.rows.iter().skip(index + 1).find(|row| row.text.trim() == tag);
            let end = last.map_or(self.text.len(), |row| row.start + row.text.len());
            self.push(begin, end);
            return (end, false);
        }
        if bare.is_empty() || (bare.starts_with(['|', '>']) && key.separator == ':') {
            let end = self.absorb(index, key.start);
            self.push(begin, end);
            return (end.max(line_end + 1), false);
        }
        if value.starts_with(['{', '[']) && !pattern::is_no_secret(value) {
            return (self.collection(index, key, begin), false);
        }
        if let Some((inner, end)) = quoted(self.text, begin, self.text.len()) {
            let last = self.text.get(end..).unwrap_or_default();
            let last = last.split('\n').next().unwrap_or_default();
            let closed = last.trim().is_empty()
                || last.trim_start_matches([' ', '\t']).starts_with([',', '}', ']', ')', '#', ';', '\\']);
            if closed {
                self.push(inner, end - (inner - begin));
                return (end, false);
            }
            if end > line_end {
                let end = end + last.len();
                self.push(begin, end);
                return (end, false);
            }
            self.push(begin, line_end);
            return (line_end, false);
        }
        let mut end = self.absorb(index, key.start);
        if key.separator == '=' {
            end = line_end;
            let mut rows = self.rows.iter().skip(index);
            while rows.next().is_some_and(|row| row.text.trim_end().ends_with('\\')) {
                end = rows.clone().next().map_or(end, |row| row.start + row.text.len());
            }
        }
        if pattern::is_no_text(value.trim_end_matches(',')) && end == line_end {
            return (line_end, false);
        }
        self.push(begin, end);
        (end, false)
    }

    /// A flow collection under a secret name: masked whole, unless every name in it is about the secret only.
    fn collection(&mut self, index: usize, key: &Key<'t>, begin: usize) -> usize {
        let end = match balanced(self.text, begin) {
            Some(end) => end,
            None => self.absorb(index, key.start),
        };
        let inside = self.text.get(begin..end).unwrap_or_default();
        let names: Vec<&str> =
            separators(inside, 0).filter_map(|at| key_before(inside, at)).map(|key| key.name).collect();
        if !names.is_empty() && names.iter().all(|name| name::is_harmless_child(name)) {
            return begin;
        }
        self.push(begin, end);
        end
    }

    /// A line of a block under a secret name that has no name of its own: a list item, a continuation.
    fn content(&mut self, index: usize) {
        let Some(row) = self.rows.get(index) else { return };
        let content = row.text.trim_start_matches([' ', '\t', '-']);
        let start = row.start + row.text.len() - content.len();
        if !content.trim().chars().all(|c| "{}[],".contains(c)) {
            self.push(start, row.start + row.text.len());
        }
    }

    /// Secrets by names within a line: `user=x password=y`, `{"a": 1, "token": "…"}`, `--password x`, `<password>x<`.
    fn inline(&mut self, start: usize, line: &'t str, from: usize) {
        let mut done = from;
        let mut telling = false;
        for at in separators(line, from) {
            if at < done {
                continue;
            }
            let Some(key) = key_before(line, at) else { continue };
            if key.start < from && from != 0 && key.at < from {
                continue;
            }
            let after = line.get(at + 1..).unwrap_or_default();
            if is_secret(&key, line) || (telling && matches!(key.name, "value" | "values" | "default")) {
                done = self.inline_value(start, line, &key);
            } else if matches!(key.name, "name" | "key" | "header" | "variable" | "parameter") {
                let value = after.trim_start().trim_start_matches(['"', '\'', '\\']);
                let end =
                    value.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(value.len());
                telling = value.get(..end).is_some_and(name::is_secret_key);
            }
        }
        self.flags(start, line, from);
        self.tags(start, line, from);
    }

    fn inline_value(&mut self, start: usize, line: &'t str, key: &Key<'t>) -> usize {
        let after = line.get(key.at + 1..).unwrap_or_default();
        let trimmed = after.trim_start_matches([' ', '\t', '>', '=']);
        let begin = line.len() - trimmed.len();
        if let Some((inner, end)) = quoted(line, begin, line.len()) {
            self.push(start + inner, start + end - (inner - begin));
            return end;
        }
        let end = if trimmed.starts_with(['{', '[']) {
            balanced(line, begin).unwrap_or(line.len())
        } else if key.separator == '=' && after.len() == trimmed.len() && !after.starts_with(['"', '\'']) {
            trimmed
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '&'))
                .map_or(line.len(), |end| begin + end)
        } else if in_brackets(line.get(..key.start).unwrap_or_default()) {
            flow_end(line, begin)
        } else {
            line.len()
        };
        let raw = line.get(begin..end).unwrap_or_default();
        if !pattern::is_no_text(raw.trim_end_matches(',')) {
            self.push(start + begin, start + end);
        }
        end
    }

    fn flags(&mut self, start: usize, line: &'t str, from: usize) {
        let mut at = from;
        while let Some(found) = line.get(at..).and_then(|rest| rest.find("--")) {
            let begin = at + found;
            let rest = line.get(begin..).unwrap_or_default();
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "-_.".contains(c))).unwrap_or(rest.len());
            at = begin + end.max(2);
            let (flag, after) = (rest.get(..end).unwrap_or_default(), rest.get(end..).unwrap_or_default());
            if !is_secret_flag(flag) || !after.starts_with(' ') {
                continue;
            }
            let value = after.trim_start();
            let begin = line.len() - value.len();
            if value.starts_with('-') {
                continue;
            }
            let (inner, outer) = match quoted(line, begin, line.len()) {
                Some((inner, end)) => (inner, end - (inner - begin)),
                None => (begin, value.find(char::is_whitespace).map_or(line.len(), |end| begin + end)),
            };
            self.push(start + inner, start + outer);
            at = outer;
        }
    }

    fn tags(&mut self, start: usize, line: &'t str, from: usize) {
        let mut at = from;
        while let Some(found) = line.get(at..).and_then(|rest| rest.find('<')) {
            at += found + 1;
            let rest = line.get(at..).unwrap_or_default();
            let Some(close) = rest.find('>') else { break };
            let tag = rest.get(..close).unwrap_or_default();
            let content = rest.get(close + 1..).unwrap_or_default();
            if tag.starts_with('/')
                || tag.contains(' ')
                || !name::is_secret_key(tag)
                || !content.contains("</")
            {
                continue;
            }
            let end = content.find("</").unwrap_or(content.len());
            let begin = start + at + close + 1;
            self.push(begin, begin + end);
        }
    }
}

/// Whether the next argument after this one is a secret: `--password`.
pub(super) fn is_secret_flag(flag: &str) -> bool {
    flag.strip_prefix("--").is_some_and(name::is_secret_key)
}

/// A quoted text at `begin`, its quotes escaped or not: where its content begins, and where it ends with its quote.
fn quoted(text: &str, begin: usize, limit: usize) -> Option<(usize, usize)> {
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

/// Where the brackets that open at `begin` are closed.
fn balanced(text: &str, begin: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (at, c) in text.get(begin..)?.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if matches!(c, '{' | '[') => depth += 1,
            None if matches!(c, '}' | ']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(begin + at + 1);
                }
            }
            None => {}
        }
    }
    None
}

fn in_brackets(before: &str) -> bool {
    let count = |signs: [char; 3]| before.chars().filter(|c| signs.contains(c)).count();
    count(['{', '[', '(']) > count(['}', ']', ')'])
}

/// Where a plain value in brackets ends: at the bracket, or at a comma that another name follows.
fn flow_end(line: &str, begin: usize) -> usize {
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
