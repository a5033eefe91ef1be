"""A file for Docker's --env-file: atomic, private, and careful with what else it holds."""

# ruff: noqa: ASYNC240 - nothing else runs on a test's event loop
from pathlib import Path

import pytest

from gateway_tokens.destination_settings import EnvFile
from gateway_tokens.destinations.env_file import EnvFileDestination
from gateway_tokens.errors import DestinationBlocked
from tests.adapters.destination_places import LABEL, REF, a_full_disk, a_token

TOKEN, NEWER = a_token(), a_token(seed="newer")
ENDPOINT = "config.service.endpoint=contoso-apim.configuration.azure-api.net"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge-01.env"


def opened(path: Path) -> EnvFileDestination:
    return EnvFileDestination(EnvFile(kind="file", path=str(path)), REF)


async def test_the_path_may_name_service_and_gateway(tmp_path: Path) -> None:
    template = tmp_path / "{service}-{gateway}.env"
    await opened(template).write(TOKEN, LABEL, None)
    assert (tmp_path / "contoso-edge-01.env").exists()


async def test_is_an_env_file_that_docker_reads(path: Path) -> None:
    await opened(path).write(TOKEN, LABEL, None)
    comment, setting = path.read_text().splitlines()
    assert comment.startswith("# ")
    assert setting == f"config.service.auth=GatewayKey {TOKEN.value.reveal()}"


async def test_only_its_owner_may_read_it(path: Path) -> None:
    path.touch(mode=0o644)
    await opened(path).write(TOKEN, LABEL, None)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_without_the_setting_holds_nothing_and_keeps_its_other_lines(path: Path) -> None:
    path.write_text(f"{ENDPOINT}\n# by hand\n")
    assert await opened(path).read() is None
    await opened(path).write(TOKEN, LABEL, None)
    await opened(path).write(NEWER, LABEL, await opened(path).read())
    assert path.read_text().splitlines()[:2] == [ENDPOINT, "# by hand"]
    assert path.read_text().count("config.service.auth=") == 1


async def test_of_a_setting_given_twice_the_last_counts_as_in_docker(path: Path) -> None:
    path.write_text(f"config.service.auth=old\nconfig.service.auth={TOKEN.header_value().reveal()}\n")
    held = await opened(path).read()
    assert held is not None
    assert held.token == TOKEN


@pytest.mark.parametrize("comment", ["not json", "[]", '{"managed-by": 1}', '"text"'])
async def test_a_spoilt_label_is_no_label(path: Path, comment: str) -> None:
    path.write_text(f"# gateway-tokens: {comment}\nconfig.service.auth={TOKEN.header_value().reveal()}\n")
    held = await opened(path).read()
    assert held is not None
    assert (held.token, held.label) == (TOKEN, None)


async def test_a_missing_folder_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "edge.env"
    with pytest.raises(DestinationBlocked, match=r"missing/edge\.env: its folder does not exist"):
        await opened(path).write(TOKEN, LABEL, None)
    assert not path.parent.exists()


async def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("config.service.auth=x\n")
    path.symlink_to(target)
    with pytest.raises(DestinationBlocked, match="not a regular file"):
        await opened(path).read()
    with pytest.raises(DestinationBlocked, match="not a regular file"):
        await opened(path).write(TOKEN, LABEL, None)
    assert target.read_text() == "config.service.auth=x\n"


async def test_a_file_that_is_no_text_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DestinationBlocked, match="UTF-8"):
        await opened(path).read()


async def test_a_write_that_breaks_off_leaves_nothing_behind(path: Path) -> None:
    await opened(path).write(TOKEN, LABEL, None)
    held = await opened(path).read()
    with a_full_disk(), pytest.raises(DestinationBlocked, match="File too large"):
        await opened(path).write(NEWER, LABEL, held)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
