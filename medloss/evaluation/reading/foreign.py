"""Formats that nobody here reads, and how to make one of them that is read."""

from __future__ import annotations

_NIFTI = "convert it to .nii.gz"
_ONE_FILE = "give the image itself"
_SURFACE = "a surface without voxels; rasterise it on the image's grid, in 3D Slicer for instance"
_LOSSY = "a JPEG, whose values change when it is compressed; save labels as .png, .tif or .nii.gz"
_PICTURE = "a picture of another format; save the labels as .png"
_MICROSCOPE = "a format of microscopes; convert it to .ome.tif or OME-Zarr with bfconvert"

WAYS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _LOSSY),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".webp", ".heic", ".avif"), _PICTURE),
    **dict.fromkeys((".bmp", ".gif", ".pgm", ".pbm", ".ppm", ".pnm", ".tga", ".pcx"), _PICTURE),
    **dict.fromkeys((".stl", ".obj", ".ply", ".off", ".gii", ".vtp", ".3mf", ".glb"), _SURFACE),
    **dict.fromkeys((".pial", ".white", ".inflated", ".annot"), _SURFACE),
    ".label": "a list of points; convert it with mri_label2vol",
    **dict.fromkeys(
        (".vtk", ".vti"), f"VTK; {_NIFTI}, with SimpleITK.ReadImage and WriteImage for instance"
    ),
    **dict.fromkeys((".vtm", ".vtu"), "VTK; export the segmentation as .seg.nrrd from 3D Slicer"),
    **dict.fromkeys(
        (".mrb", ".mrml"), "a scene of 3D Slicer; export its segmentation as .seg.nrrd"
    ),
    **dict.fromkeys((".mnc", ".mnc2"), f"MINC; {_NIFTI}, with mnc2nii or nibabel"),
    **dict.fromkeys((".par", ".rec"), f"Philips PAR/REC; {_NIFTI}, with parrec2nii of nibabel"),
    **dict.fromkeys((".mif", ".mih"), f"MRtrix; {_NIFTI}, with mrconvert"),
    **dict.fromkeys((".head", ".brik"), f"AFNI; {_NIFTI}, with 3dAFNItoNIFTI"),
    **dict.fromkeys((".v", ".ima", ".spr"), f"a format of a vendor; {_NIFTI}"),
    **dict.fromkeys((".gipl", ".pic", ".lsm"), f"a format that ITK reads; {_NIFTI} with SimpleITK"),
    **dict.fromkeys((".mrc", ".map", ".rec.mrc"), f"MRC; {_NIFTI}, with the package mrcfile"),
    **dict.fromkeys((".czi", ".nd2", ".lif", ".ims", ".oib", ".oif", ".svs", ".ndpi"), _MICROSCOPE),
    **dict.fromkeys(
        (".h5", ".hdf5", ".hdf", ".n5", ".zarr.zip"),
        "a container of arrays; save the one of the labels as .npy, or as OME-Zarr in a folder",
    ),
    **dict.fromkeys((".mat", ".npr"), "a container of arrays; save the one of the labels as .npy"),
    **dict.fromkeys(
        (".pt", ".pth"), "what torch saves, which can run code; save labels as .nii.gz"
    ),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle, which can run code; save labels as .nii.gz"),
    ".img": "voxels without their header; name the .hdr beside them",
    ".img.gz": "voxels without their header; name the .hdr beside them",
    **dict.fromkeys(
        (".raw", ".zraw", ".bin", ".dat"),
        "voxels without their header; name the .mhd or .nhdr that belongs to them, or write one",
    ),
    **dict.fromkeys(
        (".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip", ".nrrd.gz", ".mha.gz", ".nrrd.zip"),
        f"compressed in another way than the format does it; unpack it: {_ONE_FILE}, or .nii.gz",
    ),
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"), "an archive; unpack it"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst"), f"compressed; unpack it: {_ONE_FILE}"),
    **dict.fromkeys((".trk", ".tck"), "streamlines, no label map"),
    **dict.fromkeys((".mp4", ".avi", ".mov"), "a film; save the labels as a stack in .tif"),
    **dict.fromkeys((".dicomdir",), "a list of DICOM files; name the DICOM SEG itself"),
}
"""What a file with the suffix is, and the way out."""


def way_out(name: str) -> str:
    """What a file is that has a known foreign suffix, and how to convert it; else empty.

    Example:
        >>> way_out("case1.MNC")
        'MINC; convert it to .nii.gz, with mnc2nii or nibabel'
        >>> way_out("case1.xyz")
        ''
    """
    lower = name.lower()
    found = [suffix for suffix in WAYS if lower.endswith(suffix)]
    return WAYS[max(found, key=len)] if found else ""
