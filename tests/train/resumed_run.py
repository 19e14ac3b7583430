"""A short run in a process of its own, to be killed: arguments are the folder and the epochs; resumes by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from train_toys import toy_corpus, toy_recipe

from chordfast.train import train

torch.set_num_threads(1)
recipe = toy_recipe("stage1", "btc", "loop.checkpoint_minutes=0", f"loop.epochs={sys.argv[2]}", dropout=True)
train(recipe, toy_corpus(), Path(sys.argv[1]), resume=True, progress="plain")
