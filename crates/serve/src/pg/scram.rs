//! SCRAM-SHA-256 from the server's side (RFC 5802, RFC 7677), as PostgreSQL speaks it within SASL messages.
//!
//! ```text
//!   client-first   n,,n=,r=<nonce>                         n: no binding · y: the client could · p=..: bound to the certificate
//!   server-first   r=<nonce+ours>,s=<salt>,i=<iterations>
//!   client-final   c=<header and binding>,r=<nonce+ours>,p=<proof>
//!   server-final   v=<signature>
//! ```
//! Pure but for the nonce, which comes in. Invariant: only a proof made with the password passes, and only over the very channel that
//! the client named; what is malformed is told apart from what is wrong. The name in the message is not looked at: the startup
//! message has it. It does not know where verifiers come from.

use base64::{Engine, engine::general_purpose::STANDARD};
use regauge_views::catalog::rights::scram::Verifier;

/// The only binding that there is.
const END_POINT: &str = "tls-server-end-point";

/// Why an exchange ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not a message of the protocol.
    Malformed(&'static str),
    /// The password is another.
    Unproven,
}

/// An exchange that waits for the client's proof.
pub struct Exchange {
    /// What the client says of its channel, as it must repeat it.
    binding: String,
    nonce: String,
    client_first: String,
    server_first: String,
    verifier: Verifier,
}

impl Exchange {
    /// Answers client-first. `bound` is the hash of the server's certificate where the channel has one; `plus` says that the client
    /// has chosen the mechanism that is bound to it.
    pub fn begin(
        first: &[u8],
        verifier: Verifier,
        bound: Option<&[u8]>,
        plus: bool,
        ours: &str,
    ) -> Result<(String, Exchange), Broken> {
        let malformed = |what| Err(Broken::Malformed(what));
        let Ok(text) = std::str::from_utf8(first) else { return malformed("the message is not text") };
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(identity), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return malformed("the header is missing");
        };
        let data: &[u8] = match (flag, plus) {
            ("n", false) => &[],
            ("y", false) if bound.is_none() => &[],
            ("y", false) => return malformed("the client was kept from seeing that the channel can be bound"),
            (flag, true) if flag.strip_prefix("p=") == Some(END_POINT) => match bound {
                Some(hash) => hash,
                None => return malformed("the channel cannot be bound"),
            },
            _ => return malformed("the channel's binding does not fit the mechanism"),
        };
        if !identity.is_empty() {
            return malformed("an authorization identity is not offered");
        }
        let mut attributes = bare.split(',');
        let name = attributes.next().unwrap_or_default();
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r=")).unwrap_or_default();
        if !name.starts_with("n=") || nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return malformed("a name and a nonce are needed");
        }
        let mut binding = format!("{flag},{identity},").into_bytes();
        binding.extend_from_slice(data);
        let nonce = format!("{nonce}{ours}");
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let binding = STANDARD.encode(binding);
        let exchange = Exchange { binding, nonce, client_first: bare.to_owned(), server_first: server_first.clone(), verifier };
        Ok((server_first, exchange))
    }

    /// Judges client-final; what the server proves itself by.
    pub fn end(self, last: &[u8]) -> Result<String, Broken> {
        let text = std::str::from_utf8(last).map_err(|_| Broken::Malformed("the message is not text"))?;
        let (without, proof) = text.rsplit_once(",p=").ok_or(Broken::Malformed("the proof is missing"))?;
        let mut attributes = without.split(',');
        let (binding, nonce) = (attributes.next(), attributes.next());
        if binding.and_then(|b| b.strip_prefix("c=")) != Some(self.binding.as_str()) {
            return Err(Broken::Malformed("the channel is bound otherwise"));
        }
        if nonce.and_then(|n| n.strip_prefix("r=")) != Some(self.nonce.as_str()) {
            return Err(Broken::Malformed("the nonce is another"));
        }
        let proof = STANDARD.decode(proof).map_err(|_| Broken::Malformed("the proof is not in base64"))?;
        let exchange = format!("{},{},{without}", self.client_first, self.server_first);
        let signature = self.verifier.signature(exchange.as_bytes(), &proof).ok_or(Broken::Unproven)?;
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

/// The hash of a certificate (DER) that channels are bound by: that of its own signature, SHA-256 for older ones (RFC 5929). None
/// for signatures without one.
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    use ring::digest::{SHA256, SHA384, SHA512, digest};
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let oid = signature_oid(certificate)?;
    let hash = match (oid.strip_prefix(&RSA), oid.strip_prefix(&ECDSA)) {
        (Some([0x04 | 0x05 | 0x0b]), _) | (_, Some([0x01] | [0x03, 0x02])) => &SHA256,
        (Some([0x0c]), _) | (_, Some([0x03, 0x03])) => &SHA384,
        (Some([0x0d]), _) | (_, Some([0x03, 0x04])) => &SHA512,
        _ => return None,
    };
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, .. }, .. }`
fn signature_oid(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, _) = element(certificate, 0x30)?;
    let (_, after) = element(whole, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    Some(element(algorithm, 0x06)?.0)
}

/// The content of a DER element of this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (len, rest) = match short {
        n if *n < 0x80 => (usize::from(*n), rest),
        n => {
            let (digits, rest) = rest.split_at_checked(usize::from(n & 0x7f))?;
            (digits.iter().take(8).fold(0_usize, |len, d| (len << 8) | usize::from(*d)), rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(len))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn verifier() -> Verifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        Verifier::new("pencil", &salt, NonZeroU32::new(4096).expect("some"))
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc_goes_through() {
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let (answer, exchange) =
            Exchange::begin(first, verifier(), None, false, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").expect("begun");
        assert_eq!(answer, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.end(last.as_bytes()), Ok("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let begin = |text: &str, bound: Option<&[u8]>, plus| {
            Exchange::begin(text.as_bytes(), verifier(), bound, plus, "ours").map(|(_, e)| e)
        };
        for (text, bound, plus) in [
            ("", None, false),
            ("n,,r=x", None, false),
            ("n,a=other,n=u,r=x", None, false),
            ("p=tls-server-end-point,,n=u,r=x", None, true),
            ("p=tls-unique,,n=u,r=x", Some(&[1u8][..]), true),
            // The client could bind, the server can, and somebody between them took it away.
            ("y,,n=u,r=x", Some(&[1u8][..]), false),
            ("n,,n=u,r=x", Some(&[1u8][..]), true),
        ] {
            assert!(matches!(begin(text, bound, plus), Err(Broken::Malformed(_))), "{text}");
        }
        let end = |last: &str| begin("n,,n=u,r=x", None, false).expect("begun").end(last.as_bytes());
        assert_eq!(end(&format!("c=biws,r=xours,p={}", STANDARD.encode([0; 32]))), Err(Broken::Unproven));
        for last in ["c=biws,r=xours", "c=eSws,r=xours,p=AAAA", "c=biws,r=other,p=AAAA", "c=biws,r=xours,p=!"] {
            assert!(matches!(end(last), Err(Broken::Malformed(_))), "{last}");
        }
    }

    #[test]
    fn broken_certificates_have_no_hash() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x82], &[0x30, 0x03, 0x30, 0x00, 0x30], &[0x30, 0xff, 1, 2, 3]] {
            assert_eq!(end_point(bytes), None);
        }
    }
}
