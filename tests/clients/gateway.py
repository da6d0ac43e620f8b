"""The real gateway, started as a user starts it: with its own data, models and policies."""

import contextlib
import hashlib
import json
import os
import pathlib
import shlex
import signal
import socket
import ssl
import subprocess
import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 90

#: The model in zone eu-de-1.
MODEL = "smollm2-135m-instruct"
#: The same weights, in zone eu-fr-1 only.
FRENCH_MODEL = "smollm2-paris"

MODELS_TOML = """
[[zone]]
id = "eu-de-1"
jurisdiction = "DE"

[[zone]]
id = "eu-fr-1"
jurisdiction = "FR"

[[model]]
id = "{model}"
source = {{ path = "{path}" }}
sha256 = "{sha256}"

[[model]]
id = "{french_model}"
source = {{ path = "{path}" }}
sha256 = "{sha256}"

[[partition]]
id = "cpu-de"
model = "{model}"
zone = "eu-de-1"
threads = "all"
kv_memory = "256MiB"

[[partition]]
id = "cpu-fr"
model = "{french_model}"
zone = "eu-fr-1"
threads = 1
kv_memory = "192MiB"
"""

TENANT_TOML = """
tenant = "{name}"
jurisdictions = [{jurisdictions}]
models = ["*"]

[limits]
requests_per_minute = {requests_per_minute}
concurrent_requests_max = 64
output_tokens_max = 8192
prompt_tokens_max = 100000
"""

#: Each tenant with its jurisdictions and requests a minute.
TENANTS = {
    "werk": (["DE"], 100_000),
    "eu": (["EU"], 100_000),
    "klein": (["DE"], 2),
    # the one that `gateway env` speaks for
    "development": (["EU"], 100_000),
}


def built(name: str) -> pathlib.Path:
    """A binary of the build that tests/run made."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(os.environ.get(f"HANSE_{name.upper()}", target / "ci" / name))
    assert path.is_file(), f"{path} is not built; `tests/run` builds it"
    return path


def model_file() -> pathlib.Path:
    """The default model, as `gateway models pull` leaves it."""
    default = ROOT / f"data/models/{MODEL}/SmolLM2-135M-Instruct.Q4_1.gguf"
    path = pathlib.Path(os.environ.get("HANSE_MODEL", default))
    assert path.is_file(), f"{path} is not there; `tests/run` fetches it"
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gateway:
    """A gateway process with its folder. `start` returns once it is ready."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str] | None = None):
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "gateway.log"
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.metrics_port = free_port()
        self.environment = environment or {}
        self.process: subprocess.Popen | None = None
        self.keys: dict[str, str] = {}
        self._configure()

    def _configure(self) -> None:
        weights = model_file()
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        names = {"model": MODEL, "french_model": FRENCH_MODEL, "path": weights, "sha256": digest}
        (self.folder / "models.toml").write_text(MODELS_TOML.format(**names))
        policies = self.folder / "policies"
        (policies / "tenants").mkdir(parents=True)
        groups = (ROOT / "policies/jurisdictions.toml").read_text()
        (policies / "jurisdictions.toml").write_text(groups)
        for name, (jurisdictions, per_minute) in TENANTS.items():
            quoted = ", ".join(json.dumps(one) for one in jurisdictions)
            text = TENANT_TOML.format(
                name=name, jurisdictions=quoted, requests_per_minute=per_minute
            )
            (policies / "tenants" / f"{name}.toml").write_text(text)

    @property
    def ca(self) -> pathlib.Path:
        return self.data / "ca" / "ca.crt"

    def flags(self) -> list[str]:
        return [
            "--models", str(self.folder / "models.toml"),
            "--policies", str(self.folder / "policies"),
            "--data", str(self.data),
            "--listen", f"127.0.0.1:{self.port}",
            "--metrics-listen", f"127.0.0.1:{self.metrics_port}",
        ]

    def start(self) -> "Gateway":
        for tenant in TENANTS:
            if tenant not in self.keys:
                self.keys[tenant] = self.create_key(tenant)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [built("gateway"), *self.flags()],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            ended = self.process.poll()
            assert ended is None, f"the gateway ended with {ended}:\n{self.log_text()}"
            assert time.monotonic() < deadline, f"not ready:\n{self.log_text()}"
            time.sleep(0.2)
        return self

    def _is_ready(self) -> bool:
        if not self.ca.is_file():
            return False
        try:
            with self.http() as client:
                return client.get("/readyz").status_code == 200
        except (httpx.TransportError, OSError):
            return False

    def metrics_text(self) -> str:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(url).raise_for_status().text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have these labels; 0 where there is none."""
        families = text_string_to_metric_families(self.metrics_text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def create_key(self, tenant: str) -> str:
        """The key alone is on the command's standard output."""
        return self.command("keys", "create", "--tenant", tenant).stdout.strip()

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """Runs another command of the gateway on the same data."""
        return subprocess.run(
            [built("gateway"), *arguments, "--data", str(self.data)],
            capture_output=True, text=True, timeout=60, check=check, cwd=self.folder,
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def headers(self, tenant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[tenant]}"}

    def http(self, tenant: str | None = None, http2: bool = False) -> httpx.Client:
        headers = self.headers(tenant) if tenant else {}
        return httpx.Client(
            base_url=self.url, verify=self.context(), headers=headers, http2=http2, timeout=60,
            trust_env=False,
        )

    def client_environment(self, tenant: str) -> dict[str, str]:
        """What `gateway env` prints, for another tenant."""
        return {
            **os.environ,
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": self.keys[tenant],
            "SSL_CERT_FILE": str(self.ca),
            "NODE_EXTRA_CA_CERTS": str(self.ca),
        }

    def log_text(self) -> str:
        """Standard output and error, without the lines of our own polling."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(line for line in lines if '"http.route":"/readyz"' not in line)

    def entries(self) -> list[dict]:
        """The audit log's entries so far, oldest first, whole lines only."""
        text = "".join(path.read_text() for path in sorted((self.data / "audit").glob("*.jsonl")))
        # the last one may be half written
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def workers(self) -> dict[int, str]:
        """The process ids of the workers with their command lines."""
        children = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                if int(parent) == self.process.pid and "worker" in words:
                    children[int(folder.name)] = shlex.join(words)
        return children

    def stop(self) -> int:
        """Asks it to stop, as systemd or Kubernetes does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop on SIGTERM:\n{self.log_text()}") from None


def entry_of(entries: list[dict], kind: str, request: str) -> list[dict]:
    """Entries of a kind (`decision`, `terminal`) that belong to a request."""
    found = []
    for line in entries:
        body = line["entry"].get(kind)
        if body and body.get("request") == request:
            found.append(body)
    return found
