//! The fuzzer in its CI size: each target under 500 changed inputs, blind (nothing counts edges in this build). More, and led by
//! edges: `cargo xtask fuzz --minutes N --seed S`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Command;

const FUZZ: &str = env!("CARGO_BIN_EXE_regauge-fuzz");

/// Those whose seeds are the same each time. Files of a real instance have clocks and numbers drawn by chance in them: they are for
/// `cargo xtask fuzz`; tests of log, state and views change files bit by bit.
const TARGETS: &[&str] = &["rows", "token", "pgwire", "sql", "plan", "copy", "ndjson"];

#[test]
fn no_input_makes_a_decoder_panic_or_take_all_memory() {
    for target in TARGETS {
        let output = Command::new(FUZZ).args(["--only", target, "--executions", "500", "--seed", "1"]).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        assert!(text.contains("fuzz: cases=500 "), "{text}");
    }
}

#[test]
fn an_input_of_a_report_can_be_run_again() {
    let again = Command::new(FUZZ).args(["again", "token", "4142"]).output().unwrap();
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("no promise is broken"));
    assert!(!Command::new(FUZZ).args(["again", "nothing", "41"]).output().unwrap().status.success());
}

/// Inputs that broke a promise once: a target, and what was found.
const FOUND: &[(&str, &str)] = &[
    // offsets of texts in nine bytes, behind two checksums: arrow panicked
    (
        "rows",
        "010100d803100000000c001a0018001700040008000c00000020000000d000000000000000000000000000000304000a0018000c00080004000a0000\
         008c00000010000000010000000000000000000000070000000100000000000000000000000000000001000000000000000100000000000000010000\
         000000000001000000000000000100000000000000010000000000000001000000000000000100000000000000010000000000000001000000000000\
         000100000000000000010000000000000000000000110000000000000000000000000000000000000000000000000000000400000000000000100000\
         000000000001000000000000002000000000000000010000000000000030000000000000000100000000000000400000000000000008000000000000\
         005000000000000000010000000000000060000000000000000800000000000000700000000000000000000000000000007000000000000000010000\
         0000000000800000000000000009000000000000009000000000000000000000000000000090000000000000000100000000000000a0000000000000\
         001000000000000000b0000000000000000100000000000000c0000000000000000800000000000000d0000000000000000000000000000000d00100\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000",
    ),
];

#[test]
fn what_was_found_once_breaks_no_promise_any_more() {
    for (target, input) in FOUND {
        let again = Command::new(FUZZ).args(["again", target, input]).output().unwrap();
        let text = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && text.contains("no promise is broken"), "{target}: {text}");
    }
}

/// What the harness is for: each mistake is told, with an input that makes it again, also where the process is gone.
#[test]
fn planted_mistakes_are_told_with_their_input() {
    for (target, why) in [
        ("planted_panic", "panic"),
        ("planted_memory", "it held 600 MiB"),
        ("planted_death", "it came to no end"),
        ("planted_hang", "it was at one input for 3 s"),
    ] {
        let output = Command::new(FUZZ).args(["--only", target, "--executions", "2000", "--stuck", "3"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && text.contains(why), "{target}: {text}");
        let again = text.lines().find_map(|line| line.split(&format!("again: regauge-fuzz again {target} ")).nth(1));
        let input = again.unwrap_or_else(|| panic!("no input: {text}"));
        assert_eq!(input.len() / 2 % 5, 3, "{target}: it is the input at which it happens: {input}");
    }
}
