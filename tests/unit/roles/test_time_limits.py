"""A time limit given with -e is text, and the roles' halves are included without the specification that would make it a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts every text

    def trust_as_template(text):
        return text


TASKS = Path(__file__).absolute().parents[3] / "roles"


def limits():
    """Every template of a time limit, as (role, tasks file, keyword, template)."""
    for path in [*(TASKS / "image" / "tasks").glob("*.yml"), *(TASKS / "weights" / "tasks").glob("*.yml")]:
        for task in yaml.safe_load(path.read_text()):
            for keyword in ("async", "retries"):
                if "_time_limit" in str(task.get(keyword)):
                    yield path.parts[-3], path.name, keyword, task[keyword]


@pytest.mark.parametrize("given", [14400, "14400"], ids=["number", "text"])
@pytest.mark.parametrize(("role", "file", "keyword", "template"), sorted(limits()))
def test_a_time_limit_may_be_text(role, file, keyword, template, given):
    templar = Templar(DataLoader(), variables={f"{role}_time_limit": given})
    assert int(templar.template(trust_as_template(template))) == (14400 if keyword == "async" else 14400 / 5)
