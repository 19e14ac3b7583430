"""A short run as one of several ranks; the argument is the folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from train_toys import toy_corpus, toy_recipe

from chordfast.train import train

torch.set_num_threads(1)
train(toy_recipe("stage1", "btc", "loss.kd=true"), toy_corpus(), Path(sys.argv[1]), progress="plain")
