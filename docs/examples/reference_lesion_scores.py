"""What panoptica and the code of BraTS 2023 say of the lesion scenes of the tests.

    pip install panoptica==2.1.7 nibabel surface-distance connected-components-3d pandas
    git clone https://github.com/rachitsaluja/BraTS-2023-Metrics  # commit 43c9052
    PYTHONPATH=tests python docs/examples/reference_lesion_scores.py BraTS-2023-Metrics

Prints the two tables of ``tests/plugins/test_lesion_references.py``.
"""

from __future__ import annotations

import importlib.util
import pprint
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from scoring.lesion_scenes import lesion_scenes

DILATIONS = (1, 3)  # of metastases and gliomas; 0 would make scipy grow them without end
SMALLEST_MM3 = (0, 50)


def by_panoptica(reference: np.ndarray, prediction: np.ndarray, matcher: object) -> tuple:
    """TP, FP, FN, PQ, SQ, RQ."""
    import panoptica as p

    evaluator = p.Panoptica_Evaluator(
        expected_input=p.InputType.SEMANTIC,
        instance_approximator=p.ConnectedComponentsInstanceApproximator(),
        instance_matcher=matcher,
        instance_metrics=[p.Metric.IOU],
        global_metrics=[],
        decision_metric=p.Metric.IOU,
        decision_threshold=0.0,
    )
    masks = prediction.astype(np.uint8), reference.astype(np.uint8)
    found = evaluator.evaluate(*masks, verbose=False)["ungrouped"]
    names = ("tp", "fp", "fn", "pq", "sq", "rq")
    return tuple(float(getattr(found, name)) for name in names)


def by_brats(code: object, reference: np.ndarray, prediction: np.ndarray) -> dict:
    """Lesion-wise Dice, found, false and missed lesions, for each dilation and smallest volume."""
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, mask in (("prediction", prediction), ("reference", reference)):
            paths.append(str(Path(folder, f"{name}.nii.gz")))
            image = nibabel.Nifti1Image(mask.astype(np.uint8) * 3, np.eye(4))
            nibabel.save(image, paths[-1])
        for dilation in DILATIONS:
            *_, fn, fp, gt_tp, pairs = code.get_LesionWiseScores(*paths, "ET", dilation)[:5]
            for smallest in SMALLEST_MM3:
                large = [pair for pair in pairs if pair[2] > smallest]
                many = len(large) + len(fp)
                total = sum(pair[3] for pair in large)
                numbers = {pair[1] for pair in large}
                table[dilation, smallest] = (
                    float(total / many) if many else None,
                    len(numbers & set(gt_tp)),
                    len(fp),
                    len(numbers & set(fn)),
                )
    return table


def main(brats: Path) -> None:
    """Print both tables."""
    import panoptica as p

    np.Inf = np.inf  # the code is older than NumPy 2
    sys.path.insert(0, str(brats))
    spec = importlib.util.spec_from_file_location("brats_metrics", brats / "metrics.py")
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    p.disable_citation_reminder()
    panoptica, official = {}, {}
    for name, masks in lesion_scenes().items():
        for threshold in (0.5, 0.1):
            for rule, matcher in (
                ("iou", p.NaiveThresholdMatching(p.Metric.IOU, threshold)),
                ("hungarian", p.MaxBipartiteMatching(p.Metric.IOU, threshold)),
            ):
                panoptica[name, f"{rule}@{threshold}"] = by_panoptica(*masks, matcher)
        official[name] = by_brats(code, *masks)
    pprint.pprint({"PANOPTICA": panoptica, "BRATS": official}, width=98, sort_dicts=False)


main(Path(sys.argv[1]))
