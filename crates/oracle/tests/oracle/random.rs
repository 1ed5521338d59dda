//! Random views and schedules: regauge against PostgreSQL. Sizes come from the environment
//! (`cargo xtask oracle --views N --seed S [--workers W]`), else they are CI's.

use std::time::Instant;

use regauge_oracle::generate::Sizes;
use regauge_oracle::postgres::Server;
use regauge_oracle::prove::{Wish, prove};
use regauge_oracle::regauge::{RegaugeMaker, Views};

fn size(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

// `REGAUGE_ORACLE_AT_READ=1` proves the batch engine instead.
#[tokio::test(flavor = "multi_thread")]
async fn at_every_epoch_every_view_equals_the_query_in_postgres() {
    let at_read = std::env::var_os("REGAUGE_ORACLE_AT_READ").is_some();
    proved(if at_read { Views::AtRead } else { Views::Maintained }).await;
}

async fn proved(views: Views) {
    let start = Instant::now();
    let server = Server::start().await.unwrap();
    let port = server.port();
    let wish = Wish {
        views: size("REGAUGE_ORACLE_VIEWS").unwrap_or(320) as usize,
        seed: size("REGAUGE_ORACLE_SEED").unwrap_or(20_261_123),
        workers: size("REGAUGE_ORACLE_WORKERS").map(|n| n as usize),
        sizes: Sizes { views: 8, commits: 10, batch_max: 10_000 },
        threads: size("REGAUGE_ORACLE_THREADS").unwrap_or(2) as usize,
        differences_max: 10,
    };
    let proof = tokio::task::spawn_blocking(move || prove(&wish, port, &RegaugeMaker(views)).unwrap()).await.unwrap();
    let mut refused: Vec<(&String, &usize)> = proof.refused.iter().collect();
    refused.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (message, n) in refused.iter().take(10) {
        println!("refused {n} x: {message}");
    }
    for (message, n) in &proof.refused_selects {
        println!("refused as a plain SELECT {n} x: {message}");
    }
    println!("seed={} {} took_s={:.0}", wish.seed, proof.details(), start.elapsed().as_secs_f64());
    println!("{proof}");
    // For `cargo xtask oracle`, whose last line it is: behind this one the test harness speaks.
    if let Some(path) = std::env::var_os("REGAUGE_ORACLE_LAST_LINE") {
        std::fs::write(path, proof.to_string()).unwrap();
    }
    let (n, faults, wrong) = (proof.views, proof.restarts, proof.differences.len());
    println!(
        "soak: cases={n} answers={} past={} faults={faults} faults:restart={faults} violations={wrong}",
        proof.answers, proof.past
    );
    assert!(proof.differences.is_empty(), "seed={} {proof}", wish.seed);
    if wish.views >= 300 {
        let of_reads = [proof.failing_answers, proof.selects, proof.past, proof.gone];
        let drawn = [proof.healed, proof.failing_commits, proof.digests].into_iter().chain(of_reads).collect::<Vec<_>>();
        assert!(drawn.iter().all(|n| *n > 0), "not everything was drawn: {}", proof.details());
    }
    assert!(proof.views >= wish.views, "too many refusals to reach the views wished: {proof}");
    assert!(proof.unanswered * 100 < proof.views, "PostgreSQL had no time for one percent or more: {proof}");
    assert!(proof.refused() * 20 < proof.views, "five percent refused or more: {proof}");
}
