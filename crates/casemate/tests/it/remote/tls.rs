//! Encryption: an authority is trusted when it is named, and no certificate is taken on faith.
//!
//! The server answers on this machine under the certificate in `testdata/tls`.

use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::scan;
use super::server::read;

/// Serves `body` to everybody, `location` as a redirect if there is one; returns the port.
pub fn serve(location: Option<String>, body: &'static [u8]) -> u16 {
    let directory = super::super::repository().join("testdata/tls");
    let chain = CertificateDer::from_pem_file(directory.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, stream));
            if read(&mut stream).is_none() {
                continue;
            }
            let head = match &location {
                Some(location) => format!("HTTP/1.1 302 X\r\nlocation: {location}\r\n"),
                None => {
                    let (last, size) = (body.len() - 1, body.len());
                    format!("HTTP/1.1 206 X\r\netag: \"v\"\r\ncontent-range: bytes 0-{last}/{size}\r\n")
                }
            };
            let head = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.get_mut().write_all(&[head.as_bytes(), body].concat());
            stream.get_mut().conn.send_close_notify();
            let _ = stream.get_mut().flush();
        }
    });
    port
}

const HARMLESS: &[u8] = b"\x80\x02ccollections\nOrderedDict\n)R.";

#[test]
fn an_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let port = serve(None, HARMLESS);
    let authority = super::super::repository().join("testdata/tls/authority.pem");
    let authority = authority.to_str().unwrap();
    let named = scan(&[&format!("https://localhost:{port}/m.pkl")], &[("SSL_CERT_FILE", authority)]);
    assert_eq!(named.code, 0, "{}{}", named.stdout, named.stderr);
    assert_eq!(named.json()["artifacts"][0]["format"], "pickle");
    let unrelated = super::super::repository().join("testdata/tls/unrelated.pem");
    let other = [("SSL_CERT_FILE", unrelated.to_str().unwrap())];
    scan(&[&format!("https://localhost:{port}/m.pkl")], &other)
        .is_one_clear_error(3, &["no secure connection", "SSL_CERT_FILE"]);
    // The certificate is for another name.
    scan(&[&format!("https://127.0.0.1:{port}/m.pkl")], &[("SSL_CERT_FILE", authority)])
        .is_one_clear_error(3, &["no secure connection"]);
    scan(&[&format!("https://localhost:{port}/m.pkl")], &[("SSL_CERT_FILE", "/nowhere.pem")])
        .is_one_clear_error(3, &["no certificate authorities", "ca-certificates"]);
}

#[test]
fn a_redirect_may_not_leave_encryption() {
    let plain = super::server::Server::of_bytes(HARMLESS.to_vec());
    let port = serve(Some(format!("{}/m.pkl", plain.url)), b"x");
    let authority = super::super::repository().join("testdata/tls/authority.pem");
    scan(
        &["--allow-http", &format!("https://localhost:{port}/m.pkl")],
        &[("SSL_CERT_FILE", authority.to_str().unwrap())],
    )
    .is_one_clear_error(3, &["from https to http"]);
    assert!(plain.asked().is_empty());
}
