"""How user values and errors become payloads and failures, and come back.

A :class:`DataConverter` has three parts, each replaceable: a *payload converter* (values, by
type hints), a *failure converter* (exceptions), and optionally a *codec* that works on the
encoded bytes (encryption, compression). Everything but the codec is synchronous, so that
workflow code can convert without waiting.

The default writes ``None`` as ``binary/null``, bytes as ``binary/plain`` and all else as JSON.
Reading is strict: a value that is not of the hinted type is refused with its place, never bent.
"""

from perdure.converter._codecs import PayloadCodec
from perdure.converter._data import DataConverter, check_payload_size, default
from perdure.converter._failures import DefaultFailureConverter, FailureConverter
from perdure.converter._json import AdvancedJSONEncoder
from perdure.converter._payloads import (
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)
from perdure.converter._reading import JSONTypeConverter, type_name

__all__ = [
    "AdvancedJSONEncoder",
    "BinaryNullPayloadConverter",
    "BinaryPlainPayloadConverter",
    "CompositePayloadConverter",
    "DataConverter",
    "DefaultFailureConverter",
    "DefaultPayloadConverter",
    "EncodingPayloadConverter",
    "FailureConverter",
    "JSONPlainPayloadConverter",
    "JSONTypeConverter",
    "PayloadCodec",
    "PayloadConverter",
    "check_payload_size",
    "default",
    "type_name",
]
