//! What a source file must be: short enough to be one noun, with a header that says which one,
//! without a postponement that has no end, and without a path of somebody's machine.

use std::path::Path;

use anyhow::{Context, Result};

/// More lines than this and a second noun has moved in.
const LINES_MAX: usize = 900;

/// A tracked text file.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Reads the tracked text files; `listing` is what `git ls-files -z` prints. Files that are not
/// UTF-8 (data) and files deleted but still in the index are left out.
pub fn read(root: &Path, listing: &str) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_string(), text });
        }
    }
    Ok(files)
}

/// Everything the file breaks, as `path:line: complaint`.
pub fn check(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    if is_source(&file.path) {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            let path = &file.path;
            complaints.push(format!("{path}: file is too long lines={lines} max={LINES_MAX}"));
        }
        complaints.extend(each_line(file, endless_postponement));
    }
    if is_library_source(&file.path) && !has_header(&file.text) {
        complaints.push(format!("{}:1: no `//!` header that says what the file is", file.path));
    }
    complaints.extend(each_line(file, machine_path));
    complaints
}

fn each_line(file: &File, check: fn(&str) -> Option<String>) -> Vec<String> {
    let complaint = |(number, line): (usize, &str)| check(line).map(|what| format!("{}:{}: {what}", file.path, number + 1));
    file.text.lines().enumerate().filter_map(complaint).collect()
}

fn is_source(path: &str) -> bool {
    [".rs", ".py", ".sh", ".js", ".toml"].iter().any(|end| path.ends_with(end)) || path == ".ci/run"
}

fn is_library_source(path: &str) -> bool {
    path.ends_with(".rs") && path.contains("/src/") && !path.ends_with("tests.rs")
}

fn has_header(text: &str) -> bool {
    text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!"))
}

/// A postponement names in brackets the condition that ends it: `(when X): what`.
fn endless_postponement(line: &str) -> Option<String> {
    // Spelt apart, or this file would complain about itself.
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
        let Some(at) = line.find(word) else { continue };
        let starts = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &line[at + word.len()..];
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let condition = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        if starts && ends && condition.is_none_or(|(condition, _)| condition.trim().is_empty()) {
            return Some(format!("{word} without the condition that ends it"));
        }
    }
    None
}

/// A path that exists on one machine only.
fn machine_path(line: &str) -> Option<String> {
    for root in [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")] {
        let mut from = 0;
        while let Some(at) = line[from..].find(root).map(|at| at + from) {
            // Inside a longer path or an address it is just a folder's name.
            let inner = line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-./}~".contains(c));
            let named = line[at + root.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
            if !inner && named {
                return Some(format!("path of one machine path={root}.."));
            }
            from = at + root.len();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{File, LINES_MAX, check};

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.into(), text: text.into() })
    }

    #[test]
    fn a_sound_file_has_no_complaint() {
        let text = "//! A noun.\n\n// see https://example.org/home/page and ../work/notes\nfn f() {}\n";
        assert_eq!(complaints("crates/log/src/lib.rs", text), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_does_everything_is_refused() {
        let text = format!("//! A noun.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(complaints("crates/log/src/lib.rs", &text).len(), 1);
        assert!(complaints("demo/data.csv", &text).is_empty());
    }

    #[test]
    fn a_source_file_without_a_header_is_refused() {
        assert_eq!(complaints("crates/log/src/lib.rs", "fn f() {}\n").len(), 1);
        assert!(complaints("crates/log/tests/log/main.rs", "fn f() {}\n").is_empty());
    }

    #[test]
    fn a_postponement_needs_its_condition() {
        let word = concat!("TO", "DO");
        for (line, refused) in [
            (format!("// {word}: faster"), true),
            (format!("// {word}() faster"), true),
            (format!("// {word}(checkpoints exist): faster"), false),
            (format!("// {word}S are refused"), false),
        ] {
            let found = complaints("crates/log/tests/log/main.rs", &line);
            assert_eq!(found.len(), usize::from(refused), "{line}: {found:?}");
        }
    }

    #[test]
    fn a_path_of_one_machine_is_refused_everywhere() {
        for root in ["work", "root", "home"] {
            let line = format!("see `/{root}/someone/notes`");
            assert_eq!(complaints("docs/notes.md", &line).len(), 1, "{line}");
        }
        assert!(complaints("docs/notes.md", "$HOME/work/x and a/root/b").is_empty());
    }
}
