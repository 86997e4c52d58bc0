//! The short reading of a plan: what costs most, what was misjudged, what spilled, what is read in vain.

use super::Relation;
use crate::assistant::plan::{Explained, Node};

/// Returns what stands out, most important first.
pub(super) fn of(explained: &Explained, relations: &[Relation]) -> Vec<String> {
    let nodes = explained.plan.all();
    let mut reading = vec![total(explained)];
    reading.extend(worst(&nodes));
    reading.extend(most(nodes.iter().filter_map(|node| whole_table(node, relations))));
    reading.extend(most(nodes.iter().filter_map(|node| repeated(node))));
    reading.extend(most(misjudged(&nodes).into_iter()));
    reading.extend(most(nodes.iter().filter_map(|node| spilled(node))));
    if reading.len() == 1 {
        reading.push("nothing stands out".to_owned());
    }
    reading
}

/// No more of one kind than a reader can use.
fn most(lines: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    lines.take(3)
}

fn total(explained: &Explained) -> String {
    let plan = &explained.plan;
    let (cost, rows) = (number(plan.cost), number(plan.plan_rows));
    match (explained.execution_time, plan.actual_rows) {
        (Some(time), Some(actual)) => {
            let actual = number(actual * plan.loops.unwrap_or(1.0));
            format!("it took {time:.1} ms and gave {actual} rows (expected: {rows}; estimated cost {cost})")
        }
        _ => format!("estimated cost {cost}, about {rows} rows"),
    }
}

fn worst(nodes: &[&Node]) -> Option<String> {
    if nodes.len() < 2 {
        return None;
    }
    let timed = |node: &&&Node| node.own_time().unwrap_or_default();
    let all: f64 = nodes.iter().map(|node| node.own_time().unwrap_or_default()).sum();
    if all > 0.0 {
        let node = nodes.iter().max_by(|left, right| timed(left).total_cmp(&timed(right)))?;
        let own = timed(&node);
        return Some(format!(
            "most time goes into {}: {own:.1} ms, {:.0} %",
            node.spoken(),
            own / all * 100.0
        ));
    }
    let all: f64 = nodes.iter().map(|node| node.own_cost()).sum();
    let node = nodes.iter().max_by(|left, right| left.own_cost().total_cmp(&right.own_cost()))?;
    (all > 0.0).then(|| {
        let own = node.own_cost();
        format!("most cost is in {}: {}, {:.0} %", node.spoken(), number(own), own / all * 100.0)
    })
}

/// A big table read whole to keep little of it.
fn whole_table(node: &Node, relations: &[Relation]) -> Option<String> {
    let filter = node.filter.as_deref().filter(|_| node.kind.ends_with("Seq Scan"))?;
    let known = relations
        .iter()
        .find(|one| Some(&one.name) == node.relation.as_ref() && Some(&one.schema) == node.schema.as_ref());
    let loops = node.loops.unwrap_or(1.0);
    let kept = node.actual_rows.unwrap_or(node.plan_rows);
    let read = match node.removed {
        Some(removed) => removed + kept,
        None => known.and_then(|one| one.rows)?,
    };
    (read * loops >= MANY && kept <= read * 0.2).then(|| {
        format!(
            "{} reads {} rows and keeps {}: an index for `{}` may help; the tool for indexes can try one",
            node.spoken(),
            number(read * loops),
            number(kept * loops),
            cut(filter)
        )
    })
}

/// A step repeated for each row of another.
fn repeated(node: &Node) -> Option<String> {
    if node.kind != "Nested Loop" {
        return None;
    }
    let [outer, inner] = node.children.as_slice() else { return None };
    let times = inner.loops.unwrap_or(outer.plan_rows);
    let is_slow = inner.kind.ends_with("Seq Scan") || inner.kind == "Materialize";
    (times >= 1000.0 && is_slow && inner.cost > 10.0).then(|| {
        format!(
            "a nested loop runs {} {} times: an index on what is joined may help",
            inner.spoken(),
            number(times)
        )
    })
}

fn misjudged(nodes: &[&Node]) -> Vec<String> {
    let mut found: Vec<(f64, String)> = nodes
        .iter()
        .filter_map(|node| {
            // What a limit cut short or what never ran was not misjudged.
            let actual = node.actual_rows.filter(|_| node.loops.unwrap_or_default() > 0.0)?;
            let (least, larger) = (node.plan_rows.min(actual).max(1.0), node.plan_rows.max(actual));
            let factor = larger / least;
            let is_cut = actual < node.plan_rows && nodes.iter().any(|one| one.kind == "Limit");
            (factor >= 10.0 && larger >= 100.0 && !is_cut).then(|| {
                let (expected, actual) = (number(node.plan_rows), number(actual));
                let remedy = match &node.relation {
                    Some(relation) => format!("; `analyze {relation}` or extended statistics may help"),
                    None => String::new(),
                };
                (factor, format!("{} was expected to give {expected} rows and gave {actual} ({factor:.0} times off){remedy}", node.spoken()))
            })
        })
        .collect();
    found.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    found.into_iter().map(|(_, line)| line).collect()
}

fn spilled(node: &Node) -> Option<String> {
    if node.sort_space.as_deref() == Some("Disk") {
        let kilobytes = number(node.sort_kilobytes.unwrap_or_default());
        return Some(format!("{} did not fit into work_mem and wrote {kilobytes} kB to disk", node.spoken()));
    }
    node.hash_batches.filter(|batches| *batches > 1.0).map(|batches| {
        format!(
            "{} did not fit into work_mem and was split into {} parts on disk",
            node.spoken(),
            number(batches)
        )
    })
}

/// Writes a number as people read it: `1,234,567`, or with a fraction when it is small.
pub(in crate::assistant) fn number(value: f64) -> String {
    if value < 100.0 {
        let text = format!("{value:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Fewer rows than this are read faster without an index.
const MANY: f64 = 10_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: &str) -> Node {
        Node { kind: kind.to_owned(), plan_rows: 10.0, cost: 100.0, ..Node::default() }
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0.5, 3.0, 1_234_567.0, 100.0].map(number), ["0.5", "3", "1,234,567", "100"]);
    }

    #[test]
    fn what_stands_out_is_told() {
        let scan = Node {
            relation: Some("orders".into()),
            schema: Some("public".into()),
            filter: Some("(orders.customer_id = 7)".into()),
            actual_rows: Some(500.0),
            actual_time: Some(90.0),
            loops: Some(1.0),
            removed: Some(99_500.0),
            ..node("Seq Scan")
        };
        let sort = Node {
            sort_space: Some("Disk".into()),
            sort_kilobytes: Some(2048.0),
            actual_rows: Some(500.0),
            actual_time: Some(100.0),
            loops: Some(1.0),
            cost: 120.0,
            children: vec![scan],
            ..node("Sort")
        };
        let explained = Explained { plan: sort, planning_time: Some(0.1), execution_time: Some(101.0) };
        let told = of(&explained, &[]).join("\n");
        for part in [
            "took 101.0 ms",
            "Seq Scan on public.orders: 90.0 ms",
            "reads 100,000 rows and keeps 500",
            "50 times off",
            "2,048 kB",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
