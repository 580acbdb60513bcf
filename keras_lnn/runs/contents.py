"""Descriptions of the files in a run's folder."""

CONTENTS = {
    "report.html": "this page",
    "config.yaml": "the whole configuration: keras-lnn train --config trains the same again",
    "environment.json": "versions, device, seed and checksum of the data",
    "checklist.md": "reporting checklists of the run, once keras-lnn checklist has written them",
    "samples.csv": "split, file, patient and digest of each sample, so that they stay in their splits",
    "history.csv": "losses and metrics of every epoch",
    "metrics.json": "all metrics with their intervals; written last, so that it marks a complete run",
    "predictions.csv": "truth and prediction of every validation and test sample",
    "sampling.npz": "predictions for the test series under other samplings, if a study has measured them",
    "features.npz": "features of the training images by the best model, once new images were compared with them",
    "labels.csv": "metrics of each class or label with their intervals",
    "confusion.csv": "what was taken for what on validation after each epoch",
    "class_accuracy.csv": "validation accuracy of each class or label after each epoch",
    "class_correlation.csv": "how these accuracies go together over the epochs",
    "best.keras": "the model of the epoch that was kept",
    "last.keras": "the model of the last epoch",
    "plots": "the pictures of this page as files",
    "tensorboard": "logs: tensorboard --logdir shows them",
    "checkpoints": "what --resume and --start-from need; may be removed when the run is done",
}
