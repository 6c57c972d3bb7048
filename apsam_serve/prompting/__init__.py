"""Prompt strategies: how one prompt becomes decoder calls. A strategy is a file of this folder.

`strategy(prompt, frame, config)` is a generator: it yields a DecoderPrompt, is sent the
DecoderOutput, and returns an Answer. It never sees who decodes, so the service, the evaluation of a
checkpoint and the benchmark run the same lines; `base.run` drives many in lockstep, in batches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast, get_args

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import DecoderPrompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.errors import InvalidPromptError
from apsam_serve.prompting.base import Running

Strategy = Callable[[DecoderPrompt, LetterBox, ApgConfig], Running]


def load(name: str) -> Strategy:
    """The strategy of that name. Raises InvalidPromptError listing the known ones."""
    known = get_args(StrategyName)
    if name not in known:
        raise InvalidPromptError(f"strategy {name!r} is unknown; choose one of {', '.join(known)}")
    return cast(Strategy, importlib.import_module(f"apsam_serve.prompting.{name}").strategy)
