"""One named error for every way in which a container, or what goes into one, can be wrong."""

from sigdca.errors import FormatError


class MagicError(FormatError):
    """The first eight bytes are not a container's."""


class VersionError(FormatError):
    """The container is of a version that this reader does not know."""


class FileLengthError(FormatError):
    """The file is shorter or longer than its header promises."""


class HeaderChecksumError(FormatError):
    """Header and section table do not give their CRC-32."""


class SectionTableError(FormatError):
    """The section table does not hold the promised number of entries, or more than that."""


class SectionKindError(FormatError):
    """A section is of an unknown kind, or coded by a coder that this kind may not have."""


class SectionOrderError(FormatError):
    """Sections are out of order, or there are two of one kind."""


class SectionLengthError(FormatError):
    """The sections do not fill the file exactly, or one cannot have the length it has."""


class SectionMissingError(FormatError):
    """There is no graph, or a tensor of the graph lacks a section."""


class SectionOwnerError(FormatError):
    """A section belongs to no tensor of the graph."""


class SectionChecksumError(FormatError):
    """A section does not give its CRC-32."""


class VarintError(FormatError):
    """A whole number ends early, is longer than it need be, or exceeds 32 bits."""


class GraphBytesError(FormatError):
    """The graph section ends early, goes on behind its last operator, or has an unknown code."""


class OperatorError(FormatError):
    """An operator's kind, name, inputs or attributes are not what a graph may have."""


class ShapeError(FormatError):
    """An operator cannot take the shapes that it is given."""


class LimitError(FormatError):
    """Something is larger than version 1 (or the caller) allows."""


class MetadataError(FormatError):
    """The metadata is not a canonical JSON object of strings."""


class CodebookError(FormatError):
    """A codebook is empty, too long, or has a value that it may not have."""


class ValueRangeError(FormatError):
    """A weight is NaN, infinite, or a negative zero."""


class CodeTableError(FormatError):
    """The code lengths are no complete prefix code."""


class StreamEndError(FormatError):
    """A bit stream ends before its last symbol does."""


class TrailingBitsError(FormatError):
    """A bit stream goes on behind its last symbol."""


class SymbolCountError(FormatError):
    """A stream promises no symbol, or not as many as its tensor has weights."""


class GapBitsError(FormatError):
    """The width of gap symbols is outside 2..8."""


class GapOverrunError(FormatError):
    """The gaps lead behind the tensor's end."""


class GapEndError(FormatError):
    """The last gap symbol is a filler, with no weight behind it."""


class LevelError(FormatError):
    """A level lies beyond the values that its tensor has."""


class FrequencyError(FormatError):
    """The frequencies of a stream's symbols do not add up to 4096."""


class RansStateError(FormatError):
    """A rANS stream's states do not end where they began."""


class TensorError(FormatError):
    """A tensor to encode is missing, belongs to no layer, or has another shape or type."""


class CoderError(FormatError):
    """There is no coder of that name."""
