"""Speed and calibration, measured: `python -m benchmarks.<name>`."""
