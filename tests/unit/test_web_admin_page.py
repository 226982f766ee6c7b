"""The sizes of homes on the administrators' page: measured once at a time, when somebody asks."""

import asyncio
from typing import Any

import requests
from jupyterhub_ansible.web.admin_page import Homes


def measured(homes: Homes, *answers: Any) -> list[int]:
    """Ask as often as there are answers; return how often the engine was asked meanwhile."""
    asked: list[int] = []

    async def scenario() -> None:
        for answer in answers:

            def ask(answer: Any = answer) -> Any:
                asked.append(1)
                if isinstance(answer, Exception):
                    raise answer
                return answer

            homes.measure(ask)
            # Impatient.
            homes.measure(ask)
            assert homes.measuring
            while homes.measuring:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    return asked


def test_homes_are_measured_once_at_a_time() -> None:
    homes = Homes()
    found = {"Volumes": [{"Name": "jh-user-ann", "UsageData": {"Size": 12}}, {"Name": "other", "UsageData": None}]}
    assert measured(homes, found) == [1]
    assert (homes.sizes, homes.error) == ({"jh-user-ann": 12}, "")


def test_engine_that_does_not_answer_is_said_and_the_last_sizes_stay() -> None:
    homes = Homes()
    measured(homes, {"Volumes": [{"Name": "jh-user-ann", "UsageData": {"Size": 12}}]}, requests.ReadTimeout("slow"))
    assert homes.sizes == {"jh-user-ann": 12}
    assert homes.error == "The engine did not measure them: slow"
    measured(homes, {"Volumes": None})
    assert (homes.sizes, homes.error) == ({}, "")
