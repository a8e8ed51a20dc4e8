"""Property tests on a busy machine: an example may take its time, and what fails can be run again as it was."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None, print_blob=True)
settings.load_profile("project")
