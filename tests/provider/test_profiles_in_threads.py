"""A profile may be read by several threads at once, the very first time too."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
from orchestrator.provider.profiles import load_profile
from orchestrator.engine.context import read_spec

SPEC = '{"name":"a","source":"s","provider":"kimi"}'
gate = threading.Barrier(8)

def read():
    gate.wait()
    load_profile("kimi")
    read_spec(SPEC)

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_read_at_once_for_the_first_time_all_live():
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
