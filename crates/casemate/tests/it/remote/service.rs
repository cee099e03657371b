//! Programs of other people that a test starts on this machine, and what to do where one is missing.
//!
//! Python's lie in `target/test-services`, where `.ci/run` installs them; with `CASEMATE_REQUIRE_SERVICES` set, as in CI, a missing
//! one is a failure.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that ends with the test.
pub struct Service {
    child: Child,
    pub address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program at `path`, or what to do to have it.
pub fn installed(path: PathBuf, how: &str) -> Option<PathBuf> {
    let is_there = path.is_file();
    let message = format!("{} is missing: {how}", path.display());
    assert!(is_there || std::env::var_os("CASEMATE_REQUIRE_SERVICES").is_none(), "{message}");
    if !is_there {
        // Past the capture of the test harness, or nobody would read it.
        let _ = writeln!(std::io::stderr(), "NOT CHECKED against a real server: {message}");
    }
    is_there.then_some(path)
}

pub fn python_program(name: &str) -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-services");
    let how = "python3 -m venv target/test-services && \
        target/test-services/bin/pip install 'moto[s3,kms]==5.2.5' flask flask-cors 'oras==0.2.43'";
    installed(environment.join("bin").join(name), how)
}

pub fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts `command` and waits until somebody answers at `address`.
pub fn start(command: &mut Command, address: String) -> Service {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let service = Service { child, address };
    let started = Instant::now();
    while TcpStream::connect(&service.address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "{} does not answer", service.address);
        std::thread::sleep(Duration::from_millis(50));
    }
    service
}

pub fn python(program: &Path, directory: &Path, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).current_dir(directory).args(["-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
