"""The anatomy of the embedded liver data: random patients, and their abdomen at any height.

Positions are in millimetres: z from the dome of the diaphragm towards the feet, y from the middle of the body to the
back, x to the left side of the patient, which is on the right of the image. Densities are in Hounsfield units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from keras_lnn.data.phantoms.shapes import blend, uniform

# The grid of random numbers from which a patient's bumps and textures are interpolated.
_GRID_BEGINS, _GRID_STEP, _GRID_NODES = -240.0, 24.0, 22
_AIR, _LUNG, _FAT, _MUSCLE = -1000.0, -820.0, -95.0, 55.0
# Later organs cover earlier ones; the liver is painted at its place in the order.
_ORGANS = ("heart", "stomach", "pancreas", "bowel 1", "bowel 2", "bowel 3", "bowel 4", "spleen", "liver")
_OVER_LIVER = ("right kidney", "left kidney", "gallbladder")

Place = tuple[np.ndarray, np.ndarray, np.ndarray]
Cover = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Blob:
    """An ellipsoid of one density.

    Args:
        centre: z, y, x.
        radii: Radii along z, y, x.
        density: Density in the middle.
        core: Density within half of the radius, if it differs.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    density: float
    core: float | None = None

    def depth(self, place: Place) -> np.ndarray:
        """Returns about how far inside the surface a position lies; negative outside."""
        steps = [(at - middle) / radius for at, middle, radius in zip(place, self.centre, self.radii, strict=True)]
        distance = np.sqrt(steps[0] * steps[0] + steps[1] * steps[1] + steps[2] * steps[2])
        return (1.0 - distance) * min(self.radii)


@dataclasses.dataclass(frozen=True)
class Patient:
    """The random anatomy of one patient.

    Args:
        half_width: Half the width of the body.
        half_height: Half the height of the body.
        fat: Thickness of the fat under the skin.
        wall: Thickness of the muscles and ribs around the abdomen.
        shift: Distance of the body from the middle of the image, y and x.
        organs: The organs by name.
        lobes: Right and left lobe, which form the liver.
        vessels: Vessels of the liver: start, end, radius.
        tumours: Tumours of the liver; their densities are relative to it.
        bumps: Random numbers on a grid.
        texture: Random numbers on a grid.
    """

    half_width: float
    half_height: float
    fat: float
    wall: float
    shift: tuple[float, float]
    organs: Mapping[str, Blob]
    lobes: tuple[Blob, Blob]
    vessels: tuple[tuple[np.ndarray, np.ndarray, float], ...]
    tumours: tuple[Blob, ...]
    bumps: np.ndarray
    texture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """The anatomy at each position.

    Args:
        density: Density in Hounsfield units, (levels, height, width).
        liver: The share of a pixel that is liver, including its tumours.
        tumour: The share of a pixel that is tumour.
    """

    density: np.ndarray
    liver: np.ndarray
    tumour: np.ndarray


def draw_patient(generator: np.random.Generator) -> Patient:
    """Returns a random patient; one in five has no tumour."""

    def between(low: float, high: float) -> float:
        return float(uniform(generator, low, high, 1)[0])

    def blob(centre: tuple, radii: tuple, density: tuple, core: float | None = None) -> Blob:
        drawn = tuple(at + between(-6.0, 6.0) for at in centre)
        return Blob(drawn, tuple(radius * between(0.88, 1.12) for radius in radii), between(*density), core)

    half_width, half_height = between(148.0, 166.0), between(112.0, 132.0)
    liver = between(82.0, 122.0)
    lobes = (
        blob((82.0, -2.0, -72.0), (90.0, 90.0, 74.0), (liver, liver)),
        blob((60.0, -48.0, 5.0), (50.0, 42.0, 74.0), (liver, liver)),
    )
    organs = {
        "heart": blob((-28.0, -38.0, 22.0), (52.0, 46.0, 56.0), (110.0, 150.0)),
        "stomach": blob((72.0, -30.0, 66.0), (52.0, 42.0, 44.0), (10.0, 45.0), _AIR if between(0, 1) < 0.5 else None),
        "pancreas": blob((112.0, -2.0, 12.0), (16.0, 12.0, 52.0), (80.0, 105.0)),
        "spleen": blob((78.0, 28.0, 102.0), (50.0, 46.0, 34.0), (liver - 12.0, liver + 28.0)),
        "right kidney": blob((150.0, 42.0, -62.0), (54.0, 27.0, 25.0), (150.0, 190.0), 90.0),
        "left kidney": blob((132.0, 44.0, 64.0), (54.0, 27.0, 25.0), (150.0, 190.0), 90.0),
        "gallbladder": blob((122.0, -44.0, -40.0), (26.0, 17.0, 15.0), (5.0, 22.0)),
    }
    for number, x in enumerate((-75.0, -20.0, 30.0, 78.0), start=1):
        core = _AIR if between(0.0, 1.0) < 0.4 else between(20.0, 200.0)
        organs[f"bowel {number}"] = blob((178.0, -38.0, x), (44.0, 30.0, 27.0), (25.0, 70.0), core)
    bumps, texture = (uniform(generator, -1.0, 1.0, *(_GRID_NODES,) * 3) for _ in range(2))
    patient = Patient(
        half_width=half_width,
        half_height=half_height,
        fat=between(8.0, 24.0),
        wall=between(10.0, 14.0),
        shift=(between(-10.0, 10.0), between(-6.0, 6.0)),
        organs=organs,
        lobes=lobes,
        vessels=_draw_vessels(generator, lobes),
        tumours=(),
        bumps=bumps,
        texture=texture,
    )
    return dataclasses.replace(patient, tumours=_draw_tumours(generator, patient))


def render(patient: Patient, levels: np.ndarray, size: int, field_of_view: float) -> Anatomy:
    """Renders the abdomen at some heights.

    Args:
        patient: The patient.
        levels: z of each slice.
        size: Side of the images in pixels.
        field_of_view: Side of the images in millimetres.
    """
    pixel = field_of_view / size
    middle = (np.arange(size) - (size - 1) / 2.0) * pixel
    place = (
        levels.reshape(-1, 1, 1),
        (middle - patient.shift[0]).reshape(1, -1, 1),
        (middle - patient.shift[1]).reshape(1, 1, -1),
    )
    # An edge is as wide as a pixel, plus the blur from the thickness of a slice.
    softness = pixel / 2.0 + 2.0

    def cover(depth: np.ndarray) -> np.ndarray:
        return np.clip(0.5 + depth / (2.0 * softness), 0.0, 1.0)

    bumps, texture = (_interpolate(nodes, place) for nodes in (patient.bumps, patient.texture))
    body = _body_depth(patient, place)
    cavity = body - patient.fat - patient.wall - 2.0 * bumps
    below_lungs = _below_diaphragm(place)
    density = blend(_AIR, _FAT + 12.0 * texture, cover(body))
    density = blend(density, _MUSCLE + 15.0 * texture, cover(body - patient.fat))
    density = blend(density, _FAT + 15.0 * texture, cover(cavity))
    density = blend(density, _LUNG + 60.0 * texture, np.minimum(cover(cavity), 1.0 - cover(below_lungs)))
    liver = cover(_liver_depth(patient, place, bumps, cavity, below_lungs))
    tumour = np.zeros_like(liver)
    for name in (*_ORGANS, *_OVER_LIVER):
        if name == "liver":
            inside, tumour = _liver_density(patient, place, bumps, texture, cover)
            density, tumour = blend(density, inside, liver), np.minimum(tumour, liver)
            continue
        organ = patient.organs[name]
        depth = organ.depth(place) + 3.0 * bumps
        inside = cover(np.minimum(np.minimum(depth, cavity), np.inf if name == "heart" else below_lungs))
        inner = organ.density if organ.core is None else blend(organ.density, organ.core, _core_of(name, organ, place))
        density = blend(density, inner + 6.0 * texture, inside)
        if name in _OVER_LIVER:
            liver, tumour = liver * (1.0 - inside), tumour * (1.0 - inside)
    density, over = _paint_bones_and_vessels(patient, place, density, cover)
    return Anatomy(density, liver * (1.0 - over), tumour * (1.0 - over))


def _draw_vessels(
    generator: np.random.Generator, lobes: tuple[Blob, Blob]
) -> tuple[tuple[np.ndarray, np.ndarray, float], ...]:
    """Returns branches of the portal and hepatic veins, from the hilum or the caval vein into the lobes."""
    vessels = []
    for root, lobe, count in (((95.0, 0.0, -35.0), 0, 3), ((40.0, 20.0, -25.0), 0, 3), ((60.0, -20.0, -20.0), 1, 2)):
        for _ in range(count):
            reach = uniform(generator, -0.75, 0.75, 3) * np.array(lobes[lobe].radii)
            radius = float(uniform(generator, 3.5, 6.0, 1)[0])
            vessels.append((np.array(root), np.array(lobes[lobe].centre) + reach, radius))
    return tuple(vessels)


def _draw_tumours(generator: np.random.Generator, patient: Patient) -> tuple[Blob, ...]:
    """Returns up to six tumours inside the liver, most of them darker than it."""
    wanted = int(generator.random() * 6.0) + 1 if generator.random() > 0.2 else 0
    tumours: list[Blob] = []
    for _ in range(40 * wanted):
        lobe = patient.lobes[0 if generator.random() < 0.7 else 1]
        middle = np.array(lobe.centre) + uniform(generator, -1.0, 1.0, 3) * np.array(lobe.radii)
        radius = 12.0 + 22.0 * generator.random() * generator.random()
        stretch = uniform(generator, 0.8, 1.25, 3)
        kind, strength = generator.random(2)
        z, y, x = (np.reshape(value, (1, 1, 1)) for value in middle)
        place = (z, y, x)
        bumps = _interpolate(patient.bumps, place)
        cavity = _body_depth(patient, place) - patient.fat - patient.wall
        within = _liver_depth(patient, place, bumps, cavity, _below_diaphragm(place)).item()
        blocked = max(patient.organs[name].depth(place).item() for name in _OVER_LIVER)
        if len(tumours) == wanted or within < 0.5 * radius or blocked > -6.0:
            continue
        density = 38.0 + 22.0 * strength if kind < 0.2 else -(38.0 + 34.0 * strength)
        core = density - 25.0 if kind > 0.75 else None
        tumours.append(Blob(_as_triple(middle), _as_triple(radius * stretch), density, core))
    return tuple(tumours)


def _as_triple(values: np.ndarray) -> tuple[float, float, float]:
    z, y, x = map(float, values)
    return z, y, x


def _interpolate(nodes: np.ndarray, place: Place) -> np.ndarray:
    """Interpolates random numbers of a grid smoothly between its nodes."""
    for axis, coordinate in enumerate(place):
        steps = (coordinate.reshape(-1) - _GRID_BEGINS) / _GRID_STEP
        lower = np.clip(np.floor(steps).astype(np.int64), 0, _GRID_NODES - 2)
        share = np.clip(steps - lower, 0.0, 1.0)
        share = (share * share * (3.0 - 2.0 * share)).reshape([-1 if k == axis else 1 for k in range(3)])
        nodes = blend(np.take(nodes, lower, axis), np.take(nodes, lower + 1, axis), share)
    return nodes


def _body_depth(patient: Patient, place: Place) -> np.ndarray:
    """Returns the depth under the skin; the outline is between an ellipse and a rounded box."""
    _, y, x = place
    down, across = y / patient.half_height, x / patient.half_width
    down, across = down * down, across * across
    oval, box = np.sqrt(down + across), np.sqrt(np.sqrt(down * down + across * across))
    return (1.0 - 0.5 * (oval + box)) * patient.half_height + 0.0 * place[0]


def _below_diaphragm(place: Place) -> np.ndarray:
    """Returns the distance below the two domes of the diaphragm; the lungs are above."""
    z, y, x = place
    right = ((x + 68.0) * (x + 68.0) + (y + 5.0) * (y + 5.0)) / 130.0
    left = 18.0 + ((x - 72.0) * (x - 72.0) + (y + 5.0) * (y + 5.0)) / 130.0
    return 0.75 * (z - np.minimum(right, left))


def _liver_depth(
    patient: Patient, place: Place, bumps: np.ndarray, cavity: np.ndarray, below_lungs: np.ndarray
) -> np.ndarray:
    right, left = (lobe.depth(place) for lobe in patient.lobes)
    depth = np.maximum(right, left) + 5.0 * bumps
    return np.minimum(depth, np.minimum(cavity - 2.0, below_lungs - 2.0))


def _liver_density(
    patient: Patient, place: Place, bumps: np.ndarray, texture: np.ndarray, cover: Cover
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the density of the liver with its vessels and tumours, and the share of tumour."""
    density = patient.lobes[0].density + 5.0 * texture
    parenchyma = density
    for start, end, radius in patient.vessels:
        along = end - start
        length = along[0] * along[0] + along[1] * along[1] + along[2] * along[2]
        offsets = [at - begin for at, begin in zip(place, start, strict=True)]
        share = np.clip((offsets[0] * along[0] + offsets[1] * along[1] + offsets[2] * along[2]) / length, 0.0, 1.0)
        rest = [offset - share * part for offset, part in zip(offsets, along, strict=True)]
        distance = np.sqrt(rest[0] * rest[0] + rest[1] * rest[1] + rest[2] * rest[2])
        density = blend(density, parenchyma + 38.0, cover(radius * (1.0 - 0.5 * share) - distance))
    tumours = np.zeros_like(density)
    for tumour in patient.tumours:
        depth = tumour.depth(place)
        inside = cover(depth + 0.16 * min(tumour.radii) * bumps)
        inner = tumour.density
        if tumour.core is not None:
            inner = blend(tumour.density, tumour.core, cover(depth - 0.5 * min(tumour.radii)))
        density = blend(density, parenchyma + inner, inside)
        tumours = np.maximum(tumours, inside)
    return density, tumours


def _core_of(name: str, organ: Blob, place: Place) -> np.ndarray:
    """Returns the share of an organ's core: gas rises in stomach and bowel, other cores are in the middle."""
    depth = organ.depth(place)
    if organ.core == _AIR:
        depth = np.minimum(depth, organ.centre[1] - 0.2 * organ.radii[1] - place[1])
    return np.clip(0.5 + (depth - 0.35 * min(organ.radii)) / 6.0, 0.0, 1.0)


def _paint_bones_and_vessels(
    patient: Patient, place: Place, density: np.ndarray, cover: Cover
) -> tuple[np.ndarray, np.ndarray]:
    """Paints spine, ribs, back muscles and great vessels, and returns the density and the share that they cover."""
    z, y, x = place
    spine = 0.5 * patient.half_height
    over = np.zeros_like(density)

    def paint(depth: np.ndarray, value: float) -> None:
        nonlocal density, over
        share = cover(depth)
        density, over = blend(density, value, share), np.maximum(over, share)

    def disc(at_y: np.ndarray | float, at_x: np.ndarray | float, radius: float) -> np.ndarray:
        down, across = y - at_y, x - at_x
        return radius - np.sqrt(down * down + across * across) + 0.0 * z

    for side in (-1.0, 1.0):
        paint(disc(spine + 26.0, side * 30.0, 19.0), _MUSCLE)
        paint(disc(spine + 4.0, side * 32.0, 13.0), _MUSCLE)
    paint(disc(spine - 34.0, 12.0, 11.0), 165.0)
    paint(disc(spine - 34.0, -26.0, 12.0), 138.0)
    paint(disc(spine, 0.0, 21.0), 320.0)
    paint(disc(spine, 0.0, 15.0), 190.0)
    paint(np.minimum(6.0 - np.abs(x) + 0.0 * z, 25.0 - np.abs(y - spine - 22.0)), 350.0)
    paint(disc(spine + 24.0, 0.0, 9.0), 30.0)
    # Each rib runs forward on its way down, so that in slices it is a spot that moves along the wall.
    rim = patient.fat + 0.5 * patient.wall
    for side in (-1.0, 1.0):
        for begin in (-0.55, -0.2, 0.15, 0.5, 0.85):
            turn = np.clip(begin + 0.12 - 0.0022 * z, -1.0, 1.0)
            scale = 1.0 / (1.0 + turn * turn)
            at_x = side * (patient.half_width - rim) * (1.0 - turn * turn) * scale
            at_y = (patient.half_height - rim) * 2.0 * turn * scale
            paint(disc(at_y, at_x, 6.5), 380.0)
    return density, over
