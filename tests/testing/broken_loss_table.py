"""Which check each broken loss fails."""

from __future__ import annotations

from typing import Any

import torch

BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("summary_equals_docstring", "GoodLoss", {"summary": "Something else."}),
    ("card_is_complete", "NoSectionLoss", {}),
    ("card_is_complete", "NoWordLoss", {}),
    ("card_example_is_true", "WrongExampleLoss", {}),
    ("config_example_builds", "GoodLoss", {"example": {"other_act": torch.sigmoid}}),
    ("exemptions_are_reasoned", "GoodLoss", {"exempt": {"copies_and_pickles": "it cannot"}}),
    ("exemptions_are_reasoned", "GoodLoss", {"exempt": {"flips_chang_nothing": "a typo"}}),
    ("exemptions_are_reasoned", "WrongSignLoss", {"exempt": {"perfect_is_best": " "}}),
    ("listing_stays_light", "GoodLoss", {"module": "medloss.base"}),
    ("module_without_parameters", "TrainableLoss", {}),
    ("repr_tells_every_option", "SilentReprLoss", {}),
    ("copies_and_pickles", "UnpicklableLoss", {}),
    ("copies_and_pickles", "ForgetfulCopyLoss", {}),
    ("wrong_options_are_refused", "LenientLoss", {}),
    ("mapping_equals_keywords", "MaskDroppingLoss", {}),
    ("metatensors_are_understood", "WrappedLoss", {}),
    ("wrong_input_is_refused", "BroadcastingLoss", {}),
    ("logits_without_activation_are_refused", "GuessingLoss", {}),
    ("value_and_gradient_are_finite", "OverflowingLoss", {}),
    ("half_precision_is_enough", "HalfSumsLoss", {}),
    ("half_precision_is_enough", "HalfValueLoss", {}),
    ("gradient_is_the_derivative", "DetachedFactorLoss", {}),
    ("perfect_is_best", "WrongSignLoss", {}),
    ("same_again_and_nothing_touched", "DrawingLoss", {}),
    ("same_again_and_nothing_touched", "OverwritingLoss", {}),
    ("targets_of_every_kind_agree", "FloatLabelLoss", {}),
    ("samples_are_independent", "BatchSizeLoss", {}),
    ("reductions_agree", "FlatNoneLoss", {}),
    ("masked_voxels_have_no_influence", "MaskedLabelLoss", {}),
    ("masked_voxels_have_no_influence", "MaskedNaNLoss", {}),
    ("mask_equals_cropping", "CountsMaskedLoss", {}),
    ("ignore_index_equals_a_mask", "IgnoresNothingLoss", {}),
    ("nothing_left_gives_zero", "ConstantLoss", {}),
    ("unannotated_classes_have_no_influence", "KnowsAllLoss", {}),
    ("flips_change_nothing", "CornerLoss", {}),
    ("axis_order_changes_nothing", "FirstAxisLoss", {}),
    ("memory_layout_changes_nothing", "ContiguousLoss", {}),
    ("flat_volume_equals_image", "VolumeLoss", {}),
    ("two_channels_equal_one", "BoastingLoss", {}),
    ("compiled_equals_eager", "CompiledLoss", {}),
    ("autocast_changes_nothing", "RoundedLoss", {}),
    ("monai_trainer_steps", "UntrainableLoss", {}),
    ("crossed_targets_agree", "OneHotMeanLoss", {}),
    ("crossed_ignored_labels_are_a_mask", "MaskForgetsPresentLoss", {}),
    ("crossed_masks_equal_voxel_lists", "WeightedMaskLoss", {}),
    ("crossed_classes_may_be_left_out", "ForegroundPresentLoss", {}),
    ("crossings_equal_the_slow_formula", "DividesByAllLoss", {}),
    ("crossed_forms_are_one_input", "MaskedStridesLoss", {}),
    ("crossed_samples_add_up", "SumOfMeansLoss", {}),
    ("any_number_of_axes", "FourAxesLoss", {}),
    ("compounds_add_up", "OnlyAloneLoss", {}),
    ("nan_is_told", "HealthyNaNLoss", {}),
    ("infinity_is_answered", "RaisesAtHugeLoss", {}),
    ("forbidden_classes_cost_nothing", "TimesZeroLoss", {}),
    ("sentinels_keep_their_meaning", "WrappedSentinelLoss", {}),
    ("labels_beyond_the_classes_are_refused", "WrappedLabelLoss", {}),
    ("empty_batches_give_zero", "MeanOfNothingLoss", {}),
    ("derivatives_are_right_or_refused", "BentTwiceLoss", {}),
    ("no_graph_stays_alive", "KeepsGraphLoss", {}),
    ("ranks_equal_one_rank", "LocalWorldLoss", {}),
]
"""The check that must fail, the class, and what differs in its record."""

ALSO = {
    "OverwritingLoss": {"copies_and_pickles", "reductions_agree", "autocast_changes_nothing"},
    "WrongSignLoss": {"perfect_is_best"},
}
"""Checks that a class fails beside the one it is made for."""
