//! Durations in Go's notation (`time.ParseDuration`, `Duration.String`), in nanoseconds.

/// Reads `1h30m`, `1.5s`, `720h`, `0`; `None` for anything else, and for what Go's int64 cannot hold.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (digits, behind) = rest.split_at(number);
        let unit_end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let scale: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut part = whole.checked_mul(scale)?;
        let mut place = scale;
        for digit in fraction.chars().map_while(|c| c.to_digit(10)) {
            place /= 10;
            part = part.checked_add(i64::from(digit) * place)?;
        }
        total = total.checked_add(part)?;
        rest = behind;
    }
    Some(if negative { -total } else { total })
}

/// As Go writes it: `720h0m0s`, `1m0s`, `1.5s`, `250ms`, `0s`.
pub(super) fn shown(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    match all {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{sign}{all}ns"),
        1_000..1_000_000 => return format!("{sign}{}µs", fraction(all, 1_000)),
        1_000_000..1_000_000_000 => return format!("{sign}{}ms", fraction(all, 1_000_000)),
        _ => {}
    }
    const MINUTE: u64 = 60_000_000_000;
    let (hours, minutes) = (all / MINUTE / 60, all / MINUTE % 60);
    let seconds = fraction(all % MINUTE, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn fraction(number: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", number / unit, number % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_go_reads_and_writes() {
        assert_eq!(parse("720h"), Some(720 * 3_600_000_000_000));
        assert_eq!(parse("1h30m"), Some(5_400_000_000_000));
        assert_eq!(
            (parse("1.5s"), parse("0"), parse("-2ms")),
            (Some(1_500_000_000), Some(0), Some(-2_000_000))
        );
        for no in ["", "30d", "5", "h", "1.2.3s", ".s", "s5", "9999999999h", "1w", "-"] {
            assert_eq!(parse(no), None, "{no}");
        }
        assert_eq!(shown(720 * 3_600_000_000_000), "720h0m0s");
        assert_eq!((shown(1_500_000_000), shown(90_250_000_000)), ("1.5s".to_owned(), "1m30.25s".to_owned()));
        assert_eq!(
            (shown(250_000_000), shown(1_500), shown(0)),
            ("250ms".to_owned(), "1.5µs".to_owned(), "0s".to_owned())
        );
        assert_eq!((shown(60_000_000_000), shown(5_000_000_000)), ("1m0s".to_owned(), "5s".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(nanoseconds in -10_000_000_000_000_000..10_000_000_000_000_000_i64) {
            prop_assert_eq!(parse(&shown(nanoseconds)), Some(nanoseconds));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.hmsuµn]{0,12}") {
            let _ = parse(&text);
        }
    }
}
