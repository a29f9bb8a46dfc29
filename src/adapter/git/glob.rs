//! Glob patterns as gitattributes and gitignore use them (gitignore(5), "PATTERN FORMAT"), over bytes.
//!
//! A pattern is compiled once and matched in time proportional to pattern times text, whatever its stars are.

/// One element of a compiled pattern.
#[derive(Clone, Debug)]
enum Token {
    /// Exactly this byte.
    Byte(u8),
    /// `?`: one byte.
    One,
    /// `*`, or a `**` that does not stand alone between slashes: any run of bytes.
    Run,
    /// `**` that stands alone at the end or before an escaped slash: any run of bytes, slashes too.
    DeepRun,
    /// `**/`: nothing, or any run of bytes up to and including a slash.
    Folders,
    /// `[…]`: one byte of 256, as a set of bits.
    Class(Box<[u64; 4]>),
    /// What no text matches: an unclosed class, a lonely backslash at the end.
    Never,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    tokens: Vec<Token>,
    /// Whether `/` is special: neither `?`, `*` nor a class match it.
    slashes: bool,
    fold: bool,
}

/// Whether the byte begins something other than itself in a pattern.
pub(super) fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

impl Glob {
    /// Compiles a pattern. `slashes`: whether `/` is special; `fold`: whether case is ignored (ASCII).
    pub(super) fn new(pattern: &[u8], slashes: bool, fold: bool) -> Self {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(&byte) = pattern.get(at) {
            match byte {
                b'\\' => match pattern.get(at + 1) {
                    Some(&escaped) => {
                        tokens.push(Token::Byte(lower(escaped, fold)));
                        at += 2;
                    }
                    None => {
                        tokens.push(Token::Never);
                        at += 1;
                    }
                },
                b'?' => {
                    tokens.push(Token::One);
                    at += 1;
                }
                b'*' => {
                    let end = at
                        + pattern.get(at..).map_or(0, |rest| rest.iter().take_while(|b| **b == b'*').count());
                    let double = end - at >= 2;
                    let alone_before = at == 0 || pattern.get(at - 1) == Some(&b'/');
                    let next = pattern.get(end);
                    let escaped_slash = next == Some(&b'\\') && pattern.get(end + 1) == Some(&b'/');
                    at = end;
                    tokens.push(if !slashes {
                        Token::DeepRun
                    } else if double && alone_before && next == Some(&b'/') {
                        at += 1;
                        Token::Folders
                    } else if double && alone_before && (next.is_none() || escaped_slash) {
                        Token::DeepRun
                    } else {
                        Token::Run
                    });
                }
                b'[' => match class(pattern, at + 1, fold) {
                    Some((bits, end)) => {
                        tokens.push(Token::Class(Box::new(bits)));
                        at = end;
                    }
                    None => {
                        tokens.push(Token::Never);
                        at = pattern.len();
                    }
                },
                _ => {
                    tokens.push(Token::Byte(lower(byte, fold)));
                    at += 1;
                }
            }
        }
        Self { tokens, slashes, fold }
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        // reached[p]: the tokens so far can end before text[p].
        let mut reached = vec![false; text.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for token in &self.tokens {
            let mut next = vec![false; text.len() + 1];
            let mut alive = false;
            // Whether a run that began further left still goes on here.
            let mut running = false;
            for (position, &here) in reached.iter().enumerate() {
                let byte = text.get(position).map(|byte| lower(*byte, self.fold));
                let mut mark = |position: usize| {
                    if let Some(slot) = next.get_mut(position) {
                        *slot = true;
                        alive = true;
                    }
                };
                match token {
                    Token::Never => {}
                    Token::Byte(wanted) => {
                        if here && byte == Some(*wanted) {
                            mark(position + 1);
                        }
                    }
                    Token::One => {
                        if here && byte.is_some_and(|byte| !(self.slashes && byte == b'/')) {
                            mark(position + 1);
                        }
                    }
                    Token::Class(bits) => {
                        if here
                            && byte
                                .is_some_and(|byte| !(self.slashes && byte == b'/') && contains(bits, byte))
                        {
                            mark(position + 1);
                        }
                    }
                    Token::Run => {
                        running |= here;
                        if running {
                            mark(position);
                            running = byte != Some(b'/');
                        }
                    }
                    Token::DeepRun => {
                        running |= here;
                        if running {
                            mark(position);
                        }
                    }
                    Token::Folders => {
                        if here {
                            mark(position);
                        }
                        running |= here;
                        if running && byte == Some(b'/') {
                            mark(position + 1);
                        }
                    }
                }
            }
            if !alive {
                return false;
            }
            reached = next;
        }
        reached.last() == Some(&true)
    }
}

fn lower(byte: u8, fold: bool) -> u8 {
    if fold { byte.to_ascii_lowercase() } else { byte }
}

fn contains(bits: &[u64; 4], byte: u8) -> bool {
    bits.get(usize::from(byte / 64)).is_some_and(|word| word >> (byte % 64) & 1 == 1)
}

fn insert(bits: &mut [u64; 4], byte: u8) {
    if let Some(word) = bits.get_mut(usize::from(byte / 64)) {
        *word |= 1 << (byte % 64);
    }
}

/// The bytes of a class that begins behind its `[`, and the position behind its `]`. `None`: it is never closed, or
/// names a class that does not exist; nothing matches then.
fn class(pattern: &[u8], start: usize, fold: bool) -> Option<([u64; 4], usize)> {
    let mut bits = [0u64; 4];
    let mut at = start;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let first = at;
    // The lower end of a range, if a `-` follows.
    let mut low: Option<u8> = None;
    loop {
        let byte = *pattern.get(at)?;
        if byte == b']' && at > first {
            break;
        }
        match byte {
            b'[' if pattern.get(at + 1) == Some(&b':') => {
                let close = at + 2 + pattern.get(at + 2..)?.iter().position(|b| *b == b']')?;
                if close > at + 2 && pattern.get(close - 1) == Some(&b':') {
                    for member in 0..=u8::MAX {
                        if in_named_class(pattern.get(at + 2..close - 1)?, member, fold)? {
                            insert(&mut bits, member);
                        }
                    }
                    low = None;
                    at = close + 1;
                } else {
                    insert(&mut bits, b'[');
                    low = Some(b'[');
                    at += 1;
                }
            }
            b'-' if low.is_some() && pattern.get(at + 1).is_some_and(|b| *b != b']') => {
                at += 1;
                let mut high = *pattern.get(at)?;
                if high == b'\\' {
                    at += 1;
                    high = *pattern.get(at)?;
                }
                for member in 0..=u8::MAX {
                    let inside = |byte: u8| low.is_some_and(|low| (low..=high).contains(&byte));
                    if inside(member)
                        || (fold && member.is_ascii_lowercase() && inside(member.to_ascii_uppercase()))
                    {
                        insert(&mut bits, member);
                    }
                }
                low = None;
                at += 1;
            }
            _ => {
                let mut member = byte;
                if member == b'\\' {
                    at += 1;
                    member = *pattern.get(at)?;
                }
                insert(&mut bits, member);
                low = Some(member);
                at += 1;
            }
        }
    }
    if negated {
        for word in &mut bits {
            *word = !*word;
        }
    }
    Some((bits, at + 1))
}

/// Whether the byte is in a POSIX class; `None` for a name that is none.
fn in_named_class(name: &[u8], byte: u8, fold: bool) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => byte == b' ' || byte == b'\t',
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase() || (fold && byte.is_ascii_lowercase()),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern.as_bytes(), true, false).matches(text.as_bytes())
    }

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        assert!(matches("a/*.yaml", "a/b.yaml"));
        assert!(!matches("a/*.yaml", "a/b/c.yaml"));
        assert!(matches("a/**", "a/b/c.yaml"));
        assert!(!matches("a/**", "a"));
        assert!(matches("**/x", "x"));
        assert!(matches("**/x", "a/b/x"));
        assert!(matches("a/**/x", "a/x"));
        assert!(matches("a/**/x", "a/b/c/x"));
        assert!(!matches("a**x", "a/x"));
        assert!(matches("a**x", "abcx"));
        assert!(matches("*/x", "a/x"));
        assert!(!matches("*/x", "a/b/x"));
    }

    #[test]
    fn classes_and_escapes() {
        assert!(matches("[a-c]?[!0-9]", "bxy"));
        assert!(!matches("[a-c]?[!0-9]", "bx1"));
        assert!(!matches("[!a]", "/"));
        assert!(matches("[]a]", "]"));
        assert!(matches("[[:digit:]_]", "_"));
        assert!(!matches("[[:nonsense:]]", "a"));
        assert!(!matches("[a", "[a"));
        assert!(matches(r"\*", "*"));
        assert!(!matches(r"a\", "a\\"));
        assert!(Glob::new(b"SECRET*", true, true).matches(b"secrets"));
    }

    proptest! {
        #[test]
        fn any_bytes_compile_and_match_without_a_panic(
            pattern in proptest::collection::vec(any::<u8>(), 0..40),
            text in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for slashes in [false, true] {
                Glob::new(&pattern, slashes, false).matches(&text);
            }
        }
    }
}
