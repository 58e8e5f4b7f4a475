"""Class sums as operators of torch: one node in a compiled graph, a backward that recomputes."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from medloss.runtime.operators import operator
from medloss.sums.form import Form
from medloss.sums.request import gradient_like
from medloss.sums.terms import WITH_MAP, Activation, Term, work_dtype

OPTIONS = "str[] names, float[] parameters, str activation, str backend"


def options(form: Form) -> tuple[Any, ...]:
    """A form as the operators take it: a term's map is a number, as its exponent is."""
    names = [term.name for term in form.terms]
    parameters = [float(term.parameter or 0) for term in form.terms]
    return names, parameters, form.activation, form.backend


def form_of(names: list[str], parameters: list[float], activation: str, backend: str) -> Form:
    """The form that :func:`options` were made of."""
    terms = (
        Term(name, str(int(parameter)) if name in WITH_MAP else parameter)
        for name, parameter in zip(names, parameters, strict=True)
    )
    return Form(tuple(terms), cast("Activation", activation), backend)


def _fake(input: Tensor, target: Any, mask: Any, maps: Any, names: list[str], *_: Any) -> Tensor:
    shape = (input.shape[0], len(names), input.shape[1])
    return input.new_empty(shape, dtype=work_dtype(input))


class_sums = operator(
    "medloss::class_sums",
    "Tensor input, Tensor target, Tensor? mask, Tensor[] maps",
    OPTIONS,
    of=form_of,
    fake=_fake,
    fake_slope=gradient_like,
)
