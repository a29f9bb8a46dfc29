//! The attribute `filter` of a path, as `git check-attr` tells it (gitattributes(5)).
//!
//! libgit2's own lookup reads every attributes file of every folder again for each path, and it adds the rules of the
//! index to those of the work tree where git takes them only if the file is missing. Here each file is read once, and
//! rules that cannot touch `filter` are dropped when they are read.

use super::glob::{Glob, is_special};
use std::collections::HashMap;
use std::rc::Rc;

/// git ignores longer lines (attr.h, ATTR_MAX_LINE_LENGTH) and longer files (ATTR_MAX_FILE_SIZE).
const LINE_LIMIT: usize = 2048;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// `name`.
    Set,
    /// `-name`.
    Unset,
    /// `!name`: as if no rule said anything.
    Unspecified,
    /// `name=value`.
    Text(Vec<u8>),
}

/// A name and what is assigned to it.
type Assign = (Vec<u8>, Value);

/// Reads the attributes file of a folder (its path without a trailing slash, empty for the root).
pub(super) type ReadFolder<'r> = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + 'r>;

/// One line of an attributes file.
#[derive(Clone, Debug)]
enum Line {
    Macro { name: Vec<u8>, assigns: Vec<Assign> },
    Rule { pattern: Pattern, assigns: Vec<Assign> },
}

/// The pattern of a rule.
#[derive(Clone, Debug)]
struct Pattern {
    /// Whether it is matched against the last component only.
    basename: bool,
    /// What has to be there literally before the first wildcard.
    literal: Vec<u8>,
    /// The rest, absent if the pattern is literal.
    rest: Option<Glob>,
    fold: bool,
}

/// A rule with its assignments to `filter` and to macros only.
#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    assigns: Vec<(usize, Value)>,
}

/// The rules of one attributes file.
type Rules = Rc<[Rule]>;

/// All attributes of a repository; folders are read when they are first asked for.
pub(super) struct Attributes<'r> {
    read: ReadFolder<'r>,
    fold: bool,
    /// Attribute names that matter: `filter` is number 0, then the macros.
    names: Vec<Vec<u8>>,
    /// The expansion of each name that is a macro.
    macros: Vec<Vec<(usize, Value)>>,
    /// System, user.
    below: Vec<Rules>,
    /// The root's file is in `folders` too. info/attributes goes before all.
    above: Rules,
    folders: HashMap<Vec<u8>, Rules>,
    /// The folders of the last path, root first.
    stack: Vec<(Vec<u8>, Rules)>,
}

impl<'r> Attributes<'r> {
    /// `outer`: the texts of the system's and the user's attributes file; `info`: that of `info/attributes`; `read`: reads
    /// the `.gitattributes` of a folder.
    pub(super) fn new(
        outer: [Option<Vec<u8>>; 2],
        info: Option<Vec<u8>>,
        fold: bool,
        mut read: ReadFolder<'r>,
    ) -> Self {
        let outer: Vec<Vec<Line>> = outer.iter().map(|text| parse(text.as_deref(), true, fold)).collect();
        let root = parse(read(b"").as_deref(), true, fold);
        let info = parse(info.as_deref(), true, fold);

        // A macro is what the file of the highest precedence says, and its last line there.
        let mut defined: Vec<(&[u8], &[Assign])> = Vec::new();
        for lines in [&info, &root].into_iter().chain(outer.iter().rev()) {
            for line in lines.iter().rev() {
                if let Line::Macro { name, assigns } = line
                    && !defined.iter().any(|(known, _)| known == name)
                {
                    defined.push((name, assigns));
                }
            }
        }
        let mut names: Vec<Vec<u8>> = vec![b"filter".to_vec()];
        names.extend(defined.iter().map(|(name, _)| name.to_vec()).filter(|name| name != b"filter"));
        let macros = names
            .iter()
            .map(|name| {
                let assigns =
                    defined.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, assigns)| assigns);
                relevant(assigns, &names)
            })
            .collect();

        let below = outer.into_iter().map(|lines| rules(lines, &names)).collect();
        let above = rules(info, &names);
        let root = rules(root, &names);
        let folders = HashMap::from([(Vec::new(), Rc::clone(&root))]);
        Self { read, fold, names, macros, below, above, folders, stack: vec![(Vec::new(), root)] }
    }

    /// The value of `filter` for a file, whose path is relative to the root. Fast for paths in order.
    pub(super) fn filter(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let folder = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(&[][..], |end| path.get(..end).unwrap_or_default());
        self.enter(folder);
        let mut values: Vec<Option<Value>> = vec![None; self.names.len()];
        let frames = std::iter::once((&[][..], &self.above))
            .chain(self.stack.iter().rev().map(|(folder, rules)| (folder.as_slice(), rules)))
            .chain(self.below.iter().rev().map(|rules| (&[][..], rules)));
        for (base, rules) in frames {
            for rule in rules.iter().rev() {
                if rule.pattern.matches(path, base) {
                    self.assign(&rule.assigns, &mut values);
                    match values.first() {
                        Some(Some(Value::Text(value))) => return Some(value.clone()),
                        Some(Some(_)) => return None,
                        _ => {}
                    }
                }
            }
        }
        None
    }

    /// What is assigned first wins; a macro that is set assigns what it stands for at once.
    fn assign(&self, assigns: &[(usize, Value)], values: &mut [Option<Value>]) {
        for (name, value) in assigns.iter().rev() {
            if let Some(slot) = values.get_mut(*name)
                && slot.is_none()
            {
                *slot = Some(value.clone());
                if *value == Value::Set {
                    // A name is assigned at most once, so this ends for macros that name each other too.
                    self.assign(self.macros.get(*name).map_or(&[][..], Vec::as_slice), values);
                }
            }
        }
    }

    /// Makes the stack that of a folder.
    fn enter(&mut self, folder: &[u8]) {
        while let Some((top, _)) = self.stack.last()
            && !(top.is_empty()
                || folder == top
                || (folder.starts_with(top) && folder.get(top.len()) == Some(&b'/')))
        {
            self.stack.pop();
        }
        loop {
            let known = self.stack.last().map_or(0, |(top, _)| top.len());
            if known >= folder.len() {
                return;
            }
            let from = if known == 0 { 0 } else { known + 1 };
            let length = folder.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'/'));
            let next = folder.get(..length.map_or(folder.len(), |length| from + length)).unwrap_or(folder);
            let rules = match self.folders.get(next) {
                Some(rules) => Rc::clone(rules),
                None => {
                    let lines = parse((self.read)(next).as_deref(), false, self.fold);
                    let rules = rules(lines, &self.names);
                    self.folders.insert(next.to_vec(), Rc::clone(&rules));
                    rules
                }
            };
            self.stack.push((next.to_vec(), rules));
        }
    }
}

fn relevant(assigns: &[Assign], names: &[Vec<u8>]) -> Vec<(usize, Value)> {
    assigns
        .iter()
        .filter_map(|(name, value)| {
            names.iter().position(|known| known == name).map(|number| (number, value.clone()))
        })
        .collect()
}

fn rules(lines: Vec<Line>, names: &[Vec<u8>]) -> Rules {
    lines
        .into_iter()
        .filter_map(|line| match line {
            Line::Macro { .. } => None,
            Line::Rule { pattern, assigns } => {
                let assigns = relevant(&assigns, names);
                (!assigns.is_empty()).then_some(Rule { pattern, assigns })
            }
        })
        .collect()
}

impl Pattern {
    /// Reads a pattern; `None` for one that never matches a file (`folder/`) or that git ignores (`!x`).
    fn new(text: &[u8], fold: bool) -> Option<Self> {
        if text.is_empty() || text.starts_with(b"!") || text.ends_with(b"/") {
            return None;
        }
        let basename = !text.contains(&b'/');
        let text = text.strip_prefix(b"/").unwrap_or(text);
        let literal = text.iter().position(|byte| is_special(*byte)).unwrap_or(text.len());
        let (literal, rest) = text.split_at_checked(literal)?;
        let rest = (!rest.is_empty()).then(|| {
            // As git does: behind the literal part the pattern counts as beginning anew (`a**/b` finds `a/x/b`).
            Glob::new(rest, !basename, fold)
        });
        Some(Self { basename, literal: literal.to_vec(), rest, fold })
    }

    /// Whether the pattern of a file in folder `base` matches the path.
    fn matches(&self, path: &[u8], base: &[u8]) -> bool {
        let below = if base.is_empty() { Some(path) } else { path.get(base.len() + 1..) };
        let Some(below) = below else { return false };
        let subject =
            if self.basename { below.rsplit(|byte| *byte == b'/').next().unwrap_or(below) } else { below };
        let Some((head, tail)) = subject.split_at_checked(self.literal.len()) else { return false };
        let same = if self.fold { head.eq_ignore_ascii_case(&self.literal) } else { head == self.literal };
        same && self.rest.as_ref().map_or(tail.is_empty(), |rest| rest.matches(tail))
    }
}

fn parse(text: Option<&[u8]>, macros: bool, fold: bool) -> Vec<Line> {
    let text = text.unwrap_or_default();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|byte| *byte == b'\n').filter_map(|line| parse_line(line, macros, fold)).collect()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// One line; `None` for comments, blanks and what git ignores with a warning: then it ignores the whole line.
fn parse_line(line: &[u8], macros: bool, fold: bool) -> Option<Line> {
    if line.len() >= LINE_LIMIT {
        return None;
    }
    // git reads lines as C strings.
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let line = skip_blanks(line);
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let (name, rest) = match unquote(line) {
        Some((name, rest)) => (name, rest),
        None => {
            let (name, rest) = word(line);
            (name.to_vec(), rest)
        }
    };
    let assigns = parse_assigns(skip_blanks(rest))?;
    if let Some(name) = name.strip_prefix(b"[attr]").filter(|name| !name.is_empty()) {
        if !macros {
            return None;
        }
        let (name, _) = word(skip_blanks(name));
        return is_attribute_name(name).then(|| Line::Macro { name: name.to_vec(), assigns });
    }
    Some(Line::Rule { pattern: Pattern::new(&name, fold)?, assigns })
}

fn parse_assigns(mut rest: &[u8]) -> Option<Vec<Assign>> {
    let mut assigns = Vec::new();
    while !rest.is_empty() {
        let (text, after) = word(rest);
        rest = skip_blanks(after);
        let equals = text.iter().position(|byte| *byte == b'=');
        let (left, right) = match equals {
            Some(at) => (text.get(..at)?, text.get(at + 1..)),
            None => (text, None),
        };
        let (name, value) = match (left.first(), right) {
            (Some(b'-'), _) => (left.get(1..)?, Value::Unset),
            (Some(b'!'), _) => (left.get(1..)?, Value::Unspecified),
            (_, Some(value)) => (left, Value::Text(value.to_vec())),
            (_, None) => (left, Value::Set),
        };
        if !is_attribute_name(name) {
            return None;
        }
        assigns.push((name.to_vec(), value));
    }
    Some(assigns)
}

fn is_attribute_name(name: &[u8]) -> bool {
    !name.is_empty()
        && !name.starts_with(b"-")
        && !name.starts_with(b"builtin_")
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// A pattern in double quotes with C escapes, and what follows it; `None` if the line does not begin with a sound one.
fn unquote(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = line.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((out, rest)),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                out.push(match escaped {
                    b'a' => 0x07,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 0x0b,
                    b'\\' | b'"' => escaped,
                    b'0'..=b'3' => {
                        let (digits, after) = rest.split_at_checked(2)?;
                        rest = after;
                        let mut code = u32::from(escaped - b'0');
                        for digit in digits {
                            code = code * 8 + char::from(*digit).to_digit(8)?;
                        }
                        u8::try_from(code).ok()?
                    }
                    _ => return None,
                });
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(files: &[(&str, &str)], path: &str) -> Option<String> {
        let text = |name: &str| {
            files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.as_bytes().to_vec())
        };
        let mut attributes = Attributes::new(
            [None, text("<user>")],
            text("<info>"),
            false,
            Box::new(|folder| text(std::str::from_utf8(folder).unwrap())),
        );
        attributes.filter(path.as_bytes()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn the_nearest_file_and_its_last_line_win() {
        let files = [
            ("", "* filter=a\n/x filter=b\n.gitattributes !filter\n"),
            ("d", "* filter=c\n*.md -filter\n"),
            ("<user>", "* filter=u"),
        ];
        assert_eq!(filter(&files, "x").as_deref(), Some("b"));
        assert_eq!(filter(&files, "d/x").as_deref(), Some("c"));
        assert_eq!(filter(&files, "d/e/x").as_deref(), Some("c"));
        assert_eq!(filter(&files, "d/e/x.md"), None);
        assert_eq!(filter(&files, "dd/x").as_deref(), Some("a"));
        assert_eq!(filter(&files, ".gitattributes"), None);
    }

    #[test]
    fn info_goes_before_all() {
        let files = [("", "* filter=a"), ("<info>", "x !filter")];
        assert_eq!(filter(&files, "x"), None);
        assert_eq!(filter(&files, "y").as_deref(), Some("a"));
    }

    #[test]
    fn macros_expand_where_they_are_set_and_only_top_files_define_them() {
        let files = [
            (
                "",
                "[attr]secret filter=git-crypt diff=git-crypt\n*.key secret\npublic.key -secret\nold.key !filter\n",
            ),
            ("d", "[attr]secret filter=other\nx secret\n"),
        ];
        assert_eq!(filter(&files, "a.key").as_deref(), Some("git-crypt"));
        // Another file's `-secret` forbids the expansion, and `!filter` on a later line wins over it.
        assert_eq!(filter(&files, "public.key"), None);
        assert_eq!(filter(&files, "old.key"), None);
        assert_eq!(filter(&files, "d/x").as_deref(), Some("git-crypt"));
    }

    #[test]
    fn macros_that_name_each_other_end() {
        let files = [("", "[attr]a b\n[attr]b a filter=f\nx a\n")];
        assert_eq!(filter(&files, "x").as_deref(), Some("f"));
    }

    #[test]
    fn lines_that_git_ignores_are_ignored() {
        let long = format!("x filter=a {}\n", "y ".repeat(2000));
        for text in ["!x filter=a", "x/ filter=a", "x filter=a in=va,lid a/b", "# x filter=a", &long] {
            assert_eq!(filter(&[("", text)], "x"), None, "{text}");
        }
        assert_eq!(filter(&[("", "\u{feff}\"a \\\"b\" filter=q\r\n")], "a \"b").as_deref(), Some("q"));
    }
}
