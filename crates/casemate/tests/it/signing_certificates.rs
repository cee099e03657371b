//! Signatures under certificates that openssl made, good ones and each kind of bad one, beside openssl and the reference.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Run, casemate};

const EXTENSIONS: &str = "
[leaf]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=codeSigning
subjectAltName=email:release@example.com,URI:https://example.com/builder
[unnamed]
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=codeSigning
[server]
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:example.com
[unrestricted]
subjectAltName=email:release@example.com
[anything]
extendedKeyUsage=anyExtendedKeyUsage
subjectAltName=email:release@example.com
[cipher]
keyUsage=keyAgreement
extendedKeyUsage=codeSigning
subjectAltName=email:release@example.com
[authority]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign,digitalSignature
extendedKeyUsage=codeSigning
subjectAltName=email:release@example.com
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
";

const AUTHORITY: &str = "
[ca]
default_ca=d
[d]
database=index.txt
new_certs_dir=.
default_md=sha256
policy=p
unique_subject=no
rand_serial=yes
[p]
commonName=supplied
";

/// Authorities and keys in a directory, and a model to sign.
struct Pki(TempDir);

impl Pki {
    fn new() -> Self {
        let pki = Self(tempfile::tempdir().unwrap());
        fs::write(pki.path().join("extensions"), EXTENSIONS).unwrap();
        fs::write(pki.path().join("authority"), AUTHORITY).unwrap();
        fs::write(pki.path().join("index.txt"), "").unwrap();
        fs::create_dir(pki.path().join("model")).unwrap();
        fs::write(pki.path().join("model/weights"), "w").unwrap();
        pki.key("root");
        pki.openssl("req -x509 -new -key root.pem -subj /CN=Root -days 30 -extensions v3_ca -out root.crt");
        pki.key("middle");
        pki.certificate("middle", "ca", "root", "-days 20");
        pki.key("release");
        pki
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, arguments: &str) -> Run {
        let run: Run =
            Command::new("openssl").current_dir(self.path()).args(arguments.split(' ')).output().unwrap().into();
        assert_eq!(run.code, 0, "{arguments}: {}", run.stderr);
        run
    }

    fn key(&self, name: &str) {
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.pem"));
        #[cfg(unix)]
        fs::set_permissions(
            self.path().join(format!("{name}.pem")),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
    }

    /// `NAME.crt` for `NAME.pem`, by `issuer`, with a section of the extensions and a time.
    fn certificate(&self, name: &str, section: &str, issuer: &str, time: &str) {
        self.openssl(&format!("req -new -key {name}.pem -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.crt -CAkey {issuer}.pem -CAcreateserial -extfile extensions \
             -extensions {section} {time} -out {name}.crt"
        ));
    }

    /// As [`Self::certificate`], valid through 2015 alone.
    fn expired(&self, name: &str, section: &str, issuer: &str) {
        self.openssl(&format!("req -new -key {name}.pem -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "ca -batch -notext -config authority -in {name}.csr -cert {issuer}.crt -keyfile {issuer}.pem -extfile extensions \
             -extensions {section} -startdate 20150101000000Z -enddate 20160101000000Z -out {name}.crt"
        ));
    }

    fn sign(&self) {
        let sign = ["sign", "model", "--key", "release.pem", "--certificate", "release.crt", "--chain", "middle.crt"];
        let signed = casemate(self.path(), &sign);
        assert_eq!(signed.code, 0, "{}", signed.stderr);
    }

    fn verify(&self, roots: &str, identity: &str) -> Run {
        casemate(self.path(), &["verify", "model", "--roots", roots, "--identity", identity])
    }

    /// Whether openssl finds a path for the leaf.
    fn has_path(&self) -> bool {
        let arguments = ["verify", "-CAfile", "root.crt", "-untrusted", "middle.crt", "release.crt"];
        Command::new("openssl").current_dir(self.path()).args(arguments).output().unwrap().status.success()
    }
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn a_chain_to_a_given_root_speaks_for_the_names_of_its_leaf_alone() {
    let pki = Pki::new();
    pki.certificate("release", "leaf", "middle", "-days 10");
    assert!(pki.has_path());
    pki.sign();
    for identity in ["release@example.com", "https://example.com/builder"] {
        let run = pki.verify("root.crt", identity);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }
    // No prefix, no other case, and not the common name where there are alternative names.
    for identity in ["release", "Release@example.com", "release@example.co", "example.com", ""] {
        pki.verify("root.crt", identity).is_one_clear_error(4, &["`release@example.com`", "not for"]);
    }
    pki.certificate("release", "unnamed", "middle", "-days 10");
    pki.sign();
    assert_eq!(pki.verify("root.crt", "release").code, 0);
    // The key of the certificate is no trusted key, and a root is not the other way round.
    pki.openssl("ec -in release.pem -pubout -out release.pub.pem");
    casemate(pki.path(), &["verify", "model", "--key", "release.pub.pem"]).is_one_clear_error(4, &["--roots"]);
    assert_eq!(casemate(pki.path(), &["verify", "model", "--roots", "root.crt"]).code, 2);
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn certificates_for_other_purposes_sign_no_model() {
    let pki = Pki::new();
    for (section, identity, why) in [
        ("server", "example.com", "not for signing code"),
        ("unrestricted", "release@example.com", "not for signing code"),
        ("anything", "release@example.com", "not for signing code"),
        ("cipher", "release@example.com", "not for digital signatures"),
        ("authority", "release@example.com", "authority"),
    ] {
        pki.certificate("release", section, "middle", "-days 10");
        assert!(pki.has_path(), "openssl finds a path, whatever the purpose: {section}");
        pki.sign();
        pki.verify("root.crt", identity).is_one_clear_error(4, &[why]);
    }
}

#[test]
#[ignore = "needs openssl: cargo xtask test"]
fn every_date_is_checked_now_and_no_other_root_counts() {
    let pki = Pki::new();
    // What was valid when it was made, and is no more.
    pki.expired("release", "leaf", "middle");
    pki.sign();
    assert!(!pki.has_path());
    pki.verify("root.crt", "release@example.com").is_one_clear_error(4, &["2016-01-01"]);

    pki.certificate("release", "leaf", "middle", "-days 10");
    pki.sign();
    pki.key("stranger");
    pki.openssl("req -x509 -new -key stranger.pem -subj /CN=Root -days 30 -out stranger.crt");
    pki.verify("stranger.crt", "release@example.com").is_one_clear_error(4, &["no trusted root"]);
    // The same root key in an expired certificate is not believed.
    fs::copy(pki.path().join("root.crt"), pki.path().join("Root.crt")).unwrap();
    fs::copy(pki.path().join("root.pem"), pki.path().join("Root.pem")).unwrap();
    pki.expired("Root", "ca", "root");
    pki.verify("Root.crt", "release@example.com").is_one_clear_error(4, &["valid now"]);
    assert_eq!(pki.verify("root.crt", "release@example.com").code, 0);
    // A middle authority whose time has passed breaks the chain, for openssl too.
    pki.expired("middle", "ca", "root");
    pki.sign();
    assert!(!pki.has_path());
    pki.verify("root.crt", "release@example.com").is_one_clear_error(4, &["no trusted root"]);
    // Certificates for another key are refused when signing.
    pki.key("release");
    casemate(pki.path(), &["sign", "model", "--key", "release.pem", "--certificate", "release.crt"])
        .is_one_clear_error(2, &["not for this key"]);
}

#[test]
#[ignore = "needs the reference implementation: cargo xtask test"]
fn certificate_signatures_verify_in_the_reference_and_its_own_here() {
    let pki = Pki::new();
    pki.certificate("release", "leaf", "middle", "-days 10");
    pki.sign();
    let program = std::env::var("CASEMATE_TEST_MODEL_SIGNING").expect("run `cargo xtask test`");
    let reference = |arguments: &str| -> Run {
        Command::new(&program).current_dir(pki.path()).args(arguments.split(' ')).output().unwrap().into()
    };
    let run = reference("verify certificate model --signature model.sig --certificate_chain root.crt");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let run = reference(
        "sign certificate model --signature theirs.sig --private_key release.pem --signing_certificate release.crt \
         --certificate_chain middle.crt",
    );
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let verify = ["verify", "model", "--signature", "theirs.sig", "--roots", "root.crt", "--identity"];
    let run = casemate(pki.path(), &[&verify[..], &["release@example.com"]].concat());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    // A web server's certificate signs a model there, and nobody asks whose it is; not here.
    pki.certificate("release", "server", "middle", "-days 10");
    pki.sign();
    assert_eq!(reference("verify certificate model --signature model.sig --certificate_chain root.crt").code, 0);
    assert_eq!(pki.verify("root.crt", "example.com").code, 4);
}
