"""Links of real machines, and what was reached with them: published numbers, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from minidl.graph.scaling import Link

_NCCL = "NCCL's own estimate for a ring, https://github.com/NVIDIA/nccl/blob/master/src/graph/tuning.cc"
_NVLINK, _NETWORK = 3.4e-6, 14e-6  # seconds a round of a ring takes there at least, protocol "Simple"

#: Bandwidths are published peaks, one way: inside a machine for each device, between machines for each
#: network card. Latencies are those that NCCL, the library that does this on GPUs, reckons with.
LINKS = {
    "50 Gbit Ethernet": Link.of(
        "50 Gbit Ethernet",
        _NETWORK,
        50e9 / 8,
        f"one card per server of 8 GPUs: Goyal et al., arXiv:1706.02677, section 4; latency: {_NCCL}",
    ),
    "NVLink 1": Link.of(
        "NVLink 1",
        _NVLINK,
        80e9,
        f"Tesla P100, 4 links of 20 GB/s each way: NVIDIA, Tesla P100 whitepaper WP-08019; latency: {_NCCL}",
    ),
    "NVLink 4": Link.of(
        "NVLink 4",
        _NVLINK,
        450e9,
        "H100 and H200, 18 links, 900 GB/s both ways together: https://raw.githubusercontent.com/mlcommons/"
        f"inference_results_v4.1/main/closed/NVIDIA/systems/H200-SXM-141GBx8_TRT_MaxQ.json; latency: {_NCCL}",
    ),
    "NDR InfiniBand": Link.of(
        "NDR InfiniBand",
        _NETWORK,
        400e9 / 8,
        f"400 Gbit/s per card: the same file of MLCommons; latency: {_NCCL}",
    ),
}


@dataclass(frozen=True)
class Published:
    """A training that was reported.

    Attributes
    ----------
    name, source : str
    devices : int
    batch : int or None
        Examples in a step.
    minutes : float or None
    images : float or None
        A second, on all devices: published, or 90 epochs of 1,281,167 images over the time.
    efficiency : tuple or None
        (from how many devices, share): the published scaling efficiency.
    says : str
    """

    name: str
    devices: int
    batch: int | None
    minutes: float | None
    images: float | None
    efficiency: tuple | None
    says: str
    source: str


_NINETY = 90 * 1_281_167

PUBLISHED = (
    Published(
        "Goyal et al., 2017",
        256,
        8192,
        60,
        _NINETY / 3600,
        (8, 0.90),
        "ResNet-50 on Tesla P100, batches of up to 8,192 without loss of accuracy",
        "https://arxiv.org/abs/1706.02677",
    ),
    Published(
        "Akiba et al., 2017",
        1024,
        32768,
        15,
        _NINETY / 900,
        None,
        "ResNet-50 on Tesla P100, 90 epochs",
        "https://arxiv.org/abs/1711.04325",
    ),
    Published(
        "Ying et al., 2018",
        1024,
        None,
        2.2,
        1.05e6,
        None,
        "ResNet-50 on TPU v3 chips, 76.3% accuracy",
        "https://arxiv.org/abs/1811.06992",
    ),
    Published(
        "Jiang et al. (MegaScale), 2024",
        12_288,
        None,
        None,
        None,
        None,
        "a language model of 175 billion parameters at 55.2% of the GPUs' peak",
        "https://arxiv.org/abs/2402.15627",
    ),
)

#: Goyal et al., section 4 and 5: what the model needs to know of ResNet-50 on a Tesla P100.
RESNET50 = {
    "bytes": 100e6,  # of gradients, 25 million float32
    "back": 0.120,  # seconds of the way back for 32 images
    "share": 32,  # images on each GPU
    "node": 8,  # GPUs in a server
}

#: Examples. McCandlish et al. (arXiv:1812.06162, abstract) put the largest useful batch for ImageNet at "tens
#: of thousands"; this is the order of magnitude, and not more.
IMAGENET_CRITICAL = 20_000
