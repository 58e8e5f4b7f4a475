"""Facts about images and masks: voxel sizes, label values, components, skeletons."""
