//! Reading JSON that came from elsewhere. What names a field twice is refused: two programs could read it as two
//! different images under one digest.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads one JSON text. Nesting is limited by the reader.
///
/// # Errors
/// It is no JSON, not of the type's shape, or names a field twice.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Distinct.deserialize(&mut reader)?;
    reader.end()?;
    serde_json::from_slice(bytes)
}

/// Go writes an empty list or map as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Visits a value to see that no object names a field twice.
struct Distinct;

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Distinct)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("the field {name:?} is there twice")));
            }
            names.insert(name);
            map.next_value_seed(Distinct)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn error(text: &str) -> String {
        parse::<Value>(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn every_kind_of_value_passes() {
        let text = r#"{"a":[1,-1,1.5,"x",true,null,{}],"b":{"a":1}}"#;
        assert_eq!(parse::<Value>(text.as_bytes()).expect("good").to_string(), text);
    }

    #[test]
    fn a_field_named_twice_is_found_at_any_depth() {
        assert!(error(r#"{"a":1,"a":1}"#).contains("\"a\" is there twice"));
        assert!(error(r#"{"x":[{"a":1,"\u0061":1}]}"#).contains("\"a\" is there twice"));
    }

    #[test]
    fn deep_nesting_and_huge_numbers_are_errors() {
        assert!(error(&"[".repeat(100_000)).contains("recursion"));
        assert!(error(&"{\"a\":".repeat(100_000)).contains("recursion"));
        assert!(error("1e999").contains("out of range"));
        assert!(error("{} x").contains("trailing"));
    }
}
