//! Quantities: `500m`, `1Gi` (apimachinery pkg/api/resource).

use serde_json::Value;

const BINARY: [(&str, i128); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];

/// Decimal suffixes in nano units.
const DECIMAL: [(&str, i128); 10] = [
    ("n", 1),
    ("u", 1_000),
    ("m", 1_000_000),
    ("", 1_000_000_000),
    ("k", 1_000_000_000_000),
    ("M", 1_000_000_000_000_000),
    ("G", 1_000_000_000_000_000_000),
    ("T", 1_000_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000_000_000),
];

const NANO: i128 = 1_000_000_000;

/// A quantity in nano units, and whether it is written with a binary suffix.
fn parsed(text: &str) -> Option<(i128, bool)> {
    let end = text
        .find(|one: char| !(one.is_ascii_digit() || matches!(one, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && part.is_empty()) || part.len() > 9 || whole.len() > 18 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let mantissa = digits(whole)?.checked_mul(scale)?.checked_add(digits(part)?)?;
    let (unit, binary) = match BINARY.iter().find(|(name, _)| *name == suffix) {
        Some((_, unit)) => (unit.checked_mul(NANO)?, true),
        None => (DECIMAL.iter().find(|(name, _)| *name == suffix)?.1, false),
    };
    // Rounded up, as the API server does.
    let product = mantissa.checked_mul(unit)?;
    let nano = product / scale + i128::from(product % scale != 0);
    Some((sign * nano, binary))
}

/// A quantity in nano units; `None` where it is none that this program reads.
pub fn nano(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => parsed(text).map(|(nano, _)| nano),
        Value::Number(number) => parsed(&number.to_string()).map(|(nano, _)| nano),
        _ => None,
    }
}

/// The canonical form of a quantity, `None` where it is none (validation says so).
pub fn canonical(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (nano, binary) = parsed(&text)?;
    if nano == 0 {
        return Some("0".to_owned());
    }
    // Below 1024 a binary quantity is written in decimal.
    if binary && nano % NANO == 0 && (nano / NANO).abs() >= 1024 {
        let number = nano / NANO;
        let (suffix, unit) = BINARY
            .iter()
            .rev()
            .find(|(_, unit)| number % unit == 0)
            .map_or(("", 1), |(suffix, unit)| (*suffix, *unit));
        return Some(format!("{}{suffix}", number / unit));
    }
    let (suffix, unit) = DECIMAL.iter().rev().find(|(_, unit)| nano % unit == 0)?;
    Some(format!("{}{suffix}", nano / unit))
}

/// Nano units as a decimal quantity.
pub fn written(nano: i128, like: &Value) -> String {
    let binary = like.as_str().and_then(parsed).is_some_and(|(_, binary)| binary);
    if binary && nano % NANO == 0 {
        let bytes = nano / NANO;
        return canonical(&Value::from(format!("{}Ki", bytes / 1024)))
            .filter(|_| bytes % 1024 == 0)
            .unwrap_or_else(|| bytes.to_string());
    }
    DECIMAL
        .iter()
        .rev()
        .find(|(_, unit)| nano != 0 && nano % unit == 0)
        .map_or_else(|| "0".to_owned(), |(suffix, unit)| format!("{}{suffix}", nano / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (written, canonical_form) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("20Gi", "20Gi"),
            ("0.5Gi", "512Mi"),
            ("1000Ki", "1000Ki"),
            ("1000", "1k"),
            ("100M", "100M"),
            ("512", "512"),
            ("0", "0"),
        ] {
            assert_eq!(canonical(&Value::from(written)).as_deref(), Some(canonical_form), "{written}");
        }
        for none in ["", "x", "1.2.3", "1Qi", "-"] {
            assert_eq!(canonical(&Value::from(none)), None, "{none}");
        }
    }
}
