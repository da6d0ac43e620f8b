"""OpenAI's SDK for JavaScript and the agent frameworks there; the tests themselves are in tests/clients-js."""

import subprocess

from gateway import FRENCH_MODEL, MODEL, ROOT


def test_openai_sdk_for_javascript(gateway):
    folder = ROOT / "tests/clients-js"
    for package in ("openai", "ai", "@openai/agents", "@langchain/openai"):
        assert (folder / "node_modules" / package).is_dir(), "`tests/run` installs it"
    environment = {
        **gateway.client_environment("werk"),
        "HANSE_TEST_MODEL": MODEL,
        "HANSE_TEST_FRENCH_MODEL": FRENCH_MODEL,
    }
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # node's summary: a run of no tests passes too
    passed = int(done.stdout.partition("pass ")[2].split()[0])
    assert passed >= 18, done.stdout
