//! `trunkline schema`: the JSON Schema of the config file, for editors.

use std::process::ExitCode;

use crate::config::schema;
use crate::output;

/// Prints the schema.
pub(crate) fn run() -> ExitCode {
    output::result(&text());
    ExitCode::SUCCESS
}

fn text() -> String {
    format!("{:#}\n", schema::of_the_file())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn the_committed_schema_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/trunkline.schema.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        if committed != super::text() {
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                std::fs::write(path, super::text()).unwrap();
                return;
            }
            panic!(
                "trunkline.schema.json is out of date; run this test with UPDATE_SCHEMA=1 or `trunkline schema >` it"
            );
        }
    }

    #[test]
    fn every_key_is_documented() {
        fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (key, property) in properties {
                    if property.get("description").is_none() {
                        missing.push(format!("{path}.{key}"));
                    }
                }
            }
            match schema {
                Value::Object(members) => {
                    members.iter().for_each(|(key, value)| walk(value, &format!("{path}.{key}"), missing))
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, path, missing)),
                _ => {}
            }
        }
        let mut missing = Vec::new();
        walk(&crate::config::schema::of_the_file(), "", &mut missing);
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn the_schema_takes_the_shop_and_refuses_an_unknown_key() {
        let validator = jsonschema::validator_for(&crate::config::schema::of_the_file()).unwrap();
        for shop in [
            include_str!("../../../../examples/shop/trunkline.toml"),
            include_str!("../../../../examples/shop/trunkline.postgres.toml"),
        ] {
            let mut file: Value = toml::from_str(shop).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&file)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
            file["connectors"]["shop"]["pat"] = "x".into();
            assert!(!validator.is_valid(&file));
        }
    }
}
