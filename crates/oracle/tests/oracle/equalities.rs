//! Laws that hold whatever the data is, over many cases.

use std::collections::BTreeMap;

use regauge_oracle::equalities::{Laws, Seen, case};

fn size(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_say_the_same_give_the_same() {
    let seed = size("REGAUGE_EQUALITIES_SEED").unwrap_or(20_261_126);
    let cases = size("REGAUGE_EQUALITIES_CASES").unwrap_or(40);
    let mut seen = Seen::default();
    for at in 0..cases {
        seen.add(case(seed + at, Laws::Sound).await.unwrap());
        if seen.differences.len() >= 5 {
            break;
        }
    }
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &seen.refused {
        *refused.entry(message.split(": SELECT").next().unwrap()).or_default() += 1;
    }
    for (message, n) in refused {
        println!("refused {n} x: {message}");
    }
    for difference in &seen.differences {
        println!("=== {difference}\n");
    }
    println!(
        "cases={cases} pairs={} comparisons={} with_rows={} refused={} differences={}",
        seen.pairs,
        seen.comparisons,
        seen.with_rows,
        seen.refused.len(),
        seen.differences.len()
    );
    assert!(seen.differences.is_empty(), "seed={seed}: queries that say the same differ, see above");
    assert!(seen.with_rows * 2 > seen.comparisons, "most comparisons must be of rows");
    assert!(seen.refused.len() * 10 < seen.pairs, "too much is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_law_that_forgets_null_is_found() {
    let mut found = 0;
    for seed in 0..6 {
        found += case(seed, Laws::Forgetful).await.unwrap().differences.len();
    }
    assert!(found > 0, "conditions are never NULL, or nothing is compared");
}
