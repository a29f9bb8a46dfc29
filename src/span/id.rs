//! Ids of traces and spans, in the forms that they travel in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not the id of a {what}: {cause}")]
pub struct IdError {
    what: &'static str,
    text: crate::text::Clean,
    cause: &'static str,
}

/// Reads hex digits of any case into `N` bytes; fewer digits are padded with zeros on the left.
fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > 2 * N {
        return Err("it is too long");
    }
    let mut bytes = [0; N];
    for (place, digit) in text.bytes().rev().enumerate() {
        let digit = char::from(digit)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
            .ok_or("it is not hexadecimal")?;
        // The length was checked: the last digit belongs to the last byte.
        if let Some(byte) = bytes.iter_mut().rev().nth(place / 2) {
            *byte |= if place % 2 == 0 { digit } else { digit << 4 };
        }
    }
    Ok(bytes)
}

/// Reads base64 of exactly `N` bytes.
fn from_base64<const N: usize>(text: &str) -> Result<[u8; N], &'static str> {
    let bytes = STANDARD.decode(text).map_err(|_| "it is neither hexadecimal nor base64")?;
    bytes.try_into().map_err(|_| "it has not the right number of bytes")
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The id of these bytes; `None` for zeros, which the W3C trace context and OTLP call invalid.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                if bytes == [0; $bytes] { None } else { Some(Self(bytes)) }
            }

            /// Its bytes.
            pub fn bytes(&self) -> [u8; $bytes] {
                self.0
            }

            /// Reads hex of any case. Leading zeros may be missing: Tempo's search strips them.
            ///
            /// # Errors
            /// When it is not hex, too long, or zero.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                Self::checked(text, from_hex(text))
            }

            /// Reads the standard base64 of the bytes, as Tempo renders ids of fetched traces.
            ///
            /// # Errors
            /// When it is not base64 of the right number of bytes, or zero.
            pub fn from_base64(text: &str) -> Result<Self, IdError> {
                Self::checked(text, from_base64(text))
            }

            /// Reads full-length hex or base64: fetched traces hold the one or the other, by version and endpoint.
            ///
            /// # Errors
            /// When it is neither, or zero.
            pub fn from_wire(text: &str) -> Result<Self, IdError> {
                // 2N hex digits are never the base64 of N bytes, which is shorter and padded.
                Self::checked(text, if text.len() == 2 * $bytes { from_hex(text) } else { from_base64(text) })
            }

            fn checked(text: &str, bytes: Result<[u8; $bytes], &'static str>) -> Result<Self, IdError> {
                bytes.and_then(|bytes| Self::from_bytes(bytes).ok_or("it is zero")).map_err(|cause| IdError {
                    what: $what,
                    text: crate::text::Clean::new(text.chars().take(64).collect::<String>()),
                    cause,
                })
            }
        }

        impl fmt::Display for $name {
            /// Lower-case hex of full length.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id!(
    /// The id of a trace: 16 bytes, not all zero; 32 hex digits as text.
    TraceId, 16, "trace"
);
id!(
    /// The id of a span: 8 bytes, not all zero; 16 hex digits as text.
    SpanId, 8, "span"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        let id = TraceId::parse("0af7651916cd43dd8448eb211c80319c").unwrap();
        assert_eq!(TraceId::parse("AF7651916CD43DD8448EB211C80319C").unwrap(), id);
        assert_eq!(TraceId::from_wire("CvdlGRbNQ92ESOshHIAxnA==").unwrap(), id);
        assert_eq!(TraceId::from_wire("0AF7651916CD43DD8448EB211C80319C").unwrap(), id);
        assert_eq!(SpanId::from_wire("t61rcWkgMzE=").unwrap(), SpanId::parse("b7ad6b7169203331").unwrap());
        assert_eq!(SpanId::parse("1").unwrap().to_string(), "0000000000000001");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"0af7651916cd43dd8448eb211c80319c\"");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in
            ["", "0", "00000000000000000000000000000000", "xyz", "0af7651916cd43dd8448eb211c80319c0", "ä"]
        {
            assert!(TraceId::parse(text).is_err(), "{text}");
        }
        for text in ["", "AAAAAAAAAAAAAAAAAAAAAA==", "CvdlGRbNQ90=", "af7651916cd43dd8448eb211c80319c"] {
            assert!(TraceId::from_wire(text).is_err(), "{text}");
        }
        let error = TraceId::parse("0x12").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"0x12 is not the id of a trace: it is not hexadecimal");
    }

    proptest! {
        #[test]
        fn every_id_comes_back(bytes in any::<[u8; 16]>()) {
            prop_assume!(bytes != [0; 16]);
            let id = TraceId::from_bytes(bytes).unwrap();
            let hex = id.to_string();
            prop_assert_eq!(hex.len(), 32);
            prop_assert_eq!(TraceId::parse(hex.trim_start_matches('0')).unwrap(), id);
            prop_assert_eq!(TraceId::from_wire(&hex.to_uppercase()).unwrap(), id);
            prop_assert_eq!(TraceId::from_wire(&STANDARD.encode(bytes)).unwrap(), id);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = (TraceId::parse(&text), SpanId::parse(&text), TraceId::from_wire(&text), SpanId::from_wire(&text));
        }
    }
}
