"""What an ablation compares, and the runs it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from apsam_train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of Table 4. energy: with the Energy-Aware Encoder; apg: trained on adaptive points
    and answered through them."""

    name: str
    title: str
    energy: bool
    apg: bool

    @property
    def protocol(self) -> str:
        """How the arm's line of Table 4 is prompted."""
        return "apg" if self.apg else "random1"

    def config(self, base: TrainConfig, *, seed: int) -> TrainConfig:
        """The training of this arm; everything else is equal over arms."""
        apg_start = base.apg_start if self.apg else 1.0
        return replace(base, seed=seed, energy=self.energy, apg_start=apg_start)


ARMS = (
    Arm(name="without_eae", title="w/o EAE", energy=False, apg=True),
    Arm(name="without_apg", title="w/o APG", energy=True, apg=False),
    Arm(name="without_both", title="w/o EAE & APG", energy=False, apg=False),
    Arm(name="with_both", title="w/ EAE & APG", energy=True, apg=True),
)
"""In the order of Table 4, with its names."""
PROTOCOLS = ("random1", "random2", "apg")
"""Every arm is scored by all three, which shows where a difference comes from."""
