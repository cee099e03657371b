//! Requests and responses beside openssl's own time-stamping authority.

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const CONFIG: &str = "
[tsa]
default_tsa = t
[t]
serial = serial
crypto_device = builtin
signer_cert = tsa.crt
certs = ca.crt
signer_key = tsa.pem
signer_digest = sha384
default_policy = 1.2.3.4
digests = sha256
ordering = yes
ess_cert_id_chain = no
";

const EXTENSIONS: &str = "
[stamps]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
[both]
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping,codeSigning
";

/// An authority made by openssl.
struct Authority(TempDir);

impl Authority {
    fn new(key: &str, section: &str) -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        std::fs::write(authority.path("tsa.conf"), CONFIG).unwrap();
        std::fs::write(authority.path("extensions"), EXTENSIONS).unwrap();
        std::fs::write(authority.path("serial"), "01\n").unwrap();
        let ec = "ec -pkeyopt ec_paramgen_curve:P-256";
        authority.run(&format!("req -x509 -newkey {ec} -nodes -keyout ca.pem -subj /CN=Root -days 30 -out ca.crt"));
        authority.run(&format!("req -newkey {key} -nodes -keyout tsa.pem -subj /CN=tsa.example -out tsa.csr"));
        authority.run(&format!(
            "x509 -req -in tsa.csr -CA ca.crt -CAkey ca.pem -CAcreateserial -days 10 -extfile extensions -extensions {section} \
             -out tsa.crt"
        ));
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &str) -> String {
        let run = Command::new("openssl").current_dir(self.0.path()).args(arguments.split(' ')).output().unwrap();
        assert!(run.status.success(), "{arguments}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stdout).into_owned()
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        std::fs::write(self.path("request.tsq"), request.to_der()).unwrap();
        self.run("ts -reply -config tsa.conf -section t -queryfile request.tsq -out response.tsr");
        std::fs::read(self.path("response.tsr")).unwrap()
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        roots(&self.path("ca.crt"))
    }
}

fn roots(path: &Path) -> Vec<Vec<u8>> {
    certificate::Certificate::load(path).unwrap()
}

fn now() -> Timestamp {
    use casemate_core::Clock as _;
    casemate_core::SystemClock.now()
}

#[test]
fn a_request_has_the_bytes_of_rfc_3161() {
    let request = Request::new(b"message", [0xff; 8]);
    assert_eq!(request.nonce, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let der = request.to_der();
    assert_eq!(&der[..7], [0x30, 67, 0x02, 0x01, 0x01, 0x30, 0x31]);
    assert_eq!(Request::parse(&der), Ok(request));
    assert!(Request::parse(&der[..der.len() - 4]).is_err());
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn openssl_reads_our_request_and_its_answer_verifies_under_its_root_alone() {
    for key in ["ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-521", "rsa:2048"] {
        let authority = Authority::new(key, "stamps");
        let request = Request::new(b"checkpoint", [7; 8]);
        let response = authority.answer(&request);
        let said = authority.run("ts -query -in request.tsq -text");
        assert!(said.contains("Certificate required: yes") && said.contains("0x4707070707070707"), "{said}");
        let read = Response::parse(&response).unwrap();
        let roots = authority.roots();
        let stamp = read.verify(&request, b"checkpoint", Some(&roots), now()).unwrap();
        assert_eq!(stamp.signer.as_deref(), Some("tsa.example"), "{key}");
        assert!((now().unix_ms() - stamp.time.unix_ms()).abs() < 600_000);
        let unsigned = read.verify(&request, b"checkpoint", None, now()).unwrap();
        assert_eq!(unsigned.signer, None);
        assert_eq!(read.verify(&request, b"other", Some(&roots), now()), Err(Error::OtherMessage));
        let again = Request::new(b"checkpoint", [8; 8]);
        assert_eq!(read.verify(&again, b"checkpoint", Some(&roots), now()), Err(Error::OtherRequest));
        let before = Timestamp::from_unix_ms(stamp.time.unix_ms() - 600_000);
        assert!(matches!(read.verify(&request, b"checkpoint", Some(&roots), before), Err(Error::Future { .. })));
        let stranger = Authority::new(key, "stamps");
        let refused = read.verify(&request, b"checkpoint", Some(&stranger.roots()), now());
        assert!(matches!(&refused, Err(Error::Signature(what)) if what.contains("no trusted root")), "{refused:?}");
    }
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn an_answer_changed_anywhere_that_is_signed_is_refused() {
    let authority = Authority::new("ec -pkeyopt ec_paramgen_curve:P-256", "stamps");
    let request = Request::new(b"checkpoint", [7; 8]);
    let response = authority.answer(&request);
    let roots = authority.roots();
    let holds = |bytes: &[u8]| {
        Response::parse(bytes).and_then(|read| read.verify(&request, b"checkpoint", Some(&roots), now())).ok()
    };
    let good = holds(&response).unwrap();
    // The root travels along and is not used; roots are the reader's.
    let unused = response.windows(roots[0].len()).position(|window| window == roots[0]).unwrap();
    let unused = unused..unused + roots[0].len();
    let mut accepted = Vec::new();
    for at in (0..response.len()).filter(|at| !unused.contains(at)) {
        for bit in [0x01, 0x20] {
            let mut bad = response.clone();
            bad[at] ^= bit;
            if let Some(stamp) = holds(&bad) {
                assert_eq!(stamp, good, "byte {at}");
                accepted.push(at);
            }
        }
    }
    // Not signed either: that the status may be 1, algorithms named twice, and the name of the signer beside the attributes.
    assert!(accepted.len() < 150, "{accepted:?}");
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn a_certificate_that_is_also_for_something_else_stamps_nothing() {
    let authority = Authority::new("ec -pkeyopt ec_paramgen_curve:P-256", "stamps");
    let request = Request::new(b"checkpoint", [7; 8]);
    let mut read = Response::parse(&authority.answer(&request)).unwrap();
    // openssl itself does not stamp with such a certificate, so one is put in place of the good one.
    let other = Authority::new("ec -pkeyopt ec_paramgen_curve:P-256", "both");
    let der = roots(&other.path("tsa.crt"));
    assert!(!certificate::Certificate::parse(&der[0]).unwrap().for_time_stamps);
    let Some((_, signed)) = &mut read.token else { panic!("no token") };
    signed.replace_certificates(der);
    let refused = read.verify(&request, b"checkpoint", Some(&authority.roots()), now());
    assert!(matches!(&refused, Err(Error::Signature(what)) if what.contains("is not there")), "{refused:?}");
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn a_refusal_is_no_stamp() {
    let authority = Authority::new("ec -pkeyopt ec_paramgen_curve:P-256", "stamps");
    authority.run("ts -query -digest 0000000000000000000000000000000000000000 -sha1 -out request.tsq");
    authority.run("ts -reply -config tsa.conf -section t -queryfile request.tsq -out response.tsr");
    let read = Response::parse(&std::fs::read(authority.path("response.tsr")).unwrap()).unwrap();
    let request = Request::new(b"checkpoint", [7; 8]);
    assert_eq!(read.verify(&request, b"checkpoint", None, now()), Err(Error::Refused { status: 2 }));
}

#[test]
fn fractions_of_seconds_are_cut_and_other_times_refused() {
    assert_eq!(time(b"20261121153000Z").unwrap().to_string(), "2026-11-21T15:30:00Z");
    assert_eq!(time(b"20261121153000.25Z"), time(b"20261121153000Z"));
    for bad in [&b"20261121153000"[..], b"20261121153000.Z", b"20261121153000.2x", b"20261321153000Z", b"2026Z"] {
        assert_eq!(time(bad), None);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _ = Response::parse(&bytes);
        let _ = Request::parse(&bytes);
    }
}
