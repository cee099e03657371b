"""The loader with the real casemate, real libraries, and somebody who swaps files under it.

Usage: test_loader.py PATH-TO-CASEMATE
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import numpy
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import casemate_loader
from casemate_loader import Refused

CASEMATE = str(Path(sys.argv.pop(1) if len(sys.argv) > 1 else "casemate").resolve())
SIGNED = numpy.arange(1000, dtype=numpy.float32)
SWAPPED = -SIGNED


class TinyModel:
    """As much of a library's model class as matters here: a directory in, configuration and weights out."""

    @classmethod
    def from_pretrained(cls, path):
        """The model in the directory `path`."""
        model = cls()
        model.config = json.loads((Path(path) / "config.json").read_text())
        model.weights = load_file(Path(path) / "model.safetensors")["w"]
        return model


class Loader(unittest.TestCase):
    """What is handed on, and what is not."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)
        self.model = self.root / "model"
        (self.model / "tokenizer").mkdir(parents=True)
        (self.model / "config.json").write_text('{"width": 1000}')
        (self.model / "tokenizer" / "vocab.json").write_text("{}")
        save_file({"w": SIGNED}, self.model / "model.safetensors")
        self.private = self.root / "private"
        self.private.mkdir()
        self.run_casemate("keygen", "-o", "release.pem")
        self.run_casemate("sign", "model", "--key", "release.pem")

    def run_casemate(self, *arguments):
        """One command of casemate, which must succeed."""
        subprocess.run([CASEMATE, *arguments], cwd=self.root, check=True, capture_output=True)

    def verified(self, model=None, **options):
        """The loader with this build of casemate and the key of the test."""
        options = {"key": self.root / "release.pub.pem", "directory": self.private, "casemate": CASEMATE, **options}
        return casemate_loader.verified(model or self.model, **options)

    def assert_refused(self, code, **options):
        """Refused with this code before anything could be loaded, and nothing left behind."""
        with self.assertRaises(Refused) as refused, self.verified(**options):
            self.fail("was handed on")
        self.assertEqual(refused.exception.code, code, refused.exception)
        self.assertEqual(list(self.private.iterdir()), [])
        return refused.exception

    def test_an_intact_model_loads_from_a_private_copy_that_is_gone_afterwards(self):
        with self.verified() as path:
            self.assertNotIn(self.model, [path, *path.parents])
            self.assertEqual(stat.S_IMODE(path.parent.parent.stat().st_mode), 0o700)
            model = TinyModel.from_pretrained(path)
        self.assertEqual(list(self.private.iterdir()), [])
        numpy.testing.assert_array_equal(model.weights, SIGNED)
        self.assertEqual(model.config, {"width": 1000})

    def test_one_flipped_byte_is_refused_with_the_report(self):
        weights = self.model / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        refused = self.assert_refused(4)
        self.assertIn("model.safetensors", str(refused))
        self.assertEqual(refused.report["findings"][0]["rule"], "signature-file-changed")

    def test_an_added_file_another_key_and_a_missing_signature_are_refused(self):
        self.run_casemate("keygen", "-o", "other.pem")
        self.assertIn("another key", str(self.assert_refused(4, key=self.root / "other.pub.pem")))
        (self.model / "modeling.py").write_text("print()\n")
        self.assertIn("modeling.py", str(self.assert_refused(4)))
        with self.assertRaises(OSError), self.verified(signature=self.root / "none.sig"):
            self.fail("was handed on")
        with self.assertRaises(ValueError), self.verified(key=None):
            self.fail("was handed on")
        self.assertEqual(list(self.private.iterdir()), [])

    def test_a_swap_after_verification_changes_nothing(self):
        with self.verified() as path:
            save_file({"w": SWAPPED}, self.model / "model.safetensors")
            (self.model / "config.json").unlink()
            model = TinyModel.from_pretrained(path)
        numpy.testing.assert_array_equal(model.weights, SIGNED)

    def test_whoever_swaps_all_the_time_gets_a_refusal_at_most(self):
        save_file({"w": SIGNED}, self.root / "good")
        save_file({"w": SWAPPED}, self.root / "bad")
        stop = threading.Event()

        def swap():
            place = self.model / "model.safetensors"
            while not stop.is_set():
                for version in ["bad", "good"]:
                    # As an attacker would: a rename, which is never seen half done.
                    shutil.copyfile(self.root / version, self.root / "next")
                    os.replace(self.root / "next", place)

        swapping = threading.Thread(target=swap)
        swapping.start()
        loaded = refused = 0
        try:
            for _ in range(40):
                try:
                    with self.verified() as path:
                        numpy.testing.assert_array_equal(TinyModel.from_pretrained(path).weights, SIGNED)
                        loaded += 1
                except Refused as error:
                    self.assertEqual(error.code, 4)
                    refused += 1
        finally:
            stop.set()
            swapping.join()
        print(f"{loaded} loaded as signed, {refused} refused", file=sys.stderr)
        self.assertEqual(loaded + refused, 40)
        self.assertGreater(refused, 0, "the swapped version was offered at least once")
        self.assertEqual(list(self.private.iterdir()), [])

    def test_single_files_are_verified_and_handed_on_alone(self):
        weights = self.model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
        with self.verified(files=["config.json", "tokenizer/vocab.json"]) as path:
            names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
            self.assertEqual(names, ["config.json", "tokenizer/vocab.json"])
        self.assert_refused(4, files=["model.safetensors"])
        (self.model / "new.json").write_text("{}")
        self.assert_refused(4, files=["new.json"])
        for name in ["../release.pem", "/etc/hostname", "./config.json", "a//b"]:
            with self.assertRaises(ValueError), self.verified(files=[name]):
                self.fail("was handed on")
        with self.assertRaises(ValueError), self.verified(files=[]):
            self.fail("was handed on")

    def test_a_model_of_one_file_and_a_signature_inside_the_model(self):
        weights = self.model / "model.safetensors"
        self.run_casemate("sign", str(weights), "--key", "release.pem", "--signature", "weights.sig")
        with self.verified(weights, signature=self.root / "weights.sig") as path:
            numpy.testing.assert_array_equal(load_file(path)["w"], SIGNED)
        inside = self.model / "model.sig"
        self.run_casemate("sign", "model", "--key", "release.pem", "--signature", str(inside))
        with self.verified(signature=inside) as path:
            self.assertFalse((path / "model.sig").exists())
            TinyModel.from_pretrained(path)

    def test_a_link_out_of_the_model_and_a_pipe_are_refused(self):
        (self.model / "link").symlink_to(self.root / "release.pem")
        self.assert_refused(3)
        (self.model / "link").unlink()
        os.mkfifo(self.model / "pipe")
        with self.assertRaises(OSError), self.verified():
            self.fail("was handed on")
        self.assertEqual(list(self.private.iterdir()), [])

    def test_a_verifier_that_is_none_lets_nothing_through(self):
        with self.assertRaises(OSError), self.verified(casemate="/nowhere/casemate"):
            self.fail("was handed on")
        for program, code in [("/bin/true", 3), ("/bin/false", 1)]:
            self.assert_refused(code, casemate=program)


if __name__ == "__main__":
    unittest.main(verbosity=2)
