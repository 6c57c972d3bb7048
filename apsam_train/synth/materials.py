"""Materials: density and total mass attenuation mu/rho over energy.

Elements and compounds follow NIST XCOM (with coherent scatter), mixed by weight; 20 keV is added
below the usual table because a thin front detector still sees it. Mixtures (circuit board, rubber,
leather, cells) are assumed recipes, densities are bulk: cloth and paper hold air.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

GRID_KEV: Final = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 100.0, 120.0, 140.0, 160.0)
_LEAD_K_EDGE_KEV: Final = 88.005
# Interpolating across lead's K-edge would smear a jump of a factor of four over 20 keV.
_LEAD_EDGE_VALUES: Final = (1.910, 7.683)

_TABLE: Final[dict[str, tuple[float, tuple[float, ...]]]] = {
    "polyethylene": (
        0.94,
        (0.4315, 0.2707, 0.2275, 0.2085, 0.197, 0.1888, 0.1823, 0.172, 0.1636, 0.1566, 0.1505),
    ),
    "abs": (
        1.05,
        (0.4364, 0.264, 0.2184, 0.1986, 0.187, 0.1789, 0.1725, 0.1625, 0.1545, 0.1478, 0.142),
    ),
    "pet": (
        1.38,
        (0.5799, 0.301, 0.2304, 0.202, 0.1868, 0.1769, 0.1695, 0.1586, 0.1504, 0.1436, 0.1378),
    ),
    "nylon": (
        1.14,
        (0.5165, 0.2895, 0.231, 0.2067, 0.1931, 0.1839, 0.1769, 0.1661, 0.1578, 0.1509, 0.1449),
    ),
    "pvc": (
        1.38,
        (4.579, 1.492, 0.7299, 0.4559, 0.3325, 0.2678, 0.2298, 0.1887, 0.1672, 0.1537, 0.1442),
    ),
    "cotton": (
        0.45,
        (0.6463, 0.3225, 0.2413, 0.2092, 0.1923, 0.1815, 0.1736, 0.1621, 0.1536, 0.1466, 0.1406),
    ),
    "paper": (
        0.85,
        (1.252, 0.5053, 0.3182, 0.2481, 0.2143, 0.195, 0.1823, 0.1661, 0.1555, 0.1475, 0.141),
    ),
    "wood": (
        0.65,
        (0.6463, 0.3225, 0.2413, 0.2092, 0.1923, 0.1815, 0.1736, 0.1621, 0.1536, 0.1466, 0.1406),
    ),
    "leather": (
        0.9,
        (0.6895, 0.337, 0.2482, 0.2133, 0.1951, 0.1836, 0.1754, 0.1635, 0.1548, 0.1477, 0.1416),
    ),
    "rubber": (
        1.2,
        (2.356, 0.8712, 0.4835, 0.3378, 0.2695, 0.2321, 0.2091, 0.1824, 0.167, 0.1564, 0.1484),
    ),
    "water": (
        1.0,
        (0.8097, 0.3756, 0.2683, 0.227, 0.2059, 0.1929, 0.1837, 0.1708, 0.1614, 0.1539, 0.1475),
    ),
    "ethanol": (
        0.789,
        (0.5794, 0.3117, 0.2435, 0.2157, 0.2005, 0.1904, 0.1829, 0.1715, 0.1628, 0.1555, 0.1493),
    ),
    "petrol": (
        0.7,
        (0.4304, 0.2722, 0.2296, 0.2107, 0.1993, 0.1911, 0.1846, 0.1741, 0.1657, 0.1586, 0.1524),
    ),
    "food": (
        0.95,
        (0.8566, 0.3885, 0.2725, 0.2281, 0.2056, 0.192, 0.1824, 0.1692, 0.1597, 0.1522, 0.1458),
    ),
    "rdx": (
        1.82,
        (0.6895, 0.3306, 0.2414, 0.2066, 0.1885, 0.1772, 0.1691, 0.1575, 0.149, 0.1421, 0.1363),
    ),
    "smokeless_powder": (
        0.9,
        (0.7009, 0.3345, 0.2435, 0.208, 0.1897, 0.1782, 0.17, 0.1583, 0.1497, 0.1428, 0.1369),
    ),
    "black_powder": (
        1.0,
        (4.28, 1.406, 0.6925, 0.4348, 0.3183, 0.2571, 0.2211, 0.182, 0.1615, 0.1486, 0.1394),
    ),
    "aluminium": (
        2.7,
        (3.442, 1.128, 0.5684, 0.3682, 0.2778, 0.2301, 0.2018, 0.1704, 0.1533, 0.1422, 0.134),
    ),
    "glass": (
        2.5,
        (3.047, 1.026, 0.5305, 0.3518, 0.2705, 0.2272, 0.2012, 0.1721, 0.1559, 0.1451, 0.1372),
    ),
    "iron": (
        7.874,
        (25.68, 8.177, 3.629, 1.957, 1.205, 0.8164, 0.5952, 0.3717, 0.2693, 0.2146, 0.182),
    ),
    "steel": (
        7.9,
        (25.3, 8.053, 3.574, 1.929, 1.188, 0.8059, 0.5882, 0.3681, 0.2672, 0.2133, 0.1812),
    ),
    "copper": (
        8.96,
        (33.8, 10.91, 4.861, 2.613, 1.593, 1.064, 0.763, 0.4585, 0.3195, 0.246, 0.2026),
    ),
    "brass": (
        8.53,
        (34.82, 11.26, 5.018, 2.697, 1.643, 1.097, 0.7851, 0.4701, 0.3264, 0.2505, 0.2058),
    ),
    "zinc_alloy": (
        6.6,
        (35.81, 11.62, 5.187, 2.789, 1.7, 1.134, 0.8105, 0.4839, 0.3348, 0.2561, 0.2098),
    ),
    "lead": (11.35, (86.37, 30.32, 14.36, 8.042, 5.02, 3.384, 2.42, 5.549, 3.508, 2.39, 1.718)),
    "li_ion_cell": (
        2.4,
        (11.2, 3.654, 1.681, 0.9522, 0.6209, 0.4486, 0.3495, 0.2472, 0.1984, 0.1711, 0.1538),
    ),
    "alkaline_cell": (
        2.6,
        (17.98, 5.79, 2.607, 1.433, 0.9026, 0.6273, 0.47, 0.3097, 0.2351, 0.1946, 0.1699),
    ),
    "circuit_board": (
        2.0,
        (5.28, 1.774, 0.8661, 0.5306, 0.3772, 0.2963, 0.2489, 0.1981, 0.1722, 0.1564, 0.1455),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Material:
    """One homogeneous material. `density` in g/cm3, `mass_attenuation` in cm2/g at `energies`."""

    name: str
    density: float
    energies_kev: tuple[float, ...]
    mass_attenuation: tuple[float, ...]

    def linear_attenuation(self, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """mu in 1/mm at each energy, log-log interpolated (and extrapolated flat outside)."""
        log_mu = np.interp(
            np.log(energies_kev), np.log(self.energies_kev), np.log(self.mass_attenuation)
        )
        result: NDArray[np.float64] = np.exp(log_mu) * (self.density / 10.0)
        return result


def _build(name: str, density: float, values: tuple[float, ...]) -> Material:
    points = dict(zip(GRID_KEV, values, strict=True))
    if name == "lead":
        points[_LEAD_K_EDGE_KEV - 0.005] = _LEAD_EDGE_VALUES[0]
        points[_LEAD_K_EDGE_KEV + 0.005] = _LEAD_EDGE_VALUES[1]
    energies = tuple(sorted(points))
    return Material(
        name=name,
        density=density,
        energies_kev=energies,
        mass_attenuation=tuple(points[energy] for energy in energies),
    )


MATERIALS: Final[Mapping[str, Material]] = MappingProxyType(
    {name: _build(name, density, values) for name, (density, values) in _TABLE.items()}
)


def attenuation_matrix(
    names: Sequence[str], energies_kev: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear attenuation in 1/mm, shape [energies, materials]."""
    columns = [MATERIALS[name].linear_attenuation(energies_kev) for name in names]
    return np.stack(columns, axis=1)
