"""Where a request may run, and what the log says of it."""

import shutil

import pytest

from gateway import FRENCH_MODEL, MODEL, entry_of

ASK = {"messages": [{"role": "user", "content": "secret-word-of-the-test"}], "max_tokens": 4}


def post(gateway, tenant, model, **headers):
    with gateway.http(tenant) as http:
        return http.post("/v1/chat/completions", json={**ASK, "model": model}, headers=headers)


def test_a_tenant_of_one_country_is_refused_for_another(gateway):
    refused = post(gateway, "werk", FRENCH_MODEL)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "residency_violation"
    allowed = post(gateway, "werk", MODEL)
    assert allowed.status_code == 200
    european = post(gateway, "eu", FRENCH_MODEL)
    assert european.status_code == 200

    def decision(response):
        [one] = entry_of(gateway.entries(), "decision", response.headers["x-request-id"])
        return one

    denied = decision(refused)
    assert denied["outcome"]["deny"]["reason"] == "residency_violation"
    assert denied["tenant"] == "werk" and denied["permitted"] == []
    assert denied["candidates"] == [{"zone": "eu-fr-1", "jurisdiction": "FR"}]
    assert decision(allowed)["outcome"] == "permit"
    assert decision(allowed)["permitted"] == ["eu-de-1"]
    assert decision(european)["permitted"] == ["eu-fr-1"]

    request = refused.headers["x-request-id"]
    assert entry_of(gateway.entries(), "terminal", request) == [], "nothing ran"
    log = gateway.command("audit", "verify")
    assert log.returncode == 0, log.stderr


def test_a_header_narrows_and_never_widens(gateway):
    header = "x-hanse-residency"
    assert post(gateway, "eu", FRENCH_MODEL, **{header: "FR"}).status_code == 200
    narrowed = post(gateway, "eu", FRENCH_MODEL, **{header: "DE"})
    assert narrowed.status_code == 403
    widened = post(gateway, "werk", FRENCH_MODEL, **{header: "DE,FR"})
    assert widened.status_code == 403
    assert post(gateway, "eu", MODEL, **{header: "not a country"}).status_code == 400


def test_the_log_holds_neither_prompts_nor_keys(gateway):
    post(gateway, "werk", MODEL)
    written = b"".join(path.read_bytes() for path in (gateway.data / "audit").rglob("*")
                       if path.is_file())
    assert b"werk" in written
    assert b"secret-word-of-the-test" not in written
    for key in gateway.keys.values():
        assert key.encode() not in written
        assert key not in gateway.log_text()
    assert "secret-word-of-the-test" not in gateway.log_text()


def damage(folder, change):
    """Applies a change to the lines of the log's first segment."""
    first = sorted(folder.glob("*.jsonl"))[0]
    lines = first.read_text().splitlines(keepends=True)
    assert len(lines) >= 4
    first.write_text("".join(change(lines)))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("changed", lambda lines: [*lines[:2], lines[2].replace("eu-", "us-", 1), *lines[3:]]),
        ("removed", lambda lines: [*lines[:2], *lines[3:]]),
        ("reordered", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    ],
)
def test_tampering_is_found(gateway, tmp_path, what, change):
    post(gateway, "werk", MODEL)
    copy = tmp_path / "audit"
    shutil.copytree(gateway.data / "audit", copy)
    intact = gateway.command("audit", "verify", "--dir", str(copy))
    assert intact.returncode == 0, intact.stderr
    if what == "changed":
        # a line that names a zone
        number = next(n for n, line in enumerate(sorted(copy.glob("*.jsonl"))[0].read_text()
                      .splitlines()) if "eu-de-1" in line)
        damage(copy, lambda lines: [line.replace("eu-de-1", "us-va-1") if n == number else line
                                    for n, line in enumerate(lines)])
    else:
        damage(copy, change)
    found = gateway.command("audit", "verify", "--dir", str(copy), check=False)
    assert found.returncode != 0
    said = found.stdout + found.stderr
    assert ".jsonl" in said, f"the file is named: {said}"
    assert any(character.isdigit() for character in said)


def test_a_receipt_names_the_entry(gateway):
    response = post(gateway, "werk", MODEL)
    index, digits = response.headers["x-hanse-receipt"].split("-")
    [line] = [line for line in gateway.entries()
              if entry_of([line], "decision", response.headers["x-request-id"])]
    assert line["index"] == int(index)
    assert line["hash"].startswith(digits) and len(digits) >= 16
