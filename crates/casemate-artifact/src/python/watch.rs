//! The calls worth reporting in Python source, by dotted name.

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Starts a process.
    Process,
    /// Runs text as code.
    Code,
    /// Imports a computed name.
    Import,
    /// Unpickles or unmarshals.
    Unpickle,
    /// Loads a native library.
    Native,
    /// Reaches the network.
    Network,
    /// Writes where a shell, a daemon or Python starts from.
    Startup,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Process, Self::Code, Self::Import, Self::Unpickle, Self::Native, Self::Network, Self::Startup];
}

/// Names every module has without an import.
pub(super) const BUILTINS: &[&str] = &["eval", "exec", "execfile", "__import__", "open"];

/// Modules from which a name may matter.
pub(super) const ROOTS: &[&str] = &[
    "os",
    "posix",
    "nt",
    "subprocess",
    "pty",
    "commands",
    "asyncio",
    "runpy",
    "importlib",
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "ctypes",
    "socket",
    "urllib",
    "urllib2",
    "requests",
    "httpx",
    "http",
    "ftplib",
    "smtplib",
    "builtins",
    "sys",
    "eval",
    "exec",
    "execfile",
    "__import__",
    "open",
    "getattr",
    "io",
];

/// What a call of this does.
pub(super) fn kind_of(dotted: &str) -> Option<CallKind> {
    let dotted = dotted.strip_prefix("builtins.").or_else(|| dotted.strip_prefix("__builtins__.")).unwrap_or(dotted);
    let (module, name) = dotted.rsplit_once('.').unwrap_or(("", dotted));
    let any_start = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
    match (module, name) {
        ("", "eval" | "exec" | "execfile") => Some(CallKind::Code),
        ("runpy", "run_path" | "run_module") => Some(CallKind::Code),
        ("", "__import__") | ("importlib", "import_module" | "__import__") => Some(CallKind::Import),
        ("" | "io" | "os", "open") => Some(CallKind::Startup),
        ("os" | "posix" | "nt", _) if any_start(&["system", "popen", "exec", "spawn", "posix_spawn", "startfile"]) => {
            Some(CallKind::Process)
        }
        ("subprocess", _) if any_start(&["run", "call", "check_", "Popen", "getoutput", "getstatusoutput"]) => {
            Some(CallKind::Process)
        }
        ("pty", "spawn") | ("commands", _) => Some(CallKind::Process),
        ("asyncio", _) if any_start(&["create_subprocess"]) => Some(CallKind::Process),
        ("pickle" | "cPickle" | "_pickle" | "dill" | "cloudpickle" | "marshal", "load" | "loads")
        | ("shelve", "open") => Some(CallKind::Unpickle),
        ("ctypes", "CDLL" | "WinDLL" | "PyDLL" | "OleDLL") => Some(CallKind::Native),
        (_, "LoadLibrary") if module.starts_with("ctypes.") => Some(CallKind::Native),
        ("socket", "socket" | "create_connection" | "create_server") => Some(CallKind::Network),
        ("urllib" | "urllib2" | "urllib.request", "urlopen" | "urlretrieve") => Some(CallKind::Network),
        ("requests" | "httpx", "get" | "post" | "put" | "patch" | "delete" | "head" | "request" | "stream") => {
            Some(CallKind::Network)
        }
        ("http.client", "HTTPConnection" | "HTTPSConnection") | ("ftplib", "FTP") | ("smtplib", "SMTP") => {
            Some(CallKind::Network)
        }
        _ => None,
    }
}

/// Whether a call of this name turns data into what was hidden in it, or fetches it.
pub(super) fn reveals(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "b64decode",
        "b32decode",
        "b16decode",
        "b85decode",
        "a85decode",
        "standard_b64decode",
        "urlsafe_b64decode",
        "decodebytes",
        "decodestring",
        "unhexlify",
        "a2b_base64",
        "a2b_hex",
        "fromhex",
        "decompress",
        "decrypt",
        "urlopen",
        "rot13",
        "rot_13",
    ];
    NAMES.contains(&name)
}

/// Whether what is written there runs later: keys, shells, schedules, Python's start.
pub(super) fn is_startup_path(text: &str) -> bool {
    const PLACES: &[&str] = &[
        ".ssh/",
        "authorized_keys",
        ".bashrc",
        ".bash_profile",
        ".zshrc",
        "/etc/cron",
        "/etc/profile",
        "sitecustomize.py",
    ];
    PLACES.iter().any(|place| text.contains(place)) || text.trim_end_matches(['\'', '"']).ends_with(".pth")
}
