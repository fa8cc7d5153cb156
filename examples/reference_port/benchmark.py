"""The published port's benchmark.py on Starmark: its flags and its report, on the sample pictures.

python benchmark.py --device_npu npu:0 --device_cpu cpu --runs 100 --output benchmark_report.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from starmark.__main__ import main as starmark

WEIGHTS = Path(__file__).with_name("pytorch_model.pkl")


def main() -> int:
    """Compare an NPU with the CPU, in pixels and in time; what is printed is Chinese."""
    parser = argparse.ArgumentParser(description="NPU 与 CPU 的精度和性能对比")
    add = parser.add_argument
    add("--device_npu", default="npu:0", help="NPU 设备，none 表示不测")  # noqa: RUF001  # Chinese
    add("--device_cpu", default="cpu", help="CPU 设备，none 表示不测")  # noqa: RUF001  # likewise
    add("--runs", default="100", help="测试次数")
    add("--output", default="benchmark_report.json", help="报告文件")
    add("--weights", default=str(WEIGHTS), help="权重文件")
    given = parser.parse_args()
    devices = ["--device_npu", given.device_npu, "--device_cpu", given.device_cpu]
    model = ["--model", given.weights, "--runs", given.runs]
    return starmark(["benchmark", *model, *devices, "--output", given.output, "--lang", "zh"])


if __name__ == "__main__":
    sys.exit(main())
