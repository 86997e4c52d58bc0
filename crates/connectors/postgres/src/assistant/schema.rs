//! The tool `schema`: an overview, a list by pages, a search by words, one table in full.

mod similar;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use trunkline_sql::{DatabaseError, Value};

use super::Asked;
use super::answer::{Fault, arguments, bounded};

pub(super) use table::Table;

/// What is in the database, as much as was asked for.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    schemas: Option<Vec<SchemaLine>>,
    tables: Vec<Table>,
    /// How many tables there are, or fit the search, in all
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// How many tables the database user may not read, and are left out
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<u64>,
    /// What to do next
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// Give it as `cursor` for the next page
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Something was cut to fit
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
}

/// One schema.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub(super) struct SchemaLine {
    pub(super) name: String,
    /// How many tables and views it has
    tables: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    search: Option<String>,
    schema: Option<String>,
    table: Option<String>,
    detail: Option<Detail>,
    cursor: Option<String>,
}

/// How much is told of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Detail {
    Names,
    Summary,
    Full,
}

/// Returns the schema of the arguments.
pub(super) fn input() -> Json {
    json!({
        "type": "object",
        "properties": {
            "search": { "type": "string", "description": "Words to look for in names, columns, comments and enum values, best hits first" },
            "schema": { "type": "string", "description": "Only this schema; alone, its tables are listed" },
            "table": { "type": "string", "description": "All of this table or view; `schema.table` works, too" },
            "detail": { "type": "string", "enum": ["names", "summary", "full"], "description": "How much of each table. Default: full with `table`, else names; summary adds comment, size and columns" },
            "cursor": { "type": "string", "description": "The `nextCursor` of the page before" },
        },
        "additionalProperties": false,
    })
}

/// What the overview asks for.
#[derive(Debug, Deserialize)]
struct Overview {
    schemas: Vec<SchemaLine>,
    total: u64,
    hidden: u64,
    /// The names of all schemas.
    names: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Named {
    found: Vec<Table>,
    hidden: bool,
    others: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct Found {
    total: u64,
    tables: Vec<Table>,
}

/// Answers a call.
///
/// # Errors
/// [`Fault`].
pub(super) async fn call(asked: &Asked<'_>, raw: &[u8]) -> Result<Json, Fault> {
    let mut asked_for: Arguments = arguments(raw)?;
    for text in [&mut asked_for.search, &mut asked_for.schema, &mut asked_for.table, &mut asked_for.cursor] {
        *text = text.take().filter(|text| !text.trim().is_empty());
    }
    match (&asked_for.search, &asked_for.table) {
        (Some(_), Some(_)) => {
            Err(Fault::Said("give `search` or `table`, not both; `schema` goes with either".to_owned()))
        }
        (Some(search), None) => find(asked, &asked_for, search).await,
        (None, Some(table)) => one(asked, &asked_for, table).await,
        (None, None) => list(asked, &asked_for).await,
    }
}

// ---- one table ----

async fn one(asked: &Asked<'_>, asked_for: &Arguments, table: &str) -> Result<Json, Fault> {
    let found = named(asked, asked_for.schema.as_deref(), table).await?;
    let elsewhere: Vec<&str> = found.iter().skip(1).filter_map(|table| table.schema.as_deref()).collect();
    let note = (!elsewhere.is_empty())
        .then(|| format!("there are more of this name; give `schema` for the one in {}", spoken(&elsewhere)));
    let first: Vec<Table> = found.into_iter().take(1).collect();
    let tables = detailed(asked, first, asked_for.detail.unwrap_or(Detail::Full)).await?;
    bounded(&SchemaAnswer { tables, note, ..SchemaAnswer::default() }, asked.most_bytes())
}

/// Returns the tables of a name; when there is none, says which was probably meant.
async fn named(asked: &Asked<'_>, schema: Option<&str>, table: &str) -> Result<Vec<Table>, Fault> {
    let mut named = look(asked, schema, table).await?;
    if named.found.is_empty()
        && schema.is_none()
        && let Some((schema, table)) = table.split_once('.')
    {
        named = look(asked, Some(schema), table).await?;
    }
    if !named.found.is_empty() {
        return Ok(named.found);
    }
    if named.hidden {
        return Err(Fault::Said(format!(
            "`{table}` exists and the database user of this connector may not read it"
        )));
    }
    let plain = table.rsplit('.').next().unwrap_or(table);
    let near = similar::nearest(plain, &named.others, 5);
    let near: Vec<String> = near.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
    let near: Vec<&str> = near.iter().map(String::as_str).collect();
    let help = if near.is_empty() {
        "call without arguments for an overview".to_owned()
    } else {
        format!("the nearest are {}", spoken(&near))
    };
    Err(Fault::Said(format!("there is no table `{table}`; {help}")))
}

/// Makes sure that there is such a table.
///
/// # Errors
/// [`Fault::Said`], with what was probably meant.
pub(super) async fn known(asked: &Asked<'_>, schema: Option<&str>, table: &str) -> Result<(), Fault> {
    named(asked, schema, table).await.map(drop)
}

async fn look(asked: &Asked<'_>, schema: Option<&str>, table: &str) -> Result<Named, DatabaseError> {
    asked.fixed(|all| &all.named, vec![text(schema), text(Some(table))]).await
}

/// Returns one table in full; `None` when the login sees none of that name.
///
/// # Errors
/// [`Fault`].
pub(super) async fn full(asked: &Asked<'_>, schema: &str, table: &str) -> Result<Option<Json>, Fault> {
    let named = look(asked, Some(schema), table).await?;
    if named.found.is_empty() {
        return Ok(None);
    }
    let mut tables = detailed(asked, named.found, Detail::Full).await?;
    match tables.pop() {
        Some(table) => bounded(&table, asked.most_bytes()).map(Some),
        None => Ok(None),
    }
}

// ---- search ----

async fn find(asked: &Asked<'_>, asked_for: &Arguments, search: &str) -> Result<Json, Fault> {
    let words = words(search);
    if words.is_empty() {
        return Err(Fault::Said(
            "`search` holds no word; write one or more names or parts of names".to_owned(),
        ));
    }
    let listed = serde_json::to_string(&words).unwrap_or_default();
    let schema = asked_for.schema.as_deref();
    let values = vec![Value::Text(listed), text(schema), Value::Integer(MOST_HITS)];
    let found: Found = asked.fixed(|all| &all.search, values).await?;
    if found.total == 0 {
        return nothing_found(asked, asked_for, search).await;
    }
    let tables = detailed(asked, found.tables, asked_for.detail.unwrap_or(Detail::Names)).await?;
    let left = found.total.saturating_sub(tables.len() as u64);
    let note =
        (left > 0).then(|| format!("{left} more tables fit; add words or `schema` to narrow the search"));
    bounded(
        &SchemaAnswer { tables, total: Some(found.total), note, ..SchemaAnswer::default() },
        asked.most_bytes(),
    )
}

/// Offers the tables whose names look most like what was searched.
async fn nothing_found(asked: &Asked<'_>, asked_for: &Arguments, search: &str) -> Result<Json, Fault> {
    // No table has an empty name, so that all are told.
    let schema = asked_for.schema.as_deref();
    let named = look(asked, schema, "").await?;
    let others: Vec<(String, String)> =
        named.others.into_iter().filter(|(of, _)| schema.is_none_or(|schema| schema == of)).collect();
    let near = similar::nearest(search.trim(), &others, 10);
    let tables: Vec<Table> = near.iter().map(|(schema, name)| Table::of(schema, name)).collect();
    let note = if tables.is_empty() {
        "nothing fits; call without `search` for an overview"
    } else {
        "nothing has these words; these names are the nearest"
    };
    let note = Some(note.to_owned());
    bounded(&SchemaAnswer { tables, total: Some(0), note, ..SchemaAnswer::default() }, asked.most_bytes())
}

/// Splits what is searched into words in lower case, without the `s` of a plural.
fn words(search: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in search.split(|character: char| character.is_whitespace() || matches!(character, ',' | ';')) {
        let word: String = word.to_lowercase().chars().take(64).collect();
        let word = match word.strip_suffix('s') {
            Some(singular) if singular.len() >= 4 && !singular.ends_with('s') => singular.to_owned(),
            _ => word,
        };
        if !word.is_empty() && !words.contains(&word) && words.len() < MOST_WORDS {
            words.push(word);
        }
    }
    words
}

// ---- overview and lists ----

async fn list(asked: &Asked<'_>, asked_for: &Arguments) -> Result<Json, Fault> {
    let schema = asked_for.schema.as_deref();
    let after = asked_for.cursor.as_deref().map(read_cursor).transpose()?;
    let overview: Overview = asked.fixed(|all| &all.overview, vec![text(schema)]).await?;
    if let Some(schema) = schema
        && overview.schemas.is_empty()
    {
        return Err(no_schema(schema, &overview));
    }
    let detail = asked_for.detail.unwrap_or(Detail::Names);
    let hidden = Some(overview.hidden).filter(|hidden| *hidden > 0);
    let mut answer = SchemaAnswer { total: Some(overview.total), hidden, ..SchemaAnswer::default() };
    if schema.is_none() && after.is_none() {
        answer.schemas = Some(overview.schemas);
    }
    // Many tables are only listed where somebody asks for them.
    if schema.is_none() && after.is_none() && overview.total > FEW_TABLES {
        answer.note =
            Some("too many tables to list here; use `search`, or `schema` for the tables of one".to_owned());
        return bounded(&answer, asked.most_bytes());
    }
    let size = match detail {
        Detail::Names => 200,
        Detail::Summary => 40,
        Detail::Full => 10,
    };
    let (after_schema, after_name) = after.unzip();
    let values = vec![
        text(schema),
        text(after_schema.as_deref()),
        text(after_name.as_deref()),
        Value::Integer(size + 1),
    ];
    let mut tables: Vec<Table> = asked.fixed(|all| &all.list, values).await?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let has_more = tables.len() > size;
    tables.truncate(size);
    answer.tables = detailed(asked, tables, detail).await?;
    paged(answer, has_more, asked.most_bytes())
}

/// Writes a page, and where the next one begins: after the last table that fits.
fn paged(answer: SchemaAnswer, has_more: bool, most: usize) -> Result<Json, Fault> {
    let keys: Vec<String> = answer.tables.iter().map(Table::cursor).collect();
    let mut json = bounded(&answer, most.saturating_sub(CURSOR_ROOM))?;
    let told = json.get("tables").and_then(Json::as_array).map_or(0, Vec::len);
    if told == 0 && !keys.is_empty() {
        return Err(Fault::Said(
            "one table is larger than a result may be; ask with less `detail`".to_owned(),
        ));
    }
    if (has_more || told < keys.len())
        && let (Some(object), Some(last)) = (json.as_object_mut(), keys.get(told.saturating_sub(1)))
    {
        object.insert("nextCursor".to_owned(), last.as_str().into());
    }
    Ok(json)
}

fn read_cursor(cursor: &str) -> Result<(String, String), Fault> {
    serde_json::from_str(cursor).map_err(|_| {
        Fault::Said("`cursor` is not one of this tool; leave it out for the first page".to_owned())
    })
}

fn no_schema(schema: &str, overview: &Overview) -> Fault {
    let names = overview.names.iter().flatten().map(String::as_str);
    Fault::Said(match trunkline_service::nearest(schema, names.clone()) {
        Some(near) => format!("there is no schema `{schema}` with tables; did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = names.take(20).collect();
            format!("there is no schema `{schema}` with tables; there are {}", spoken(&names))
        }
    })
}

/// Returns the schemas.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn schemas(asked: &Asked<'_>) -> Result<Vec<SchemaLine>, DatabaseError> {
    let overview: Overview = asked.fixed(|all| &all.overview, vec![Value::Null]).await?;
    Ok(overview.schemas)
}

/// Returns all tables by schema and name; none when there are more than `most`.
///
/// # Errors
/// [`DatabaseError`].
pub(super) async fn listed(asked: &Asked<'_>, most: usize) -> Result<Vec<(String, String)>, DatabaseError> {
    let wanted = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let values = vec![Value::Null, Value::Null, Value::Null, Value::Integer(wanted)];
    let tables: Vec<Table> = asked.fixed(|all| &all.list, values).await?;
    if tables.len() > most {
        return Ok(Vec::new());
    }
    Ok(tables.into_iter().filter_map(|table| table.schema.zip(table.name)).collect())
}

/// Adds what is to be told of each table beyond its name.
async fn detailed(
    asked: &Asked<'_>,
    tables: Vec<Table>,
    detail: Detail,
) -> Result<Vec<Table>, DatabaseError> {
    if detail == Detail::Names || tables.is_empty() {
        return Ok(tables);
    }
    let numbers: Vec<&str> = tables.iter().filter_map(|table| table.oid.as_deref()).collect();
    let numbers = vec![Value::Text(serde_json::to_string(&numbers).unwrap_or_default())];
    let mut told: Vec<Table> = match detail {
        Detail::Full => asked.fixed(|all| &all.full, numbers).await?,
        _ => asked.fixed(|all| &all.summaries, numbers).await?,
    };
    for (table, hit) in told.iter_mut().zip(tables) {
        table.matched = hit.matched;
        table.tidy();
    }
    Ok(told)
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

fn spoken(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Up to so many tables, the overview names them all.
const FEW_TABLES: u64 = 60;

/// Most tables that a search tells.
const MOST_HITS: i64 = 30;

/// Most words of one search.
const MOST_WORDS: usize = 8;

/// What is kept free for the cursor: two names of 63 bytes, which may be escaped.
const CURSOR_ROOM: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_read_as_words_without_plurals() {
        assert_eq!(words("Customers, orders  address customers"), ["customer", "order", "address"]);
        assert_eq!(words("bus gas"), ["bus", "gas"]);
        assert_eq!(words(" , "), Vec::<String>::new());
    }
}
