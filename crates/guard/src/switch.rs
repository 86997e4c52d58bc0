//! The value of a key that is a table, or `false` where what it is about is not wanted.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// The value of a key that takes `false` to turn something off, or a table; and `true` where its defaults say all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch<T> {
    /// `false`.
    Off,
    /// A table, or `true`.
    On(T),
}

/// A table that may be `false` instead.
pub trait Switched: Sized {
    /// What may be written, in words, for who wrote something else.
    const EXPECTED: &'static str;

    /// Returns what `true` stands for; `None` where it says too little.
    fn on() -> Option<Self>;
}

impl<'de, T: Deserialize<'de> + Switched> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OffOrTable<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Switched> Visitor<'de> for OffOrTable<T> {
            type Value = Switch<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<Switch<T>, E> {
                match T::on() {
                    _ if !is_on => Ok(Switch::Off),
                    Some(table) => Ok(Switch::On(table)),
                    None => Err(E::invalid_value(de::Unexpected::Bool(is_on), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Switch<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
            }
        }

        deserializer.deserialize_any(OffOrTable(PhantomData))
    }
}

impl<T: JsonSchema + Switched> JsonSchema for Switch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}Switch", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<T>();
        match T::on() {
            Some(_) => json_schema!({ "anyOf": [{ "type": "boolean" }, table] }),
            None => json_schema!({ "anyOf": [{ "const": false }, table] }),
        }
    }
}
