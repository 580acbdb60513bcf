"""DICOM files for the tests."""


def write_dicom(path, values, *, photometric="MONOCHROME2", **elements):
    """A file of explicit little-endian values, as scanners write them."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = values.ndim >= 3 and values.shape[-1] == 3
    file.SamplesPerPixel = 3 if colour else 1
    file.PhotometricInterpretation = "RGB" if colour else photometric
    if colour:
        file.PlanarConfiguration = 0
    elif values.ndim == 3:
        file.NumberOfFrames = len(values)
    file.Rows, file.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    return path


def write_enhanced(path, values, positions, orientation, spacing, *, slope=None, intercept=None, window=None):
    """An enhanced CT file whose frames are slices at some positions."""
    from pydicom.dataset import Dataset
    from pydicom.uid import EnhancedCTImageStorage

    def group(**elements):
        item = Dataset()
        for name, value in elements.items():
            setattr(item, name, value)
        return [item]

    shared = {
        "PlaneOrientationSequence": group(ImageOrientationPatient=list(orientation)),
        "PixelMeasuresSequence": group(PixelSpacing=list(spacing)),
    }
    if slope is not None:
        reported = {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "HU"}
        shared["PixelValueTransformationSequence"] = group(**reported)
    if window is not None:
        shared["FrameVOILUTSequence"] = group(WindowCenter=window[0], WindowWidth=window[1])
    frames = [group(PlanePositionSequence=group(ImagePositionPatient=list(position)))[0] for position in positions]
    return write_dicom(
        path,
        values,
        SOPClassUID=EnhancedCTImageStorage,
        SharedFunctionalGroupsSequence=group(**shared),
        PerFrameFunctionalGroupsSequence=frames,
    )
