"""The load generator against the real gateway."""

import json
import subprocess

from gateway import MODEL, built


def measure(gateway, tmp_path, *arguments):
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [built("loadtest"), "--model", MODEL, "--prompt-words", "20", "--output-tokens", "8",
         "--json", str(figures), *arguments],
        env=gateway.client_environment("werk"), capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(figures.read_text()), done.stdout


def test_a_closed_loop_completes_every_request(gateway, tmp_path):
    figures, table = measure(gateway, tmp_path, "--concurrency", "8", "--requests", "16")
    assert (figures["completed"], figures["failed"]) == (16, 0)
    assert figures["total_output_tokens"] == 16 * 8
    assert "16 completed, 0 failed" in table


def test_an_open_loop_over_http_2(gateway, tmp_path):
    figures, _ = measure(
        gateway, tmp_path, "--http", "2", "--rate", "4", "--duration", "2", "--lag-ms-max", "2000"
    )
    assert figures["failed"] == 0 and figures["completed"] == figures["num_prompts"] > 0
