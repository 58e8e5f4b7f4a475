"""Compound losses: weighted sums of terms that share one activation and one pass."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the compound losses."""
    yield Loss(
        name="compound",
        target="medloss_compound.compound:CompoundLoss",
        also=("medloss_compound.dice_compounds:GeneralizedDiceFocalLoss",),
        family="compound",
        summary="Weighted sum of any losses, with every term visible.",
        example={"softmax": True, "terms": ["dice", "cross_entropy"], "weights": [1.0, 0.5]},
    )
    yield Loss(
        name="dice_ce",
        target="medloss_compound.dice_compounds:DiceCELoss",
        family="compound",
        summary="Dice loss plus cross entropy, under one activation.",
        cites=("arXiv:1809.10486",),
        example={"softmax": True},
    )
    yield Loss(
        name="dice_focal",
        target="medloss_compound.dice_compounds:DiceFocalLoss",
        family="compound",
        summary="Dice loss plus focal loss, under one activation.",
        cites=("arXiv:1808.05238",),
        example={"softmax": True},
    )
    yield Loss(
        name="bce_dice",
        target="medloss_compound.dice_compounds:BCEDiceLoss",
        family="compound",
        summary="Binary cross entropy of each class plus Dice loss, under one activation.",
        cites=("arXiv:2006.14822", "arXiv:1809.10486"),
        example={"softmax": True},
    )
    yield Loss(
        name="dice_topk",
        target="medloss_compound.dice_compounds:DiceTopKLoss",
        family="compound",
        summary="Dice loss plus cross entropy over the hardest voxels, under one activation.",
        cites=("doi:10.1016/j.media.2021.102035",),
        example={"softmax": True, "k": 0.1},
    )
    yield Loss(
        name="combo",
        target="medloss_compound.dice_compounds:ComboLoss",
        family="compound",
        summary="Combo loss: cross entropy with a false-negative balance, mixed with Dice loss.",
        cites=("arXiv:1805.02798",),
        example={"softmax": True},
    )
    yield Loss(
        name="exponential_logarithmic",
        target="medloss_compound.exponential_logarithmic:ExponentialLogarithmicLoss",
        family="compound",
        summary="Powers of the logarithms of Dice and of each probability, rare classes first.",
        cites=("arXiv:1809.00076",),
        example={"softmax": True},
    )
    yield Loss(
        name="unified_focal",
        target="medloss_compound.unified_focal:UnifiedFocalLoss",
        also=("medloss_compound.unified_focal:AsymmetricUnifiedFocalLoss",),
        family="compound",
        summary="Unified focal loss: focal cross entropy and focal Tversky with shared parameters.",
        cites=("arXiv:2102.04525",),
        example={"softmax": True},
    )
    yield Loss(
        name="structural_similarity",
        target="medloss_compound.structural_similarity:StructuralSimilarityLoss",
        family="compound",
        summary="Cross entropy, counted again where prediction and target differ in structure.",
        cites=("arXiv:1910.08711",),
        example={"softmax": True},
    )
    yield Loss(
        name="marginal",
        target="medloss_compound.partial_labels:MarginalLoss",
        family="compound",
        summary="Any loss on marginal probabilities: background may be any class that was not "
        "annotated.",
        cites=("arXiv:2007.03868", "arXiv:2107.03846"),
        example={"softmax": True, "loss": "dice_ce"},
        exempt={
            "unannotated_classes_have_no_influence": "what is no annotated class must be one of "
            "the others: that is what it learns from background",
        },
    )
    yield Loss(
        name="exclusion",
        target="medloss_compound.partial_labels:ExclusionLoss",
        family="compound",
        summary="Overlap of each class with the voxels whose label tells that it is not there.",
        cites=("arXiv:2007.03868",),
        example={"softmax": True},
        alone=False,
        exempt={
            "unannotated_classes_have_no_influence": "it penalises the prediction of such a class "
            "where another one is annotated",
        },
    )
    yield Loss(
        name="deep_supervision",
        target="medloss_compound.deep_supervision:DeepSupervisionLoss",
        family="compound",
        summary="Weighted mean of one loss over the outputs of a deeply supervised network.",
        cites=("arXiv:1409.5185", "arXiv:1809.10486"),
        example={"softmax": True, "loss": "dice_ce"},
        exempt={
            "any_number_of_axes": "outputs of volumes with one axis more are a stack of levels",
        },
    )
