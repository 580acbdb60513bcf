"""All figures of the package: each function returns a ``matplotlib.figure.Figure``, which ``save_figure`` writes.

Nothing here uses ``pyplot``, so no display is needed and no global Matplotlib setting is read or changed.
"""

from keras_lnn.plots.augmentation import plot_augmentation
from keras_lnn.plots.classes import plot_class_accuracy, plot_class_correlation
from keras_lnn.plots.confusion import plot_confusion
from keras_lnn.plots.copies import plot_copies
from keras_lnn.plots.curves import plot_precision_recall, plot_roc
from keras_lnn.plots.history import plot_history
from keras_lnn.plots.labels import plot_labels
from keras_lnn.plots.masks import MaskCases, plot_mask_gallery, plot_mask_overlays, plot_mask_samples
from keras_lnn.plots.neighbours import plot_neighbours
from keras_lnn.plots.neurons import plot_neurons, plot_silencing, plot_steps
from keras_lnn.plots.overlap import plot_dice_by_model, plot_dice_history, plot_dice_spread
from keras_lnn.plots.referral import plot_referral
from keras_lnn.plots.reliability import plot_reliability
from keras_lnn.plots.samples import plot_contact_sheet, plot_examples
from keras_lnn.plots.sampling import plot_corruptions
from keras_lnn.plots.sequence import plot_sequence
from keras_lnn.plots.series import plot_course
from keras_lnn.plots.style import require_free_picture, require_png, save_figure
from keras_lnn.plots.subgroups import plot_subgroups
from keras_lnn.plots.wiring import plot_pruned_wiring, plot_wiring

__all__ = [
    "MaskCases",
    "plot_augmentation",
    "plot_class_accuracy",
    "plot_class_correlation",
    "plot_confusion",
    "plot_contact_sheet",
    "plot_copies",
    "plot_corruptions",
    "plot_course",
    "plot_dice_by_model",
    "plot_dice_history",
    "plot_dice_spread",
    "plot_examples",
    "plot_history",
    "plot_labels",
    "plot_mask_gallery",
    "plot_mask_overlays",
    "plot_mask_samples",
    "plot_neighbours",
    "plot_neurons",
    "plot_precision_recall",
    "plot_pruned_wiring",
    "plot_referral",
    "plot_reliability",
    "plot_roc",
    "plot_sequence",
    "plot_silencing",
    "plot_steps",
    "plot_subgroups",
    "plot_wiring",
    "require_free_picture",
    "require_png",
    "save_figure",
]
