"""The published port's inference.py on Starmark: its names, flags and log.

python inference.py --input assets/test.jpg --output result.png --device npu:0 --contour
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from starmark import FaceLandmarkDetector, draw_landmarks_with_contours
from starmark.__main__ import main as starmark

__all__ = ["FaceLandmarkDetector", "draw_landmarks_with_contours"]

WEIGHTS = Path(__file__).with_name("pytorch_model.pkl")


def main() -> int:
    """Find the landmarks of one picture and draw them; what is logged is Chinese."""
    parser = argparse.ArgumentParser(description="68点人脸关键点检测")
    add = parser.add_argument
    add("--input", required=True, help="输入图像")
    add("--output", required=True, help="输出图像")
    add("--device", default="npu:0", help="npu:0 或 cpu")
    add("--weights", default=str(WEIGHTS), help="权重文件")
    add("--cropped", action="store_true", help="输入为 256x256 人脸裁剪图")
    add("--contour", action="store_true", help="绘制轮廓线")
    given = parser.parse_args()
    flags = [f"--{name}" for name in ("cropped", "contour") if getattr(given, name)]
    places = ["--input", given.input, "--output", given.output]
    model = ["--model", given.weights, "--device", given.device]
    whole = ["--faces", "none"]  # as the port, whatever finder is installed
    return starmark(["infer", *places, *model, *whole, *flags, "--lang", "zh"])


if __name__ == "__main__":
    sys.exit(main())
