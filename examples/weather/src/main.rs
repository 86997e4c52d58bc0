//! Typed errors, shared state, and output that programs can read.
//!
//! ```sh
//! cargo run -p trunkline-example-weather                  # HTTP, http://127.0.0.1:3000/mcp
//! cargo run -p trunkline-example-weather -- --stdio       # one client over stdin and stdout
//! ```
//!
//! You will see two tools. `weather` tells what a month is usually like in one of eight cities, in `celsius` unless you ask for
//! `fahrenheit`, as structured data whose schema is listed with the tool. A city that is not in the table is an error result
//! that names those that are. `cities` lists them. The numbers are climate averages over many years, rounded: no forecast, and
//! no network.

use std::sync::Arc;

use clap::Parser;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trunkline::{Json, ServeError, Server, State, ToolError, tool};

/// What the tools share: made once, cloned for each call, so what is large sits in an `Arc`.
type Almanac = Arc<[City]>;

struct City {
    name: &'static str,
    country: &'static str,
    /// Average temperature of each month, January first, in degrees Celsius.
    celsius: [i8; 12],
    /// Rain and melted snow of each month in millimetres.
    rain_mm: [u16; 12],
}

/// Why there is no answer. Each text says what was found and what would work: a model reads it and tries again.
#[derive(Debug, thiserror::Error)]
enum WeatherError {
    #[error("no city called `{city}`; there are {known}")]
    UnknownCity { city: String, known: String },
}

/// The one line that lets `?` and `Result<_, WeatherError>` end a tool.
impl From<WeatherError> for ToolError {
    fn from(error: WeatherError) -> Self {
        Self::from_error(error)
    }
}

/// The unit of temperatures.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Units {
    #[default]
    Celsius,
    Fahrenheit,
}

/// What a month is usually like.
#[derive(Serialize, JsonSchema)]
struct Weather {
    city: String,
    country: String,
    /// 1 is January.
    month: u8,
    /// Average of day and night.
    temperature: f64,
    units: Units,
    /// Rain and melted snow of the whole month in millimetres.
    rain_mm: u16,
}

/// Tells what the weather is usually like in a city, by month: an average over many years, not a forecast.
#[tool(read_only, idempotent, open_world = false)]
async fn weather(
    State(almanac): State<Almanac>,
    /// Name of the city, in English.
    #[arg(min_length = 1, max_length = 60)]
    city: String,
    /// 1 is January, 12 is December.
    #[arg(range = 1..=12)]
    month: u8,
    #[arg(default)] units: Units,
) -> Result<Json<Weather>, WeatherError> {
    let found = find(&almanac, &city)?;
    let at = usize::from(month.saturating_sub(1));
    let celsius = f64::from(found.celsius.get(at).copied().unwrap_or_default());
    Ok(Json(Weather {
        city: found.name.to_owned(),
        country: found.country.to_owned(),
        month,
        temperature: match units {
            Units::Celsius => celsius,
            Units::Fahrenheit => celsius * 9.0 / 5.0 + 32.0,
        },
        units,
        rain_mm: found.rain_mm.get(at).copied().unwrap_or_default(),
    }))
}

/// Lists the cities whose weather is known.
#[tool(read_only, idempotent, open_world = false)]
fn cities(State(almanac): State<Almanac>) -> String {
    names(&almanac)
}

fn find<'a>(almanac: &'a [City], city: &str) -> Result<&'a City, WeatherError> {
    let same = |known: &&City| known.name.eq_ignore_ascii_case(city.trim());
    almanac
        .iter()
        .find(same)
        .ok_or_else(|| WeatherError::UnknownCity { city: city.to_owned(), known: names(almanac) })
}

fn names(almanac: &[City]) -> String {
    almanac.iter().map(|city| city.name).collect::<Vec<_>>().join(", ")
}

#[derive(Parser)]
struct Cli {
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Serve one client over stdin and stdout instead.
    #[arg(long)]
    stdio: bool,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    // Over stdio stdout belongs to the protocol, so the log goes to stderr.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let server =
        Server::new("weather-server", "1.0.0").state(Almanac::from(CITIES)).tool(weather).tool(cities);
    if cli.stdio { server.run_stdio().await } else { server.run(&cli.listen).await }
}

/// Averages as climate tables give them, rounded to whole degrees and about five millimetres.
#[rustfmt::skip]
const CITIES: [City; 8] = [
    City { name: "Cairo", country: "Egypt", celsius: [14, 15, 18, 22, 25, 28, 29, 28, 27, 24, 19, 15], rain_mm: [5, 5, 5, 0, 0, 0, 0, 0, 0, 0, 5, 5] },
    City { name: "London", country: "United Kingdom", celsius: [5, 6, 8, 10, 13, 16, 19, 18, 16, 12, 8, 6], rain_mm: [55, 40, 40, 45, 45, 45, 45, 55, 50, 65, 65, 55] },
    City { name: "Mumbai", country: "India", celsius: [24, 25, 27, 29, 30, 29, 28, 27, 28, 29, 28, 26], rain_mm: [0, 0, 0, 0, 15, 520, 840, 550, 340, 90, 10, 5] },
    City { name: "New York", country: "United States", celsius: [1, 2, 6, 12, 17, 22, 25, 24, 21, 15, 9, 4], rain_mm: [90, 80, 110, 105, 100, 115, 115, 115, 110, 110, 90, 110] },
    City { name: "Reykjavik", country: "Iceland", celsius: [1, 1, 1, 4, 7, 10, 12, 11, 8, 5, 3, 1], rain_mm: [85, 85, 80, 60, 55, 45, 50, 65, 90, 75, 80, 95] },
    City { name: "Singapore", country: "Singapore", celsius: [27, 27, 28, 28, 29, 29, 28, 28, 28, 28, 27, 27], rain_mm: [220, 105, 150, 165, 165, 135, 145, 150, 125, 170, 250, 330] },
    City { name: "Sydney", country: "Australia", celsius: [23, 23, 22, 19, 16, 13, 13, 14, 16, 18, 20, 22], rain_mm: [100, 120, 130, 130, 120, 130, 100, 80, 70, 80, 85, 80] },
    City { name: "Tokyo", country: "Japan", celsius: [5, 6, 9, 14, 19, 22, 26, 27, 23, 18, 13, 8], rain_mm: [60, 55, 115, 135, 140, 170, 155, 155, 225, 235, 95, 60] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_with_state_is_given_it_in_tests() {
        let almanac = State(Almanac::from(CITIES));
        let result = weather::call(almanac, "tokyo".into(), 8, Units::Fahrenheit).await;
        assert!(result.is_ok_and(|Json(weather)| weather.temperature == 80.6 && weather.city == "Tokyo"));
    }

    #[test]
    fn an_unknown_city_names_the_known_ones() {
        let error = find(&CITIES, "Atlantis").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("no city called `Atlantis`; there are Cairo, London"), "{error}");
    }
}
