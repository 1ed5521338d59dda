//! Every function that SQL offers is compared with PostgreSQL: it stands in one of the text files, whose answers, types included, are
//! PostgreSQL's own.

use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
fn every_function_that_is_offered_is_compared_with_postgres() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slt");
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "slt") {
            text.push_str(&std::fs::read_to_string(path).unwrap().to_lowercase());
        }
    }
    let called = |name: &str| {
        text.match_indices(&format!("{name}(")).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let offered = regauge_plan::functions::offered();
    let missing: Vec<&String> = offered.iter().filter(|name| !called(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(offered.len() > 150, "{}", offered.len());
}
