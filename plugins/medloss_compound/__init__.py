"""Compound losses: weighted sums of terms that share one activation and one pass."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Loss, hookimpl

_PLACE = "a voxel's neighbours along a line are others than those in a volume"


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the compound losses."""
    loss = partial(Loss, family="compound", example={"softmax": True})
    yield loss(
        name="compound",
        target="medloss_compound.compound:CompoundLoss",
        also=(
            "medloss_compound.dice_compounds:GeneralizedDiceFocalLoss",
            "medloss_compound.dice_compounds:generalized_dice_focal",
        ),
        example={"softmax": True, "terms": ["dice", "cross_entropy"], "weights": [1.0, 0.5]},
    )
    yield loss(
        name="dice_ce",
        target="medloss_compound.dice_compounds:DiceCELoss",
        also=("medloss_compound.dice_compounds:dice_ce",),
    )
    yield loss(
        name="dice_focal",
        target="medloss_compound.dice_compounds:DiceFocalLoss",
        also=("medloss_compound.dice_compounds:dice_focal",),
    )
    yield loss(name="bce_dice", target="medloss_compound.dice_compounds:BCEDiceLoss")
    yield loss(
        name="dice_topk",
        target="medloss_compound.dice_compounds:DiceTopKLoss",
        example={"softmax": True, "k": 0.1},
    )
    yield loss(name="combo", target="medloss_compound.dice_compounds:ComboLoss")
    yield loss(
        name="exponential_logarithmic",
        target="medloss_compound.exponential_logarithmic:ExponentialLogarithmicLoss",
    )
    yield loss(
        name="unified_focal",
        target="medloss_compound.unified_focal:UnifiedFocalLoss",
        also=("medloss_compound.unified_focal:AsymmetricUnifiedFocalLoss",),
    )
    yield loss(
        name="structural_similarity",
        target="medloss_compound.structural_similarity:StructuralSimilarityLoss",
    )
    yield loss(
        name="marginal",
        target="medloss_compound.partial_labels:MarginalLoss",
        example={"softmax": True, "loss": "dice_ce"},
        exempt={
            "unannotated_classes_have_no_influence": "what is no annotated class must be one of "
            "the others: that is what it learns from background",
        },
    )
    yield loss(
        name="exclusion",
        target="medloss_compound.partial_labels:ExclusionLoss",
        alone=False,
        exempt={
            "unannotated_classes_have_no_influence": "it penalises the prediction of such a class "
            "where another one is annotated",
        },
    )
    yield loss(
        name="scnp",
        target="medloss_compound.same_class_neighbours:SCNPLoss",
        example={"softmax": True, "loss": "dice_ce"},
        exempt={
            "any_number_of_axes": _PLACE,
            "crossed_masks_equal_voxel_lists": _PLACE,
        },
    )
    yield loss(
        name="deep_supervision",
        target="medloss_compound.deep_supervision:DeepSupervisionLoss",
        example={"softmax": True, "loss": "dice_ce"},
        exempt={
            "any_number_of_axes": "outputs of volumes with one axis more are a stack of levels",
        },
    )
