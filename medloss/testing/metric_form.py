"""What a metric is as a function: pure, light, and the same in its MONAI form."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from medloss.testing.metric_subject import MetricSubject, blob, imperfect, moved, same
from medloss.testing.offer_checks import imports
from medloss.testing.registry import SPACING_MM, contract, demand, load_monai


@contract("metric", excusable=False)
def pure_function_of_facts(subject: MetricSubject) -> None:
    """The same facts give the same number, whatever was asked before, and stay as they are.

    Facts are computed once for a case and shared by all metrics.
    """
    mask = blob()
    case = subject.case(mask, moved(mask, 2), (1,))
    facts = subject.facts(case)
    before = [_copied(fact) for fact in facts]
    first = subject.of_facts(facts)
    subject.value(mask, moved(mask, 5))
    again = subject.of_facts(facts)
    demand(same(first, again), f"it gave {first:.8g}, and {again:.8g} when asked again")
    demand([_copied(fact) for fact in facts] == before, "it changed its facts")


@contract("metric", excusable=False)
def scoring_imports_no_torch(subject: MetricSubject) -> None:
    """Importing the metric's module imports no torch and no MONAI.

    ``medloss eval`` starts in a second on machines without either.
    """
    module = subject.record.target.partition(":")[0]
    heavy = imports(module, ("torch", "monai"))
    demand(not heavy, f"importing {module} imports {' and '.join(heavy)}")


@contract("metric", excusable=False)
def monai_form_agrees(subject: MetricSubject) -> None:
    """The MONAI metric made of the function gives its value for each case and class.

    As label maps and as one-hot channels, with anisotropic spacing; probabilities are channels.
    """
    load_monai()
    import torch

    from medloss.metrics import monai_class

    mask = blob()
    references = np.stack([mask + 2 * moved(mask, 7), 2 * mask + moved(mask, 7)]) % 3
    others = list(imperfect(mask).values())
    predictions = np.stack([others[0], 2 * others[1]])
    predictions = np.where(predictions == 0, np.roll(references, 1, axis=1), predictions)
    expected = [
        [subject.of_facts(subject.facts(case, label)) for label in case.labels]
        for case in (
            subject.case(y, p, (0, 1, 2)) for y, p in zip(references, predictions, strict=True)
        )
    ]
    metric = monai_class(subject.offer)(
        include_background=True, num_classes=3, spacing_mm=SPACING_MM, **subject.options
    )
    y, p = (torch.from_numpy(each.astype(np.int64))[:, None] for each in (references, predictions))
    channels = [torch.cat([t == c for c in range(3)], 1).float() for t in (p, y)]
    found = {"channels": metric(*channels)}
    if "probabilities" in subject.record.facts:
        found["channels for label maps"] = metric(channels[0], y)
    else:
        found["label maps"] = metric(p, y)
    for how, result in found.items():
        for case, row in enumerate(result.tolist()):
            for label, value in enumerate(row):
                wanted = expected[case][label]
                demand(
                    same(value, wanted),
                    f"with {how} class {label} has {value:.8g}, the function says {wanted:.8g}",
                )


def _copied(fact: Any) -> Any:
    """The fact as plain values that can be compared."""
    if not is_dataclass(fact):
        return fact
    values = [getattr(fact, field.name) for field in fields(fact)]
    return [v.tolist() if isinstance(v, np.ndarray) else v for v in values]
