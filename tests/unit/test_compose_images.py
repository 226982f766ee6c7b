"""Images that Compose builds: which one an environment uses, and which are removed."""

from __future__ import annotations

import pytest
from fake_engine import LOG, Engine, image, refused
from jupyterhub_ansible.compose import images


def test_image_rebuilt_from_the_cache_is_the_latest(engine: Engine) -> None:
    engine.stored = [image(1, tagged=9), image(2, tagged=8)]
    images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}


def test_image_built_on_ours_is_not_the_latest(engine: Engine) -> None:
    engine.stored = [image(1), {**image(2), "RepoTags": ["mine:1"]}]
    images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    # An image without names, or with an additional one, counts, too.
    for names in ([], ["golden:1", "hub-env-base:latest"]):
        engine.stored[1]["RepoTags"] = names
        images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
        assert engine.tags == {"hub/env-base:built": "sha256:2"}
        engine.tags.clear()


def test_latest_image_of_an_environment_gets_its_name(engine: Engine) -> None:
    engine.stored = [image(1), image(3, slug="datascience"), image(2)]
    found = images.Images(engine, "hub", {}, LOG)
    assert found.tag(["hub/env-base:built", "hub/env-gone:built", "quay.io/x:1"]) == ["hub/env-gone:built"]
    assert engine.tags == {"hub/env-base:built": "sha256:2"}


def test_after_a_rollback_the_matching_image_is_used(engine: Engine) -> None:
    engine.stored = [image(1, content_hash="old"), image(2, content_hash="new")]
    images.Images(engine, "hub", {"base": "old"}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}


def test_an_image_of_another_hub_is_not_ours(engine: Engine) -> None:
    engine.stored = [image(1)]
    assert images.Images(engine, "other", {}, LOG).tag(["other/env-base:built"])
    assert not engine.tags


def removed(engine: Engine, *catalogue: str) -> list[str]:
    before = {each["Id"] for each in engine.stored}
    images.Images(engine, "hub", {}, LOG).remove_old(catalogue)
    return sorted(before - {each["Id"] for each in engine.stored})


def test_last_two_images_of_each_environment_stay(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.stored += [image(number, slug="datascience") for number in (5, 6)]
    # After a rollback, the image was tagged again, and so is the latest.
    engine.stored += [image(9, slug="gone", tagged=9), image(8, slug="gone"), image(7, slug="gone")]
    assert removed(engine) == ["sha256:1", "sha256:2", "sha256:7"]
    assert removed(engine) == []


def test_an_old_image_is_removed_by_all_its_names_or_by_its_id(engine: Engine) -> None:
    named = {**image(1), "RepoTags": ["uuid_env-base:1", "uuid_env-base:2", "hub-env-base:latest"]}
    engine.stored = [named, {**image(2), "RepoTags": []}, image(3), image(4)]
    removed(engine)
    assert engine.calls == ["rmi sha256:2", "rmi uuid_env-base:1", "rmi uuid_env-base:2", "rmi hub-env-base:latest"]


def test_old_image_in_use_stays(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.add("a-server-of-yesterday")
    engine.of("a-server-of-yesterday")["Image"] = "sha256:1"
    assert removed(engine, "uuid_env-base:2") == []


@pytest.mark.parametrize("name", ["mine:1", "registry.example.org/my-env-base:1", "hub/env-base:golden"])
def test_image_built_on_ours_or_tagged_by_hand_stays_and_does_not_count(engine: Engine, name: str) -> None:
    engine.stored = [{**image(1), "RepoTags": [name]}, image(2), image(3)]
    engine.stored += [{**image(number), "RepoTags": [f"mine:{number}"]} for number in (4, 5)]
    assert removed(engine) == []


def test_an_image_of_another_hub_or_kind_is_not_removed(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3)]
    engine.stored[0]["Config"]["Labels"]["jupyterhub-ansible.project"] = "other"
    assert removed(engine) == []
    engine.stored = [image(number) for number in (1, 2, 3)]
    engine.stored[0]["Config"]["Labels"]["jupyterhub-ansible.kind"] = "hub"
    assert removed(engine) == []


def test_old_image_that_cannot_be_removed_is_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.refuses = refused(409, "image is being used by stopped container 123")
    assert removed(engine) == []
    assert engine.calls == ["rmi uuid_env-base:2", "rmi uuid_env-base:1"], "the next one is tried, too"
    assert "The old image sha256:1 cannot be removed" in caplog.text


@pytest.mark.parametrize("name", ["hub/env-base", "hub/env-base:1", "other/env-base:built", "base:built"])
def test_names_that_are_not_an_environments(name: str) -> None:
    assert images.slug_of("hub", name) is None
    assert images.slug_of("hub", images.reference("hub", "base")) == "base"
