"""The pipeline definitions, run as far as one machine can: the hook by pre-commit itself, the scripts of the others by bash.

What only the services can do (checking out, uploading SARIF, showing a test view) is not tried here.
Usage: test_pipelines.py PATH-TO-CASEMATE
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CASEMATE = Path(sys.argv.pop(1) if len(sys.argv) > 1 else "casemate").resolve()
HARMLESS = b"\x80\x02ccollections\nOrderedDict\n)R."
# Loading it would run `true`.
CALL = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."


class Workspace(unittest.TestCase):
    """A directory with a good and a bad model, and casemate on the path."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.work = self.root / "work"
        (self.work / "models").mkdir(parents=True)
        (self.work / "models" / "good.pkl").write_bytes(HARMLESS)
        (self.work / "models" / "bad model.pkl").write_bytes(CALL)
        self.environment = {
            "PATH": f"{CASEMATE.parent}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root),
            "RUNNER_TEMP": str(self.root / "runner"),
            "GITHUB_OUTPUT": str(self.root / "output"),
        }

    def run_in(self, command, **environment):
        """What a command says, in the workspace."""
        return subprocess.run(
            command, cwd=self.work, env=self.environment | environment, capture_output=True, text=True, check=False
        )


class PreCommit(Workspace):
    """The hook, by pre-commit."""

    def test_the_manifest_is_valid(self):
        run = self.run_in(["pre-commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")])
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_a_commit_with_a_hostile_model_is_stopped_and_a_good_one_is_not(self):
        provider = self.root / "provider"
        provider.mkdir()
        shutil.copy(ROOT / ".pre-commit-hooks.yaml", provider)
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        for directory in [provider, self.work]:
            for command in [["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "begin"]]:
                done = self.run_in(["git", "-C", str(directory), *command])
                self.assertEqual(done.returncode, 0, done.stderr)
        for file, code in [("models/good.pkl", 0), ("models/bad model.pkl", 1)]:
            run = self.run_in(["pre-commit", "try-repo", str(provider), "casemate-scan", "--files", file])
            self.assertEqual(run.returncode, code, run.stdout + run.stderr)
            self.assertIn("Passed" if code == 0 else "os.system", run.stdout)


class GithubAction(Workspace):
    """The scripts of the composite action."""

    def setUp(self):
        super().setUp()
        self.action = yaml.safe_load((ROOT / "integrations/github-action/action.yml").read_text())
        self.steps = {step["name"]: step for step in self.action["runs"]["steps"]}
        binary = self.root / "runner/casemate/bin/casemate"
        binary.parent.mkdir(parents=True)
        binary.symlink_to(CASEMATE)

    def scan(self, **inputs):
        """Runs the step `Scan` as the runner would, and gives its log and its outputs."""
        values = {name: value["default"] for name, value in self.action["inputs"].items()} | inputs
        step = self.steps["Scan"]
        environment = {}
        for name, expression in step["env"].items():
            environment[name] = values[expression.removeprefix("${{ inputs.").removesuffix(" }}")]
        run = self.run_in(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], **environment)
        self.assertEqual(run.returncode, 0, run.stderr)
        outputs = (self.root / "output").read_text().splitlines()
        return run.stdout, dict(line.split("=", 1) for line in outputs)

    def verdict(self, code):
        """How the last step ends."""
        return self.run_in(["bash", "-e", "-c", self.steps["Verdict"]["run"]], CASEMATE_CODE=code).returncode

    def test_no_input_is_put_into_a_script(self):
        for step in self.steps.values():
            self.assertNotIn("${{", step.get("run", ""))
            self.assertTrue("run" not in step or step["shell"] == "bash")

    def test_the_install_step_builds_this_repository(self):
        place = self.steps["Install casemate"]["run"].split('"')[1].replace("$GITHUB_ACTION_PATH", str(ROOT / "integrations/github-action"))
        self.assertIn('name = "casemate"', (Path(place) / "Cargo.toml").read_text())

    def test_a_hostile_model_is_annotated_reported_and_fails(self):
        log, outputs = self.scan(paths="models/good.pkl\nmodels/bad model.pkl\n")
        self.assertEqual(outputs, {"exit-code": "1"})
        self.assertIn("::error file=models/bad model.pkl,title=pickle-unsafe-global", log)
        results = json.loads((self.work / "casemate.sarif").read_text())["runs"][0]["results"]
        self.assertEqual(results[0]["ruleId"], "pickle-unsafe-global")
        self.assertEqual(self.verdict("1"), 1)

    def test_clean_and_excluded_paths_pass_and_no_verdict_is_no_pass(self):
        _, outputs = self.scan(paths="models", exclude="bad*\n")
        self.assertEqual(outputs, {"exit-code": "0"})
        self.assertEqual(self.verdict("0"), 0)
        self.assertEqual(self.verdict(""), 3)
        _, outputs = self.scan(paths="$(touch hacked)")
        self.assertEqual(outputs, {"exit-code": "2"})
        self.assertFalse((self.work / "hacked").exists())


class Gitlab(Workspace):
    """The script of the template."""

    def test_the_job_writes_the_report_it_names_and_ends_as_the_scan_does(self):
        template = yaml.safe_load((ROOT / "integrations/gitlab/casemate.gitlab-ci.yml").read_text())
        job = template["casemate"]
        for paths, code in [("models/good.pkl", 0), ("models", 1), ("nowhere", 2)]:
            environment = template["variables"] | {"CASEMATE_PATHS": paths}
            script = "\n".join(job["before_script"] + job["script"])
            run = self.run_in(["bash", "-eo", "pipefail", "-c", script], **environment)
            self.assertEqual(run.returncode, code, run.stderr)
            if code < 2:
                suites = xml.etree.ElementTree.parse(self.work / job["artifacts"]["reports"]["junit"]).getroot()
                self.assertEqual(suites.get("failures"), str(code))


if __name__ == "__main__":
    unittest.main(verbosity=2)
