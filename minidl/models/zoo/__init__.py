"""The zoo: published networks built from our layers, with what they cost and what was reported of them.

    ARCHITECTURES["vgg_d"].parameters                    # 138357544, and no weight was made
    ARCHITECTURES["vgg_d"].shapes["features.30"]         # (512, 7, 7)
    network = ARCHITECTURES["resnet50"].build().eval()   # names of weights are torchvision's, where it has it

Counts are compared with what is published in `tests/models/test_zoo.py`.
"""

from functools import partial

from minidl.models.zoo.architecture import Architecture, Published, Step
from minidl.models.zoo.branching import googlenet, squeezenet
from minidl.models.zoo.mobile import efficientnet_b0, mobilenet_v1, mobilenet_v2
from minidl.models.zoo.plain import alexnet, alexnet_two_towers, lenet5, nin, vgg, zfnet
from minidl.models.zoo.shortcuts import densenet, resnet

__all__ = ["ARCHITECTURES", "Architecture", "Published", "Step"]

_MILLION, _BILLION = 10**6, 10**9
_LENET = "https://doi.org/10.1109/5.726791"
_ALEXNET = "https://papers.nips.cc/paper_files/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html"
_ZFNET, _NIN = "https://arxiv.org/abs/1311.2901", "https://arxiv.org/abs/1312.4400"
_VGG, _GOOGLENET = "https://arxiv.org/abs/1409.1556", "https://arxiv.org/abs/1409.4842"
_RESNET, _DENSENET = "https://arxiv.org/abs/1512.03385", "https://arxiv.org/abs/1608.06993"
_SQUEEZENET, _MOBILENET = "https://arxiv.org/abs/1602.07360", "https://arxiv.org/abs/1704.04861"
_MOBILENET_V2, _EFFICIENTNET = "https://arxiv.org/abs/1801.04381", "https://arxiv.org/abs/1905.11946"


def _torchvision(name, parameters, flops, top1, top5):
    """Return what torchvision says of its first weights; its GFLOPS are 10⁹ multiply-adds."""
    source = f"https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.{name}.html"
    return Published(source, parameters, flops, top1, top5)


def _vgg(letter, columns, layers, parameters, errors, torchvision=None, addition=""):
    paper = Published(
        _VGG, parameters=parameters * _MILLION, top1=100 - errors[0], top5=100 - errors[1],
        note="table 3: one scale, the whole image densely",
    )  # fmt: skip
    return Architecture(
        f"vgg_{letter}", f"VGG {columns}", 2014, _VGG,
        f"configuration {columns} of table 1, {layers} weight layers{addition}",
        "Nothing but 3×3 convolutions, and many of them.",
        partial(vgg, letter), (torchvision, paper) if torchvision else (paper,),
    )  # fmt: skip


def _resnet(depth, published, billions, blocks):
    note = "table 1"
    if depth > 34:
        note += ", with the stride in a bottleneck's first 1×1 convolution, which is cheaper"
    return Architecture(
        f"resnet{depth}", f"ResNet-{depth}", 2015, _RESNET,
        f"torchvision's, of {blocks}" + "; the 3×3 convolution has the stride (“v1.5”)" * (depth > 34),
        "Layers learn what to add to their input, so that a hundred of them can be trained.",
        partial(resnet, depth),
        (published, Published(_RESNET, flops=round(billions * _BILLION), note=note)),
    )  # fmt: skip


_ALL = (
    Architecture(
        "lenet5", "LeNet-5", 1998, _LENET,
        "the paper's: learned subsampling, C3 connected as in table I, ten fixed codes at the end",
        "Learn the filters, share them across the image, and train all of it by gradient descent.",
        lenet5, (Published(_LENET, parameters=60_000, note="on MNIST, not ImageNet"),), (1, 32, 32),
    ),
    Architecture(
        "alexnet", "AlexNet", 2012, _ALEXNET,
        "torchvision's: one tower of the narrower widths of arXiv:1404.5997, no response normalisation",
        "LeNet made large: ReLU, dropout, a million images, two GPUs.",
        alexnet, (_torchvision("alexnet", 61_100_840, 714_000_000, 56.522, 79.066),),
    ),
    Architecture(
        "alexnet_two_towers", "AlexNet (two towers)", 2012, _ALEXNET,
        "the paper's: two towers, response normalisation; padding 2 makes its 55 positions of its 224 pixels",
        "LeNet made large: ReLU, dropout, a million images, two GPUs.",
        alexnet_two_towers,
        (Published(_ALEXNET, 60 * _MILLION, top1=59.3, top5=81.8, note="one network, ten crops"),),
    ),
    Architecture(
        "zfnet", "ZFNet", 2013, _ZFNET,
        "figure 3 of the paper; Clarifai won with several such networks averaged",
        "Look at what the filters see, and mend AlexNet's coarse first layer.",
        zfnet,
        (Published(_ZFNET, top1=61.6, top5=83.5, note="one network, ten crops"),),
    ),
    _vgg("a", "A", 11, 133, (29.6, 10.4), _torchvision("vgg11", 132_863_336, 7_609_000_000, 69.020, 88.628)),
    _vgg("a_lrn", "A-LRN", 11, 133, (29.7, 10.5), addition=", response normalisation after the first"),
    _vgg("b", "B", 13, 133, (28.7, 9.9), _torchvision("vgg13", 133_047_848, 11_308_000_000, 69.928, 89.246)),
    _vgg("c", "C", 16, 134, (28.1, 9.4), addition=", three of them 1×1 convolutions"),
    _vgg("d", "D", 16, 138, (27.0, 8.8), _torchvision("vgg16", 138_357_544, 15_470_000_000, 71.592, 90.382)),
    _vgg("e", "E", 19, 144, (27.3, 9.0), _torchvision("vgg19", 143_667_240, 19_632_000_000, 72.376, 90.876)),
    Architecture(
        "nin", "Network in Network", 2013, _NIN,
        "the one for ImageNet that its first author gave to Caffe's zoo; the paper's are for small images",
        "Slide a small network instead of a filter: 1×1 convolutions. End in an average, not dense layers.",
        nin,
        (Published(
            "https://gist.github.com/mavenlin/d802a5849de39225bcc6", top1=59.36,
            note="its snapshot of 29 MB holds 7.6 million numbers of 4 bytes",
        ),),
    ),
    Architecture(
        "googlenet", "GoogLeNet", 2014, _GOOGLENET,
        "torchvision's: batch normalisation, 3×3 where the paper has 5×5, no auxiliary classifiers",
        "Look at several scales side by side, and make it cheap with 1×1 convolutions.",
        googlenet,
        (
            _torchvision("googlenet", 6_624_904, 1_498_000_000, 69.778, 89.530),
            Published(_GOOGLENET, flops=3 * _BILLION // 2, note="with 5×5 convolutions"),
        ),
    ),
    _resnet(18, _torchvision("resnet18", 11_689_512, 1_814_000_000, 69.758, 89.078), 1.8, "basic blocks"),
    _resnet(34, _torchvision("resnet34", 21_797_672, 3_664_000_000, 73.314, 91.420), 3.6, "basic blocks"),
    _resnet(50, _torchvision("resnet50", 25_557_032, 4_089_000_000, 76.130, 92.862), 3.8, "bottlenecks"),
    _resnet(101, _torchvision("resnet101", 44_549_160, 7_801_000_000, 77.374, 93.546), 7.6, "bottlenecks"),
    _resnet(152, _torchvision("resnet152", 60_192_808, 11_514_000_000, 78.312, 94.046), 11.3, "bottlenecks"),
    Architecture(
        "densenet121", "DenseNet-121", 2016, _DENSENET,
        "DenseNet-BC with growth rate 32, as in torchvision",
        "Each layer sees the results of all before it, and adds a little.",
        densenet,
        (
            _torchvision("densenet121", 7_978_856, 2_834_000_000, 74.434, 91.972),
            Published(_DENSENET, top1=74.98, top5=92.29),
        ),
    ),
    Architecture(
        "squeezenet", "SqueezeNet", 2016, _SQUEEZENET,
        "version 1.0, as in torchvision",
        "As good as AlexNet with a fiftieth of its parameters: squeeze before every 3×3 convolution.",
        squeezenet,
        (
            _torchvision("squeezenet1_0", 1_248_424, 819_000_000, 58.092, 80.420),
            Published(_SQUEEZENET, top1=57.5, top5=80.3),
        ),
    ),
    Architecture(
        "mobilenet_v1", "MobileNet v1", 2017, _MOBILENET,
        "width 1.0, 224 pixels",
        "Split a convolution: filter each channel for itself, then mix channels with 1×1 convolutions.",
        mobilenet_v1,
        (
            Published(_MOBILENET, 4_200_000, 569 * _MILLION, top1=70.6),
            Published(
                "https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.md",
                4_240_000, 569 * _MILLION, 70.9, 89.9,
            ),
        ),
    ),
    Architecture(
        "mobilenet_v2", "MobileNet v2", 2018, _MOBILENET_V2,
        "width 1.0, as in torchvision",
        "Short cuts between narrow ends: widen, filter, narrow.",
        mobilenet_v2,
        (
            _torchvision("mobilenet_v2", 3_504_872, 301_000_000, 71.878, 90.286),
            Published(_MOBILENET_V2, 3_400_000, 300 * _MILLION, top1=72.0),
        ),
    ),
    Architecture(
        "efficientnet_b0", "EfficientNet-B0", 2019, _EFFICIENTNET,
        "torchvision's",
        "Found by a search, and scaled in depth, width and resolution together.",
        efficientnet_b0,
        (
            _torchvision("efficientnet_b0", 5_288_548, 386_000_000, 77.692, 93.532),
            Published(_EFFICIENTNET, 5_300_000, 390 * _MILLION, 77.1, 93.3),
        ),
    ),
)  # fmt: skip

ARCHITECTURES = {architecture.key: architecture for architecture in _ALL}
