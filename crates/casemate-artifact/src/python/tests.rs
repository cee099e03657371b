//! Calls as they are spelled to be overlooked, and ordinary scripts.

use proptest::prelude::*;

use super::*;

fn shown(source: &str) -> Vec<String> {
    let mark = |call: &CodeCall| match (call.at_import, call.is_hidden) {
        (true, true) => "import hidden",
        (true, false) => "import",
        (false, true) => "later hidden",
        (false, false) => "later",
    };
    calls(source, 100).iter().map(|call| format!("{}:{} {}", call.line, call.callee, mark(call))).collect()
}

#[test]
fn names_are_resolved_through_their_disguises() {
    for (source, callee) in [
        ("import os as o\no.system('x')", "os.system"),
        ("from os import (path, system as s)\ns('x')", "os.system"),
        ("import os\nrun = os.system\nrun('x')", "os.system"),
        ("__import__('os').system('x')", "os.system"),
        ("import importlib as i\ni.import_module('os').popen('x')", "os.popen"),
        ("import os\ngetattr(os, 'system')('x')", "os.system"),
        ("import os\nos.__dict__['system']('x')", "os.system"),
        ("import os\nvars(os)['system']('x')", "os.system"),
        ("import sys\nsys.modules['os'].system('x')", "os.system"),
        ("import os\n𝓸s.𝘀ystem('x')", "os.system"),
        ("import os\nf'{os.system(\"x\")}'", "os.system"),
        ("from os import *\nsystem('x')", "os.system"),
        ("import os; os \\\n .system('x')", "os.system"),
        ("__builtins__['eval'](x)", "__builtins__.eval"),
        ("exec('import os; os.system(1)')", "os.system"),
        ("__import__('o' + 's')", "__import__"),
    ] {
        let found = calls(source, 100);
        assert!(found.iter().any(|call| call.callee == callee && call.at_import), "{source}: {found:?}");
    }
}

#[test]
fn what_runs_at_import_is_told_from_what_runs_later() {
    for (source, when) in [
        ("import os\ndef f():\n  os.system('x')\n", "later"),
        ("import os\ndef f(): os.system('x')\n", "later"),
        ("import os\ndef f(a=os.system('x')): pass", "import"),
        ("import os\ndef f():\n  os.system('x')\nf()", "import"),
        ("import os\ndef f():\n  os.system('x')\ndef g(): f()\n@g\ndef h(): pass", "import"),
        ("import os\nclass A:\n  def __init__(self):\n    os.system('x')\nA()", "import"),
        ("import os\nclass A:\n  def m(self):\n    os.system('x')\nA().m()", "import"),
        ("import os\nclass A:\n  def m(self):\n    os.system('x')\n", "later"),
        ("import os\nclass A:\n  os.system('x')\n", "import"),
        ("import os\nif __name__ == '__main__':\n  os.system('x')\n", "later"),
        (
            "import os\nif __name__ == \"__main__\":  # x\n  def r(f: int) -> bytes:\n    y = os\n    return y\n\n  os.system(r)\n",
            "later",
        ),
        ("import os\nif a != b and __name__ == '__main__':\n  os.system('x')\n", "later"),
        ("import os\nif a or __name__ == '__main__':\n  os.system('x')\n", "import"),
        ("import os\nif (__name__ == '__main__') == False:\n  os.system('x')\n", "import"),
        ("import os\nif __name__ != '__main__':\n  os.system('x')\n", "import"),
        ("import os\nf = lambda: os.system('x')\n", "later"),
        ("import os\n(lambda: os.system('x'))()\n", "import"),
        ("import os\nif True:\n  def f():\n    pass\n  os.system('x')\n", "import"),
    ] {
        let found = shown(source);
        assert!(found.iter().all(|call| call.ends_with(when)) && found.len() == 1, "{source}: {found:?}");
    }
}

#[test]
fn code_that_is_decoded_or_fetched_on_the_spot_is_hidden() {
    for source in [
        "import base64\nexec(base64.b64decode('eA=='))",
        "import zlib as z\ndata = z.decompress(b)\nexec(data)",
        "from urllib.request import urlopen\nexec(urlopen('http://x').read())",
        "import codecs\nexec(codecs.decode('x', 'rot13'))",
        r"exec('\x69mport os')",
        "exec(bytes.fromhex('00'))",
    ] {
        assert!(calls(source, 100).iter().any(|call| call.is_hidden && call.at_import), "{source}");
    }
}

#[test]
fn sources_made_to_be_slow_are_read_in_linear_time() {
    for (unit, n) in [
        ("import,", 140_000),
        ("getattr(", 120_000),
        ("a.", 500_000),
        ("exec('x')\n", 100_000),
        ("f'{", 300_000),
        ("vars(a)['b']", 80_000),
        ("x=", 500_000),
        ("from a import b,", 60_000),
        ("a()", 300_000),
        ("[", 1_000_000),
    ] {
        let aliases: String = (0..2_000).map(|n| format!("import os as a{n}\n")).collect();
        assert!(calls(&format!("{aliases}{}", unit.repeat(n)), 10).len() <= 80, "{unit}");
    }
    let long =
        format!("import os\ndef {}():\n os.system(1)\n{}", "f".repeat(400_000), " os.system(1)\n".repeat(40_000));
    assert_eq!(calls(&long, 1000).len(), 1000);
}

#[test]
fn ordinary_code_calls_nothing_worth_reporting() {
    for source in [
        "import torch\nmodel.eval()\nre.compile('x')\nrequests = []\nrequests.get(1)\n",
        "# os.system('x')\n'''import os\nos.system('x')'''\ntext = \"exec(x)\"\n",
        "import importlib\nimportlib.import_module('torch')\n",
        "import os\nos.path.join('a')\nopen('x.txt', 'w')\n",
        "def eval(x): pass\nclass exec: pass\n",
    ] {
        assert_eq!(shown(source), Vec::<String>::new(), "{source}");
    }
}

proptest! {
    #[test]
    fn any_source_is_read_within_limits(words in prop::collection::vec(prop::sample::select(vec![
        "import ", "from ", "os", ".", "system", "(", ")", "getattr", "vars", "'x'", "f'{", "}'", "[", "]", "=", "lambda",
        ":", "\n", "  ", "def ", "class ", "@", "__import__", "exec", ",", "\\", "\"\"\"", "if __name__ == '__main__':", "𝓸", ";",
    ]), 0..80)) {
        prop_assert!(calls(&words.concat(), 10).len() <= 100);
    }
}
