"""Data: examples to learn from, and others, kept aside, to be judged by."""

from minidl.tasks.data.check import Finding, Report, check
from minidl.tasks.data.digits import digits, nudges, shifts
from minidl.tasks.data.folder import folder
from minidl.tasks.data.mnist import DataUnavailable, mnist, read_idx
from minidl.tasks.data.sets import Dataset, Examples, Split, batches

__all__ = [
    "DataUnavailable",
    "Dataset",
    "Examples",
    "Finding",
    "Report",
    "Split",
    "batches",
    "check",
    "digits",
    "folder",
    "mnist",
    "nudges",
    "read_idx",
    "shifts",
]
