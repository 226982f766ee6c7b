"""Progress events for the pending page."""

import asyncio
from typing import Any

from jupyterhub_ansible.spawner.progress import Progress, Pull

MB = 1024**2


def downloading(layer: str, current: int, total: int) -> dict[str, Any]:
    return {"id": layer, "status": "Downloading", "progressDetail": {"current": current, "total": total}}


def extracting(layer: str, current: int, total: int) -> dict[str, Any]:
    return {**downloading(layer, current, total), "status": "Extracting"}


def test_each_page_gets_all_events() -> None:
    async def scenario() -> None:
        progress = Progress()
        progress.say(10, "one")

        async def follow(count: int) -> list[str]:
            seen = []
            async for event in progress.follow():
                # As the Hub does.
                seen.append(event.pop("message"))
                if len(seen) == count:
                    break
            return seen

        early = asyncio.create_task(follow(2))
        await asyncio.sleep(0)
        progress.say(20, "two")
        progress.say(20, "two")
        progress.say(30, "three")
        assert await asyncio.wait_for(early, 5) == ["one", "two"]
        assert await asyncio.wait_for(follow(3), 5) == ["one", "two", "three"]

    asyncio.run(scenario())


def test_a_pull_of_two_layers() -> None:
    pull = Pull()
    events: list[tuple[dict[str, Any], int]] = [
        ({"status": "Pulling from x", "id": "latest"}, 0),
        ({"id": "a", "status": "Pulling fs layer", "progressDetail": {}}, 0),
        (downloading("a", 50 * MB, 100 * MB), 25),
        (downloading("b", 0, 100 * MB), 25),  # of twice as much, but it does not fall
        ({"id": "a", "status": "Download complete", "progressDetail": {}}, 25),
        (downloading("b", 100 * MB, 100 * MB), 50),
        (extracting("a", 50 * MB, 100 * MB), 62),
        ({"id": "a", "status": "Pull complete", "progressDetail": {}}, 75),
        ({"id": "c", "status": "Already exists", "progressDetail": {}}, 75),
        (extracting("b", 100 * MB, 100 * MB), 100),
        ({"status": "Status: Downloaded newer image for x"}, 100),
    ]
    assert [pull.add(event) for event, _ in events] == [percent for _, percent in events]
