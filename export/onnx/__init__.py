"""The model as standard ONNX graphs. `import onnx` in here is the package of that name."""
