#!/usr/bin/env python3
"""Holds weights that scrawl writes and reads against PyTorch and transformers; see docs/pytorch.md.

  python3 tests/pytorch/verify_weights.py OUT_DIR [--scrawl BINARY]

Trains a small model on the drawn demo set, exports it in every format, and compares what each side computes from it.
Needs torch, transformers, safetensors and Pillow.  Exits with 1 when something differs by more than it may.
"""
import argparse
import copy
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, SegformerConfig, SegformerForSemanticSegmentation

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "baseline"))
import pfa_torch  # noqa: E402  the published model in PyTorch

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
ROWS = []
transformers.utils.logging.disable_progress_bar()


def note(what, value, limit):
    """One comparison: `value` may be at most `limit`."""
    ROWS.append((what, value, limit))
    print(f"{'ok  ' if value <= limit else 'FAIL'}  {what}: {value:.2g} (at most {limit:.2g})", flush=True)


class Scrawl:
    def __init__(self, binary, out):
        self.binary, self.out = binary, out

    def __call__(self, *arguments):
        return subprocess.run([self.binary, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    def export(self, checkpoint, form, name):
        self("export", "--checkpoint", checkpoint, "--format", form, "--out", self.out / name)
        return self.out / name

    def labels(self, checkpoint, photo):
        folder = self.out / "predictions" / checkpoint.name
        self("predict", "--checkpoint", checkpoint, "--out", folder, photo)
        return np.array(Image.open(folder / f"{photo.stem}.png"))

    def replay_error(self, name, sizes, state, tensors):
        """Has scrawl load a state dict and compute what `tensors` recorded; the worst relative error."""
        case = self.out / name
        case.mkdir(parents=True)
        loss = ["without", "local_pce", "local_con", "global_pce", "global_con_local", "global_con_global"]
        (case / "case.json").write_text(json.dumps({
            "model": {k: sizes[k] for k in ("embed_dims", "depths", "heads", "reductions", "strides", "mlp_ratio",
                                            "width", "classes")},
            "prototype": {"slots": 1, "rate": 0.99},
            "optimizer": {"lr": 0.001, "weight_decay": 0.01, "betas": [0.9, 0.999]},
            "loss": dict.fromkeys(loss, 1), "steps": []}))
        save_file(state, case / "init.safetensors")
        save_file({k: v.contiguous() for k, v in tensors.items()}, case / "record.safetensors")
        return json.loads(self("replay", "--json", case))[0]["quantities"]["maps"]["worst"]


def metadata(checkpoint):
    with safetensors.safe_open(checkpoint, "pt") as file:
        return json.loads(file.metadata()["checkpoint"])


def pytorch_model(sizes, state, strict=True):
    pfa_torch.HEADS, pfa_torch.REDUCTIONS = sizes["heads"], sizes["reductions"]
    model = pfa_torch.Pfa(sizes["embed_dims"], sizes["depths"], sizes["strides"], sizes["width"], sizes["classes"])
    missing = model.load_state_dict(state, strict=strict).missing_keys
    assert all(name.startswith("feature_aug.") for name in missing), missing
    return model.eval()


def with_eps(model, eps):
    """The same model with one eps in all layer norms, as transformers has it."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    return model


def pixels_of(photo):
    """A photo as the published code feeds it to the network."""
    rgb = (np.asarray(Image.open(photo), np.float64) - MEAN) / STD
    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None]


def labels_of(logits, image):
    full = F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=True)
    return full.argmax(1)[0].numpy()


def worst(a, b):
    return float((a.double() - b.double()).abs().max())


def share_different(a, b):
    return float((a != b).mean())


def verify_published(scrawl, checkpoint, sizes, photo):
    """PyTorch loads the export strictly and computes what scrawl computes; returns its model."""
    ours = load_file(checkpoint)
    states = {"pth": torch.load(scrawl.export(checkpoint, "published", "pfa.pth"), weights_only=True),
              "safetensors": load_file(scrawl.export(checkpoint, "published", "pfa.safetensors"))}
    for form, state in states.items():
        model = pytorch_model(sizes, state)
        note(f"published .{form}, strict=True: tensors against the checkpoint",
             max(worst(v, ours[k]) for k, v in state.items() if not k.endswith("num_batches_tracked")), 0)
    image = pixels_of(photo)
    maps = model.encoder(image)
    feat, logits = model.decoder(maps)
    record = {"eval.image": image, "eval.feat": feat, "eval.logits": logits}
    record |= {f"eval.stage{i}": x for i, x in enumerate(maps, start=1)}
    note("published: PyTorch's stages, features and logits, relative to scrawl's",
         scrawl.replay_error("case_published", sizes, states["safetensors"], record), 1e-4)
    note("published: share of pixels that PyTorch labels otherwise",
         share_different(labels_of(logits, image), scrawl.labels(checkpoint, photo)), 1e-4)
    return model, states


def verify_huggingface(scrawl, checkpoint, model, photo):
    """transformers loads the export without complaints and computes the same logits."""
    folder = scrawl.export(checkpoint, "huggingface", "huggingface")
    hf, info = SegformerForSemanticSegmentation.from_pretrained(folder, output_loading_info=True)
    note("huggingface: missing, unexpected and mismatched tensors",
         sum(len(info[k]) for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), 0)
    image = pixels_of(photo)
    logits, published = hf.eval()(pixel_values=image).logits, model(image)[1]
    print(f"      logits range from {float(logits.min()):.3g} to {float(logits.max()):.3g}")
    note("huggingface: logits, eps 1e-5 throughout against the published eps", worst(logits, published), 1e-3)
    note("huggingface: logits, the same eps", worst(logits, with_eps(model, 1e-5)(image)[1]), 1e-4)
    prepared = AutoImageProcessor.from_pretrained(folder)(Image.open(photo), return_tensors="pt")["pixel_values"]
    note("huggingface: the image processor's pixels against the published normalisation", worst(prepared, image), 1e-5)
    names = zip(hf.config.id2label.values(), metadata(checkpoint)["class_names"], strict=True)
    note("huggingface: label names that differ", sum(a != b for a, b in names), 0)
    note("huggingface, read back: share of pixels that transformers labels otherwise",
         share_different(labels_of(logits, image), scrawl.labels(folder, photo)), 1e-4)


def verify_huggingface_in(scrawl, photo):
    """A model that transformers made is used as it is; with SegFormer's own strides."""
    torch.manual_seed(7)
    config = SegformerConfig(depths=[1, 2, 1, 1], hidden_sizes=[16, 32, 40, 64], decoder_hidden_size=48, num_labels=5)
    hf = SegformerForSemanticSegmentation(config).eval()
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = scrawl.out / "transformers"
    hf.save_pretrained(folder)
    image = pixels_of(photo)
    logits = hf(pixel_values=image).logits
    note("transformers' weights in: share of pixels that scrawl labels otherwise",
         share_different(labels_of(logits, image), scrawl.labels(folder, photo)), 1e-4)
    state = torch.load(scrawl.export(folder, "published", "from_transformers.pth"), weights_only=True)
    sizes = dict(embed_dims=config.hidden_sizes, depths=config.depths, heads=config.num_attention_heads,
                 reductions=config.sr_ratios, strides=config.strides, width=config.decoder_hidden_size, classes=5)
    model = with_eps(pytorch_model(sizes, state, strict=False), 1e-5)
    note("transformers' weights in, published out: logits, the same eps", worst(logits, model(image)[1]), 1e-4)


def verify_pth_in(scrawl, checkpoint, state, photo):
    """Checkpoints as PyTorch writes them predict what the original predicts."""
    forms = {"zip": (state, {}), "legacy": (state, {"_use_new_zipfile_serialization": False}),
             "wrapped": ({"state_dict": {"module." + k: v for k, v in state.items()}, "epoch": 3}, {}),
             "strided": ({k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()}, {})}
    want = scrawl.labels(checkpoint, photo)
    for form, (content, options) in forms.items():
        path = scrawl.out / f"{form}.pth"
        torch.save(content, path, **options)
        note(f".pth in, {form}: share of pixels labelled otherwise", share_different(want, scrawl.labels(path, photo)), 0)


def verify_tags(scrawl, data):
    scrawl("prepare", "tags", "--masks", data / "SegmentationClass", "--classes", data / "classes.txt", "--out",
           scrawl.out / "cls_labels.npy")
    tags = np.load(scrawl.out / "cls_labels.npy", allow_pickle=True).item()
    masks = {p.stem: set(np.unique(np.array(Image.open(p)))) - {0, 255} for p in (data / "SegmentationClass").iterdir()}
    wrong = [k for k in tags.keys() | masks.keys() if set(np.flatnonzero(tags[k]) + 1) != masks[k]]
    note("cls_labels.npy: images whose tags NumPy reads otherwise", len(wrong), 0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=Path, metavar="OUT_DIR", help="a new folder")
    arguments.add_argument("--scrawl", default=str(ROOT / "scrawl"))
    options = arguments.parse_args()
    options.out.mkdir(parents=True)
    scrawl = Scrawl(options.scrawl, options.out.resolve())
    print(f"Python {platform.python_version()}, PyTorch {torch.__version__}, transformers {transformers.__version__}, "
          f"safetensors {safetensors.__version__}, NumPy {np.__version__}")

    run = scrawl.out / "run"
    settings = ["model.embed_dims=[32, 64, 160, 256]", "model.heads=[1, 2, 5, 8]", "train.epoch=3",
                "prototype.use_epoch=1", "prototype.global_num=1"]
    scrawl("demo", "--out", run, *(argument for setting in settings for argument in ("--set", setting)))
    checkpoint, photo = run / "last.safetensors", scrawl.out / "photo.png"
    # Decoders of JPEG differ in the last bit.
    Image.open(sorted((run / "data" / "JPEGImages").iterdir())[0]).save(photo)
    sizes = metadata(checkpoint)["model"]
    with torch.no_grad():
        model, states = verify_published(scrawl, checkpoint, sizes, photo)
        verify_huggingface(scrawl, checkpoint, model, photo)
        verify_huggingface_in(scrawl, photo)
    verify_pth_in(scrawl, checkpoint, states["pth"], photo)
    verify_tags(scrawl, run / "data")
    failed = sum(value > limit for _, value, limit in ROWS)
    print(f"{len(ROWS)} comparisons, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
