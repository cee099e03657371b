"""The recipe against a hub of our own: clean models arrive, nothing else does.

A small HTTP server speaks as much of the hub's protocol as `snapshot_download` asks of it, for a few repositories held in
memory. The client library and casemate are the real ones. Usage: test_recipe.py PATH-TO-CASEMATE
"""

import hashlib
import json
import os
import struct
import sys
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CASEMATE = str(Path(sys.argv.pop(1) if len(sys.argv) > 1 else "casemate").resolve())


def safetensors():
    """A tensor of one number."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", 0.5)


SOUND = {"README.md": b"# A model\n", "config.json": b'{"hidden_size": 1}\n', "weights/model.safetensors": safetensors()}
# Loading it would run `true`.
CALL = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."
REPOSITORIES = {
    "org/sound": SOUND,
    "org/hostile": {**SOUND, "pytorch_model.bin": CALL},
    "org/hidden": {**SOUND, ".cache/elsewhere/model.jpg": CALL},
    "org/strange": {**SOUND, "weights.raw": bytes(0x80 | i * 97 & 0xFF for i in range(200))},
}


class Hub(BaseHTTPRequestHandler):
    """One revision of each repository."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Keeps quiet."""

    def do_HEAD(self):
        """Metadata of a file."""
        self.answer(with_body=False)

    def do_GET(self):
        """A file, or what is in a repository."""
        self.answer(with_body=True)

    def answer(self, with_body):
        """Whatever the path asks for, or 404."""
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            files = REPOSITORIES.get("/".join(parts[2:4]))
            if files is not None and parts[4:5] == ["revision"]:
                siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
                info = {"_id": "1", "id": "/".join(parts[2:4]), "sha": COMMIT, "private": False, "siblings": siblings}
                return self.send(json.dumps(info).encode(), "application/json", {}, with_body)
            if files is not None and parts[4:5] == ["tree"]:
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
                return self.send(json.dumps(tree).encode(), "application/json", {}, with_body)
        elif parts[2:3] == ["resolve"]:
            data = REPOSITORIES.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
            if data is not None:
                headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                return self.send(data, "application/octet-stream", headers, with_body)
        return self.send(b"{}", "application/json", {"X-Error-Code": "EntryNotFound"}, with_body, 404)

    def send(self, body, kind, headers, with_body, status=200):
        """One response."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class Recipe(unittest.TestCase):
    """What arrives, and what does not."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.destination = Path(self.directory.name) / "models" / "name"

    def fetch(self, repo_id, **options):
        """The recipe with this build of casemate."""
        return fetch_scanned.fetch(repo_id, self.destination, casemate=CASEMATE, **options)

    def assert_nothing_left(self):
        """Neither a destination nor a quarantine."""
        self.assertEqual(list(self.destination.parent.iterdir()), [])

    def test_a_sound_model_arrives_whole_and_alone(self):
        path = self.fetch("org/sound", revision=COMMIT)
        arrived = {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        self.assertEqual(arrived, SOUND)
        self.assertEqual([entry.name for entry in path.parent.iterdir()], ["name"])
        with self.assertRaises(FileExistsError):
            self.fetch("org/sound")

    def test_a_hostile_model_is_refused_with_its_finding_and_leaves_nothing(self):
        for repo_id in ["org/hostile", "org/hidden"]:
            with self.assertRaises(fetch_scanned.Refused) as refused:
                self.fetch(repo_id)
            self.assertEqual(refused.exception.code, 1)
            self.assertIn("os.system", str(refused.exception))
            self.assert_nothing_left()

    def test_what_cannot_be_judged_is_refused(self):
        with self.assertRaises(fetch_scanned.Refused) as refused:
            self.fetch("org/strange")
        self.assertEqual(refused.exception.code, 3)
        self.assert_nothing_left()

    def test_leaving_files_out_of_the_scan_is_refused(self):
        with self.assertRaises(fetch_scanned.Refused) as refused:
            self.fetch("org/hostile", arguments=["--exclude", "*.bin"])
        self.assertEqual(refused.exception.code, 3)
        self.assert_nothing_left()

    def test_a_scanner_that_cannot_run_is_no_way_in(self):
        with self.assertRaises(fetch_scanned.Refused):
            self.fetch("org/sound", arguments=["--no-such-option"])
        self.assert_nothing_left()
        with self.assertRaises(OSError):
            fetch_scanned.fetch("org/sound", self.destination, casemate="/nowhere/casemate")
        self.assert_nothing_left()

    def test_a_repository_that_does_not_exist_is_an_error(self):
        with self.assertRaises(Exception):
            self.fetch("org/none")
        self.assert_nothing_left()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tempfile.TemporaryDirectory()
    # Read by the client when it is imported.
    os.environ.update(
        HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
        HF_HOME=home.name,
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        NO_PROXY="127.0.0.1",
    )
    sys.path.insert(0, str(Path(__file__).parent))
    import fetch_scanned

    unittest.main(verbosity=2)
