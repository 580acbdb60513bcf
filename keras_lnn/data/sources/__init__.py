"""Sources of images: MedMNIST files, folders, tables, masks, TensorFlow Datasets, arrays.

A source finds its files, labels, patients and splits; ``data.decode`` reads the pixels.
"""
