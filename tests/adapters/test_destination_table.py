"""The table of destinations: complete, and free until used."""

import subprocess
import sys

from gateway_tokens.destination_settings import KINDS
from tests.adapters.destination_places import PLACES


def test_every_kind_of_the_settings_is_in_the_contract_suite() -> None:
    assert set(PLACES) == {"memory", *KINDS}


def test_no_sdk_is_loaded_before_a_destination_is_opened() -> None:
    program = (
        "import sys, gateway_tokens.destinations; "
        "print([name for name in sys.modules if name.split('.')[0] in {'azure', 'aiohttp', 'yaml'}])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
