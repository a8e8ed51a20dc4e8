"""Progress reports: what lands in Ansible's job file, and that nothing else is ever touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.flagos.kunlunxin.plugins.module_utils import _progress


def test_the_job_file_is_found_from_the_wrapper_that_runs_us(tmp_path):
    job = tmp_path / "j81.4711"
    job.write_text("{}")
    (tmp_path / "j81.4711.tmp").write_text("{}")
    command = ["/usr/bin/python3", "/root/.ansible/tmp/ansible-tmp-1/async_wrapper.py", "j81", "30", "/root/module.py", "_"]
    assert _progress.job_file(command, str(tmp_path)) == str(job)


def test_without_a_wrapper_there_is_no_job_file(tmp_path):
    assert _progress.job_file(["/usr/bin/python3", "module.py"], str(tmp_path)) is None
    assert _progress.job_file(["async_wrapper.py"], str(tmp_path)) is None
    assert _progress.job_file(["async_wrapper.py", "j1", "30"], str(tmp_path)) is None


def test_a_program_that_a_module_runs_reports_to_the_modules_job(tmp_path):
    job = tmp_path / "j7.12"
    job.write_text("{}")
    report = "import sys; sys.path.insert(0, sys.argv[1]); import _progress; _progress.Progress(total=7, unit='parts').report(2)"
    run = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[-2:]], check=True)"
    (tmp_path / "async_wrapper.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {run!r}, *sys.argv[-2:]], check=True)\n"
    )
    command = [sys.executable, tmp_path / "async_wrapper.py", "j7", "30", report, Path(_progress.__file__).parent]
    subprocess.run(command, env={**os.environ, "ANSIBLE_ASYNC_DIR": str(tmp_path)}, check=True)
    assert json.loads(job.read_text())["progress"] == {"done": 2, "total": 7, "unit": "parts", "note": ""}


def test_a_report_adds_itself_to_what_ansible_wrote(tmp_path):
    job = tmp_path / "j1.2"
    job.write_text('{"started": true, "finished": false, "ansible_job_id": "j1.2"}')
    _progress.Progress(total=10, unit="layers", path=str(job)).report(3, "layer 4")
    assert json.loads(job.read_text()) == {
        "started": True,
        "finished": False,
        "ansible_job_id": "j1.2",
        "progress": {"done": 3, "total": 10, "unit": "layers", "note": "layer 4"},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["j1.2"]


def test_reports_in_between_are_left_out(tmp_path):
    job = tmp_path / "j1.2"
    job.write_text("{}")
    progress = _progress.Progress(path=str(job), interval=3600)
    progress.report(1)
    progress.report(2)
    assert json.loads(job.read_text())["progress"]["done"] == 1


def test_a_job_file_that_went_away_does_not_fail_the_work(tmp_path):
    progress = _progress.Progress(path=str(tmp_path / "gone"), interval=0)
    progress.report(1)
    progress.report(2)
    assert not list(tmp_path.iterdir())
