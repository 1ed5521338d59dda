//! The walls between crates: an edge leads to a lower floor, some edges are closed although they lead
//! down, and some libraries have one door. The tables below are ARCHITECTURE.md in a form that fails.
//! Development dependencies count: a test that reaches upward is a wall with a hole.

use std::fmt;

use anyhow::{Context, Result};

/// The floor of every crate. A crate uses only floors below its own.
const FLOORS: &[(&str, u32)] = &[
    ("regauge-types", 0),
    ("regauge-log", 1),
    ("regauge-plan", 1),
    ("regauge-state", 1),
    ("regauge-flow", 2),
    ("regauge-views", 3),
    ("regauge-serve", 4),
    ("regauge-connect", 4),
    ("regauge", 5),
    ("regauge-sim", 5),
    ("regauge-fuzz", 5),
    ("regauge-oracle", 5),
];

/// Edges that lead down and are closed all the same: (crate, must not know, why).
const CLOSED: &[(&str, &str, &str)] = &[
    ("regauge-flow", "regauge-log", "the engine never knows the log: views feeds it"),
    ("regauge-serve", "regauge-flow", "protocols never know operators"),
    ("regauge-serve", "regauge-state", "protocols never know state"),
    ("regauge-serve", "regauge-log", "protocols speak to sessions, never to the log"),
    ("regauge-connect", "regauge-flow", "foreign systems never know operators"),
];

/// Libraries with one door: only these crates may name them outside their tests.
const DOORS: &[(&str, &[&str], &str)] = &[
    ("timely", &["regauge-flow"], "only the engine knows the dataflow library"),
    ("timely_communication", &["regauge-flow"], "only the engine knows the dataflow library"),
    ("pgwire", &["regauge-serve"], "only serve knows the Postgres wire"),
    ("axum", &["regauge-serve"], "only serve knows HTTP"),
    ("datafusion", &["regauge-plan", "regauge-views"], "planning stays behind plan's functions"),
    ("anyhow", &["regauge", "regauge-sim", "regauge-fuzz", "regauge-oracle", "xtask"], "libraries have typed errors, see style"),
];

/// The packages of the workspace and their direct dependencies.
pub struct Edges {
    pub packages: Vec<String>,
    pub edges: Vec<Edge>,
}

/// `from` names `to` in its Cargo.toml.
pub struct Edge {
    pub from: String,
    pub to: String,
    pub dev: bool,
}

/// What a check has against the workspace.
#[derive(Debug, PartialEq, Eq)]
pub enum Complaint {
    Unknown { package: String },
    Upward { from: String, floor_from: u32, to: String, floor_to: u32 },
    Closed { from: String, to: String, why: &'static str },
    Door { from: String, library: String, why: &'static str },
    Unnamed { package: String },
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { package } => {
                write!(f, "crate has no floor: add it to xtask/src/tidy/walls.rs crate={package}")
            }
            Self::Upward { from, floor_from, to, floor_to } => {
                write!(f, "edge does not lead down: {from} (floor {floor_from}) -> {to} (floor {floor_to})")
            }
            Self::Closed { from, to, why } => write!(f, "closed edge: {from} -> {to}: {why}"),
            Self::Door { from, library, why } => {
                write!(f, "wrong door: {from} -> {library}: {why}")
            }
            Self::Unnamed { package } => {
                write!(f, "ARCHITECTURE.md does not name a crate crate={package}")
            }
        }
    }
}

/// Reads the edges out of `cargo metadata --no-deps`.
pub fn edges(metadata: &str) -> Result<Edges> {
    let value: serde_json::Value = serde_json::from_str(metadata).context("cargo metadata")?;
    let packages = value["packages"].as_array().context("cargo metadata has no packages")?;
    let mut found = Edges { packages: Vec::new(), edges: Vec::new() };
    for package in packages {
        let from = package["name"].as_str().context("a package without a name")?;
        found.packages.push(from.to_string());
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().context("a dependency without a name")?;
            let dev = dependency["kind"].as_str() == Some("dev");
            found.edges.push(Edge { from: from.to_string(), to: to.to_string(), dev });
        }
    }
    Ok(found)
}

/// Every edge that breaks a wall.
pub fn check(edges: &Edges) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = edges
        .packages
        .iter()
        .filter(|package| *package != "xtask" && floor(package).is_none())
        .map(|package| Complaint::Unknown { package: package.clone() })
        .collect();
    complaints.extend(edges.edges.iter().filter_map(check_edge));
    complaints
}

fn check_edge(edge: &Edge) -> Option<Complaint> {
    let (from, to) = (edge.from.clone(), edge.to.clone());
    // xtask stands outside the house: no floor, so no crate of the house is below it.
    let floor_from = floor(&edge.from).unwrap_or(0);
    if let Some(floor_to) = floor(&edge.to)
        && floor_to >= floor_from
    {
        return Some(Complaint::Upward { from, floor_from, to, floor_to });
    }
    if let Some((_, _, why)) = CLOSED.iter().find(|(a, b, _)| *a == edge.from && *b == edge.to) {
        return Some(Complaint::Closed { from, to, why });
    }
    let door = DOORS.iter().find(|(library, _, _)| *library == edge.to)?;
    let may = edge.dev && edge.to != "timely" || door.1.contains(&edge.from.as_str());
    (!may).then_some(Complaint::Door { from, library: to, why: door.2 })
}

/// ARCHITECTURE.md tells of every crate, by its package name or by its short name in backticks.
pub fn check_named(edges: &Edges, architecture: &str) -> Vec<Complaint> {
    let named = |package: &str| {
        let short = package.strip_prefix("regauge-").unwrap_or(package);
        architecture.contains(&format!("`{package}`")) || architecture.contains(&format!("`{short}`"))
    };
    edges
        .packages
        .iter()
        .filter(|package| !named(package))
        .map(|package| Complaint::Unnamed { package: package.clone() })
        .collect()
}

fn floor(package: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == package).map(|(_, floor)| *floor)
}

#[cfg(test)]
mod tests {
    use super::{Complaint, Edge, Edges, check, check_named, edges};

    fn house(extra: &[(&str, &str, bool)]) -> Edges {
        let sound = [
            ("regauge-log", "regauge-types", false),
            ("regauge-flow", "regauge-plan", false),
            ("regauge-flow", "timely", false),
            ("regauge", "regauge-serve", false),
            ("xtask", "anyhow", false),
        ];
        let edges =
            sound.iter().chain(extra).map(|(from, to, dev)| Edge { from: (*from).to_string(), to: (*to).to_string(), dev: *dev });
        Edges { packages: vec!["regauge-log".into(), "xtask".into()], edges: edges.collect() }
    }

    #[test]
    fn a_sound_house_has_no_complaint() {
        assert_eq!(check(&house(&[])), vec![]);
    }

    #[test]
    fn an_edge_up_or_sideways_is_refused_in_tests_too() {
        for (from, to, dev) in [
            ("regauge-types", "regauge-log", false),
            ("regauge-log", "regauge-plan", false),
            ("regauge-plan", "regauge-state", true),
            ("regauge-flow", "regauge-views", true),
            ("regauge-oracle", "regauge", true),
            ("xtask", "regauge-types", false),
        ] {
            let complaints = check(&house(&[(from, to, dev)]));
            assert!(
                matches!(&complaints[..], [Complaint::Upward { from: f, .. }] if f == from),
                "{from} -> {to}: {complaints:?}"
            );
        }
    }

    #[test]
    fn a_closed_edge_is_refused_although_it_leads_down() {
        let complaints = check(&house(&[("regauge-flow", "regauge-log", false)]));
        assert!(matches!(&complaints[..], [Complaint::Closed { .. }]), "{complaints:?}");
    }

    #[test]
    fn timely_has_one_door_even_for_tests() {
        for dev in [false, true] {
            let complaints = check(&house(&[("regauge-views", "timely", dev)]));
            assert!(matches!(&complaints[..], [Complaint::Door { .. }]), "{complaints:?}");
        }
        assert_eq!(check(&house(&[("regauge-views", "anyhow", true)])), vec![]);
    }

    #[test]
    fn a_crate_without_a_floor_is_refused() {
        let mut edges = house(&[]);
        edges.packages.push("regauge-attic".into());
        assert_eq!(check(&edges), vec![Complaint::Unknown { package: "regauge-attic".into() }]);
    }

    #[test]
    fn architecture_names_every_crate() {
        let unnamed = check_named(&house(&[]), "`log` keeps events, `xtask-old` nothing");
        assert_eq!(unnamed, vec![Complaint::Unnamed { package: "xtask".into() }]);
        assert_eq!(check_named(&house(&[]), "`regauge-log` and `xtask`"), vec![]);
    }

    #[test]
    fn metadata_becomes_edges() {
        let found = edges(
            r#"{"packages": [{"name": "a", "dependencies": [
                {"name": "b", "kind": null}, {"name": "c", "kind": "dev"}]}]}"#,
        )
        .expect("valid metadata");
        assert_eq!(found.packages, ["a"]);
        let shape: Vec<_> = found.edges.iter().map(|e| (e.to.as_str(), e.dev)).collect();
        assert_eq!(shape, [("b", false), ("c", true)]);
        assert!(edges("{}").is_err());
    }
}
