//! TLS: demanded beyond this machine, and nothing else is answered where it is demanded.

use crate::{
    common::site,
    raw::{Raw, startup},
};
use regauge_serve::pg::{Options, Server};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_beyond_this_machine_without_tls() {
    let error = Server::bind("0.0.0.0:0".parse().unwrap(), Options::default()).err().expect("refused");
    assert_eq!(error.sqlstate, "22023");
    assert!(error.hint.unwrap().contains("--tls-cert"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let site = site().await;
    let error = Server::bind(site.address, Options::default()).err().expect("in use");
    assert!(error.message.contains(&site.address.to_string()) && error.hint.is_some(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_a_request_for_tls_is_declined_and_plain_goes_on() {
    use tokio::io::AsyncReadExt;
    let site = site().await;
    let mut raw = Raw::new(&site).await;
    raw.send(&[8u32, 80_877_103].map(u32::to_be_bytes).concat()).await;
    assert_eq!(raw.socket.read_u8().await.unwrap(), b'N');
    raw.send(&[8u32, 80_877_104].map(u32::to_be_bytes).concat()).await;
    assert_eq!(raw.socket.read_u8().await.unwrap(), b'N');
    raw.send(&startup(&[("user", "regauge"), ("database", "regauge")])).await;
    assert_eq!(raw.answer().await.unwrap().0, b'R');
}
