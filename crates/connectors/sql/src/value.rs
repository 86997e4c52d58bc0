//! A value on its way into a statement, decoded from JSON by the type the database wants.

/// A bound parameter. What a database cannot hold in one of these kinds travels as [`Value::Text`] in its own notation.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer that fits 64 bits.
    Integer(i64),
    /// A binary floating-point number.
    Float(f64),
    /// A decimal number, digits kept as they came: `"0.10"`.
    Decimal(String),
    /// Text, or the text form of any other type.
    Text(String),
    /// Raw JSON text, byte-exact.
    Json(String),
    /// A list, for array types.
    List(Vec<Value>),
    /// An object, for composite types and maps. No name comes twice.
    Object(Vec<(String, Value)>),
}

/// What a parameter looks like in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonKind {
    /// A string.
    String,
    /// An integer; also accepted as a decimal string with one reading.
    Integer,
    /// A number; also accepted as a decimal string, whose digits are kept.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Any JSON value.
    Json,
    /// A list of one kind.
    Array(Box<JsonKind>),
    /// An object of these members, each of which may be left out or null; also accepted as a string in the database's own
    /// notation.
    Object(Vec<(String, JsonKind)>),
    /// An object of any names, whose values are of one kind or null; also accepted as a string in the database's own
    /// notation.
    Map(Box<JsonKind>),
}
