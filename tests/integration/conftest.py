"""What the cases on the serving lab share."""

from __future__ import annotations

import pytest
from clone import Service, play


@pytest.fixture(scope="session")
def serving() -> Service:
    """The service of the lab, brought up by the site unless it answers already."""
    service = Service.of()
    try:
        service.chat("Hello", max_tokens=1)
    except OSError:
        ended = play("site.yml", capture=True)
        assert ended.status == 0, ended.output
    return service
