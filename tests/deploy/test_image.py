import json
import re
import subprocess
import sys
import venv

import pytest


@pytest.fixture(scope="session")
def dockerfile(deploy):
    return (deploy / "Dockerfile").read_text(encoding="utf-8")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dockerfile_has_no_finding(deploy, program):
    """hadolint finds nothing of the level warning or above."""
    run(program("hadolint"), "--failure-threshold", "warning", deploy / "Dockerfile")


def test_image_runs_as_nobody(dockerfile):
    """The last stage ends as a user without rights."""
    last = dockerfile.rsplit("\nFROM ", 1)[1]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["65532:65532"]


def test_no_shell(dockerfile):
    """Every command is an exact list of arguments: no shell stands between."""
    joined = dockerfile.replace("\\\n", " ")
    commands = re.findall(r"^(?:RUN|CMD|ENTRYPOINT|HEALTHCHECK .*?CMD) +(.*)$", joined, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert all(isinstance(part, str) for part in json.loads(command))


def test_sources_exist_and_are_sent(dockerfile, deploy, root):
    """Everything that is copied exists and is not left out of the build context."""
    sent = (deploy / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (root / source).exists()
            assert f"!{source.split('/')[0]}" in sent


def test_bases_are_versions(dockerfile):
    """Every base image has a tag that is not latest."""
    for base in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE):
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)


def test_wheel_is_whole(root, tmp_path):
    """The steps of the image make a program that starts, with both packages and all their data."""
    wheels, target = tmp_path / "wheels", tmp_path / "opt"
    build = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    run(sys.executable, "-m", "pip", "wheel", *build, wheels, root)
    venv.create(target, with_pip=False)
    install = ("install", "--no-deps", "--no-index", "--find-links", wheels, "joulegate")
    run(sys.executable, "-m", "pip", "--python", target, *install)
    (packages,) = target.glob("lib/*/site-packages")
    for source in ("proxy/joulegate", "exporters/joulegate_exporters"):
        folder = (root / source).parent
        tracked = run("git", "-C", root, "ls-files", source).split()
        missing = [f for f in tracked if not (packages / (root / f).relative_to(folder)).exists()]
        assert missing == []
    assert (target / "bin" / "joulegate").exists()
