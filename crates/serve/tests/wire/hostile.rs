//! Bytes of somebody who does not mean well. Each time the server must still serve others.

use crate::{
    common::{rows, site, site_with, sqlstate},
    raw::{Raw, bind, execute, field, message, parse, query, startup, sync},
};
use regauge_serve::pg::Options;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_before_the_startup_message_ends_the_connection() {
    let site = site().await;
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 4],
        &[0, 0, 0x27, 0x11, 0, 3, 0, 0],
        &[0, 0, 0, 9, 0, 2, 0, 0, 0],
        &[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'],
        &[0, 0, 0, 9, 0, 3, 0, 0, 0],
    ];
    for bytes in garbage {
        let mut raw = Raw::new(&site).await;
        raw.send(bytes).await;
        let code = raw.last_words().await;
        assert!(["08P01", "0A000", "28000"].contains(&code.as_str()), "{bytes:?} {code}");
    }
    // Half a message, and good-bye.
    let mut raw = Raw::new(&site).await;
    raw.send(&startup(&[("user", "regauge")])[..10]).await;
    drop(raw);
    assert_eq!(rows(&site.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_before_the_proof_is_right() {
    let site = site().await;
    for bytes in
        [query("SELECT 1"), message(b'p', b"PLAIN\0\0\0\0\0"), message(b'p', b"SCRAM-SHA-256\0\0\0\xff\xff"), message(b'p', b"")]
    {
        let mut raw = Raw::new(&site).await;
        raw.send(&startup(&[("user", "regauge"), ("database", "regauge")])).await;
        assert_eq!(raw.answer().await.unwrap().0, b'R');
        raw.send(&bytes).await;
        assert_eq!(raw.last_words().await, "08P01");
    }
    for (user, password) in [("regauge", "wrong"), ("nobody", "wrong"), ("regauge", "")] {
        let mut config = site.config();
        config.user(user).password(password);
        let error = config.connect(tokio_postgres::NoTls).await.err().expect("refused");
        assert_eq!(sqlstate(&error), "28P01", "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_and_letters_that_cannot_be_end_the_connection() {
    let site = site().await;
    let mut unknown = vec![0x80u8; 20_000];
    unknown[0] = b'~';
    for bytes in [
        [&b"Q"[..], &0x7fff_ffffu32.to_be_bytes()].concat(),
        [&b"Q"[..], &3u32.to_be_bytes()].concat(),
        [&b"B"[..], &u32::MAX.to_be_bytes()].concat(),
        unknown,
    ] {
        let mut raw = Raw::admitted(&site).await;
        raw.send(&bytes).await;
        assert_eq!(raw.last_words().await, "08P01");
    }
    assert_eq!(rows(&site.client().await, "SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_is_read_to_its_end_and_refused() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    // A statement of 100 MB, in pieces: nobody holds it whole.
    let bytes = 100_000_000u32;
    raw.send(&[&b"Q"[..], &(bytes + 4).to_be_bytes()].concat()).await;
    let piece = vec![b' '; 1_000_000];
    for _ in 0..100 {
        raw.send(&piece).await;
    }
    let refused = raw.until_ready().await;
    assert_eq!(field(&refused[0].1, b'C'), "54000");
    assert!(!field(&refused[0].1, b'H').is_empty());
    let long = " ".repeat(17 << 20);
    raw.send(&[parse("", &format!("SELECT 1 {long}")), bind("", ""), execute("", 0), sync()].concat()).await;
    assert_eq!(raw.letters().await, "EZ");
    raw.send(&message(b'D', &[b'x'; 70_000])).await;
    raw.send(&sync()).await;
    assert_eq!(raw.letters().await, "EZ");
    raw.send(&query("SELECT 1")).await;
    assert_eq!(raw.letters().await, "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_do_not_hold_what_they_say_are_refused_and_the_connection_lives() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    for body in [&b"SELECT 1"[..], b"SELECT 1\0rest\0", b""] {
        raw.send(&message(b'Q', body)).await;
        assert_eq!(field(&raw.until_ready().await[0].1, b'C'), "08P01");
    }
    raw.send(&message(b'Q', b"SELECT '\xff\xfe'\0")).await;
    assert_eq!(field(&raw.until_ready().await[0].1, b'C'), "22021");
    raw.send(&[parse("s", "SELECT $1::int"), sync()].concat()).await;
    assert_eq!(raw.letters().await, "1Z");
    for (body, code) in [
        (&b"\0s\0\x00\x00\xff\xff"[..], "08P01"),
        (b"\0s\0\x00\x00\x00\x00\x00\x00", "08P01"),
        (b"\0s\0\x00\x01\x00\x01\x00\x01\x00\x00\x00\x03abc\x00\x00", "22P03"),
        (b"\0s\0\x00\x01\x00\x09\x00\x01\xff\xff\xff\xff\x00\x00", "22023"),
        (b"\0s\0\x00\x00\x00\x01\x7f\xff\xff\xffabc\x00\x00", "08P01"),
        (b"\0s\0\x00\x00\x00\x01\x00\x00\x00\x01x\x00\x00", "22P02"),
        (b"\0nothing\0\x00\x00\x00\x00\x00\x00", "26000"),
    ] {
        raw.send(&[message(b'B', body), sync()].concat()).await;
        let answers = raw.until_ready().await;
        assert_eq!((answers[0].0, field(&answers[0].1, b'C').as_str()), (b'E', code), "{body:?}");
    }
    raw.send(&message(b'F', &[0; 12])).await;
    assert_eq!(field(&raw.until_ready().await[0].1, b'C'), "0A000");
    raw.send(&query("SELECT 1")).await;
    assert_eq!(raw.letters().await, "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_last_place_clients_are_told_so() {
    let site = site_with(Options { connections_max: 2, ..Options::default() }).await;
    let (first, second) = (site.client().await, site.client().await);
    let full = site.config().connect(tokio_postgres::NoTls).await.err().expect("full");
    assert_eq!(sqlstate(&full), "53300");
    drop(first);
    // The place is free when the server has seen that the client is gone.
    for _ in 0..6000 {
        if site.config().connect(tokio_postgres::NoTls).await.is_ok() {
            assert_eq!(rows(&second, "SELECT 1").await, ["1"]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the place is never free again");
}
