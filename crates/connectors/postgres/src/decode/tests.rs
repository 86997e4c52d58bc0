//! Values made of values, from bytes as the server and its extensions send them.

use std::ops::ControlFlow;

use trunkline_sql::Rows;

use super::*;

/// Writes JSON, near enough.
#[derive(Debug, Default)]
struct Written(String);

impl Written {
    fn put(&mut self, text: &str) {
        if !self.0.is_empty() && !self.0.ends_with(['[', '{', ':']) {
            self.0.push(',');
        }
        self.0.push_str(text);
    }
}

impl Rows for Written {
    fn begin_row(&mut self) {}
    fn null(&mut self) {
        self.put("null");
    }
    fn boolean(&mut self, value: bool) {
        self.put(&value.to_string());
    }
    fn integer(&mut self, value: i64) {
        self.put(&value.to_string());
    }
    fn float(&mut self, value: f64) {
        self.put(&value.to_string());
    }
    fn float4(&mut self, value: f32) {
        self.put(&value.to_string());
    }
    fn decimal(&mut self, digits: &str) {
        self.put(digits);
    }
    fn text(&mut self, value: &str) {
        self.put(value);
    }
    fn plain(&mut self, value: &str) {
        self.put(value);
    }
    fn binary(&mut self, _: &[u8]) {}
    fn json(&mut self, value: &str) {
        self.put(value);
    }
    fn begin_list(&mut self) {
        self.put("[");
    }
    fn end_list(&mut self) {
        self.0.push(']');
    }
    fn begin_object(&mut self) {
        self.put("{");
    }
    fn key(&mut self, name: &str) {
        self.put(name);
        self.0.push(':');
    }
    fn end_object(&mut self) {
        self.0.push('}');
    }
    fn end_row(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn written(raw: &[u8], decoder: &Decoder) -> Option<String> {
    let mut rows = Written::default();
    write_cell(raw, decoder, &mut String::new(), &mut rows)?;
    Some(rows.0)
}

#[test]
fn a_vector_is_a_list_of_numbers() {
    let mut raw = vec![0, 2, 0, 0];
    raw.extend(1.5_f32.to_be_bytes());
    raw.extend((-0.1_f32).to_be_bytes());
    assert_eq!(written(&raw, &Decoder::Vector).as_deref(), Some("[1.5,-0.1]"));
    raw.pop();
    assert_eq!(written(&raw, &Decoder::Vector), None);
    assert_eq!(written(&[0, 3, 0, 0], &Decoder::Vector), None);
}

#[test]
fn a_composite_of_another_width_is_told_from_bytes_that_are_wrong() {
    let member = |name: &str, decoder| Member { name: name.into(), decoder };
    let pair = Decoder::Composite([member("a", Decoder::Int4), member("b", Decoder::Text)].into());
    let mut raw = vec![0, 0, 0, 2, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7];
    raw.extend([0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(written(&raw, &pair).as_deref(), Some("{a:7,b:null}"));
    assert!(!is_altered(&raw, &pair));
    assert!(is_altered(&[0, 0, 0, 3], &pair));
    assert_eq!(written(&raw[..20], &pair), None);
}

#[test]
fn what_stands_in_an_array_of_another_lower_bound_is_the_same() {
    let mut raw = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    raw.extend([0, 0, 0, 4, 0, 0, 0, 5]);
    assert_eq!(written(&raw, &Decoder::Array(Box::new(Decoder::Int4))).as_deref(), Some("[5]"));
}
