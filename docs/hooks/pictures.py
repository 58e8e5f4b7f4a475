"""Makes the pictures of the README and of the site's home page anew.

python docs/hooks/pictures.py     # writes report.webp and losses.svg in docs/pictures

The report is of brains of the template inside nilearn, bent at random, with lesions that are drawn
into them and predictions that are wrong on purpose: seconds, nothing to download. It is
photographed by Chromium, which has to be there; the losses are drawn here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from curves import curves_of
from drawing import curve_svg, push_svg
from nilearn import datasets
from PIL import Image
from scipy import ndimage

from medloss.offers.host import host

PICTURES = Path(__file__).parents[1] / "pictures"
CASES, SIZE = 8, (1180, 1240)
SHOWN = {
    "dice": "a region",
    "boundary": "its boundary, in mm",
    "cl_dice": "a tube's centre line",
    "blob": "each lesion alike",
}
_EXCERPT = """
section:not([aria-labelledby=summary], [aria-labelledby=pictures]), nav, dl {
  display: none !important;
}
"""
_STYLE = """
svg { color: #222; background: #fff; font-family: system-ui, sans-serif; }
text { fill: currentcolor; font-size: 11px; }
.name { font: 600 15px ui-monospace, monospace; }
.rule { stroke: currentcolor; opacity: 0.15; }
.mark { stroke: currentcolor; opacity: 0.5; stroke-dasharray: 3 3; }
.curve { fill: none; stroke: #c2410c; stroke-width: 2; }
.target, .prediction { fill: none; stroke: currentcolor; stroke-width: 0.35; }
.prediction { stroke-dasharray: 0.5 0.5; }
@media (prefers-color-scheme: dark) {
  svg { color: #ddd; background: #14181e; }
  .curve { stroke: #fb923c; }
}
"""


def losses_svg() -> str:
    """A strip: where each loss pushes a prediction, and its value while the prediction leaves."""
    parts = []
    for place, (name, what) in enumerate(SHOWN.items()):
        drawn = curves_of(host().losses.find(name))
        if drawn.push is None or drawn.scene is None:
            raise ValueError(f"{name} has no gradient to draw")
        x = 320 * place
        parts += [
            f'<text class="name" x="{x + 10}" y="20">{name}</text>',
            f'<text x="{x + 10}" y="38">{what}</text>',
            _at(x + 10, 48, 280, 156, push_svg(drawn.scene, drawn.push, name)),
            _at(x, 214, 300, 170, curve_svg(drawn.curves[0], name)),
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {320 * len(SHOWN) - 20} 388">'
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _at(x: float, y: float, width: float, height: float, svg: str) -> str:
    return svg.replace("<svg ", f'<svg x="{x}" y="{y}" width="{width}" height="{height}" ', 1)


def write_study(folder: Path) -> None:
    """Images, references and predictions of brains with lesions; the last case is missed."""
    rng = np.random.default_rng(23)
    template = datasets.load_mni152_template(resolution=2)
    t1 = np.asarray(template.dataobj, np.float32)
    white = np.asarray(datasets.load_mni152_wm_template(resolution=2).dataobj) > 0.9
    inside = np.argwhere(ndimage.binary_erosion(white, iterations=2))
    for number in range(CASES):
        bent = [_smooth(rng, t1.shape, 12) for _ in range(3)]
        image = ndimage.map_coordinates(t1, np.indices(t1.shape) + 3 * np.stack(bent), order=1)
        lesions = np.full(t1.shape, 9.0)
        for middle in rng.choice(inside, 5):
            away = np.linalg.norm(np.indices(t1.shape).T - middle, axis=-1).T
            lesions = np.minimum(lesions, away / rng.uniform(2, 5))
        lesions += 0.15 * _smooth(rng, t1.shape, 2)
        brain, error = (image > 0.1) + 0.0, _smooth(rng, t1.shape, 3)
        found = (lesions + (0.1 + 0.04 * number) * error < 1) & (number < CASES - 1)
        about = ndimage.gaussian_filter(brain, 1) + 0.1 * error > 0.5
        for kind, values in (
            ("images", np.rint(140 * image * (1 + 0.7 * (lesions < 1)))),
            ("references", np.where(lesions < 1, 2, brain)),
            ("predictions", np.where(found, 2, about)),
        ):
            (folder / kind).mkdir(exist_ok=True)
            made = nibabel.Nifti1Image(values.astype(np.uint8), template.affine)
            nibabel.save(made, folder / kind / f"brain_{number + 1}.nii.gz")


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], voxels: float) -> np.ndarray:
    """Noise of unit spread that is alike over some voxels."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), voxels)
    return np.asarray(noise / noise.std())


def photograph(page: Path, target: Path) -> None:
    """The head of a report, its labels and its worst cases, as a small picture.

    Raises:
        SystemExit: there is no Chromium.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        raise SystemExit(f"expected one of {', '.join(names)} to photograph the report, found none")
    html = page.read_text(encoding="utf-8").replace("</head>", f"<style>{_EXCERPT}</style></head>")
    page, photo = page.with_name("excerpt.html"), page.with_suffix(".png")
    page.write_text(html, encoding="utf-8")
    size = ",".join(map(str, SIZE))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    subprocess.run(
        [browser, *options, f"--screenshot={photo}", f"--window-size={size}", page.as_uri()],
        check=True,
        capture_output=True,
    )
    with Image.open(photo) as image:
        image.convert("RGB").save(target, quality=80, method=6)


def main() -> None:
    """Write both pictures."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "losses.svg").write_text(losses_svg(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder)
        command: list[str | Path] = [sys.executable, "-m", "medloss", "eval"]
        command += [folder / "predictions", folder / "references", "--output", folder / "scores"]
        command += ["--labels", "1=brain,2=lesion", "--images", folder / "images"]
        subprocess.run([*command, "--title", "Lesions in eight brains"], check=True)
        photograph(folder / "scores" / "report.html", PICTURES / "report.webp")


if __name__ == "__main__":
    main()
