//! Tools that cost more than there ever is at once of a limit they are counted under: each call takes all of it, and no more.

use trunkline_service::file::Problem;

use super::rate::Rate;
use super::spec::{LimitsSpec, ThingSpec};
use crate::authorize::Policy;

impl LimitsSpec {
    /// Warns of a tool whose `cost` is above the burst of a limit, or the calls of a budget, that its calls are counted under: of
    /// roles, those that allow the tool. `connector` is the name of its connector with what the file says of it.
    #[must_use]
    pub fn too_dear(
        &self,
        (tool, spec): (&str, &ThingSpec),
        (connector, of_connector): (&str, &ThingSpec),
        policy: &Policy,
    ) -> Option<Problem> {
        let cost = spec.cost?.get();
        let burst = |path: String, rate: Option<Rate>| Some((path, u64::from(rate?.burst())));
        let mut counted = vec![
            burst("limits.server".to_owned(), self.server),
            burst("limits.caller".to_owned(), self.caller),
            burst(format!("connectors.{connector}.limit"), of_connector.limit),
        ];
        for (name, role) in self.roles.iter().filter(|(name, _)| policy.role_allows(name, tool)) {
            counted.push(burst(format!("roles.{name}.limit"), role.limit));
            let calls = role.budget.and_then(|budget| budget.calls);
            counted.push(calls.map(|calls| (format!("roles.{name}.budget"), calls)));
        }
        let short: Vec<String> = counted
            .into_iter()
            .flatten()
            .filter(|(_, most)| *most < u64::from(cost))
            .map(|(path, most)| format!("`{path}` (at most {most})"))
            .collect();
        if short.is_empty() {
            return None;
        }
        let message = format!(
            "a call of `{tool}` counts as {cost}, and there is never so much at once of {}: each call takes all that there is, and \
             counts as no more than that",
            short.join(", ")
        );
        let help = format!("set `burst` there (`calls` of a budget) to {cost} or more, or lower `cost`");
        Some(Problem::new(&["tools", tool, "cost"], message).help(help).warning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::{PolicyFile, RoleFile, Surroundings};
    use crate::limit::{LimitsFile, Unit};

    /// What is told of a tool `dear` that costs 20.
    fn told(limits: &str, roles: &[(&str, &str)], connector: Option<Rate>) -> Option<String> {
        let limits: LimitsFile = toml::from_str(limits).unwrap();
        let roles: Vec<(String, RoleFile)> =
            roles.iter().map(|(name, text)| ((*name).to_owned(), toml::from_str(text).unwrap())).collect();
        let (spec, problems) = limits.resolve(&roles);
        assert_eq!(problems, []);
        let roles = (!roles.is_empty()).then_some(roles);
        let (policy, _) = PolicyFile { roles, ..PolicyFile::default() }.resolve(Surroundings {
            issuers: &[],
            auth: true,
            keys: true,
        });
        let dear = ThingSpec { cost: std::num::NonZeroU32::new(20), ..ThingSpec::default() };
        let connector = ThingSpec { limit: connector, ..ThingSpec::default() };
        let problem = spec.too_dear(("dear", &dear), ("db", &connector), &policy)?;
        assert_eq!(problem.path, ["tools", "dear", "cost"]);
        assert!(problem.message.contains("counts as 20"), "{problem:?}");
        Some(problem.message)
    }

    #[test]
    fn a_cost_above_the_burst_of_a_limit_that_counts_it_is_told_with_each_such_limit() {
        for (limits, named) in [
            ("server = \"19/s\"", Some("`limits.server` (at most 19)")),
            ("caller = { rate = \"100/min\", burst = 5 }", Some("`limits.caller` (at most 5)")),
            ("caller = \"20/min\"\nserver = \"20/s\"", None),
            // One request, whatever it calls.
            ("address = \"2/s\"", None),
        ] {
            let told = told(limits, &[], None);
            assert_eq!(told.is_some(), named.is_some(), "{limits}");
            assert!(told.is_none_or(|told| named.is_some_and(|named| told.contains(named))));
        }
        let slow = Rate::new(1, Unit::Second, None).ok();
        let told = told("server = \"2/s\"\ncaller = \"3/s\"", &[], slow).unwrap();
        let all =
            "`limits.server` (at most 2), `limits.caller` (at most 3), `connectors.db.limit` (at most 1)";
        assert!(told.contains(all), "{told}");
    }

    #[test]
    fn of_roles_only_those_are_told_that_allow_the_tool() {
        let roles = [
            ("users", "allow = [\"tools:cheap\"]\nlimit = \"3/s\""),
            ("all", "allow = [\"tools:*\"]\ndeny = [\"tools:dear\"]\nlimit = \"4/s\""),
            ("staff", "allow = [\"tools:d*\"]\nlimit = { rate = \"50/s\", burst = 6 }"),
            ("night", "allow = [\"tools:dear\"]\nbudget = { calls = 7, per = \"day\" }"),
            (
                "day",
                "allow = [\"tools:dear\"]\nbudget = { bytes = \"1GiB\", per = \"day\" }\nlimit = \"20/s\"",
            ),
        ];
        let told = told("", &roles, None).unwrap();
        let all = "`roles.staff.limit` (at most 6), `roles.night.budget` (at most 7): each";
        assert!(told.contains(all) && !told.contains("users") && !told.contains("roles.all"), "{told}");
    }
}
