"""One gateway for all tests; what changes it makes its own."""

import openai
import pytest

from gateway import Gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    running = Gateway(tmp_path_factory.mktemp("gateway")).start()
    yield running
    code = running.stop()
    assert code == 0, f"the gateway ended with {code}:\n{running.log_text()}"
    assert "panicked" not in running.log_text(), running.log_text()


@pytest.fixture
def client(gateway):
    """OpenAI's SDK, without its retries: a test wants the first answer."""
    with sdk(gateway, "werk") as client:
        yield client


@pytest.fixture
async def async_client(gateway):
    async with sdk(gateway, "werk", openai.AsyncOpenAI) as client:
        yield client


def sdk(gateway, tenant, kind=openai.OpenAI):
    """An SDK client of a tenant that trusts the gateway's CA."""
    http = openai.DefaultHttpxClient if kind is openai.OpenAI else openai.DefaultAsyncHttpxClient
    return kind(
        base_url=f"{gateway.url}/v1",
        api_key=gateway.keys[tenant],
        http_client=http(verify=gateway.context(), trust_env=False),
        max_retries=0,
        timeout=60,
    )
