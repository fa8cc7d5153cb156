"""Derive assets/test.jpg and assets/sample.jpg from NASA's portrait of Eileen Collins.

Needs scikit-image (in the dev extra), which ships the public-domain picture. Run from the root:

    python scripts/make_samples.py
"""

from pathlib import Path

import cv2
from skimage import data

from runtime.image.crop import crop_face

ASSETS = Path(__file__).resolve().parents[1] / "assets"
JPEG_QUALITY = 92

# x 70..390, y 0..240 of the 512x512 portrait, resized to 1024x768: the whole-picture mode then
# squeezes x by 4 and y by 3, as it does with the reference's own photo.
CUT_XYXY = (70, 0, 390, 240)
PHOTO_WH = (1024, 768)

# A box around the head, in the portrait; the crop shows 200 / 180 of its side.
HEAD_XYXY = (134.0, 26.0, 309.0, 201.0)
CROP_SIDE_PX = 256


def main() -> None:
    """Write both pictures."""
    portrait = cv2.cvtColor(
        data.astronaut(),  # type: ignore[no-untyped-call]  # it ships no types
        cv2.COLOR_RGB2BGR,
    )
    x1, y1, x2, y2 = CUT_XYXY
    photo = cv2.resize(portrait[y1:y2, x1:x2], PHOTO_WH, interpolation=cv2.INTER_CUBIC)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    cv2.imwrite(str(ASSETS / "test.jpg"), photo, quality)

    crop = crop_face(portrait, HEAD_XYXY, CROP_SIDE_PX)
    cv2.imwrite(str(ASSETS / "sample.jpg"), crop.pixels, quality)


if __name__ == "__main__":
    main()
