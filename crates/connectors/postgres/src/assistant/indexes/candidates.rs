//! Which indexes could serve a plan: from its filters, joins and sorts, the likeliest first.

use std::collections::BTreeMap;

use super::condition::{How, Named, comparisons, sort_key};
use super::name::quoted;
use crate::assistant::explain::Relation;
use crate::assistant::plan::Node;

/// An index that could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The table, or the one that its partitions are of.
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) partitioned: bool,
    /// Each with whether it is descending.
    pub(super) columns: Vec<(String, bool)>,
    /// Where it would be: the table itself, or its partitions in the plan.
    pub(super) places: Vec<(String, String)>,
    /// What it is for, in words.
    pub(super) serves: &'static str,
}

impl Candidate {
    /// Returns the keys as they stand in the parentheses of `create index`.
    pub(super) fn keys(&self) -> Vec<String> {
        let key = |(name, descends): &(String, bool)| {
            format!("{}{}", quoted(name), if *descends { " desc" } else { "" })
        };
        self.columns.iter().map(key).collect()
    }
}

/// What a plan does with the columns of one table.
#[derive(Debug, Default)]
struct Wants {
    partitioned: bool,
    places: Vec<(String, String)>,
    equal: Vec<String>,
    range: Vec<String>,
    joined: Vec<String>,
    sorted: Vec<(String, bool)>,
}

/// Returns what could be made, at most [`MOST_CANDIDATES`].
pub(super) fn of(plan: &Node, relations: &[Relation]) -> Vec<Candidate> {
    let nodes = plan.all();
    let aliases: BTreeMap<&str, &Relation> = nodes
        .iter()
        .filter_map(|node| {
            let (alias, name, schema) =
                (node.alias.as_deref()?, node.relation.as_ref()?, node.schema.as_ref()?);
            Some((alias, relations.iter().find(|one| one.name == *name && one.schema == *schema)?))
        })
        .collect();
    let mut wants: BTreeMap<(String, String), Wants> = BTreeMap::new();
    for relation in aliases.values() {
        let wants = wants.entry((relation.root_schema.clone(), relation.root.clone())).or_default();
        wants.partitioned = relation.partitioned;
        let place = (relation.schema.clone(), relation.name.clone());
        if !wants.places.contains(&place) && wants.places.len() < MOST_PLACES {
            wants.places.push(place);
        }
    }
    let find = |named: &Named| {
        let relation = aliases.get(named.0.as_str())?;
        relation
            .columns
            .contains(&named.1)
            .then(|| ((relation.root_schema.clone(), relation.root.clone()), named.1.clone()))
    };
    for node in &nodes {
        note(node, &find, &mut wants);
    }
    let mut candidates: Vec<Candidate> =
        wants.into_iter().flat_map(|(table, wants)| wants.candidates(&table)).collect();
    candidates.truncate(MOST_CANDIDATES);
    candidates
}

type Found = ((String, String), String);

fn note(node: &Node, find: &impl Fn(&Named) -> Option<Found>, wants: &mut BTreeMap<(String, String), Wants>) {
    let conditions = [
        &node.filter,
        &node.index_condition,
        &node.recheck,
        &node.hash_condition,
        &node.merge_condition,
        &node.join_filter,
    ];
    for comparison in conditions.into_iter().flatten().flat_map(|text| comparisons(text)) {
        let joins = comparison.left.is_some() && comparison.right.is_some();
        for (table, column) in [&comparison.left, &comparison.right].into_iter().flatten().filter_map(find) {
            let Some(wants) = wants.get_mut(&table) else { continue };
            let list = match (joins, comparison.how) {
                (true, How::Equal) => &mut wants.joined,
                (false, How::Equal) => &mut wants.equal,
                (_, How::Range) => &mut wants.range,
            };
            if !list.contains(&column) {
                list.push(column);
            }
        }
    }
    let keys: Option<Vec<(Found, bool)>> = node
        .sort_key
        .iter()
        .map(|key| sort_key(key).and_then(|(named, descends)| Some((find(&named)?, descends))))
        .collect();
    if let Some(keys) = keys
        && let Some(((table, _), _)) = keys.first()
        && keys.iter().all(|((other, _), _)| other == table)
        && let Some(wants) = wants.get_mut(table)
        && wants.sorted.is_empty()
    {
        // An index is read in both directions.
        let mixed = keys.iter().any(|(_, descends)| *descends) && keys.iter().any(|(_, descends)| !descends);
        wants.sorted =
            keys.iter().map(|((_, column), descends)| (column.clone(), mixed && *descends)).collect();
    }
}

impl Wants {
    fn candidates(self, table: &(String, String)) -> Vec<Candidate> {
        let plain = |columns: &[String]| columns.iter().map(|name| (name.clone(), false)).collect::<Vec<_>>();
        let (equal, range, joined) = (plain(&self.equal), plain(&self.range), plain(&self.joined));
        let mut lists: Vec<(Vec<(String, bool)>, &'static str)> = Vec::new();
        let mut add = |parts: &[&[(String, bool)]], serves| {
            let mut columns: Vec<(String, bool)> = Vec::new();
            for column in parts.iter().copied().flatten() {
                if !columns.iter().any(|(name, _)| *name == column.0) {
                    columns.push(column.clone());
                }
            }
            columns.truncate(MOST_COLUMNS);
            if !columns.is_empty() && !lists.iter().any(|(known, _)| *known == columns) {
                lists.push((columns, serves));
            }
        };
        // One column first: a wider index has to be better than the narrow ones to be chosen.
        equal.iter().for_each(|one| add(&[std::slice::from_ref(one)], "a filter"));
        joined.iter().for_each(|one| add(&[std::slice::from_ref(one)], "a join"));
        range.iter().for_each(|one| add(&[std::slice::from_ref(one)], "a filter by range"));
        add(&[&self.sorted], "the order");
        add(&[&equal], "the filters");
        range.iter().for_each(|one| add(&[&equal, std::slice::from_ref(one)], "the filters"));
        add(&[&equal, &self.sorted], "filter and order");
        joined.iter().for_each(|one| {
            add(&[std::slice::from_ref(one), &equal], "join and filter");
            add(&[&equal, std::slice::from_ref(one)], "filter and join");
        });
        let make = |(columns, serves)| Candidate {
            schema: table.0.clone(),
            table: table.1.clone(),
            partitioned: self.partitioned,
            columns,
            places: self.places.clone(),
            serves,
        };
        lists.into_iter().take(MOST_OF_ONE).map(make).collect()
    }
}

/// An index of more columns seldom pays.
const MOST_COLUMNS: usize = 3;
const MOST_OF_ONE: usize = 12;
/// Each is planned once or twice.
const MOST_CANDIDATES: usize = 30;
/// Partitions on which one is tried.
const MOST_PLACES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_joins_and_order_become_candidates() {
        let relation = |name: &str, columns: &[&str]| Relation {
            schema: "public".into(),
            name: name.into(),
            root_schema: "public".into(),
            root: name.into(),
            partitioned: false,
            rows: None,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let scan = |name: &str, alias: &str, filter: Option<&str>| Node {
            kind: "Seq Scan".into(),
            schema: Some("public".into()),
            relation: Some(name.into()),
            alias: Some(alias.into()),
            filter: filter.map(str::to_owned),
            ..Node::default()
        };
        let join = Node {
            kind: "Hash Join".into(),
            hash_condition: Some("(o.customer_id = c.id)".into()),
            children: vec![
                scan("orders", "o", Some("((o.state = 'new'::text) AND (o.doc = 1))")),
                scan("customers", "c", None),
            ],
            ..Node::default()
        };
        let plan = Node {
            kind: "Sort".into(),
            sort_key: vec!["o.at DESC".into()],
            children: vec![join],
            ..Node::default()
        };
        let relations = [relation("orders", &["customer_id", "state", "at"]), relation("customers", &["id"])];
        let told: Vec<String> = of(&plan, &relations)
            .iter()
            .map(|one| format!("{}({})", one.table, one.keys().join(",")))
            .collect();
        assert_eq!(
            told,
            [
                "customers(id)",
                "orders(state)",
                "orders(customer_id)",
                "orders(at)",
                "orders(state,at)",
                "orders(customer_id,state)",
                "orders(state,customer_id)",
            ]
        );
    }
}
