"""Options that belong together: the user's own modules, how a data set is read, and cross-validation."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from keras_lnn.errors import InputError
from keras_lnn.fields.roles import Role, Trait
from keras_lnn.fields.slurm_values import parse_slurm_options, parse_slurm_time
from keras_lnn.fields.values import (
    FEWEST_FOLDS,
    MOST,
    MOST_FOLDS,
    MOST_WORKERS,
    SLURM_NAMES,
    Side,
    parse_address,
    parse_cluster,
    parse_frame,
    parse_hosts,
    parse_time_unit,
    parse_window,
    split_names,
)


class OwnModules(pydantic.BaseModel):
    """Imports of the user's own modules: the same option for every command that knows models or data."""

    imports: Annotated[tuple[str, ...], pydantic.BeforeValidator(split_names), Role.CONTROL, Trait.SAME_IN_TRIALS] = (
        pydantic.Field((), description="Python modules with your own models, layers or data sets, as a,b")
    )


class DataOptions(pydantic.BaseModel):
    """How a data set is read: the same options for every command that reads one.

    They are flat, since they are options of a command line and lines of a configuration file. What is read by them gets
    them as one nested :class:`~keras_lnn.data.reading.Reading`, which takes each field by its name.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    size: Annotated[Side | None, Role.SETTING] = pydantic.Field(
        None, description="side of the images in pixels (default: 28 for the catalog, 64 for own images)"
    )
    data_dir: Annotated[Path | None, Role.DATA, Trait.PLACE] = pydantic.Field(
        None, description="folder of the data files (default: $MEDMNIST_ROOT, else ~/.medmnist)"
    )
    accept_checksum: Annotated[bool, Role.DATA] = pydantic.Field(
        False, description="accept a data file whose checksum is not the official one, if its arrays are valid"
    )
    image_dir: Annotated[Path | None, Role.DATA, Trait.PLACE] = pydantic.Field(
        None, description="folder of the images of table:FILE (default: the table's folder)"
    )
    file_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table that names the files"
    )
    label_columns: Annotated[tuple[str, ...] | None, pydantic.BeforeValidator(split_names), Role.DATA, Trait.COLUMN] = (
        pydantic.Field(
            None, description="columns of the table with labels: one column of classes, or several of 0 and 1, as a,b,c"
        )
    )
    split_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table with train, val or test"
    )
    group_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table, such as patient; images with the same value stay in one split"
    )
    series_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table of series:FILE that names the series of each image"
    )
    time_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None, description="column of the table of series:FILE with the time or date of each image"
    )
    time_unit: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="unit in which the times of series are learned, such as seconds, minutes, days or months; it is"
        " also that of numbers in a column whose name has none (default: that in the name, such as time_minutes; for"
        " dates, one that suits their span)",
    )
    steps_along: Annotated[Literal["time", "position"] | None, Role.SETTING] = pydantic.Field(
        None,
        description="what the images of series follow: time, or for slices of volumes their position in mm, which takes"
        " the place of the time; from a column, DICOM files or NIfTI files (default: time)",
    )
    position_column: Annotated[str | None, Role.DATA, Trait.COLUMN] = pydantic.Field(
        None,
        description="column of the table of series:FILE with the positions of slices, for --steps-along position",
    )
    max_steps: Annotated[Annotated[int, pydantic.Field(ge=1, le=MOST)] | None, Role.SETTING] = pydantic.Field(
        None,
        description="number of images to which longer series are thinned, evenly in time or along their positions"
        " (default: 32)",
    )
    label_of: Annotated[Literal["series", "image"] | None, Role.DATA] = pydantic.Field(
        None,
        description="what the labels of series:FILE are of; image: each image has a label, which is learned from the"
        " series up to that image, and images whose label cell is empty are seen without being predicted (default:"
        " series, the last label of each)",
    )
    fit: Annotated[Literal["stretch", "pad"] | None, Role.SETTING] = pydantic.Field(
        None, description="how own images are resized; pad: keep the aspect ratio and fill the rest with black"
    )
    window: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="CENTER,WIDTH of the range of values that is read from own images with more than 8 bits, such as "
        "40,400 or --window=-600,1500 (default: the window that a DICOM file names, else the whole range)",
    )
    skip_bad: Annotated[bool, Role.DATA] = pydantic.Field(
        False, description="leave out image files that are missing or unreadable"
    )
    mask_threshold: Annotated[Annotated[float, pydantic.Field(ge=0)] | None, Role.DATA] = pydantic.Field(
        None,
        description="brightness above which a pixel of a smoothed or lossily compressed mask belongs to the class, "
        "such as 127",
    )
    frame: Annotated[str | None, Role.SETTING] = pydantic.Field(
        None,
        description="the frame, page or time point that is read from own images that have several: first, middle, a "
        "number from 1, or mean for the mean of all; each reads the slices of a DICOM series as separate images "
        "(default: the first; a DICOM series in a folder, and a CT, MR or PET file with many slices, are volumes)",
    )

    @pydantic.field_validator("window", mode="after")
    @classmethod
    def _window(cls, value: str | None) -> str | None:
        parse_window(value)
        return value

    @pydantic.field_validator("time_unit", mode="after")
    @classmethod
    def _time_unit(cls, value: str | None) -> str | None:
        return parse_time_unit(value)

    @pydantic.field_validator("frame", mode="before")
    @classmethod
    def _frame(cls, value: Any) -> str | None:
        return parse_frame(value)


class ClusterOptions(pydantic.BaseModel):
    """The Ray or Slurm cluster that trains the runs: the same options for every command that trains several."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    cluster: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None,
        description="what trains the runs: slurm for a job array of Slurm; slurm-local to try the same on this machine;"
        " auto for the Ray cluster that this machine belongs to, or its HOST:PORT (default: this machine alone)",
    )
    cluster_folders: Annotated[Literal["shared", "sent"], Role.CONTROL] = pydantic.Field(
        "shared",
        description="how the nodes of a Ray cluster write: shared, to a disk that all of them see; sent, to temporary"
        " folders, which are sent back when a run ends",
    )
    cpus_per_run: Annotated[Annotated[int, pydantic.Field(ge=1, le=MOST_WORKERS)] | None, Role.CONTROL] = (
        pydantic.Field(
            None,
            description="processors for each run of --cluster (default: 1, or with Ray a node's share for each GPU)",
        )
    )
    gpus_per_run: Annotated[Annotated[float, pydantic.Field(ge=0, le=64)] | None, Role.CONTROL] = pydantic.Field(
        None,
        description="GPUs for each run of --cluster, such as 1, or with Ray 0.5 for two runs on each (default: 0, or"
        " with Ray 1 if nodes have GPUs)",
    )
    slurm_partition: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None, description="partition of Slurm for --cluster slurm, or several as a,b (default: the one that Slurm has)"
    )
    slurm_time: Annotated[str, Role.CONTROL] = pydantic.Field(
        "1h",
        description="time limit of each run for --cluster slurm, such as 30m, 4h or 1-12:00:00; a run that reaches it"
        " waits in the queue again and goes on after its last checkpoint",
    )
    slurm_options: Annotated[str | None, Role.CONTROL] = pydantic.Field(
        None,
        description="further options of sbatch for --cluster slurm, such as 'account=med constraint=a100 mem=8G'",
    )

    @pydantic.field_validator("cluster", mode="after")
    @classmethod
    def _cluster(cls, value: str | None) -> str | None:
        return parse_cluster(value)

    @pydantic.field_validator("gpus_per_run", mode="after")
    @classmethod
    def _gpus(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("must be a whole number above 1: only a single GPU can be shared")
        return value

    @pydantic.field_validator("slurm_partition", mode="after")
    @classmethod
    def _slurm_partition(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[\w.-]+(,[\w.-]+)*", value):
            raise ValueError("must be the name of a partition, or several as a,b")
        return value

    @pydantic.field_validator("slurm_time", mode="before")
    @classmethod
    def _slurm_time(cls, value: Any) -> str:
        parse_slurm_time(value)
        return str(value)

    @pydantic.field_validator("slurm_options", mode="after")
    @classmethod
    def _slurm_options(cls, value: str | None) -> str | None:
        parse_slurm_options(value)
        return value

    @property
    def uses_slurm(self) -> bool:
        """Returns whether the runs wait in the queue of Slurm, or are tried as if they did."""
        return self.cluster in SLURM_NAMES

    def require_cluster(self) -> None:
        """Checks that what is said about a cluster has one, of the right kind."""
        fields = ClusterOptions.model_fields
        about = [name for name in fields if getattr(self, name) != fields[name].default]
        if about and self.cluster is None:
            raise InputError(
                f"--{about[0].replace('_', '-')} is for --cluster. Received: no --cluster. Name one, or leave it out."
            )
        slurm = next((name for name in about if name.startswith("slurm_")), None)
        if slurm and not self.uses_slurm:
            raise InputError(
                f"--{slurm.replace('_', '-')} is for --cluster slurm. Received: --cluster {self.cluster}. Leave one of"
                " them out."
            )
        if self.uses_slurm and self.cluster_folders != "shared":
            raise InputError(
                f"The nodes of Slurm must share a disk. Received: --cluster-folders {self.cluster_folders} with"
                f" --cluster {self.cluster}. Leave --cluster-folders out."
            )
        if self.uses_slurm and self.gpus_per_run is not None and self.gpus_per_run != int(self.gpus_per_run):
            raise InputError(
                "Slurm gives whole GPUs to a run. Received: --gpus-per-run"
                f" {self.gpus_per_run:g} with --cluster {self.cluster}. Give a whole number."
            )


class FoldOptions(ClusterOptions):
    """The options of ``keras-lnn train`` for cross-validation."""

    folds: Annotated[int, pydantic.Field(ge=FEWEST_FOLDS, le=MOST_FOLDS)] | None = pydantic.Field(
        None,
        description="cross-validation: deal all images except a given test split to so many folds, by patient where"
        " known, and train one run for each, which is tested on its fold; the same command goes on with it",
    )
    repeats: Annotated[int, pydantic.Field(ge=1, le=MOST_FOLDS)] = pydantic.Field(
        1, description="number of times that the images are dealt to --folds anew, each with other seeds"
    )
    workers: Annotated[int, pydantic.Field(ge=1, le=MOST_WORKERS)] | None = pydantic.Field(
        None,
        description="number of runs of --folds at a time; they share the processors, and each gets one of the GPUs"
        " (default: 1, or as many as a Ray cluster has room for; required for Slurm)",
    )


class HostOptions(pydantic.BaseModel):
    """The options of ``keras-lnn train`` for one run on several hosts, each of which gets the same command."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    hosts: str | None = pydantic.Field(
        None,
        description="number of hosts that train one run together, on JAX (KERAS_BACKEND=jax): start the same command on"
        " each of them; auto: as many as Slurm or Open MPI started it on",
    )
    host_rank: Annotated[int, pydantic.Field(ge=0, lt=MOST_WORKERS)] | None = pydantic.Field(
        None,
        description="number of this host of --hosts, from 0; host 0 validates, tests and writes (default: that of"
        " Slurm, Open MPI or an indexed job of Kubernetes)",
    )
    coordinator: str | None = pydantic.Field(
        None,
        description="ADDRESS:PORT of host 0 with a free port, the same on each host (default: the first node of the"
        " Slurm job, or $JAX_COORDINATOR_ADDRESS)",
    )

    @pydantic.field_validator("hosts", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> str | None:
        return parse_hosts(value)

    @pydantic.field_validator("coordinator", mode="after")
    @classmethod
    def _coordinator(cls, value: str | None) -> str | None:
        if value is not None:
            parse_address(value)
        return value
