"""For those who come from elsewhere: grad-cam's, Captum's, Quantus' and FiftyOne's forms, and maps in a training loop.

Each is a thin form of :func:`vitscope.explain`: the numbers are its numbers. The other packages are imported when they
are needed; where one is missing, one line says so."""

from vitscope.adapters.captum import Attribution
from vitscope.adapters.errors import AdapterError
from vitscope.adapters.fiftyone import add_heatmaps, heatmap
from vitscope.adapters.grad_cam import GradCAM
from vitscope.adapters.quantus import explain_func
from vitscope.adapters.training import MapLogger

__all__ = ["AdapterError", "Attribution", "GradCAM", "MapLogger", "add_heatmaps", "explain_func", "heatmap"]
