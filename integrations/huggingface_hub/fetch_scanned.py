"""Fetches a model from a Hugging Face hub and lets nobody load it before casemate has called every file of it clean.

The files go to a quarantine directory beside the destination, are scanned there, and are moved with one rename. A destination
that exists was therefore scanned whole; there is no moment at which half of a model, or one that was not judged, lies there.

    from fetch_scanned import fetch
    path = fetch("org/name", "models/name", revision="0123abc…")     # a commit, not a branch, to get the same files again
    model = AutoModel.from_pretrained(path, local_files_only=True)

From the command line: python fetch_scanned.py org/name models/name. Exit codes are casemate's: 0 clean and moved,
1 malicious or suspicious, 2 usage, 3 something could not be judged.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from huggingface_hub import snapshot_download


class Refused(Exception):
    """The model was not moved: `report` says why, `code` is casemate's exit code."""

    def __init__(self, message, code, report=None):
        super().__init__(message)
        self.code = code
        self.report = report


def fetch(repo_id, destination, *, revision=None, casemate="casemate", arguments=(), **download):
    """Returns `destination` with the files of `repo_id` in it, every one of them scanned and clean.

    `arguments` go to `casemate scan` (`--policy strict`, `--limits FILE`); `download` goes to `snapshot_download`
    (`token`, `allow_patterns`, …). Raises `Refused` when the model is not clean, and then leaves nothing behind.
    """
    destination = Path(destination)
    if destination.exists() or destination.is_symlink():
        raise FileExistsError(f"{destination} exists; what is there stays as it is")
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Beside the destination, so that moving is one rename; readable by nobody else (mode 0700).
    quarantine = Path(tempfile.mkdtemp(prefix=".quarantine-", dir=destination.parent))
    try:
        files = quarantine / "files"
        snapshot_download(repo_id, revision=revision, local_dir=files, **download)
        # The client's own bookkeeping is no part of the model.
        shutil.rmtree(files / ".cache" / "huggingface", ignore_errors=True)
        report = scan(files, casemate, arguments)
        require_whole(files, report)
        files.rename(destination)
        return destination
    finally:
        shutil.rmtree(quarantine, ignore_errors=True)


def scan(files, casemate, arguments):
    """The report of `casemate scan` over the directory; raises `Refused` on any exit code but 0."""
    command = [casemate, "scan", "--no-record", "--no-cache", "--format", "json", *arguments, "."]
    run = subprocess.run(command, cwd=files, capture_output=True, text=True, encoding="utf-8", check=False)
    try:
        report = json.loads(run.stdout)
    except ValueError:
        raise Refused(f"casemate ended with {run.returncode}: {run.stderr.strip()}", run.returncode or 3) from None
    if run.returncode != 0:
        worst = [f"{finding['location']['path']}: {finding['message']}" for finding in report["findings"][:5]]
        raise Refused("; ".join(worst) or f"casemate ended with {run.returncode}", run.returncode, report)
    return report


def require_whole(files, report):
    """Raises `Refused` unless exactly the files in the directory were called clean, none of them a link."""
    clean = {artifact["path"] for artifact in report["artifacts"] if artifact["verdict"] == "clean"}
    found = set()
    for path in files.rglob("*"):
        if path.is_symlink():
            raise Refused(f"{path.name} is a link; what it leads to can change after the scan", 3, report)
        if path.is_file():
            found.add(path.relative_to(files).as_posix())
    if found != clean or report["summary"]["left_out"] or report["summary"]["incomplete"]:
        raise Refused(f"not every file was judged: {sorted(found ^ clean)[:5]}", 3, report)


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Fetch a model, and move it into place once casemate calls it clean.")
    parser.add_argument("repo_id", help="org/name on the hub; HF_ENDPOINT names another hub")
    parser.add_argument("destination", type=Path, help="directory to be made")
    parser.add_argument("--revision", help="commit, tag or branch")
    parser.add_argument("--casemate", default="casemate", help="the program")
    options, arguments = parser.parse_known_args()
    try:
        path = fetch(
            options.repo_id,
            options.destination,
            revision=options.revision,
            casemate=options.casemate,
            arguments=arguments,
        )
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return refused.code
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
