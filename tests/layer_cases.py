"""Layers that PyTorch has, too: how each is made, the same way in both, and what it is called with.
Every option at least once."""

import numpy as np

SEQUENCE, IMAGE, VOLUME = (2, 4, 7), (2, 4, 6, 7), (2, 4, 5, 6, 4)
SPACES = {1: SEQUENCE, 2: IMAGE, 3: VOLUME}
IDS, ROWS, WIDE = "ids", (4, 6), (2, 3, 6)


def case(*args, on=ROWS, **options):
    """Arguments of the constructor; `on`: the shapes of inputs."""
    return args, options, on if isinstance(on, list) else [on]


CASES = {
    "Linear": [case(6, 3), case(6, 3, False, on=WIDE)],
    "Bilinear": [case(6, 5, 3, on=[(4, 6), (4, 5)]), case(6, 5, 3, False, on=[(4, 6), (4, 5)])],
    "Identity": [case(54, unused=1)],
    "Flatten": [case(on=IMAGE), case(0, 1, on=IMAGE), case(start_dim=2, end_dim=-2, on=VOLUME)],
    "Unflatten": [case(1, (2, 3)), case(-1, (2, -1))],
    "CosineSimilarity": [case(on=[ROWS] * 2), case(dim=0, eps=1e-6, on=[ROWS] * 2)],
    "PairwiseDistance": [case(on=[ROWS] * 2), case(3.0, 1e-5, True, on=[ROWS] * 2)],
    "LayerNorm": [
        case(6),
        case((3, 6), 1e-3, False, on=WIDE),
        case((3, 6), bias=False, on=WIDE),
    ],
    "RMSNorm": [case(6), case((3, 6), 1e-3, on=WIDE), case(6, None, False)],
    "GroupNorm": [
        case(2, 4, on=IMAGE),
        case(4, 4, 1e-3, False, on=SEQUENCE),
        case(1, 4, on=(3, 4)),
    ],
    "LocalResponseNorm": [case(2, on=IMAGE), case(3, 0.1, 0.5, 2.0, on=SEQUENCE)],
    "PReLU": [case(), case(4, 0.1, on=IMAGE)],
    "Softmax": [case(-1), case(dim=1, on=IMAGE)],
    "LogSoftmax": [case(-1), case(dim=1, on=IMAGE)],
    "Softmin": [case(-1), case(dim=1, on=IMAGE)],
    "Softmax2d": [case(on=IMAGE)],
    "GLU": [case(), case(1, on=IMAGE)],
    "GELU": [case(), case("tanh"), case(approximate="none")],
    "LeakyReLU": [case(), case(0.3, False)],
    "ELU": [case(), case(0.5, inplace=False)],
    "CELU": [case(), case(0.5)],
    "Hardtanh": [case(), case(-0.5, 0.7), case(min_val=-2.0, max_val=0.1)],
    "Hardshrink": [case(), case(0.2)],
    "Softshrink": [case(), case(0.2)],
    "Threshold": [case(0.1, 20.0), case(-0.2, 0.0)],
    "Softplus": [case(), case(2.0), case(1.5, 0.2)],
    "Embedding": [
        case(5, 3, on=IDS),
        case(5, 3, 2, on=IDS),
        case(5, 3, padding_idx=-1, scale_grad_by_freq=True, on=IDS),
        case(5, 3, max_norm=1.0, on=IDS),
        case(5, 3, None, 0.8, 1.0, True, on=IDS),
        case(5, 3, 2, sparse=True, on=IDS),
    ],
    "EmbeddingBag": [
        *[case(5, 3, mode=m, on=IDS) for m in ("mean", "sum", "max")],
        *[case(5, 3, mode=m, padding_idx=2, on=IDS) for m in ("mean", "sum", "max")],
        case(5, 3, 0.8, 1.0, False, "sum", on=IDS),
        case(5, 3, mode="sum", include_last_offset=True, on=["flat ids", "offsets", "shares"]),
        case(5, 3, mode="mean", padding_idx=1, on=["flat ids", "offsets"]),
        case(5, 3, None, 2.0, False, "sum", True, on=IDS),
    ],
    "PixelShuffle": [case(2, on=(2, 8, 3, 2))],
    "PixelUnshuffle": [case(2, on=(2, 3, 6, 4))],
    "ChannelShuffle": [case(2, on=IMAGE)],
    "Upsample": [
        case(9, on=SEQUENCE),
        case(scale_factor=2, mode="bilinear", on=IMAGE),
        case((9, 5), mode="bicubic", align_corners=True, on=IMAGE),
        case(None, 2, "trilinear", True, on=VOLUME),
    ],
    "UpsamplingNearest2d": [case(scale_factor=2, on=IMAGE)],
    "UpsamplingBilinear2d": [case((8, 9), on=IMAGE)],
    "Fold": [
        case((4, 5), 2, 1, 0, 1, on=(2, 8, 12)),
        case((4, 5), 2, padding=1, stride=2, on=(2, 8, 9)),
    ],
    "Unfold": [case(2, on=IMAGE), case((2, 3), 1, 1, 2, on=IMAGE)],
    **{
        name: [case()]
        for name in """ReLU ReLU6 SELU SiLU Mish Hardswish Hardsigmoid Sigmoid Tanh LogSigmoid
        Softsign Tanhshrink""".split()
    },
    # evaluated alone: PyTorch's random numbers are others
    "RReLU": [case(), case(0.2, 0.4)],
    "Dropout": [case(0.4)],
    "AlphaDropout": [case(0.4)],
    "FeatureAlphaDropout": [case(0.4, on=IMAGE)],
}
for n, space in ((2, IMAGE), (3, VOLUME)):
    drawn = np.random.default_rng(n).random((*space[:2], n))
    CASES[f"FractionalMaxPool{n}d"] = [
        case(2, 2, random_samples=drawn, on=space),
        case((1, 2, 3)[:n], None, (0.6, 0.5, 0.3)[:n], True, random_samples=drawn, on=space),
    ]
RANDOM = {"RReLU", "Dropout", "AlphaDropout", "FeatureAlphaDropout"}
for n, space in SPACES.items():
    on, modes = {"on": space}, ("zeros", "reflect", "replicate", "circular")
    RANDOM.add(f"Dropout{n}d")
    CASES |= {
        f"Conv{n}d": [
            case(4, 6, 3, **on),
            case(4, 6, 2, 2, 1, 1, 2, False, **on),
            case(4, 4, 2, padding="same", dilation=2, groups=4, **on),
            case(4, 2, 2, padding="same", **on),
            case(4, 2, (3,) * n, (2,) * n, "valid", **on),
            *[case(4, 2, 3, padding=1, padding_mode=m, **on) for m in modes],
        ],
        f"ConvTranspose{n}d": [
            case(4, 6, 3, **on),
            case(4, 6, 3, 2, 1, 1, 2, False, **on),
            case(4, 3, (2,) * n, dilation=2, **on),
        ],
        f"BatchNorm{n}d": [
            case(4, **on),
            case(4, 1e-3, 0.3, False, **on),
            case(4, track_running_stats=False, **on),
            case(4, momentum=None, **on),
        ],
        f"InstanceNorm{n}d": [
            case(4, **on),
            case(4, 1e-3, 0.3, True, True, **on),
        ],
        f"MaxPool{n}d": [
            case(2, **on),
            case(3, 2, 1, **on),
            case(2, 1, 0, 2, **on),
            case(3, 2, ceil_mode=True, **on),
            case(2, return_indices=True, **on),
        ],
        f"AvgPool{n}d": [
            case(2, **on),
            case(3, 2, 1, **on),
            case(3, 2, 1, True, False, **on),
            *([case(2, divisor_override=3, **on)] if n > 1 else []),
        ],
        f"AdaptiveAvgPool{n}d": [
            case(2, **on),
            *([case((None, *(3,) * (n - 1)), **on)] if n > 1 else []),
        ],
        f"AdaptiveMaxPool{n}d": [case(2, **on), case(3, True, **on)],
        f"MaxUnpool{n}d": [case(2, on=["pooled", (2, 4, *[6] * n)])],
        f"Dropout{n}d": [case(0.4, **on)],
        f"ConstantPad{n}d": [case(1, 2.5, **on), case(tuple(range(2 * n)), -1.0, **on)],
    }
    CASES |= {
        f"{kind}Pad{n}d": [case(1, **on), case(tuple([k % 3 for k in range(2 * n)]), **on)]
        for kind in ("Zero", "Reflection", "Replication", "Circular")
    }
    CASES[f"LPPool{n}d"] = [case(2.0, 2, **on), case(3.0, 3, 2, True, **on)]
NAMED = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
