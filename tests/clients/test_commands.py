"""The gateway's other commands, and the examples that a newcomer runs first."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from gateway import MODEL, ROOT, Gateway, built, model_file


def test_env_points_any_sdk_at_the_gateway(gateway, tmp_path):
    """As in the README: eval "$(gateway env)"."""
    script = f"""
        unset OPENAI_BASE_URL OPENAI_API_KEY SSL_CERT_FILE NODE_EXTRA_CA_CERTS
        eval "$('{built("gateway")}' env --data '{gateway.data}')"
        '{sys.executable}' -c 'import openai; print(len(openai.OpenAI().models.list().data))'
        cd '{ROOT}/tests/clients-js'
        node --input-type=module -e '
            import OpenAI from "openai";
            console.log((await new OpenAI().models.list()).data.length);
        '
    """
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "2"]


EXAMPLES = {
    "curl.sh": ["bash"],
    "python/chat.py": [sys.executable],
    "python/tools.py": [sys.executable],
    "js/chat.mjs": ["node"],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_stands(gateway, tmp_path, example):
    environment = {**gateway.client_environment("werk"), "MODEL": MODEL}
    program = tmp_path / pathlib.Path(example).name
    shutil.copy(ROOT / "examples" / example, program)
    # Node.js looks for packages beside the program
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/clients-js/node_modules")
    done = subprocess.run(
        [*EXAMPLES[example], program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 10, done.stdout


def test_private_files_are_private(gateway):
    exposed = [
        str(path) for path in gateway.data.rglob("*")
        if (path.suffix == ".key" or path.parent.name in ("keys", "secrets"))
        and path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert exposed == []
    assert stat.S_IMODE(os.stat(gateway.data).st_mode) == 0o700


def test_a_second_start_makes_nothing_new(tmp_path):
    first = Gateway(tmp_path).start()
    ca = first.ca.read_bytes()
    assert first.stop() == 0
    first.start()
    try:
        assert first.ca.read_bytes() == ca
        with first.http("werk") as http:
            assert http.get("/v1/models").status_code == 200, "the key still works"
    finally:
        assert first.stop() == 0
    verified = first.command("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def bad_start(folder, change):
    """Starts a gateway whose configuration was spoilt; gives what it said."""
    spoilt = Gateway(folder)
    change(spoilt)
    done = subprocess.run(
        [built("gateway"), *spoilt.flags()], capture_output=True, text=True, timeout=60,
    )
    assert done.returncode not in (0, 101, -6, -11), done
    assert "panicked" not in done.stderr
    return done.stderr


def replace(name, old, new):
    def change(gateway):
        path = gateway.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replace("models.toml", 'jurisdiction = "DE"', 'juristiction = "DE"'), "models.toml:4"),
        (replace("models.toml", 'zone = "eu-fr-1"', 'zone = "eu-xx-1"'), "eu-xx-1"),
        (replace("models.toml", 'sha256 = "', 'sha256 = "00'), "models.toml:"),
        (replace("models.toml", "[[zone]]", "[[zone"), "models.toml:2"),
        (replace("policies/tenants/werk.toml", '["DE"]', '["Germany"]'), "werk.toml:3"),
        (replace("policies/tenants/werk.toml", "[limits]", "[limit]"), "werk.toml:"),
    ],
)
def test_a_bad_configuration_says_where(tmp_path, change, expected):
    assert expected in bad_start(tmp_path, change)


@pytest.mark.parametrize("length", [0, 3, 4096, 1 << 20])
def test_weights_that_are_cut_short_are_never_used(tmp_path, length):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model_file().read_bytes()[:length])
    said = bad_start(tmp_path, replace("models.toml", str(model_file()), str(cut)))
    assert "sha256" in said.lower() or "digest" in said.lower(), said
