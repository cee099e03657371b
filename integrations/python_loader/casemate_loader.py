"""Loads a model only after its signature was verified, and loads the very bytes that were.

Verifying a path and then opening it leaves a gap: who can write to the path puts another file there in between. Here the
files are copied first, into a directory nobody else may enter; the copy is verified, and the copy is handed on. What happens
to the original meanwhile does not matter: either the copy holds what was signed, or it is refused.

    from casemate_loader import verified
    with verified("models/classifier", signature="models/classifier.sig", key="keys/release.pub.pem") as path:
        model = AutoModel.from_pretrained(path, local_files_only=True)

When the block ends the copy is removed, so everything has to be loaded by then; a library that maps files into memory may keep
them mapped. One file of a large model, without copying the rest:

    with verified("models/classifier", files=["config.json"], signature=…, key=…) as path:
        config = json.loads((path / "config.json").read_bytes())

Needs Python 3.9 and the `casemate` program, nothing else. The copy costs the room and time of one copy, and shares its
blocks with the original on file systems that can do so (Btrfs, XFS; Linux, Python 3.14). `directory=` says where it is made:
choose a place on the same file system, or in memory (/dev/shm).
"""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path, PurePosixPath


class Refused(Exception):
    """The model was not handed on.

    `code` is casemate's exit code: 4 not as signed, 3 could not be verified, 2 usage. `report` is its report, where there is one.
    """

    def __init__(self, message, code, report=None):
        super().__init__(message)
        self.code = code
        self.report = report


@contextlib.contextmanager
def verified(
    model,
    *,
    signature=None,
    key=None,
    roots=None,
    identity=None,
    pq_key=None,
    files=None,
    strict=False,
    directory=None,
    casemate="casemate",
    timeout=None,
):
    """Yields the path of a private copy of `model`, a directory or file, that is what was signed; removes it afterwards.

    `signature` is the signature file [default: `model.sig` beside the model]. Whom to believe: `key`, the signer's public
    key, or `roots` and `identity` of a certificate; with `pq_key` a good second signature is demanded. `files` hands on these
    files of the directory only, by their names below it. `strict` refuses files the signature does not cover. `directory` is
    where the copy is made; `timeout` ends a verification that takes more seconds.

    Raises `Refused`, and then nothing is left behind; `OSError` when a file cannot be copied or casemate cannot be run.
    """
    model = Path(model)
    signature = Path(signature) if signature is not None else model.parent / "model.sig"
    if key is None and (roots is None or identity is None):
        raise ValueError("say whom to believe: key, or roots and identity")
    private = Path(tempfile.mkdtemp(prefix="casemate-", dir=directory))  # mode 0700
    try:
        # Signature and keys are read once too; the model keeps its name, which libraries may show.
        own = _copy_file(signature, private / "signature")
        name = model.resolve().name or "model"
        copy = private / "model" / name
        copy.parent.mkdir()
        if model.is_dir():
            _copy_directory(model, copy, files, signature)
        elif files is not None:
            raise ValueError("files choose among the files of a directory, and this is a file")
        else:
            _copy_file(model, copy)
        command = [casemate, "verify", "--format", "json", "--signature", own]
        trust = {"--key": key, "--roots": roots, "--pq-key": pq_key}
        for option, file in trust.items():
            if file is not None:
                command += [option, _copy_file(Path(file), private / option.strip("-"))]
        command += ["--identity", identity] if roots is not None and identity is not None else []
        command += ["--require-pq"] if pq_key is not None else []
        command += ["--strict"] if strict else []
        for wanted in files or ():
            command += ["--partial", str(wanted)]
        _verify([*map(str, command), "--", str(copy)], partial=list(files) if files is not None else None, timeout=timeout)
        yield copy
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _verify(command, *, partial, timeout):
    """Raises `Refused` unless casemate says, in its report and by its exit code, that all of it is as signed."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"verification took more than {timeout} seconds", 3) from None
    try:
        report = json.loads(run.stdout)
    except ValueError:
        raise Refused(run.stderr.strip() or f"casemate ended with {run.returncode}", run.returncode or 3) from None
    if run.returncode != 0:
        what = "; ".join(finding["message"] for finding in report["findings"][:5] if finding["severity"] != "info")
        raise Refused(what or f"casemate ended with {run.returncode}", run.returncode, report)
    # A program that ends with 0 and did something else is not believed.
    summary = report["summary"]
    if report["command"] != "verify" or report["outcome"] != "pass" or summary["partial"] != (partial is not None):
        raise Refused("casemate's report is not that of a verification that holds", 3, report)
    if partial is not None and summary["files_equal"] != len(set(partial)):
        raise Refused("not every file asked for is as signed", 4, report)


def _copy_directory(source, target, files, signature):
    """Copies a directory, or some of its files, without `.git` and the signature, which are no part of the model."""
    root = source.resolve()
    target.mkdir()
    if files is not None:
        if not files:
            raise ValueError("files is empty")
        for name in files:
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or str(pure) != str(name):
                raise ValueError(f"{name!r} is not the plain name of a file below the model")
            (target / pure).parent.mkdir(parents=True, exist_ok=True)
            _copy_file(_inside(root, root / pure), target / pure)
        return
    signature = signature.resolve()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        here = Path(folder)
        if len(here.relative_to(root).parts) > 64:
            raise OSError(f"{folder} lies too deep, or a link leads round in a circle")
        if here == root:
            folders[:] = [name for name in folders if name not in (".git", ".casemate")]
        for name in folders:
            _inside(root, here / name)
        there = target / here.relative_to(root)
        there.mkdir(exist_ok=True)
        for name in names:
            file = _inside(root, here / name)
            if file != signature:
                _copy_file(file, there / name)


def _inside(root, path):
    """`path` with its links followed, which must not lead out of the model: what is there is not part of what was signed."""
    real = path.resolve(strict=True)
    if real != root and root not in real.parents:
        raise Refused(f"{path} is a link that leads out of the model; name the directory its files lie in", 3)
    return real


def _copy_file(source, target):
    """Copies one regular file; a pipe would block for ever."""
    descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as reading:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{source} is not a regular file")
        with open(target, "xb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
    return target


def _raise(error):
    raise error
