"""The test of an image, as far as it needs no image."""

from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest
from project import IMAGES


@pytest.fixture(scope="module")
def try_server() -> Any:
    spec = spec_from_file_location("try_server", IMAGES / "singleuser/libexec/try_server.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_package_that_replaces_collaboration_is_refused_whatever_brought_it_along(try_server: Any) -> None:
    with pytest.raises(SystemExit, match=r"Remove the package jupyter-server-documents: .* jupyter-ai>=3\.2"):
        try_server.check_packages(lambda name: name == "jupyter_server_documents")
    try_server.check_packages(lambda name: None)
