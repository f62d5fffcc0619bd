import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_SPLIT: _ClassVar[Mode]
    MODE_SHADOW: _ClassVar[Mode]
    MODE_PAIRED: _ClassVar[Mode]

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_DRAFT: _ClassVar[State]
    STATE_RUNNING: _ClassVar[State]
    STATE_PAUSED: _ClassVar[State]
    STATE_PROMOTED: _ClassVar[State]
    STATE_ROLLED_BACK: _ClassVar[State]
    STATE_STOPPED: _ClassVar[State]

class Act(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACT_UNSPECIFIED: _ClassVar[Act]
    ACT_START: _ClassVar[Act]
    ACT_RAMP: _ClassVar[Act]
    ACT_PAUSE: _ClassVar[Act]
    ACT_RESUME: _ClassVar[Act]
    ACT_PROMOTE: _ClassVar[Act]
    ACT_ROLLBACK: _ClassVar[Act]
    ACT_STOP: _ClassVar[Act]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_INSUFFICIENT_DATA: _ClassVar[Verdict]
    VERDICT_UNDECIDED: _ClassVar[Verdict]
    VERDICT_BETTER: _ClassVar[Verdict]
    VERDICT_WORSE: _ClassVar[Verdict]
    VERDICT_NO_DIFFERENCE: _ClassVar[Verdict]
    VERDICT_BROKEN: _ClassVar[Verdict]
    VERDICT_GUARDRAIL_TRIPPED: _ClassVar[Verdict]

class Receipt(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECEIPT_UNSPECIFIED: _ClassVar[Receipt]
    RECEIPT_ACCEPTED: _ClassVar[Receipt]
    RECEIPT_DUPLICATE: _ClassVar[Receipt]
    RECEIPT_CONFLICT: _ClassVar[Receipt]
    RECEIPT_UNKNOWN_TOKEN: _ClassVar[Receipt]
    RECEIPT_TOO_LATE: _ClassVar[Receipt]
    RECEIPT_INVALID: _ClassVar[Receipt]
MODE_UNSPECIFIED: Mode
MODE_SPLIT: Mode
MODE_SHADOW: Mode
MODE_PAIRED: Mode
STATE_UNSPECIFIED: State
STATE_DRAFT: State
STATE_RUNNING: State
STATE_PAUSED: State
STATE_PROMOTED: State
STATE_ROLLED_BACK: State
STATE_STOPPED: State
ACT_UNSPECIFIED: Act
ACT_START: Act
ACT_RAMP: Act
ACT_PAUSE: Act
ACT_RESUME: Act
ACT_PROMOTE: Act
ACT_ROLLBACK: Act
ACT_STOP: Act
VERDICT_UNSPECIFIED: Verdict
VERDICT_INSUFFICIENT_DATA: Verdict
VERDICT_UNDECIDED: Verdict
VERDICT_BETTER: Verdict
VERDICT_WORSE: Verdict
VERDICT_NO_DIFFERENCE: Verdict
VERDICT_BROKEN: Verdict
VERDICT_GUARDRAIL_TRIPPED: Verdict
RECEIPT_UNSPECIFIED: Receipt
RECEIPT_ACCEPTED: Receipt
RECEIPT_DUPLICATE: Receipt
RECEIPT_CONFLICT: Receipt
RECEIPT_UNKNOWN_TOKEN: Receipt
RECEIPT_TOO_LATE: Receipt
RECEIPT_INVALID: Receipt

class Arm(_message.Message):
    __slots__ = ("name", "model", "version", "weight", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    version: str
    weight: int
    labels: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., weight: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Guardrail(_message.Message):
    __slots__ = ("metric", "threshold_ms", "max_ratio", "alpha")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_RATIO_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    metric: str
    threshold_ms: float
    max_ratio: float
    alpha: float
    def __init__(self, metric: _Optional[str] = ..., threshold_ms: _Optional[float] = ..., max_ratio: _Optional[float] = ..., alpha: _Optional[float] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("unit", "arm", "reason")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    unit: str
    arm: str
    reason: str
    def __init__(self, unit: _Optional[str] = ..., arm: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class KeepImages(_message.Message):
    __slots__ = ("max_images", "days")
    MAX_IMAGES_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    max_images: int
    days: float
    def __init__(self, max_images: _Optional[int] = ..., days: _Optional[float] = ...) -> None: ...

class Guardrails(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Guardrail]
    def __init__(self, items: _Optional[_Iterable[_Union[Guardrail, _Mapping]]] = ...) -> None: ...

class Overrides(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Override]
    def __init__(self, items: _Optional[_Iterable[_Union[Override, _Mapping]]] = ...) -> None: ...

class Design(_message.Message):
    __slots__ = ("name", "description", "mode", "layer", "slots", "arms", "ramp", "holdout", "sample", "overrides", "primary_metric", "alpha", "margin", "pairs", "planned_units", "guardrails", "keep_images", "alias", "promote_when_better")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    RAMP_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_METRIC_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    PLANNED_UNITS_FIELD_NUMBER: _ClassVar[int]
    GUARDRAILS_FIELD_NUMBER: _ClassVar[int]
    KEEP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_WHEN_BETTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    mode: Mode
    layer: str
    slots: _containers.RepeatedScalarFieldContainer[int]
    arms: _containers.RepeatedCompositeFieldContainer[Arm]
    ramp: int
    holdout: int
    sample: int
    overrides: Overrides
    primary_metric: str
    alpha: float
    margin: float
    pairs: str
    planned_units: int
    guardrails: Guardrails
    keep_images: KeepImages
    alias: str
    promote_when_better: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., mode: _Optional[_Union[Mode, str]] = ..., layer: _Optional[str] = ..., slots: _Optional[_Iterable[int]] = ..., arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., ramp: _Optional[int] = ..., holdout: _Optional[int] = ..., sample: _Optional[int] = ..., overrides: _Optional[_Union[Overrides, _Mapping]] = ..., primary_metric: _Optional[str] = ..., alpha: _Optional[float] = ..., margin: _Optional[float] = ..., pairs: _Optional[str] = ..., planned_units: _Optional[int] = ..., guardrails: _Optional[_Union[Guardrails, _Mapping]] = ..., keep_images: _Optional[_Union[KeepImages, _Mapping]] = ..., alias: _Optional[str] = ..., promote_when_better: _Optional[bool] = ...) -> None: ...

class Experiment(_message.Message):
    __slots__ = ("name", "version", "state", "phase", "design", "effective_at", "created_at", "winner", "labels", "act", "author", "reason", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DESIGN_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    state: State
    phase: int
    design: Design
    effective_at: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    winner: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    act: str
    author: str
    reason: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[State, str]] = ..., phase: _Optional[int] = ..., design: _Optional[_Union[Design, _Mapping]] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., winner: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., act: _Optional[str] = ..., author: _Optional[str] = ..., reason: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class PlanExperimentRequest(_message.Message):
    __slots__ = ("design", "units_per_day")
    DESIGN_FIELD_NUMBER: _ClassVar[int]
    UNITS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    design: Design
    units_per_day: float
    def __init__(self, design: _Optional[_Union[Design, _Mapping]] = ..., units_per_day: _Optional[float] = ...) -> None: ...

class PlanExperimentResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _struct_pb2.Struct
    def __init__(self, plan: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class CreateExperimentRequest(_message.Message):
    __slots__ = ("design", "reason")
    DESIGN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    design: Design
    reason: str
    def __init__(self, design: _Optional[_Union[Design, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class ListExperimentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListExperimentsResponse(_message.Message):
    __slots__ = ("experiments",)
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class GetExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UpdateExperimentRequest(_message.Message):
    __slots__ = ("name", "changes", "reason", "if_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    changes: Design
    reason: str
    if_version: int
    def __init__(self, name: _Optional[str] = ..., changes: _Optional[_Union[Design, _Mapping]] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class TransitionRequest(_message.Message):
    __slots__ = ("name", "act", "reason", "ramp", "arm", "if_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RAMP_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    act: Act
    reason: str
    ramp: int
    arm: str
    if_version: int
    def __init__(self, name: _Optional[str] = ..., act: _Optional[_Union[Act, str]] = ..., reason: _Optional[str] = ..., ramp: _Optional[int] = ..., arm: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("name", "version", "verdict", "sentence", "at", "rows", "report")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    verdict: Verdict
    sentence: str
    at: _timestamp_pb2.Timestamp
    rows: _containers.RepeatedCompositeFieldContainer[MetricRow]
    report: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., sentence: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[MetricRow, _Mapping]]] = ..., report: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class MetricRow(_message.Message):
    __slots__ = ("metric", "arm", "definition", "unit", "estimate", "low", "high", "log_e", "p", "n", "method")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOG_E_FIELD_NUMBER: _ClassVar[int]
    P_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    metric: str
    arm: str
    definition: str
    unit: str
    estimate: float
    low: float
    high: float
    log_e: float
    p: float
    n: int
    method: str
    def __init__(self, metric: _Optional[str] = ..., arm: _Optional[str] = ..., definition: _Optional[str] = ..., unit: _Optional[str] = ..., estimate: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., log_e: _Optional[float] = ..., p: _Optional[float] = ..., n: _Optional[int] = ..., method: _Optional[str] = ...) -> None: ...

class GetAuditRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetAuditResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[Experiment]
    def __init__(self, versions: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ...) -> None: ...

class AssignRequest(_message.Message):
    __slots__ = ("name", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ...) -> None: ...

class AssignResponse(_message.Message):
    __slots__ = ("experiment", "unit", "arm", "model", "model_version", "assignment", "sentence", "checks", "version")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    unit: str
    arm: str
    model: str
    model_version: str
    assignment: str
    sentence: str
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    version: int
    def __init__(self, experiment: _Optional[str] = ..., unit: _Optional[str] = ..., arm: _Optional[str] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., assignment: _Optional[str] = ..., sentence: _Optional[str] = ..., checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ..., version: _Optional[int] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("question", "salt", "bucket", "start", "stop", "passed")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    question: str
    salt: str
    bucket: int
    start: int
    stop: int
    passed: bool
    def __init__(self, question: _Optional[str] = ..., salt: _Optional[str] = ..., bucket: _Optional[int] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ..., passed: _Optional[bool] = ...) -> None: ...

class OutcomeItem(_message.Message):
    __slots__ = ("feedback_token", "label", "item")
    FEEDBACK_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    feedback_token: str
    label: str
    item: int
    def __init__(self, feedback_token: _Optional[str] = ..., label: _Optional[str] = ..., item: _Optional[int] = ...) -> None: ...

class RecordOutcomesRequest(_message.Message):
    __slots__ = ("name", "outcomes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    name: str
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeItem]
    def __init__(self, name: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[OutcomeItem, _Mapping]]] = ...) -> None: ...

class OutcomeReceipt(_message.Message):
    __slots__ = ("receipt", "message")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    receipt: Receipt
    message: str
    def __init__(self, receipt: _Optional[_Union[Receipt, str]] = ..., message: _Optional[str] = ...) -> None: ...

class RecordOutcomesResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[OutcomeReceipt]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[OutcomeReceipt, _Mapping]]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("prediction", "item", "label")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    prediction: str
    item: int
    label: str
    def __init__(self, prediction: _Optional[str] = ..., item: _Optional[int] = ..., label: _Optional[str] = ...) -> None: ...

class ImportLabelsRequest(_message.Message):
    __slots__ = ("name", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class ImportLabelsResponse(_message.Message):
    __slots__ = ("labels",)
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[OutcomeReceipt]
    def __init__(self, labels: _Optional[_Iterable[_Union[OutcomeReceipt, _Mapping]]] = ...) -> None: ...

class StreamPairsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Pair(_message.Message):
    __slots__ = ("prediction", "item", "unit", "phase", "at", "label", "answers")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    prediction: str
    item: int
    unit: str
    phase: int
    at: _timestamp_pb2.Timestamp
    label: str
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    def __init__(self, prediction: _Optional[str] = ..., item: _Optional[int] = ..., unit: _Optional[str] = ..., phase: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., label: _Optional[str] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("label", "confidence", "latency_us")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_US_FIELD_NUMBER: _ClassVar[int]
    label: str
    confidence: float
    latency_us: int
    def __init__(self, label: _Optional[str] = ..., confidence: _Optional[float] = ..., latency_us: _Optional[int] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "target", "version", "effective_at", "author", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: str
    version: int
    effective_at: _timestamp_pb2.Timestamp
    author: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., target: _Optional[str] = ..., version: _Optional[int] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., author: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAliasesResponse(_message.Message):
    __slots__ = ("aliases",)
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("name", "target", "reason", "if_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: str
    reason: str
    if_version: int
    def __init__(self, name: _Optional[str] = ..., target: _Optional[str] = ..., reason: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...
