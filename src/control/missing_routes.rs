//! Routes and rules of groups that the asked node lacks, as `status` tells of them.

use serde::{Deserialize, Serialize};

use super::table::{Table, words};

/// Routes and rules of one group that are shown; of the rest the number.
pub const MISSING_SHOWN_MAX: usize = 10;

/// What the asked node lacks of a group that it has, or could not take for that reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRoutes {
    /// Name of the group.
    pub group: String,
    /// How many routes and rules are missing.
    pub count: usize,
    /// The first of them, at most [`MISSING_SHOWN_MAX`].
    pub first: Vec<MissingRoute>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRoute {
    /// The route or rule, as `ip route` or `ip rule` writes it.
    pub route: String,
    /// Why it is missing, and what to do.
    pub why: String,
}

/// A table; empty without any.
pub(super) fn text(missing: &[MissingRoutes]) -> String {
    if missing.is_empty() {
        return String::new();
    }
    let mut table = Table::new(vec![words("GROUP"), words("MISSING ROUTE"), words("WHY")]);
    for of_group in missing {
        for one in &of_group.first {
            table.row(vec![of_group.group.clone(), one.route.clone(), one.why.clone()]);
        }
        let more = of_group.count.saturating_sub(of_group.first.len());
        if more > 0 {
            table.row(vec![of_group.group.clone(), format!("and {more} more"), String::new()]);
        }
    }
    format!("\n{}", table.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_routes_are_listed_with_the_reason() {
        assert_eq!(text(&[]), "");
        let one = MissingRoute {
            route: "10.0.0.0/8 via 192.0.2.1".to_owned(),
            why: "its interface is down: bring it up".to_owned(),
        };
        let missing = MissingRoutes { group: "gw".to_owned(), count: 3, first: vec![one] };
        assert_eq!(
            text(&[missing]),
            "\nGROUP  MISSING ROUTE             WHY\n\
             gw     10.0.0.0/8 via 192.0.2.1  its interface is down: bring it up\n\
             gw     and 2 more\n"
        );
    }
}
