"""docs/detection.md and its example: a detector is trained in 3D and finds what it should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from detection_scenes import scene
from monai.bundle import ConfigParser

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "detection.md").read_text()
EXAMPLE = ROOT / "docs" / "examples" / "detect_ellipsoids.py"


def test_the_example_trains_and_detects() -> None:
    options = ["--seeds", "1", "--steps", "80", "--test-volumes", "8"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options, "--assignments", "simota", "atss"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout
    simota, atss = (
        float(re.search(rf"mAP, IoU 0.1 to 0.5: .*{name} ([0-9.]+)", told)[1])  # type: ignore[index]
        for name in ("simota", "atss")
    )
    assert simota > 0.3, told
    assert 0 <= atss <= 1


def test_the_config_of_the_page_builds_and_trains() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    parser = ConfigParser(
        {
            "network": {
                "_target_": "RetinaNet",
                "spatial_dims": 3,
                "num_classes": 2,
                "num_anchors": 2,
                "feature_extractor": {"_target_": "detection_scenes.Features"},
                "size_divisible": 8,
            },
            **json.loads("{" + block + "}"),
        }
    )
    found = parser.get_parsed_content("detector")
    parser.get_parsed_content("detector_ops")
    assert found.fg_bg_sampler is not None
    sum(found(*scene()).values()).backward()


def test_the_code_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/detection.md", "exec"), {})
