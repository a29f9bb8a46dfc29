//! "did you mean": the known word that is nearest to an unknown one.

/// Longer words are not compared: the cost is quadratic.
const LONGEST: usize = 64;

/// The candidate with the least Damerau-Levenshtein distance to `word`, if it is near enough to be meant: at most a
/// third of the longer word's length, as rustc has it (`find_best_match_for_name`). Case, `-` and `_` do not count.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let plain: Vec<char> = normalised(word);
    if plain.is_empty() || plain.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = normalised(candidate);
            if other.is_empty() || other.len() > LONGEST {
                return None;
            }
            let limit = plain.len().max(other.len()).max(3) / 3;
            let distance = distance(&plain, &other);
            (distance <= limit).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn normalised(word: &str) -> Vec<char> {
    word.chars()
        .take(LONGEST + 1)
        .flat_map(char::to_lowercase)
        .map(|c| if c == '_' { '-' } else { c })
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["phase", "phases", "steps", "rolled-out", "git-crypt"];
        for (typed, meant) in [
            ("phasse", "phase"),
            ("phaes", "phase"),
            ("Steps", "steps"),
            ("rolled_out", "rolled-out"),
            ("gitcrypt", "git-crypt"),
        ] {
            assert_eq!(nearest(typed, known), Some(meant), "{typed}");
        }
    }

    #[test]
    fn another_word_is_not_guessed() {
        assert_eq!(nearest("timeout", ["phase", "steps"]), None);
        assert_eq!(nearest("", ["phase"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["phase"]), None);
    }

    proptest! {
        #[test]
        fn a_known_word_is_nearest_to_itself(word in "[a-z-]{1,20}", other in "[a-z-]{1,20}") {
            let found = nearest(&word, [word.as_str(), other.as_str()]);
            prop_assert_eq!(found, Some(word.as_str()));
        }
    }
}
