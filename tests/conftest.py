"""Fixtures shared by all tests."""

from __future__ import annotations

import pytest

from support.models import Case, make_case


@pytest.fixture(scope="session", params=["parallel", "sequential"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A small random model with parallel and one with sequential blocks, three ways, and prompts."""
    return make_case(request.param, tmp_path_factory.mktemp(request.param))
